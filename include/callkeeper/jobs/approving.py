"""What waits for a person's yes, and the yes: a decision's row with the hash of what was seen (architecture, rules 13, 14).

Nothing is deleted here: the next night asks for the row.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from callkeeper import db, decisions, deletions
from callkeeper.controllers import OFFICERS, SECONDERS
from callkeeper.deletions import Night
from callkeeper.errors import CallkeeperError, NotAllowed, NotFound
from callkeeper.jobs import deleting
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import Actor, DeletionPlanned, DeletionWithdrawn, Event


class ScopeChanged(CallkeeperError):
    """What a person would say yes to is no longer what she saw."""

    def __init__(self) -> None:
        super().__init__("What waits has changed since you looked: nothing was approved.", mend="Look again.")


class Subject(StrEnum):
    """What a yes can be said to."""

    go_live = "go_live"
    """Nights delete from now on; until then they rehearse."""
    surplus = "surplus"
    """What became due without a forecast having foreseen it."""
    orphans = "orphans"
    """Objects in the store that no row explains."""
    unlawful = "unlawful"
    """Recordings of a line that, by the register now in force, was not designated."""


APPROVERS: Mapping[Subject, tuple[str, ...]] = {
    **dict.fromkeys(Subject, OFFICERS),
    Subject.surplus: SECONDERS,
}
"""Whose yes, by the duties in force: the safety stop's surplus may be let go by an approver, too."""

_WAITS = {Subject.surplus: "surplus", Subject.orphans: "approval"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """So many of one controller, and what they have in common: a day, a line, an outcome of a night."""

    controller: str
    what: str
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What a yes would be said to: ``n`` recordings, in figures; ``scope`` is the hash of exactly these.

    For going live, ``n`` is what was due in the last rehearsal, and the figures are its.
    """

    subject: Subject
    controller: str | None
    n: int
    figures: tuple[Figure, ...]
    scope: bytes
    recordings: tuple[UUID, ...] = field(default=(), repr=False)


def proposals(conn: db.Connection) -> list[Proposal]:
    """Everything that waits for a person's yes, and can be given it."""
    found: list[Proposal] = []
    for subject in Subject:
        with contextlib.suppress(NotAllowed):
            found.append(propose(conn, subject))
    return [p for p in found if p.n or p.subject is Subject.go_live]


def propose(conn: db.Connection, subject: Subject, controller: str | None = None) -> Proposal:
    """What a yes would be said to now; ``controller`` narrows it to one. Raises NotAllowed if it cannot be said."""
    if subject is Subject.go_live:
        return _going_live(conn)
    q = db.queries()
    if subject is Subject.unlawful:
        rows = list(q.unlawful_finds(conn, controller=controller))
        figures = Counter((r.controller, f"{r.line}, {r.day:%Y-%m}") for r in rows)
    else:
        rows = list(q.waiting_for_yes(conn, waits=_WAITS[subject], controller=controller))
        figures = Counter((r.controller, f"since {r.since}") for r in rows)
    recordings = tuple(r.recording for r in rows)
    return Proposal(
        subject=subject,
        controller=controller,
        n=len(rows),
        figures=tuple(Figure(controller=c, what=what, n=n) for (c, what), n in sorted(figures.items())),
        scope=decisions.scope_of(recordings),
        recordings=recordings,
    )


def approve(conn: db.Connection, seen: Proposal, account: str, actor: Actor) -> int:
    """Says yes to what was seen, exactly; commits, and returns the decision's number.

    Raises ScopeChanged if it is not the same any more, NotAllowed if nothing waits for it, or the account's duties do not let it.
    """
    decisions.require(conn, account, APPROVERS[seen.subject])
    if seen.subject is not Subject.go_live and not seen.n:
        raise NotAllowed("Nothing waits for this yes.")
    if propose(conn, seen.subject, seen.controller).scope != seen.scope:
        raise ScopeChanged
    decision = decisions.record(conn, seen.subject, "approve", account, seen.scope, actor)
    done = _carry_out(conn, seen, decision, actor)
    if done != len(seen.recordings):
        # Somebody else was quicker, between the look and the change.
        conn.rollback()
        raise ScopeChanged
    conn.commit()
    return decision


def keep(conn: db.Connection, seen: Proposal, account: str, actor: Actor) -> int:
    """Says no to the orphans that were seen, exactly: they stay, and are asked about again in a month; commits.

    Returns the decision's number. Raises ScopeChanged if they are not the same any more, NotAllowed for anything else.
    """
    decisions.require(conn, account, APPROVERS[seen.subject])
    if seen.subject is not Subject.orphans or not seen.n:
        raise NotAllowed("Only objects that no row explains are kept by a no; what else waits, goes on waiting.")
    if propose(conn, seen.subject, seen.controller).scope != seen.scope:
        raise ScopeChanged
    decision = decisions.record(conn, seen.subject, "keep", account, seen.scope, actor)
    rows = list(
        db.queries().keep_waiting(conn, decision=decision, recordings=list(seen.recordings), waits=_WAITS[seen.subject])
    )
    if len(rows) != seen.n:
        conn.rollback()
        raise ScopeChanged
    append(
        conn,
        actor,
        [
            DeletionWithdrawn(
                recording=r.recording, controller=r.controller, trigger=r.trigger, reason="kept_by_person", state_before=r.state,
            )
            for r in rows
        ],
    )  # fmt: skip
    conn.commit()
    return decision


def _carry_out(conn: db.Connection, seen: Proposal, decision: int, actor: Actor) -> int:
    """How many rows the yes has reached."""
    q = db.queries()
    if seen.subject is Subject.go_live:
        return 0
    if seen.subject is not Subject.unlawful:
        allowed: int = q.allow_waiting(
            conn, decision=decision, recordings=list(seen.recordings), waits=_WAITS[seen.subject]
        )
        return allowed
    was = {r.recording: r.state for r in q.lock_journal(conn, recordings=list(seen.recordings))}
    rows = list(q.plan_unlawful(conn, decision=decision, recordings=list(seen.recordings)))
    append(conn, actor, (), alike=_planned(rows, was))
    return len(rows)


def _planned(rows: Iterable[db.Row], was: Mapping[UUID, str]) -> dict[Event, list[UUID]]:
    alike: dict[Event, list[UUID]] = {}
    for row in rows:
        event = DeletionPlanned(
            recording=ANY,
            controller=row.controller,
            vendor=row.vendor,
            trigger="unlawful_confirmed",
            reason="line_undesignated",
            state_before=was.get(row.recording, "live"),
        )
        alike.setdefault(event, []).append(row.recording)
    return alike


def settle(conn: db.Connection, recording: UUID, reason: str, account: str, actor: Actor) -> None:
    """An officer's word, with how she knows (a code), that the vendor's copy is gone; commits. Raises NotFound, NotAllowed."""
    decisions.require(conn, account, OFFICERS)
    lines = list(db.queries().open_lines(conn, recording=recording, vendor=None))
    if not lines:
        raise NotFound("No deletion of that recording is open at its vendor.")
    _settle(conn, lines, reason, account, actor)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLines:
    """What a word about all of a vendor would be said to: ``n`` recordings, in figures; ``scope`` is the hash of these."""

    vendor: str
    n: int
    figures: tuple[Figure, ...]
    scope: bytes


def open_at(conn: db.Connection, vendor: str) -> OpenLines:
    """What is gone here and open at the vendor, and no hold wants there."""
    found = _open_lines(list(db.queries().open_lines(conn, recording=None, vendor=vendor)), vendor)
    conn.rollback()
    return found


def _open_lines(lines: Sequence[db.Row], vendor: str) -> OpenLines:
    figures = Counter((line.controller or "-", line.trouble or "vendor_not_asked") for line in lines)
    return OpenLines(
        vendor=vendor,
        n=len(lines),
        figures=tuple(Figure(controller=c, what=what, n=n) for (c, what), n in sorted(figures.items())),
        scope=decisions.scope_of([line.recording for line in lines]),
    )


def settle_all(conn: db.Connection, seen: OpenLines, reason: str, account: str, actor: Actor) -> None:
    """The same word about everything that was seen open at a vendor; commits. Raises ScopeChanged, or NotFound for nothing."""
    decisions.require(conn, account, OFFICERS)
    # Whoever places a hold now finds the lines ended, or keeps them from it.
    db.lock_blockers(conn, exclusive=False)
    lines = list(db.queries().open_lines(conn, recording=None, vendor=seen.vendor))
    if not lines:
        raise NotFound(f"Nothing is open at {seen.vendor}.")
    if _open_lines(lines, seen.vendor).scope != seen.scope:
        conn.rollback()
        raise ScopeChanged
    _settle(conn, lines, reason, account, actor)


def _settle(conn: db.Connection, lines: Sequence[db.Row], reason: str, account: str, actor: Actor) -> None:
    scope = decisions.scope_of([line.recording for line in lines])
    decisions.record(conn, "vendor_copy", reason, account, scope, actor)
    deleting.settle_at_vendor(conn, lines, actor)


def _going_live(conn: db.Connection) -> Proposal:
    if live := decisions.find(conn, Subject.go_live, "approve"):
        raise NotAllowed(f"Nights have been live since {live.decided_at:%Y-%m-%d}, by {live.account}'s yes.")
    last = _last_rehearsal(conn)
    if last is None:
        raise NotAllowed("No rehearsal has ended yet.", mend="Let the DAG delete_expired run for a night.")
    night, balanced = last
    balance = deletions.read_balance(conn, night)
    if not balanced:
        raise NotAllowed("The last rehearsal did not balance.", mend="See the runbook of delete_expired.")
    figures = tuple(
        Figure(controller=controller, what=f"{outcome} {reason}".strip(), n=n)
        for (controller, outcome, reason), n in sorted(balance.counts.items())
    )
    return Proposal(
        subject=Subject.go_live,
        controller=None,
        n=balance.total("due"),
        figures=figures,
        scope=decisions.scope_of([night.run_key, *(f"{f.controller} {f.what} {f.n}" for f in figures)]),
    )


def _last_rehearsal(conn: db.Connection) -> tuple[Night, bool] | None:
    row = db.queries().last_rehearsal(conn)
    if row is None:
        return None
    facts = row._asdict()
    balanced = bool(facts.pop("balanced"))
    return Night(**facts), balanced
