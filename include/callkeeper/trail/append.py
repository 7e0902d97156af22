"""Writing events, in the caller's transaction: no event, no action (requirements, §5)."""

from __future__ import annotations

from collections.abc import Iterable

from callkeeper import db
from callkeeper.trail.events import Actor, Event, canonical, utc


def append(conn: db.Connection, actor: Actor, events: Iterable[Event]) -> int:
    """Inserts the events with COPY, takes no lock, and does not commit; returns how many there were."""
    at = db.now(conn)
    stamp, who, n = utc(at), actor.facts(), 0
    with (
        conn.cursor() as cursor,
        cursor.copy("copy callkeeper.event (class, at, body) from stdin (format binary)") as copy,
    ):
        copy.set_types(["text", "timestamptz", "bytea"])
        for event in events:
            copy.write_row((event.event_class, at, canonical(event, who, stamp)))
            n += 1
    return n
