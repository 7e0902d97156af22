"""`make bench`, import: its speed as a ratio to the bare limit, measured in the same run. Prints a table, writes JSON.

Bare means: the same rows, indexes, batch sizes and connection, but only the SQL; or only the copy. A ratio below its floor
makes the exit code 1. `CALLS=100000` sets the calls of the metadata part (default 20000).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import secrets as random
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from callkeeper import controllers, db, wiring
from callkeeper.clock import HELSINKI
from callkeeper.embedded.ports import free_ports
from callkeeper.embedded.postgres import Postgres
from callkeeper.embedded.secrets import Secrets
from callkeeper.embedded.store import ANCHOR, BUCKETS, PORTS, RECORDINGS, REGION, SeaweedFS
from callkeeper.jobs import importing
from callkeeper.jobs.preflight import preflight
from callkeeper.media.probe import probe
from callkeeper.pseudonyms import Keyring
from callkeeper.settings import Settings
from callkeeper.trail.events import Actor
from callkeeper.vendors.drop import Drop

CALLS = int(os.environ.get("CALLS", "20000"))
DAY = date(2026, 6, 1)
ACTOR = Actor(dag="bench", run="bench", task="bench", attempt=1)
LANES = 2
LARGEST_MIB = 50
"""100,000 calls may take so much more memory than 100."""
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    name: str
    ours: float
    bare: float
    unit: str
    floor: float | None

    @property
    def ratio(self) -> float:
        return self.ours / self.bare if self.bare else 0.0

    @property
    def good(self) -> bool:
        return self.floor is None or self.ratio >= self.floor


@contextlib.contextmanager
def servers(home: Path) -> Iterator[Settings]:
    """Postgres and SeaweedFS as `make up` runs them, fsync on, in a folder of their own."""
    postgres = Postgres(home / "postgres", free_ports(["postgres"])["postgres"], password=random.token_hex(8))
    store = SeaweedFS(home / "store", free_ports(PORTS), secrets=Secrets(home / "secrets"))
    postgres.start()
    store.start()
    try:
        for bucket in BUCKETS:
            store.make_bucket(bucket)
        passwords = dict.fromkeys(db.ROLES, "bench")
        with postgres.connect() as superuser:
            db.ensure_roles(superuser, passwords, "bench")
        Keyring.create(home / "keys")
        access_key, secret_key = store.credentials("importer")
        destroyer_access_key, destroyer_secret_key = store.credentials("destroyer")
        sealer_access_key, sealer_secret_key = store.credentials("sealer")
        settings = Settings(
            home=home, keys_dir=home / "keys", db_port=postgres.port, db_name="bench",
            store_endpoint=store.endpoint, store_region=REGION, store_bucket=RECORDINGS,
            store_access_key=access_key, store_secret_key=secret_key,
            store_destroyer_access_key=destroyer_access_key, store_destroyer_secret_key=destroyer_secret_key,
            anchor_bucket=ANCHOR, anchor_access_key=sealer_access_key, anchor_secret_key=sealer_secret_key,
            **{f"db_{role}_password": password for role, password in passwords.items()},
        )  # fmt: skip
        db.migrate(settings)
        yield settings
    finally:
        store.stop(kill=True)
        postgres.stop()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    value = work()
    return time.perf_counter() - began, value


# --- metadata ---------------------------------------------------------------------------------------------------------


def write_manifest(folder: Path, calls: int, seed: str = "a") -> Path:
    """A day's manifest with ordinary records: nine in ten with a number of their own."""
    day = folder / DAY.isoformat()
    day.mkdir(parents=True)
    start = datetime(DAY.year, DAY.month, DAY.day, 0, 0, tzinfo=HELSINKI)
    spellings = ("+35840{:07d}", "0035840{:07d}", "040 {:07d}", "35840{:07d}")
    records = [
        {
            "recording_id": f"{seed}-{n:07d}",
            "call_id": f"c-{n:07d}",
            "segment_no": 0,
            "started_at": (start + timedelta(seconds=n * 86_000 / calls)).isoformat(timespec="milliseconds"),
            "duration_ms": 60_000,
            "direction": "inbound" if n % 3 else "outbound",
            "caller_number": None if n % 10 == 0 else spellings[n % 4].format(1_000_000 + n % 8_000_000),
            "caller_withheld": n % 10 == 0,
            "service_number": "0102708001" if n % 2 else "0207001234",
            "media": {
                "path": f"audio/{n:07d}.wav", "bytes": 960_044, "sha256": hashlib.sha256(str(n).encode()).hexdigest(),
                "content_type": "audio/wav", "codec": "pcm_s16le", "channels": 1, "encryption": None,
            },
            "status": "available",
        }
        for n in range(calls)
    ]  # fmt: skip
    manifest = day / "manifest.json"
    manifest.write_text(
        json.dumps(
            {
                "schema_version": 1, "vendor": "linna", "delivery_id": "bench", "delivery_seq": 1, "business_date": DAY.isoformat(),
                "timezone": "Europe/Helsinki", "generated_at": f"{DAY}T23:59:59+03:00", "complete": True,
                "record_count": calls, "records": records,
            }
        )
    )  # fmt: skip
    return manifest


def job(conn: db.Connection, settings: Settings, vendor: Drop, key: str) -> importing.Import:
    app = wiring.build(settings)
    run = preflight(conn, app.config, run_key=key, day=DAY, first_day=None, only_vendor="linna", actor=ACTOR)
    return importing.Import(
        run=run.run, vendor=vendor, last_day=DAY, only_day=None, keyring=app.keyring, rules=app.rules(), actor=ACTOR
    )


FETCHED = """update staging set state = 'fetched', version_id = 'v', sha256 = media_sha256, size_bytes = media_bytes, audio_ms = duration_ms,
    codec = 'pcm_s16le', channels = 1, sample_rate_hz = 8000 where state = 'listed'"""


def metadata(settings: Settings, folder: Path) -> list[Result]:
    drop = folder / "drop"
    write_manifest(drop, CALLS)
    vendor = Drop("linna", location=str(drop))
    with db.connect(settings) as conn:
        controllers.apply(conn, wiring.build(settings).config, ACTOR)
        first = job(conn, settings, vendor, "first")
        # Warm: modules, queries, the numbering plan. Another vendor's folder, so that nothing of it is known later.
        write_manifest(folder / "warm", 50, seed="warm")
        warm = job(conn, settings, Drop("linna", location=str(folder / "warm")), "warm")
        importing.stage(conn, warm)
        importing.check(conn, warm)
        conn.execute("delete from staging")
        conn.commit()

        staged, _ = timed(lambda: importing.stage(conn, first))
        checked, _ = timed(lambda: importing.check(conn, first))
        conn.execute(FETCHED)  # the audio has its own part below
        conn.commit()
        rows = list(conn.execute("select * from staging order by recording"))
        conn.commit()
        kept, counts = timed(lambda: importing.keep(conn, first))
        assert counts["kept"] == CALLS, counts
        conn.execute("select 1")
        conn.commit()

    with db.connect(settings, "owner") as owner:
        owner.execute("truncate recording, staging, blocker_cover")
        owner.commit()
    with db.connect(settings) as conn:
        bare, _ = timed(lambda: bare_rows(conn, rows, first.rules.chunk_rows))
        assert conn.execute("select count(*) from recording").fetchone()[0] == CALLS
    return [
        Result("first import of metadata", CALLS / (staged + checked + kept), CALLS / bare, "calls/s", 0.3),
        Result("  of it: list and stage", CALLS / staged, CALLS / bare, "calls/s", None),
        Result("  of it: check", CALLS / checked, CALLS / bare, "calls/s", None),
        Result("  of it: keep", CALLS / kept, CALLS / bare, "calls/s", None),
    ]


INSERT = """insert into recording (recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym,
    pseudonym_key, sealed_number, identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels,
    sample_rate_hz, legal_hold, delivery, retention_months)
select recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym,
    pseudonym_key, sealed_number, identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels,
    sample_rate_hz, legal_hold, delivery, 6
from staging where recording = any (%s) on conflict do nothing"""


def bare_rows(conn: db.Connection, rows: list[Any], chunk: int) -> None:
    """The same rows into staging by COPY, then INSERT … ON CONFLICT into the catalogue, a chunk a transaction."""
    columns = rows[0]._fields
    types = {
        r[0]: r[1]
        for r in conn.execute(
            "select attname, atttypid::regtype::text from pg_attribute where attrelid = 'staging'::regclass and attnum > 0"
        )
    }
    with (
        conn.cursor() as cursor,
        cursor.copy(f"copy staging ({', '.join(columns)}) from stdin (format binary)") as copy,
    ):
        copy.set_types([types[c] for c in columns])
        for row in rows:
            copy.write_row(row)
    conn.commit()
    for at in range(0, len(rows), chunk):
        ids = [row.recording for row in rows[at : at + chunk]]
        conn.execute(INSERT, (ids,))
        conn.execute("delete from staging where recording = any (%s)", (ids,))
        conn.commit()


def large(settings: Settings, folder: Path) -> tuple[float, int, Result]:
    """100,000 calls: the peak memory in MiB of a process that imports them beyond one that imports 100, the manifest's size
    in bytes, and how long the same delivery takes when it is met again."""
    context = multiprocessing.get_context("spawn")
    peaks = []
    for calls in (100, 100_000):
        write_manifest(folder / f"memory{calls}", calls, seed=f"m{calls}")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            peaks.append(pool.submit(_stage_peak, settings, str(folder / f"memory{calls}"), f"memory{calls}").result())
    manifest = folder / "memory100000" / DAY.isoformat() / "manifest.json"
    with db.connect(settings, "owner") as owner:
        owner.autocommit = True
        owner.execute("vacuum staging")  # what 100,000 calls left behind is no part of meeting a delivery again
    known, hashed = [], []
    with db.connect(settings) as conn:
        for n in range(3):
            again = job(conn, settings, Drop("linna", location=str(folder / "memory100000")), f"again{n}")
            known.append(timed(lambda again=again: importing.stage(conn, again))[0])
            hashed.append(timed(lambda: hashlib.sha256(manifest.read_bytes()).digest())[0])
    result = Result("a known delivery again", 1 / min(known), 1 / min(hashed), "times/s", 0.5)
    return (peaks[1] - peaks[0]) / 1024, manifest.stat().st_size, result


def _stage_peak(settings: Settings, location: str, key: str) -> int:
    with db.connect(settings) as conn:
        work = job(conn, settings, Drop("linna", location=location), key)
        importing.stage(conn, work)
        importing.check(conn, work)
        conn.execute(FETCHED)
        conn.commit()
        importing.keep(conn, work)
    # Not ru_maxrss: it starts with what the parent had when it forked.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


# --- audio ------------------------------------------------------------------------------------------------------------


def make_audio(folder: Path, files: int, minutes: float) -> list[Path]:
    """PCM16 WAV files of 8 kHz mono, random samples: nothing compresses them on the way."""
    folder.mkdir(parents=True)
    paths = []
    for n in range(files):
        path = folder / f"{n}.wav"
        with wave.open(str(path), "wb") as out:
            out.setparams((1, 2, 8000, 0, "NONE", ""))
            out.writeframes(random.token_bytes(round(minutes * 60 * 16000)))
        paths.append(path)
    return paths


def _ours(settings: Settings, paths: list[Path], key: str) -> None:
    """What a lane does with each file: stream, hash, probe, put."""
    from callkeeper.jobs import fetching

    store = wiring.build(settings).store
    for path in paths:
        with tempfile.SpooledTemporaryFile(max_size=fetching.SPOOL_BYTES) as spool:
            digest, size = fetching._copy(path.open("rb"), spool)
            spool.seek(0)
            probe(spool, claimed_codec=None, content_type="audio/wav")
            spool.seek(0)
            store.put(f"rec/{key}/{uuid4()}", spool, sha256=digest, size_bytes=size, content_type="audio/wav")


def _bare(settings: Settings, paths: list[Path], key: str) -> None:
    """Only the copy: read the file, put it."""
    import boto3

    s3 = boto3.client(
        "s3", endpoint_url=settings.store_endpoint, region_name=settings.store_region,
        aws_access_key_id=settings.store_access_key.get_secret_value(),
        aws_secret_access_key=settings.store_secret_key.get_secret_value(),
    )  # fmt: skip
    for path in paths:
        s3.put_object(Bucket=settings.store_bucket, Key=f"bare/{key}/{uuid4()}", Body=path.read_bytes())


def _lanes(
    work: Callable[[Settings, list[Path], str], None], settings: Settings, paths: list[Path], pool: ProcessPoolExecutor
) -> float:
    def run() -> None:
        for lane in [pool.submit(work, settings, paths[lane::LANES], str(lane)) for lane in range(LANES)]:
            lane.result()

    return timed(run)[0]


def audio(settings: Settings, folder: Path) -> list[Result]:
    paths = make_audio(folder / "pcm", files=60, minutes=2)
    total = sum(p.stat().st_size for p in paths)
    ours, bare = [], []
    with ProcessPoolExecutor(LANES, mp_context=multiprocessing.get_context("spawn")) as pool:
        for work in (_bare, _ours):
            _lanes(work, settings, paths[:4], pool)
        for _ in range(3):  # in turn, so that a busy neighbour hits both
            bare.append(_lanes(_bare, settings, paths, pool))
            ours.append(_lanes(_ours, settings, paths, pool))
    block = random.token_bytes(8 << 20)
    sha, _ = timed(lambda: [hashlib.sha256(block).digest() for _ in range(16)])
    limit = min(total / min(bare), 16 * len(block) / sha)
    results = [Result("audio, PCM", total / min(ours) / 1e6, limit / 1e6, "MB/s", 0.8)]
    with ProcessPoolExecutor(LANES, mp_context=multiprocessing.get_context("spawn")) as pool:
        opus = make_opus(folder / "opus", files=60, minutes=2)
        _lanes(_ours, settings, opus[:4], pool)
        seconds = _lanes(_ours, settings, opus, pool)
        raw = _lanes(_bare, settings, opus, pool)
    results.append(Result("audio, Opus", 120 / seconds, 120 / raw, "minutes/s", None))
    return results


def make_opus(folder: Path, files: int, minutes: float) -> list[Path]:
    """Opus at 16 kbit/s: one file encoded, its copies named apart."""
    import av
    import numpy as np

    folder.mkdir(parents=True)
    file = io.BytesIO()
    rng = np.random.default_rng(1)
    with av.open(file, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=48000, layout="mono")
        stream.bit_rate = 16000
        for _ in range(round(minutes * 60)):
            samples = (rng.standard_normal((1, 48000)) * 3000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 48000
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    paths = [folder / f"{n}.opus" for n in range(files)]
    for path in paths:
        path.write_bytes(file.getvalue())
    return paths


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="callkeeper-bench-"))
    try:
        with servers(home) as settings:
            results = [*metadata(settings, home / "metadata"), *audio(settings, home / "audio")]
            beyond, manifest, known = large(settings, home / "memory")
            results.insert(1, known)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"\n{'':28} {'ours':>12} {'bare':>12}  {'unit':10} {'ratio':>6} {'floor':>6}")
    for r in results:
        mark = "" if r.good else "  BELOW"
        print(f"{r.name:28} {r.ours:12,.1f} {r.bare:12,.1f}  {r.unit:10} {r.ratio:6.2f} {r.floor or '':>6}{mark}")
    print(
        f"{'100,000 calls of metadata':28} {beyond:12,.0f} {manifest / 2**20:12,.0f}  MiB beyond 100 calls, manifest's size"
    )
    bounded = beyond < LARGEST_MIB
    out = {
        "calls": CALLS,
        "results": [vars(r) | {"ratio": round(r.ratio, 3)} for r in results],
        "memory_mib": round(beyond, 1),
    }
    (PROJECT / "tests" / "bench" / "last.json").write_text(json.dumps(out, indent=1) + "\n")
    return 0 if bounded and all(r.good for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
