"""What a hold or a disclosure is about is written down here, since Airflow may see none of it; done it is there, by its number."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from callkeeper import db, disclosures, wiring
from callkeeper.blockers import Predicate
from callkeeper.clock import day_bounds_utc
from callkeeper.desk.acts import uuid
from callkeeper.desk.forms import SentBefore, once
from callkeeper.desk.intake import a_day, lines, numbers, pick
from callkeeper.desk.pages import Pages, advice
from callkeeper.desk.seat import Door, Host, Seat, Sent, actor
from callkeeper.errors import CallkeeperError, NotAllowed
from callkeeper.jobs import disclosing, holding

PURPOSES = disclosures.PURPOSES["group_company"]
_NUMBER = re.compile(r"(H|DIS)-\d{4}-\d{4,6}", re.ASCII)


def routes(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter()

    def page(request: Request, seat: Seat, *, status: int = 200, **facts: Any) -> Response:
        app = host.app()
        with app.connect() as conn:
            shown = {
                "kinds": holding.KINDS, "purposes": PURPOSES, "companies": app.config.controllers, "lines": lines(app, conn),
                "cases": holding.register(conn, officer=True),
            }  # fmt: skip
        told = {"wrong": "", "mend": "", "typed": None, "made": ""} | facts
        return pages.show(request, "drafts.html", seat, status=status, **shown, **told)

    def do(request: Request, sent: Sent, draft: Callable[[db.Connection, wiring.App, Sent], str]) -> Response:
        app = host.app()

        def done() -> str:
            with app.connect() as conn:
                return f"/drafts?made={draft(conn, app, sent)}"

        try:
            path = once(app, sent.form, sent.seat.account, done)
        except SentBefore:
            raise
        except CallkeeperError as wrong:
            return page(request, sent.seat, status=409, typed=sent, wrong=wrong.what, mend=advice(wrong))
        return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=303)

    @router.get("/drafts")
    def drafts(request: Request, made: str = "", seat: Seat = Depends(door.officer)) -> Response:
        return page(request, seat, made=made if _NUMBER.fullmatch(made) else "")

    @router.post("/hold")
    def hold(request: Request, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        return do(request, sent, _hold)

    @router.post("/disclosure")
    def disclosure(request: Request, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        return do(request, sent, _disclosure)

    return router


def _hold(conn: db.Connection, app: wiring.App, sent: Sent) -> str:
    kind = pick(sent, "kind", holding.KINDS, "Say which kind of hold it is.")
    facts = holding.Facts(
        authority=sent.text("authority"), reference=sent.text("reference"), ground=sent.text("ground")
    )
    first, last = sent.text("from"), sent.text("to")
    predicate = Predicate(
        recordings=_ids(sent.text("recordings")) or None,
        pseudonyms=holding.of_numbers(app.keyring, numbers(sent.text("numbers"))),
        line=_known(sent.text("line"), {line.number for line in lines(app, conn)}, "There is no such line."),
        controller=_company(app, sent.text("company")),
        from_at=day_bounds_utc(a_day(first, "the first day"))[0] if first else None,
        to_at=day_bounds_utc(a_day(last, "the last day"))[1] if last else None,
    )
    case, _ = holding.draft(
        conn, app.keyring, kind=kind, facts=facts, predicate=predicate, account=sent.seat.account, actor=actor(app, conn, sent.seat),
        wide=sent.text("wide") == "yes",
    )  # fmt: skip
    return case


def _disclosure(conn: db.Connection, app: wiring.App, sent: Sent) -> str:
    to = sent.text("to")
    authority = to == "authority"
    if not authority and not _company(app, to):
        raise NotAllowed("Say to whom it is given.")
    purpose = "authority" if authority else pick(sent, "purpose", PURPOSES, "Say what the company is given them for.")
    return disclosing.draft(
        conn, app.keyring, recipient_kind="authority" if authority else "group_company",
        recipient=sent.text("recipient") if authority else to, purpose=purpose,
        statute=sent.text("statute") or None if authority else None, reference=sent.text("demand") or None if authority else None,
        recordings=_ids(sent.text("given")), case=sent.text("case") or None, untold=authority and sent.text("untold") == "yes",
        years=app.config.terms.deletion_evidence_years, account=sent.seat.account, actor=actor(app, conn, sent.seat),
    )  # fmt: skip


def _ids(text: str) -> tuple[UUID, ...]:
    return tuple(uuid(line.strip()) for line in text.splitlines() if line.strip())


def _company(app: wiring.App, text: str) -> str | None:
    return _known(text, {c.id for c in app.config.controllers}, "There is no such company.")


def _known(text: str, known: set[Any], missing: str) -> str | None:
    if text and text not in known:
        raise NotAllowed(missing)
    return text or None
