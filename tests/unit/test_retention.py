"""The decision of requirements.md, section 2: its table is the table of these tests, its sentences their names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from callkeeper.clock import HELSINKI, NaiveTime
from callkeeper.retention import (
    HOLDS,
    BlockerKind,
    Erasure,
    Outcome,
    Schedule,
    Situation,
    StaffUse,
    SubjectCopy,
    Trigger,
    blocks,
    may_go,
    resolve,
    term,
)
from decision_table import Facts, outcome

K, T = BlockerKind, Trigger
GOES = {Schedule.yes, Schedule.at_once}


def situation(*facts: Trigger | BlockerKind, **more: bool) -> Situation:
    return Situation(
        triggers=frozenset(f for f in facts if isinstance(f, Trigger)),
        blockers=frozenset(f for f in facts if isinstance(f, BlockerKind)),
        **more,
    )


EXPIRED, FREEZE = T.retention_expired, K.access_freeze
TABLE = [
    # situation, staff use, copy to the subject, schedule deletes, erasure request
    ("in retention, clean", situation(), "listener", "officer", "no", "officer"),
    ("expired, clean", situation(EXPIRED), "nobody", "officer", "yes", "yes"),
    ("access open, in retention", situation(FREEZE), "listener", "officer", "no", "officer_after_delivery"),
    ("access open, expired", situation(FREEZE, EXPIRED), "nobody", "officer", "no", "officer_after_delivery"),
    ("erasure asked, undecided", situation(erasure_asked=True), "nobody", "officer", "no", "officer"),
    ("the same, expired", situation(EXPIRED, erasure_asked=True), "nobody", "officer", "yes", "officer"),
    (
        "erasure approved, access open",
        situation(T.erasure_approved, FREEZE),
        "nobody", "officer_first", "no", "after_delivery",
    ),
    ("erasure approved, nothing else", situation(T.erasure_approved), "nobody", "nothing", "yes", "yes"),
    ("objection upheld, nothing else", situation(T.objection_upheld), "nobody", "nothing", "yes", "yes"),
    *(
        (f"hold: {kind}", situation(kind), "hold_roles", "officer", "no", "deferred")
        for kind in sorted(HOLDS - {K.authority_preservation})
    ),
    ("authority preservation", situation(K.authority_preservation), "hold_roles", "secrecy", "no", "deferred"),
    ("hold, expired", situation(K.legal_claim, EXPIRED), "hold_roles", "officer", "no", "deferred"),
    ("hold, erasure approved", situation(K.complaint, T.erasure_approved), "hold_roles", "officer", "no", "deferred"),
    ("restriction", situation(K.restriction), "officer", "officer", "no", "officer"),
    ("restriction, expired", situation(K.restriction, EXPIRED), "officer", "officer", "officer", "officer"),
    ("objection undecided", situation(K.objection), "officer", "officer", "no", "officer"),
    ("rectification asked", situation(K.rectification_pending), "officer", "officer", "no", "officer"),
    ("quarantined", situation(K.quarantine), "nobody", "officer", "undecided", "officer"),
    ("quarantined, expired", situation(K.quarantine, EXPIRED), "nobody", "officer", "undecided", "officer"),
    (
        "quarantined, unlawful confirmed",
        situation(K.quarantine, T.unlawful_confirmed),
        "nobody", "officer", "at_once", "yes",
    ),
    (
        "quarantined, rejected",
        situation(K.quarantine, T.quarantine_rejected),
        "nobody", "officer", "at_once", "yes",
    ),
    ("tombstoned", situation(gone=True), "nobody", "no_data", "no_op", "no_op"),
    # not in the table: where its rows meet, and what its sentences add
    ("unlawful and held", situation(K.quarantine, T.unlawful_confirmed, K.security), "hold_roles", "officer", "no", "deferred"),
    ("restriction and access", situation(K.restriction, FREEZE, EXPIRED), "nobody", "officer", "no", "officer_after_delivery"),
    ("erasure asked, held, expired", situation(EXPIRED, K.complaint, erasure_asked=True), "hold_roles", "officer", "no", "deferred"),
    ("erasure approved, objection undecided", situation(T.erasure_approved, K.objection), "nobody", "officer", "no", "officer"),
    ("not looked up", situation(EXPIRED, K.unknown), "nobody", "officer", "no", "officer"),
    ("an orphan nobody explains", situation(T.orphan, explained=False), "nobody", "officer", "undecided", "officer"),
    ("the same, a person said yes", situation(T.orphan, explained=False, approved=True), "nobody", "officer", "at_once", "yes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("s", "staff", "copy", "schedule", "erasure"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_the_table_of_the_requirements(s, staff, copy, schedule, erasure):
    outcome = resolve(s)

    assert outcome == Outcome(
        staff=StaffUse(staff), copy=SubjectCopy(copy), schedule=Schedule(schedule), erasure=Erasure(erasure)
    )
    assert may_go(s) == (outcome.schedule in GOES)


# --- the decision, in all situations ----------------------------------------------------------------------------------


@st.composite
def situations(draw) -> Situation:
    blockers = draw(st.frozensets(st.sampled_from(BlockerKind)))
    if draw(st.integers(0, 4)) == 0:
        return Situation(
            triggers=frozenset({T.orphan}), blockers=blockers, explained=False, approved=draw(st.booleans())
        )
    return Situation(
        triggers=draw(st.frozensets(st.sampled_from(Trigger))),
        blockers=blockers,
        erasure_asked=draw(st.booleans()),
        gone=draw(st.integers(0, 9)) == 0,
    )


@given(situations())
def test_every_recording_has_exactly_one_outcome(s):
    outcome = resolve(s)

    assert [type(cell) for cell in (outcome.staff, outcome.copy, outcome.schedule, outcome.erasure)] == [
        StaffUse, SubjectCopy, Schedule, Erasure,
    ]  # fmt: skip
    assert (outcome.schedule in GOES) == may_go(s)


FACTS = st.builds(
    Facts,
    expired=st.booleans(),
    access=st.booleans(),
    erasure=st.sampled_from(["none", "asked", "yes"]),
    objection=st.sampled_from(["none", "asked", "yes"]),
    restriction=st.booleans(),
    rectification=st.booleans(),
    hold=st.booleans(),
    preservation=st.booleans(),
    quarantine=st.sampled_from(["none", "waiting", "unlawful"]),
    gone=st.booleans(),
)
"""Every combination of the table's words: 2^7 x 3^3 of them."""


def as_situation(f: Facts) -> Situation:
    triggers = {
        T.retention_expired: f.expired,
        T.erasure_approved: f.erasure == "yes",
        T.objection_upheld: f.objection == "yes",
        T.unlawful_confirmed: f.quarantine == "unlawful",
    }
    blockers = {
        K.access_freeze: f.access,
        K.restriction: f.restriction or f.objection == "asked",
        K.rectification_pending: f.rectification,
        K.complaint: f.hold,
        K.authority_preservation: f.preservation,
        K.quarantine: f.quarantine != "none",
    }
    return Situation(
        triggers=frozenset(t for t, there in triggers.items() if there),
        blockers=frozenset(k for k, there in blockers.items() if there),
        erasure_asked=f.erasure == "asked",
        gone=f.gone,
    )


@settings(max_examples=2000)
@given(FACTS)
def test_every_combination_comes_to_the_tables_own_outcome_and_to_one_only(f):
    found = resolve(as_situation(f))

    assert (found.staff, found.copy, found.schedule, found.erasure) == outcome(f)


@given(situations(), st.sampled_from(BlockerKind))
def test_a_blocker_more_never_lets_it_go_nor_opens_it_to_staff(s, more):
    before, after = resolve(s), resolve(replace(s, blockers=s.blockers | {more}))

    assert after.schedule not in GOES or before.schedule in GOES
    assert list(Erasure).index(after.erasure) >= list(Erasure).index(before.erasure)
    assert after.staff is not StaffUse.listener or before.staff is StaffUse.listener


@given(situations(), st.sampled_from(Trigger))
def test_a_trigger_more_never_keeps_it_nor_opens_it_to_staff(s, more):
    assume(s.explained)
    before, after = resolve(s), resolve(replace(s, triggers=s.triggers | {more}))

    assert before.schedule not in GOES or after.schedule in GOES
    assert after.staff is not StaffUse.listener or before.staff is StaffUse.listener


@given(situations())
def test_nothing_goes_without_a_trigger(s):
    assert not may_go(replace(s, triggers=frozenset(), explained=True))


@given(situations(), st.sampled_from(sorted(set(BlockerKind) - {K.quarantine})))
def test_what_is_held_frozen_or_restricted_stays_whatever_wants_it(s, kind):
    assert not may_go(replace(s, blockers=s.blockers | {kind}))


@given(situations(), st.sampled_from(sorted(HOLDS)))
def test_a_holds_roles_may_use_what_it_holds_and_nobody_else(s, kind):
    assume(not s.gone)

    assert resolve(replace(s, blockers=s.blockers | {kind})).staff is StaffUse.hold_roles


@given(situations())
def test_an_erasure_that_is_only_asked_never_changes_what_the_schedule_does(s):
    assume(s.explained)

    asked, not_asked = replace(s, erasure_asked=True), replace(s, erasure_asked=False)
    assert may_go(asked) == may_go(not_asked)
    assert resolve(asked).staff is not StaffUse.listener


def test_listeners_hear_only_what_is_in_its_term_and_clean_or_frozen():
    heard = [
        {*triggers, *blockers}
        for triggers in [set(), *({t} for t in T)]
        for blockers in [set(), *({k} for k in K)]
        if resolve(situation(*triggers, *blockers)).staff is StaffUse.listener
    ]

    assert heard == [set(), {K.access_freeze}]


# --- the exceptions, and only these -----------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", T)
def test_quarantine_stands_in_no_decided_deletions_way_and_in_every_others(trigger):
    decided = trigger in (T.unlawful_confirmed, T.quarantine_rejected)

    assert blocks(trigger, {K.quarantine}) == (set() if decided else {K.quarantine})


@pytest.mark.parametrize("trigger", T)
def test_a_blocker_that_cannot_be_looked_up_counts_as_a_blocker(trigger):
    assert not may_go(situation(trigger, K.unknown))


def test_a_kind_that_nobody_knows_cannot_be_looked_up():
    assert BlockerKind("made_up_later") is K.unknown


def test_a_persons_yes_stands_for_the_lookup_that_an_orphan_cannot_have_and_for_no_hold_on_its_id():
    orphan = situation(T.orphan, explained=False)

    assert not may_go(orphan)
    assert may_go(replace(orphan, approved=True))
    assert not any(may_go(replace(orphan, approved=True, blockers=frozenset({kind}))) for kind in K)


def test_an_orphan_that_a_row_explains_needs_no_yes_and_no_blocker():
    assert may_go(situation(T.orphan))
    assert not may_go(situation(T.orphan, K.legal_claim, approved=True))


def test_nothing_but_an_orphan_is_without_a_row():
    with pytest.raises(ValueError, match="orphan"):
        situation(T.retention_expired, explained=False)


# --- the clock (requirements, section 3) ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started_at", "anniversary", "eligible_at"),
    [
        ("2026-08-31T20:30", "2027-02-28", "2027-02-28T22:00"),
        ("2026-08-31T21:30", "2027-03-01", "2027-03-01T22:00"),
        ("2027-08-31T09:00", "2028-02-29", "2028-02-29T22:00"),
        ("2026-10-25T00:30", "2027-04-25", "2027-04-25T21:00"),
        ("2026-10-25T01:30", "2027-04-25", "2027-04-25T21:00"),
    ],
)
def test_the_vectors_of_the_term(started_at, anniversary, eligible_at):
    clock = term(datetime.fromisoformat(started_at).replace(tzinfo=UTC))
    eligible = datetime.fromisoformat(eligible_at).replace(tzinfo=UTC)

    assert (clock.anniversary, clock.eligible_at) == (date.fromisoformat(anniversary), eligible)
    assert [clock.expired(eligible + timedelta(seconds=s)) for s in (-1, 0)] == [False, True]
    assert [clock.overdue(eligible + timedelta(hours=48, seconds=s)) for s in (-1, 0)] == [False, True]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))
def test_it_may_go_from_the_midnight_in_helsinki_after_its_anniversary(started_at):
    clock = term(started_at)
    local = clock.eligible_at.astimezone(HELSINKI)

    assert (local.hour, local.minute) == (0, 0)
    assert local.date() - clock.anniversary == timedelta(days=1)


def test_a_naive_time_has_no_term():
    with pytest.raises(NaiveTime):
        term(datetime(2026, 8, 31, 20, 30))
