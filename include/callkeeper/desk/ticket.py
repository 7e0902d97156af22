"""One ticket: what it is about, what comes next, and each thing that the officer does with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from callkeeper import db, tickets, wiring
from callkeeper.clock import day_bounds_utc
from callkeeper.desk import words
from callkeeper.desk.forms import FormStale, SentBefore, once
from callkeeper.desk.intake import a_day, pick
from callkeeper.desk.pages import Pages, advice
from callkeeper.desk.seat import Door, Host, Seat, Sent, actor
from callkeeper.errors import CallkeeperError, NotAllowed
from callkeeper.jobs import fulfilling
from callkeeper.tickets import Exclusion, State

SCOPE_CHARACTERS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What comes next for a ticket; ``mine``: it waits for whoever is looking."""

    what: str
    mine: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A ticket on the first page."""

    ticket: fulfilling.Ticket
    step: Step


def next_step(t: fulfilling.Ticket, seat: Seat, *, again: bool = False) -> Step:
    """What comes next, in words. ``again``: it ended as deferred, and all has gone since."""
    if again:
        return Step(what="Tell the person that the rest has gone", mine=seat.officer)
    if t.closed_at:
        return Step(what=words.word(t.outcome, "outcome").capitalize())
    if t.state is State.open:
        what = "Search the recordings" if t.identity != "unproven" else "Find out who asks"
        return Step(what=what, mine=seat.officer)
    if t.state is State.approved and tickets.takes_two(t.right, t.identity):
        return Step(what="A second person's yes", mine=not seat.officer)
    what = {
        State.identity_asked: "The person proves who they are",
        State.clarification_asked: "The person's answer",
        State.previewed: "Decide",
        State.narrowed: "Search again",
        State.approved: "callkeeper carries it out",
        State.seconded: "callkeeper carries it out",
        State.refused: "Send the refusal",
        State.carried_out: "Release the answer",
        State.released: "Record the delivery",
        State.delivered: "It closes by itself",
    }[t.state]
    return Step(what=what, mine=seat.officer and t.state in _HERS)


_HERS = (State.previewed, State.narrowed, State.refused, State.carried_out, State.released)

Action = Callable[[db.Connection, wiring.App, str, Sent], str]
"""Does with the ticket what was sent, and gives the word that the page says of it then."""


def routes(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/tickets/{reference}")

    def page(request: Request, seat: Seat, reference: str, *, status: int = 200, **facts: Any) -> Response:
        app = host.app()
        with app.connect() as conn:
            shown = view(conn, app, reference, seat)
        told = {"said": request.query_params.get("said", ""), "wrong": "", "mend": "", "searched": None} | facts
        return pages.show(
            request, "ticket.html" if seat.officer else "second.html", seat, status=status, **shown, **told
        )

    def act(request: Request, reference: str, sent: Sent, do: Action) -> Response:
        """Does it once, and goes back to the ticket; refused, the ticket is shown with what is wrong."""
        app = host.app()

        def done() -> str:
            with app.connect() as conn:
                return f"/tickets/{reference}?said={do(conn, app, reference, sent)}"

        try:
            path = once(app, sent.form, sent.seat.account, done)
        except (FormStale, SentBefore):
            raise
        except CallkeeperError as wrong:
            return page(
                request, sent.seat, reference, status=503 if wrong.retry else 409, wrong=wrong.what, mend=advice(wrong)
            )
        return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)

    @router.get("")
    def show(request: Request, reference: str, seat: Seat = Depends(door.reader)) -> Response:
        return page(request, seat, reference)

    @router.post("/searched")
    def searched(request: Request, reference: str, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        app = host.app()
        with app.connect() as conn:
            found = fulfilling.look(conn, reference, app.keyring, actor(app, conn, sent.seat))
        if request.headers.get("hx-request"):
            return pages.show(request, "_searched.html", sent.seat, searched=found)
        return page(request, sent.seat, reference, searched=found)

    def offer(path: str, action: Action) -> None:
        @router.post(path)
        def handle(request: Request, reference: str, sent: Sent = Depends(door.sent_by_officer)) -> Response:
            return act(request, reference, sent, action)

    for path, action in ACTIONS.items():
        offer(path, action)
    return router


def view(conn: db.Connection, app: wiring.App, reference: str, seat: Seat) -> dict[str, Any]:
    """What the page shows of a ticket: to the officer all but what is sealed, to the second person what her yes is about."""
    t = fulfilling.show(conn, reference)
    found = fulfilling.seen(conn, reference)
    again = reference in fulfilling.resumed(conn)
    names = {c.id: c.name for c in app.config.controllers}
    kept = [f for f in found.found if f.state != "excluded"]
    out = Counter(words.word(f.reason, "exclusion") for f in found.found if f.state == "excluded")
    tone, left = words.left(t.days_left)
    return {
        "t": t, "preview": found, "kept": kept, "out": dict(out), "names": names, "tone": tone, "left": left,
        "scope": found.scope.hex()[:SCOPE_CHARACTERS], "step": next_step(t, seat, again=again), "again": again,
        "two": tickets.takes_two(t.right, t.identity),
        "counts": {names.get(c, c): n for c, n in found.counts.items()},
        "days": sorted({f.started_at for f in kept if f.started_at}),
        "timeline": fulfilling.timeline(conn, reference),
        "may_search": t.identity != "unproven" and t.state in (State.open, State.previewed, State.approved, State.seconded),
        "grounds": [g for g in tickets.GROUNDS if t.right in tickets.GROUNDS_OF[g]],
    }  # fmt: skip


# --- what the officer does -----------------------------------------------------------------------------------------------


def _identity(conn: db.Connection, app: wiring.App, ticket: str, sent: Sent) -> str:
    evidence = pick(sent, "evidence", tickets.EVIDENCES, "Say how the person proved who they are.")
    first, last = a_day(sent.text("from"), "the first day"), a_day(sent.text("to"), "the last day")
    fulfilling.prove_identity(
        conn, app.keyring, ticket, evidence=evidence, from_at=day_bounds_utc(first)[0], to_at=day_bounds_utc(last)[1],
        note=sent.text("note"), account=sent.seat.account, actor=actor(app, conn, sent.seat),
    )  # fmt: skip
    return "identity"


def _ask(conn: db.Connection, app: wiring.App, ticket: str, sent: Sent) -> str:
    question = pick(sent, "question", tickets.QUESTIONS, "Say what the person was asked.")
    fulfilling.ask(conn, ticket, question, actor(app, conn, sent.seat))
    return "asked"


def _answered(conn: db.Connection, app: wiring.App, ticket: str, sent: Sent) -> str:
    fulfilling.answered(conn, ticket, actor(app, conn, sent.seat))
    return "answered"


def _extend(conn: db.Connection, app: wiring.App, ticket: str, sent: Sent) -> str:
    reason = pick(sent, "reason", tickets.EXTENSION_REASONS, "Say why it takes longer.")
    fulfilling.extend(conn, ticket, reason, actor(app, conn, sent.seat))
    return "extended"


def _search(conn: db.Connection, app: wiring.App, ticket: str, sent: Sent) -> str:
    fulfilling.preview(conn, app.keyring, ticket, actor(app, conn, sent.seat))
    return "searched"


def _leave_out(conn: db.Connection, app: wiring.App, ticket: str, sent: Sent) -> str:
    reason = pick(sent, "reason", tickets.EXCLUSIONS, "Say why they are left out.")
    which: dict[UUID, Exclusion] = {}
    for text in sent.all("recording"):
        try:
            which[UUID(text)] = reason
        except ValueError:
            raise NotAllowed("One of the recordings is none.", mend="Load the page again.") from None
    if not which:
        raise NotAllowed("Choose at least one recording.", mend="Tick the box before it.")
    fulfilling.leave_out(conn, app.keyring, ticket, which, actor(app, conn, sent.seat))
    return "left_out"


def _close(conn: db.Connection, app: wiring.App, ticket: str, sent: Sent) -> str:
    outcome = pick(sent, "outcome", tickets.CLOSED_AS, "Say why it is over.")
    fulfilling.close(conn, ticket, outcome, years=app.config.terms.tickets_years, actor=actor(app, conn, sent.seat))
    return "closed"


ACTIONS: dict[str, Action] = {
    "/identity": _identity,
    "/ask": _ask,
    "/answered": _answered,
    "/extend": _extend,
    "/search": _search,
    "/leave-out": _leave_out,
    "/close": _close,
}
