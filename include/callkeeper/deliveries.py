"""What a vendor delivered for a day, and how a run's calls add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from callkeeper import db
from callkeeper.errors import NotFound
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, DayClosed


class Outcome(StrEnum):
    """What became of a call that a run found (architecture, rule 11). ``found`` is the sum of the others."""

    found = "found"
    kept = "kept"
    unchanged = "unchanged"
    corrected = "corrected"
    quarantined = "quarantined"
    suppressed = "suppressed"
    refused = "refused"
    pending = "pending"


TERMS = tuple(o for o in Outcome if o is not Outcome.found)
BESIDE = ("repeated", "unknown_field")
"""Counted beside the balance: rows that came twice, metadata fields that were dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """One controller's calls from one vendor in one run; ``controller`` is ``-`` where the line is nobody's."""

    vendor: str
    controller: str
    counts: Mapping[str, int]

    @property
    def difference(self) -> int:
        """Found less all terms: not zero means that calls were lost or counted twice."""
        return self.counts.get(Outcome.found, 0) - sum(self.counts.get(term, 0) for term in TERMS)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunBalance:
    """A whole run's balance."""

    run: int
    run_key: str
    day: date
    balances: tuple[Balance, ...]
    reasons: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """(outcome, reason, vendor) → calls; dropped fields' names stand under ``unknown_field``."""

    @property
    def balanced(self) -> bool:
        return all(b.difference == 0 for b in self.balances)

    def total(self, outcome: str) -> int:
        return sum(b.counts.get(outcome, 0) for b in self.balances)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnfinishedDay:
    """A vendor's day that is still wanted."""

    vendor: str
    day: date
    state: str
    trouble: str | None
    wanted_since: datetime
    checked_at: datetime | None


def add_tally(conn: db.Connection, run: int, vendor: str, counts: Iterable[tuple[str, str, str, int]]) -> None:
    """Adds (controller, outcome, reason, n) to the run's counts, in the caller's transaction."""
    sums: Counter[tuple[str, str, str]] = Counter()
    for controller, outcome, reason, n in counts:
        sums[(controller, outcome, reason)] += n
    # In one order for all: two lanes that count at once must not wait for each other.
    rows = sorted((*key, n) for key, n in sums.items() if n)
    if rows:
        controllers, outcomes, reasons, ns = (list(column) for column in zip(*rows, strict=True))
        db.queries().add_tally(
            conn, run=run, vendor=vendor, controllers=controllers, outcomes=outcomes, reasons=reasons, counts=ns
        )


def read_balance(conn: db.Connection, run: int, run_key: str, day: date) -> RunBalance:
    """The run's counts as its tally has them."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    reasons: Counter[tuple[str, str, str]] = Counter()
    for row in db.queries().run_tally(conn, run=run):
        if row.outcome in BESIDE:
            reasons[(row.outcome, row.reason, row.vendor)] += row.n
            continue
        cells.setdefault((row.vendor, row.controller), Counter())[row.outcome] += row.n
        if row.reason:
            reasons[(row.outcome, row.reason, row.vendor)] += row.n
    balances = tuple(Balance(vendor=v, controller=c, counts=dict(counts)) for (v, c), counts in sorted(cells.items()))
    return RunBalance(run=run, run_key=run_key, day=day, balances=balances, reasons=dict(reasons))


def as_json(balance: RunBalance) -> str:
    """The balance as one JSON text, the same for the same counts."""
    body: dict[str, Any] = {
        "balances": [{"vendor": b.vendor, "controller": b.controller, **b.counts} for b in balance.balances],
        "reasons": [[*key, n] for key, n in sorted(balance.reasons.items())],
    }
    return json.dumps(body, sort_keys=True)


def unfinished(conn: db.Connection) -> tuple[UnfinishedDay, ...]:
    """The days that are neither complete nor lost."""
    return tuple(UnfinishedDay(**row._asdict()) for row in db.queries().unfinished_days(conn))


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Unfinished days of one vendor that follow each other, in the same state and the same trouble."""

    vendor: str
    first: date
    last: date
    state: str
    trouble: str | None

    @property
    def days(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    def __str__(self) -> str:
        state = {"absent": "nothing was delivered", "open": "not complete yet"}.get(self.state, self.state)
        return f"{self.vendor}, {self.days}: {self.trouble or state}"


def spans(days: Iterable[UnfinishedDay]) -> tuple[Span, ...]:
    """The days, those together that say the same: an outage is one line, however long it lasts."""
    found: list[Span] = []
    for day in days:
        last = found[-1] if found else None
        same = last and (last.vendor, last.state, last.trouble) == (day.vendor, day.state, day.trouble)
        if last and same and day.day - last.last == timedelta(days=1):
            found[-1] = replace(last, last=day.day)
        else:
            found.append(Span(vendor=day.vendor, first=day.day, last=day.day, state=day.state, trouble=day.trouble))
    return tuple(found)


def declare_lost(conn: db.Connection, *, vendor: str, day: date, account: str, reason: str, actor: Actor) -> None:
    """A person says that what is missing of the day will not come any more; commits. ``reason`` is a code.

    What was imported of it stays. Raises NotFound if the day is not one that is waited for.
    """
    if not db.queries().lose_day(conn, vendor=vendor, day=day, account=account, reason=reason):
        raise NotFound(
            f"No unfinished day {day} of the vendor {vendor}.", mend="`callkeeper status` lists the unfinished days."
        )
    append(conn, actor, [DayClosed(vendor=vendor, day=day.isoformat(), state="lost", reason=reason)])
    conn.commit()
