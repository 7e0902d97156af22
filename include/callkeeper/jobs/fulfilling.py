"""Answering the person: a request is taken in, and what it is about is frozen in the same transaction.

Numbers are in memory here and nowhere else: the ticket has their hashes and sealed values, the trail a hash that nobody can
resolve once the ticket is erased (requirements, sections 4 and 5).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from callkeeper import blockers, db, decisions, tickets
from callkeeper.blockers import Blocker, Predicate
from callkeeper.clock import helsinki_day
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs.holding import NotImported, not_imported
from callkeeper.phone import E164
from callkeeper.pseudonyms import Keyring
from callkeeper.tickets import (
    FREEZES,
    Call,
    Channel,
    ClosedAs,
    Evidence,
    ExtensionReason,
    Language,
    Question,
    Right,
    State,
    TicketId,
)
from callkeeper.trail import subjects
from callkeeper.trail.append import append
from callkeeper.trail.events import (
    Actor,
    BlockerLapsed,
    Event,
    TicketExtended,
    TicketIdentityProven,
    TicketMoved,
    TicketOpened,
    TicketPreviewed,
    TicketSeen,
)
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


# --- on its way ---------------------------------------------------------------------------------------------------------


def ask(conn: db.Connection, ticket: str, question: Question, actor: Actor) -> None:
    """Notes that the person was asked who they are, or what they mean; commits. The clock goes on: alerts know of no pause."""
    row = _change(conn, ticket)
    _move(conn, row, State.identity_asked if question == "identity" else State.clarification_asked, actor)
    conn.commit()


def answered(conn: db.Connection, ticket: str, actor: Actor) -> None:
    """Notes that the person has answered; commits."""
    _move(conn, _change(conn, ticket), State.open, actor)
    conn.commit()


def prove_identity(
    conn: db.Connection,
    keyring: Keyring,
    ticket: str,
    *,
    evidence: Evidence,
    from_at: datetime,
    to_at: datetime,
    note: str = "",
    account: str,
    actor: Actor,
) -> None:
    """Notes how the person proved who they are, and from when to when the ticket's numbers are theirs; commits.

    A callback proves today's holder only: so the officer states the period, and the search keeps to it (requirements, section 4).
    The freeze stays as wide as it was until the ticket ends. ``note`` is sealed, and gone with the ticket.
    """
    if evidence == "other" and not note.strip():
        raise NotAllowed(
            "Other evidence needs a note of what it was.", mend="It is kept sealed, and gone with the ticket."
        )
    if from_at >= to_at:
        raise NotAllowed("The period ends before it begins.")
    row = _change(conn, ticket)
    before = State(row.state)
    if before not in (State.open, State.identity_asked, State.clarification_asked):
        raise NotAllowed(
            f"A ticket that is {before.replace('_', ' ')} has its identity settled.",
            mend="`callkeeper ticket ask TICKET identity` takes it up again.",
        )
    q = db.queries()
    sealed = keyring.sealer("reference").seal(json.dumps({"identity": note.strip()}).encode(), ticket.encode())
    q.identity_proven(conn, ticket=ticket, state=State.open, identity=evidence, account=account, sealed_facts=sealed)
    q.period_proven(conn, ticket=ticket, from_at=from_at, to_at=to_at)
    q.review_ticket_blockers(conn, ticket=ticket)
    append(conn, actor, [TicketIdentityProven(ticket=ticket, identity=evidence, state_before=before)])
    conn.commit()


def extend(conn: db.Connection, ticket: str, reason: ExtensionReason, actor: Actor) -> date:
    """Extends a ticket to three months from receipt, once, by its first due day (GDPR Art. 12(3)); commits, gives the day.

    The person is told of it, with the reason, by that day too.
    """
    row = _change(conn, ticket)
    if row.state == State.closed or row.extended_to:
        raise NotAllowed(f"{ticket} is {'closed' if row.state == State.closed else 'extended already'}.")
    extended_to = tickets.extended(row.received_on, row.due_on, helsinki_day(db.now(conn)))
    q = db.queries()
    q.ticket_extended(conn, ticket=ticket, extended_to=extended_to, reason=reason)
    if row.identity != "unproven":
        q.review_ticket_blockers(conn, ticket=ticket)
    append(conn, actor, [TicketExtended(ticket=ticket, reason=reason, extended_to=extended_to.isoformat())])
    conn.commit()
    return extended_to


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A recording that a search found. ``place``: catalogue, quarantine, leaving, gone; ``open_elsewhere``: other tickets that want it.

    ``duration`` is in whole seconds. Whose the other tickets are is not told.
    """

    recording: UUID
    controller: str
    state: Literal["found", "confirmed", "excluded"]
    reason: str | None
    place: str
    started_at: datetime | None
    duration: int | None
    line: str | None
    direction: str | None
    eligible_at: datetime | None
    open_elsewhere: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What an officer decides on: exactly these recordings, by the hash of their ids; and what of the period is not known yet."""

    found: tuple[Found, ...]
    scope: bytes
    not_imported: tuple[NotImported, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, by company."""
        return dict(sorted(Counter(f.controller for f in self.found if f.state != "excluded").items()))


def preview(conn: db.Connection, keyring: Keyring, ticket: str, actor: Actor) -> Preview:
    """Searches every company (unless the officer narrowed it) under every live key, in the periods that are proven; commits.

    Asked again, it finds what has come since, and notes what is there no longer. Raises NotAllowed before identity is proven.
    """
    row = _change(conn, ticket)
    if row.identity == "unproven":
        raise NotAllowed(
            "Nobody has proven who asks: nothing is searched for them yet.",
            mend=f"`callkeeper ticket identity {ticket}`.",
        )
    before, q = State(row.state), db.queries()
    after = tickets.move(before, State.previewed)
    found: dict[UUID, str] = {}
    for subject in q.ticket_subjects(conn, ticket=ticket):
        one = _searched(subject, ticket, keyring)
        for match in q.find_matched(
            conn,
            pseudonyms=list(keyring.pseudonyms(one.number).values()) if one.number else None,
            line=subject.line,
            controller=subject.controller,
            from_at=subject.from_at,
            to_at=subject.to_at,
        ):
            found[match.recording] = match.controller
    q.note_found(conn, ticket=ticket, recordings=list(found), controllers=list(found.values()))
    q.note_lost(conn, ticket=ticket, recordings=list(found))
    seen = _preview(conn, ticket)
    q.ticket_previewed(conn, ticket=ticket, state=after, scope=seen.scope)
    told = TicketPreviewed(
        ticket=ticket,
        recordings=sum(seen.counts.values()),
        counts=seen.counts,
        scope=seen.scope.hex(),
        state_before=before,
    )
    append(conn, actor, [told])
    conn.commit()
    return seen


def _preview(conn: db.Connection, ticket: str) -> Preview:
    found = tuple(
        Found(
            recording=row.recording,
            controller=row.controller,
            state=row.state,
            reason=row.reason,
            place=row.place,
            started_at=row.started_at,
            duration=None if row.duration_ms is None else round(row.duration_ms / 1000),
            line=row.line,
            direction=row.direction,
            eligible_at=row.eligible_at,
            open_elsewhere=row.open_elsewhere,
        )
        for row in db.queries().ticket_recordings(conn, ticket=ticket)
    )
    scope = decisions.scope_of(f.recording for f in found if f.state != "excluded")
    return Preview(found=found, scope=scope, not_imported=_missing(conn, ticket))


def _missing(conn: db.Connection, ticket: str) -> tuple[NotImported, ...]:
    """The days of what is searched of which the vendor has the calls alone."""
    windows = dict.fromkeys((row.from_at, row.to_at) for row in db.queries().ticket_subjects(conn, ticket=ticket))
    return tuple(m for first, last in windows for m in not_imported(conn, Predicate(from_at=first, to_at=last)))


def _change(conn: db.Connection, ticket: str) -> db.Row:
    """The ticket, for nobody else to change until the transaction ends. Raises NotFound."""
    show(conn, ticket)
    return db.queries().ticket_for_change(conn, ticket=ticket)


def _move(conn: db.Connection, row: db.Row, after: State, actor: Actor, reason: str | None = None) -> None:
    before = State(row.state)
    db.queries().move_ticket(conn, ticket=row.ticket, state=tickets.move(before, after))
    append(conn, actor, [TicketMoved(ticket=row.ticket, state_before=before, state_after=after, reason=reason)])


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
    missing = _missing(conn, ticket)
    conn.rollback()
    if not rows:
        raise NotFound(f"There is no ticket {ticket}.", mend="`callkeeper ticket list` lists them.")
    return replace(_ticket(rows[0]), too_late=late, not_imported=() if rows[0].closed_at else missing)


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
