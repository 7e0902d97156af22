"""Guards of the way out, each shown by what would go wrong without it: `make mutations` takes them away one by one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest

from callkeeper import blockers, db, deletions
from callkeeper.blockers import Blocker, Predicate
from callkeeper.errors import CallkeeperError
from callkeeper.jobs import deleting, fetching, holding, importing
from callkeeper.jobs.preflight import preflight
from callkeeper.media.probe import probe
from callkeeper.trail import events
from deliver import Call, deliver
from installation import ACTOR, DAY, at

LATER = datetime(2027, 5, 26, 0, 30, tzinfo=UTC)
"""The night in which the calls of DAY are past their term."""
CALLER = "+358401234501"
"""Who is in every call."""


@pytest.fixture
def kept(office):
    """Two calls in the catalogue, their term over, deletion live, the last forecast an evening old."""
    deliver(office.linna, DAY, [Call(id="a", start=at(8)), Call(id="b", start=at(9))])
    office.run("import")
    office.go_live()
    office.set_clock(LATER - timedelta(days=1))
    office.forecast()
    office.set_clock(LATER)
    return office


def hold_on(office) -> Blocker:
    return Blocker(
        blocker=uuid4(), kind="investigation", case_ref="K-1", placed_by="officer", review_on=DAY,
        pseudonyms=(office.pseudonym(CALLER),),
    )  # fmt: skip


@contextmanager
def a_hold_is_being_placed(office) -> Iterator[None]:
    """Its row is written and not yet committed; it is committed once somebody waits for the lock, or at the end."""
    waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
    over = Event()
    with office.connect() as conn, ThreadPoolExecutor(1) as pool:
        db.lock_blockers(conn, exclusive=True)
        blockers.add(conn, hold_on(office), ACTOR)

        def commit() -> None:
            while not over.wait(0.01) and not office.value(waits):
                pass
            conn.commit()

        placing = pool.submit(commit)
        try:
            yield
        finally:
            over.set()
            placing.result()


def states(office) -> list[str]:
    return sorted(row.state for row in office.rows("select state from deletion"))


def armed(office):
    with office.connect() as conn:
        return office.armed(conn, "night")


def send(office, night, destroyer=None, lane=1):
    with office.connect() as conn:
        return deleting.send(
            conn, night, destroyer or office.app.destroyer, lane=lane, rules=office.app.deleting_rules(), actor=ACTOR
        )


class Beside:
    """The store's destroyer; something happens before it deletes, or it answers something else."""

    def __init__(self, office, before=None, answer=None):
        self._real, self._before, self._answer = office.app.destroyer, before, answer

    def __getattr__(self, name):
        return getattr(self._real, name)

    def delete(self, versions):
        if self._before:
            self._before()
        return self._answer(versions) if self._answer else self._real.delete(versions)


# --- the blockers' lock -----------------------------------------------------------------------------------------------


def test_arming_waits_for_a_hold_that_is_being_placed_and_sees_it(kept):
    with a_hold_is_being_placed(kept):
        armed(kept)

    assert states(kept) == ["blocked", "blocked"]
    assert kept.events("deletion.armed") == []


def test_sending_waits_for_a_hold_that_is_being_placed_and_sees_it(kept):
    night = armed(kept)

    with a_hold_is_being_placed(kept):
        send(kept, night)

    assert states(kept) == ["blocked", "blocked"]
    assert len(kept.versions()) == 2


def test_what_was_sent_and_not_let_go_waits_for_a_hold_that_is_being_placed_and_sees_it(kept):
    """The store denies it, under a legal hold; the register's row comes a moment later."""
    night = armed(kept)
    kept.sql.execute("update recording set legal_hold = true")

    def deny(versions):
        return {(v.key, v.version_id): "denied" for v in versions}

    with ExitStack() as stack:
        send(kept, night, Beside(kept, before=lambda: stack.enter_context(a_hold_is_being_placed(kept)), answer=deny))

    assert states(kept) == ["blocked", "blocked"]


def test_an_import_waits_for_a_hold_that_is_being_placed_and_sees_it(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8))])
    with office.connect() as conn:
        preflight(conn, office.app.config, run_key="n", day=DAY, first_day=None, only_vendor="linna", actor=ACTOR)
        job = office.app.importing(conn, "n", "linna", ACTOR)
        importing.stage(conn, job)
        importing.check(conn, job)
        fetching.fetch(conn, job, office.app.store, probe, lane=1, claim_rows=10)

        with a_hold_is_being_placed(office):
            importing.keep(conn, job)

    (kept,) = office.rows("select recording from recording")
    assert office.rows("select recording from blocker_cover") == [kept]


def test_a_refusal_waits_for_a_hold_that_is_being_placed_and_sees_it(office):
    long_ago = DAY - timedelta(days=200)
    deliver(office.linna, DAY, [Call(id="old", start=at(8, day=long_ago))])
    with office.connect() as conn:
        preflight(conn, office.app.config, run_key="n", day=DAY, first_day=None, only_vendor="linna", actor=ACTOR)
        job = office.app.importing(conn, "n", "linna", ACTOR)
        importing.stage(conn, job)

        with a_hold_is_being_placed(office):
            importing.check(conn, job)

    assert states(office) == [], "it was not refused"


@pytest.mark.parametrize("how", ["blocker", "case"])
def test_placing_a_hold_waits_for_whoever_has_looked_and_not_yet_committed(kept, how):
    with kept.connect() as worker, kept.connect() as conn:
        case_ref, _ = holding.draft(
            conn, kept.app.keyring, kind="complaint", facts=holding.Facts(), account="officer", actor=ACTOR, wide=True,
            predicate=Predicate(pseudonyms=(kept.pseudonym(CALLER),)),
        )  # fmt: skip
        db.lock_blockers(worker, exclusive=False)
        conn.execute("set lock_timeout = '300ms'")
        conn.commit()

        place = {
            "blocker": lambda: blockers.place(conn, hold_on(kept), ACTOR),
            "case": lambda: holding.place(conn, case_ref, "officer", ACTOR, kept.app.holder),
        }[how]

        with pytest.raises(psycopg.errors.LockNotAvailable):
            place()


# --- what blocks ------------------------------------------------------------------------------------------------------


def test_what_a_hold_covers_is_not_even_armed(kept):
    kept.block(pseudonyms=(kept.pseudonym(CALLER),))

    armed(kept)

    assert states(kept) == ["blocked", "blocked"]
    assert kept.rows("select * from suppression") == []


def test_a_call_of_which_the_time_is_not_known_may_lie_in_a_holds_days(office):
    office.go_live()
    office.sql.execute(
        "insert into deletion (recording, vendor, identity, controller, line, trigger) "
        "values (%s, 'linna', '1', 'punavaara', '+358207001234', 'quarantine_rejected')",
        (uuid4(),),
    )
    office.block(controller="punavaara", from_at=at(8), to_at=at(9))

    balance = office.sweep("night")

    assert (balance.total("blocked"), balance.total("done")) == (1, 0)


def test_a_call_in_quarantine_stays_whatever_is_decided_about_the_person_and_goes_when_it_is_rejected(office):
    office.go_live()
    deliver(office.linna, DAY, [Call(id="odd", start=at(8), direction="internal")])
    office.run("import")
    plan = "insert into deletion (recording, vendor, identity, trigger) select recording, vendor, identity, %s from quarantine"
    office.sql.execute(plan, ("erasure_approved",))

    assert office.sweep("night").total("blocked") == 1
    office.sql.execute("update deletion set trigger = 'quarantine_rejected'")
    assert office.sweep("next night").total("blocked") == 0


def test_a_term_that_is_corrected_after_arming_is_not_over(kept):
    night = armed(kept)
    kept.sql.execute("update recording set started_at = started_at + interval '3 months'")

    send(kept, night)

    assert states(kept) == ["withdrawn", "withdrawn"]
    assert len(kept.versions()) == 2


# --- the proof, and what follows it -----------------------------------------------------------------------------------


def test_what_the_store_still_has_keeps_its_row_and_no_vendor_is_asked(kept):
    nothing = Beside(kept, answer=lambda versions: {})

    balance = kept.sweep("night", destroyer=nothing)

    assert balance.reasons("failed") == {"version_left": 2}
    assert kept.value("select count(*) from recording") == 2
    assert kept.events("deletion.vendor_asked", "deletion.store_gone") == []
    assert all((kept.linna / DAY.isoformat() / f"{name}.wav").exists() for name in "ab")


def test_what_was_removed_counts_though_the_store_answered_that_it_was_not(kept):
    def removed_and_denied_it(versions):
        kept.app.destroyer.delete(versions)
        return {(v.key, v.version_id): "unavailable" for v in versions}

    balance = kept.sweep("night", destroyer=Beside(kept, answer=removed_and_denied_it))

    assert balance.total("done") == 2
    assert [r.versions_removed for r in kept.rows("select versions_removed from deletion")] == [1, 1]


def test_what_was_sent_and_is_not_proven_gone_is_asked_for_at_no_vendor_not_even_after_its_lease(kept):
    kept.sweep("night", destroyer=Beside(kept, answer=lambda versions: {}))
    kept.sql.execute("update deletion set lease_until = clock_timestamp() - interval '1 minute'")
    app = kept.app

    with kept.connect() as conn:
        night = deletions.find_night(conn, "night")
        vendor, rules = app.vendor("linna"), app.deleting_rules()
        asked = deleting.ask_vendor(conn, night, vendor, keyring=app.keyring, rules=rules, actor=ACTOR)

    assert asked == {}
    assert kept.events("deletion.vendor_asked") == []
    assert states(kept) == ["sending", "sending"]


def test_what_only_lies_between_the_keys_of_a_batch_stays(kept, seaweed):
    first = kept.value("select min(object_key) from recording")
    between = {"Bucket": kept.settings.store_bucket, "Key": f"{first}-other"}
    version = seaweed.client().put_object(Body=b"audio", **between)["VersionId"]

    assert kept.sweep("night").total("done") == 2

    assert kept.app.store.head(between["Key"]).version_id == version


def test_a_worker_whose_claim_was_taken_over_records_nothing(kept):
    """It slept while it sent; its claim ran out, and another has it now and has not finished."""
    night = armed(kept)

    def taken_over():
        kept.sql.execute("update deletion set lane = 2, fence = fence + 1")

    send(kept, night, Beside(kept, before=taken_over))

    assert states(kept) == ["sending", "sending"]
    assert kept.value("select count(*) from recording") == 2
    assert send(kept, night, lane=2)["gone"] == 2


def test_a_worker_that_slept_before_it_sent_sends_nothing(kept, monkeypatch):
    night = armed(kept)
    minutes = iter([0, 16, 16, 16])
    monkeypatch.setattr(deleting, "time", SimpleNamespace(monotonic=lambda: next(minutes) * 60))

    send(kept, night)

    assert len(kept.versions()) == 2
    assert states(kept) == ["sending", "sending"]


def test_nothing_is_sent_and_no_vendor_asked_in_a_rehearsal_whatever_the_journal_says(kept):
    rehearsal = replace(armed(kept), mode="rehearsal")
    send(kept, rehearsal)
    assert states(kept) == ["armed", "armed"]
    send(kept, replace(rehearsal, mode="live"))
    assert states(kept) == ["store_gone", "store_gone"]

    with kept.connect() as conn:
        deleting.ask_vendor(
            conn, rehearsal, kept.app.vendor("linna"), keyring=kept.app.keyring, rules=kept.app.deleting_rules(),
            actor=ACTOR,
        )  # fmt: skip

    assert kept.events("deletion.vendor_asked") == []


def test_a_night_that_loses_a_row_does_not_balance(kept):
    night = armed(kept)
    send(kept, night)
    kept.sql.execute("delete from deletion where recording = (select min(recording::text)::uuid from deletion)")

    with kept.connect() as conn:
        balance = deleting.balance(conn, night, ACTOR)

    assert (balance.balanced, balance.difference("punavaara")) == (False, 1)
    assert kept.value("select balanced from night") is False


# --- no event, no action ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "before"),
    [
        (events.DeletionPlanned, []),
        (events.DeletionArmed, ["planned", "planned"]),
        (events.DeletionSending, ["armed", "armed"]),
        (events.StoreProvenEmpty, ["sending", "sending"]),
        (events.VendorAsked, ["store_gone", "store_gone"]),
        (events.VendorAnswered, ["store_gone", "store_gone"]),
        (events.DeletionDone, ["store_gone", "store_gone"]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_cannot_be_written_into_the_trail_does_not_happen(kept, monkeypatch, event, before):
    real = deleting.append

    def append(conn, actor, several, *, alike=None, **more):
        several = list(several)
        if any(isinstance(e, event) for e in (*several, *(alike or {}))):
            kept.sql.execute("revoke insert (class, at, body) on event from callkeeper_app")
        return real(conn, actor, several, alike=alike, **more)

    monkeypatch.setattr(deleting, "append", append)
    try:
        with pytest.raises(CallkeeperError):
            kept.sweep("night")
    finally:
        kept.sql.execute("grant insert (class, at, body) on event to callkeeper_app")

    assert states(kept) == before
    assert kept.value("select count(*) from recording") == (0 if before == ["store_gone", "store_gone"] else 2)
    if event is events.VendorAsked:
        assert kept.value("select count(vendor_asked_at) from deletion") == 0
    if event is events.VendorAnswered:
        assert kept.value("select count(vendor_answer) from deletion") == 0
    if event is events.DeletionArmed:
        assert kept.rows("select * from suppression") == []
