"""A real exchange to try callkeeper with: the corpus of tests/, its calls moved to another day, nothing else touched.

The call details are in UTC and the names in local time, as Asterisk wrote both; each is moved by the instant it means.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from callkeeper.clock import HELSINKI
from callkeeper.errors import SetupFailed
from callkeeper.settings import PROJECT

CORPUS = PROJECT / "tests" / "corpus" / "asterisk"
CORPUS_DAY = date(2026, 11, 24)
_FOLDER = "2026/11/24"
_CLOCK = time(17, 39, 29)
"""When the first call began, Helsinki time: it stays so on the other day."""

_NAMED = re.compile(r"(\d{8}-\d{6})-(\d{10})(?=\.\d)")
_UNIQUEID = re.compile(r'(?<=")(\d{10})(?=\.\d+")')
_DETAIL_TIME = re.compile(r'(?<=")(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?=")')

_NEXT_DAY = (
    '"","0401234512","0207001234","from-trunk",""""" <0401234512>","PJSIP/trunk-00000100","PJSIP/302-00000101","Dial",'
    '"PJSIP/302,4","{0}",,"{1}",2,0,"NO ANSWER","DOCUMENTATION","{2}.100",""\n'
)
"""Somebody who rang off the morning after: what tells that the day before is over."""


def make_asterisk(folder: Path, day: date, *, broken: bool = True, quiet: Sequence[date] = ()) -> None:
    """Writes ``cdr-csv/Master.csv`` and ``monitor/YYYY/MM/DD/``; ``broken``: with the corpus' damaged recordings too.

    On the ``quiet`` days, in their order, somebody rang and nobody answered: complete days without a recording.
    """
    if not (CORPUS / "Master.csv").exists():
        raise SetupFailed("The exchange's recordings are not there.", mend=f"Check the whole project out: {CORPUS}.")
    move = _mover(day)
    target = folder / "monitor" / day.strftime("%Y/%m/%d")
    target.mkdir(parents=True, exist_ok=True)
    details = ""
    for part in (CORPUS, CORPUS / "broken") if broken else (CORPUS,):
        for path in sorted((part / _FOLDER).iterdir()):
            shutil.copyfile(path, target / move(path.name))
        details += move((part / "Master.csv").read_text(encoding="utf-8"))
    cdr = folder / "cdr-csv"
    cdr.mkdir(parents=True, exist_ok=True)
    # Last and whole: an import may be looking.
    partial = cdr / ".Master.csv.tmp"
    before = "".join(_row_of(other) for other in quiet if other < day)
    after = "".join(_row_of(other) for other in sorted({day + timedelta(days=1), *(q for q in quiet if q > day)}))
    partial.write_text(before + details + after, encoding="utf-8")
    os.replace(partial, cdr / "Master.csv")


def _mover(day: date) -> Callable[[str], str]:
    """Moves every time in a text (a name, or call details) from the corpus' day to another."""
    by = _at(day, _CLOCK) - _at(CORPUS_DAY, _CLOCK)

    def name(found: re.Match[str]) -> str:
        local = datetime.strptime(found[1], "%Y%m%d-%H%M%S").replace(tzinfo=HELSINKI).astimezone(UTC) + by
        return f"{local.astimezone(HELSINKI):%Y%m%d-%H%M%S}-{_epoch(found[2], by)}"

    def detail(found: re.Match[str]) -> str:
        return f"{datetime.fromisoformat(found[1]) + by:%Y-%m-%d %H:%M:%S}"

    def move(text: str) -> str:
        text = _NAMED.sub(name, text)
        text = _UNIQUEID.sub(lambda found: _epoch(found[1], by), text)
        text = _DETAIL_TIME.sub(detail, text)
        return text.replace(_FOLDER + "/", day.strftime("%Y/%m/%d/"))

    return move


def _epoch(seconds: str, by: timedelta) -> str:
    return str(int(seconds) + round(by.total_seconds()))


def _row_of(day: date) -> str:
    start = _at(day, time(8, 4, 11))
    return _NEXT_DAY.format(
        *(f"{at:%Y-%m-%d %H:%M:%S}" for at in (start, start + timedelta(seconds=2))), int(start.timestamp())
    )


def _at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, HELSINKI).astimezone(UTC)
