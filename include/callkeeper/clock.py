"""Helsinki days, months, working days: every clock of the notice and the law (requirements, section 3). All pure.

The present is not here: it comes from the database (callkeeper.db.now).
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from callkeeper.errors import CallkeeperError

HELSINKI = ZoneInfo("Europe/Helsinki")

_DAY = timedelta(days=1)
_SATURDAY = 5


class NaiveTime(CallkeeperError, ValueError):
    """A time without an offset or a zone: nobody can say which instant it is."""


def add_months(day: date, months: int) -> date:
    """The same day ``months`` later (earlier, if negative), or the month's last day where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def helsinki_day(at: datetime) -> date:
    """The calendar day in Helsinki on which ``at`` falls. Raises NaiveTime."""
    if at.utcoffset() is None:
        raise NaiveTime("A time has no UTC offset, so its day is unknown.", mend="Give it one where it is read.")
    return at.astimezone(HELSINKI).date()


def day_bounds_utc(day: date) -> tuple[datetime, datetime]:
    """The first instant of the Helsinki day and of the next one, in UTC: 23, 24 or 25 hours apart."""
    return _midnight(day), _midnight(day + _DAY)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), HELSINKI).astimezone(UTC)


def retention_eligible_at(started_at: datetime, months: int = 6) -> datetime:
    """The instant (UTC) from which a call may go: Helsinki midnight after the anniversary of its start's Helsinki date.

    Counted from the call, never from import; never rolled to a working day (notice, "Kuinka kauan…"). Raises NaiveTime.
    """
    return _midnight(add_months(helsinki_day(started_at), months) + _DAY)


def request_due(received: date) -> date:
    """The last day to answer a request received on that Helsinki day (GDPR Art. 12(3), Regulation 1182/71 Art. 3)."""
    return roll(add_months(_day(received), 1))


def request_due_extended(received: date) -> date:
    """The last day once an extension was announced in time: three months from receipt (GDPR Art. 12(3))."""
    return roll(add_months(_day(received), 3))


def roll(day: date) -> date:
    """The day itself, or the working day after a weekend or Finnish public holiday (Regulation 1182/71 Art. 3(4))."""
    while day.weekday() >= _SATURDAY or day in _public_holidays(day.year):
        day += _DAY
    return day


def _day(received: date) -> date:
    if isinstance(received, datetime):  # a datetime is a date to Python; taken as one, its hour and zone would be lost
        raise NaiveTime("The day of receipt is a date in Helsinki, not a time.", mend="Pass helsinki_day(received).")
    return received


@cache
def _public_holidays(year: int) -> frozenset[date]:
    """Finland's, less Midsummer Eve and Christmas Eve: the library lists them, the law does not (docs/adr/0113)."""
    from holidays import PUBLIC, country_holidays  # a tenth of a second, that only due dates need

    listed = country_holidays("FI", years=year, categories=PUBLIC)
    return frozenset(day for day in listed if not _is_eve(day))


def _is_eve(day: date) -> bool:
    """By rule, since names come in many languages: 24 December; the Friday of 19 to 25 June, before Midsummer Day."""
    return (day.month, day.day) == (12, 24) or (day.month == 6 and 19 <= day.day <= 25 and day.weekday() == 4)
