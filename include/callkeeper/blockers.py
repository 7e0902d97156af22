"""Holds, freezes and restrictions: what blocks a deletion, as one predicate row each.

Whoever adds one takes the blockers' lock exclusively, for one short transaction; whoever keeps an imported call, or arms
or sends a deletion, takes it shared (architecture, rule 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from callkeeper import db
from callkeeper.errors import NotAllowed
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, BlockerPlaced

_T = TypeVar("_T", UUID, bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicate:
    """Which recordings. Its parts narrow each other; it is never a wildcard (the table refuses it, too).

    ``pseudonyms`` are one number's (or several numbers') under every live key; ``from_at`` and ``to_at`` (exclusive)
    bound the calls' start.
    """

    recordings: tuple[UUID, ...] | None = None
    pseudonyms: tuple[bytes, ...] | None = None
    line: str | None = None
    controller: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None

    @property
    def wildcard(self) -> bool:
        """Whether it names nothing: no recording, no number, and no line or controller from a day on."""
        named = self.recordings or self.pseudonyms or ((self.line or self.controller) and self.from_at)
        return not named

    def narrowed(self, by: Predicate) -> Predicate:
        """The calls of this predicate that are also ``by``'s: a part that ``by`` leaves out stays as it is.

        Raises NotAllowed where ``by`` names what is not in this one, or leaves nothing out of it.
        """
        found = replace(
            self,
            recordings=_within(self.recordings, by.recordings),
            pseudonyms=_within(self.pseudonyms, by.pseudonyms),
            line=_same(self.line, by.line),
            controller=_same(self.controller, by.controller),
            from_at=max(filter(None, (self.from_at, by.from_at)), default=None),
            to_at=min(filter(None, (self.to_at, by.to_at)), default=None),
        )
        if found == self:
            raise NotAllowed("This leaves nothing out of the hold.", mend="Name a part of what it covers.")
        if found.from_at and found.to_at and found.from_at >= found.to_at:
            raise _outside()
        return found


def _outside() -> NotAllowed:
    return NotAllowed("This names something that the hold does not cover.", mend="For that, draft a case of its own.")


def _within(mine: tuple[_T, ...] | None, asked: tuple[_T, ...] | None) -> tuple[_T, ...] | None:
    if asked and mine and not set(asked) <= set(mine):
        raise _outside()
    return asked or mine


def _same(mine: str | None, asked: str | None) -> str | None:
    if asked and mine and asked != mine:
        raise _outside()
    return asked or mine


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocker(Predicate):
    """What blocks and why, and the day by which somebody looks at it again."""

    blocker: UUID
    kind: str
    case_ref: str
    placed_by: str
    review_on: date


def add(conn: db.Connection, blocker: Blocker, actor: Actor) -> None:
    """Adds the blocker, with its event, in the caller's transaction, which holds the blockers' lock exclusively."""
    q = db.queries()
    q.place_blocker(
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
    q.cover_sending(conn, blocker=blocker.blocker)
    append(conn, actor, [BlockerPlaced(blocker=blocker.blocker)])


def place(conn: db.Connection, blocker: Blocker, actor: Actor) -> None:
    """Adds the blocker, and commits: from here on no import or deletion passes it by.

    What is in the catalogue already is noted afterwards, by ``cover``.
    """
    db.lock_blockers(conn, exclusive=True)
    add(conn, blocker, actor)
    conn.commit()


def cover(conn: db.Connection, blocker: UUID) -> int:
    """Notes what the blocker covers by now, and commits; returns how many are new. What comes later, import notes."""
    q = db.queries()
    covered: int = q.cover_matched(conn, blocker=blocker)
    q.blocker_covered(conn, blocker=blocker)
    conn.commit()
    return covered


def count(conn: db.Connection, predicate: Predicate) -> dict[str, int]:
    """How many recordings the predicate would cover now, per controller ("-": nobody's)."""
    rows = db.queries().count_matched(
        conn,
        recordings=list(predicate.recordings) if predicate.recordings else None,
        pseudonyms=list(predicate.pseudonyms) if predicate.pseudonyms else None,
        line=predicate.line,
        controller=predicate.controller,
        from_at=predicate.from_at,
        to_at=predicate.to_at,
    )
    return {row.controller: row.n for row in rows}
