"""The notice to callers as it was promised: the model of ``config/notice.toml``.

Each promise is quoted in the notice's own words, with its control and the name of the check that shows it. Whether the quotes
are verbatim, and whether any sentence of the notice was forgotten, is asked of the notice's text by ``unquoted``.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callkeeper.errors import ConfigurationError

CALLS = "calls"
"""The group of [stored.tables] whose tables have a row a call."""
_ID = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=f"^{_ID}$", max_length=40)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Edition(Section):
    """Which notice it is: the day of its last update."""

    version: date


class Promise(Section):
    """One promise: the notice's words, a rendering in English, what keeps it, and the check that shows it."""

    id: Name
    title: Text
    quotes: tuple[Text, ...] = Field(min_length=1)
    english: Text
    control: Text
    evidence: Name


class Saying(Section):
    """What the notice says and does not promise, and why there is nothing to show."""

    quote: Text
    why: Text


class Stored(Section):
    """What may be stored: columns of the tables that have a row a call, and all tables, each in groups."""

    columns: Mapping[str, tuple[Name, ...]]
    tables: Mapping[str, tuple[Name, ...]]

    @property
    def calls(self) -> frozenset[str]:
        return frozenset(self.tables.get(CALLS, ()))

    def allows(self, table: str, column: str) -> bool:
        """Whether a column of a table may be there."""
        if table in self.calls:
            return any(column in names for names in self.columns.values())
        return any(table in names for names in self.tables.values())


class Notice(Section):
    """``config/notice.toml``, whole and checked."""

    notice: Edition
    promises: tuple[Promise, ...] = Field(min_length=1)
    says: tuple[Saying, ...] = ()
    stored: Stored


def load_notice(path: Path) -> Notice:
    """The promises in the file. Raises ConfigurationError with every fault of it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigurationError(
            f"{path} cannot be read ({type(wrong).__name__}).", mend="Put it there, or set CALLKEEPER_NOTICE_FILE."
        ) from None
    try:
        notice = Notice.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigurationError(f"{path.name} is no TOML.", faults=(str(wrong),)) from None
    except ValidationError as wrong:
        faults = tuple(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong.errors(include_url=False))
        raise ConfigurationError(f"{path.name} is wrong.", faults=faults) from None
    if twice := [name for name, n in Counter(p.id for p in notice.promises).items() if n > 1]:
        raise ConfigurationError(f"{path.name} names a promise twice: {', '.join(twice)}.")
    return notice


def quotes(notice: Notice) -> Iterator[str]:
    """Every quote of the file, promised or only said."""
    for promise in notice.promises:
        yield from promise.quotes
    for saying in notice.says:
        yield saying.quote


def unquoted(notice: Notice, text: str) -> str:
    """What of the notice's text no quote covers; punctuation of lists and blanks aside, nothing should be left."""
    rest = text
    for quote in sorted(quotes(notice), key=len, reverse=True):
        rest = rest.replace(quote, "\n")
    return re.sub(r"[\s\-]+", " ", rest).strip()
