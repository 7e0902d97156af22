"""A ticket is led through its stretches: each Airflow run carries it to the next thing that a person must do, or to its end.

The ticket's row holds the lease: one run carries it, and an answer given to any other does not count (docs/adr/0241). What a person
answers becomes a row of ours through ``fulfilling``; nothing here believes the colour of a task (architecture, rule 13).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from callkeeper import controllers, db, decisions, tickets
from callkeeper.controllers import OFFICERS, SECONDERS
from callkeeper.errors import NotAllowed
from callkeeper.jobs import carrying_out, fulfilling
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.jobs.fulfilling import READERS, Ticket
from callkeeper.tickets import SCOPE_CHARACTERS, ExtensionReason, Right, State, TicketId
from callkeeper.trail.events import Actor

if TYPE_CHECKING:
    from callkeeper.wiring import App

_T = TypeVar("_T", bound=str)
Question = Literal["decide", "second", "release", "deliver"]
"""What a run asks a person in Airflow, by the name of its task."""
QUESTIONS: tuple[Question, ...] = get_args(Question)
WaitsFor = Literal["identity", "person", "decide", "second", "night", "release", "deliver", "end"]
"""What a ticket waits for. ``identity``: that somebody notes who asks; ``person``: that who asks says what they mean; ``night``: that the
next night has deleted; ``end``: nothing."""
What = Literal["advance", "dry_run", "extend", "take_over"]
WHATS: tuple[What, ...] = get_args(What)

OPTIONS: Mapping[Question, tuple[str, ...]] = {
    "decide": ("Approve", "Narrow", "Refuse", "Ask for identity", "Ask for clarification", "Extend"),
    "second": ("Approve", "Reject"),
    "release": ("Release", "Take back"),
    "deliver": ("Delivered", "Not yet"),
}
"""The answers that each question knows: what the DAG's tasks offer, and the page."""
ANSWERERS: Mapping[Question, tuple[str, ...]] = {
    "decide": OFFICERS,
    "second": SECONDERS,
    "release": OFFICERS,
    "deliver": OFFICERS,
}
"""Whose answer counts: the duties in [people], as applied last."""
WORK_MINUTES = 6 * 60
"""A run works so long at most before it asks or ends; its task ends before that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """How far a run has carried a ticket: nothing personal.

    ``question``: what the run asks now, with ``text`` for the person who answers (Markdown). ``goes_on``: the id of the run that takes over.
    """

    ticket: TicketId
    right: Right
    state: State
    waits_for: WaitsFor
    question: Question | None
    text: str
    counts: Mapping[str, int] = field(default_factory=dict)
    goes_on: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Which run carries a ticket, and what it has asked; None: no run does. ``next_run``: the id of the one that comes next."""

    run: str | None
    question: Question | None
    next_run: str


Lives = Callable[[str], bool | None]
"""Whether a run still waits or works in Airflow; None: nobody can say."""


def _nobody_can_say(_: str) -> bool | None:
    return None


# --- a run begins -----------------------------------------------------------------------------------------------------


def begin(
    app: App,
    conn: db.Connection,
    *,
    ticket: str,
    right: str,
    what: What,
    run: str,
    account: str | None,
    actor: Actor,
    extension_reason: ExtensionReason | None = None,
    lives: Lives = _nobody_can_say,
) -> Stretch:
    """Takes the ticket for this run, does what a machine can, and says what a person is asked now; commits. Safe to run again.

    ``account``: who triggered the run. ``lives``: whether another run that has the ticket is still there. Raises NotAllowed, in words,
    to a run whose right is not the ticket's, to somebody who may not, and while another run carries the ticket.
    """
    found = fulfilling.show(conn, ticket)
    try:
        _may_begin(app, conn, found, right, what, account)
        if what == "dry_run":
            return _dry_run(app, conn, found)
        if what == "extend":
            if extension_reason is None:
                raise NotAllowed(
                    "An extension needs its reason.", mend=f"One of: {', '.join(tickets.EXTENSION_REASONS)}."
                )
            # It needs no lease: whatever the other run has asked stays the same question.
            if found.extended_to is None:
                fulfilling.extend(conn, ticket, extension_reason, actor)
            if other := _carried_by_another(conn, ticket, run, lives):
                stands = _look(conn, fulfilling.show(conn, ticket))
                return replace(stands, question=None, text=f"{ticket} is extended. {other}")
        _take(conn, ticket, run, what, lives)
    except NotAllowed:
        conn.rollback()
        db.queries().count_stretch(conn, ticket=ticket, stretches=_number(ticket, run))
        conn.commit()
        raise
    stretch = advance(app, conn, ticket, actor)
    db.queries().ask_question(conn, ticket=ticket, run=run, question=stretch.question)
    conn.commit()
    return stretch


def _may_begin(app: App, conn: db.Connection, found: Ticket, right: str, what: What, account: str | None) -> None:
    if right != found.right:
        raise NotAllowed(f"{found.ticket} asks for {found.right}, not for {right}.", mend="Nothing was done.")
    if not account:
        raise NotAllowed("Nobody's account has triggered this run.", mend="Trigger it by hand, signed in.")
    needed = READERS if what in ("advance", "dry_run") else OFFICERS
    if not controllers.duties(conn, app.config, account).intersection(needed):
        raise NotAllowed(
            f"{account} may not do this.", mend=f"It takes one of: {', '.join(needed)} ([people] in the configuration)."
        )


@contextmanager
def _alone(conn: db.Connection, ticket: str) -> Iterator[None]:
    """Nobody else takes this ticket, or records an answer about it, meanwhile.

    Held by the connection, not by a transaction: what is done has transactions of its own.
    """
    q = db.queries()
    q.lead_alone(conn, ticket=ticket)
    conn.commit()
    try:
        yield
    finally:
        # A connection that is broken lets go by itself.
        if not conn.closed:
            conn.rollback()
            q.let_lead_go(conn, ticket=ticket)
            conn.commit()


def _take(conn: db.Connection, ticket: str, run: str, what: What, lives: Lives) -> None:
    """Takes the lease for this run and commits, or raises NotAllowed."""
    q = db.queries()
    looked = q.led(conn, ticket=ticket)
    conn.rollback()
    # Airflow is asked before anything is locked: that may take as long as it likes.
    other = _other(ticket, looked, run, lives)
    with _alone(conn, ticket):
        row = q.lead(conn, ticket=ticket)
        if row != looked:
            # What Airflow said was of another run, or of another question.
            other = _other(ticket, row, run, _nobody_can_say)
        taken_over = what == "take_over" and not row.works
        if not taken_over and other:
            raise NotAllowed(other, mend=_MEND[row.question is not None])
        stretches = row.stretches if row.run == run else max(row.stretches + 1, _number(ticket, run))
        q.take_lease(conn, ticket=ticket, run=run, stretches=stretches, minutes=WORK_MINUTES)
        conn.commit()


_MEND = {
    True: "Answer it there; or trigger take_over, if nobody can any more: the other run's answer does not count then.",
    False: "Wait until it is done.",
}


def _carried_by_another(conn: db.Connection, ticket: str, run: str, lives: Lives) -> str | None:
    row = db.queries().led(conn, ticket=ticket)
    conn.rollback()
    return _other(ticket, row, run, lives)


def _other(ticket: str, row: db.Row, run: str, lives: Lives) -> str | None:
    """Which other run has the ticket, in words; None where none has. One that has ended in Airflow has it no more."""
    if row.run in (None, run) or not (row.question or row.works) or lives(row.run) is False:
        return None
    doing = f"waits for an answer ({row.question})" if row.question else "is at work"
    return f"The run {row.run} carries {ticket}, and {doing}."


def next_run(ticket: str, stretches: int) -> str:
    """The id of the run that comes after so many."""
    return f"{ticket}--{stretches + 1}"


def _number(ticket: str, run: str) -> int:
    """The number of a run of that ticket that we have named; 0 for a run with an id of Airflow's."""
    ours = re.fullmatch(re.escape(ticket) + r"--([0-9]{1,6})", run, re.ASCII)
    return int(ours[1]) if ours else 0


def where(conn: db.Connection, ticket: str) -> Where:
    """Which run carries a ticket. Raises NotFound."""
    fulfilling.show(conn, ticket)
    row = db.queries().led(conn, ticket=ticket)
    conn.rollback()
    carried = row.question is not None or row.works
    return Where(run=row.run if carried else None, question=row.question, next_run=next_run(ticket, row.stretches))


def _dry_run(app: App, conn: db.Connection, found: Ticket) -> Stretch:
    """Where the ticket stands, and what a search would find now. Changes nothing."""
    stands = replace(_look(conn, found), question=None)
    if found.identity == "unproven" or found.state is State.closed:
        return stands
    counts = fulfilling.would_find(conn, app.keyring, found.ticket)
    said = ", ".join(f"{n} of {controller}" for controller, n in counts.items()) or "no recording"
    return replace(
        stands, counts=counts, text=f"A dry run: nothing was changed. A search would find {said}.\n\n{stands.text}"
    )


# --- what a machine can do --------------------------------------------------------------------------------------------


def advance(app: App, conn: db.Connection, ticket: str, actor: Actor) -> Stretch:
    """Does every step that needs nobody: searches and previews, carries out what was decided; commits each. Safe to run again.

    Ends where a person is needed, or the night, or at the ticket's end.
    """
    changed = False
    found = fulfilling.show(conn, ticket)
    while True:
        match found.state:
            case State.open if found.identity != "unproven":
                fulfilling.preview(conn, app.keyring, ticket, actor)
            case State.narrowed:
                fulfilling.preview(conn, app.keyring, ticket, actor)
            case State.approved if not _takes_two(conn, found):
                changed = _carried_out(app, conn, ticket, actor) is None
            case State.seconded:
                changed = _carried_out(app, conn, ticket, actor) is None
            case _:
                break
        found = fulfilling.show(conn, ticket)
    if found.state is State.previewed:
        # What has come since is asked about as well.
        fulfilling.preview(conn, app.keyring, ticket, actor)
    stretch = _look(conn, fulfilling.show(conn, ticket))
    if changed:
        return replace(stretch, text=f"What the request is about has changed since it was approved.\n\n{stretch.text}")
    return stretch


def _carried_out(app: App, conn: db.Connection, ticket: str, actor: Actor) -> int | None:
    """How many recordings it was done to; None, and a new preview, if they are not the ones that were approved."""
    try:
        return carrying_out.carry_out(conn, app, ticket, actor)
    except ScopeChanged:
        conn.rollback()
        fulfilling.preview(conn, app.keyring, ticket, actor)
        return None


def _look(conn: db.Connection, found: Ticket) -> Stretch:
    """Where the ticket stands, and in words what that asks of whom. Changes nothing."""
    seen = fulfilling.seen(conn, found.ticket)
    waits_for = _waits_for(conn, found)
    question: Question | None = waits_for if waits_for in QUESTIONS else None
    return Stretch(
        ticket=found.ticket,
        right=found.right,
        state=found.state,
        waits_for=waits_for,
        question=question,
        text=_text(found, seen, waits_for, decisions.find(conn, found.ticket, "dsr_approve")),
        counts=seen.counts,
    )


def _waits_for(conn: db.Connection, found: Ticket) -> WaitsFor:
    match found.state:
        case State.identity_asked:
            return "identity"
        case State.open:
            return "identity" if found.identity == "unproven" else "decide"
        case State.clarification_asked:
            return "person"
        case State.previewed | State.narrowed:
            return "decide"
        case State.approved if _takes_two(conn, found):
            return "second"
        case State.approved | State.seconded:
            return "release"
        case State.carried_out:
            return "night" if on_their_way(conn, found.ticket) else "release"
        case State.refused:
            return "release"
        case State.released:
            return "deliver"
        case State.closed if found.ticket in fulfilling.resumed(conn):
            return "deliver"
        case _:
            return "end"


def _takes_two(conn: db.Connection, found: Ticket) -> bool:
    return tickets.takes_two(found.right, found.identity, len(fulfilling.seen(conn, found.ticket).chosen))


def on_their_way(conn: db.Connection, ticket: str | None = None) -> frozenset[TicketId]:
    """The tickets of which some recordings are to go and only the next night says what becomes of them; of one, itself or none."""
    found = frozenset(TicketId(row.ticket) for row in db.queries().tickets_on_their_way(conn, ticket=ticket))
    conn.rollback()
    return found


_ASKS: Mapping[WaitsFor, str] = {
    "identity": "Nobody has noted yet who asks. Prove the identity on the privacy desk or with `callkeeper ticket identity`, then trigger `advance`.",
    "person": "Whoever asks was asked what they mean. Once they have answered, note it (`callkeeper ticket answered`), then trigger `advance`.",
    "decide": "**Decide.** Look at the recordings on the privacy desk (or with `callkeeper ticket preview`) first.",
    "second": "**A second person's yes.** Look at what it is about on the privacy desk first. You are not the one who approved it.",
    "night": "What was approved goes with the next night's deletion; what a copy is still waited for, in the night after its delivery. After it, trigger `advance`.",
    "release": "**Release.** The answer is ready. Read the letter on the privacy desk; with your yes it may be handed over.",
    "deliver": "**Deliver.** Hand the answer over; then answer here how that was done.",
    "end": "Nothing is left to do.",
}


def _text(found: Ticket, seen: fulfilling.Preview, waits_for: WaitsFor, first: decisions.Decision | None) -> str:
    """What is shown with a question: counts, a hash, days. Nothing personal, and nothing of why something is held."""
    counts = ", ".join(f"{n} of {controller}" for controller, n in seen.counts.items()) or "none"
    left = found.days_left
    facts = {
        "Request": f"{found.ticket}, {found.right}",
        "State": found.state.replace("_", " "),
        "Due": "-"
        if left is None
        else f"{found.extended_to or found.due_on} ({f'{left} days left' if left >= 0 else f'{-left} days ago'})",
        "Identity": found.identity,
    }
    if waits_for == "second" and first is not None and first.code:
        facts["Ground"] = first.code.replace("_", " ")
    if found.state not in (State.open, State.identity_asked, State.clarification_asked):
        facts["Recordings"] = counts
        facts["Scope"] = f"`{seen.scope.hex()[:SCOPE_CHARACTERS]}`"
        if out := sum(f.state == "excluded" for f in seen.found):
            facts["Left out"] = str(out)
        if elsewhere := sum(bool(f.open_elsewhere) for f in seen.found if f.state != "excluded"):
            facts["Another request is about"] = str(elsewhere)
    if seen.not_imported:
        facts["Days not imported yet"] = "; ".join(map(str, seen.not_imported))
    return "\n".join([_ASKS[waits_for], "", *(f"- {name}: {value}" for name, value in facts.items())])


def asked(app: App, conn: db.Connection, ticket: str, question: Question) -> tuple[str, ...]:
    """The accounts that may answer: those in force, for the second yes never the one who said the first. Raises NotAllowed if there is none."""
    found = controllers.accounts(conn, app.config, ANSWERERS[question])
    if question == "second":
        first = decisions.find(conn, ticket, "dsr_approve")
        conn.rollback()
        found = tuple(account for account in found if first is None or account != first.account)
    if not found:
        raise NotAllowed(
            f"Nobody may answer {ticket} now ({question}).", mend="[people] in the configuration names who."
        )
    return found


# --- a person answers -------------------------------------------------------------------------------------------------


def record(
    app: App,
    conn: db.Connection,
    *,
    ticket: str,
    question: str,
    chosen: str,
    params: Mapping[str, object],
    run: str,
    account: str,
    actor: Actor,
) -> Stretch:
    """Makes rows of ours of a person's answer, and says whether another run goes on; commits. Safe to run again: it counts once.

    An answer that cannot be carried out (a scope that has changed, a ground that does not fit) changes nothing: its text says why, and the
    next run asks again. Raises NotAllowed for an answer to a run that does not carry the ticket.
    """
    with _alone(conn, ticket):
        return _record(app, conn, ticket, question, chosen, params, run, account, actor)


def _record(
    app: App,
    conn: db.Connection,
    ticket: str,
    question: str,
    chosen: str,
    params: Mapping[str, object],
    run: str,
    account: str,
    actor: Actor,
) -> Stretch:
    q, found = db.queries(), fulfilling.show(conn, ticket)
    row = q.led(conn, ticket=ticket)
    conn.rollback()
    if row.run != run:
        raise NotAllowed(
            f"This run does not carry {ticket} any more: the answer does not count.",
            mend=f"{row.run} does." if row.run else "Trigger `advance`.",
        )
    if row.question is None:
        # Recorded already: the task runs again.
        return _after(conn, ticket, row, goes_on=None)
    if question != row.question or question not in QUESTIONS or chosen not in OPTIONS[question]:
        raise NotAllowed(f"{run} has not asked that.", mend="Nothing was recorded.")
    said = ""
    goes_on: bool | None = (question, chosen) not in _ENDS
    if _waits_for(conn, found) != question:
        # A worker that was killed in between, or the command line.
        said, goes_on = f"{ticket} does not wait for this answer any more: it was recorded before.", None
    elif not controllers.duties(conn, app.config, account).intersection(ANSWERERS[question]):
        said, goes_on = f"The answer does not count: {account} may not give it.", True
    else:
        try:
            _carry(app, conn, ticket, question, chosen, params, account, actor)
        except (NotAllowed, ScopeChanged) as refused:
            conn.rollback()
            said, goes_on = f"Nothing was recorded. {refused}", True
    q.ask_question(conn, ticket=ticket, run=run, question=None)
    conn.commit()
    after = _after(conn, ticket, row, goes_on=goes_on)
    said = said or f"{chosen}, says {account}."
    return replace(after, text=f"{said}\n\n{f'{after.goes_on} goes on.' if after.goes_on else after.text}")


_ENDS = {
    ("decide", "Ask for identity"),
    ("decide", "Ask for clarification"),
    ("deliver", "Delivered"),
    ("deliver", "Not yet"),
}
"""The answers after which a run has nothing to go on with."""


def _after(conn: db.Connection, ticket: str, row: db.Row, *, goes_on: bool | None) -> Stretch:
    """Where the ticket stands after an answer; ``goes_on`` None: another run goes on if there is something to ask."""
    stretch = _look(conn, fulfilling.show(conn, ticket))
    if goes_on is None:
        goes_on = stretch.question is not None
    return replace(stretch, question=None, goes_on=next_run(ticket, row.stretches) if goes_on else None)


def _carry(
    app: App,
    conn: db.Connection,
    ticket: str,
    question: Question,
    chosen: str,
    params: Mapping[str, object],
    account: str,
    actor: Actor,
) -> None:
    """The answer, as what ``fulfilling`` knows. Raises NotAllowed or ScopeChanged, having changed nothing."""
    match question, chosen:
        case "decide", "Approve":
            scope, typed = _scope(conn, ticket, params), params.get("erasure_ground")
            why = None if typed is None else _one_of(tickets.ERASURE_GROUNDS, typed, "erasure_ground")
            fulfilling.approve(conn, app.keyring, ticket, scope=scope, ground=why, account=account, actor=actor)
        case "decide", "Refuse":
            ground = _one_of(tickets.GROUNDS, params.get("ground"), "ground")
            fulfilling.refuse(conn, app.keyring, ticket, ground, account=account, actor=actor)
        case "decide", "Extend":
            reason = _one_of(tickets.EXTENSION_REASONS, params.get("extension_reason"), "extension_reason")
            fulfilling.extend(conn, ticket, reason, actor)
        case "decide", "Ask for identity":
            fulfilling.ask(conn, ticket, "identity", actor)
        case "decide", "Ask for clarification":
            fulfilling.ask(conn, ticket, "clarification", actor)
        case "second", "Approve":
            fulfilling.second(conn, ticket, scope=_scope(conn, ticket, params), account=account, actor=actor)
        case "second", "Reject":
            fulfilling.not_seconded(conn, ticket, account=account, actor=actor)
        case "release", "Release":
            fulfilling.release(conn, ticket, account=account, actor=actor)
        case "release", "Take back":
            carrying_out.take_back(conn, ticket, account, actor)
        case "deliver", "Delivered":
            channel = _one_of(tickets.CHANNELS, params.get("channel"), "channel")
            years = app.config.terms.tickets_years
            fulfilling.record_delivery(
                conn, ticket, channel, years=years, account=account, actor=actor, keyring=app.keyring
            )
        case _:
            # "Narrow": the page or the command line has done it; the next run shows what is left. "Not yet": nothing has happened.
            pass


def _scope(conn: db.Connection, ticket: str, params: Mapping[str, object]) -> bytes:
    """The whole scope of which the answer repeats the beginning; empty if it is another one's."""
    typed, whole = params.get("scope"), fulfilling.seen(conn, ticket).scope
    if not isinstance(typed, str) or not typed.strip():
        raise NotAllowed("A yes repeats the scope that the question shows.", mend="Copy its twelve characters.")
    said = typed.strip().lower()
    return whole if len(said) >= SCOPE_CHARACTERS and whole.hex().startswith(said) else b""


def _one_of(known: tuple[_T, ...], given: object, name: str) -> _T:
    for one in known:
        if one == given:
            return one
    # Whatever was typed instead is not said again.
    raise NotAllowed(f"The answer needs its {name.replace('_', ' ')}.", mend=f"One of: {', '.join(known)}.")
