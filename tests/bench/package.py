"""`make bench`, an access package: of 500 recordings, as a ratio to bare read, encrypt and write in the same run. Prints a table, writes JSON.

Bare means: each recording is read from the store, sealed once as the page's chunks are (AES-256-GCM) and once as the zip's
members are (AES-256-CTR with HMAC-SHA-1), both on disk, and both are put into the store: no letter, no index, no metadata,
no base64, no archive, no transaction. Memory is the peak of a process of its own for 100 recordings, and of another for 500.

What grows with the recordings is the letter: Typst has the whole of it in memory while it sets the PDF, 90 KiB for a recording's row
(500 recordings: 45 MiB, 100: 10). The rows, the text and the two forms of metadata are a few KiB each, index and archive, part by
part, hardly more. So about 105 KiB a recording with two seconds of sound, and 115 with a minute: of the sound itself only what is
under way is there. The limit leaves a tenth to chance. A ratio or a difference beyond its limit makes the exit code 1. ``RECORDINGS=500`` sets how many, ``ROUNDS=3`` how often each is measured.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import warnings
import wave
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from statistics import median
from uuid import uuid4

from Crypto.Cipher import AES
from Crypto.Hash import HMAC, SHA1
from Crypto.Util import Counter
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from run import PROJECT, servers, timed

sys.path.insert(0, str(PROJECT / "tests"))
from callkeeper import controllers, db, wiring
from callkeeper.clock import HELSINKI
from callkeeper.jobs import fulfilling, packaging
from callkeeper.package import sealing
from callkeeper.phone import E164
from callkeeper.settings import Settings
from callkeeper.tickets import Right
from callkeeper.trail.events import Actor
from deliver import Call, deliver
from installation import CONFIG
from run_import import run_import

RECORDINGS = int(os.environ.get("RECORDINGS", "500"))
FEW = 100
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = 60
"""A recording's length: a MB each."""
FLOOR = 0.7
LARGEST_KIB = 128
"""So much more memory may each further recording take."""
OFFICER = Actor(account="officer", rule="bench")
MANY_CALLS, FEW_CALLS = E164("+358401234501"), E164("+358401234502")


@dataclass(frozen=True)
class Result:
    name: str
    ours: float
    bare: float
    unit: str
    limit: str
    good: bool


def audio(n: int) -> bytes:
    """A minute of PCM, other bytes for each."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(random.Random(n).randbytes(16_000 * SECONDS))  # noise to listen to, no secret
    return file.getvalue()


def fill(settings: Settings, folder: Path) -> Settings:
    """An installation with the calls of two people in its catalogue."""
    settings = settings.model_copy(update={"config_file": folder / "callkeeper.toml"})
    settings.config_file.write_text(CONFIG.replace("{home}", str(folder)))
    (folder / "linna").mkdir()
    app = wiring.build(settings)
    with app.connect() as conn:
        controllers.apply(conn, app.config, OFFICER)
        day = (db.now(conn).astimezone(HELSINKI) - timedelta(days=1)).date()
    midnight = datetime.combine(day, time(), HELSINKI)
    callers = [MANY_CALLS] * RECORDINGS + [FEW_CALLS] * FEW
    calls = [
        Call(id=f"{n}", start=midnight + timedelta(seconds=60 * n), caller=caller, audio=audio(n), ms=SECONDS * 1000)
        for n, caller in enumerate(callers)
    ]
    deliver(folder / "linna", day, calls)
    run_import(app, "bench", day, "linna")
    return settings


def agreed(app: wiring.App, number: E164) -> str:
    """A request for those calls, up to the officer's yes."""
    with app.connect() as conn:
        today = db.now(conn).astimezone(HELSINKI)
        ticket = fulfilling.open_ticket(
            conn, app.keyring, right=Right.access, received_on=today.date(), channel="letter", language="fi", numbers=[number],
            account="officer", actor=OFFICER,
        )  # fmt: skip
        fulfilling.prove_identity(
            conn, app.keyring, ticket, evidence="strong", from_at=today - timedelta(days=3), to_at=today,
            account="officer", actor=OFFICER,
        )  # fmt: skip
        seen = fulfilling.preview(conn, app.keyring, ticket, OFFICER)
        fulfilling.approve(conn, app.keyring, ticket, scope=seen.scope, account="officer", actor=OFFICER)
    return ticket


def ours(app: wiring.App, ticket: str) -> tuple[float, int]:
    """Seconds, and bytes written."""
    warnings.simplefilter("ignore", DeprecationWarning)
    with app.connect() as conn:
        seconds, made = timed(lambda: packaging.make(conn, app, ticket, OFFICER))
    return seconds, sum(p.size_bytes for p in made.parts)


def bare(app: wiring.App, keys: Sequence[tuple[str, str]]) -> float:
    """Seconds to read, encrypt twice and write the same recordings, in parts of the same size."""

    def work() -> None:
        key = os.urandom(32)
        gcm = AESGCM(key)
        left, n = list(keys), 0
        while left:
            with tempfile.TemporaryFile() as one, tempfile.TemporaryFile() as other:
                first, second = sealing.Hashed(one), sealing.Hashed(other)
                while left and first.size_bytes < packaging.ROOM_BYTES - 16_000 * SECONDS:
                    ctr = AES.new(key, AES.MODE_CTR, counter=Counter.new(nbits=128, little_endian=True))
                    mac = HMAC.new(key, digestmod=SHA1)
                    with app.store.open(*left.pop(0)) as body:
                        while chunk := body.read(sealing.CHUNK_BYTES):
                            n += 1
                            first.write(gcm.encrypt(n.to_bytes(12, "big"), chunk, None))
                            sealed = ctr.encrypt(chunk)
                            mac.update(sealed)
                            second.write(sealed)
                for file in (first, second):
                    file.file.seek(0)
                    app.store.put(
                        f"bench/{uuid4()}", file.file, sha256=file.sha256, size_bytes=file.size_bytes,
                        content_type="application/octet-stream",
                    )  # fmt: skip

    return timed(work)[0]


def peak(settings: Settings, ticket: str) -> float:
    """The peak memory (MiB) of a process that makes that package."""
    ours(wiring.build(settings), ticket)
    # Not getrusage: its peak outlives exec, so a child begins with its parent's.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(settings: Settings) -> list[Result]:
    app = wiring.build(settings)
    peaks = {}
    for n, number in ((FEW, FEW_CALLS), (RECORDINGS, MANY_CALLS)):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            peaks[n] = pool.submit(peak, settings, agreed(app, number)).result()
    with app.connect() as conn:
        pseudonym = app.keyring.pseudonym(MANY_CALLS)
        keys = [
            (row.object_key, row.version_id)
            for row in conn.execute("select object_key, version_id from recording where pseudonym = %s", (pseudonym,))
        ]
    assert len(keys) == RECORDINGS
    more = LARGEST_KIB / 1024 * max(RECORDINGS - FEW, FEW)
    mib = RECORDINGS * len(audio(0)) / (1 << 20)
    both: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        both[0].append(ours(app, agreed(app, MANY_CALLS))[0])
        both[1].append(bare(app, keys))
    speed, bare_speed = mib / median(both[0]), mib / median(both[1])
    return [
        Result(f"package of {RECORDINGS} recordings", speed, bare_speed, "MiB/s", f">= {FLOOR}", speed / bare_speed >= FLOOR),
        Result(
            f"its memory, and of {FEW}", peaks[RECORDINGS], peaks[FEW], "MiB", f"<= +{more:.0f} MiB",
            peaks[RECORDINGS] - peaks[FEW] <= more,
        ),
    ]  # fmt: skip


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="callkeeper-bench-"))
    try:
        with servers(home) as settings:
            results = measured(fill(settings, home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"\n{'':32} {'ours':>10} {'bare':>10}  {'unit':6} {'ratio':>6} limit")
    for r in results:
        print(f"{r.name:32} {r.ours:10,.4g} {r.bare:10,.4g}  {r.unit:6} {r.ours / r.bare:6.2f} {r.limit}{'' if r.good else '  BEYOND'}")  # fmt: skip
    out = {"recordings": RECORDINGS, "results": [asdict(r) for r in results]}
    (PROJECT / "tests" / "bench" / "last-package.json").write_text(json.dumps(out, indent=1) + "\n")
    return 0 if all(r.good for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
