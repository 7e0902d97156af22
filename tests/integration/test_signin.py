"""Who signs in at the command line: an account that this installation's own Airflow knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from callkeeper import settings as callkeeper_settings
from callkeeper.commands.signin import sign_in
from callkeeper.errors import NotAllowed, WrongCredentials

DECIDERS = ("privacy_officers", "deputies")


class Airflow(ThreadingHTTPServer):
    """Gives a token for ``password``; for any, where it is none."""

    def __init__(self, password: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.password, self.asked = password, 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Airflow

    def do_POST(self) -> None:
        self.server.asked += 1
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["password"]
        self.send_response(201 if self.server.password in (None, said) else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": "t"}).encode())

    def log_message(self, *_: object) -> None:
        pass


def _serve(password: str | None) -> Iterator[Airflow]:
    with Airflow(password) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    yield from _serve("right")


@pytest.fixture
def gullible() -> Iterator[Airflow]:
    """Another server, which takes whoever comes for whoever they say they are."""
    yield from _serve(None)


@pytest.fixture
def office(office, airflow, monkeypatch):
    """An installation whose callkeeper.env names its Airflow."""
    home = office.folder / "home"
    home.mkdir()
    (home / "callkeeper.env").write_text(f"CALLKEEPER_AIRFLOW_URL={airflow.url}\n")
    monkeypatch.setenv("CALLKEEPER_HOME", str(home))
    monkeypatch.setenv("CALLKEEPER_PASSWORD", "right")
    office.change_settings(home=home, airflow_url=callkeeper_settings.load(home=home).airflow_url)
    return office


def test_an_officer_signs_in_with_the_password_that_airflow_knows(office, airflow, monkeypatch):
    assert sign_in(office.app, "officer", DECIDERS) == "officer"

    monkeypatch.setenv("CALLKEEPER_PASSWORD", "wrong")
    with pytest.raises(WrongCredentials):
        sign_in(office.app, "officer", DECIDERS)
    assert airflow.asked == 2


def test_nobody_signs_in_at_a_server_that_the_environment_names(office, gullible, monkeypatch):
    monkeypatch.setenv("CALLKEEPER_AIRFLOW_URL", gullible.url)
    monkeypatch.setenv("CALLKEEPER_PASSWORD", "whatever")
    office.change_settings(airflow_url=callkeeper_settings.load().airflow_url)

    with pytest.raises(NotAllowed, match=r"callkeeper\.env"):
        sign_in(office.app, "officer", DECIDERS)

    assert gullible.asked == 0


def test_nobody_signs_in_through_a_proxy_that_the_environment_names(office, gullible, monkeypatch):
    monkeypatch.setenv("http_proxy", gullible.url)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("CALLKEEPER_PASSWORD", "whatever")

    with pytest.raises(WrongCredentials):
        sign_in(office.app, "officer", DECIDERS)

    assert gullible.asked == 0
