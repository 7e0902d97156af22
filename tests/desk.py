"""The desk as its users have it, without a browser: who is logged in is a cookie of the test's own."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient
from httpx import Response

from callkeeper.desk import runs
from callkeeper.desk.app import create
from callkeeper.desk.seat import Host
from callkeeper.errors import NotAllowed
from callkeeper.jobs import fulfilling, leading
from callkeeper.phone import E164
from deliver import PHM, deliver
from deliver import Call as Delivered
from installation import DAY, OFFICER, Installation, at

PREFIX = "/callkeeper"
CALLER = E164("+358409990001")
SPELLED = "040 999 0001"
INTAKE = {"right": "access", "received": DAY.isoformat(), "channel": "letter", "language": "fi"}
HOLD = {
    "kind": "investigation",
    "authority": "Helsingin poliisi",
    "reference": "5500/R/1/26",
    "ground": "",
} | dict.fromkeys(("numbers", "recordings", "line", "company", "from", "to"), "")
SECRET = b"a secret of the test's own, that nobody else knows"


async def user(request: Request) -> Any:
    """As Airflow's own dependency answers: 401 to nobody, 403 to a token that it has not signed."""
    token = request.cookies.get("_token", "")
    if not token:
        raise HTTPException(401, "Not authenticated")
    account, _, signature = token.partition(".")
    if signature not in ("signed", "again"):
        raise HTTPException(403, "Invalid JWT token")
    return SimpleNamespace(get_name=lambda: account)


class Desk:
    """A browser at the desk, logged in to Airflow as ``account``."""

    def __init__(self, office: Installation, account: str | None, *, token: str | None = None, api: str = "") -> None:
        host = Host(
            user=user, app=lambda: office.app, secret=lambda: SECRET, login=lambda path: f"/auth/login/?next={path}",
            api=lambda: api,
        )  # fmt: skip
        self.desk = create(host)
        self.outer = FastAPI()
        self.outer.mount(PREFIX, self.desk)
        self.http = TestClient(self.outer, follow_redirects=False, raise_server_exceptions=False)
        token = token or (account and f"{account}.signed")
        if token:
            self.http.cookies.set("_token", token)

    def get(self, path: str, **more: Any) -> Response:
        return self.http.get(PREFIX + path, **more)

    def field(self, page: str, path: str) -> str:
        """The hidden field of the form that is sent to that path, as it stands on the page."""
        return hidden(self.get(page).text, PREFIX + path)

    def send(self, page: str, path: str, **fields: Any) -> Response:
        """Opens the page, fills in the form that goes to that path, and sends it."""
        return self.post(path, once=self.field(page, path), **fields)

    def post(self, path: str, **fields: Any) -> Response:
        return self.http.post(PREFIX + path, data=fields)


def hidden(html: str, action: str) -> str:
    """The hidden field of the form with that action."""
    found = re.search(
        rf'<form[^>]*action="{re.escape(action)}"[^>]*>\s*<input type="hidden" name="once" value="([^"]+)"', html
    )
    assert found, f"there is no form to {action}"
    return found[1]


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def words(response: Response) -> str:
    """What a page says, on one line."""
    reader = _Text()
    reader.feed(response.text)
    return " ".join(" ".join(reader.parts).split())


def two_callers(office: Installation) -> Installation:
    """Two calls of one caller, to two companies, and one of another caller."""
    calls = [
        Delivered(id="a", start=at(8), caller=CALLER),
        Delivered(id="b", start=at(9), caller=CALLER, line=PHM),
        Delivered(id="c", start=at(10), caller=E164("+358409990002")),
    ]
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


def opened(desk: Desk, **fields: Any) -> str:
    """A request of CALLER's, taken in on the page; its reference."""
    answer = desk.send("/new", "/new", **INTAKE | {"numbers": SPELLED} | fields)
    assert answer.status_code == 303, words(answer)
    found = re.search(r"/tickets/(DSR-\d{4}-\d{4})", answer.headers["location"])
    assert found
    return found[1]


def found(desk: Desk, *, evidence: str = "strong", **fields: Any) -> str:
    """The same, its identity proven and searched."""
    ticket = opened(desk, **fields)
    page = f"/tickets/{ticket}"
    proven = {"evidence": evidence, "from": (DAY - timedelta(days=30)).isoformat(), "to": DAY.isoformat(), "note": ""}
    assert desk.send(page, f"{page}/identity", **proven).status_code == 303
    assert desk.send(page, f"{page}/search").status_code == 303
    return ticket


def recordings(desk: Desk, ticket: str) -> list[str]:
    return re.findall(
        r'name="recording" value="([0-9a-f-]{36})" aria-label="Choose', desk.get(f"/tickets/{ticket}").text
    )


def scope_on(desk: Desk, ticket: str) -> str:
    shown = re.search(r'name="scope" value="([0-9a-f]{12})"', desk.get(f"/tickets/{ticket}").text)
    assert shown
    return shown[1]


class Airflow:
    """Airflow as the desk sees it, without one: its runs of subject_request begin and record at once, by the same core."""

    def __init__(self, office: Installation, monkeypatch: Any) -> None:
        self.office = office
        self.waiting: dict[str, str] = {}
        self.answers: list[tuple[str, str, str, dict[str, Any]]] = []
        monkeypatch.setattr(runs, "SETTLES", timedelta(0))
        monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(
            runs.Runs, "trigger", lambda its, ticket, run, action="advance": self._begin(its, ticket, run)
        )
        monkeypatch.setattr(runs.Runs, "asked_since", lambda its, run, question: self._since(run, question))
        monkeypatch.setattr(
            runs.Runs,
            "answer",
            lambda its, run, question, chosen, params: self._record(its, run, question, chosen, params),
        )

    def _account(self, its: runs.Runs) -> str:
        return its.token.partition(".")[0]

    def _begin(self, its: runs.Runs, ticket: Any, run: str, account: str | None = None) -> None:
        with self.office.connect() as conn:
            stretch = leading.begin(
                self.office.app, conn, ticket=ticket.ticket, right=ticket.right, what="advance", run=run,
                account=account or self._account(its), actor=OFFICER,
            )  # fmt: skip
        if stretch.question:
            self.waiting[run] = stretch.question

    def _since(self, run: str, question: str) -> datetime | None:
        return datetime(2026, 1, 1, tzinfo=UTC) if self.waiting.get(run) == question else None

    def _record(self, its: runs.Runs, run: str, question: str, chosen: str, params: Any) -> None:
        account, ticket = self._account(its), run.partition("--")[0]
        with self.office.connect() as conn:
            if account not in leading.asked(self.office.app, conn, ticket, question):  # type: ignore[arg-type]  # one of them
                raise NotAllowed("You are not among those who are asked.")
            self.answers.append((question, chosen, account, dict(params)))
            stretch = leading.record(
                self.office.app, conn, ticket=ticket, question=question, chosen=chosen, params=params, run=run, account=account,
                actor=OFFICER,
            )  # fmt: skip
            del self.waiting[run]
            if stretch.goes_on:
                self._begin(its, fulfilling.show(conn, ticket), stretch.goes_on, account)
