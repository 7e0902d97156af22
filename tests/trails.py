"""A trail in memory, sealed by a log of its own, for what judges trails: it shares no code with sealer or verifier.

A ``Log`` is written transaction by transaction, and put into a folder as `callkeeper audit export` does. What is
to be wrong with it is changed in the log before, or in the folder after.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

START = datetime(2026, 11, 25, 0, 30, tzinfo=UTC)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + root_of(hashes[:k]) + root_of(hashes[k:]))


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def body(action: str, at: datetime, actor: dict[str, Any], **facts: Any) -> bytes:
    event = {"action": action, "actor": actor, "at": stamp(at), "v": 1, **facts}
    plain = {k: str(v) if isinstance(v, UUID) else v for k, v in event.items() if v is not None}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


@dataclass(frozen=True)
class Signer:
    """A key that signs: the same from the same seed."""

    seed: str
    name: str = "callkeeper"

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(sha256(self.seed.encode()))

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n\x01" + self.public)[:4]

    @property
    def key(self) -> str:
        return self.name + "+" + self.id.hex() + "+" + base64.b64encode(b"\x01" + self.public).decode()

    def line(self, text: str) -> str:
        return f"— {self.name} {base64.b64encode(self.id + self.private.sign(text.encode())).decode()}\n"


@dataclass
class Entry:
    """A leaf; without ``data`` it is known by its hash only."""

    data: bytes | None
    klass: str
    month: str
    hash: bytes
    gone: str = ""
    """Why its body is not there: expired, or lost."""


@dataclass
class Stage:
    """One epoch."""

    number: int
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Log:
    """``pending`` are events that are committed and not sealed: (xid, id, class, month, data)."""

    def __init__(self, trail: str = "callkeeper", seed: str = "first") -> None:
        self.trail = trail
        self.signers = [Signer(seed, trail)]
        self.at = START
        self.xid, self.id = 1000, 0
        self.pending: list[tuple[int, int, str, str, bytes]] = []
        self.epochs: list[Stage] = []
        self.expiries: list[tuple[str, str]] = []

    @classmethod
    def of(cls, events: Iterable[tuple[int, int, str, datetime, bytes]]) -> Log:
        """What others wrote (id, xid, class, at, body), sealed."""
        log = cls()
        for id_, xid, klass, at, text in events:
            log.id, log.xid = id_ - 1, max(log.xid, xid)
            log.at = at
            log.write(klass, text, xid)
        log.seal()
        return log

    # --- events -------------------------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        return self.signers[0].key

    def commit(self, *events: tuple[str, str, dict[str, Any]], actor: dict[str, Any] | None = None) -> int:
        """One transaction's events: (class, action, facts); its xid."""
        self.xid += 1
        self.at += timedelta(seconds=1)
        for klass, action, facts in events:
            self.write(klass, body(action, self.at, actor or {"dag": "d", "run": "r"}, **facts))
        return self.xid

    def write(self, klass: str, text: bytes, xid: int | None = None) -> None:
        self.id += 1
        xid = self.xid if xid is None else xid
        data = b"%d %d %s " % (self.id, xid, klass.encode()) + text
        self.pending.append((xid, self.id, klass, self.at.strftime("%Y-%m"), data))

    # --- sealing ------------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> Stage:
        if not self.epochs:
            self.open()
        return self.epochs[-1]

    def open(self, reason: str = "first", **told: Any) -> None:
        """A new epoch, whose first leaves are the event that opens it and what was never sealed."""
        number, carried = len(self.epochs) + 1, sorted(self.pending)
        self.pending = []
        self.epochs.append(Stage(number))
        facts = {"epoch": number, "reason": reason, "carried": len(carried) if number > 1 else 0, **told}
        self.commit(("trail", "epoch.opened", facts))
        if number == 1:
            self.pending = [*self.pending, *carried]
        else:
            self._append(self.pending)
            self._append(carried)
            self.pending = []
            self.checkpoint()

    def _append(self, events: Iterable[tuple[int, int, str, str, bytes]]) -> None:
        for _, _, klass, month, data in events:
            self.epochs[-1].entries.append(Entry(data, klass, month, sha256(b"\x00" + data)))

    def seal(self, heartbeat: bool = True, pause: timedelta = timedelta(hours=1)) -> str:
        """Everything pending under one checkpoint, an hour later; the note."""
        self.at += pause
        epoch = self.epoch
        if heartbeat:
            self.commit(("trail", "trail.heartbeat", {}))
        if not epoch.entries:
            # The event that opens the first epoch is its first leaf.
            first = next(e for e in self.pending if b'"epoch.opened"' in e[4])
            self.pending.remove(first)
            self._append([first])
        self._append(sorted(self.pending))
        self.pending = []
        return self.checkpoint()

    def checkpoint(self, **instead: Any) -> str:
        """Signs what the epoch has; ``size``, ``root``, ``time``, ``horizon``, ``origin``, ``signers`` may be others."""
        note = self.note(**instead)
        self.epoch.notes.append(note)
        return note

    def note(self, **instead: Any) -> str:
        size = instead.get("size", len(self.epoch.entries))
        root = instead.get("root") or root_of([e.hash for e in self.epoch.entries[:size]])
        text = (
            f"{instead.get('origin', f'{self.trail}/{self.epoch.number}')}\n{size}\n{base64.b64encode(root).decode()}\n"
            f"time {stamp(instead.get('time', self.at))}\nhorizon {instead.get('horizon', self.xid + 1)}\n"
        )
        return text + "\n" + "".join(s.line(text) for s in instead.get("signers", self.signers))

    def rotate(self, seed: str) -> None:
        """A new key, told of and sealed under a checkpoint of the old one; from then on both sign."""
        fresh = Signer(seed, self.trail)
        self.commit(("trail", "seal_key.added", {"verifier_key": fresh.key}))
        self.seal()
        self.signers.append(fresh)

    def retire(self) -> None:
        """The oldest key signs no more after the checkpoint that covers its end."""
        self.commit(("trail", "seal_key.retired", {"verifier_key": self.signers[0].key}))
        self.seal()
        self.signers.pop(0)

    def restore(self, epoch_size: int, **more: Any) -> None:
        """The database is an old one, as of that size; what came after is known by its hash only."""
        last = self.epoch
        facts = {
            "previous_epoch": last.number,
            "previous_size": epoch_size,
            "previous_root": base64.b64encode(root_of([e.hash for e in last.entries[:epoch_size]])).decode(),
            "anchored_size": len(last.entries),
            "anchored_root": base64.b64encode(root_of([e.hash for e in last.entries])).decode(),
        }
        for entry in last.entries[epoch_size:]:
            entry.gone = "lost"
        lost = [(e.number, seq) for e in self.epochs for seq, entry in enumerate(e.entries) if entry.gone == "lost"]
        if lost:
            facts |= {"lost": len(lost), "lost_digest": sha256(b"".join(b"%d %d\n" % one for one in lost)).hex()}
        self.open("restored_backup", **{**facts, **more})

    def expire(self, klass: str, month: str, **instead: Any) -> None:
        """Ageing: a month's bodies of a class go, and an event tells of it."""
        digest, n = hashlib.sha256(), 0
        for epoch in self.epochs:
            for seq, entry in enumerate(epoch.entries):
                if (entry.klass, entry.month, entry.gone) == (klass, month, ""):
                    entry.gone = "expired"
                    digest.update(b"%d %d\n" % (epoch.number, seq))
                    n += 1
        facts = {"event_class": klass, "month": month, "count": n, "digest": digest.hexdigest(), **instead}
        self.commit(("trail", "bodies.expired", facts))

    # --- the folder ---------------------------------------------------------------------------------------------------

    def bundle(self, folder: Path, *, first: int = 0, to: int | None = None, per_file: int = 100_000) -> Path:
        """Writes it as `callkeeper audit export` does; the range is of the last epoch."""
        folder.mkdir(parents=True, exist_ok=True)
        said = []
        for epoch in self.epochs:
            size, last = len(epoch.entries), epoch is self.epochs[-1]
            a, b = (first, size if to is None else to) if last else (0, size)
            said.append(
                {"epoch": epoch.number, "size": size, "from": a, "to": b, "unsealed": len(self.pending) if last else 0}
            )
            place = folder / str(epoch.number)
            place.mkdir(exist_ok=True)
            write_lines(place / "checkpoints.jsonl", [json.dumps({"note": n}).encode() for n in epoch.notes])
            (place / "leaves.bin").write_bytes(b"".join(e.hash for e in epoch.entries))
            there = [
                (seq, b"%d " % seq + e.data) for seq, e in enumerate(epoch.entries) if a <= seq < b and e.data and not e.gone
            ]  # fmt: skip
            for at in range(0, len(there), per_file):
                part = there[at : at + per_file]
                write_lines(place / f"events-{part[0][0]:016d}.txt.gz", [line for _, line in part])
            own = [
                b"%d " % s + e.data for s, e in enumerate(epoch.entries) if e.klass == "trail" and e.data and not e.gone
            ]
            write_lines(place / "trail.txt.gz", own)
            gone = [(s, e) for s, e in enumerate(epoch.entries) if a <= s < b and e.gone]
            for why, words in (
                ("expired", lambda s, e: f"{s} {e.klass} {e.month}".encode()),
                ("lost", lambda s, e: str(s).encode()),
            ):
                lines = [words(s, e) for s, e in gone if e.gone == why]
                if lines:
                    write_lines(place / f"{why}.txt", lines)
        if self.pending:
            write_lines(folder / "unsealed.txt.gz", [data for *_, data in sorted(self.pending)])
        made = {"format": 1, "trail": self.trail, "made_at": stamp(self.at), "epochs": said, "code": "test"}
        (folder / "bundle.json").write_text(json.dumps(made))
        (folder / "keys.txt").write_text("".join(f"{s.key}\n" for s in self.signers))
        return folder


def write_lines(path: Path, lines: Sequence[bytes]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(text, 1, mtime=0) if path.suffix == ".gz" else text)


def edit_lines(path: Path, change: Callable[[list[bytes]], Sequence[bytes]]) -> None:
    """Rewrites a file of lines, zipped or not."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    write_lines(path, change(text.split(b"\n")[:-1]))


# --- stories ----------------------------------------------------------------------------------------------------------

Event = tuple[str, str, dict[str, Any]]
WHOSE = {"controller": "phm", "vendor": "linna"}


def uuid(n: int) -> UUID:
    return UUID(bytes=sha256(b"%d" % n)[:16], version=4)


def kept(n: int) -> Event:
    return "import", "recording.kept", {**WHOSE, "recording": uuid(n), "delivery": 1, "blocked": False}


def step(n: int, what: str, **more: Any) -> Event:
    return "deletion", f"deletion.{what}", {"recording": uuid(n), "controller": "phm", **more}


def done(n: int, **more: Any) -> Event:
    return step(
        n, "done", vendor="linna", trigger="retention_expired", due_at="2026-11-25T00:00:00.000000Z", versions_removed=1,
        vendor_answer="deleted", **more,
    )  # fmt: skip


def run(dag: str, key: str) -> dict[str, Any]:
    return {"dag": dag, "run": key, "task": "all", "attempt": 1, "rule": "0.1.0", "config": 1}


def an_import(log: Log, key: str, numbers: Sequence[int]) -> None:
    """An import that keeps these."""
    actor = run("import_recordings", key)
    log.commit(("import", "import.checked", {"day": "2026-11-24", "vendors": ["linna"], "refused": [], "findings": []}), actor=actor)  # fmt: skip
    for at in range(0, len(numbers), 500):
        log.commit(*map(kept, numbers[at : at + 500]), actor=actor)
    counts = {"found": len(numbers), "kept": len(numbers)}
    log.commit(("import", "import.balanced", {**WHOSE, "counts": counts, "balanced": True}), actor=actor)


def a_yes(log: Log) -> None:
    """The officer's yes to going live."""
    facts = {"decision": 1, "subject": "go_live", "decided": "approve", "scope": "00"}
    log.commit(("run", "decision.made", facts), actor={"account": "officer"})


def a_night(log: Log, key: str, numbers: Sequence[int], night: int = 1) -> None:
    """A live night that deletes these."""
    actor = run("delete_expired", key)
    planned = {"vendor": "linna", "trigger": "retention_expired", "reason": "retention_expired"}
    n = len(numbers)
    for part in [numbers[at : at + 500] for at in range(0, n, 500)]:
        log.commit(*[step(i, "planned", state_before="live", **planned) for i in part], actor=actor)
    log.commit(("run", "night.planned", {"night": night, "mode": "live", "due": {"phm": n}, "surplus": 0}), actor=actor)
    for part in [numbers[at : at + 500] for at in range(0, n, 500)]:
        log.commit(*[step(i, "armed", state_before="planned") for i in part], actor=actor)
        log.commit(*[step(i, "sending") for i in part], actor=actor)
        log.commit(*[step(i, "store_gone", versions_removed=1, catalogued=True) for i in part], actor=actor)
        log.commit(*[step(i, "vendor_asked", vendor="linna") for i in part], actor=actor)
        log.commit(*[done(i) for i in part], actor=actor)
    counts = {"due": n, "done": n}
    facts = {"night": night, "mode": "live", "controller": "phm", "counts": counts, "balanced": True}
    log.commit(("run", "night.balanced", facts), actor=actor)


def a_story(n: int = 20, log: Log | None = None) -> Log:
    """An import, the yes, a night that deletes half of it; everything sealed."""
    log = log or Log()
    an_import(log, "import 1", range(n))
    log.seal()
    a_yes(log)
    a_night(log, "night 1", range(0, n, 2))
    log.seal()
    an_import(log, "import 2", range(n, n + 3))
    log.seal()
    return log
