"""What a person names at the command line: numbers, lines, companies, times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import click

from callkeeper import db, wiring
from callkeeper.clock import HELSINKI, day_bounds_utc
from callkeeper.errors import NotAllowed
from callkeeper.phone import E164, normalise


class Moment(click.ParamType[datetime]):
    """A day of Helsinki, or a time of one; ``last`` makes a day end where the next one begins."""

    name = "day or time"

    def __init__(self, *, last: bool = False) -> None:
        self.last = last

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if len(text := str(value)) == len("2026-11-24"):
                return day_bounds_utc(date.fromisoformat(text))[self.last]
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail("write it as 2026-11-24 or 2026-11-24T23:50", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=HELSINKI)


def numbers(ask: bool, file: Path | None) -> Iterator[E164]:
    """Numbers from an unseen prompt or a file: the command line is kept in a shell's history."""
    written = [click.prompt("Number", hide_input=True)] if ask else []
    if file is not None:
        written += [text for text in file.read_text(encoding="utf-8").splitlines() if text.strip()]
    for place, text in enumerate(written, start=1):
        number = normalise(text).e164
        if number is None:
            raise NotAllowed(f"Number {place} of {len(written)} is none that can be read.", mend="Nothing was done.")
        yield number


def line(conn: db.Connection, text: str) -> E164:
    """A line that is, or once was, ours: its calls may still be here."""
    number = normalise(text).e164
    if number is None or number not in {row.number for row in db.queries().known_lines(conn)}:
        raise NotAllowed("This is no line of ours.", mend="A caller's number is asked for by --number.")
    return number


def company(app: wiring.App, conn: db.Connection, name: str) -> str:
    """A company that is in the configuration, or still has recordings here."""
    known = {c.id for c in app.config.controllers} | {row.controller for row in db.queries().live_recordings(conn)}
    if name not in known:
        raise NotAllowed("There is no such controller.", mend=f"Known: {', '.join(sorted(known))}.")
    return name
