"""The table of the requirements (section 2), read once more, row by row, and by nobody's code: what the tests compare with.

A recording's facts are what people see of it: requests by their state, holds, its term. Where several rows apply, the
strictest cell of each column counts, but a hold's roles may use what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

STAFF = ("listener", "officer", "nobody", "hold_roles")
COPY = ("officer", "officer_first", "secrecy", "nothing", "no_data")
SCHEDULE = ("yes", "at_once", "officer", "undecided", "no", "no_op")
ERASURE = ("yes", "officer", "officer_after_delivery", "after_delivery", "deferred", "no_op")
"""Each column's words, the mildest first."""

Cells = tuple[str | None, str | None, str | None, str | None]
Undecided = Literal["none", "asked", "yes"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What there is about one recording."""

    expired: bool = False
    access: bool = False
    erasure: Undecided = "none"
    objection: Undecided = "none"
    restriction: bool = False
    rectification: bool = False
    hold: bool = False
    preservation: bool = False
    quarantine: Literal["none", "waiting", "unlawful"] = "none"
    gone: bool = False

    @property
    def goes(self) -> bool:
        """Two people have said that it goes."""
        return "yes" in (self.erasure, self.objection)

    @property
    def closed(self) -> bool:
        """Restricted, or asked to be; an objection until it is decided."""
        return self.restriction or self.rectification or self.objection == "asked"

    @property
    def blocked(self) -> bool:
        return self.access or self.closed or self.hold or self.preservation or self.quarantine == "waiting"

    @property
    def clean(self) -> bool:
        return not (self.blocked or self.goes or self.erasure == "asked" or self.quarantine == "unlawful")


def rows(f: Facts) -> Iterator[Cells]:
    """The rows that apply, in the table's order; None: the row says nothing of that where others apply, too."""
    if f.clean and not f.expired:
        yield "listener", "officer", "no", "officer"
    if f.clean and f.expired:
        yield "nobody", "officer", "yes", "yes"
    if f.access and not f.goes:
        yield "nobody" if f.expired else "listener", "officer", "no", "officer_after_delivery"
    # Of what goes anyway there is no question left for the officer.
    if f.erasure == "asked" and not f.goes:
        yield "nobody", "officer", "yes" if f.expired or f.quarantine == "unlawful" else "no", "officer"
    if f.goes and f.access:
        yield "nobody", "officer_first", "no", "after_delivery"
    if f.goes:
        alone = not f.blocked and f.quarantine == "none"
        yield ("nobody", "nothing", "yes", "yes") if alone else ("nobody", None, None, None)
    if f.hold or f.preservation:
        yield "hold_roles", "secrecy" if f.preservation else "officer", "no", "deferred"
    if f.closed:
        yield "officer", "officer", "officer" if f.expired else "no", "officer"
    if f.quarantine == "waiting":
        yield "nobody", "officer", "undecided", "officer"
    if f.quarantine == "unlawful":
        yield "nobody", "officer", "at_once", "yes"


def outcome(f: Facts) -> tuple[str, str, str, str]:
    """The one outcome: staff use, copy to the subject, schedule, erasure request."""
    if f.gone:
        return "nobody", "no_data", "no_op", "no_op"
    columns = zip(*rows(f), strict=True)
    staff, copy, schedule, erasure = (
        max((cell for cell in cells if cell is not None), key=order.index)
        for cells, order in zip(columns, (STAFF, COPY, SCHEDULE, ERASURE), strict=True)
    )
    return staff, copy, schedule, erasure
