"""Answering the person: a request is taken in, and what it is about is frozen in the same transaction.

Numbers are in memory here and nowhere else: the ticket has their hashes and sealed values, the trail a hash that nobody can
resolve once the ticket is erased (requirements, sections 4 and 5).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from callkeeper import blockers, db, decisions, tickets
from callkeeper.blockers import Blocker, Predicate
from callkeeper.clock import helsinki_day
from callkeeper.controllers import OFFICERS, SECONDERS
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import answering
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.jobs.holding import NotImported, not_imported
from callkeeper.phone import E164
from callkeeper.pseudonyms import Keyring
from callkeeper.tickets import (
    FREEZES,
    Asked,
    Call,
    Channel,
    ClosedAs,
    Correctable,
    ErasureGround,
    Evidence,
    Exclusion,
    ExtensionReason,
    Ground,
    Language,
    Mute,
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
    TicketForgotten,
    TicketIdentityProven,
    TicketMoved,
    TicketNoted,
    TicketOpened,
    TicketPreviewed,
    TicketResumed,
    TicketSeen,
    TicketWidened,
    utc,
)
from callkeeper.trail.events import read as read_event

NOES = ("dsr_not_seconded", "dsr_take_back")
"""Decisions after which no earlier yes counts."""
GOES = (Right.erasure, Right.objection)
"""The rights of which a yes means that recordings go, by the journal."""
Outcome = Literal["fulfilled", "deferred", "refused", "no_data", "days_missing"]
"""What a ticket came to. Deferred: of some a legal ground keeps the audio for now; they go when it ends, by themselves.
Days missing: nothing was found, and nobody can say yet that there is nothing."""
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
    answer_by: date
    """The day that counts: an extension does, once its letter was sent in time."""
    identity: str
    outcome: str | None
    closed_at: datetime | None
    erased_at: datetime | None
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
    wanted, calls = tuple(dict.fromkeys(numbers)), tuple(map(tickets.check_call, times))
    due_on = tickets.due(received_on, helsinki_day(db.now(conn)))
    _check_scope(conn, wanted, calls)
    # A statement of its own, before anything is looked at (architecture, rule 3).
    db.lock_blockers(conn, exclusive=True)
    q = db.queries()
    _check_keys(conn, keyring)
    q.number_ticket(conn)
    opened = q.next_ticket(conn)
    ticket = tickets.reference(opened.today.year, opened.n)
    every = _hashes(keyring, wanted)
    linked_to = q.earlier_ticket(conn, pseudonyms=every) if every else None
    q.open_ticket(
        conn, ticket=ticket, right=right, received_on=received_on, channel=channel, language=language, controller=controller,
        account=account, due_on=due_on, linked_to=linked_to,
    )  # fmt: skip
    _add_subjects(conn, keyring, ticket, wanted, calls, controller)
    placed = _freezes(ticket, right, every, calls, controller, account, opened.today)
    who = [subjects.refer(conn, ticket, name) for name in (*wanted, *map(_spelled, calls))]
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
    _place(conn, placed, actor)
    conn.commit()
    for blocker in placed:
        blockers.cover(conn, blocker.blocker)
    return ticket


def _check_keys(conn: db.Connection, keyring: Keyring) -> None:
    if db.queries().newer_key(conn, key_ids=[key.key_id for key in keyring.keys]):
        raise NotAllowed(
            "A key was rotated since this program began.", mend="Start it again, and take the request in then."
        )


def _hashes(keyring: Keyring, numbers: Iterable[E164]) -> list[bytes]:
    """The numbers' pseudonyms under every live key."""
    return [pseudonym for number in numbers for pseudonym in keyring.pseudonyms(number).values()]


def _add_subjects(
    conn: db.Connection,
    keyring: Keyring,
    ticket: str,
    numbers: Sequence[E164],
    calls: Sequence[Call],
    controller: str | None,
) -> list[bytes]:
    """Writes down what is searched, after what is searched already; gives the numbers' pseudonyms."""
    q, sealer = db.queries(), keyring.sealer("number")
    first = q.count_subjects(conn, ticket=ticket) + 1
    for n, number in enumerate(numbers, start=first):
        q.add_ticket_subject(
            conn, ticket=ticket, n=n, kind="number", pseudonyms=_hashes(keyring, [number]),
            sealed_number=sealer.seal(number.encode(), ticket.encode()), from_at=None, to_at=None, line=None, controller=controller,
        )  # fmt: skip
    for n, call in enumerate(calls, start=first + len(numbers)):
        q.add_ticket_subject(
            conn, ticket=ticket, n=n, kind="time", pseudonyms=None, sealed_number=None, from_at=call.from_at, to_at=call.to_at,
            line=call.line, controller=call.controller or controller,
        )  # fmt: skip
    return _hashes(keyring, numbers)


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


def _place(conn: db.Connection, placed: Sequence[Blocker], actor: Actor) -> None:
    """Freezes, in the caller's transaction, which holds the blockers' lock."""
    for blocker in placed:
        blockers.add(conn, blocker, actor)


def _spelled(call: Call) -> str:
    """One spelling for one call by its time."""
    return f"{call.line or call.controller} {call.from_at.timestamp():.0f} {call.to_at.timestamp():.0f}"


# --- on its way ---------------------------------------------------------------------------------------------------------


def ask(conn: db.Connection, ticket: str, question: Question, actor: Actor, *, about: Sequence[Asked] = ()) -> None:
    """Notes that the person was asked who they are, or what they mean (``about``: codes); commits.

    The clock goes on: alerts know of no pause.
    """
    if unknown := set(about) - set(tickets.ASKED):
        raise NotAllowed(
            f"{len(unknown)} of the things asked {'is' if len(unknown) == 1 else 'are'} no code.",
            mend=f"Known: {', '.join(tickets.ASKED)}.",
        )
    row = _change(conn, ticket)
    move(conn, row, State.identity_asked if question == "identity" else State.clarification_asked, actor)
    db.queries().note_asked(conn, ticket=ticket, asked=list(dict.fromkeys(about)))
    conn.commit()


def asked(conn: db.Connection, ticket: str) -> tuple[Asked, ...]:
    """What the person was last asked to make clear."""
    return tuple(db.queries().what_was_asked(conn, ticket=ticket) or ())


def answered(conn: db.Connection, ticket: str, actor: Actor) -> None:
    """Notes that the person has answered; commits."""
    row = _change(conn, ticket)
    move(conn, row, State.open, actor)
    if row.state not in (State.identity_asked, State.clarification_asked):
        raise NotAllowed(f"A ticket that is {_said(row.state)} waits for no answer of the person's.")
    conn.commit()


def add_numbers(
    conn: db.Connection,
    keyring: Keyring,
    ticket: str,
    numbers: Iterable[E164],
    times: Iterable[Call],
    account: str,
    actor: Actor,
) -> None:
    """Searches for more, as the person has made clear, and freezes that too, in one transaction; commits.

    A number that is new is proven to be nobody's yet: identity has to be proven anew. Raises NotAllowed for what cannot be one
    person's, and once something was decided.
    """
    show(conn, ticket)
    # A statement of its own, before anything is looked at (architecture, rule 3).
    db.lock_blockers(conn, exclusive=True)
    row = for_change(conn, ticket)
    if row.state not in (State.open, State.identity_asked, State.clarification_asked, State.previewed):
        raise NotAllowed(
            f"A ticket that is {_said(row.state)} is about what it is about.",
            mend="`callkeeper ticket preview TICKET` takes a decision back; more can be added then.",
        )
    q, right = db.queries(), Right(row.access_right)
    known = {bytes(one) for one in q.ticket_pseudonyms(conn, ticket=ticket)}
    fresh = tuple(n for n in dict.fromkeys(numbers) if known.isdisjoint(keyring.pseudonyms(n).values()))
    calls = tuple(map(tickets.check_call, times))
    if not fresh and not calls:
        raise NotAllowed("This is searched already.", mend="Nothing was changed.")
    _check_scope(conn, fresh, calls)
    _check_keys(conn, keyring)
    every = _add_subjects(conn, keyring, ticket, fresh, calls, row.controller)
    today = helsinki_day(db.now(conn))
    placed = _freezes(TicketId(ticket), right, every, calls, row.controller, account, today)
    who = tuple(subjects.refer(conn, ticket, name) for name in (*fresh, *map(_spelled, calls)))
    append(conn, actor, [TicketWidened(ticket=ticket, subjects=who, blockers=tuple(b.blocker for b in placed))])
    _place(conn, placed, actor)
    if fresh:
        q.identity_unproven(conn, ticket=ticket)
    if row.state != State.open:
        move(conn, row, State.open, actor, "widened")
    conn.commit()
    for blocker in placed:
        blockers.cover(conn, blocker.blocker)


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
            f"A ticket that is {_said(before)} has its identity settled.",
            mend="`callkeeper ticket ask TICKET identity` takes it up again.",
        )
    q = db.queries()
    sealed = _sealed(keyring, row, identity=note.strip())
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

    ``duration`` is in whole seconds. Whose the other tickets are is not told. ``mutes`` and ``audio_channel``: what of its copy is left out.
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
    outcome: str | None
    mutes: tuple[Mute, ...]
    audio_channel: int | None
    corrects: Mapping[Correctable, bytes]
    """What is put right, with the hash of the sealed value."""

    @property
    def entry(self) -> str:
        """Its place in the scope."""
        return tickets.entry(self.recording, channel=self.audio_channel, mutes=self.mutes, corrected=self.corrects)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What an officer decides on: exactly these recordings, and of each what is left out of its copy or put right, by a hash.

    ``not_imported``: what of the period is not known yet.
    """

    found: tuple[Found, ...]
    scope: bytes
    not_imported: tuple[NotImported, ...]

    @property
    def chosen(self) -> tuple[Found, ...]:
        """Those that are not left out."""
        return tuple(f for f in self.found if f.state != "excluded")

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, by company."""
        return dict(sorted(Counter(f.controller for f in self.chosen).items()))


def preview(conn: db.Connection, keyring: Keyring, ticket: str, actor: Actor) -> Preview:
    """Searches every company (unless the officer narrowed it) under every live key, in the periods that are proven; commits.

    Asked again, it finds what has come since, and notes what is there no longer. Raises NotAllowed before identity is proven.
    """
    return _search_anew(conn, keyring, _change(conn, ticket), actor)


def _search_anew(conn: db.Connection, keyring: Keyring, row: db.Row, actor: Actor) -> Preview:
    """The same of a ticket that is locked already, so that whatever led to it is of one transaction; commits."""
    ticket = row.ticket
    if row.identity == "unproven":
        raise NotAllowed(
            "Nobody has proven who asks: nothing is searched for them yet.",
            mend=f"`callkeeper ticket identity {ticket}`.",
        )
    before, q = State(row.state), db.queries()
    after = tickets.move(before, State.previewed)
    subjects = list(q.ticket_subjects(conn, ticket=ticket))
    found = _find(conn, keyring, ticket, subjects)
    q.note_found(conn, ticket=ticket, recordings=list(found), controllers=list(found.values()))
    seen = _preview(conn, ticket, subjects)
    at = q.ticket_previewed(conn, ticket=ticket, state=after, scope=seen.scope)
    told = TicketPreviewed(
        ticket=ticket,
        recordings=sum(seen.counts.values()),
        counts=seen.counts,
        scope=seen.scope.hex(),
        state_before=before,
    )
    append(conn, actor, [told], at=at)
    conn.commit()
    return seen


def _search(conn: db.Connection, keyring: Keyring, ticket: str) -> dict[UUID, str]:
    """What there is now of a ticket's subjects, wherever it is, and which company's."""
    return _find(conn, keyring, ticket, list(db.queries().ticket_subjects(conn, ticket=ticket)))


def _find(conn: db.Connection, keyring: Keyring, ticket: str, subjects: Sequence[db.Row]) -> dict[UUID, str]:
    q, found = db.queries(), dict[UUID, str]()
    for subject in subjects:
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
    return found


def would_find(conn: db.Connection, keyring: Keyring, ticket: str) -> dict[str, int]:
    """How many recordings a search would find now, by company; nothing is noted, nothing changes. Raises NotFound."""
    show(conn, ticket)
    found = Counter(_search(conn, keyring, ticket).values())
    conn.rollback()
    return dict(sorted(found.items()))


def searched(conn: db.Connection, keyring: Keyring, ticket: str) -> tuple[Searched, ...]:
    """What is searched for a ticket, in clear, for what is done about it in the same transaction; nobody sees it."""
    return tuple(_searched(row, ticket, keyring) for row in db.queries().ticket_subjects(conn, ticket=ticket))


def seen(conn: db.Connection, ticket: str) -> Preview:
    """What was found for a ticket when it was last searched. Raises NotFound."""
    show(conn, ticket)
    found = _preview(conn, ticket)
    conn.rollback()
    return found


def _preview(conn: db.Connection, ticket: str, subjects: Sequence[db.Row] | None = None) -> Preview:
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
            outcome=row.outcome,
            mutes=tickets.mutes_of(row.mutes),
            audio_channel=row.channel,
            corrects={what: bytes.fromhex(after) for what, after in (row.corrects or {}).items()},
        )
        for row in db.queries().ticket_recordings(conn, ticket=ticket)
    )
    scope = decisions.scope_of(f.entry for f in found if f.state != "excluded")
    return Preview(found=found, scope=scope, not_imported=_missing(conn, ticket, subjects))


def _missing(conn: db.Connection, ticket: str, subjects: Sequence[db.Row] | None = None) -> tuple[NotImported, ...]:
    """The days of what is searched of which the vendor has the calls alone."""
    if subjects is None:
        subjects = list(db.queries().ticket_subjects(conn, ticket=ticket))
    windows = dict.fromkeys((row.from_at, row.to_at) for row in subjects)
    return tuple(m for first, last in windows for m in not_imported(conn, Predicate(from_at=first, to_at=last)))


def _change(conn: db.Connection, ticket: str) -> db.Row:
    """The ticket, in a transaction of its own, for nobody else to change until that ends. Raises NotFound."""
    conn.rollback()
    return for_change(conn, ticket)


def for_change(conn: db.Connection, ticket: str) -> db.Row:
    """The same in a transaction that has its lock already. Raises NotFound."""
    _check_reference(ticket)
    row = db.queries().ticket_for_change(conn, ticket=ticket)
    if row is None:
        raise NotFound(f"There is no ticket {ticket}.", mend="`callkeeper ticket list` lists them.")
    return row


def _check_reference(ticket: str) -> None:
    if not tickets.REFERENCE.fullmatch(ticket):
        # It may be a number, typed into the wrong field: it is not said again.
        raise NotFound("This is no ticket's reference.", mend="One looks like DSR-2026-0007.")


def move(conn: db.Connection, row: db.Row, after: State, actor: Actor, reason: str | None = None) -> None:
    """Moves a locked ticket on, with its event, in the caller's transaction. Raises NotAllowed where that is not lawful."""
    before = State(row.state)
    db.queries().move_ticket(conn, ticket=row.ticket, state=tickets.move(before, after))
    append(conn, actor, [TicketMoved(ticket=row.ticket, state_before=before, state_after=after, reason=reason)])


# --- narrower -----------------------------------------------------------------------------------------------------------


def leave_out(
    conn: db.Connection, keyring: Keyring, ticket: str, recordings: Mapping[UUID, Exclusion], actor: Actor
) -> Preview:
    """Leaves recordings out of an answer, each for a reason, and shows what is left: a scope of its own. Commits."""
    row = _change(conn, ticket)
    reasons = list(recordings.values())
    done = db.queries().leave_out(conn, ticket=ticket, recordings=list(recordings), reasons=reasons)
    if lost := recordings.keys() - {r.recording for r in done}:
        raise NotFound(f"Recording {min(lost)} is not among what was found.", mend="Nothing was left out.")
    return _narrowed(conn, keyring, row, actor)


def redact(
    conn: db.Connection,
    keyring: Keyring,
    ticket: str,
    recording: UUID,
    *,
    mutes: Sequence[Mute],
    channel: int | None,
    actor: Actor,
) -> Preview:
    """Says what the copy of a recording leaves out: ranges, each for a reason, and all but one channel; commits.

    It takes the place of what was said before; nothing, and the copy is whole. The recording itself is not touched. What is
    left out is a part of the scope, so whoever says yes says it to that. Raises NotAllowed, NotFound.
    """
    row, q = _change(conn, ticket), db.queries()
    if row.access_right != Right.access:
        raise NotAllowed(f"{ticket} asks for {row.access_right}: no copy of audio is made for it.")
    shape = q.audio_shape(conn, ticket=ticket, recording=recording)
    if shape is None:
        raise NotFound(f"Recording {recording} is not among what was found.", mend="Nothing was changed.")
    if shape.audio_ms is None:
        raise NotAllowed(f"The audio of recording {recording} is not here any more, or not yet.")
    kept = tickets.check_mutes(mutes, channel=channel, duration_ms=shape.audio_ms, channels=shape.channels)
    said = json.dumps([[m.from_ms, m.to_ms, m.reason] for m in kept]) if kept else None
    q.redact(conn, ticket=ticket, recording=recording, mutes=said, channel=channel)
    return _narrowed(conn, keyring, row, actor)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Correction:
    """What of a recording is put right, in clear: a number or line (E.164), a time (ISO 8601, UTC), a statement (text).

    ``before``: None where nobody can read it, and of a statement.
    """

    recording: UUID
    what: Correctable
    before: str | None
    after: str
    applied_at: datetime | None


def correct(
    conn: db.Connection,
    keyring: Keyring,
    ticket: str,
    recording: UUID,
    what: Correctable,
    value: str | datetime | None,
    actor: Actor,
) -> Preview:
    """Drafts what a rectification puts right of a recording, sealed; None takes that back. Commits.

    Nothing is changed yet. What is drafted is a part of the scope, so whoever says yes says it to that. Numbers and lines are
    E.164, times aware. Raises NotAllowed, NotFound.
    """
    row, q = _change(conn, ticket), db.queries()
    if row.access_right != Right.rectification:
        raise NotAllowed(f"{ticket} asks for {row.access_right}: nothing is put right by it.")
    if what not in tickets.CORRECTABLE:
        raise NotAllowed("This cannot be put right.", mend=f"Known: {', '.join(tickets.CORRECTABLE)}.")
    found = q.correctable(conn, ticket=ticket, recording=recording)
    if found is None:
        raise NotFound(
            f"Recording {recording} is not among what was found, or does not stand in the catalogue.",
            mend="Of a call in quarantine somebody decides first: `callkeeper quarantine`.",
        )
    if value is None:
        q.uncorrect(conn, ticket=ticket, recording=recording, what=what)
    else:
        after = _checked(conn, found, what, value)
        before = {"number": _number_of(keyring, found), "time": utc(found.started_at), "line": found.line}.get(what)
        sealer, bound = keyring.sealer("reference"), ticket.encode()
        q.correct(
            conn, ticket=ticket, recording=recording, what=what, sealed_after=sealer.seal(after.encode(), bound),
            sealed_before=sealer.seal(before.encode(), bound) if before else None,
        )  # fmt: skip
    append(conn, actor, [TicketNoted(ticket=ticket, noted="correction")])
    return _narrowed(conn, keyring, row, actor)


def _checked(conn: db.Connection, found: db.Row, what: Correctable, value: str | datetime) -> str:
    """What is put in a recording's row, as text, if it can stand there. Raises NotAllowed."""
    q = db.queries()
    if (what == "time") != isinstance(value, datetime):
        raise NotAllowed("A time is put right by a time, and nothing else is.")
    if isinstance(value, datetime):
        if utc(value) and value > db.now(conn):
            raise NotAllowed("No call has begun in the future.")
        return utc(value)
    if not value.strip():
        raise NotAllowed("There is nothing in this.")
    ours = {row.number for row in q.known_lines(conn)}
    if what == "line" and value not in ours:
        raise NotAllowed("That is no line of ours.", mend="The register has them: `callkeeper config show`.")
    if what == "number" and value in ours:
        raise NotAllowed("That is a line of ours, and no caller's number.")
    return value.strip()


def _number_of(keyring: Keyring, found: db.Row) -> str | None:
    return keyring.unseal("number", found.sealed_number, found.identity).decode() if found.sealed_number else None


def corrections(conn: db.Connection, keyring: Keyring, ticket: str) -> tuple[Correction, ...]:
    """What a rectification puts right, in clear, for the letter and for whoever decides; nothing, once the ticket's term is over."""

    def clear(sealed: bytes | None) -> str | None:
        return keyring.unseal("reference", sealed, ticket.encode()).decode() if sealed else None

    return tuple(
        Correction(
            recording=row.recording,
            what=row.what,
            before=clear(row.sealed_before),
            after=clear(row.sealed_after) or "",
            applied_at=row.applied_at,
        )
        for row in db.queries().ticket_corrections(conn, ticket=ticket)
        if row.sealed_after
    )


def _narrowed(conn: db.Connection, keyring: Keyring, row: db.Row, actor: Actor) -> Preview:
    move(conn, row, State.narrowed, actor)
    return _search_anew(conn, keyring, row._replace(state=State.narrowed), actor)


# --- two people's yes, or an officer's no -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """What was agreed on, by the decisions' own rows: the scope, and the row of the last yes that it took."""

    preview: Preview
    decision: int
    account: str
    """Whose last yes it was."""


def approve(
    conn: db.Connection,
    keyring: Keyring,
    ticket: str,
    *,
    scope: bytes,
    ground: ErasureGround | None = None,
    account: str,
    actor: Actor,
) -> bool:
    """The officer's yes to exactly what she saw; commits, and says whether a second person must say it too.

    ``ground``: of an erasure, why it is due, by GDPR Art. 17(1); its decision and its event have it. Raises ScopeChanged if it is
    not the same any more: then a new preview is due. NotAllowed to whoever is no officer, and for an erasure without its ground.
    """
    decisions.require(conn, account, OFFICERS)
    row = _change(conn, ticket)
    right = Right(row.access_right)
    if right is Right.portability:
        raise NotAllowed(
            "Portability does not apply to what is kept for a legitimate interest (GDPR Art. 20(1)(a)): there is no yes to it.",
            mend=f"`callkeeper ticket refuse {ticket} --ground not_applicable`: the letter offers a copy under Art. 15.",
        )
    after = tickets.move(State(row.state), State.approved)
    seen = same_scope(conn, keyring, row, scope)
    if right is Right.rectification and seen.chosen and not any(f.corrects for f in seen.chosen):
        raise NotAllowed(
            "Nothing is put right by this yet.",
            mend=f"`callkeeper ticket correct {ticket}` says what; a statement of the person's may be all of it.",
        )
    if ground is None and right is Right.erasure and seen.chosen:
        raise NotAllowed(
            "An erasure is approved on the ground that makes it due (GDPR Art. 17(1)).",
            mend=f"One of: {', '.join(tickets.ERASURE_GROUNDS)}.",
        )
    if ground is not None and right is not Right.erasure:
        raise NotAllowed(f"A ground goes with the yes to an erasure; {ticket} asks for {right}.")
    q = db.queries()
    q.confirm_found(conn, ticket=ticket)
    # An erased row knows nothing any more, and the answer lists what it was.
    answering.remember(conn, keyring, ticket)
    decisions.record(conn, ticket, f"dsr_approve:{ground}" if ground else "dsr_approve", account, scope, actor)
    move(conn, row, after, actor, ground)
    conn.commit()
    return tickets.takes_two(right, row.identity, len(seen.chosen))


def second(conn: db.Connection, ticket: str, *, scope: bytes, account: str, actor: Actor) -> None:
    """Another person's yes to what the first one approved, and she saw; commits. Raises NotAllowed to the first one, ScopeChanged."""
    decisions.require(conn, account, SECONDERS)
    row = _change(conn, ticket)
    after = tickets.move(State(row.state), State.seconded)
    if not tickets.takes_two(Right(row.access_right), row.identity, len(_preview(conn, ticket).chosen)):
        raise NotAllowed(f"{ticket} takes one person's yes only, and has it.")
    first = _yes(conn, row, "dsr_approve")
    if first.account == account:
        raise NotAllowed("You said the first yes: the second is another person's.")
    if scope != first.scope:
        raise ScopeChanged
    decisions.record(conn, ticket, "dsr_second", account, scope, actor)
    move(conn, row, after, actor)
    conn.commit()


def not_seconded(conn: db.Connection, ticket: str, *, account: str, actor: Actor) -> None:
    """The second person's no: what was approved lies before the officer again; commits.

    The first yes counts no longer, for whatever scope: she looks anew, and says it anew.
    """
    decisions.require(conn, account, SECONDERS)
    row = _change(conn, ticket)
    if row.state != State.approved:
        raise NotAllowed(f"A ticket that is {_said(row.state)} waits for no second person.")
    take_back_yes(conn, row, "dsr_not_seconded", State.previewed, account, actor)
    conn.commit()


def take_back_yes(conn: db.Connection, row: db.Row, why: str, after: State, account: str, actor: Actor) -> None:
    """A decision after which no earlier yes counts, in the caller's transaction."""
    decisions.record(conn, row.ticket, why, account, bytes(row.scope), actor)
    db.queries().move_ticket(conn, ticket=row.ticket, state=after)
    moved = TicketMoved(
        ticket=row.ticket, state_before=row.state, state_after=after, reason=why.removeprefix("dsr_")
    )  # fmt: skip
    append(conn, actor, [moved])


def note_reasons(
    conn: db.Connection, keyring: Keyring, ticket: str, reasons: str, *, account: str, actor: Actor
) -> None:
    """Seals the officer's reasons, for a refusal or for what an answer leaves out, before she decides in Airflow; commits.

    No free text passes through Airflow that way. Said again, it takes the place of what was said before. ``account``: hers.
    """
    row = _change(conn, ticket)
    if row.state in (State.released, State.delivered, State.closed):
        raise NotAllowed(f"{ticket} is {_said(row.state)}: its letter is written.")
    if not reasons.strip():
        raise NotAllowed("There are no reasons in this.", mend="They go into the letter, in its language.")
    db.queries().seal_facts(conn, ticket=ticket, sealed_facts=_sealed(keyring, row, reasons=reasons.strip()))
    append(conn, replace(actor, account=account), [TicketNoted(ticket=ticket, noted="reasons")])
    conn.commit()


def noted_reasons(conn: db.Connection, keyring: Keyring, ticket: str) -> str | None:
    """The officer's reasons, in clear, for the letter; None: there are none."""
    row = db.queries().ticket_facts(conn, ticket=ticket)
    return _facts(keyring, row).get("reasons") if row else None


def refuse(
    conn: db.Connection,
    keyring: Keyring,
    ticket: str,
    ground: Ground,
    *,
    reasons: str | None = None,
    account: str,
    actor: Actor,
) -> None:
    """The officer's no, on a ground that the law lists for that right, with reasons, which are sealed; commits.

    ``reasons``: else those that were noted. That portability does not apply is the law's own reason, and needs no other. What
    is frozen stays so until the refusal has reached the person.
    """
    decisions.require(conn, account, OFFICERS)
    row = _change(conn, ticket)
    right = Right(row.access_right)
    if right not in tickets.GROUNDS_OF[ground]:
        known = ", ".join(g for g in tickets.GROUNDS if right in tickets.GROUNDS_OF[g])
        raise NotAllowed(f"{ground} is no ground to refuse {right}.", mend=f"Known: {known}.")
    why = (_facts(keyring, row).get("reasons", "") if reasons is None else reasons).strip()
    if not why and ground != "not_applicable":
        raise NotAllowed(
            "A refusal needs its reasons: they go into the letter.",
            mend=f"`callkeeper ticket reasons {ticket}` takes them, and keeps them sealed.",
        )
    before, after = State(row.state), tickets.move(State(row.state), State.refused)
    q = db.queries()
    sealed = _sealed(keyring, row, reasons=why) if why else row.sealed_facts
    q.ticket_refused(conn, ticket=ticket, state=after, sealed_facts=sealed)
    q.note_refused(conn, ticket=ticket)
    decisions.record(conn, ticket, f"dsr_refuse:{ground}", account, bytes(row.scope or b""), actor)
    append(conn, actor, [TicketMoved(ticket=ticket, state_before=before, state_after=after, reason=ground)])
    conn.commit()


def agreed(conn: db.Connection, keyring: Keyring, row: db.Row) -> Agreed:
    """What may be carried out of a ticket that the caller has locked: asked of the decisions' rows, never of its state alone.

    Each yes is about the ticket's scope as it is now, by the ticket, by what was found and by a new search; the second is
    another person's, and later than the first; none is older than a no. Raises NotAllowed, ScopeChanged.
    """
    right = Right(row.access_right)
    two = tickets.takes_two(right, row.identity, len(_preview(conn, row.ticket).chosen))
    people = "two people's" if two else "the officer's"
    if row.state not in ((State.seconded,) if two else (State.approved, State.seconded)):
        raise NotAllowed(f"{row.ticket} is {_said(row.state)}: it takes {people} yes first.")
    first = last = _yes(conn, row, "dsr_approve")
    if two:
        last = _yes(conn, row, "dsr_second")
        if last.account == first.account:
            raise NotAllowed("Both yeses are one person's.")
        if last.decision < first.decision:
            raise NotAllowed("The second yes was said to an earlier one.", mend="A second person looks again.")
    return Agreed(preview=same_scope(conn, keyring, row, last.scope), decision=last.decision, account=last.account)


# --- the answer -------------------------------------------------------------------------------------------------------


def release_scope(conn: db.Connection, ticket: str) -> bytes:
    """What is let go: of an access its package's parts, each by its hash; else what the ticket is about. 32 bytes."""
    row = db.queries().package_to_release(conn, ticket=ticket)
    if row is not None:
        return decisions.scope_of([f"{row.package} {row.parts}"])
    return decisions.scope_of(f.entry for f in _preview(conn, ticket).chosen)


def release(conn: db.Connection, ticket: str, *, account: str, actor: Actor) -> None:
    """The officer lets package or letter go: exactly this package; commits. Raises NotAllowed while there is none, or while
    it is not known of each recording what became of it."""
    decisions.require(conn, account, OFFICERS)
    row = _change(conn, ticket)
    after = tickets.move(State(row.state), State.released)
    db.queries().note_erasures(conn, ticket=ticket)
    _require_answer(conn, row)
    decisions.record(conn, ticket, "dsr_release", account, release_scope(conn, ticket), actor)
    move(conn, row, after, actor)
    conn.commit()


def record_delivery(
    conn: db.Connection,
    ticket: str,
    channel: Channel,
    *,
    years: int,
    account: str,
    actor: Actor,
    keyring: Keyring,
) -> Outcome:
    """Notes that the answer was handed over, which ends the ticket and what it froze; commits, and says what it came to.

    A package must have been released, as it is now; a letter goes with the word of whoever hands it over. Of a ticket that ended
    as deferred, once all has gone: that the person was told so, too. Raises NotAllowed while it is not known of each recording
    what became of it. What only the letter had to say of erased calls is forgotten, once all of it is told.
    """
    decisions.require(conn, account, OFFICERS)
    q = db.queries()
    db.lock_blockers(conn, exclusive=True)
    row = for_change(conn, ticket)
    before = State(row.state)
    q.note_erasures(conn, ticket=ticket)
    if before is State.closed and ticket in resumed(conn):
        q.ticket_resumed(conn, ticket=ticket)
        q.deliver(conn, ticket=ticket, kind="resumed", account=account, channel=channel)
        append(conn, actor, [TicketResumed(ticket=ticket, channel=channel)])
        answering.forget(conn, keyring, ticket)
        conn.commit()
        return "fulfilled"
    if before not in (State.carried_out, State.refused):
        tickets.move(before, State.delivered)
    _require_answer(conn, row)
    scope = release_scope(conn, ticket)
    if before in (State.carried_out, State.refused):
        if _has_package(conn, ticket):
            raise NotAllowed(
                "The package has not been released.", mend=f"`callkeeper ticket release {ticket}`, then hand it over."
            )
        decisions.record(conn, ticket, "dsr_release", account, scope, actor)
        move(conn, row, State.released, actor)
        before = State.released
    let_go = decisions.find(conn, ticket, "dsr_release")
    after = tickets.move(before, State.delivered)
    if let_go is None or let_go.scope != scope:
        raise NotAllowed(f"Nobody has released this answer of {ticket}.", mend=f"`callkeeper ticket release {ticket}`.")
    outcome = _outcome(conn, ticket, Right(row.access_right))
    q.deliver(conn, ticket=ticket, kind=outcome, account=account, channel=channel)
    q.package_delivered(conn, ticket=ticket, account=let_go.account)
    append(conn, actor, [TicketMoved(ticket=ticket, state_before=before, state_after=after)])
    _end(conn, ticket, after, outcome, years, actor)
    if outcome != "deferred":
        answering.forget(conn, keyring, ticket)
    conn.commit()
    return outcome


def _outcome(conn: db.Connection, ticket: str, right: Right) -> Outcome:
    q = db.queries()
    outcomes = {r.outcome: r.n for r in q.count_outcomes(conn, ticket=ticket)}
    if q.was_refused(conn, ticket=ticket):
        return "refused"
    if outcomes.get("deferred"):
        return "deferred"
    if not outcomes and right is not Right.objection:
        return "days_missing" if _missing(conn, ticket) else "no_data"
    return "fulfilled"


def _require_answer(conn: db.Connection, row: db.Row) -> None:
    """Raises NotAllowed while there is nothing that an answer could say, or hand over."""
    if db.queries().was_refused(conn, ticket=row.ticket):
        return
    waits = {r.outcome: r.n for r in db.queries().count_outcomes(conn, ticket=row.ticket)}.get(None)
    if waits and row.access_right in GOES:
        raise NotAllowed(
            f"{waits} of its recordings are still on their way out: the answer cannot say yet that they are gone.",
            mend="The next night deletes; what a person waits for a copy of goes after that. `callkeeper explain` tells of one.",
        )
    if row.access_right == Right.access and _preview(conn, row.ticket).chosen and not _has_package(conn, row.ticket):
        raise NotAllowed(
            "There is no package to hand over (any more).", mend="`callkeeper ticket take-back`, and make it anew."
        )


def _has_package(conn: db.Connection, ticket: str) -> bool:
    return db.queries().package_to_release(conn, ticket=ticket) is not None


def resumed(conn: db.Connection) -> list[str]:
    """Tickets that ended as deferred, and of which all has gone since: the person is told a second time."""
    return [row.ticket for row in db.queries().resumed_tickets(conn)]


def same_scope(conn: db.Connection, keyring: Keyring, row: db.Row, scope: bytes) -> Preview:
    """What the ticket is about, if it is still what a person saw: in the ticket and in a new search. Raises ScopeChanged."""
    seen = _preview(conn, row.ticket)
    out = {f.recording for f in seen.found if f.state == "excluded"}
    entries = {f.recording: f.entry for f in seen.found}
    now = decisions.scope_of(entries.get(r, str(r)) for r in _search(conn, keyring, row.ticket).keys() - out)
    if not scope or len({bytes(scope), bytes(row.scope or b""), seen.scope, now}) != 1:
        raise ScopeChanged
    return seen


def _yes(conn: db.Connection, row: db.Row, action: str) -> decisions.Decision:
    """The last yes of that kind to the ticket's present scope, as a row of ours (architecture, rule 13). Raises NotAllowed."""
    found = decisions.find(conn, row.ticket, action)
    no = max(
        (d.decision for kind in NOES if (d := decisions.find(conn, row.ticket, kind))), default=0
    )  # fmt: skip
    if found is None or found.scope != bytes(row.scope or b"") or found.decision < no:
        raise NotAllowed(f"Nobody has said {action} to what {row.ticket} is about now.", mend="Look at it again.")
    return found


def _sealed(keyring: Keyring, row: db.Row, **facts: str) -> bytes:
    """The ticket's free text with these added, sealed and bound to it."""
    known = _facts(keyring, row)
    return keyring.sealer("reference").seal(json.dumps(known | facts).encode(), row.ticket.encode())


def _facts(keyring: Keyring, row: db.Row) -> dict[str, str]:
    """The ticket's free text, in clear."""
    if not row.sealed_facts:
        return {}
    facts: dict[str, str] = json.loads(keyring.unseal("reference", row.sealed_facts, row.ticket.encode()))
    return facts


def _said(state: str) -> str:
    return state.replace("_", " ")


# --- the end ----------------------------------------------------------------------------------------------------------


def close(conn: db.Connection, ticket: str, outcome: ClosedAs, *, years: int, actor: Actor) -> int:
    """Ends a ticket by the officer's word, and what it froze with it; commits, and says how many blockers that were.

    Nothing is deleted by that: each recording's own clock goes on, and the next night decides (requirements, section 2).
    ``years``: until what is personal of it goes. Raises NotFound, or NotAllowed once something was carried out or refused.
    """
    show(conn, ticket)
    # Whoever places a blocker holds the lock: none of this ticket's can be coming.
    db.lock_blockers(conn, exclusive=True)
    freed = _end(conn, ticket, State(for_change(conn, ticket).state), outcome, years, actor)
    conn.commit()
    return freed


def _end(conn: db.Connection, ticket: str, before: State, outcome: str, years: int, actor: Actor) -> int:
    """Closes the ticket, and ends what it froze, in the caller's transaction, which holds the blockers' lock exclusively."""
    q = db.queries()
    after = tickets.move(before, State.closed)
    q.close_ticket(conn, ticket=ticket, outcome=outcome, years=years)
    append(conn, actor, [TicketMoved(ticket=ticket, state_before=before, state_after=after, reason=outcome)])
    return free(conn, ticket, actor)


def free(conn: db.Connection, ticket: str, actor: Actor) -> int:
    """Ends what the ticket froze, in the caller's transaction, which holds the blockers' lock exclusively; how many blockers.

    What outlasts the ticket stays.
    """
    found = [b.blocker for b in db.queries().end_ticket_blockers(conn, ticket=ticket)]
    append(conn, actor, [BlockerLapsed(blocker=blocker, ticket=ticket) for blocker in found])
    return len(found)


def forget_past_term(conn: db.Connection, actor: Actor) -> int:
    """Erases what is personal of tickets that are past their term, their salts too; commits, and says how many there were.

    From then on nobody can say whom their events were about (docs/adr/0188).
    """
    over = list(db.queries().forget_tickets(conn))
    for row in over:
        subjects.forget(conn, row.ticket)
    append(conn, actor, [TicketForgotten(ticket=row.ticket, erase_on=row.erase_on.isoformat()) for row in over])
    conn.commit()
    return len(over)


# --- looking ----------------------------------------------------------------------------------------------------------


def register(conn: db.Connection, *, closed: bool = False) -> list[Ticket]:
    """The tickets that are open, the most urgent first; ``closed``: and those that are over."""
    found = [_ticket(row) for row in db.queries().ticket_register(conn, ticket=None, all=closed)]
    conn.rollback()
    return found


def show(conn: db.Connection, ticket: str) -> Ticket:
    """One ticket, without anything personal. Raises NotFound."""
    _check_reference(ticket)
    q = db.queries()
    rows = list(q.ticket_register(conn, ticket=ticket, all=True))
    late = tuple(row.recording for row in q.ticket_too_late(conn, ticket=ticket))
    missing = _missing(conn, ticket)
    conn.rollback()
    if not rows:
        raise NotFound(f"There is no ticket {ticket}.", mend="`callkeeper ticket list` lists them.")
    return replace(_ticket(rows[0]), too_late=late, not_imported=() if rows[0].closed_at else missing)


def look(conn: db.Connection, ticket: str, keyring: Keyring, actor: Actor) -> list[Searched]:
    """What is searched for a ticket, in clear; the look is an event, which commits before anything is shown. Raises NotFound."""
    if show(conn, ticket).erased_at:
        raise NotFound(f"What was personal of {ticket} is erased: its term is over.")
    append(conn, actor, [TicketSeen(ticket=ticket)])
    conn.commit()
    found = searched(conn, keyring, ticket)
    conn.rollback()
    return list(found)


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
        answer_by=row.answer_by,
        identity=row.identity,
        outcome=row.outcome,
        closed_at=row.closed_at,
        erased_at=row.erased_at,
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
