"""`make bench`, verification: how fast a stranger's laptop judges a bundle, and in how much memory. Prints a table, writes JSON.

`SCALE=2m` is the bundle's events (default 200k): a made-up trail of imports and nights, seven events a recording, written
straight into a folder. The verifier runs as she runs it, one process, and is measured in seconds of the processor, so
that neighbours count little. Fewer than 100,000 events a second, or memory that grows with the bundle, makes the
exit code 1.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests"))

from trails import START, WHOSE, Signer, body, run, stamp  # noqa: E402  # the tests' folder, first

VERIFIER = PROJECT / "include/callkeeper/trail/verify.py"
RESULT = PROJECT / "tests" / "bench" / "last-verification.json"
EVENTS_A_SECOND = 100_000
GROWTH = 1.25
"""How much more memory a bundle of ten times the events may take."""
RECORDINGS_A_DAY = 4_000
CHUNK = 500
STAND_IN = "00000000-0000-4000-8000-000000000000"
STEPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("deletion", "deletion.planned", {"vendor": "linna", "trigger": "retention_expired", "reason": "retention_expired", "state_before": "live", "state_after": "planned"}),
    ("deletion", "deletion.armed", {"trigger": "retention_expired", "state_before": "planned", "state_after": "armed"}),
    ("deletion", "deletion.sending", {"trigger": "retention_expired", "state_before": "armed", "state_after": "sending"}),
    ("deletion", "deletion.store_gone", {"trigger": "retention_expired", "versions_removed": 1, "catalogued": True, "state_before": "sending", "state_after": "store_gone"}),
    ("deletion", "deletion.vendor_asked", {"vendor": "linna"}),
    ("deletion", "deletion.done", {"vendor": "linna", "trigger": "retention_expired", "due_at": "2026-11-24T22:00:00.000000Z", "versions_removed": 1, "vendor_answer": "deleted", "vendor_confirmed": True, "state_before": "store_gone", "state_after": "done"}),
)  # fmt: skip


def _scale(text: str) -> int:
    return round(float(text.rstrip("km")) * {"k": 1_000, "m": 1_000_000}.get(text[-1], 1))


class Writer:
    """A bundle, written as it grows: nothing of it is kept but the roots of the tree's full subtrees."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "1"
        self.place.mkdir(parents=True)
        self.signer = Signer("bench")
        self.seq = self.xid = self.id = 0
        self.at = START
        self.frontier: list[bytes] = []
        self.leaves = open(self.place / "leaves.bin", "wb")  # noqa: SIM115  # until the end
        self.notes = open(self.place / "checkpoints.jsonl", "wb")  # noqa: SIM115
        self.own: list[bytes] = []
        self.part: list[bytes] = []

    def commit(self, klass: str, text: bytes, recordings: list[bytes] | None = None) -> None:
        """One transaction: the event, for each of these recordings if it is of many."""
        self.xid += 1
        self.at += timedelta(seconds=0.2)
        if recordings is None:
            return self._leaf(klass, text)
        before, after = text.split(STAND_IN.encode())
        for recording in recordings:
            self._leaf(klass, before + recording + after)
        return None

    def _leaf(self, klass: str, text: bytes) -> None:
        self.id += 1
        data = b"%d %d %s " % (self.id, self.xid, klass.encode()) + text
        node, position = sha256(b"\0" + data).digest(), self.seq
        self.leaves.write(node)
        while position & 1:
            node = sha256(b"\1" + self.frontier.pop() + node).digest()
            position >>= 1
        self.frontier.append(node)
        line = b"%d %s\n" % (self.seq, data)
        if klass == "trail":
            self.own.append(line)
        self.part.append(line)
        self.seq += 1
        if len(self.part) == 100_000:
            self._flush()

    def _flush(self) -> None:
        if self.part:
            name = f"events-{self.seq - len(self.part):016d}.txt.gz"
            (self.place / name).write_bytes(gzip.compress(b"".join(self.part), 6))
            self.part = []

    def seal(self) -> None:
        self.at += timedelta(hours=1)
        self.commit("trail", body("trail.heartbeat", self.at, run("seal_audit", "hourly")))
        root = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            root = sha256(b"\1" + left + root).digest()
        text = f"callkeeper/1\n{self.seq}\n{base64.b64encode(root).decode()}\ntime {stamp(self.at)}\nhorizon {self.xid + 1}\n"
        self.notes.write(json.dumps({"note": text + "\n" + self.signer.line(text)}).encode() + b"\n")

    def close(self) -> None:
        self._flush()
        self.leaves.close()
        self.notes.close()
        (self.place / "trail.txt.gz").write_bytes(gzip.compress(b"".join(self.own)))
        epoch = {"epoch": 1, "size": self.seq, "from": 0, "to": self.seq, "unsealed": 0}
        made = {"format": 1, "trail": "callkeeper", "made_at": stamp(self.at), "epochs": [epoch], "code": "bench"}
        (self.folder / "bundle.json").write_text(json.dumps(made))


def write_bundle(folder: Path, events: int) -> Writer:
    """Days of an import and a night each, until there are that many events."""
    out = Writer(folder)
    facts: dict[str, Any] = {"epoch": 1, "reason": "first", "carried": 0}
    out.commit("trail", body("epoch.opened", out.at, {}, **facts))
    yes = {"decision": 1, "subject": "go_live", "decided": "approve", "scope": "00"}
    out.commit("run", body("decision.made", out.at, {"account": "officer"}, **yes))
    day = 0
    while out.seq < events:
        day += 1
        n = min(RECORDINGS_A_DAY, max((events - out.seq) // 7, 1))
        ids = [sha256(b"%d %d" % (day, i)).hexdigest() for i in range(n)]
        recordings = [f"{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:32]}".encode() for h in ids]
        chunks = [recordings[at : at + CHUNK] for at in range(0, n, CHUNK)]
        actor = run("import_recordings", f"scheduled__{day}")
        out.commit("import", body("import.checked", out.at, actor, day="2026-11-24", vendors=["linna"]))
        for chunk in chunks:
            out.commit("import", body("recording.kept", out.at, actor, **WHOSE, recording=STAND_IN, delivery=day, blocked=False, state_before="staged", state_after="live"), chunk)  # fmt: skip
        counts = {"found": n, "kept": n}
        out.commit("import", body("import.balanced", out.at, actor, **WHOSE, counts=counts, balanced=True))
        out.seal()
        actor = run("delete_expired", f"scheduled__{day}")
        for number, (klass, action, more) in enumerate(STEPS):
            for chunk in chunks:
                out.commit(klass, body(action, out.at, actor, recording=STAND_IN, controller="phm", **more), chunk)
            if number == 0:
                planned = {"night": day, "mode": "live", "due": {"phm": n}, "surplus": 0}
                out.commit("run", body("night.planned", out.at, actor, **planned))
            if number % 2:
                out.seal()
        told = {"night": day, "mode": "live", "controller": "phm", "counts": {"due": n, "done": n}, "balanced": True}
        out.commit("run", body("night.balanced", out.at, actor, **told))
        out.seal()
    out.close()
    return out


@dataclass(frozen=True, kw_only=True)
class Measured:
    events: int
    seconds: float
    """Of the processor."""
    wall: float
    mib: float
    """The most memory that the process held."""

    @property
    def rate(self) -> float:
        return self.events / self.seconds


def measure(folder: Path, key: str, events: int) -> Measured:
    """Verifies the bundle in a process of its own."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    # A process that starts one more, so that the peak of each is its own.
    probe = (
        "import json, resource, subprocess, sys; r = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE);"
        "print(json.dumps([r.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, r.stdout.decode()]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", probe, sys.executable, VERIFIER, folder, "--key", key], capture_output=True, check=True
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    code, peak_kib, told = json.loads(ran.stdout)
    assert code == 0, told
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(events=events, seconds=seconds, wall=wall, mib=peak_kib / 1024)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="callkeeper-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    events = max(_scale(os.environ.get("SCALE", "200k").lower()), 10_000)
    found = []
    with place() as folder:
        for n in (events // 10, events):
            began = time.monotonic()
            written = write_bundle(folder / str(n), n)
            size = sum(p.stat().st_size for p in (folder / str(n)).rglob("*")) / 2**20
            print(f"a bundle of {written.seq:,} events, {size:,.0f} MiB, written in {time.monotonic() - began:.0f} s", file=sys.stderr)  # fmt: skip
            found.append(measure(folder / str(n), written.signer.key, written.seq))
    small, large = found
    growth = large.mib / small.mib
    print(f"\n{'':32} {'events':>10} {'s (CPU)':>8} {'s':>6} {'events/s':>10} {'MiB':>6}")
    for m in found:
        print(f"{'verification':32} {m.events:10,} {m.seconds:8.1f} {m.wall:6.1f} {m.rate:10,.0f} {m.mib:6.0f}")
    fast, bounded = large.rate >= EVENTS_A_SECOND, growth <= GROWTH
    print(f"at least {EVENTS_A_SECOND:,} events a second a core{'' if fast else '  BEYOND'}")
    print(f"ten times the events take {growth:.2f} times the memory, at most {GROWTH}{'' if bounded else '  BEYOND'}")
    told = {"events": large.events, "events_a_second": round(large.rate), "mib": round(large.mib), "growth": round(growth, 3)}  # fmt: skip
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if fast and bounded else 1


if __name__ == "__main__":
    sys.exit(main())
