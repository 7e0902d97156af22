"""The package for the person: its parts and its passphrase, each had by an event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from callkeeper.desk.pages import Pages
from callkeeper.desk.seat import Door, Host, Sent, actor
from callkeeper.errors import NotFound
from callkeeper.jobs import packaging

CHUNK_BYTES = 256 << 10


def routes(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/tickets/{reference}")

    @router.post("/package")
    def part(request: Request, reference: str, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        app, account = host.app(), sent.seat.account
        n = int(sent.text("n")) if sent.text("n").isdecimal() else 0
        with app.connect() as conn:
            parts = packaging.parts(conn, reference)
            if not 1 <= n <= len(parts):
                raise NotFound("The package has no such part.")
            body = packaging.open_part(conn, app, reference, n, account=account, actor=actor(app, conn, sent.seat))
        found = parts[n - 1]
        headers = {
            "Content-Disposition": f'attachment; filename="{reference}-{found.n}.{found.kind}"',
            "Content-Encoding": "identity",
        }
        if found.size_bytes is not None:
            headers["Content-Length"] = str(found.size_bytes)
        return StreamingResponse(_chunks(body), media_type="application/octet-stream", headers=headers)

    @router.post("/passphrase")
    def passphrase(request: Request, reference: str, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        app = host.app()
        with app.connect() as conn:
            said = packaging.passphrase(
                conn, app.keyring, reference, account=sent.seat.account, actor=actor(app, conn, sent.seat)
            )
        fragment = bool(request.headers.get("hx-request"))
        template = "_passphrase.html" if fragment else "passphrase.html"
        return pages.show(request, template, sent.seat, reference=reference, passphrase=said)

    return router


def _chunks(body: BinaryIO) -> Iterator[bytes]:
    with body:
        while chunk := body.read(CHUNK_BYTES):
            yield chunk
