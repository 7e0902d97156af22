"""The page's templates: autoescaped, and with nothing in them that a strict content policy would refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.responses import HTMLResponse

from callkeeper.desk import words
from callkeeper.desk.forms import Forms
from callkeeper.desk.seat import Seat
from callkeeper.errors import CallkeeperError

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATIC = {
    "desk.css": "text/css; charset=utf-8",
    "desk.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "desk.svg": "image/svg+xml",
}
"""What is served beside the pages, and as what. htmx 4.0.1, 0BSD."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "word": words.word, "day": words.day, "moment": words.moment, "lasts": words.lasts, "counted": words.counted,
        "left": words.left, "told": words.told, "position": words.position, "capital": words.capital,
    }  # fmt: skip
    made.globals |= {"version": version(), "words": words.WORDS}
    return made


@cache
def version() -> str:
    """Changes with what is served beside the pages, so that a browser keeps none of it for too long."""
    whole = sha256()
    for name in sorted(STATIC):
        whole.update((HERE / "static" / name).read_bytes())
    return whole.hexdigest()[:12]


def advice(wrong: CallkeeperError) -> str:
    """What to do, unless it is a command for the command line."""
    return "" if "`" in wrong.mend else wrong.mend


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Renders a page for whoever sits at the desk, with its forms' hidden fields."""

    forms: Callable[[], Forms]

    def show(
        self, request: Request, template: str, seat: Seat | None, *, status: int = 200, **facts: object
    ) -> HTMLResponse:
        """A page. ``facts`` are what its template names."""
        root = str(request.scope.get("root_path", ""))
        forms = self.forms()

        def sealed(path: str) -> str:
            return forms.write(seat.session, path) if seat else ""

        html = _environment().get_template(template).render(seat=seat, root=root, sealed=sealed, **facts)
        return HTMLResponse(html, status_code=status)
