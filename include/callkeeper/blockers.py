"""Holds, freezes and restrictions: what blocks a deletion, as one predicate row each.

Whoever adds one takes the blockers' lock exclusively, for one short transaction; whoever keeps an imported call, or arms
a deletion, takes it shared (architecture, rule 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from callkeeper import db
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, BlockerPlaced


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocker:
    """What blocks and why. The predicate's parts narrow each other; it is never a wildcard (the table refuses it).

    ``pseudonyms`` are one number's under every live key; ``from_at`` and ``to_at`` (exclusive) bound the calls' start.
    """

    blocker: UUID
    kind: str
    case_ref: str
    placed_by: str
    review_on: date
    recordings: tuple[UUID, ...] | None = None
    pseudonyms: tuple[bytes, ...] | None = None
    line: str | None = None
    controller: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None


def place(conn: db.Connection, blocker: Blocker, actor: Actor) -> None:
    """Adds the blocker, with its event, and commits: from here on no import or deletion passes it by.

    What is in the catalogue already is noted afterwards, by ``cover_live``.
    """
    db.lock_blockers(conn, exclusive=True)
    db.queries().place_blocker(
        conn,
        blocker=blocker.blocker,
        kind=blocker.kind,
        case_ref=blocker.case_ref,
        recordings=list(blocker.recordings) if blocker.recordings else None,
        pseudonyms=list(blocker.pseudonyms) if blocker.pseudonyms else None,
        line=blocker.line,
        controller=blocker.controller,
        from_at=blocker.from_at,
        to_at=blocker.to_at,
        placed_by=blocker.placed_by,
        review_on=blocker.review_on,
    )
    append(conn, actor, [BlockerPlaced(blocker=blocker.blocker)])
    conn.commit()


def cover_live(conn: db.Connection, blocker: UUID) -> int:
    """Notes which live recordings the blocker covers, and commits; returns how many are new."""
    covered: int = db.queries().cover_live(conn, blocker=blocker)
    conn.commit()
    return covered
