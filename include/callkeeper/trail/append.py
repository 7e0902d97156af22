"""Writing events, in the caller's transaction: no event, no action (requirements, §5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from callkeeper import db
from callkeeper.trail.events import Actor, Event, canonical, utc

ANY = UUID(int=0)
"""Stands for each recording in an event that is the same for many."""


def append(
    conn: db.Connection,
    actor: Actor,
    events: Iterable[Event],
    *,
    alike: Mapping[Event, Sequence[UUID]] | None = None,
    at: datetime | None = None,
) -> int:
    """Inserts the events with COPY, takes no lock, and does not commit; returns how many there were.

    ``alike``: events whose recording is ANY, each to be written once for each of its recordings. ``at``: the transaction's
    callkeeper_now(), where it is known already; else it is asked.
    """
    several = list(events)
    if not several and not alike:
        return 0
    at = at or db.now(conn)
    stamp, who, n = utc(at), actor.facts(), 0
    with (
        conn.cursor() as cursor,
        cursor.copy("copy callkeeper.event (class, at, body) from stdin (format binary)") as copy,
    ):
        copy.set_types(["text", "timestamptz", "bytea"])
        for event in several:
            copy.write_row((event.event_class, at, canonical(event, who, stamp)))
            n += 1
        for event, recordings in (alike or {}).items():
            for body in _bodies(canonical(event, who, stamp), recordings):
                copy.write_row((event.event_class, at, body))
                n += 1
    return n


def _bodies(template: bytes, recordings: Sequence[UUID]) -> Iterator[bytes]:
    before, after = template.split(str(ANY).encode())
    for recording in recordings:
        yield before + str(recording).encode() + after
