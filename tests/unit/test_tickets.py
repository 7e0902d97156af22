"""A ticket's reference, its lawful way and its clocks."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper import letters, tickets
from callkeeper.errors import NotAllowed
from callkeeper.phone import E164
from callkeeper.retention import HOLDS, BlockerKind
from callkeeper.tickets import FREEZES, GROUNDS_OF, LAWFUL, Call, Right, State

NINE = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)
LINE = E164("+358207001234")
WORDS = Path(letters.__file__).parent / "words"


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("received", "due", "extended"),
    [
        ("2026-03-05", "2026-04-07", "2026-06-05"),
        ("2026-08-31", "2026-09-30", "2026-11-30"),
        ("2026-11-06", "2026-12-07", "2027-02-08"),
        ("2026-11-24", "2026-12-24", "2027-02-24"),
        ("2026-11-25", "2026-12-28", "2027-02-25"),
        ("2026-12-06", "2027-01-07", "2027-03-08"),
        ("2027-01-31", "2027-03-01", "2027-04-30"),
        ("2027-02-26", "2027-03-30", "2027-05-26"),
    ],
)
def test_a_ticket_is_due_a_month_after_receipt_and_three_once_extended(received: str, due: str, extended: str) -> None:
    assert tickets.due(day(received), day(received)) == day(due)
    assert tickets.extended(day(received), day(due), today=day(due)) == day(extended)


def test_an_extension_comes_by_the_first_due_day_or_not_at_all() -> None:
    with pytest.raises(NotAllowed, match="can no longer be extended"):
        tickets.extended(day("2026-03-05"), day("2026-04-07"), today=day("2026-04-08"))


@pytest.mark.parametrize(
    ("received", "said"), [("2026-11-26", "still to come"), ("2025-11-24", "more than 12 months ago")]
)
def test_a_day_of_receipt_that_cannot_be_meant_is_refused(received: str, said: str) -> None:
    with pytest.raises(NotAllowed, match=said):
        tickets.due(day(received), today=day("2026-11-25"))


@given(st.dates(date(2026, 1, 1), date(2027, 12, 31)), st.integers(0, 365))
def test_a_due_day_counts_from_receipt_whenever_the_ticket_is_opened(received: date, later: int) -> None:
    assert tickets.due(received, received + timedelta(later)) == tickets.due(received, received)


def test_a_reference_has_its_year_and_number() -> None:
    assert tickets.reference(2026, 7) == "DSR-2026-0007"
    assert all(tickets.REFERENCE.fullmatch(tickets.reference(2026, n)) for n in (1, 9999, 12345))
    assert not tickets.REFERENCE.fullmatch("0401234567")


@pytest.mark.parametrize(("before", "after"), [*product(State, State)])
def test_a_ticket_goes_by_its_lawful_way_only(before: State, after: State) -> None:
    if after in LAWFUL[before]:
        assert tickets.move(before, after) is after
    else:
        with pytest.raises(NotAllowed, match="cannot become"):
            tickets.move(before, after)


def test_every_state_is_reached_and_leads_to_the_end() -> None:
    def from_(state: State) -> set[State]:
        seen, left = set(), [state]
        while left:
            left += LAWFUL[now := left.pop()] - seen
            seen |= LAWFUL[now]
        return seen

    assert from_(State.open) | {State.open} == set(State)
    assert all(State.closed in from_(state) for state in State if state is not State.closed)


def test_nothing_is_carried_out_that_nobody_approved() -> None:
    assert {before for before, after in LAWFUL.items() if State.carried_out in after} == {
        State.approved,
        State.seconded,
    }
    assert {before for before, after in LAWFUL.items() if State.approved in after} == {State.previewed}


def test_what_was_carried_out_or_refused_ends_by_its_delivery_only() -> None:
    assert {before for before, after in LAWFUL.items() if State.closed in after}.isdisjoint(
        {State.carried_out, State.refused, State.released}
    )


def test_a_freeze_is_a_kind_of_blocker_that_the_decision_knows_and_never_a_hold() -> None:
    kinds = {BlockerKind(kind) for kind in FREEZES.values()}

    assert BlockerKind.unknown not in kinds
    assert not kinds & HOLDS
    assert set(Right) - FREEZES.keys() == {Right.erasure, Right.portability}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call(from_at=NINE, to_at=NINE + timedelta(hours=1)), "needs its line, or its company"),
        (Call(from_at=NINE, to_at=NINE, line=LINE), "ends before it begins"),
        (Call(from_at=NINE, to_at=NINE + timedelta(hours=26), line=LINE), "whole switchboard"),
        (Call(from_at=NINE, to_at=NINE + timedelta(days=180), controller="phm"), "whole switchboard"),
    ],
)
def test_a_time_that_is_not_one_persons_is_refused(call: Call, said: str) -> None:
    with pytest.raises(NotAllowed, match=said):
        tickets.check_call(call)


def test_a_whole_day_of_a_line_is_not_too_much() -> None:
    call = Call(from_at=NINE, to_at=NINE + timedelta(hours=25), line=LINE)

    assert tickets.check_call(call) is call
    assert LINE[-4:] not in repr(call)


def test_every_right_can_be_refused_and_every_ground_refuses_one() -> None:
    assert set(GROUNDS_OF) == set(tickets.GROUNDS)
    assert all(GROUNDS_OF.values())
    assert set().union(*GROUNDS_OF.values()) == set(Right)


@pytest.mark.parametrize("right", Right)
def test_erasure_takes_two_people_whatever_the_evidence(right: Right) -> None:
    always = [tickets.takes_two(right, identity) for identity in ("callback", "other", "strong")]

    assert always == (
        [True] * 3 if right in (Right.erasure, Right.objection) else [right is Right.access] * 2 + [False]
    )


@pytest.mark.parametrize("language", tickets.LANGUAGES)
def test_a_letter_has_words_for_whatever_a_ticket_can_say(language: str) -> None:
    words = tomllib.loads((WORDS / f"{language}.toml").read_text(encoding="utf-8"))

    # Portability has a letter of its own.
    assert set(words["grounds"]) == set(tickets.GROUNDS) - {"not_applicable"}
    assert set(words["extension_reasons"]) == set(tickets.EXTENSION_REASONS)
    assert set(words["ways"]) == set(tickets.EVIDENCES)
    assert set(words["rights"]) == set(Right)
