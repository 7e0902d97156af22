"""The clocks of requirements.md, section 3, as its tables give them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callkeeper.clock import (
    HELSINKI,
    add_months,
    day_bounds_utc,
    helsinki_day,
    request_due,
    request_due_extended,
    retention_eligible_at,
    roll,
)
from callkeeper.errors import CallkeeperError


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- retention --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started_at", "eligible_at"),
    [
        ("2026-08-31T20:30", "2027-02-28T22:00"),
        ("2026-08-31T21:30", "2027-03-01T22:00"),  # 1 September in Helsinki
        ("2027-08-31T09:00", "2028-02-29T22:00"),
        ("2026-10-25T00:30", "2027-04-25T21:00"),  # 03:30 in Helsinki, the first time
        ("2026-10-25T01:30", "2027-04-25T21:00"),  # 03:30 in Helsinki, the second time
        # counted in days of Helsinki: its eligible day may begin on either side of a change of the clock
        ("2026-09-27T12:00", "2027-03-27T22:00"),
        ("2026-09-28T12:00", "2027-03-28T21:00"),
        ("2027-04-30T12:00", "2027-10-30T21:00"),
        ("2027-05-01T12:00", "2027-11-01T22:00"),
    ],
)
def test_a_call_may_go_from_midnight_after_its_anniversary(started_at: str, eligible_at: str) -> None:
    eligible = retention_eligible_at(utc(started_at))

    assert eligible == utc(eligible_at)
    assert eligible.tzinfo is UTC


def test_the_term_is_a_number_of_months() -> None:
    assert retention_eligible_at(utc("2026-01-31T12:00"), months=1) == utc("2026-02-28T22:00")
    assert retention_eligible_at(utc("2026-01-31T12:00"), months=12) == utc("2027-01-31T22:00")


def test_one_instant_has_one_term_in_whatever_zone_it_is_told() -> None:
    at = utc("2026-08-31T21:30")

    for zone in (HELSINKI, ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")):
        assert retention_eligible_at(at.astimezone(zone)) == retention_eligible_at(at)


@pytest.mark.parametrize("question", [retention_eligible_at, helsinki_day])
def test_a_naive_time_is_refused(question) -> None:  # type: ignore[no-untyped-def]  # either function
    with pytest.raises(ValueError, match="no UTC offset") as refused:
        question(datetime(2026, 8, 31, 20, 30))

    assert isinstance(refused.value, CallkeeperError)


# --- days -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "begins", "ends", "hours"),
    [
        ("2026-11-24", "2026-11-23T22:00", "2026-11-24T22:00", 24),
        ("2026-06-20", "2026-06-19T21:00", "2026-06-20T21:00", 24),
        ("2026-03-29", "2026-03-28T22:00", "2026-03-29T21:00", 23),
        ("2026-10-25", "2026-10-24T21:00", "2026-10-25T22:00", 25),
    ],
)
def test_a_day_in_helsinki_has_23_24_or_25_hours(day: str, begins: str, ends: str, hours: int) -> None:
    first, last = day_bounds_utc(date.fromisoformat(day))

    assert (first, last) == (utc(begins), utc(ends))
    assert last - first == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        ("2026-03-05", 1, "2026-04-05"),
        ("2026-08-31", 6, "2027-02-28"),
        ("2027-08-31", 6, "2028-02-29"),
        ("2026-12-31", 2, "2027-02-28"),
        ("2026-12-01", 1, "2027-01-01"),
        ("2026-11-30", 1, "2026-12-30"),
        ("2028-02-29", 12, "2029-02-28"),
        ("2027-03-31", -1, "2027-02-28"),
        ("2027-01-15", -1, "2026-12-15"),
        ("2027-01-15", 0, "2027-01-15"),
    ],
)
def test_months_are_added_by_the_calendar_and_clipped_to_its_end(day: str, months: int, later: str) -> None:
    assert add_months(date.fromisoformat(day), months) == date.fromisoformat(later)


# --- requests ---------------------------------------------------------------------------------------------------------


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
def test_a_request_is_due_a_month_or_with_an_extension_three_months_after_receipt(
    received: str, due: str, extended: str
) -> None:
    assert request_due(date.fromisoformat(received)) == date.fromisoformat(due)
    assert request_due_extended(date.fromisoformat(received)) == date.fromisoformat(extended)


@pytest.mark.parametrize(
    ("day", "working_day"),
    [
        ("2026-06-19", "2026-06-19"),  # Midsummer Eve works
        ("2027-06-25", "2027-06-25"),
        ("2026-12-24", "2026-12-24"),  # so does Christmas Eve
        ("2027-12-24", "2027-12-24"),
        ("2023-12-24", "2023-12-27"),  # unless it is a Sunday
        ("2026-06-20", "2026-06-22"),  # Midsummer Day
        ("2026-12-25", "2026-12-28"),  # Christmas Day, a Friday
        ("2027-01-01", "2027-01-04"),  # New Year's Day, a Friday
        ("2027-01-06", "2027-01-07"),  # Epiphany
        ("2026-04-03", "2026-04-07"),  # Good Friday to Easter Monday
        ("2026-05-01", "2026-05-04"),  # May Day
        ("2026-05-14", "2026-05-15"),  # Ascension Day
        ("2027-12-06", "2027-12-07"),  # Independence Day
        ("2026-10-31", "2026-11-02"),  # All Saints' Day
        ("2026-12-31", "2026-12-31"),  # New Year's Eve works
        ("2026-02-05", "2026-02-05"),  # a day of flags only
    ],
)
def test_a_deadline_rolls_over_weekends_and_public_holidays_only(day: str, working_day: str) -> None:
    assert roll(date.fromisoformat(day)) == date.fromisoformat(working_day)


@pytest.mark.parametrize("language", ["fi", "sv_FI", "en_US", "uk", "th"])
def test_the_eves_are_known_in_whatever_language_the_machine_speaks(language: str) -> None:
    asked = (
        "from datetime import date; from callkeeper.clock import roll;"
        "print(roll(date(2026, 6, 19)), roll(date(2026, 12, 24)), roll(date(2026, 6, 20)))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "LANGUAGE": language, "LC_ALL": f"{language}.UTF-8"}
    said = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)

    assert said.stdout.split() == ["2026-06-19", "2026-12-24", "2026-06-22"]


def test_a_time_is_no_day_of_receipt() -> None:
    for question in (request_due, request_due_extended):
        with pytest.raises(ValueError, match="a date in Helsinki"):
            question(utc("2026-03-05T12:00"))


def test_the_calendar_is_loaded_only_for_due_dates() -> None:
    asked = (
        "import sys; from datetime import UTC, datetime; from callkeeper import clock;"
        "clock.retention_eligible_at(datetime(2026, 1, 1, tzinfo=UTC)); sys.exit('holidays' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", asked], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


# --- for every day ----------------------------------------------------------------------------------------------------

DAYS = st.dates(date(2000, 1, 1), date(2090, 12, 31))
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 12, 31), timezones=st.just(UTC))


@given(INSTANTS, st.integers(1, 24))
def test_a_call_always_becomes_eligible_at_midnight_in_helsinki_and_after_its_whole_term(
    started_at: datetime, months: int
) -> None:
    local = retention_eligible_at(started_at, months).astimezone(HELSINKI)

    assert local.time() == time(0)
    assert local.date() == add_months(started_at.astimezone(HELSINKI).date(), months) + timedelta(days=1)


@given(INSTANTS, INSTANTS)
@example(utc("2026-10-25T00:30"), utc("2026-10-25T01:30"))
def test_an_earlier_call_never_goes_later(one: datetime, other: datetime) -> None:
    assert retention_eligible_at(min(one, other)) <= retention_eligible_at(max(one, other))


@given(INSTANTS)
def test_an_instant_lies_within_its_day(at: datetime) -> None:
    begins, ends = day_bounds_utc(helsinki_day(at))

    assert begins <= at < ends


@given(DAYS)
def test_days_follow_each_other_without_a_gap(day: date) -> None:
    assert day_bounds_utc(day)[1] == day_bounds_utc(day + timedelta(days=1))[0]


@given(DAYS, DAYS)
def test_a_due_date_is_a_working_day_at_most_five_days_after_the_month_is_over(received: date, later: date) -> None:
    for due, months in ((request_due(received), 1), (request_due_extended(received), 3)):
        assert roll(due) == due
        assert due.weekday() < 5
        assert (due.month, due.day) not in {(1, 1), (1, 6), (5, 1), (12, 6), (12, 25), (12, 26)}
        assert timedelta() <= due - add_months(received, months) <= timedelta(days=5)
    assert request_due(min(received, later)) <= request_due(max(received, later))
