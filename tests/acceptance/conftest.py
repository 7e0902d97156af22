"""The demonstration, played once for all acceptance tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from callkeeper.embedded.stack import Stack
from demonstration import callkeeper


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack of its own, with two days imported, and two of half a year ago let go of."""
    folder = tmp_path_factory.mktemp("demo") / "var"
    try:
        shown = callkeeper(folder, "demo", "--days", "2")
        assert shown.returncode == 0, shown.stdout[-4000:] + shown.stderr[-4000:]
        (folder / "demo.out").write_text(shown.stdout + shown.stderr)
        yield folder
    finally:
        callkeeper(folder, "down")


@pytest.fixture(scope="session")
def stack(home: Path) -> Stack:
    return Stack(home)


@pytest.fixture(scope="session")
def airflow(stack: Stack) -> Iterator[httpx.Client]:
    """Airflow's API as the data team's account."""
    login = next(login for login in stack.logins if login.account == "data")
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as http:
        answer = http.post("/auth/token", json={"username": login.account, "password": login.password})
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http
