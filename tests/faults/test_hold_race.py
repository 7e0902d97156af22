"""No sweep and no import passes a hold by (architecture, rule 3): sweeps, imports and holds at once, round after round.

``RACE_SECONDS`` (60) is how long the first test goes on. Each round arms a chunk of deletions, sends the chunk
before it, keeps a chunk of calls, and meanwhile places a hold on one of each.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Barrier
from uuid import UUID, uuid4

import psycopg
import pytest

from callkeeper import blockers, db
from callkeeper.blockers import Blocker
from callkeeper.deletions import Night
from callkeeper.errors import CallkeeperError
from callkeeper.jobs import deleting, importing
from callkeeper.jobs.preflight import preflight
from installation import ACTOR, DAY, NOW, at

CHUNK = 3
BLOCK = 50
"""Rounds between two looks at the outcome; then the tables are emptied."""
SECONDS = float(os.environ.get("RACE_SECONDS", "60"))
RED_SECONDS = 60.0
"""A race that can be lost is lost within this time."""
DUE = NOW - timedelta(days=1)

FACTS = """
insert into recording (recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym, pseudonym_key,
    identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels, sample_rate_hz, legal_hold,
    delivery, retention_months)
select ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 'punavaara', 'linna', '+358207001234', 'inbound', %(old)s, 1000, 'known',
    int4send(-1 - n), 'k', int4send(-1 - n), 'x', 'x', 'rec/' || lpad(n::text, 8, '0'), 'v', 'x', 1, 1000, 'pcm_s16le', 1, 8000, false, 1, 6
from generate_series(0, %(last)s) n
"""
JOURNAL = """
insert into deletion (recording, vendor, controller, trigger, object_key, due_at)
select recording, vendor, controller, 'retention_expired', object_key,
    %(due)s + make_interval(secs => right(object_key, 8)::integer / %(chunk)s)
from recording
"""
FETCHED = """
insert into staging (recording, run, vendor, day, delivery, identity, revision, sealed_ref, delivered_at, started_at, duration_ms,
    direction, line, controller, caller_state, pseudonym, pseudonym_key, media_status, door_faults, state, object_key, version_id,
    sha256, size_bytes, audio_ms, codec, channels, sample_rate_hz)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, %(run)s, 'linna', %(day)s, 1, int4send(n), 'x', 'x', now(), %(start)s, 1000,
    'inbound', '+358207001234', 'punavaara', 'known', int4send(n), 'k', 'available', '{}', 'fetched', 'rec/' || n, 'v', 'x', 1, 1000,
    'pcm_s16le', 1, 8000
from generate_series(0, %(last)s) n
"""
TOMBSTONED = "update deletion set tombstoned_at = callkeeper_now() where state = 'armed' and tombstoned_at is null"
UNCOVERED = """
select count(*) from blocker b join recording r on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
where r.started_at = %s and not exists (select from blocker_cover c where c.blocker = b.blocker and c.recording = r.recording)
"""
# What was sending already is noted in the transaction that places the hold, at the very time of the placing.
SENT_AFTER = """
select count(*) from blocker b join recording r on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
join deletion d on d.recording = r.recording and d.state = 'sending'
where not exists (select from blocker_cover c where c.blocker = b.blocker and c.recording = r.recording and c.since = b.placed_at)
"""
OUTCOMES = """
select d.state, count(*) as n from blocker b join recording r on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
join deletion d on d.recording = r.recording group by 1
"""


# The tombstones' way outside is no part of the race: what is armed has one.
TOMBSTONES = """
create or replace function tombstone_stands() returns trigger language plpgsql as $$
begin
    new.tombstoned_at := now();
    return new;
end $$;
create or replace trigger tombstone_stands before update on deletion for each row when (new.state = 'armed')
    execute function tombstone_stands()
"""


@dataclass
class Result:
    """``sent_after`` and ``uncovered`` are what must never be; ``held`` what became of deletions that holds named."""

    rounds: int = 0
    sent_after: int = 0
    uncovered: int = 0
    held: Counter[str] = field(default_factory=Counter)

    @property
    def missed(self) -> int:
        return self.sent_after + self.uncovered


class Race:
    """The four sides. ``to_sending`` may be another way of sending, ``sweeps`` another isolation of the sweeps."""

    def __init__(self, office) -> None:
        self.office = office
        self.isolation = psycopg.IsolationLevel.READ_COMMITTED
        self.to_sending: Callable[..., object] = self._to_sending
        self.rules = deleting.Rules(
            chunk_rows=1000, claim_rows=CHUNK, slice_rows=10**9, lease_minutes=15, retention_months=6
        )
        office.change_settings(import_chunk_rows=CHUNK)
        office.sql.execute(TOMBSTONES)
        with office.connect() as conn:
            preflight(conn, office.app.config, run_key="race", day=DAY, first_day=None, only_vendor=None, actor=ACTOR)
            self.run_number = db.queries().find_run(conn, run_key="race").run
            office.go_live()
            self.night = deleting.open_night(conn, "race", ACTOR)

    def run(self, seconds: float, *, until_missed: bool = False) -> Result:
        result, end = Result(), time.monotonic() + seconds
        while time.monotonic() < end and not (until_missed and result.missed):
            self._block(result)
        return result

    def _block(self, result: Result) -> None:
        sql = self.office.sql
        sql.execute("truncate recording, deletion, staging, blocker, blocker_cover, suppression cascade")
        last = BLOCK * CHUNK - 1
        sql.execute(FACTS, {"old": NOW - timedelta(days=200), "last": last})
        sql.execute(JOURNAL, {"due": DUE, "chunk": CHUNK})
        sql.execute(FETCHED, {"run": self.run_number, "day": DAY, "start": at(9), "last": last})
        together = Barrier(4, timeout=60)
        with ThreadPoolExecutor(4) as all_sides:
            sides = [all_sides.submit(side, together) for side in (self._arm, self._send, self._keep, self._hold)]
            for side in sides:
                side.result()
        result.rounds += BLOCK
        result.sent_after += self.office.value(SENT_AFTER)
        result.uncovered += self.office.value(UNCOVERED, at(9))
        result.held.update({r.state: r.n for r in self.office.rows(OUTCOMES)})

    def _until(self, n: int) -> Night:
        """The night as far as round n's chunk is due."""
        return Night(
            night=self.night.night, run_key="race", mode="live", day=DAY, started_at=self.night.started_at,
            planned_at=DUE + timedelta(seconds=n),
        )  # fmt: skip

    def _arm(self, together: Barrier) -> None:
        with self.office.connect() as conn:
            conn.isolation_level = self.isolation
            for n in range(BLOCK):
                together.wait()
                self._tried(conn, lambda n=n: deleting.arm(conn, self._until(n), self.rules, ACTOR))

    def _send(self, together: Barrier) -> None:
        with self.office.connect() as conn:
            conn.isolation_level = self.isolation
            for n in range(BLOCK):
                together.wait()
                self._tried(conn, lambda n=n: self.to_sending(conn, n))

    def _to_sending(self, conn, n: int) -> None:
        conn.execute(TOMBSTONED)  # the step between arming and sending, whose effect is outside the database
        conn.commit()
        before = f"rec/{(n - 1) * CHUNK - 1:08}"
        deleting._to_sending(conn, self._until(n), 1, self.rules, ACTOR, (before, UUID(int=2**128 - 1)), Counter())

    def _keep(self, together: Barrier) -> None:
        with self.office.connect() as conn:
            job = self.office.app.importing(conn, "race", "linna", ACTOR)
            for _ in range(BLOCK):
                together.wait()
                assert importing.keep_chunk(conn, job) == {"kept": CHUNK}

    def _hold(self, together: Barrier) -> None:
        with self.office.connect() as conn:
            for n in range(BLOCK):
                one = n * CHUNK + random.randrange(CHUNK)
                named = [
                    one.to_bytes(4, "big"),
                    *((-1 - m).to_bytes(4, "big", signed=True) for m in (one, one - CHUNK)),
                ]
                hold = Blocker(
                    blocker=uuid4(), kind="investigation", case_ref="K-1", placed_by="officer",
                    review_on=DAY + timedelta(30), pseudonyms=tuple(named),
                )  # fmt: skip
                together.wait()
                time.sleep(random.random() * 0.006)
                blockers.place(conn, hold, ACTOR)
                blockers.cover(conn, hold.blocker)

    def _tried(self, conn, step: Callable[[], object]) -> None:
        """Under another isolation a step may fail for being late: it is given up, as a task would be tried again."""
        try:
            step()
        except (psycopg.Error, CallkeeperError):
            if self.isolation is psycopg.IsolationLevel.READ_COMMITTED:
                raise
            conn.rollback()


@pytest.fixture
def race(office, monkeypatch):
    """The race, each side a little slow between its lock and its commit: else few of their transactions would meet."""

    def slowly(_step: str) -> None:
        time.sleep(random.random() * 0.001)

    real = blockers.append

    def slow_append(*words, **more):
        slowly("hold.placed")
        return real(*words, **more)

    monkeypatch.setattr(deleting, "reach", slowly)
    monkeypatch.setattr(importing, "reach", slowly)
    monkeypatch.setattr(blockers, "append", slow_append)
    return Race(office)


def test_no_recording_is_sent_after_a_hold_and_none_imported_uncovered(race):
    result = race.run(SECONDS)
    print(f"\n{result.rounds} rounds; deletions that holds named: {dict(result.held)}")

    assert (result.sent_after, result.uncovered) == (0, 0)
    assert result.rounds >= SECONDS, "the race has hardly been run"
    # holds came before and after: else nothing raced
    assert result.held["blocked"] > 0
    assert result.held["sending"] > 0


# --- the race can be lost: else the test above would prove nothing ----------------------------------------------------


def test_without_the_lock_in_the_sweep_recordings_are_sent_after_a_hold(race, monkeypatch):
    real = db.lock_blockers
    monkeypatch.setattr(db, "lock_blockers", lambda conn, *, exclusive: exclusive and real(conn, exclusive=True))

    assert race.run(RED_SECONDS, until_missed=True).sent_after > 0


IN_ONE = """
with locked as materialized (select pg_advisory_xact_lock_shared(%(lock)s))
update deletion d set state = 'sending', sending_at = callkeeper_now()
from leaving l, locked
where l.recording = d.recording and d.state = 'armed' and l.object_key > %(after)s
  and not exists (select from blocker b where covers(b, l.recording, l.controller, l.line, l.pseudonym, l.started_at))
"""


def test_with_lock_and_update_in_one_statement_recordings_are_sent_after_a_hold(race):
    """The statement's look is older than the lock that it waits for."""

    def in_one_statement(conn, n: int) -> None:
        conn.execute(IN_ONE, {"lock": db.BLOCKERS_LOCK, "after": f"rec/{(n - 1) * CHUNK - 1:08}"})
        conn.commit()

    race.to_sending = in_one_statement

    assert race.run(RED_SECONDS, until_missed=True).sent_after > 0


def test_under_repeatable_read_recordings_are_sent_after_a_hold(race):
    """The transaction's look is as old as its first statement: the one that waits for the lock."""
    race.isolation = psycopg.IsolationLevel.REPEATABLE_READ

    assert race.run(RED_SECONDS, until_missed=True).sent_after > 0


def test_without_the_lock_in_the_import_calls_are_kept_uncovered(race, monkeypatch):
    real = db.lock_blockers

    def only_others_lock(conn, *, exclusive):
        if exclusive or not importing_side(conn):
            real(conn, exclusive=exclusive)

    keeping: set[int] = set()
    keep_chunk = importing.keep_chunk

    def importing_side(conn) -> bool:
        return id(conn) in keeping

    def noted(conn, job):
        keeping.add(id(conn))
        return keep_chunk(conn, job)

    monkeypatch.setattr(importing, "keep_chunk", noted)
    monkeypatch.setattr(db, "lock_blockers", only_others_lock)

    result = race.run(RED_SECONDS, until_missed=True)

    assert result.uncovered > 0
    assert result.sent_after == 0, "the sweeps still take theirs"


def test_two_imports_and_holds_do_not_wait_for_each_other_for_ever(office):
    """Keeping takes the lock shared: two vendors keep at once, and a hold gets through between their chunks."""
    with office.connect() as one, office.connect() as other:
        db.lock_blockers(one, exclusive=False)
        db.lock_blockers(other, exclusive=False)
        with office.connect() as holder:
            holder.execute("set lock_timeout = '100ms'")
            with pytest.raises(Exception, match="lock timeout"):
                db.lock_blockers(holder, exclusive=True)
            holder.rollback()
            one.rollback()
            other.rollback()
            db.lock_blockers(holder, exclusive=True)
