"""`make bench`, trail: writing events as a ratio to a bare bulk insert of the same rows, and sealing. Prints a table, writes JSON.

`EVENTS=1m` sets how many (default 200k). fsync is on. Bare means: the same rows into the same table with the same indexes, over the same
connection, in transactions of the same size, copied from bytes that were ready before. Sealing is measured against the bare statement
that copies as many rows of the same width. What writing events takes of a job's time is measured in an import and a night of
deletions of `CALLS=400` calls with their audio. A ratio below its floor, or a share beyond its limit, makes the exit code 1.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock
from uuid import uuid4

sys.path.append(str(Path(__file__).resolve().parents[1]))

from run import ACTOR, PROJECT, Result, servers, timed

from callkeeper import db
from callkeeper.clock import HELSINKI
from callkeeper.jobs import sealing
from callkeeper.media.s3 import S3Store
from callkeeper.settings import Settings
from callkeeper.trail.anchor import Anchor
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import DeletionArmed, Event, RecordingKept, canonical, utc
from callkeeper.trail.notes import SealKeys
from deliver import Call, deliver
from installation import DAY, Installation, at

EVENTS = round(
    float(os.environ.get("EVENTS", "200k").lower().rstrip("km"))
    * (1_000_000 if os.environ.get("EVENTS", "").lower().endswith("m") else 1_000)
)
CHUNK = 5_000
ROUNDS = 5
APPEND_FLOOR = 0.5
SHARE_LIMIT = 0.15
CALLS = int(os.environ.get("CALLS", "400"))
LATER = datetime(2027, 5, 26, 0, 30, tzinfo=HELSINKI)
"""When the calls of the installation's day are past their term."""
COPY = "copy callkeeper.event (class, at, body) from stdin (format binary)"
_SINCE_2000 = datetime(2000, 1, 1, tzinfo=UTC)


def kept(n: int) -> list[Event]:
    """What import writes: an event a call, each its own."""
    return [
        RecordingKept(recording=uuid4(), controller="punavaara", vendor="linna", delivery=7, blocked=False)
        for _ in range(n)
    ]


def rows(bodies: Sequence[tuple[str, bytes]], at: datetime) -> bytes:
    """A binary COPY of those (class, body)."""
    out = io.BytesIO()
    out.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
    micros = round((at - _SINCE_2000) / timedelta(microseconds=1))
    for kind, body in bodies:
        name = kind.encode()
        out.write(struct.pack(">hi", 3, len(name)) + name + struct.pack(">iqi", 8, micros, len(body)) + body)
    out.write(struct.pack(">h", -1))
    return out.getvalue()


def copied(conn: db.Connection, whole: bytes) -> None:
    with conn.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(whole)
    conn.commit()


def appending(conn: db.Connection, name: str, one: Callable[[], tuple[Callable[[], object], list[bytes]]]) -> Result:
    """Rows a second, ours and bare in turn, the middle of the rounds."""
    ours, bare = [], []
    for _ in range(ROUNDS):
        write, ready = one()
        took, _ = timed(lambda ready=ready: [copied(conn, whole) for whole in ready])
        bare.append(EVENTS / ROUNDS / took)
        took, _ = timed(write)
        ours.append(EVENTS / ROUNDS / took)
    return Result(name, median(ours), median(bare), "events/s", APPEND_FLOOR)


def each_its_own(conn: db.Connection) -> tuple[Callable[[], object], list[bytes]]:
    at, each = db.now(conn), EVENTS // ROUNDS
    conn.rollback()
    chunks = [kept(min(CHUNK, each - start)) for start in range(0, each, CHUNK)]
    stamp, who = utc(at), ACTOR.facts()
    ready = [rows([(e.event_class, canonical(e, who, stamp)) for e in chunk], at) for chunk in chunks]

    def write() -> None:
        for chunk in chunks:
            append(conn, ACTOR, chunk)
            conn.commit()

    return write, ready


def alike(conn: db.Connection) -> tuple[Callable[[], object], list[bytes]]:
    at, each = db.now(conn), EVENTS // ROUNDS
    conn.rollback()
    event = DeletionArmed(recording=ANY, controller="phm", trigger="retention_expired", state_before="planned")
    chunks = [[uuid4() for _ in range(min(CHUNK, each - start))] for start in range(0, each, CHUNK)]
    before, after = canonical(event, ACTOR.facts(), utc(at)).split(str(ANY).encode())
    ready = [rows([("deletion", before + str(r).encode() + after) for r in chunk], at) for chunk in chunks]

    def write() -> None:
        for chunk in chunks:
            append(conn, ACTOR, (), alike={event: chunk})
            conn.commit()

    return write, ready


def sealed(settings: Settings, home: Path) -> list[Result]:
    """All that was written, sealed and put into the anchor; the bare statement gives as many rows a number and a hash."""
    keys = SealKeys.create(home / "trail-keys", "bench")
    anchor = Anchor(
        S3Store(
            endpoint=settings.store_endpoint, region=settings.store_region, bucket=settings.anchor_bucket,
            access_key=settings.anchor_access_key.get_secret_value(), secret_key=settings.anchor_secret_key.get_secret_value(),
        ), 1,
    )  # fmt: skip
    with db.connect(settings, "owner") as owner:
        n = owner.execute("select count(*) from event").fetchone()[0]  # type: ignore[index]
        owner.execute("create table bare_leaf (seq bigint primary key, event_id bigint unique, xid xid8, class text, at timestamptz, leaf_hash bytea)")  # fmt: skip
        owner.commit()

        def bare() -> None:
            for start in range(0, n, 50_000):
                owner.execute(
                    "insert into bare_leaf select row_number() over (order by xid, id) + %s, id, xid, class, at, sha256(body) from "
                    "(select * from event order by xid, id offset %s limit 50000) e", (start, start),
                )  # fmt: skip
                owner.commit()

        bare_took, _ = timed(bare)
    with db.connect(settings, "sealer") as conn:
        took, done = timed(lambda: sealing.run(conn, keys, anchor, sealing.Rules(), ACTOR))
    assert done.waiting == 0, done
    return [Result("sealing, with the anchor", done.events / took, n / bare_took, "events/s", None)]


@contextlib.contextmanager
def spent() -> Iterator[list[float]]:
    """The seconds of each writing of events, whichever part of callkeeper does it."""
    took: list[float] = []

    def measured(*arguments: Any, **more: Any) -> int:
        seconds, n = timed(lambda: append(*arguments, **more))
        took.append(seconds)
        return int(n)

    with contextlib.ExitStack() as patches:
        for name, module in list(sys.modules.items()):
            if name.startswith("callkeeper.") and getattr(module, "append", None) is append:
                patches.enter_context(mock.patch.object(module, "append", measured))
        yield took


def shares(settings: Settings, home: Path) -> dict[str, float]:
    """Of an import and of a night, with real audio in the real store: the part of its time that writing events takes."""
    found = {}
    (home / "office").mkdir()
    with db.connect(settings, "owner") as owner:
        owner.autocommit = True
        office = Installation(settings, owner, home / "office")
        before = DAY - timedelta(days=1)
        deliver(office.linna, before, [Call(id="warm", start=at(7, day=before))])
        office.run("warm", day=before)
        calls = [Call(id=f"c{n}", start=at(8) + timedelta(seconds=n)) for n in range(CALLS)]
        deliver(office.linna, DAY, calls)
        with spent() as took:
            whole, done = timed(lambda: office.run("import"))
        found["import"] = sum(took) / whole
        office.go_live()
        office.set_clock(LATER - timedelta(days=1))
        office.forecast()
        office.set_clock(LATER)
        with spent() as took:
            whole, done = timed(office.sweep)
        assert done.total("done") >= CALLS, done
        found["a night of deletions"] = sum(took) / whole
    return found


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="callkeeper-bench-"))
    try:
        with servers(home) as settings, db.connect(settings) as conn:
            results = [
                appending(conn, "append, each its own", lambda: each_its_own(conn)),
                appending(conn, "append, alike", lambda: alike(conn)),
            ]
            results += sealed(settings, home)
            of_jobs = shares(settings, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"\n{'':28} {'ours':>10} {'bare':>10}  {'unit':10} {'ratio':>6} floor")
    for r in results:
        print(
            f"{r.name:28} {r.ours:10,.0f} {r.bare:10,.0f}  {r.unit:10} {r.ratio:6.2f} {r.floor or ''}{'' if r.good else '  BELOW'}"
        )
    for job, share in of_jobs.items():
        print(
            f"{f'writing events, of {job}':40} {share:6.1%}, at most {SHARE_LIMIT:.0%}{'' if share <= SHARE_LIMIT else '  BEYOND'}"
        )
    out = {
        "shares": {job: round(share, 3) for job, share in of_jobs.items()},
        "events": EVENTS,
        "results": [vars(r) | {"ratio": round(r.ratio, 3)} for r in results],
    }
    (PROJECT / "tests" / "bench" / "last-trail.json").write_text(json.dumps(out, indent=1) + "\n")
    return 0 if all(r.good for r in results) and max(of_jobs.values()) <= SHARE_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
