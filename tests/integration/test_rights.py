"""Each right, from its preview to its end: exactly what was agreed on is done, and nothing else (requirements, section 4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asking import (
    CALLER,
    LINE,
    OTHER,
    agreed,
    approve,
    carry_out,
    close,
    delivered,
    left,
    letter_sent,
    opened,
    preview,
    proven,
    refuse,
    second,
    three_calls,
)  # fmt: skip
from callkeeper import db
from callkeeper.commands import ticket as ticket_command
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import answering, carrying_out, explaining, fulfilling, importing, watching
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.phone import E164, normalise
from callkeeper.tickets import Call, Mute, Right
from decision_table import Facts, outcome
from deliver import PHM, deliver
from deliver import Call as Delivered
from installation import ACTOR, DAY, NOW, OFFICER, Installation, at, counts

NEW = E164("+358409990003")
PHM_LINE = E164("+358102708001")
TOMORROW = DAY + timedelta(1)


@pytest.fixture
def kept(office: Installation) -> Installation:
    return three_calls(office)


@pytest.fixture
def live(kept: Installation) -> Installation:
    kept.go_live()
    return kept


def mine(office: Installation, number: E164 = CALLER) -> list[UUID]:
    """Recordings of a number, the oldest first."""
    return [
        row.recording
        for row in office.rows(
            "select recording from recording where pseudonym = %s order by started_at", office.pseudonym(number)
        )
    ]


def next_day(office: Installation, *calls: Delivered) -> dict[str, int]:
    """The next day's import; its balance."""
    deliver(office.linna, TOMORROW, list(calls))
    office.later(days=1)
    return counts(office.run("tomorrow", TOMORROW))


def again(office: Installation, *calls: Delivered) -> dict[str, int]:
    """DAY is delivered once more, as it stands there now."""
    deliver(office.linna, DAY, list(calls))
    office.later(hours=3)
    return counts(office.run("again"))


def staff(office: Installation, recording: UUID) -> str:
    with office.connect() as conn:
        return explaining.explain(conn, recording, months=6, officer=True).outcome.staff


def redact(office: Installation, ticket: str, recording: UUID, *mutes: Mute, channel: int | None = None) -> bytes:
    with office.connect() as conn:
        return fulfilling.redact(
            conn, office.app.keyring, ticket, recording, mutes=mutes, channel=channel, actor=OFFICER
        ).scope


def correct(office: Installation, ticket: str, recording: UUID, what: Any, value: Any) -> fulfilling.Preview:
    with office.connect() as conn:
        return fulfilling.correct(conn, office.app.keyring, ticket, recording, what, value, OFFICER)


def rectified(office: Installation, recording: UUID, **values: Any) -> str:
    """A rectification of those things, carried out."""
    ticket = proven(office, opened(office, Right.rectification))
    preview(office, ticket)
    for what, value in values.items():
        correct(office, ticket, recording, what, value)
    approve(office, ticket)
    carry_out(office, ticket)
    return ticket


# --- what every right shares ------------------------------------------------------------------------------------------


SAID: dict[str, Callable[[Any, Installation, str, str], object]] = {
    "approve": lambda conn, o, t, a: fulfilling.approve(conn, o.app.keyring, t, scope=b"", account=a, actor=ACTOR),
    "second": lambda conn, o, t, a: fulfilling.second(conn, t, scope=b"", account=a, actor=ACTOR),
    "not_seconded": lambda conn, o, t, a: fulfilling.not_seconded(conn, t, account=a, actor=ACTOR),
    "refuse": lambda conn, o, t, a: fulfilling.refuse(
        conn, o.app.keyring, t, "excessive", reasons="so", account=a, actor=ACTOR
    ),
    "release": lambda conn, o, t, a: fulfilling.release(conn, t, account=a, actor=ACTOR),
    "record_delivery": lambda conn, o, t, a: fulfilling.record_delivery(
        conn, t, "letter", years=3, account=a, actor=ACTOR, keyring=o.app.keyring
    ),
    "take_back": lambda conn, o, t, a: carrying_out.take_back(conn, t, a, ACTOR),
    "lift": lambda conn, o, t, a: carrying_out.lift(conn, t, account=a, actor=ACTOR),
    "announce_lifting": lambda conn, o, t, a: carrying_out.announce_lifting(
        conn, t, TOMORROW, "asked", account=a, actor=ACTOR
    ),
    "keep_restriction": lambda conn, o, t, a: carrying_out.keep_restriction(conn, t, TOMORROW, account=a, actor=ACTOR),
    "review_suppression": lambda conn, o, t, a: carrying_out.review_suppression(conn, t, None, account=a, actor=ACTOR),
}
"""Every word of a person's about a ticket: said of ticket t by account a."""


@pytest.mark.parametrize("word", SAID)
def test_who_has_not_the_duty_says_no_yes_and_no_no_whatever_asks_for_it(kept, word):
    ticket, before = opened(kept), kept.rows("select * from ticket")
    wrong = ["data", "deputy", "", *([] if word in ("second", "not_seconded") else ["approver"])]

    for account in wrong:
        with kept.connect() as conn, pytest.raises(NotAllowed, match="may not say this yes, or this no"):
            SAID[word](conn, kept, ticket, account)
    assert kept.rows("select * from ticket") == before
    assert kept.value("select count(*) from decision") == 0
    said = []
    for account in {"officer", "approver"}.difference(wrong):
        try:
            with kept.connect() as conn:
                SAID[word](conn, kept, ticket, account)
        except (NotAllowed, ScopeChanged) as refused:
            said.append(str(refused))
    assert "may not say" not in " ".join(said)


@pytest.mark.parametrize("right", [r for r in Right if r is not Right.portability])
def test_nothing_is_carried_out_that_nobody_has_said_yes_to(kept, right):
    ticket = opened(kept, right)
    with pytest.raises(NotAllowed, match="yes first"):
        carry_out(kept, ticket)
    preview(kept, proven(kept, ticket))
    kept.sql.execute("update ticket set state = 'seconded'")

    with pytest.raises(NotAllowed, match="dsr_approve"):
        carry_out(kept, ticket)
    assert kept.value("select count(*) from deletion") == 0
    assert kept.value("select standing from ticket") is None


def test_a_portability_request_is_never_carried_out(kept):
    ticket = opened(kept, Right.portability)

    with pytest.raises(NotAllowed, match="nothing to carry out"):
        carry_out(kept, ticket)


@pytest.mark.parametrize("right", [Right.erasure, Right.objection, Right.restriction])
def test_what_has_come_since_the_yes_stops_it(kept, right):
    ticket = proven(kept, opened(kept, right), to_at=at(0) + timedelta(days=3))
    preview(kept, ticket)
    if approve(kept, ticket):
        second(kept, ticket)
    next_day(kept, Delivered(id="d", start=at(8, day=TOMORROW), caller=CALLER))

    with pytest.raises(ScopeChanged):
        carry_out(kept, ticket)


def test_the_second_persons_no_takes_the_first_yes_back_for_good(kept):
    ticket = proven(kept, opened(kept, Right.erasure))
    preview(kept, ticket)
    with kept.connect() as conn, pytest.raises(NotAllowed, match="waits for no second person"):
        fulfilling.not_seconded(conn, ticket, account="approver", actor=ACTOR)
    approve(kept, ticket)
    second(kept, ticket)
    kept.sql.execute("update ticket set state = 'approved'")
    with kept.connect() as conn:
        fulfilling.not_seconded(conn, ticket, account="approver", actor=ACTOR)
        assert fulfilling.show(conn, ticket).state == "previewed"
    kept.sql.execute("update ticket set state = 'seconded'")

    with pytest.raises(NotAllowed, match="dsr_approve"):
        carry_out(kept, ticket)
    assert [e["reason"] for e in kept.events("ticket.moved") if e.get("reason")] == ["objected", "not_seconded"]


def test_a_second_yes_that_is_older_than_the_first_does_not_count(kept):
    ticket = proven(kept, opened(kept, Right.erasure))
    preview(kept, ticket)
    approve(kept, ticket)
    second(kept, ticket)
    preview(kept, ticket)
    approve(kept, ticket)
    kept.sql.execute("update ticket set state = 'seconded'")

    with pytest.raises(NotAllowed, match="earlier one"):
        carry_out(kept, ticket)


def test_a_changed_row_in_another_persons_name_is_no_second_yes(kept):
    ticket = proven(kept, opened(kept, Right.erasure))
    preview(kept, ticket)
    approve(kept, ticket)
    kept.sql.execute(
        "insert into decision (subject, action, account, scope) select subject, 'dsr_second', account, scope from decision"
    )
    kept.sql.execute("update ticket set state = 'seconded'")

    with pytest.raises(NotAllowed, match="one person's"):
        carry_out(kept, ticket)


def test_reasons_are_noted_before_the_no_and_stand_sealed(kept):
    ticket = opened(kept)
    with pytest.raises(NotAllowed, match="needs its reasons"):
        refuse(kept, ticket, "excessive", None)
    with kept.connect() as conn:
        fulfilling.note_reasons(conn, kept.app.keyring, ticket, "Matti said so", account="officer", actor=OFFICER)
        with pytest.raises(NotAllowed, match="no reasons in this"):
            fulfilling.note_reasons(conn, kept.app.keyring, ticket, "  ", account="officer", actor=OFFICER)
    refuse(kept, ticket, "excessive", None)

    with kept.connect() as conn:
        assert fulfilling.noted_reasons(conn, kept.app.keyring, ticket) == "Matti said so"
    assert "Matti" not in json.dumps(kept.events())
    assert [e["noted"] for e in kept.events("ticket.noted")] == ["reasons"]


def test_portabilitys_no_needs_no_reasons_but_the_laws(kept):
    ticket = opened(kept, Right.portability)
    refuse(kept, ticket, "not_applicable", None)

    assert delivered(kept, ticket) == "refused"


def test_what_the_person_is_asked_is_a_code(kept):
    ticket = opened(kept)
    with kept.connect() as conn:
        with pytest.raises(NotAllowed, match="no code"):
            fulfilling.ask(conn, ticket, "clarification", OFFICER, about=("whose Matti is",))  # type: ignore[arg-type]
        fulfilling.ask(conn, ticket, "clarification", OFFICER, about=("period", "numbers"))
        assert fulfilling.asked(conn, ticket) == ("period", "numbers")


def test_a_clarification_brings_more_to_search_and_freezes_it_at_once(kept):
    ticket = proven(kept, opened(kept))
    preview(kept, ticket)
    withheld = Call(line=PHM_LINE, from_at=at(8, 50), to_at=at(9, 10))
    with kept.connect() as conn:
        fulfilling.add_numbers(conn, kept.app.keyring, ticket, [OTHER, CALLER], [withheld], "officer", OFFICER)
        found = fulfilling.show(conn, ticket)
    (widened,) = kept.events("ticket.widened")

    assert (found.state, found.identity, found.numbers, found.times, found.frozen) == ("open", "unproven", 2, 1, 3)
    assert [len(widened["blockers"]), len(widened["subjects"])] == [2, 2]
    with pytest.raises(NotAllowed, match="Nobody has proven"):
        preview(kept, ticket)
    assert sum(preview(kept, proven(kept, ticket)).counts.values()) == 3
    assert close(kept, ticket) == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"numbers": [CALLER]}, "searched already"),
        ({"numbers": [LINE]}, "whole switchboard"),
        ({"times": [Call(line=LINE, from_at=at(0), to_at=at(0) + timedelta(days=30))]}, "whole switchboard"),
    ],
)
def test_more_that_cannot_be_one_persons_is_refused_and_nothing_is_frozen(kept, more, said):
    ticket = opened(kept)
    asked = {"numbers": [], "times": []} | more

    with kept.connect() as conn, pytest.raises(NotAllowed, match=said):
        fulfilling.add_numbers(conn, kept.app.keyring, ticket, asked["numbers"], asked["times"], "officer", OFFICER)
    assert kept.value("select count(*) from blocker") == 1


def test_nothing_is_added_once_it_is_approved(kept):
    ticket = proven(kept, opened(kept, Right.erasure))
    preview(kept, ticket)
    approve(kept, ticket)

    with kept.connect() as conn, pytest.raises(NotAllowed, match="is about what it is about"):
        fulfilling.add_numbers(conn, kept.app.keyring, ticket, [OTHER], [], "officer", OFFICER)


def test_more_to_search_waits_for_whoever_decides_on_deletions(kept):
    ticket = opened(kept)
    with kept.connect() as night, kept.connect() as conn:
        db.lock_blockers(night, exclusive=False)
        conn.execute("set lock_timeout = '300ms'")
        conn.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            fulfilling.add_numbers(conn, kept.app.keyring, ticket, [OTHER], [], "officer", OFFICER)


def test_recordings_are_left_out_each_for_its_reason_or_none_is(kept):
    first, other = mine(kept)
    ticket = proven(kept, opened(kept))
    preview(kept, ticket)
    reasons = "select recording, reason from ticket_recording where state = 'excluded'"
    which = {first: "others_rights", mine(kept, OTHER)[0]: "not_the_person"}
    with kept.connect() as conn, pytest.raises(NotFound, match="not among what was found"):
        fulfilling.leave_out(conn, kept.app.keyring, ticket, which, OFFICER)
    assert kept.rows(reasons) == []

    with kept.connect() as conn:
        which = {first: "others_rights", other: "not_the_person"}
        assert fulfilling.leave_out(conn, kept.app.keyring, ticket, which, OFFICER).chosen == ()
    assert {r.recording: r.reason for r in kept.rows(reasons)} == which


def test_an_erasure_is_approved_on_a_ground_of_its_own_and_nothing_else_is(kept):
    erasure, access = proven(kept, opened(kept, Right.erasure)), proven(kept, opened(kept))

    def yes(ticket, ground):
        scope = preview(kept, ticket).scope
        with kept.connect() as conn:
            fulfilling.approve(
                conn, kept.app.keyring, ticket, scope=scope, ground=ground, account="officer", actor=OFFICER
            )

    with pytest.raises(NotAllowed, match=r"ground that makes it due \(GDPR Art\. 17\(1\)\)"):
        yes(erasure, None)
    with pytest.raises(NotAllowed, match="goes with the yes to an erasure"):
        yes(access, "unlawful")
    assert kept.rows("select from decision") == []

    yes(erasure, "consent_withdrawn")
    assert kept.value("select action from decision") == "dsr_approve:consent_withdrawn"
    assert kept.events("decision.made")[-1]["decided"] == "dsr_approve:consent_withdrawn"
    assert kept.events("ticket.moved")[-1]["reason"] == "consent_withdrawn"


def test_an_erasure_of_nothing_has_no_ground(kept):
    ticket = proven(kept, opened(kept, Right.erasure, numbers=[NEW]))
    preview(kept, ticket)
    with kept.connect() as conn:
        scope = fulfilling.seen(conn, ticket).scope
        fulfilling.approve(conn, kept.app.keyring, ticket, scope=scope, account="officer", actor=OFFICER)
    assert kept.value("select action from decision") == "dsr_approve"


# --- access -----------------------------------------------------------------------------------------------------------


def test_what_the_copy_leaves_out_is_a_part_of_what_is_approved(kept):
    ticket = proven(kept, opened(kept), evidence="strong")
    whole = preview(kept, ticket).scope
    first, _ = mine(kept)
    muted = redact(kept, ticket, first, Mute(from_ms=0, to_ms=400, reason="other_person"))

    assert muted != whole
    with pytest.raises(ScopeChanged):
        approve(kept, ticket, whole)
    assert not approve(kept, ticket, muted)
    with kept.connect() as conn:
        seen = fulfilling.seen(conn, ticket)
    assert [f.mutes for f in seen.chosen] == [(Mute(from_ms=0, to_ms=400, reason="other_person"),), ()]


def test_a_redaction_after_the_yes_stops_what_was_approved(kept):
    ticket = agreed(kept, Right.access)
    kept.sql.execute("""update ticket_recording set mutes = '[[0, 400, "secret"]]'""")

    with pytest.raises(ScopeChanged):
        carry_out(kept, ticket)


def test_a_redaction_taken_back_is_the_whole_scope_again(kept):
    ticket = proven(kept, opened(kept))
    whole = preview(kept, ticket).scope
    first, _ = mine(kept)
    redact(kept, ticket, first, Mute(from_ms=0, to_ms=400, reason="secret"))

    assert redact(kept, ticket, first) == whole


@pytest.mark.parametrize(
    ("mutes", "channel", "said"),
    [
        ([Mute(from_ms=400, to_ms=400, reason="secret")], None, "ends after it begins"),
        ([Mute(from_ms=1000, to_ms=1200, reason="secret")], None, "after the recording has ended"),
        (
            [Mute(from_ms=0, to_ms=400, reason="secret"), Mute(from_ms=300, to_ms=500, reason="secret")],
            None,
            "overlap",
        ),
        ([Mute(from_ms=0, to_ms=1, reason="Matti")], None, "has a reason"),  # type: ignore[arg-type]
        ([], 0, "no other to leave out"),
    ],
)
def test_a_range_or_a_channel_that_is_not_there_is_refused(kept, mutes, channel, said):
    ticket = proven(kept, opened(kept))
    preview(kept, ticket)

    with pytest.raises(NotAllowed, match=said):
        redact(kept, ticket, mine(kept)[0], *mutes, channel=channel)


def test_only_a_copy_of_what_was_found_is_redacted(kept):
    ticket, erasure = proven(kept, opened(kept)), proven(kept, opened(kept, Right.erasure))
    preview(kept, ticket)
    preview(kept, erasure)

    with pytest.raises(NotFound, match="not among what was found"):
        redact(kept, ticket, mine(kept, OTHER)[0], Mute(from_ms=0, to_ms=1, reason="secret"))
    with pytest.raises(NotAllowed, match="no copy of audio"):
        redact(kept, erasure, mine(kept)[0], Mute(from_ms=0, to_ms=1, reason="secret"))


def test_nothing_found_is_answered_without_a_package_and_by_one_person(kept):
    ticket = proven(kept, opened(kept, numbers=[NEW]), days=0)
    preview(kept, ticket)

    assert not approve(kept, ticket)
    assert carry_out(kept, ticket) == 0
    assert delivered(kept, ticket) == "no_data"


def test_nothing_is_not_said_to_be_nothing_while_a_day_is_missing(kept):
    ticket = proven(kept, opened(kept, numbers=[NEW]), days=3)
    preview(kept, ticket)
    approve(kept, ticket)
    carry_out(kept, ticket)

    assert delivered(kept, ticket) == "days_missing"


def test_a_copy_is_made_released_as_it_is_and_handed_over(kept):
    ticket = agreed(kept, Right.access)
    assert carry_out(kept, ticket) == 2
    with pytest.raises(NotAllowed, match="has not been released"):
        delivered(kept, ticket)
    with kept.connect() as conn:
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)

    assert delivered(kept, ticket) == "fulfilled"
    assert [r.outcome for r in kept.rows("select outcome from ticket_recording")] == ["copied", "copied"]
    assert kept.value("select delivered_at is not null and released_by = 'officer' from package")
    with kept.connect() as conn:
        assert not fulfilling.show(conn, ticket).freezes


def test_another_package_than_the_released_one_is_not_handed_over(kept):
    ticket = agreed(kept, Right.access)
    carry_out(kept, ticket)
    with kept.connect() as conn:
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)
    kept.sql.execute("""update package set parts = jsonb_set(parts, '{0,sha256}', '"00"')""")

    with pytest.raises(NotAllowed, match="Nobody has released"):
        delivered(kept, ticket)


def test_a_copy_is_taken_back_and_no_earlier_yes_counts(kept):
    ticket = agreed(kept, Right.access)
    carry_out(kept, ticket)
    with kept.connect() as conn:
        carrying_out.take_back(conn, ticket, "officer", OFFICER)
        assert fulfilling.show(conn, ticket).state == "previewed"
    assert [r.outcome for r in kept.rows("select outcome from ticket_recording")] == [None, None]
    kept.sql.execute("update ticket set state = 'seconded'")
    with pytest.raises(NotAllowed, match="dsr_approve"):
        carry_out(kept, ticket)
    kept.sql.execute("update ticket set state = 'previewed'")
    approve(kept, ticket)
    second(kept, ticket)

    assert carry_out(kept, ticket) == 2
    assert kept.value("select count(*) from package where gone_at is null and expires_on > '2026-11-25'") == 1


def test_a_package_past_its_term_is_not_released(kept):
    ticket = agreed(kept, Right.access)
    carry_out(kept, ticket)
    kept.later(days=31)

    with kept.connect() as conn, pytest.raises(NotAllowed, match="no package to hand over"):
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)
    with kept.connect() as conn:
        carrying_out.take_back(conn, ticket, "officer", OFFICER)
    approve(kept, ticket)
    second(kept, ticket)
    assert carry_out(kept, ticket) == 2


def test_a_released_package_that_ended_before_it_was_handed_over_is_made_anew(kept):
    ticket = agreed(kept, Right.access)
    carry_out(kept, ticket)
    with kept.connect() as conn:
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)
    kept.later(days=31)
    with pytest.raises(NotAllowed, match="no package to hand over"):
        delivered(kept, ticket)

    with kept.connect() as conn:
        carrying_out.take_back(conn, ticket, "officer", OFFICER)
    approve(kept, ticket)
    second(kept, ticket)
    assert carry_out(kept, ticket) == 2


def test_an_extension_that_nobody_was_told_of_gives_no_days(kept):
    ticket = opened(kept)
    with kept.connect() as conn:
        fulfilling.extend(conn, ticket, "complexity", OFFICER)
        untold = fulfilling.show(conn, ticket).days_left
    letter_sent(kept, ticket, "extension")

    with kept.connect() as conn:
        assert (untold, fulfilling.show(conn, ticket).days_left) == (33, 92)


@pytest.mark.parametrize("right", [Right.erasure, Right.restriction])
def test_what_is_done_cannot_be_taken_back(kept, right):
    ticket = agreed(kept, right)
    carry_out(kept, ticket)

    with kept.connect() as conn, pytest.raises(NotAllowed, match="Only a copy"):
        carrying_out.take_back(conn, ticket, "officer", OFFICER)
    with pytest.raises(NotAllowed, match="carried out cannot become previewed"):
        preview(kept, ticket)


# --- erasure ----------------------------------------------------------------------------------------------------------


def test_a_quarantined_call_in_the_scope_is_decided_with_it(live):
    next_day(live, Delivered(id="q", start=at(8, day=TOMORROW), caller=CALLER, ms=-1))
    assert live.value("select count(*) from quarantine") == 1
    quarantined = live.value("select recording from quarantine")
    ticket = proven(live, opened(live, Right.erasure), to_at=at(0) + timedelta(days=3))
    preview(live, ticket)
    approve(live, ticket)
    second(live, ticket)

    assert carry_out(live, ticket) == 3
    night = live.sweep()

    assert (night.total("done"), left(live)) == (3, 1)
    assert live.value("select count(*) from quarantine") == 0
    planned = {e["recording"]: e["state_before"] for e in live.events("deletion.planned")}
    assert planned[str(quarantined)] == "quarantined"
    assert delivered(live, ticket) == "fulfilled"
    assert counts(live.run("after", TOMORROW)).get("kept") is None


def test_a_hold_keeps_a_quarantined_call_that_two_people_would_erase(live):
    next_day(live, Delivered(id="q", start=at(8, day=TOMORROW), caller=CALLER, ms=-1))
    ticket = proven(live, opened(live, Right.erasure), to_at=at(0) + timedelta(days=3))
    preview(live, ticket)
    approve(live, ticket)
    second(live, ticket)
    live.block(line=LINE, from_at=at(0, day=TOMORROW))
    carry_out(live, ticket)

    night = live.sweep()

    assert (night.total("done"), night.total("blocked")) == (2, 1)
    assert delivered(live, ticket) == "deferred"


def test_the_trail_says_what_an_erasure_found_planned_or_blocked_already(live):
    first, _ = mine(live)
    live.block(recordings=(first,))
    carry_out(live, agreed(live))
    live.sweep("first")
    known = len(live.events("deletion.planned"))
    assert live.value("select state from deletion where recording = %s", first) == "blocked"
    carry_out(live, agreed(live))

    told = {UUID(e["recording"]): e["state_before"] for e in live.events("deletion.planned")[known:]}
    assert told == {first: "blocked"}


def test_a_copy_that_somebody_waits_for_defers_nothing_and_comes_first(live):
    access, erasure = opened(live), agreed(live)
    carry_out(live, erasure)
    live.sweep("first")

    assert left(live) == 3
    with pytest.raises(NotAllowed, match="still on their way out"):
        delivered(live, erasure)
    close(live, access, "answered_by_hand")
    live.later(days=1)
    live.sweep("second")
    assert delivered(live, erasure) == "fulfilled"
    assert left(live) == 1


def test_another_persons_copy_of_the_same_call_comes_first_too(live):
    """Two people claim one recording: a member of staff asks for it by line and time."""
    access = opened(live, numbers=[], times=[Call(line=LINE, from_at=at(7, 50), to_at=at(8, 10))])
    erasure = agreed(live)
    carry_out(live, erasure)
    live.sweep("first")

    assert left(live) == 2
    close(live, access)
    live.later(days=1)
    live.sweep("second")
    assert left(live) == 1


def test_one_held_recording_does_not_shield_the_persons_others(live):
    ticket = agreed(live)
    held = live.block(recordings=(mine(live)[0],))
    carry_out(live, ticket)
    live.sweep("first")

    assert left(live) == 2
    assert delivered(live, ticket) == "deferred"
    live.sql.execute("update blocker set ended_at = callkeeper_now() where blocker = %s", (held,))
    live.later(days=1)
    live.sweep("second")
    assert delivered(live, ticket) == "fulfilled"


def test_only_the_time_in_which_a_number_was_theirs_is_erased(live):
    """A number that changed hands: the same caller's call of an hour before was another's."""
    ticket = proven(live, opened(live, Right.erasure), from_at=at(8, 30), to_at=at(12))
    preview(live, ticket)
    approve(live, ticket)
    second(live, ticket)
    before = mine(live)[0]

    assert carry_out(live, ticket) == 1
    live.sweep()
    assert mine(live) == [before]


def test_a_number_in_five_spellings_is_one_persons_erasure(live):
    spelled = [
        normalise(text).e164
        for text in ("0409990001", "040 999 0001", "+358409990001", "00358409990001", "+358 (0)40-999 0001")
    ]
    ticket = agreed(live, Right.erasure, numbers=spelled)

    assert carry_out(live, ticket) == 2


def test_only_the_company_that_the_officer_named_is_searched(live):
    ticket = agreed(live, Right.erasure, controller="phm")

    assert carry_out(live, ticket) == 1
    live.sweep()
    assert left(live) == 2


# --- restriction ------------------------------------------------------------------------------------------------------


def restricted(office: Installation) -> str:
    """A restriction that stands, its ticket closed."""
    ticket = agreed(office, Right.restriction)
    carry_out(office, ticket)
    delivered(office, ticket)
    return ticket


def test_a_restriction_outlasts_its_ticket_over_exactly_what_was_confirmed(kept):
    ticket = restricted(kept)
    a, b = mine(kept)
    next_day(kept, Delivered(id="d", start=at(8, day=TOMORROW), caller=CALLER))

    assert kept.value("select outcome from ticket") == "fulfilled"
    (standing,) = kept.rows("select blocker, kind, recordings, review_on from blocker where ended_at is null")
    assert (standing.kind, set(standing.recordings)) == ("restriction", {a, b})
    assert standing.review_on == date(2027, 11, 25)
    assert kept.value("select standing from ticket") == standing.blocker
    assert [staff(kept, r) for r in mine(kept)] == ["officer", "officer", "listener"]
    assert {e["ticket"] for e in kept.events("ticket.restricted")} == {ticket}
    assert kept.events("ticket.restricted")[0]["recordings"] == 2


def test_what_is_restricted_stays_when_its_term_ends(live):
    restricted(live)
    live.set_clock(datetime(2027, 5, 25, 0, 30, tzinfo=UTC))
    live.forecast()
    live.set_clock(datetime(2027, 5, 26, 0, 30, tzinfo=UTC))
    live.sweep()

    assert left(live) == 2


def announce(office: Installation, ticket: str, day: date, reason: Any = "not_needed") -> None:
    with office.connect() as conn:
        carrying_out.announce_lifting(conn, ticket, day, reason, account="officer", actor=OFFICER)


def lift(office: Installation, ticket: str) -> int:
    with office.connect() as conn:
        return carrying_out.lift(conn, ticket, account="officer", actor=OFFICER)


def test_a_restriction_is_lifted_on_the_day_of_which_the_person_was_told(kept):
    ticket = restricted(kept)
    with pytest.raises(NotAllowed, match="not announced"):
        lift(kept, ticket)
    with pytest.raises(NotAllowed, match="told first"):
        announce(kept, ticket, date(2026, 11, 25))
    with pytest.raises(NotAllowed, match="no reason"):
        announce(kept, ticket, date(2026, 12, 1), "Matti")
    announce(kept, ticket, date(2026, 12, 1))
    with pytest.raises(NotAllowed, match="has not been told"):
        lift(kept, ticket)
    letter_sent(kept, ticket, "restriction_lifting")
    with pytest.raises(NotAllowed, match="not before"):
        lift(kept, ticket)
    kept.later(days=6)

    assert lift(kept, ticket) == 2
    assert [staff(kept, r) for r in mine(kept)] == ["listener", "listener"]
    with pytest.raises(NotAllowed, match="No restriction stands"):
        lift(kept, ticket)
    assert [e["lifts_on"] for e in kept.events("ticket.lifting_announced")] == ["2026-12-01"]


def test_a_day_that_is_announced_anew_is_told_anew(kept):
    ticket = restricted(kept)
    announce(kept, ticket, date(2026, 12, 1))
    letter_sent(kept, ticket, "restriction_lifting")
    kept.later(days=1)
    announce(kept, ticket, date(2026, 11, 28))
    kept.later(days=5)

    with pytest.raises(NotAllowed, match="has not been told"):
        lift(kept, ticket)


def test_the_morning_tells_what_stands_between_a_restriction_and_its_end(kept):
    def told() -> list[str]:
        with kept.connect() as conn:
            return [m.text for m in watching.look(conn).matters if "restriction" in m.text]

    ticket = restricted(kept)
    before = told()
    announce(kept, ticket, date(2026, 12, 1))
    announced = told()
    letter_sent(kept, ticket, "restriction_lifting")
    waiting = told()
    kept.later(days=6)
    due = told()
    lift(kept, ticket)

    assert [before, waiting, told()] == [[], [], []]
    assert announced == [
        f"{ticket}: its restriction is to end on 1 December 2026, in 6 days, and the person has not been told."
    ]
    assert due == [f"{ticket}: its restriction ends as the person was told: `callkeeper ticket lift {ticket}`."]


def test_a_restriction_is_looked_at_again_and_stands(kept):
    ticket = restricted(kept)
    with kept.connect() as conn:
        with pytest.raises(NotAllowed, match="within 12 months"):
            carrying_out.keep_restriction(conn, ticket, date(2028, 1, 1), account="officer", actor=OFFICER)
        conn.rollback()
        carrying_out.keep_restriction(conn, ticket, date(2027, 3, 1), account="officer", actor=OFFICER)

    assert kept.value("select review_on from blocker where ended_at is null") == date(2027, 3, 1)


def test_a_restriction_that_stands_on_has_no_end_that_was_announced_before(kept):
    def keep() -> None:
        with kept.connect() as conn:
            carrying_out.keep_restriction(conn, ticket, date(2027, 3, 1), account="officer", actor=OFFICER)

    ticket = restricted(kept)
    announce(kept, ticket, date(2026, 12, 1))
    keep()

    assert tuple(kept.row("select lifts_on, lift_reason from ticket")) == (None, None)
    with pytest.raises(NotAllowed, match="not announced"):
        lift(kept, ticket)
    announce(kept, ticket, date(2026, 12, 1))
    letter_sent(kept, ticket, "restriction_lifting")
    with pytest.raises(NotAllowed, match="was told that it ends"):
        keep()
    kept.later(days=6)
    assert lift(kept, ticket) == 2


def test_a_changed_row_alone_does_not_end_a_restriction_that_stands_on(kept):
    ticket = restricted(kept)
    announce(kept, ticket, date(2026, 12, 1))
    with kept.connect() as conn:
        carrying_out.keep_restriction(conn, ticket, date(2027, 3, 1), account="officer", actor=OFFICER)
    kept.sql.execute("update ticket set lifts_on = '2026-12-01', lift_reason = 'not_needed'")
    kept.later(days=6)

    with pytest.raises(NotAllowed, match="not announced"):
        lift(kept, ticket)


def test_an_extension_leaves_the_review_of_the_restriction_that_stands(kept):
    ticket = agreed(kept, Right.restriction)
    carry_out(kept, ticket)
    with kept.connect() as conn:
        fulfilling.extend(conn, ticket, "complexity", OFFICER)

    reviews = kept.rows("select blocker, review_on from blocker where ended_at is null")
    standing = kept.value("select standing from ticket")
    assert {r.review_on for r in reviews if r.blocker == standing} == {date(2027, 11, 25)}
    assert {r.review_on for r in reviews if r.blocker != standing} == {kept.value("select extended_to from ticket")}


def test_a_restriction_of_nothing_leaves_nothing_standing(kept):
    ticket = agreed(kept, Right.restriction, numbers=[NEW])

    assert carry_out(kept, ticket) == 0
    assert kept.value("select standing from ticket") is None
    with pytest.raises(NotAllowed, match="No restriction stands"):
        announce(kept, ticket, date(2026, 12, 1))


def test_a_ticket_is_not_forgotten_while_its_restriction_stands(kept, fresh_office):
    ticket = restricted(kept)
    kept.set_clock(datetime(2029, 11, 26, 12, tzinfo=UTC))

    with kept.connect() as conn:
        assert fulfilling.forget_past_term(conn, OFFICER) == 0
    kept.sql.execute("update blocker set ended_at = callkeeper_now()")
    with kept.connect() as conn:
        assert fulfilling.forget_past_term(conn, OFFICER) == 1
    assert ticket in json.dumps(kept.events("ticket.forgotten"))


def test_a_restriction_takes_the_blockers_lock(kept):
    ticket = agreed(kept, Right.restriction)
    with kept.connect() as night, kept.connect() as conn:
        db.lock_blockers(night, exclusive=False)
        conn.execute("set lock_timeout = '300ms'")
        conn.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            carrying_out.carry_out(conn, kept.app, ticket, OFFICER)


# --- objection --------------------------------------------------------------------------------------------------------


def test_an_objection_restricts_at_once_and_a_refusal_frees_once_it_is_told(kept):
    ticket = opened(kept, Right.objection)
    before = [staff(kept, r) for r in mine(kept)]
    preview(kept, proven(kept, ticket))
    refuse(kept, ticket, "compelling_grounds")
    during = [staff(kept, r) for r in mine(kept)]
    delivered(kept, ticket)

    assert before == during == ["officer", "officer"]
    assert [staff(kept, r) for r in mine(kept)] == ["listener", "listener"]
    assert kept.value("select count(*) from suppression") == 0


def test_an_objection_that_is_upheld_erases_and_keeps_out_what_comes(live):
    ticket = agreed(live, Right.objection)

    assert carry_out(live, ticket) == 2
    night = live.sweep()
    balance = next_day(
        live,
        Delivered(id="d", start=at(8, day=TOMORROW), caller=CALLER),
        Delivered(id="e", start=at(9, day=TOMORROW), caller=OTHER),
    )

    assert (night.total("done"), balance["suppressed"], balance["kept"]) == (2, 1, 1)
    assert delivered(live, ticket) == "fulfilled"
    marks = live.rows("select mark, mark_key, review_on, ticket from suppression where kind = 'caller'")
    assert [tuple(m) for m in marks] == [(live.pseudonym(CALLER), live.app.keyring.key_id, date(2027, 11, 25), ticket)]
    assert {e["trigger"] for e in live.events("deletion.planned")} == {"objection_upheld"}
    (told,) = live.events("ticket.caller_suppressed")
    assert (told["marks"], told["review_on"]) == (1, "2027-11-25")


def test_an_objection_always_takes_two_even_of_nothing(kept):
    ticket = proven(kept, opened(kept, Right.objection, numbers=[NEW]), evidence="strong")
    preview(kept, ticket)

    assert approve(kept, ticket)
    with pytest.raises(NotAllowed, match="two people's yes first"):
        carry_out(kept, ticket)
    second(kept, ticket)
    carry_out(kept, ticket)
    assert kept.value("select count(*) from suppression where kind = 'caller'") == 1
    assert delivered(kept, ticket) == "fulfilled"


def test_without_two_peoples_rows_the_database_suppresses_nobody(kept):
    ticket = opened(kept, Right.objection)
    with kept.connect() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.queries().suppress_callers(conn, ticket=ticket, marks=[b"m"], keys=["k"], until=DAY)
    with kept.connect() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.queries().review_callers(conn, ticket=ticket, until=None)


def review(office: Installation, ticket: str, until: date | None) -> int:
    with office.connect() as conn:
        return carrying_out.review_suppression(conn, ticket, until, account="officer", actor=OFFICER)


def test_a_number_that_changed_hands_is_heard_again_after_its_review(live):
    ticket = agreed(live, Right.objection)
    carry_out(live, ticket)
    with pytest.raises(NotAllowed, match="within 12 months"):
        review(live, ticket, date(2028, 1, 1))
    assert review(live, ticket, date(2027, 2, 1)) == 1
    assert live.value("select review_on from suppression where kind = 'caller'") == date(2027, 2, 1)
    assert review(live, ticket, None) == 1

    assert live.value("select count(*) from suppression where kind = 'caller'") == 0
    with pytest.raises(NotAllowed, match="No number is suppressed"):
        review(live, ticket, None)
    balance = next_day(live, Delivered(id="d", start=at(8, day=TOMORROW), caller=CALLER))
    assert balance["kept"] == 1


def test_an_objection_anew_is_suppressed_anew_once_its_review_was_past(live):
    carry_out(live, agreed(live, Right.objection))
    live.sql.execute("update suppression set review_on = '2026-11-01', since = '2026-06-01'")
    live.later(hours=1)
    again_ = agreed(live, Right.objection)
    carry_out(live, again_)

    row = live.row("select ticket, review_on, helsinki_day(since) as since from suppression where kind = 'caller'")
    assert tuple(row) == (again_, date(2027, 11, 25), date(2026, 11, 25))


def test_a_held_recording_of_an_upheld_objection_is_deferred(live):
    ticket = agreed(live, Right.objection)
    live.block(recordings=(mine(live)[0],))
    carry_out(live, ticket)
    live.sweep()

    assert left(live) == 2
    assert delivered(live, ticket) == "deferred"


def test_the_restriction_of_an_upheld_objection_ends_in_the_same_transaction(live, monkeypatch):
    ticket = agreed(live, Right.objection)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(carrying_out, "_plan", fails)
    with pytest.raises(RuntimeError):
        carry_out(live, ticket)

    with live.connect() as conn:
        assert fulfilling.show(conn, ticket).freezes
    assert live.value("select count(*) from suppression where kind = 'caller'") == 0


# --- rectification ----------------------------------------------------------------------------------------------------


def test_a_number_put_right_is_found_as_the_other_persons(kept):
    recording = mine(kept)[0]
    sound = kept.value("select sha256 from recording where recording = %s", recording)
    ticket = rectified(kept, recording, number=NEW)

    assert mine(kept, NEW) == [recording]
    row = kept.row("select * from recording where recording = %s", recording)
    assert (row.rectified, row.sha256, row.caller_state) == (ticket, sound, "known")
    opened_number = kept.app.keyring.unseal("number", row.sealed_number, row.identity)
    assert opened_number.decode() == NEW
    (event,) = kept.events("recording.rectified")
    assert (event["changed"], event["controller"]) == (["number"], "punavaara")
    with kept.connect() as conn:
        (said,) = fulfilling.corrections(conn, kept.app.keyring, ticket)
    assert (said.what, said.before, said.after) == ("number", CALLER, NEW)
    assert "40999000" not in json.dumps(kept.events())
    assert delivered(kept, ticket) == "fulfilled"
    assert [r.outcome for r in kept.rows("select outcome from ticket_recording order by outcome")] == [
        "corrected",
        "none",
    ]


def test_a_time_put_right_has_its_term_and_a_line_its_company(kept):
    recording = mine(kept)[0]
    rectified(kept, recording, time=datetime(2026, 8, 31, 20, 30, tzinfo=UTC), line=PHM_LINE)

    row = kept.row("select controller, line, eligible_at, term_since from recording where recording = %s", recording)
    assert (row.controller, row.line) == ("phm", PHM_LINE)
    assert row.eligible_at == datetime(2027, 2, 28, 22, tzinfo=UTC)
    assert row.term_since == kept.value("select applied_at from ticket_correction where what = 'time'")


def test_the_vendors_later_word_undoes_nothing_that_was_put_right(kept):
    recording = mine(kept)[0]
    rectified(kept, recording, number=NEW)
    balance = again(
        kept,
        Delivered(id="a", start=at(8, 30), caller=CALLER, ms=900),
        Delivered(id="b", start=at(9), caller=CALLER, line=PHM),
        Delivered(id="c", start=at(10), caller=OTHER),
    )

    row = kept.row("select pseudonym, started_at, duration_ms from recording where recording = %s", recording)
    assert balance["corrected"] == 1
    assert tuple(row) == (kept.pseudonym(NEW), at(8, 30), 900)
    assert [e["changed"] for e in kept.events("recording.corrected")] == [["started_at", "duration"]]


def test_the_vendors_word_that_was_checked_before_undoes_nothing_that_is_put_right_since(kept, monkeypatch):
    recording, keep = mine(kept)[0], importing.keep
    hold = kept.block(pseudonyms=(kept.pseudonym(OTHER),))

    def put_right_first(*arguments: Any) -> Any:
        if kept.value("select count(*) from staging where corrects = %s", recording):
            rectified(kept, recording, number=OTHER, line=PHM_LINE)
        return keep(*arguments)

    monkeypatch.setattr(importing, "keep", put_right_first)
    balance = again(
        kept,
        Delivered(id="a", start=at(8, 30), caller=NEW),
        Delivered(id="b", start=at(9), caller=CALLER, line=PHM),
        Delivered(id="c", start=at(10), caller=OTHER),
    )

    row = kept.row("select pseudonym, line, controller, started_at from recording where recording = %s", recording)
    assert balance["corrected"] == 1
    assert tuple(row) == (kept.pseudonym(OTHER), PHM_LINE, "phm", at(8, 30))
    assert kept.value("select count(*) from blocker_cover where blocker = %s and recording = %s", hold, recording) == 1
    assert [e["changed"] for e in kept.events("recording.corrected")] == [["started_at"]]


def test_a_line_put_right_keeps_its_company_whatever_the_vendor_says(kept):
    recording = mine(kept)[0]
    rectified(kept, recording, line=PHM_LINE)
    again(
        kept,
        Delivered(id="a", start=at(8, 30), caller=CALLER),
        Delivered(id="b", start=at(9), caller=CALLER, line=PHM),
        Delivered(id="c", start=at(10), caller=OTHER),
    )

    row = kept.row("select controller, line, started_at from recording where recording = %s", recording)
    assert tuple(row) == ("phm", PHM_LINE, at(8, 30))


def test_what_was_drafted_of_a_call_that_is_left_out_is_not_put_right(kept):
    first, other = mine(kept)
    rectified(kept, first, time=at(8, 20))
    ticket = proven(kept, opened(kept, Right.rectification))
    preview(kept, ticket)
    correct(kept, ticket, first, "number", NEW)
    correct(kept, ticket, other, "number", NEW)
    with kept.connect() as conn:
        fulfilling.leave_out(conn, kept.app.keyring, ticket, {first: "others_rights"}, OFFICER)
    approve(kept, ticket)

    assert carry_out(kept, ticket) == 1
    with kept.connect() as conn:
        done = {c.recording: c.applied_at is not None for c in fulfilling.corrections(conn, kept.app.keyring, ticket)}
        told = answering.facts(conn, kept.app, ticket, answering.final(conn, ticket))
    assert done == {first: False, other: True}
    assert len(told.corrections) == 1
    again(
        kept,
        Delivered(id="a", start=at(8, 40), caller=OTHER),
        Delivered(id="b", start=at(9), caller=CALLER, line=PHM),
        Delivered(id="c", start=at(10), caller=OTHER),
    )
    row = kept.row("select pseudonym, started_at from recording where recording = %s", first)
    assert tuple(row) == (kept.pseudonym(OTHER), at(8, 20))


def test_what_a_blocker_covered_stays_covered_and_what_names_it_now_covers_it(kept):
    recording = mine(kept)[0]
    old = kept.block(pseudonyms=(kept.pseudonym(CALLER),))
    new = kept.block(pseudonyms=(kept.pseudonym(NEW),))
    rectified(kept, recording, number=NEW)

    covering = {
        row.blocker
        for row in kept.rows(
            "select b.blocker from blocker b join recording r on covers(b, r.recording, r.controller, r.line, r.pseudonym, r.started_at) "
            "where r.recording = %s",
            recording,
        )
    }
    assert {old, new} <= covering
    assert kept.value("select count(*) from blocker_cover where blocker = %s and recording = %s", new, recording) == 1
    assert str(old) in {e["blocker"] for e in kept.events("blocker.kept")}


def test_a_time_put_right_into_the_past_waits_for_a_yes_as_a_surplus(live):
    live.forecast()
    live.later(hours=1)
    delivered(live, rectified(live, mine(live)[0], time=datetime(2026, 1, 31, 12, tzinfo=UTC)))

    night = live.sweep()

    assert (night.total("waiting"), left(live)) == (1, 3)


def test_a_statement_is_attached_and_changes_no_row(kept):
    recording = mine(kept)[0]
    before = kept.row("select * from recording where recording = %s", recording)
    ticket = rectified(kept, recording, statement="Matti was not angry")

    assert kept.row("select * from recording where recording = %s", recording) == before
    with kept.connect() as conn:
        (said,) = fulfilling.corrections(conn, kept.app.keyring, ticket)
    assert said.after == "Matti was not angry"
    assert all(b"Matti" not in bytes(r.sealed_after) for r in kept.rows("select sealed_after from ticket_correction"))
    assert "Matti" not in json.dumps(kept.events())


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [
        ("number", LINE, "line of ours"),
        ("line", CALLER, "no line of ours"),
        ("time", datetime(2026, 11, 26, 12, tzinfo=UTC), "future"),
        ("time", "yesterday", "by a time"),
        ("statement", " ", "nothing in this"),
        ("audio", "x", "cannot be put right"),
    ],
)
def test_what_cannot_be_put_right_is_refused_in_words(kept, what, value, said):
    ticket = proven(kept, opened(kept, Right.rectification))
    preview(kept, ticket)

    with pytest.raises(NotAllowed, match=said):
        correct(kept, ticket, mine(kept)[0], what, value)
    assert kept.value("select count(*) from ticket_correction") == 0


def test_only_what_was_found_in_the_catalogue_is_put_right(kept):
    ticket, access = proven(kept, opened(kept, Right.rectification)), proven(kept, opened(kept))
    preview(kept, ticket)
    preview(kept, access)

    with pytest.raises(NotFound, match="not among what was found"):
        correct(kept, ticket, mine(kept, OTHER)[0], "number", NEW)
    with pytest.raises(NotAllowed, match="nothing is put right by it"):
        correct(kept, access, mine(kept)[0], "number", NEW)


def test_another_correction_is_another_scope_and_none_is_no_rectification(kept):
    recording, ticket = mine(kept)[0], proven(kept, opened(kept, Right.rectification))
    preview(kept, ticket)
    with pytest.raises(NotAllowed, match="Nothing is put right"):
        approve(kept, ticket)
    first = correct(kept, ticket, recording, "number", NEW).scope
    other = correct(kept, ticket, recording, "number", OTHER).scope

    assert first != other
    with pytest.raises(ScopeChanged):
        approve(kept, ticket, first)
    correct(kept, ticket, recording, "number", None)
    with pytest.raises(NotAllowed, match="Nothing is put right"):
        approve(kept, ticket)


def test_a_scope_tells_nobody_which_number_it_is_put_right_to(kept):
    """A hash of a number could be found out by trying every number: it is over the sealed value."""
    recording, ticket = mine(kept)[0], proven(kept, opened(kept, Right.rectification))
    preview(kept, ticket)
    first = correct(kept, ticket, recording, "number", NEW).scope

    assert correct(kept, ticket, recording, "number", NEW).scope != first


def test_a_call_on_a_day_on_which_the_line_was_nobodys_is_not_put_right_to_it(kept):
    recording, ticket = mine(kept)[0], proven(kept, opened(kept, Right.rectification))
    preview(kept, ticket)
    correct(kept, ticket, recording, "time", datetime(2020, 1, 1, tzinfo=UTC))
    approve(kept, ticket)

    with pytest.raises(NotAllowed, match="not designated"):
        carry_out(kept, ticket)
    assert kept.value("select count(*) from recording where rectified is not null") == 0


def test_nothing_is_put_right_of_what_is_being_deleted(kept):
    recording, ticket = mine(kept)[0], proven(kept, opened(kept, Right.rectification))
    preview(kept, ticket)
    correct(kept, ticket, recording, "number", NEW)
    approve(kept, ticket)
    kept.sql.execute(
        "insert into deletion (recording, vendor, trigger, state, object_key) select recording, vendor, 'erasure_approved', 'sending', "
        "object_key from recording where recording = %s",
        (recording,),
    )

    with pytest.raises(NotAllowed, match="leaving it"):
        carry_out(kept, ticket)


def test_what_was_put_right_is_forgotten_with_its_ticket(kept, fresh_office):
    ticket = rectified(kept, mine(kept)[0], number=NEW)
    delivered(kept, ticket)
    kept.set_clock(datetime(2029, 11, 26, 12, tzinfo=UTC))
    with kept.connect() as conn:
        fulfilling.forget_past_term(conn, OFFICER)

    assert tuple(kept.row("select sealed_before, sealed_after from ticket_correction")) == (None, None)
    with kept.connect() as conn:
        assert fulfilling.corrections(conn, kept.app.keyring, ticket) == ()


# --- released, handed over --------------------------------------------------------------------------------------------


def test_a_letter_is_released_and_delivered_by_decisions(kept):
    ticket = agreed(kept, Right.restriction)
    with kept.connect() as conn, pytest.raises(NotAllowed, match="approved cannot become released"):
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)
    carry_out(kept, ticket)
    with kept.connect() as conn:
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)

    assert delivered(kept, ticket) == "fulfilled"
    assert kept.value("select count(*) from decision where action = 'dsr_release'") == 1


def test_an_answer_that_says_what_is_not_known_yet_is_not_released(live):
    ticket = agreed(live)
    carry_out(live, ticket)

    with live.connect() as conn, pytest.raises(NotAllowed, match="still on their way out"):
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)
    live.sweep()
    with live.connect() as conn:
        fulfilling.release(conn, ticket, account="officer", actor=OFFICER)
    assert delivered(live, ticket) == "fulfilled"


def test_a_state_alone_hands_nothing_over(kept):
    ticket = agreed(kept, Right.restriction)
    carry_out(kept, ticket)
    kept.sql.execute("update ticket set state = 'released'")

    with pytest.raises(NotAllowed, match="Nobody has released"):
        delivered(kept, ticket)


def test_access_at_once_with_erasure_while_the_term_ends_that_night(live):
    """Every clock at once: the copy is waited for, the erasure is approved, and the term is over this night."""
    access, erasure = opened(live), agreed(live)
    carry_out(live, erasure)
    live.set_clock(datetime(2027, 5, 25, 0, 30, tzinfo=UTC))
    live.forecast()
    live.set_clock(datetime(2027, 5, 26, 0, 30, tzinfo=UTC))
    night = live.sweep()

    assert (night.total("done"), night.total("blocked"), len(mine(live))) == (1, 2, 2)
    close(live, access)
    live.set_clock(datetime(2027, 5, 27, 0, 30, tzinfo=UTC))
    live.sweep("after")
    assert left(live) == 0
    assert delivered(live, erasure) == "fulfilled"


def test_the_same_person_twice_is_two_tickets_that_each_end_alone(live):
    first, again_ = agreed(live, Right.restriction), agreed(live, Right.restriction)
    carry_out(live, first)
    delivered(live, first)
    close(live, again_)

    assert [staff(live, r) for r in mine(live)] == ["officer", "officer"]
    with live.connect() as conn:
        assert fulfilling.show(conn, again_).linked_to == first


def test_who_approves_is_in_the_trail_and_no_number_is(kept):
    ticket = agreed(kept, Right.objection)
    with kept.connect() as conn:
        carrying_out.carry_out(conn, kept.app, ticket, replace(OFFICER, account="deputy"))

    decided = [(e["decided"], e["actor"]["account"]) for e in kept.events("decision.made")]
    assert decided == [("dsr_approve", "officer"), ("dsr_second", "approver")]
    assert "40999000" not in json.dumps(kept.events())


# --- at the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def command(kept, monkeypatch):
    """`callkeeper ticket` as an account of Airflow's types it: gives what it said."""
    monkeypatch.setattr("callkeeper.settings.load", lambda: kept.settings)
    monkeypatch.setattr("callkeeper.wiring.build", lambda _: kept.app)
    monkeypatch.setattr("callkeeper.commands.signin.sign_in", lambda app, account, roles: account)

    def run(*words: str, typed: str = "", account: str = "officer") -> str:
        done = CliRunner(env={"COLUMNS": "200"}).invoke(
            ticket_command.group, [*words, "--as", account], input=typed, catch_exceptions=False
        )
        return done.output

    return run


def test_a_restriction_is_led_to_its_end_at_the_command_line(command, kept):
    ticket = agreed(kept, Right.restriction)
    said = [
        command("carry-out", ticket),
        command("release", ticket),
        command("delivered", ticket, "--channel", "letter"),
    ]
    said += [command("restricted", ticket, "--until", "2027-03-01")]
    said += [command("lifting", ticket, "--on", "2026-11-26", "--reason", "asked")]
    letter_sent(kept, ticket, "restriction_lifting")
    kept.later(days=1)
    said += [command("lift", ticket)]

    assert said == [
        f"{ticket}: 2 recordings restricted, until that is lifted.\n",
        f"{ticket} is released. Once it is handed over: callkeeper ticket delivered {ticket}\n",
        f"{ticket} is closed: fulfilled.\n",
        f"{ticket}: its restriction stands, to be looked at again on 2027-03-01.\n",
        f"{ticket}: tell the person (callkeeper ticket letter {ticket} restriction_lifting), "
        f"and on 2026-11-26: callkeeper ticket lift {ticket}\n",
        f"{ticket}: 2 recordings restricted no longer.\n",
    ]


def test_a_rectification_is_typed_in_and_its_number_never_an_argument(command, kept):
    ticket = proven(kept, opened(kept, Right.rectification))
    preview(kept, ticket)
    recording = str(mine(kept)[0])
    said = command("correct", ticket, recording, "number", typed="040 999 0003\n")
    command("correct", ticket, recording, "time", "--time", "2026-11-24T08:30")
    command("correct", ticket, recording, "line", "--line", "010 270 8001")
    command("correct", ticket, recording, "statement", typed="as I said\n")
    command("correct", ticket, recording, "statement", "--drop")
    approve(kept, ticket)

    assert command("carry-out", ticket) == f"{ticket}: 1 recording put right.\n"
    assert "999" not in said
    row = kept.row("select pseudonym, started_at, controller from recording where rectified is not null")
    assert tuple(row) == (kept.pseudonym(NEW), at(8, 30), "phm")


def test_more_is_searched_and_a_copy_redacted_at_the_command_line(command, kept):
    ticket = proven(kept, opened(kept))
    preview(kept, ticket)
    added = command("add", ticket, "--number", typed="0409990002\n")
    proven(kept, ticket)
    preview(kept, ticket)
    redacted = command("redact", ticket, str(mine(kept)[0]), "--mute", "0.1", "0.5", "other_person")
    asked = command("ask", ticket, "clarification", "--about", "period")

    assert added.splitlines()[-1] + "\n" == f"{ticket}: 3 recordings frozen. Identity: unproven.\n"
    assert redacted.startswith(f"{ticket}: 3 recordings. Scope ")
    assert kept.value("select mutes from ticket_recording where mutes is not null") == [[100, 500, "other_person"]]
    assert asked == f"{ticket} waits for the person's answer; its due day stays.\n"


def test_a_no_at_the_command_line_takes_the_reasons_that_were_noted(command, kept):
    ticket = opened(kept)
    command("reasons", ticket, typed="as it is\n")

    assert "is refused" in command("refuse", ticket, "--ground", "excessive", typed="\n")
    with kept.connect() as conn:
        assert fulfilling.noted_reasons(conn, kept.app.keyring, ticket) == "as it is"


def test_a_copy_is_rejected_taken_back_and_an_objection_reviewed_at_the_command_line(command, kept):
    ticket = proven(kept, opened(kept))
    preview(kept, ticket)
    approve(kept, ticket)
    assert command("reject", ticket, account="approver") == f"{ticket} lies before the officer again.\n"
    approve(kept, ticket)
    second(kept, ticket)
    command("carry-out", ticket)
    assert command("take-back", ticket).startswith(f"{ticket} lies before you again.")
    objection = agreed(kept, Right.objection)
    carry_out(kept, objection)

    assert command("suppressed", objection, "--until", "2027-05-01").endswith("not kept until 2027-05-01.\n")
    assert command("suppressed", objection, "--end").endswith("kept again.\n")


# --- the table of the requirements (section 2), by real requests ------------------------------------------------------

AFTER = datetime(2027, 5, 26, 0, 30, tzinfo=UTC)
"""A night in which the term of DAY's calls is over."""
DECIDABLE = st.sampled_from(["none", "asked", "yes"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(access=True, erasure="yes", objection="none", restriction=False, rectification=False, hold=None, expired=True)
@example(
    access=False, erasure="yes", objection="none", restriction=False, rectification=False, hold=None, expired=False
)
@example(access=False, erasure="none", objection="yes", restriction=False, rectification=False, hold=None, expired=True)
@given(
    access=st.booleans(),
    erasure=DECIDABLE,
    objection=DECIDABLE,
    restriction=st.booleans(),
    rectification=st.booleans(),
    hold=st.sampled_from([None, "complaint", "authority_preservation"]),
    expired=st.booleans(),
)
def test_requests_in_any_combination_come_to_the_tables_one_outcome(
    live, access, erasure, objection, restriction, rectification, hold, expired
):
    """Real tickets of one person, decided or not, a hold, the term's end: what is explained, and what the night would do."""
    recording = mine(live)[0]
    asked = {Right.access: access, Right.restriction: restriction, Right.rectification: rectification}
    for right in (r for r, there in asked.items() if there):
        opened(live, right)
    for right, state in ((Right.erasure, erasure), (Right.objection, objection)):
        if state == "asked":
            opened(live, right)
        elif state == "yes":
            carry_out(live, agreed(live, right))
    if hold:
        blocker = live.block(recordings=(recording,))
        live.sql.execute("update blocker set kind = %s where blocker = %s", (hold, blocker))
    facts = Facts(
        expired=expired, access=access, erasure=erasure, objection=objection, restriction=restriction, rectification=rectification,
        hold=hold == "complaint", preservation=hold == "authority_preservation",
    )  # fmt: skip
    try:
        live.set_clock(AFTER - timedelta(days=1))
        live.forecast()
        live.set_clock(AFTER if expired else NOW + timedelta(hours=1))
        with live.connect() as conn:
            found = explaining.explain(conn, recording, months=6, officer=True).outcome
            live.armed(conn, f"night {live.value('select count(*) from night')}")
        armed = live.value("select count(*) from deletion where recording = %s and state = 'armed'", recording) == 1
    finally:
        live.set_clock(NOW)
        live.sql.execute("update ticket set linked_to = null, standing = null")
        for table in (
            "suppression", "deletion", "hold_too_late", "blocker_cover", "blocker", "ticket_recording", "ticket_subject", "ticket",
            "subject_salt", "forecast",
        ):  # fmt: skip
            live.sql.execute(f"delete from {table}")

    assert (found.staff, found.copy, found.schedule, found.erasure) == outcome(facts)
    assert armed == (outcome(facts)[2] in ("yes", "at_once"))
