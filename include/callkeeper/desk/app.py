"""The page as an application: one door, one set of headers, errors in words."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException as RoutingError

from callkeeper.desk import cases, copies, intake, player, prints, ticket
from callkeeper.desk.forms import Forms, FormStale
from callkeeper.desk.pages import HEADERS, HERE, STATIC, Pages, advice
from callkeeper.desk.seat import Door, Host, NoDuty, Seat
from callkeeper.errors import CallkeeperError, NotFound
from callkeeper.jobs import fulfilling, leading

log = logging.getLogger(__name__)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Headers:
    """Puts the same headers on whatever is answered, an error included; what an answer says itself stays."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message.get("headers", ())}
                ours = [(n.lower().encode(), v.encode()) for n, v in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *(pair for pair in ours if pair[0] not in said)]
            await send(message)

        await self._app(scope, receive, with_headers)


def create(host: Host) -> FastAPI:
    """The desk, for the Airflow that it stands in."""
    door = Door(host)
    pages = Pages(forms=lambda: Forms(host.secret()))
    desk = FastAPI(title="callkeeper", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    desk.add_middleware(_Headers)
    desk.include_router(_start(host, door, pages))
    for part in (intake, ticket, player, prints, copies, cases):
        desk.include_router(part.routes(host, door, pages))
    _errors(desk, host, pages)
    return desk


def _start(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    def start(request: Request, seat: Seat = Depends(door.reader)) -> Response:
        app = host.app()
        with app.connect() as conn:
            found = fulfilling.register(conn, closed=True)
            again = set(fulfilling.resumed(conn))
            nights = leading.on_their_way(conn)
        rows = [
            ticket.Row(ticket=t, step=ticket.next_step(t, seat, again=t.ticket in again, night=t.ticket in nights))
            for t in found
        ]
        return pages.show(
            request, "start.html", seat,
            mine=[r for r in rows if r.step.mine], others=[r for r in rows if not r.step.mine and r.ticket.closed_at is None],
            closed=[r for r in rows if r.ticket.closed_at and not r.step.mine], said=request.query_params.get("said", ""),
        )  # fmt: skip

    @router.get("/static/{name}")
    def static(name: str, seat: Seat = Depends(door.reader)) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        kept = {"Cache-Control": "private, max-age=86400"}
        return Response((HERE / "static" / name).read_bytes(), media_type=STATIC[name], headers=kept)

    return router


def _errors(desk: FastAPI, host: Host, pages: Pages) -> None:
    def page(request: Request, status: int, what: str, mend: str = "") -> Response:
        seat = getattr(request.state, "seat", None)
        if request.headers.get("hx-request"):
            # A part of a page was asked for: it says what is wrong in its own place.
            return pages.show(request, "_wrong.html", seat, status=status, what=what, mend=mend)
        return pages.show(request, "trouble.html", seat, status=status, what=what, mend=mend)

    @desk.exception_handler(NoDuty)
    def no_duty(request: Request, wrong: NoDuty) -> Response:
        return page(
            request, 403, "Your account may not open this page.",
            "It is for the privacy officer, her deputies and the approver. Who they are stands in [people] of the configuration.",
        )  # fmt: skip

    @desk.exception_handler(RoutingError)
    def refused(request: Request, wrong: RoutingError) -> Response:
        # Airflow's dependency says 403 to a token that is none: nobody is logged in.
        nobody = wrong.status_code == 401 or (wrong.status_code == 403 and not hasattr(request.state, "seat"))
        if nobody and request.method == "GET":
            return RedirectResponse(host.login(str(request.scope["path"])), status_code=303)
        if nobody:
            return page(request, 401, "You are not logged in to Airflow any more.", "Log in, then do it again.")
        what = {404: "There is no such page.", 405: "There is no such page."}.get(wrong.status_code, str(wrong.detail))
        return page(request, wrong.status_code, what)

    @desk.exception_handler(RequestValidationError)
    def unreadable(request: Request, wrong: RequestValidationError) -> Response:
        return page(request, 404, "There is no such page.")

    @desk.exception_handler(CallkeeperError)
    def told(request: Request, wrong: CallkeeperError) -> Response:
        status = (
            404 if isinstance(wrong, NotFound) else 403 if isinstance(wrong, FormStale) else 503 if wrong.retry else 409
        )
        return page(request, status, wrong.what, advice(wrong))

    @desk.exception_handler(Exception)
    def broken(request: Request, wrong: Exception) -> Response:
        # Its text may hold what was typed: the log has its kind only.
        log.error("the desk failed with %s", type(wrong).__name__)
        return page(
            request, 500, "Something went wrong here.", "It is a fault of callkeeper: tell the data team the time."
        )
