"""What jobs write for people, from the templates beside this file."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from callkeeper.clock import HELSINKI

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **facts: object) -> str:
    """The template with the facts in it, escaped where it is HTML; a fact that is missing is an error."""
    return _environment().get_template(template).render(facts)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"day": day_in_words, "time": time_in_words, "number": number, "code": code}
    return made


def day_in_words(day: date) -> str:
    """``25 November 2026``: one reading, whatever the reader's country; no leading zero."""
    return f"{day.day} {day:%B %Y}"


def time_in_words(at: datetime | None) -> str:
    """A time of Helsinki, to the minute, with its zone; a dash for none."""
    return f"{at.astimezone(HELSINKI):%Y-%m-%d %H:%M %Z}" if at else "–"


def code(text: str) -> Markup:
    """HTML of a text in which commands stand in backticks."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # it is escaped


def number(n: int) -> str:
    """Thousands apart by a narrow space."""
    return f"{n:,}".replace(",", "\u202f")


def counted(n: int, what: str, many: str = "") -> str:
    """``1 recording``, ``2 recordings``."""
    return f"{number(n)} {what if n == 1 else many or what + 's'}"
