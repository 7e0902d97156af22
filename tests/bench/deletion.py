"""`make bench`, deletion: its speed as a ratio to the bare statements, measured in the same run. Prints a table, writes JSON.

`SCALE=5m` is the live recordings in the catalogue (default 200k); as many deletions are done already. fsync is on.

Bare means: the same rows changed by plain statements of SQL, over the same connection, in transactions of the same size,
the events copied from bytes that were ready before; no decision is made, nothing is asked. For the store: DeleteObjects
in thousands, and one listing. Each is measured a few times, in turn with its bare. A ratio beyond its limit makes the exit
code 1.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets as random
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO, Literal, TypeVar
from unittest import mock
from uuid import UUID, uuid4

import boto3
from run import ACTOR, PROJECT, servers, timed

from callkeeper import blockers, controllers, db, decisions, wiring
from callkeeper.blockers import Blocker
from callkeeper.deletions import find_night
from callkeeper.jobs import deleting, tombstones
from callkeeper.media import ObjectVersion, Stored
from callkeeper.settings import Settings
from callkeeper.trail.append import ANY
from callkeeper.trail.events import (
    DeletionArmed,
    DeletionDone,
    DeletionPlanned,
    DeletionSending,
    Event,
    StoreProvenEmpty,
    VendorAnswered,
    VendorAsked,
    canonical,
    utc,
)
from callkeeper.vendors import Capabilities


def _scale(text: str) -> int:
    return round(float(text.rstrip("km")) * {"k": 1_000, "m": 1_000_000}.get(text[-1], 1))


LIVE = _scale(os.environ.get("SCALE", "200k").lower())
DUE = min(max(LIVE // 40, 2_000), 12_500)
"""Recordings of a small sweep; a large one has four times as many."""
CALLS_OF_ONE_NUMBER = 20
HOLDS = 20
"""Live holds while the sweeps run, each on one number."""
OBJECTS = 3_000
ROUNDS = 3

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """``ours`` and ``bare`` are seconds, or rows a second where the limit is a floor."""

    name: str
    ours: float
    bare: float
    unit: str
    limit: float | None
    sense: Literal["at most", "at least"] = "at most"

    @property
    def ratio(self) -> float:
        return self.ours / self.bare

    @property
    def good(self) -> bool:
        if self.limit is None:
            return True
        return self.ratio <= self.limit if self.sense == "at most" else self.ratio >= self.limit


# --- the catalogue ----------------------------------------------------------------------------------------------------

FILL = """
with made as (
    select n, gen_random_uuid() as recording, sha256(int8send(%(salt)s + n)) as hash, (%(controllers)s::text[])[1 + n %% 2] as controller,
        callkeeper_now() - make_interval(days => %(youngest)s) - random() * make_interval(days => %(oldest)s - %(youngest)s) as started_at
    from generate_series(1, %(rows)s) n
)
insert into recording (recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym,
    pseudonym_key, sealed_number, identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels,
    sample_rate_hz, legal_hold, delivery, retention_months, term_since)
select recording, controller, 'linna', '+358102708001', 'inbound', started_at, 60000, 'known',
    sha256(int8send(%(salt)s + n / %(calls)s)), 'k1', hash || hash || hash, hash, substr(hash, 1, 16), hash || hash || hash || hash,
    'rec/' || helsinki_day(retention_eligible_at(started_at, 6)) || '/' || recording, md5(n::text), hash, 960044, 60000, 'opus', 1, 8000,
    false, 1, 6, callkeeper_now() - interval '6 months'
from made
returning recording
"""
HISTORY = """
with gone as (
    insert into deletion (recording, vendor, controller, trigger, state, due_at, planned_at, armed_at, sending_at, versions_removed,
        catalogued, absence_checked_at, store_gone_at, vendor_asked_at, vendor_answer, vendor_confirmed, done_at)
    select gen_random_uuid(), 'linna', (%(controllers)s::text[])[1 + n %% 2], 'retention_expired', 'done', at, at, at, at, 1,
        true, at, at, at, 'deleted', true, at
    from (select n, callkeeper_now() - interval '2 days' - random() * interval '180 days' as at from generate_series(1, %(rows)s) n)
)
insert into suppression (kind, mark) select 'recording', sha256(int8send(-(%(salt)s + n))) from generate_series(1, %(rows)s) n
"""

FORESEEN = """
insert into forecast (made_at, horizon_days, controller, due, blocked) select callkeeper_now() - interval '1 day', 30, '-', 0, 0
"""


class Catalogue:
    """The tables, filled as the owner may; the salt keeps every row's hashes apart."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self._salt = settings, 0
        with db.connect(settings) as conn:
            controllers.apply(conn, wiring.build(settings).config, ACTOR)
            self._controllers = [c for (c,) in conn.execute("select controller from controller order by 1 limit 2")]

    def fill(self, rows: int, *, due: bool) -> list[UUID]:
        """Adds recordings, of the last 170 days, or with their term over for up to a week."""
        youngest, oldest = (186, 193) if due else (1, 170)
        values = {
            "rows": rows, "salt": self._salt, "youngest": youngest, "oldest": oldest, "calls": CALLS_OF_ONE_NUMBER,
            "controllers": self._controllers,
        }  # fmt: skip
        self._salt += rows
        with self.owner() as owner:
            return [row.recording for row in owner.execute(FILL, values)]

    def fill_history(self, rows: int) -> None:
        with self.owner() as owner:
            owner.execute(HISTORY, {"rows": rows, "salt": self._salt, "controllers": self._controllers})
        self._salt += rows

    def vacuum(self) -> None:
        with self.owner() as owner:
            owner.execute("vacuum analyze")

    @contextlib.contextmanager
    def owner(self) -> Iterator[db.Connection]:
        with db.connect(self.settings, "owner") as conn:
            conn.autocommit = True
            yield conn


# --- selecting what is due --------------------------------------------------------------------------------------------

BARE_DUE = """
select recording, vendor, controller, object_key, eligible_at, term_since from recording
where eligible_at <= %s order by eligible_at, recording
"""


def selection(conn: db.Connection, chunk: int) -> Measured:
    """The SELECT of ``plan_expired``, chunk by chunk, as it stands in the query."""
    text = db.queries().plan_expired.sql
    ours_sql = text[text.index("select recording") : text.index("), fresh as")]
    found: list[int] = []
    now = db.now(conn)

    def ours() -> None:
        n, after = 0, {"after_at": deleting._LONG_AGO, "after": deleting._FIRST}
        while rows := conn.execute(ours_sql, after | {"limit": chunk}).fetchall():
            n, after = n + len(rows), {"after_at": rows[-1].eligible_at, "after": rows[-1].recording}
        found.append(n)

    def bare() -> None:
        found.append(len(conn.execute(BARE_DUE, (now,)).fetchall()))

    mine, theirs = _in_turn(ours, bare, 7)
    conn.rollback()
    assert len(set(found)) == 1, found
    return Measured(name=f"selection of {found[0]} due rows", ours=mine, bare=theirs, unit="s", limit=1.5)


def _middle(rounds: Sequence[_T], ratio: Callable[[_T], float]) -> _T:
    """The round whose ratio is in the middle: ours and bare, one after the other, with the same neighbours."""
    return sorted(rounds, key=ratio)[len(rounds) // 2]


def _in_turn(ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> tuple[float, float]:
    """The best of each, a busy neighbour hitting both."""
    times = [(timed(ours)[0], timed(bare)[0]) for _ in range(rounds)]
    return min(t for t, _ in times), min(t for _, t in times)


# --- a sweep on the database's side -----------------------------------------------------------------------------------


class Empty:
    """A store that is empty already: what is left of a deletion is the database's side."""

    def delete(self, versions: Sequence[ObjectVersion]) -> dict[tuple[str, str], str]:
        return {}

    def versions(self, prefix: str, *, first: str = "", last: str = "") -> Iterator[ObjectVersion]:
        return iter(())

    def uploads(self, prefix: str) -> Iterator[tuple[str, str]]:
        return iter(())

    def abort_upload(self, key: str, upload_id: str) -> None: ...


class Taking:
    """A store that takes a file of tombstones at once."""

    def put(self, key: str, body: BinaryIO, *, sha256: bytes, size_bytes: int, content_type: str) -> Stored:
        return Stored(key=key, version_id="v", sha256=sha256, size_bytes=size_bytes, created=True)


class Willing:
    """A vendor that deletes at once."""

    name = "linna"
    capabilities = Capabilities(delete=True, confirm_deleted=True, checksums=True, completeness=True)


def answered(vendor: Any, keyring: Any, row: db.Row) -> deleting._Answer:
    """In place of unsealing and asking, which are not the database's work."""
    return deleting._Answer(row=row, answer="deleted", confirmed=True, trouble="")


STEPS = ("plan", "arm", "tombstones", "send", "ask_vendor")


def ours_sweep(conn: db.Connection, rules: deleting.Rules, rows: int) -> dict[str, float]:
    """A night's transitions and events, seconds per step; the counts of its balance are left out on both sides."""
    night = deleting.open_night(conn, f"bench {uuid4()}", ACTOR)
    took: dict[str, float] = {}
    took["plan"], planned = timed(lambda: deleting.plan(conn, night, rules, ACTOR))
    assert planned["planned"] == rows, planned
    night = find_night(conn, night.run_key)
    took["arm"], armed = timed(lambda: deleting.arm(conn, night, rules, ACTOR))
    assert armed["armed"] == rows, armed
    taking: Any = Taking()
    took["tombstones"], written = timed(lambda: tombstones.export(conn, taking, night.night, ACTOR))
    assert written == rows, written
    took["send"], sent = timed(lambda: deleting.send(conn, night, Empty(), lane=1, rules=rules, actor=ACTOR))
    assert sent["gone"] == rows, sent
    vendor: Any = Willing()
    with mock.patch.object(deleting, "_ask", answered):
        took["ask_vendor"], asked = timed(
            lambda: deleting.ask_vendor(conn, night, vendor, keyring=vendor, rules=rules, actor=ACTOR)
        )
    assert asked["done"] == rows, asked
    return took


BARE_PLAN = """
insert into deletion (recording, vendor, controller, trigger, object_key, due_at, planned_at)
select recording, vendor, controller, 'retention_expired', object_key, eligible_at, now() from recording
where recording = any (%s::uuid[])
"""
BARE_SUPPRESS = """
insert into suppression (kind, mark, since) select 'recording', identity, now() from recording where recording = any (%s::uuid[])
"""
BARE_ARM = "update deletion set state = 'armed', armed_at = now() where recording = any (%s::uuid[])"
BARE_TOMBSTONES = "update deletion set tombstoned_at = now() where recording = any (%s::uuid[])"
BARE_SEND = """
update deletion set state = 'sending', sending_at = now(), lane = 1, lease_until = now() + interval '15 minutes', fence = fence + 1
where recording = any (%s::uuid[])
"""
BARE_GONE = """
update deletion d set state = 'store_gone', store_gone_at = now(), absence_checked_at = now(), versions_removed = 1, catalogued = true,
    identity = r.identity, sealed_ref = r.sealed_ref, object_key = null, lane = null, lease_until = null
from recording r where r.recording = d.recording and d.recording = any (%s::uuid[])
"""
BARE_ERASE = "delete from recording where recording = any (%s::uuid[])"
BARE_ASK = """
update deletion set vendor_asked_at = now(), lane = 0, lease_until = now() + interval '15 minutes', fence = fence + 1
where recording = any (%s::uuid[])
"""
BARE_DONE = """
update deletion set state = 'done', done_at = now(), vendor_answer = 'deleted', vendor_confirmed = true, identity = null,
    sealed_ref = null, lane = null, lease_until = null, night = %s where recording = any (%s::uuid[])
"""
COPY = "copy callkeeper.event (class, at, body) from stdin (format binary)"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _events(event: Event, recordings: Sequence[UUID], at: datetime) -> bytes:
    """The rows of a binary COPY, without its head and its end."""
    before, after = canonical(event, ACTOR.facts(), utc(at)).split(str(ANY).encode())
    kind, out = event.event_class.encode(), io.BytesIO()
    head = struct.pack(f">hi{len(kind)}siq", 3, len(kind), kind, 8, round((at - _EPOCH) / timedelta(microseconds=1)))
    for recording in recordings:
        body = before + str(recording).encode() + after
        out.write(head + struct.pack(">i", len(body)) + body)
    return out.getvalue()


def bare_sweep(conn: db.Connection, rules: deleting.Rules, due: Sequence[UUID], night: int) -> dict[str, float]:
    """The same rows through the same states by plain statements; everything that is sent is made before the clock starts."""
    at = db.now(conn)
    conn.rollback()
    # In the order in which our own steps come to them, so that neither side has the better cache.
    rows = conn.execute(
        "select recording, controller from recording where recording = any (%s) order by eligible_at, recording", (list(due),)
    ).fetchall()  # fmt: skip
    by_key = conn.execute(
        "select recording, controller from recording where recording = any (%s) order by object_key", (list(due),)
    ).fetchall()
    conn.rollback()
    planned = lambda c: DeletionPlanned(  # noqa: E731
        recording=ANY, controller=c, vendor="linna", trigger="retention_expired", reason="retention_expired", state_before="live"
    )  # fmt: skip
    armed = lambda c: DeletionArmed(recording=ANY, controller=c, trigger="retention_expired", state_before="planned")  # noqa: E731
    sending = lambda c: DeletionSending(recording=ANY, controller=c, trigger="retention_expired")  # noqa: E731
    gone = lambda c: StoreProvenEmpty(  # noqa: E731
        recording=ANY, controller=c, trigger="retention_expired", versions_removed=1, catalogued=True
    )
    asked = lambda c: VendorAsked(recording=ANY, controller=c, vendor="linna")  # noqa: E731
    answered = lambda c: VendorAnswered(recording=ANY, controller=c, vendor="linna", answer="deleted", confirmed=True)  # noqa: E731
    done = lambda c: DeletionDone(  # noqa: E731
        recording=ANY, controller=c, vendor="linna", trigger="retention_expired", due_at=utc(at), versions_removed=1,
        vendor_answer="deleted", vendor_confirmed=True,
    )  # fmt: skip

    def prepared(rows: Sequence[db.Row], size: int, *kinds: Callable[[str], Event]) -> list[tuple[str, bytes]]:
        batches = []
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            copied = b"".join(
                _events(kind(c), [r.recording for r in batch if r.controller == c], at)
                for kind in kinds
                for c in sorted({r.controller for r in batch})
            )
            ids = "{" + ",".join(str(r.recording) for r in batch) + "}"
            batches.append((ids, b"PGCOPY\n\xff\r\n\0" + bytes(8) + copied + b"\xff\xff"))
        return batches

    by_id = sorted(rows, key=lambda r: r.recording)
    plan, arm = (prepared(rows, rules.chunk_rows, kind) for kind in (planned, armed))
    send, scrub = (prepared(by_key, rules.claim_rows, kind) for kind in (sending, gone))
    whole = prepared(by_id, tombstones.FILE_ROWS)
    ask = prepared(by_id, deleting.VENDOR_CLAIM_ROWS, asked)
    finish = prepared(by_id, deleting.VENDOR_CLAIM_ROWS, answered, done)

    def run(batch: tuple[str, bytes], *statements: str) -> None:
        ids, events = batch
        for statement in statements:
            conn.execute(statement, (night, ids) if statement is BARE_DONE else (ids,))
        with conn.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write(events)
        conn.commit()

    took: dict[str, float] = {}
    took["plan"], _ = timed(lambda: [run(batch, BARE_PLAN) for batch in plan])
    took["arm"], _ = timed(lambda: [run(batch, BARE_SUPPRESS, BARE_ARM) for batch in arm])
    took["tombstones"], _ = timed(lambda: [run(batch, BARE_TOMBSTONES) for batch in whole])

    def sends() -> None:
        for sent, scrubbed in zip(send, scrub, strict=True):
            run(sent, BARE_SEND)
            run(scrubbed, BARE_GONE, BARE_ERASE)

    def asks() -> None:
        for first, second in zip(ask, finish, strict=True):
            run(first, BARE_ASK)
            run(second, BARE_DONE)

    took["send"], _ = timed(sends)
    took["ask_vendor"], _ = timed(asks)
    return took


def sweeps(catalogue: Catalogue, conn: db.Connection, rules: deleting.Rules) -> list[Measured]:
    night = deleting.open_night(conn, "bare", ACTOR).night

    def round_of(rows: int) -> tuple[dict[str, float], dict[str, float]]:
        catalogue.fill(rows, due=True)
        catalogue.vacuum()
        ours = ours_sweep(conn, rules, rows)
        due = catalogue.fill(rows, due=True)
        catalogue.vacuum()
        return ours, bare_sweep(conn, rules, due, night)

    rounds: dict[int, list[tuple[dict[str, float], dict[str, float]]]] = {DUE: [], 4 * DUE: []}
    for _ in range(ROUNDS):
        for rows, took in rounds.items():
            took.append(round_of(rows))
    results = []
    for rows, took in rounds.items():
        ours, bare = _middle(took, lambda pair: sum(pair[0].values()) / sum(pair[1].values()))
        results.append(
            Measured(name=f"sweep of {rows}", ours=sum(ours.values()), bare=sum(bare.values()), unit="s", limit=2)
        )
    results += [
        Measured(name=f"  of it: {step}", ours=ours[step], bare=bare[step], unit="s", limit=None) for step in STEPS
    ]
    last = deleting.open_night(conn, "last", ACTOR)
    deleting.plan(conn, last, rules, ACTOR)
    last = find_night(conn, "last")
    counted, _ = timed(lambda: deleting.balance(conn, last, ACTOR))
    foreseen, _ = timed(lambda: deleting.forecast(conn, last))
    print(f"a night's balance takes {counted:.2f} s, its forecast {foreseen:.2f} s")
    small, large = (min(sum(ours.values()) for ours, _ in took) for took in rounds.values())
    results.append(Measured(name="  growth: four times the rows", ours=large, bare=small, unit="s", limit=6))
    return results


# --- the store --------------------------------------------------------------------------------------------------------


def store(catalogue: Catalogue, settings: Settings, conn: db.Connection, rules: deleting.Rules) -> Measured:
    """One lane's ``send`` as it is, journal and all, against DeleteObjects and one listing."""
    app = wiring.build(settings)
    s3 = boto3.client(
        "s3", endpoint_url=settings.store_endpoint, region_name=settings.store_region,
        aws_access_key_id=settings.store_destroyer_access_key.get_secret_value(),
        aws_secret_access_key=settings.store_destroyer_secret_key.get_secret_value(),
    )  # fmt: skip
    audio = random.token_bytes(1_000)
    digest = sha256(audio).digest()

    def put(key: str) -> tuple[str, str]:
        stored = app.store.put(key, io.BytesIO(audio), sha256=digest, size_bytes=len(audio), content_type="audio/ogg")
        return key, stored.version_id

    rounds = []
    with ThreadPoolExecutor(8) as pool:
        for _ in range(ROUNDS):
            catalogue.fill(OBJECTS, due=True)
            with catalogue.owner() as owner:
                # One day's, as a night has them.
                owner.execute("update recording set object_key = 'rec/' || %s || '/' || recording where eligible_at <= callkeeper_now()", (_day(),))  # fmt: skip
                keys = [k for (k,) in owner.execute("select object_key from recording where eligible_at <= callkeeper_now()")]  # fmt: skip
                for key, version in pool.map(put, keys):
                    owner.execute("update recording set version_id = %s where recording = %s", (version, key[-36:]))
            night = deleting.open_night(conn, f"bench {uuid4()}", ACTOR)
            deleting.plan(conn, night, rules, ACTOR)
            night = find_night(conn, night.run_key)
            deleting.arm(conn, night, rules, ACTOR)
            tombstones.export(conn, app.store, night.night, ACTOR)
            seconds, sent = timed(
                lambda night=night: deleting.send(conn, night, app.destroyer, lane=1, rules=rules, actor=ACTOR)
            )
            assert sent["gone"] == len(keys) == OBJECTS, sent
            prefix = f"rec/{_day()}"
            there = list(pool.map(put, [f"{prefix}/{uuid4()}" for _ in range(OBJECTS)]))
            bare, _ = timed(lambda there=there, prefix=prefix: bare_deletion(s3, settings, there, prefix))
            rounds.append((OBJECTS / seconds, OBJECTS / bare))
    ours, bare = _middle(rounds, lambda pair: pair[0] / pair[1])
    return Measured(name="store, with proof", ours=ours, bare=bare, unit="objects/s", limit=0.7, sense="at least")


def _day() -> str:
    """A folder that nothing was in: what SeaweedFS has deleted makes a listing slow for a while."""
    return (date(2100, 1, 1) + timedelta(days=random.randbelow(300_000))).isoformat()


def bare_deletion(s3: Any, settings: Settings, there: Sequence[tuple[str, str]], prefix: str) -> None:
    for start in range(0, len(there), 1000):
        objects = [{"Key": key, "VersionId": version} for key, version in there[start : start + 1000]]
        s3.delete_objects(Bucket=settings.store_bucket, Delete={"Objects": objects, "Quiet": True})
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=settings.store_bucket, Prefix=prefix)
    assert not any(page.get("Versions") for page in pages)


# --- placing a hold ---------------------------------------------------------------------------------------------------


def hold_on(pseudonym: bytes) -> Blocker:
    return Blocker(
        blocker=uuid4(), kind="investigation", case_ref="K-1", placed_by="officer", review_on=date(2100, 1, 1),
        pseudonyms=(pseudonym,),
    )  # fmt: skip


def numbers(conn: db.Connection, n: int) -> list[bytes]:
    """Numbers of so many calls each."""
    query = "select pseudonym from recording group by pseudonym having count(*) = %s limit %s"
    found = [bytes(row.pseudonym) for row in conn.execute(query, (CALLS_OF_ONE_NUMBER, n))]
    conn.rollback()
    return found


def placing(catalogue: Catalogue, conn: db.Connection, name: str, of: Sequence[bytes]) -> tuple[Measured, list[str]]:
    """Placing and covering, and which tables were read as a whole for it."""
    before = _scans(catalogue, conn)
    placed, committed = [], []
    for number in of:
        began = time.perf_counter()
        hold = hold_on(number)
        blockers.place(conn, hold, ACTOR)
        covered = blockers.cover(conn, hold.blocker)
        placed.append(time.perf_counter() - began)
        assert covered == CALLS_OF_ONE_NUMBER, covered
        began = time.perf_counter()
        conn.execute("insert into suppression (kind, mark) values ('recording', %s)", (random.token_bytes(32),))
        conn.commit()
        committed.append(time.perf_counter() - began)
    after = _scans(catalogue, conn)
    # The first of them pays for a new connection's caches.
    measured = Measured(name=name, ours=median(placed[1:]), bare=median(committed[1:]), unit="s", limit=50)
    return measured, [table for table, n in before.items() if after[table] > n]


def armed(catalogue: Catalogue, conn: db.Connection, rules: deleting.Rules) -> None:
    """A night under way: everything due is armed, nothing sent."""
    catalogue.fill(4 * DUE, due=True)
    night = deleting.open_night(conn, f"bench {uuid4()}", ACTOR)
    deleting.plan(conn, night, rules, ACTOR)
    deleting.arm(conn, find_night(conn, night.run_key), rules, ACTOR)


def _scans(catalogue: Catalogue, conn: db.Connection) -> dict[str, int]:
    conn.execute("select pg_stat_force_next_flush()")
    conn.commit()
    with catalogue.owner() as owner:
        rows = owner.execute(
            "select relname, seq_scan from pg_stat_user_tables where relname in ('recording', 'deletion', 'blocker_cover')"
        )
        return {row.relname: row.seq_scan for row in rows}


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="callkeeper-bench-"))
    try:
        with servers(home) as settings:
            catalogue = Catalogue(settings)
            filled, _ = timed(
                lambda: [catalogue.fill(min(LIVE - n, 250_000), due=False) for n in range(0, LIVE, 250_000)]
            )
            history, _ = timed(
                lambda: [catalogue.fill_history(min(LIVE - n, 250_000)) for n in range(0, LIVE, 250_000)]
            )
            print(f"{LIVE} live recordings in {filled:.0f} s, as many deletions in {history:.0f} s")
            catalogue.vacuum()
            rules = replace(wiring.build(settings).deleting_rules(), slice_rows=10**9)
            with db.connect(settings) as conn:
                decisions.record(conn, "go_live", "approve", "officer", b"seen", ACTOR)
                conn.execute(FORESEEN)
                conn.commit()
                of = numbers(conn, 2 * HOLDS)
                hold, whole = placing(catalogue, conn, "a hold on one number", of[:HOLDS])
                catalogue.fill(DUE, due=True)
                catalogue.vacuum()
                selections = [selection(conn, rules.chunk_rows)]
                ours_sweep(conn, rules, DUE)  # warm
                results = [*selections, *sweeps(catalogue, conn, rules)]
                results += [store(catalogue, settings, conn, rules), hold]
                armed(catalogue, conn, rules)
                hold, more = placing(catalogue, conn, "  while a night is under way", of[HOLDS:])
                results.append(hold)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"\n{'':32} {'ours':>10} {'bare':>10}  {'unit':10} {'ratio':>6} limit")
    for r in results:
        limit = f"{r.sense} {r.limit}" if r.limit else ""
        print(f"{r.name:32} {r.ours:10,.4g} {r.bare:10,.4g}  {r.unit:10} {r.ratio:6.2f} {limit}{'' if r.good else '  BEYOND'}")  # fmt: skip
    whole += more
    print(f"tables read as a whole while holds were placed: {', '.join(whole) or 'none'}")
    out = {"live": LIVE, "results": [vars(r) | {"ratio": round(r.ratio, 3)} for r in results], "scans": whole}
    (PROJECT / "tests" / "bench" / "last-deletion.json").write_text(json.dumps(out, indent=1) + "\n")
    return 0 if not whole and all(r.good for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
