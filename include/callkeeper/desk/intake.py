"""A request is taken in: what the officer types becomes a ticket, or comes back to her with what is wrong with it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from callkeeper import db, tickets, wiring
from callkeeper.clock import HELSINKI, helsinki_day
from callkeeper.desk.forms import SentBefore, once
from callkeeper.desk.pages import Pages, advice
from callkeeper.desk.seat import Door, Host, Seat, Sent, actor
from callkeeper.errors import CallkeeperError, NotAllowed
from callkeeper.jobs import fulfilling
from callkeeper.phone import E164, normalise
from callkeeper.tickets import Call, Right

_T = TypeVar("_T", bound=str)
CALL_ROWS = 3
"""Places on the page for calls by their time."""
GONE_CALL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of ours as the page lists it: its number, and what it is called."""

    number: E164
    called: str


def routes(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter()

    @router.get("/new")
    def form(request: Request, seat: Seat = Depends(door.officer)) -> Response:
        return pages.show(request, "intake.html", seat, **_choices(host.app()), typed=None, wrong="", mend="")

    @router.post("/new")
    def take_in(request: Request, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        app = host.app()
        try:
            path = once(app, sent.form, sent.seat.account, lambda: _take_in(app, sent))
        except SentBefore:
            raise
        except CallkeeperError as wrong:
            return pages.show(
                request, "intake.html", sent.seat, status=409, **_choices(app), typed=sent, wrong=wrong.what, mend=advice(wrong)
            )  # fmt: skip
        return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)

    return router


def _choices(app: wiring.App) -> dict[str, Any]:
    with app.connect() as conn:
        return {
            "rights": list(Right), "channels": tickets.CHANNELS, "languages": tickets.LANGUAGES, "lines": lines(app, conn),
            "companies": app.config.controllers, "today": helsinki_day(db.now(conn)).isoformat(), "call_rows": range(CALL_ROWS),
        }  # fmt: skip


def lines(app: wiring.App, conn: db.Connection) -> list[Line]:
    """Each line that is, or once was, ours."""
    names = {c.id: c.name for c in app.config.controllers}
    called = {line.number: names.get(line.controller, line.controller) for line in app.config.lines}
    known = sorted({row.number for row in db.queries().known_lines(conn)} | set(called))
    conn.rollback()
    return [
        Line(number=number, called=f"{spoken(number)} ({called.get(number, 'no longer in use')})") for number in known
    ]


def spoken(number: str) -> str:
    """A line in the groups in which people write it."""
    from phonenumbers import NumberParseException, PhoneNumberFormat, format_number, parse

    try:
        return format_number(parse(number, "FI"), PhoneNumberFormat.NATIONAL)
    except NumberParseException:
        return number


def _take_in(app: wiring.App, sent: Sent) -> str:
    right = Right(pick(sent, "right", list(Right), "Say what is asked for."))
    received_on = a_day(sent.text("received"), "the day on which it reached the company")
    channel = pick(sent, "channel", tickets.CHANNELS, "Say by which way it came.")
    language = pick(sent, "language", tickets.LANGUAGES, "Say in which language it is answered.")
    company = sent.text("company") or None
    if company and company not in {c.id for c in app.config.controllers}:
        raise NotAllowed("There is no such company.")
    asked = tuple(numbers(sent.text("numbers")))
    times = tuple(calls(sent))
    with app.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn, app.keyring, right=right, received_on=received_on, channel=channel, language=language, numbers=asked,
            times=times, controller=company, account=sent.seat.account, actor=actor(app, conn, sent.seat),
        )  # fmt: skip
    return f"/tickets/{ticket}?said=opened"


# --- reading what is typed -----------------------------------------------------------------------------------------------


def pick(sent: Sent, name: str, known: Sequence[_T], missing: str) -> _T:
    """One of the known. Raises NotAllowed with that sentence, never with what was sent."""
    text = sent.text(name)
    for one in known:
        if one == text:
            return one
    raise NotAllowed(missing)


_DAY = re.compile(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)|(?P<d2>\d{1,2})\.(?P<m2>\d{1,2})\.(?P<y2>\d{4})", re.ASCII)
_TIME = re.compile(r"(\d{1,2})[:.](\d\d)(?::\d\d)?", re.ASCII)


def a_day(text: str, what: str) -> date:
    """A date as a browser sends it, or as people here write it: 24.11.2026."""
    if found := _DAY.fullmatch(text):
        year, month, day = (int(found[part] or found[f"{part}2"]) for part in ("y", "m", "d"))
        with contextlib.suppress(ValueError):
            return date(year, month, day)
    raise NotAllowed(f"Give {what} as a date.", mend="Like 24.11.2026.")


def a_time(on: date, text: str) -> datetime:
    """A Helsinki time of that day, as 9:05 or 09.05."""
    if found := _TIME.fullmatch(text):
        with contextlib.suppress(ValueError):
            return datetime.combine(on, time(int(found[1]), int(found[2])), HELSINKI)
    raise NotAllowed("A time of day is none.", mend="Write it like 9:05.")


def numbers(text: str) -> Iterator[E164]:
    """One number a line. Raises NotAllowed that names the line, never the number."""
    written = [line.strip() for line in text.splitlines() if line.strip()]
    for place, line in enumerate(written, start=1):
        number = normalise(line).e164
        if number is None:
            raise NotAllowed(
                f"Line {place} of the numbers is no phone number that can be read.",
                mend="Write one a line, like 040 123 4567.",
            )
        yield number


def calls(sent: Sent) -> Iterator[Call]:
    """Calls by their time: a line (or all of a company), a day, from when to when."""
    rows = zip(*(sent.all(f"call_{part}") for part in ("line", "day", "from", "to")), strict=False)
    for line, on, from_, to in rows:
        if not (on or from_ or to):
            continue
        if not (on and from_ and to):
            raise NotAllowed(
                "A call by its time needs its day, and from when to when.", mend="Leave a row empty that is not used."
            )
        if not line:
            raise NotAllowed("A call by its time needs its line.")
        day = a_day(on, "a call's day")
        call = Call(line=E164(line), from_at=a_time(day, from_), to_at=a_time(day, to))
        # "Until 10:05" means that minute too.
        yield replace(call, to_at=call.to_at + GONE_CALL)
