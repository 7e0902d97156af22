"""A hold that is placed while a chunk of calls is being kept covers that chunk's calls, always (architecture, rule 3)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import uuid4

import pytest

from callkeeper import blockers, db
from callkeeper.blockers import Blocker
from callkeeper.jobs import importing
from callkeeper.jobs.preflight import preflight
from installation import ACTOR, DAY, at

CHUNK = 3

FETCHED = """
insert into staging (recording, run, vendor, day, delivery, identity, revision, sealed_ref, delivered_at, started_at, duration_ms,
    direction, line, controller, caller_state, pseudonym, pseudonym_key, media_status, door_faults, state, object_key, version_id,
    sha256, size_bytes, audio_ms, codec, channels, sample_rate_hz)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, %s, 'linna', %s, 1, int4send(n), 'x', 'x', now(), %s, 1000,
    'inbound', '+358207001234', 'punavaara', 'known', int4send(n), 'k', 'available', '{}', 'fetched', 'rec/' || n, 'v', 'x', 1, 1000,
    'pcm_s16le', 1, 8000
from generate_series(0, %s) n
"""
MISSED = """
select count(*) from blocker b join recording r on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at)
where not exists (select from blocker_cover c where c.blocker = b.blocker and c.recording = r.recording)
"""


def race(office, rounds: int) -> tuple[int, int]:
    """So many times a chunk is kept while a hold on one of its callers is placed; (calls held, calls missed)."""
    with office.connect() as conn:
        preflight(conn, office.app.config, run_key="race", day=DAY, first_day=None, only_vendor=None, actor=ACTOR)
        run = db.queries().find_run(conn, run_key="race").run
    office.sql.execute(FETCHED, (run, DAY, at(9), rounds * CHUNK - 1))
    office.change_settings(import_chunk_rows=CHUNK)
    together = Barrier(2, timeout=30)

    def keep() -> None:
        with office.connect() as conn:
            job = office.app.importing(conn, "race", "linna", ACTOR)
            for _ in range(rounds):
                together.wait()
                assert importing.keep_chunk(conn, job) == {"kept": CHUNK}

    def hold() -> None:
        with office.connect() as conn:
            for n in range(rounds):
                of_this_chunk = (n * CHUNK + n % CHUNK).to_bytes(4, "big")
                placed = Blocker(
                    blocker=uuid4(),
                    kind="investigation",
                    case_ref="K-1",
                    placed_by="officer",
                    review_on=DAY + timedelta(30),
                    pseudonyms=(of_this_chunk,),
                )
                together.wait()
                blockers.place(conn, placed, ACTOR)
                blockers.cover_live(conn, placed.blocker)

    with ThreadPoolExecutor(2) as both:
        for side in [both.submit(keep), both.submit(hold)]:
            side.result()
    return office.value("select count(*) from blocker_cover"), office.value(MISSED)


def test_a_hold_placed_while_a_chunk_is_kept_covers_its_calls_always(office):
    assert race(office, rounds=400) == (400, 0)


def test_without_the_lock_on_the_imports_side_holds_miss_calls(office, monkeypatch):
    """The race above can be lost: else the test before this one would prove nothing."""
    real = db.lock_blockers

    def only_holds_lock(conn, *, exclusive):
        if exclusive:
            real(conn, exclusive=True)

    monkeypatch.setattr(db, "lock_blockers", only_holds_lock)

    covered, missed = race(office, rounds=200)

    assert missed > 0
    assert covered + missed == 200


def test_two_imports_and_holds_do_not_wait_for_each_other_for_ever(office, monkeypatch):
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
