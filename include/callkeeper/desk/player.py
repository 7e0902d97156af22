"""A recording is played: that somebody listens is written down before a byte is read, and no address lets anybody else in.

The listening's token is in a cookie for that one recording's path: an address stands in the server's log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from callkeeper.desk.acts import uuid
from callkeeper.desk.forms import once
from callkeeper.desk.pages import Pages
from callkeeper.desk.seat import Door, Host, Seat, Sent, actor
from callkeeper.errors import NotAllowed
from callkeeper.jobs import listening
from callkeeper.jobs.listening import Listening

COOKIE = "callkeeper_listening"
_RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})", re.ASCII)


def routes(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/tickets/{reference}")

    @router.post("/listen")
    def listen(request: Request, reference: str, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        app, root = host.app(), str(request.scope.get("root_path", ""))
        recording = uuid(sent.text("recording"))
        opened: list[Listening] = []

        def do() -> str:
            with app.connect() as conn:
                opened.append(
                    listening.open_audio(
                        conn, app, recording, account=sent.seat.account, purpose="subject_request", ticket=reference,
                        actor=actor(app, conn, sent.seat),
                    )
                )  # fmt: skip
            return f"/tickets/{reference}?listen={recording}#r-{recording}"

        path = once(app, sent.form, sent.seat.account, do)
        answer: Response = RedirectResponse(f"{root}{path}", status_code=303)
        if request.headers.get("hx-request"):
            answer = pages.show(request, "_player.html", sent.seat, reference=reference, recording=recording)
        if opened:
            answer.set_cookie(
                COOKIE, opened[0].token, path=_path(root, reference, recording), httponly=True, samesite="strict",
                secure=request.url.scheme == "https", max_age=int(listening.TOKEN_LASTS.total_seconds()),
            )  # fmt: skip
        return answer

    @router.get("/recordings/{recording}/audio")
    def audio(request: Request, reference: str, recording: UUID, seat: Seat = Depends(door.officer)) -> Response:
        app = host.app()
        token = request.cookies.get(COOKIE)
        if not token:
            raise NotAllowed("This recording was not opened.", mend="Press “Listen” on the request’s page.")
        with app.connect() as conn:
            found = listening.resume(conn, app, token, recording=recording, account=seat.account)
        part = _asked(request.headers.get("range"), found.size_bytes)
        # The first bytes before the answer begins: what has gone is told by a status, not by a silence.
        body = listening.read(app, found, part.first, part.last)
        head = next(body, b"")
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(part.last - part.first + 1),
            "Content-Encoding": "identity",
        }
        if part.partial:
            headers["Content-Range"] = f"bytes {part.first}-{part.last}/{found.size_bytes}"
        whole: Iterator[bytes] = chain((head,), body)
        return StreamingResponse(
            whole, status_code=206 if part.partial else 200, media_type=found.content_type, headers=headers
        )

    return router


def _path(root: str, reference: str, recording: UUID) -> str:
    return f"{root}/tickets/{reference}/recordings/{recording}"


@dataclass(frozen=True, slots=True)
class _Part:
    first: int
    last: int
    partial: bool


def _asked(header: str | None, size: int) -> _Part:
    """The range that a player asks for; one that is none is not heeded. Raises 416 for one beyond the end."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return _Part(0, size - 1, False)
    if not found[1]:
        first, last = max(size - int(found[2]), 0), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    if first > last or (not found[1] and int(found[2]) == 0):
        raise HTTPException(
            416, "There is no such part of the recording.", headers={"Content-Range": f"bytes */{size}"}
        )
    return _Part(first, last, True)
