"""Answering the person: a request is taken in, and what it is about is frozen in the same transaction.

Numbers are in memory here and nowhere else: the ticket has their hashes and sealed values, the trail a hash that nobody can
resolve once the ticket is erased (requirements, sections 4 and 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4

from callkeeper import blockers, db, tickets
from callkeeper.blockers import Blocker, Predicate
from callkeeper.clock import helsinki_day
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs.holding import NotImported, not_imported
from callkeeper.phone import E164
from callkeeper.pseudonyms import Keyring
from callkeeper.tickets import FREEZES, Call, Channel, ClosedAs, Language, Right, State, TicketId
from callkeeper.trail import subjects
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, BlockerLapsed, Event, TicketMoved, TicketOpened, TicketSeen
from callkeeper.trail.events import read as read_event

OFFICERS = ("privacy_officers", "deputies")
"""Who takes a request in, reads it and ends it."""
READERS = (*OFFICERS, "approvers")
"""Who may see that there is one, and what is due."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """A ticket as the register shows it: nothing personal. ``days_left``: below zero, it is late; of a closed one, None.

    ``freezes``: whether anything of it blocks. ``frozen``: recordings that this covers by now. ``gone_before``: recordings of anybody that were deleted between its
    receipt and its intake. ``too_late``: what the freeze covers and could not save. ``not_imported``: days of what is searched of
    which the vendor has the calls alone.
    """

    ticket: TicketId
    right: Right
    state: State
    received_on: date
    channel: str
    language: str
    controller: str | None
    account: str
    opened_at: datetime
    due_on: date
    extended_to: date | None
    identity: str
    outcome: str | None
    closed_at: datetime | None
    linked_to: str | None
    days_left: int | None
    numbers: int
    times: int
    freezes: bool
    frozen: int
    gone_before: int
    too_late: tuple[UUID, ...] = ()
    not_imported: tuple[NotImported, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Searched:
    """One thing that is searched, in clear: a number, or a line's or company's calls of a time."""

    number: E164 | None = None
    call: Call | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A line of a ticket's timeline: when, who, what."""

    at: datetime
    who: str
    event: Event


# --- intake -----------------------------------------------------------------------------------------------------------


def open_ticket(
    conn: db.Connection,
    keyring: Keyring,
    *,
    right: Right,
    received_on: date,
    channel: Channel,
    language: Language,
    numbers: Iterable[E164] = (),
    times: Iterable[Call] = (),
    controller: str | None = None,
    account: str,
    actor: Actor,
) -> TicketId:
    """Takes a request in and freezes what it is about, in one transaction, under the blockers' lock; commits, gives its reference.

    From the commit on neither the night nor a deletion under way passes the freeze by, and calls that are still to come are
    covered too, identity proven or not (requirements, section 2). Raises NotAllowed for what cannot be one person's.
    """
    asked, calls = tuple(dict.fromkeys(numbers)), tuple(map(tickets.check_call, times))
    due_on = tickets.due(received_on, helsinki_day(db.now(conn)))
    _check_scope(conn, asked, calls)
    # A statement of its own, before anything is looked at (architecture, rule 3).
    db.lock_blockers(conn, exclusive=True)
    q = db.queries()
    if q.newer_key(conn, key_ids=[key.key_id for key in keyring.keys]):
        raise NotAllowed(
            "A key was rotated since this program began.", mend="Start it again, and take the request in then."
        )
    q.number_ticket(conn)
    opened = q.next_ticket(conn)
    ticket = tickets.reference(opened.today.year, opened.n)
    hashes = {number: list(keyring.pseudonyms(number).values()) for number in asked}
    every = [pseudonym for those in hashes.values() for pseudonym in those]
    linked_to = q.earlier_ticket(conn, pseudonyms=every) if every else None
    q.open_ticket(
        conn, ticket=ticket, right=right, received_on=received_on, channel=channel, language=language, controller=controller,
        account=account, due_on=due_on, linked_to=linked_to,
    )  # fmt: skip
    sealer = keyring.sealer("number")
    for n, number in enumerate(asked, start=1):
        q.add_ticket_subject(
            conn, ticket=ticket, n=n, kind="number", pseudonyms=hashes[number],
            sealed_number=sealer.seal(number.encode(), ticket.encode()), from_at=None, to_at=None, line=None, controller=controller,
        )  # fmt: skip
    for n, call in enumerate(calls, start=len(asked) + 1):
        q.add_ticket_subject(
            conn, ticket=ticket, n=n, kind="time", pseudonyms=None, sealed_number=None, from_at=call.from_at, to_at=call.to_at,
            line=call.line, controller=call.controller or controller,
        )  # fmt: skip
    placed = _freezes(ticket, right, every, calls, controller, account, opened.today)
    who = [subjects.refer(conn, ticket, name) for name in (*asked, *map(_spelled, calls))]
    append(
        conn,
        actor,
        [
            TicketOpened(
                ticket=ticket, right=right, channel=channel, received_on=received_on.isoformat(), due_on=due_on.isoformat(),
                controller=controller, subjects=tuple(who), blockers=tuple(b.blocker for b in placed), linked_to=linked_to,
            )
        ],
    )  # fmt: skip
    for blocker in placed:
        blockers.add(conn, blocker, actor)
    conn.commit()
    for blocker in placed:
        blockers.cover(conn, blocker.blocker)
    return ticket


def _check_scope(conn: db.Connection, numbers: Sequence[E164], calls: Sequence[Call]) -> None:
    if not numbers and not calls:
        raise NotAllowed(
            "A request needs what is searched.", mend="A number; or a line (or company) with date and time."
        )
    ours = {row.number for row in db.queries().known_lines(conn)}
    if ours & set(numbers):
        raise NotAllowed(
            "One of the numbers is a line of ours: that would be the whole switchboard.",
            mend="Ask for the number that the person called from; or for a line with date and time.",
        )
    if any(call.line is not None and call.line not in ours for call in calls):
        raise NotAllowed("A call's line is none of ours.", mend="A person's own number is searched as a number.")


def _freezes(
    ticket: TicketId,
    right: Right,
    pseudonyms: Sequence[bytes],
    calls: Sequence[Call],
    controller: str | None,
    account: str,
    today: date,
) -> list[Blocker]:
    """The blockers that a request places: one for all its numbers, and one for each call by its time."""
    if right not in FREEZES:
        return []
    review_on = today + timedelta(days=tickets.UNPROVEN_DAYS)

    def blocker(**parts: object) -> Blocker:
        return Blocker(
            blocker=uuid4(), kind=FREEZES[right], case_ref=ticket, placed_by=account, review_on=review_on, **parts,  # type: ignore[arg-type]  # Predicate's own fields
        )  # fmt: skip

    found = [blocker(pseudonyms=tuple(pseudonyms), controller=controller)] if pseudonyms else []
    return found + [
        blocker(line=c.line, controller=c.controller or controller, from_at=c.from_at, to_at=c.to_at) for c in calls
    ]


def _spelled(call: Call) -> str:
    """One spelling for one call by its time."""
    return f"{call.line or call.controller} {call.from_at.timestamp():.0f} {call.to_at.timestamp():.0f}"


# --- the end ----------------------------------------------------------------------------------------------------------


def close(conn: db.Connection, ticket: str, outcome: ClosedAs, *, years: int, account: str, actor: Actor) -> int:
    """Ends a ticket by the officer's word, and what it froze with it; commits, and says how many blockers that were.

    Nothing is deleted by that: each recording's own clock goes on, and the next night decides (requirements, section 2).
    ``years``: until what is personal of it goes. Raises NotFound, or NotAllowed once something was carried out or refused.
    """
    q = db.queries()
    show(conn, ticket)
    # Whoever places a blocker holds the lock: none of this ticket's can be coming.
    db.lock_blockers(conn, exclusive=True)
    before = State(q.ticket_for_change(conn, ticket=ticket).state)
    after = tickets.move(before, State.closed)
    q.close_ticket(conn, ticket=ticket, outcome=outcome, years=years)
    free = [b.blocker for b in q.ticket_blockers(conn, ticket=ticket)]
    for blocker in free:
        q.end_blocker(conn, blocker=blocker)
    events: list[Event] = [TicketMoved(ticket=ticket, state_before=before, state_after=after, reason=outcome)]
    append(conn, actor, events + [BlockerLapsed(blocker=blocker, ticket=ticket) for blocker in free])
    conn.commit()
    return len(free)


# --- looking ----------------------------------------------------------------------------------------------------------


def register(conn: db.Connection, *, closed: bool = False) -> list[Ticket]:
    """The tickets that are open, the most urgent first; ``closed``: and those that are over."""
    found = [_ticket(row) for row in db.queries().ticket_register(conn, ticket=None, all=closed)]
    conn.rollback()
    return found


def show(conn: db.Connection, ticket: str) -> Ticket:
    """One ticket, without anything personal. Raises NotFound."""
    q = db.queries()
    if not tickets.REFERENCE.fullmatch(ticket):
        # It may be a number, typed into the wrong field: it is not said again.
        raise NotFound("This is no ticket's reference.", mend="One looks like DSR-2026-0007.")
    rows = list(q.ticket_register(conn, ticket=ticket, all=True))
    late = tuple(row.recording for row in q.ticket_too_late(conn, ticket=ticket))
    windows = dict.fromkeys((row.from_at, row.to_at) for row in q.ticket_subjects(conn, ticket=ticket))
    missing = [m for first, last in windows for m in not_imported(conn, Predicate(from_at=first, to_at=last))]
    conn.rollback()
    if not rows:
        raise NotFound(f"There is no ticket {ticket}.", mend="`callkeeper ticket list` lists them.")
    return replace(_ticket(rows[0]), too_late=late, not_imported=() if rows[0].closed_at else tuple(missing))


def look(conn: db.Connection, ticket: str, keyring: Keyring, actor: Actor) -> list[Searched]:
    """What is searched for a ticket, in clear; the look is an event, which commits before anything is shown. Raises NotFound."""
    show(conn, ticket)
    append(conn, actor, [TicketSeen(ticket=ticket)])
    conn.commit()
    rows = list(db.queries().ticket_subjects(conn, ticket=ticket))
    conn.rollback()
    return [_searched(row, ticket, keyring) for row in rows]


def timeline(conn: db.Connection, ticket: str) -> list[Step]:
    """What became of a ticket, the oldest first, as the trail was told."""
    found = [read_event(bytes(row.body)) for row in db.queries().ticket_timeline(conn, ticket=ticket)]
    conn.rollback()
    return [Step(at=f.at, who=f.actor.account or f.actor.dag or "-", event=f.event) for f in found]


def _ticket(row: db.Row) -> Ticket:
    return Ticket(
        ticket=TicketId(row.ticket),
        right=Right(row.access_right),
        state=State(row.state),
        received_on=row.received_on,
        channel=row.channel,
        language=row.language,
        controller=row.controller,
        account=row.account,
        opened_at=row.opened_at,
        due_on=row.due_on,
        extended_to=row.extended_to,
        identity=row.identity,
        outcome=row.outcome,
        closed_at=row.closed_at,
        linked_to=row.linked_to,
        days_left=None if row.closed_at else row.days_left,
        numbers=row.numbers,
        times=row.times,
        freezes=row.freezes,
        frozen=row.frozen,
        gone_before=row.gone_before,
    )


def _searched(row: db.Row, ticket: str, keyring: Keyring) -> Searched:
    if row.kind == "number":
        return Searched(number=E164(keyring.unseal("number", row.sealed_number, ticket.encode()).decode()))
    return Searched(call=Call(from_at=row.from_at, to_at=row.to_at, line=row.line, controller=row.controller))
