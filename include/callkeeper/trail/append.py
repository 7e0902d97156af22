"""Writing events, in the caller's transaction: no event, no action (requirements, §5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from callkeeper import db
from callkeeper.trail.events import Actor, Event, canonical, utc

ANY = UUID(int=0)
"""Stands for each recording in an event that is the same for many."""
_ANY = str(ANY).encode()


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
        body_of = _of_each(who, stamp)
        for event in several:
            copy.write_row((event.event_class, at, body_of(event)))
            n += 1
        for event, recordings in (alike or {}).items():
            for body in _bodies(canonical(event, who, stamp), recordings):
                copy.write_row((event.event_class, at, body))
                n += 1
    return n


def _of_each(who: Mapping[str, str | int], stamp: str) -> Callable[[Event], bytes]:
    """``canonical`` for many events, of which those that differ in their recording only share their text.

    Making each anew takes longer than the database takes to insert it.
    """
    texts: dict[Any, tuple[bytes, bytes]] = {}

    def body(event: Event) -> bytes:
        kind: Any = type(event)
        recording = getattr(event, "recording", None)
        if recording is None or recording == ANY:
            return canonical(event, who, stamp)
        values = _others(kind)(event)
        # Their types, too: True and 1 are one key of a dictionary, and two texts.
        key = (kind, values, tuple(map(type, values)))
        try:
            found = texts.get(key)
        except TypeError:  # a mapping among them
            return canonical(event, who, stamp)
        if found is None:
            before, *between, after = canonical(replace(event, recording=ANY), who, stamp).split(_ANY)  # type: ignore[call-arg]  # seen above
            if between:
                return canonical(event, who, stamp)
            found = texts[key] = before, after
        return found[0] + str(recording).encode() + found[1]

    return body


@cache
def _others(kind: type[Event]) -> Callable[[Event], tuple[object, ...]]:
    """Reads the fields of an event but for its recording; two at least, so that it is a tuple."""
    names = [f.name for f in fields(kind) if f.name != "recording"]
    return attrgetter("action", "version", *names)


def _bodies(template: bytes, recordings: Sequence[UUID]) -> Iterator[bytes]:
    before, after = template.split(_ANY)
    for recording in recordings:
        yield before + str(recording).encode() + after
