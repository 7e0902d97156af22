"""Ageing: bodies of events that are past their class's term go, a month of a class at a time; their leaves stay.

So do the reports in the store, with the evidence that they are of, and the tombstones, once nothing could bring back what they name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import psycopg

from callkeeper import db
from callkeeper.clock import add_months, helsinki_day
from callkeeper.controllers import Config
from callkeeper.errors import CallkeeperError, StoreRefused
from callkeeper.media import Destroyer
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, BodiesExpired, FilesExpired, MarksExpired, canonical, utc

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


def age_marks(conn: db.Connection, actor: Actor) -> int:
    """Drops the tombstones' marks that nothing needs any more, with their event; commits. ``conn`` is the ageing role's.

    A mark stays for the recordings' term and as long again as the oldest backup, or the vendor that keeps calls longest, may have what
    was deleted: import refuses the call then, by its own time. While a vendor keeps for ever, all stay.
    """
    gone: int = db.queries().expire_marks(conn)
    if gone:
        append(conn, actor, [MarksExpired(count=gone)])
    conn.commit()
    return gone


# --- what stands in the store -----------------------------------------------------------------------------------------

_DAY = re.compile(r"/(\d{4})-(\d{2})(?:-(\d{2}))?[/.]")


def age_files(conn: db.Connection, destroyer: Destroyer, config: Config, actor: Actor) -> dict[str, int]:
    """Deletes reports and tombstones that are past their term, by exact version, and reads again; commits, and returns how many.

    The day is in a file's name. Reports go with the evidence that they are of; a tombstone once no backup and no vendor still
    has what it names: a vendor that keeps for ever, as long as the evidence. Raises StoreRefused where some stay.
    """
    terms, windows = config.terms, [vendor.retention_days for vendor in config.vendors]
    today = helsinki_day(db.now(conn))
    conn.rollback()
    evidence = add_months(today, -12 * terms.deletion_evidence_years)
    finite = [days for days in windows if days is not None]
    tombstones = evidence if None in windows else today - timedelta(days=max(terms.backups_days, *finite, 0))
    done = {}
    for kind, before in (("reports", evidence), ("tombstones", tombstones)):
        past = [v for v in destroyer.versions(f"{kind}/") if (day := _last_day(v.key)) and day < before]
        left = 0
        if past:
            destroyer.delete(past)
            asked = {(v.key, v.version_id) for v in past}
            left = sum((v.key, v.version_id) in asked for v in destroyer.versions(f"{kind}/"))
            append(conn, actor, [FilesExpired(kind=kind, before=before.isoformat(), count=len(past) - left)])  # type: ignore[arg-type]  # one of the two
            conn.commit()
        if left:
            raise StoreRefused(
                f"{left} files of {kind} are past their term, and the store keeps them.", mend="`callkeeper doctor`."
            )
        done[kind] = len(past)
    return done


def _last_day(key: str) -> date | None:
    """The day that a file is of, or its month's last; None: it names none, and stays."""
    found = _DAY.search(key)
    if found is None:
        return None
    year, month, day = found.groups()
    return (
        date(int(year), int(month), int(day))
        if day
        else add_months(date(int(year), int(month), 1), 1) - timedelta(days=1)
    )
