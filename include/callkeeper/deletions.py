"""The journal of recordings' ways out, and the balance of a night's deletions.

``planned → armed → sending → store_gone → done``; ``blocked`` is looked at again each night, ``withdrawn`` lost its
ground, ``needs_human`` waits for a person. The journal is the truth about a deletion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from callkeeper import db
from callkeeper.errors import ConfigurationError

Mode = Literal["rehearsal", "live"]
"""A rehearsal does everything but the effect, until the privacy officer's recorded yes."""

TERMS = ("done", "blocked", "waiting", "open_at_vendor", "failed")
"""The disjoint terms of a night: due, less what was withdrawn, is their sum (architecture, rule 11)."""

OVERDUE_HOURS = 48
"""Requirements, section 3: deleted within 24 h, alarm at 48 h."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """One run of delete_expired. ``planned_at`` fixes what it counts: what was due by then."""

    night: int
    run_key: str
    mode: Mode
    day: date
    started_at: datetime
    planned_at: datetime | None

    @property
    def live(self) -> bool:
        return self.mode == "live"


@dataclass(frozen=True, kw_only=True, slots=True)
class NightBalance:
    """What became of a night's deletions: counts per (controller, outcome, reason)."""

    night: Night
    counts: Mapping[tuple[str, str, str], int]

    @property
    def controllers(self) -> tuple[str, ...]:
        return tuple(sorted({controller for controller, _, _ in self.counts}))

    def total(self, outcome: str, controller: str | None = None) -> int:
        return sum(n for (c, o, _), n in self.counts.items() if o == outcome and controller in (None, c))

    def reasons(self, outcome: str, controller: str | None = None) -> Counter[str]:
        """Counts of one outcome by its reason."""
        found: Counter[str] = Counter()
        for (c, o, reason), n in self.counts.items():
            if o == outcome and controller in (None, c):
                found[reason] += n
        return found

    def difference(self, controller: str | None = None) -> int:
        """What is missing (negative: too much); zero in a night that balances."""
        terms = sum(self.total(term, controller) for term in TERMS)
        return self.total("due", controller) - self.total("withdrawn", controller) - terms

    @property
    def balanced(self) -> bool:
        return all(self.difference(controller) == 0 for controller in self.controllers)

    def of(self, controller: str) -> dict[str, int]:
        """One controller's terms, zeroes left out."""
        found = {o: self.total(o, controller) for o in ("due", *TERMS, "withdrawn")}
        return {outcome: n for outcome, n in found.items() if n}


def find_night(conn: db.Connection, run_key: str) -> Night:
    """The night of a run. Raises ConfigurationError if it has none."""
    row = db.queries().find_night(conn, run_key=run_key)
    if row is None:
        raise ConfigurationError("This run has no night.", mend="Clear the whole DAG run, not one of its tasks.")
    return Night(**row._asdict())


def read_balance(conn: db.Connection, night: Night) -> NightBalance:
    """A night's counts, as they were stored."""
    rows = db.queries().night_counts(conn, night=night.night)
    return NightBalance(night=night, counts={(r.controller, r.outcome, r.reason): r.n for r in rows})


def vendors_to_ask(conn: db.Connection, configured: Collection[str]) -> list[str]:
    """The configured vendors of recordings that are gone here, and open there; commits.

    Of the others it is noted why nobody asks them: their lines end by a person's word.
    """
    db.queries().note_vendor_gone(conn, configured=list(configured))
    found = [row.vendor for row in db.queries().vendors_to_ask(conn)]
    conn.commit()
    return [vendor for vendor in found if vendor in configured]
