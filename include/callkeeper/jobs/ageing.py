"""Ageing: bodies of events that are past their class's term go, a month of a class at a time; their leaves stay."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import psycopg

from callkeeper import db
from callkeeper.errors import CallkeeperError
from callkeeper.trail.events import Actor, BodiesExpired, canonical, utc

log = logging.getLogger(__name__)

WHY_NOT: Mapping[str, str] = {
    "altered": "has bodies that are not what was sealed",
    "missing": "lacks bodies that were sealed",
    "unsealed": "has events that were never sealed",
    "unanchored": "has events under no checkpoint that stands outside",
    "not_past": "was not past its term any more when it was looked at again",
    "busy": "was in use for longer than two seconds",
}


class TrailNotAged(CallkeeperError):
    """Bodies are past their term, and may not go."""

    def __init__(self, what: str, *, mend: str, retry: bool) -> None:
        super().__init__(what, mend=mend)
        self.retry = retry


@dataclass(frozen=True, kw_only=True, slots=True)
class Month:
    """A class's month that is past its term: how many bodies went, or ``why_not``, a key of WHY_NOT."""

    event_class: str
    month: str
    bodies: int
    why_not: str | None


def age(conn: db.Connection, actor: Actor) -> list[Month]:
    """Drops what is past its term, each month in its own transaction, the oldest first. ``conn`` is the ageing role's.

    Nothing goes that is not wholly sealed and anchored, and what it was is compared with its leaf once more: a body that was changed
    is evidence. Run again, it goes on; where a month is in use it stops, since who waits for it keeps writers waiting.
    """
    due = list(db.queries().past_months(conn))
    conn.rollback()
    done: list[Month] = []
    for row in due:
        done.append(_expire(conn, row.event_class, row.month, actor))
        if done[-1].why_not == "busy":
            break
    return done


def _expire(conn: db.Connection, event_class: str, month: date, actor: Actor) -> Month:
    ask = db.queries()
    found = ask.expiry(conn, event_class=event_class, month=month)
    bodies, why_not = 0, found.why_not
    if why_not is None:
        event = BodiesExpired(event_class_=event_class, month=f"{month:%Y-%m}", count=found.count, digest=found.digest)
        body = canonical(event, actor.facts(), utc(db.now(conn)))
        try:
            bodies = ask.expire_bodies(conn, event_class=event_class, month=month, body=body)
            conn.commit()
        except psycopg.errors.LockNotAvailable:
            why_not = "busy"
    conn.rollback()
    return Month(event_class=event_class, month=f"{month:%Y-%m}", bodies=bodies, why_not=why_not)


def report(months: list[Month]) -> dict[str, int]:
    """Counts for the task, a line a month in its log. Raises TrailNotAged where a month waits, and more than a retry is needed."""
    for m in months:
        what = f"{m.bodies} bodies have gone" if m.why_not is None else f"it {WHY_NOT[m.why_not]}"
        log.log(logging.WARNING if m.why_not else logging.INFO, "%s %s: %s", m.event_class, m.month, what)
    if waiting := [m for m in months if m.why_not]:
        raise TrailNotAged(
            f"{len(waiting)} months of bodies are past their term, and may not go: the first, {waiting[0].event_class} "
            f"{waiting[0].month}, {WHY_NOT[waiting[0].why_not or '']}.",
            mend="The log says why of each; the runbook, what to do.",
            retry=all(m.why_not == "busy" for m in waiting),
        )
    return {"months": len(months), "bodies": sum(m.bodies for m in months)}
