"""One ticket: what it is about, what comes next, and each thing that the officer does with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from callkeeper import db, decisions, tickets, wiring
from callkeeper.desk import words
from callkeeper.desk.acts import ACTS, MUTE_ROWS, SECONDS, Act, Work
from callkeeper.desk.forms import SentBefore, once
from callkeeper.desk.intake import lines
from callkeeper.desk.pages import Pages, advice
from callkeeper.desk.runs import Runs
from callkeeper.desk.seat import Door, Host, Seat, Sent, actor
from callkeeper.errors import CallkeeperError
from callkeeper.jobs import answering, fulfilling, leading, packaging
from callkeeper.jobs.leading import Where
from callkeeper.tickets import SCOPE_CHARACTERS, Right, State


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


def next_step(
    t: fulfilling.Ticket, seat: Seat, *, again: bool = False, recordings: int = 1, night: bool = False
) -> Step:
    """What comes next, in words. ``again``: it ended as deferred, and all has gone since."""
    if again:
        return Step(what="Tell the person that the rest has gone", mine=seat.officer)
    if t.closed_at:
        return Step(what=words.capital(words.word(t.outcome, "outcome")))
    if t.state is State.open:
        what = "Search the recordings" if t.identity != "unproven" else "Find out who asks"
        return Step(what=what, mine=seat.officer)
    if t.state is State.approved and tickets.takes_two(t.right, t.identity, recordings):
        return Step(what="A second person’s yes", mine=not seat.officer)
    if t.state is State.carried_out and night:
        return Step(what="The next night erases it (00:30)")
    what = {
        State.identity_asked: "The person proves who they are",
        State.clarification_asked: "The person’s answer",
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


def routes(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/tickets/{reference}")

    def page(request: Request, seat: Seat, reference: str, *, status: int = 200, **facts: Any) -> Response:
        app = host.app()
        with app.connect() as conn:
            shown = view(conn, app, reference, seat)
        asked = request.query_params
        told = {
            "said": asked.get("said", ""),
            "listen": asked.get("listen", ""),
            "wrong": "",
            "mend": "",
            "searched": None,
        } | facts
        return pages.show(
            request, "ticket.html" if seat.officer else "second.html", seat, status=status, **shown, **told
        )

    def do(request: Request, reference: str, sent: Sent, act: Act) -> Response:
        """Does it once, and goes back to the ticket; refused, the ticket is shown with what is wrong."""
        app = host.app()

        def done() -> str:
            with app.connect() as conn:
                runs = Runs(api=host.api(), token=sent.seat.token)
                said = act(Work(conn=conn, app=app, ticket=reference, sent=sent, runs=runs))
            return f"/tickets/{reference}?said={said}"

        try:
            path = once(app, sent.form, sent.seat.account, done)
        except SentBefore:
            raise
        except CallkeeperError as wrong:
            return page(
                request, sent.seat, reference, status=503 if wrong.retry else 409, wrong=wrong.what, mend=advice(wrong)
            )
        return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)

    @router.get("")
    def show(request: Request, reference: str, seat: Seat = Depends(door.reader)) -> Response:
        return page(request, seat, reference)

    @router.get("/progress")
    def progress(request: Request, reference: str, was: str = "", seat: Seat = Depends(door.reader)) -> Response:
        """Nothing, while the ticket stands as it stood; then the page is loaded anew."""
        with host.app().connect() as conn:
            now = mark(fulfilling.show(conn, reference), leading.where(conn, reference))
        return Response(status_code=204 if now == was else 200, headers={} if now == was else {"HX-Refresh": "true"})

    @router.post("/searched")
    def searched(request: Request, reference: str, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        app = host.app()
        with app.connect() as conn:
            found = fulfilling.look(conn, reference, app.keyring, actor(app, conn, sent.seat))
        if request.headers.get("hx-request"):
            return pages.show(request, "_searched.html", sent.seat, searched=found)
        return page(request, sent.seat, reference, searched=found)

    def offer(path: str, act: Act, sender: Callable[..., Any]) -> None:
        @router.post(path)
        def handle(request: Request, reference: str, sent: Sent = Depends(sender)) -> Response:
            return do(request, reference, sent, act)

    for path, act in ACTS.items():
        offer(path, act, door.sent_by_officer)
    for path, act in SECONDS.items():
        offer(path, act, door.sent)
    return router


def mark(t: fulfilling.Ticket, stands: Where) -> str:
    """How a ticket stands, for the page to see that it has changed."""
    return f"{t.state}.{stands.run or '-'}.{stands.question or '-'}"


def view(conn: db.Connection, app: wiring.App, reference: str, seat: Seat) -> dict[str, Any]:
    """What the page shows of a ticket: to the officer all but what is sealed, to the second person what her yes is about."""
    t = fulfilling.show(conn, reference)
    found = fulfilling.seen(conn, reference)
    stands = leading.where(conn, reference)
    again = reference in fulfilling.resumed(conn)
    names = {c.id: c.name for c in app.config.controllers}
    out = Counter(words.word(f.reason, "exclusion") for f in found.found if f.state == "excluded")
    tone, left = words.left(t.days_left)
    package = packaging.show(conn, reference) if seat.officer else None
    n, night = len(found.chosen), bool(leading.on_their_way(conn, reference))
    two = tickets.takes_two(t.right, t.identity, n)
    first, why = _first(conn, reference)
    return {
        "t": t, "preview": found, "kept": found.chosen, "out": dict(out), "names": names, "tone": tone, "left": left,
        "scope": found.scope.hex()[:SCOPE_CHARACTERS], "step": next_step(t, seat, again=again, recordings=n, night=night), "night": night, "again": again,
        "two": two, "first": first, "why": why, "mark": mark(t, stands),
        "works": _works(t, stands, two),
        "counts": {names.get(c, c): n for c, n in found.counts.items()},
        "days": sorted({f.started_at for f in found.chosen if f.started_at}),
        "cut": sum(bool(f.mutes) or f.audio_channel is not None for f in found.chosen),
        "timeline": fulfilling.timeline(conn, reference) if seat.officer else [],
        "may_search": t.identity != "unproven" and t.state in (State.previewed, State.approved, State.seconded),
        "grounds": [g for g in tickets.GROUNDS if t.right in tickets.GROUNDS_OF[g]],
        "due_letters": answering.due(conn, reference) if seat.officer else (),
        "notices": answering.notices_due(conn, reference) if seat.officer else (),
        "sent_letters": answering.letters_sent(conn, reference) if seat.officer else (),
        "package": package, "package_until": package.expires_on - timedelta(days=1) if package else None,
        "interim": answering.INTERIM, "mute_rows": range(MUTE_ROWS), "call_rows": range(1),
        "corrections": _corrections(conn, app, t) if seat.officer else {}, "correctable": tickets.CORRECTABLE,
        "lift_reasons": tickets.LIFT_REASONS, "lifting": t.closed_at is not None and _restricts(conn, t),
        "lines": lines(app, conn) if seat.officer else [],
    }  # fmt: skip


def _works(t: fulfilling.Ticket, stands: Where, two: bool) -> bool:
    """Whether callkeeper is at work on it, or about to be: nobody is asked anything."""
    at_work = t.state is State.seconded or (t.state is State.approved and not two)
    return at_work or (stands.run is not None and stands.question is None)


def _corrections(conn: db.Connection, app: wiring.App, t: fulfilling.Ticket) -> dict[UUID, list[str]]:
    """Of which recordings something is put right: what, never to which value (that is sealed)."""
    found: dict[UUID, list[str]] = {}
    if t.right is Right.rectification and not t.erased_at:
        for f in fulfilling.seen(conn, t.ticket).chosen:
            found[f.recording] = [words.word(what, "correctable") for what in f.corrects]
    return found


def _restricts(conn: db.Connection, t: fulfilling.Ticket) -> bool:
    """Whether a restriction of it stands, which outlasts the ticket."""
    stands = bool(db.queries().standing_restriction(conn, ticket=t.ticket))
    conn.rollback()
    return stands


def _first(conn: db.Connection, reference: str) -> tuple[str, str]:
    """Who said the first yes, and of an erasure on which ground."""
    found = decisions.find(conn, reference, "dsr_approve")
    conn.rollback()
    return (found.account, found.code) if found else ("", "")
