"""A disclosure in real runs of Airflow: one account asks, another approves, and nothing that is sealed comes out on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from callkeeper import settings as settings_module
from callkeeper import wiring
from callkeeper.embedded.stack import Stack
from callkeeper.jobs import disclosing
from demonstration import leaks_in_databases, leaks_in_files

AUTHORITY, REFERENCE = "Kanarialan poliisilaitos", "5530/R/987654/26"


@pytest.fixture(scope="module")
def trigger(stack: Stack) -> Callable[..., str]:
    """A run of disclose in somebody's name; its state in the end, and its note."""

    def run(account: str, disclosure: str, action: str, channel: str | None = None) -> str:
        with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as http:
            said = {"username": account, "password": stack.secrets.get(f"airflow_{account}_password")}
            http.headers["Authorization"] = f"Bearer {http.post('/auth/token', json=said).json()['access_token']}"
            dag = "/api/v2/dags/disclose"
            conf = {"disclosure": disclosure, "action": action, "channel": channel}
            answer = http.post(f"{dag}/dagRuns", json={"conf": conf, "logical_date": None})
            answer.raise_for_status()
            mine, until = answer.json()["dag_run_id"], time.monotonic() + 300
            while (found := http.get(f"{dag}/dagRuns/{mine}").json())["state"] not in ("success", "failed"):
                assert time.monotonic() < until, found["state"]
                time.sleep(2)
            return f"{found['state']}: {found['note']}"

    return run


def test_two_runs_by_two_accounts_make_a_package_and_a_third_hands_it_over(home: Path, stack: Stack, trigger):
    app = wiring.build(settings_module.load(home=home))
    with app.connect() as conn:
        which = [
            row.recording for row in conn.execute("select recording from recording order by eligible_at desc limit 2")
        ]
        disclosure = disclosing.draft(
            conn, app.keyring, recipient_kind="authority", recipient=AUTHORITY, purpose="authority", statute="Pakkokeinolaki 8:23",
            reference=REFERENCE, recordings=which, years=3, account="officer", actor=app.actor(conn, account="officer"),
        )  # fmt: skip

    assert "waits for a second person" in trigger("officer", disclosure, "ask")
    assert trigger("officer", disclosure, "approve").startswith("failed")
    assert f"success: {disclosure} is made: 2 recordings" in trigger("deputy", disclosure, "approve")
    with app.connect() as conn:
        officer = app.actor(conn, account="officer")
        with disclosing.open_package(conn, app, disclosure, officer) as body:
            assert body.read(4) == b"PK\x03\x04"
        passphrase = disclosing.passphrase(conn, app.keyring, disclosure, officer)
    assert (
        trigger("officer", disclosure, "hand_over", "courier") == f"success: {disclosure} is handed over: 2 recordings."
    )

    with app.connect() as conn:
        given = disclosing.of_recordings(conn, which, officer=False, keyring=app.keyring)
    assert {(g.recording, g.recipient) for g in given} == {(recording, AUTHORITY) for recording in which}
    secrets = [AUTHORITY.encode(), REFERENCE.encode(), passphrase.encode()]
    assert leaks_in_files(home, secrets) == []
    assert leaks_in_databases(stack, secrets) == []
