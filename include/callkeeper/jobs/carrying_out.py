"""What was agreed on is done, by right: exactly that, on the word of the decisions' rows (architecture, rule 13).

Each effect is one transaction with its events: it asks for the rows under the locks that it needs, and can be run again. No audio
is touched here: what goes, goes by the journal, and the copy is made by ``packaging``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from callkeeper import blockers, db, decisions, tickets
from callkeeper.blockers import Blocker
from callkeeper.clock import add_months, helsinki_day
from callkeeper.controllers import OFFICERS
from callkeeper.errors import NotAllowed
from callkeeper.jobs import fulfilling, packaging
from callkeeper.retention import BlockerKind
from callkeeper.tickets import Correctable, LiftReason, Right, State
from callkeeper.trail.append import ANY, append
from callkeeper.trail.events import (
    Actor,
    BlockerKept,
    BlockerLapsed,
    CallerSuppressed,
    DeletionPlanned,
    Event,
    RecordingRectified,
    RestrictionLifting,
    TicketRestricted,
)

if TYPE_CHECKING:
    from callkeeper.wiring import App


def carry_out(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """Does what was agreed on for a ticket; commits, and says of how many recordings.

    Asks for the decisions' rows, all of them about the scope as it is now. Raises NotAllowed, ScopeChanged.
    """
    right = fulfilling.show(conn, ticket).right
    match right:
        case Right.access:
            return _copy(conn, app, ticket, actor)
        case Right.erasure:
            return _erase(conn, app, ticket, actor)
        case Right.objection:
            return _uphold(conn, app, ticket, actor)
        case Right.restriction:
            return _restrict(conn, app, ticket, actor)
        case Right.rectification:
            return _rectify(conn, app, ticket, actor)
        case _:
            raise NotAllowed(
                f"{ticket} asks for {right}: there is nothing to carry out.",
                mend=f"`callkeeper ticket refuse {ticket} --ground not_applicable`.",
            )


# --- access -----------------------------------------------------------------------------------------------------------


def _copy(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """Has the package made; where nothing was found there is none, and the letter is the answer."""
    row = fulfilling.for_change(conn, ticket)
    which = fulfilling.agreed(conn, app.keyring, row).preview.chosen
    if not which:
        fulfilling.move(conn, row, State.carried_out, actor)
        conn.commit()
        return 0
    # It takes minutes, asks for the rows itself, before and after, and holds no lock meanwhile.
    conn.rollback()
    packaging.make(conn, app, ticket, actor)
    return len(which)


def take_back(conn: db.Connection, ticket: str, account: str, actor: Actor) -> None:
    """A copy that was made is not handed over: the officer looks again; commits. Its package goes, by the one destroyer.

    No earlier yes counts any more. Raises NotAllowed for all but an access whose copy is not delivered yet.
    """
    decisions.require(conn, account, OFFICERS)
    fulfilling.show(conn, ticket)
    row = fulfilling.for_change(conn, ticket)
    after = tickets.taken_back(Right(row.access_right), State(row.state))
    packaging.withdraw(conn, ticket, actor)
    db.queries().forget_outcomes(conn, ticket=ticket)
    fulfilling.take_back_yes(conn, row, "dsr_take_back", after, account, actor)
    conn.commit()


# --- erasure ----------------------------------------------------------------------------------------------------------


def _erase(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """Plans the erasure of exactly what two people approved: it goes by the next night.

    The journal takes it from here: what a hold covers is deferred, and resumed by the night after its release; what somebody
    waits for a copy of goes after that delivery; the vendor's copy goes too.
    """
    # Whoever places a hold now is found by the night, which asks again; a statement of its own, before the look.
    db.lock_blockers(conn, exclusive=False)
    row = fulfilling.for_change(conn, ticket)
    what = fulfilling.agreed(conn, app.keyring, row)
    which = [f.recording for f in what.preview.chosen]
    _plan(conn, which, "erasure_approved", what.decision, actor)
    fulfilling.move(conn, row, State.carried_out, actor)
    conn.commit()
    return len(which)


def _plan(conn: db.Connection, recordings: list[UUID], trigger: str, decision: int, actor: Actor) -> None:
    """Puts what goes into the journal, in the caller's transaction: from the catalogue, from what import refused, and from
    quarantine, which that decides."""
    q, alike = db.queries(), dict[Event, list[UUID]]()
    # A statement of its own: what they were is not to be read any more by the one that changes them.
    was = {r.recording: r.state for r in q.lock_journal(conn, recordings=recordings)}
    facts = {"recordings": recordings, "trigger": trigger, "decision": decision}
    rows = [
        *((p, was.get(p.recording, "live")) for p in q.plan_erasure(conn, **facts)),
        *((p, was.get(p.recording, "planned")) for p in q.plan_before_term(conn, **facts)),
        *((p, "quarantined") for p in q.plan_quarantined(conn, **facts)),
    ]
    for planned, before in rows:
        event = DeletionPlanned(
            recording=ANY, controller=planned.controller, vendor=planned.vendor, trigger=trigger,
            reason="subject_request", state_before=before,
        )  # fmt: skip
        alike.setdefault(event, []).append(planned.recording)
    append(conn, actor, (), alike=alike)


# --- objection --------------------------------------------------------------------------------------------------------


def _uphold(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """An objection that two people uphold (GDPR Art. 21): what was found goes, and what is still to come is not kept.

    In one transaction: the objection's own restriction ends, since it would keep what is to go and what comes in; the recordings
    are planned; calls from its numbers are suppressed under every live key, until their review day.
    """
    db.lock_blockers(conn, exclusive=True)
    row, q = fulfilling.for_change(conn, ticket), db.queries()
    what = fulfilling.agreed(conn, app.keyring, row)
    which = [f.recording for f in what.preview.chosen]
    fulfilling.free(conn, ticket, actor)
    _plan(conn, which, "objection_upheld", what.decision, actor)
    marks = {
        mark: key
        for one in fulfilling.searched(conn, app.keyring, ticket)
        if one.number
        for key, mark in app.keyring.pseudonyms(one.number).items()
    }
    if marks:
        until = add_months(helsinki_day(db.now(conn)), tickets.SUPPRESSED_MONTHS)
        n = q.suppress_callers(conn, ticket=ticket, marks=list(marks), keys=list(marks.values()), until=until)
        append(conn, actor, [CallerSuppressed(ticket=ticket, marks=n, review_on=until.isoformat())])
    fulfilling.move(conn, row, State.carried_out, actor)
    conn.commit()
    return len(which)


def review_suppression(conn: db.Connection, ticket: str, keep_until: date | None, *, account: str, actor: Actor) -> int:
    """Somebody has looked again whether calls from an objection's numbers are still not to be kept (numbers change hands).

    ``keep_until``: the next review; None ends it, and the hashes go. Commits; says how many marks that were. Raises NotAllowed.
    """
    decisions.require(conn, account, OFFICERS)
    fulfilling.show(conn, ticket)
    row, q, today = fulfilling.for_change(conn, ticket), db.queries(), helsinki_day(db.now(conn))
    if not q.suppressed_by(conn, ticket=ticket):
        raise NotAllowed(f"No number is suppressed by {ticket} (any more).")
    _check_review(keep_until, today, tickets.SUPPRESSED_MONTHS)
    decisions.record(conn, ticket, "dsr_suppression", account, bytes(row.scope or b""), actor)
    n: int = q.review_callers(conn, ticket=ticket, until=keep_until)
    told = CallerSuppressed(ticket=ticket, marks=n, review_on=keep_until.isoformat() if keep_until else None)
    append(conn, actor, [told])
    conn.commit()
    return n


def _check_review(on: date | None, today: date, months: int) -> None:
    if on is not None and not today < on <= add_months(today, months):
        raise NotAllowed(f"The next review is after today, and within {months} months.")


# --- restriction ------------------------------------------------------------------------------------------------------


def _restrict(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """Restricts exactly the confirmed recordings (GDPR Art. 18), beyond the ticket's end, until it is lifted.

    What the ticket froze at its intake, by number and for calls to come, ends with the ticket as ever.
    """
    db.lock_blockers(conn, exclusive=True)
    row, q = fulfilling.for_change(conn, ticket), db.queries()
    what = fulfilling.agreed(conn, app.keyring, row)
    which = [f.recording for f in what.preview.chosen if f.place != "gone"]
    standing = None
    if which:
        review_on = add_months(helsinki_day(db.now(conn)), tickets.RESTRICTED_MONTHS)
        standing = Blocker(
            blocker=uuid4(), kind=BlockerKind.restriction, case_ref=ticket, placed_by=what.account, review_on=review_on,
            recordings=tuple(which),
        )  # fmt: skip
        blockers.add(conn, standing, actor)
        q.restrict_by(conn, ticket=ticket, blocker=standing.blocker)
        append(conn, actor, [_stands(ticket, standing.blocker, len(which), review_on)])
    q.note_outcomes(conn, ticket=ticket, recordings=which, outcome="restricted")
    fulfilling.move(conn, row, State.carried_out, actor)
    conn.commit()
    if standing:
        blockers.cover(conn, standing.blocker)
    return len(which)


def _stands(ticket: str, blocker: UUID, recordings: int, review_on: date) -> TicketRestricted:
    return TicketRestricted(ticket=ticket, blocker=blocker, recordings=recordings, review_on=review_on.isoformat())


def keep_restriction(conn: db.Connection, ticket: str, review_on: date, *, account: str, actor: Actor) -> None:
    """Somebody has looked at a restriction again, and it stands until the next review; commits.

    An end that was announced is taken back by that. Raises NotAllowed once the person was told of one: she relies on it.
    """
    decisions.require(conn, account, OFFICERS)
    standing = _standing(conn, ticket)
    _check_review(review_on, standing.today, tickets.RESTRICTED_MONTHS)
    if standing.lifts_on is not None and standing.told_at is not None:
        raise NotAllowed(
            f"The person was told that it ends on {standing.lifts_on}.",
            mend=f"A later end is announced, and told, anew: `callkeeper ticket lifting {ticket}`.",
        )
    decisions.record(conn, ticket, "dsr_restriction", account, decisions.scope_of(standing.recordings), actor)
    db.queries().review_blocker(conn, blocker=standing.blocker, review_on=review_on)
    db.queries().announce_lifting(conn, ticket=ticket, lifts_on=None, reason=None)
    append(conn, actor, [_stands(ticket, standing.blocker, len(standing.recordings), review_on)])
    conn.commit()


def announce_lifting(
    conn: db.Connection, ticket: str, lifts_on: date, reason: LiftReason, *, account: str, actor: Actor
) -> None:
    """A restriction is to end on that day; the person must be told before (GDPR Art. 18(3)). Nothing ends yet; commits.

    Announced anew, it is told anew. Raises NotAllowed for a day that leaves no time for that, or if nothing is restricted.
    """
    decisions.require(conn, account, OFFICERS)
    standing = _standing(conn, ticket)
    if reason not in tickets.LIFT_REASONS:
        raise NotAllowed("This is no reason to lift a restriction.", mend=f"Known: {', '.join(tickets.LIFT_REASONS)}.")
    if lifts_on <= standing.today:
        raise NotAllowed("The person is told first: a restriction ends on a later day, tomorrow at the earliest.")
    decisions.record(conn, ticket, "dsr_lifting", account, decisions.scope_of(standing.recordings), actor)
    db.queries().announce_lifting(conn, ticket=ticket, lifts_on=lifts_on, reason=reason)
    told = RestrictionLifting(ticket=ticket, blocker=standing.blocker, lifts_on=lifts_on.isoformat(), reason=reason)
    append(conn, actor, [told])
    conn.commit()


def lift(conn: db.Connection, ticket: str, *, account: str, actor: Actor) -> int:
    """Ends a restriction, on the day that was announced and once the person was told of it; commits, says of how many recordings.

    Nothing is deleted by that: each recording's own clock goes on. Raises NotAllowed before.
    """
    decisions.require(conn, account, OFFICERS)
    fulfilling.show(conn, ticket)
    db.lock_blockers(conn, exclusive=True)
    standing = _standing(conn, ticket)
    if standing.lifts_on is None or standing.announced_at is None:
        raise NotAllowed(
            "Its end was not announced.", mend=f"`callkeeper ticket lifting {ticket}`: the person is told first."
        )
    if standing.told_at is None:
        raise NotAllowed(
            "The person has not been told of its end: no letter `restriction_lifting` was sent.",
            mend=f"`callkeeper ticket letter {ticket} restriction_lifting`, and note that it was sent.",
        )
    if standing.today < standing.lifts_on:
        raise NotAllowed(f"The person was told that it ends on {standing.lifts_on}: not before.")
    decisions.record(conn, ticket, "dsr_lift", account, decisions.scope_of(standing.recordings), actor)
    db.queries().end_blocker(conn, blocker=standing.blocker)
    append(conn, actor, [BlockerLapsed(blocker=standing.blocker, ticket=ticket)])
    conn.commit()
    return len(standing.recordings)


def _standing(conn: db.Connection, ticket: str) -> db.Row:
    """The restriction that stands by a ticket, which nobody else changes until the transaction ends. Raises NotFound, NotAllowed."""
    fulfilling.for_change(conn, ticket)
    found = db.queries().standing_restriction(conn, ticket=ticket)
    if found is None:
        raise NotAllowed(f"No restriction stands by {ticket} (any more).")
    return found


# --- rectification ----------------------------------------------------------------------------------------------------


def _rectify(conn: db.Connection, app: App, ticket: str, actor: Actor) -> int:
    """Puts right what was agreed on (GDPR Art. 16): number, time, line; pseudonym, term and company follow. Audio is never edited.

    Blockers meet the row as it is now: what covered it goes on covering it, and what covers it by now is noted. What is planned to
    go by its term is decided anew by the night; what a person's yes has planned goes. A statement stays sealed in the ticket.
    """
    # As import, which corrects rows too: a statement of its own, before the look.
    db.lock_blockers(conn, exclusive=False)
    row, q = fulfilling.for_change(conn, ticket), db.queries()
    what = fulfilling.agreed(conn, app.keyring, row)
    chosen = {f.recording for f in what.preview.chosen}
    drafts: dict[UUID, dict[Correctable, str]] = {}
    for c in fulfilling.corrections(conn, app.keyring, ticket):
        if c.recording in chosen:
            drafts.setdefault(c.recording, {})[c.what] = c.after
    q.hold_ways_out(conn, recordings=list(drafts))
    there = {r.recording: r for r in q.lock_catalogued(conn, recordings=list(drafts))}
    if lost := [r for r in drafts if r not in there or there[r].state == "sending"]:
        raise NotAllowed(
            f"{len(lost)} of the recordings have left the catalogue, or are leaving it: nothing can be put right of them any more.",
            mend=f"`callkeeper ticket preview {ticket}` shows what is left.",
        )
    rows = _rightly(conn, app, there, {r: draft for r, draft in drafts.items() if draft.keys() - {"statement"}})
    events: list[Event] = []
    if rows:
        columns = {name: [getattr(r, name) for r in rows] for name in _Right.__dataclass_fields__}
        facts = {
            "recordings": columns["recording"], "controllers": columns["controller"], "lines": columns["line"],
            "started_ats": columns["started_at"], "pseudonyms": columns["pseudonym"], "numbers": columns["renumbered"],
        }  # fmt: skip
        kept = list(q.keep_rectified(conn, **facts))
        events += [BlockerKept(blocker=k.blocker, recording=k.recording) for k in kept]
        q.rectify(
            conn,
            ticket=ticket,
            pseudonym_key=app.keyring.key_id,
            sealed_numbers=columns["sealed_number"],
            **facts,
        )
        q.cover_rectified(conn, recordings=columns["recording"])
        events += [
            RecordingRectified(
                recording=r.recording,
                controller=r.controller,
                changed=tuple(sorted(drafts[r.recording].keys() - {"statement"})),
            )
            for r in rows
        ]
    q.corrections_applied(conn, ticket=ticket, recordings=list(drafts))
    q.note_outcomes(conn, ticket=ticket, recordings=list(drafts), outcome="corrected")
    append(conn, actor, events)
    fulfilling.move(conn, row, State.carried_out, actor)
    conn.commit()
    return len(drafts)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Right:
    """A recording's row as it will be."""

    recording: UUID
    controller: str
    line: str
    started_at: datetime
    renumbered: bool
    pseudonym: bytes | None
    sealed_number: bytes | None


def _rightly(
    conn: db.Connection, app: App, there: Mapping[UUID, db.Row], drafts: Mapping[UUID, Mapping[Correctable, str]]
) -> list[_Right]:
    """What rows become; their company is the line's on the day of the call. Raises NotAllowed if it was nobody's then."""
    lines = {r: draft.get("line", there[r].line) for r, draft in drafts.items()}
    starts = {
        r: datetime.fromisoformat(draft["time"]) if "time" in draft else there[r].started_at
        for r, draft in drafts.items()
    }
    facts = {"recordings": list(drafts), "lines": list(lines.values()), "started_ats": list(starts.values())}
    owners = {o.recording: o.controller for o in db.queries().line_owners(conn, **facts)}
    return [
        _right(app, there[r], owner=owners.get(r), line=lines[r], started_at=starts[r], number=draft.get("number"))
        for r, draft in drafts.items()
    ]


def _right(app: App, row: db.Row, *, owner: str | None, line: str, started_at: datetime, number: str | None) -> _Right:
    if owner is None:
        raise NotAllowed(
            f"On that day the line of recording {row.recording} was not designated, so the call would have been recorded unlawfully.",
            mend="Look at the register; `callkeeper approve unlawful` decides on such finds.",
        )
    inbound, policy = row.direction == "inbound", app.config.policy.other_party
    if number and not inbound and policy == "discard":
        raise NotAllowed("The other party's number is not kept on outbound calls: there is none to put right.")
    sealed = None
    if number and (inbound or policy == "store"):
        sealed = app.keyring.sealer("number").seal(number.encode(), row.identity)
    return _Right(
        recording=row.recording,
        controller=owner,
        line=line,
        started_at=started_at,
        renumbered=number is not None,
        pseudonym=app.keyring.pseudonym(number) if number else None,
        sealed_number=sealed,
    )
