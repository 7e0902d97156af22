"""Who sits at the desk: logged in to Airflow, and named in [people] for what the page is for. One way in, on every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request

from callkeeper import controllers, wiring
from callkeeper.desk.forms import Forms, FormStale
from callkeeper.jobs import fulfilling
from callkeeper.trail.events import Actor

BODY_BYTES = 64 * 1024
"""The longest form; the longest text in one is a statement of some pages."""
FIELD = "once"
"""The hidden field of each form. Never a name that a form has itself: a script would find the field in its place."""
TOKEN_COOKIE = "_token"  # noqa: S105  # Airflow's name for its session's cookie


@dataclass(frozen=True, kw_only=True)
class Host:
    """The Airflow in which the page stands; only the plugin knows it.

    ``user``: FastAPI's dependency for who is logged in (raises HTTPException 401 or 403). ``login``: where one logs in, to come
    back to a path. ``api``: the address of Airflow's own API.
    """

    user: Callable[..., Awaitable[Any]]
    app: Callable[[], wiring.App]
    secret: Callable[[], bytes]
    login: Callable[[str], str]
    api: Callable[[], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """An account, its duties, and Airflow's token of its session, which speaks to Airflow in its name."""

    account: str
    duties: frozenset[str]
    token: str = field(repr=False)

    @property
    def officer(self) -> bool:
        return not self.duties.isdisjoint(controllers.OFFICERS)

    @property
    def session(self) -> bytes:
        """What a form is bound to."""
        return sha256(f"{self.account}\n{self.token}".encode()).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A form that came from its own session: by whom, its own number, what is in it."""

    seat: Seat
    form: bytes
    path: str
    fields: Mapping[str, tuple[str, ...]] = field(repr=False)

    def text(self, name: str) -> str:
        """One field's text, without blanks around it; empty, if it is not there."""
        return next(iter(self.fields.get(name, ())), "").strip()

    def all(self, name: str) -> tuple[str, ...]:
        """Each of a field's texts, in their order on the page."""
        return tuple(text.strip() for text in self.fields.get(name, ()))


class NoDuty(HTTPException):
    """Logged in, and not named for this."""

    def __init__(self) -> None:
        super().__init__(403, "Your account may not open this page.")


class Door:
    """Makes the dependencies: ``reader`` and ``officer`` for what is looked at, ``sent`` for what is sent."""

    def __init__(self, host: Host) -> None:
        self._host = host

        def enter(request: Request, user: Any = Depends(host.user)) -> Seat:
            account = str(user.get_name())
            app = host.app()
            with app.connect() as conn:
                duties = controllers.duties(conn, app.config, account)
            if duties.isdisjoint(fulfilling.READERS):
                raise NoDuty
            seat = Seat(account=account, duties=duties, token=_token(request))
            request.state.seat = seat
            return seat

        def officer(seat: Seat = Depends(enter)) -> Seat:
            if not seat.officer:
                raise NoDuty
            return seat

        async def sent(request: Request, seat: Seat = Depends(enter)) -> Sent:
            return await _read(request, seat, Forms(host.secret()))

        async def sent_by_officer(request: Request, seat: Seat = Depends(officer)) -> Sent:
            return await _read(request, seat, Forms(host.secret()))

        self.reader, self.officer, self.sent, self.sent_by_officer = enter, officer, sent, sent_by_officer


def _token(request: Request) -> str:
    """As Airflow's own dependency takes it: a header first, else its cookie."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given if scheme.lower() == "bearer" and given else request.cookies.get(TOKEN_COOKIE, "")


async def _read(request: Request, seat: Seat, forms: Forms) -> Sent:
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise FormStale(
            "This form was sent from another site.", mend="Open the page in Airflow, and send it from there."
        )
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Only a form of this page can be sent here.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES:
            raise HTTPException(413, "This is more text than a form takes.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=2000, errors="strict")
    except ValueError:
        raise HTTPException(400, "This form cannot be read.") from None
    fields: dict[str, tuple[str, ...]] = {}
    for name, text in pairs:
        fields[name] = (*fields.get(name, ()), text)
    path = str(request.scope["path"]).removeprefix(str(request.scope.get("root_path", "")))
    field_ = next(iter(fields.pop(FIELD, ())), "")
    return Sent(seat=seat, form=forms.read(seat.session, path, field_), path=path, fields=fields)


def actor(app: wiring.App, conn: Any, seat: Seat) -> Actor:
    """Who acts, for the trail."""
    return app.actor(conn, account=seat.account)
