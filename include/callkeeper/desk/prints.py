"""Letters on paper: name and address are for that print alone, and stand nowhere else."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from callkeeper.desk.intake import pick
from callkeeper.desk.pages import Pages
from callkeeper.desk.seat import Door, Host, Sent, actor
from callkeeper.jobs import answering
from callkeeper.letters import Addressee, Kind


def routes(host: Host, door: Door, pages: Pages) -> APIRouter:
    router = APIRouter(prefix="/tickets/{reference}")

    @router.post("/letter")
    def letter(request: Request, reference: str, sent: Sent = Depends(door.sent_by_officer)) -> Response:
        app = host.app()
        kind = pick(sent, "kind", tuple(Kind), "Say which letter.")
        with app.connect() as conn:
            made = answering.write(
                conn, app, reference, kind, actor=actor(app, conn, sent.seat), addressee=_addressee(sent),
                disclosure=sent.text("disclosure") or None,
            )  # fmt: skip
        if sent.text("as") == "pdf":
            name = f"{reference}-{kind}.pdf"
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(made.pdf, media_type="application/pdf", headers=headers)
        return pages.show(request, "letter.html", sent.seat, reference=reference, letter=made)

    return router


def _addressee(sent: Sent) -> Addressee | None:
    name = sent.text("name")
    lines = tuple(line.strip() for line in sent.text("address").splitlines() if line.strip())
    return Addressee(name=name, address=lines) if name else None
