"""Who may do what in Airflow: each account tries everything over the REST API, and docs/access.md says what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from callkeeper import roles
from callkeeper.embedded.airflow import ACCOUNTS
from callkeeper.embedded.stack import Stack
from demonstration import PROJECT, callkeeper

DAGS = sorted(file.stem for file in (PROJECT / "dags").glob("*.py"))
RUN = "dags/{dag}/dagRuns/none"
TASK = f"{RUN}/taskInstances/none"
WITH_A_DAG: Mapping[str, tuple[str, str, object]] = {
    "see it and its runs": ("GET", "dags/{dag}/dagRuns", None),
    "read a task's log": ("GET", f"{TASK}/logs/1", None),
    "read what tasks hand on (XCom)": ("GET", f"{TASK}/xcomEntries/none", None),
    # A run id that Airflow refuses: who may trigger is told so, and nothing runs.
    "trigger it": ("POST", "dags/{dag}/dagRuns", {"dag_run_id": "no / id", "logical_date": None}),
    "clear its tasks": ("POST", "dags/{dag}/clearTaskInstances", {"dry_run": True, "dag_run_id": "none"}),
    "mark a task by hand": ("PATCH", TASK, {"new_state": "success"}),
    "change a run's note or state": ("PATCH", RUN, {"note": "tried"}),
    "pause it": ("PATCH", "dags/{dag}", {"is_paused": None}),
    "answer its questions": ("PATCH", f"{TASK}/-1/hitlDetails", {"chosen_options": ["Approve"]}),
    "delete a run of it": ("DELETE", RUN, None),
    "delete it": ("DELETE", "dags/{dag}", None),
}
"""How each is tried: on a run that is not there, so that whoever may is told so, and nothing changes."""
BESIDES: Mapping[str, tuple[str, str, object]] = {
    "read variables": ("GET", "variables", None),
    "write variables": ("POST", "variables", {}),
    "read connections": ("GET", "connections", None),
    "write connections": ("POST", "connections", {}),
    "read pools": ("GET", "pools", None),
    "write pools": ("POST", "pools", {}),
    "read Airflow's configuration": ("GET", "config", None),
    "read Airflow's own log": ("GET", "eventLogs", None),
    "list accounts": ("GET", "/auth/fab/v1/users", None),
    "make accounts": ("POST", "/auth/fab/v1/users", {}),
}
REFUSED = (401, 403)


@pytest.fixture(scope="module")
def signed_in(stack: Stack) -> Iterator[Callable[[str], httpx.Client]]:
    """A client of Airflow's API for each account."""
    clients: dict[str, httpx.Client] = {}

    def client(name: str) -> httpx.Client:
        if name not in clients:
            http = httpx.Client(base_url=stack.url, timeout=60, trust_env=False)
            password = stack.secrets.get(f"airflow_{name}_password")
            answer = http.post("/auth/token", json={"username": name, "password": password})
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            clients[name] = http
        return clients[name]

    yield client
    for http in clients.values():
        http.close()


def tried(http: httpx.Client, method: str, path: str, body: object) -> bool:
    """Whether Airflow let it through to the thing itself, there or not."""
    where = path if path.startswith("/") else f"/api/v2/{path}"
    answer = http.request(method, where, json=body) if body is not None else http.request(method, where)
    assert answer.status_code < 500, f"{method} {where}: {answer.status_code}"
    return answer.status_code not in REFUSED


def test_every_role_and_every_dag_of_ours_is_tried():
    assert {account.role for account in ACCOUNTS} == set(roles.PERMISSIONS) | {roles.ADMIN} == set(roles.TITLES)
    assert set(WITH_A_DAG) == set(roles.WITH_A_DAG)
    assert set(BESIDES) == set(roles.BESIDES)
    assert set(DAGS) >= roles.BY_HAND


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda a: a.name)
def test_each_account_may_do_with_each_dag_what_the_matrix_says(signed_in, account):
    http = signed_in(account.name)
    paused = {dag: signed_in("admin").get(f"/api/v2/dags/{dag}").json()["is_paused"] for dag in DAGS}
    wrong = []
    for doing, (method, path, body) in WITH_A_DAG.items():
        for dag in DAGS:
            # Pausing is tried by what it is already.
            said = {"is_paused": paused[dag]} if doing == "pause it" else body
            may = roles.kind_of(dag) in roles.WITH_A_DAG[doing].get(account.role, ())
            # Whoever may delete a DAG would: her right is tried on one that is not there.
            which = f"{dag}_none" if doing == "delete it" and may else dag
            if tried(http, method, path.format(dag=which), said) != may:
                wrong.append(f"{account.name}, {dag}: may{'' if may else ' not'} {doing}")
    assert wrong == []


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda a: a.name)
def test_each_account_may_besides_do_what_the_matrix_says(signed_in, account):
    http = signed_in(account.name)
    wrong = [
        f"{account.name}: {doing}"
        for doing, (method, path, body) in BESIDES.items()
        if tried(http, method, path, body) != (account.role in roles.BESIDES[doing])
    ]
    assert wrong == []


def test_a_listener_sees_no_dag_in_any_list(signed_in):
    answer = signed_in("listener").get("/api/v2/dags")
    assert answer.status_code in REFUSED or answer.json()["dags"] == []


def test_what_airflow_lets_its_admin_trigger_decides_nothing(signed_in):
    """An admin opens every door of Airflow; what is decided behind it asks [people] in force, in words."""
    http, dag = signed_in("admin"), "/api/v2/dags/disclose"
    paused = http.get(dag).json()["is_paused"]
    http.patch(dag, json={"is_paused": False}).raise_for_status()
    try:
        asked = {"conf": {"disclosure": "DIS-2026-0001", "action": "ask"}, "logical_date": None}
        run = http.post(f"{dag}/dagRuns", json=asked).json()["dag_run_id"]
        state, until = "queued", time.monotonic() + 240
        while state not in ("failed", "success") and time.monotonic() < until:
            time.sleep(2)
            state = http.get(f"{dag}/dagRuns/{run}").json()["state"]
        told = http.get(f"{dag}/dagRuns/{run}/taskInstances/carry_out/logs/1").text
    finally:
        http.patch(dag, json={"is_paused": paused}).raise_for_status()
    assert state == "failed"
    assert "This account may not do this" in told


def test_the_roles_and_accounts_are_made_by_one_command_too(stack: Stack, tmp_path: Path):
    """`callkeeper airflow roles` and `accounts`, in Airflow's environment, find what `callkeeper up` made, and make what lacks."""
    config = tmp_path / "callkeeper.toml"
    text = (PROJECT / "config" / "callkeeper.toml").read_text()
    config.write_text(text.replace('auditors = ["auditor"]', 'auditors = ["auditor", "tilintarkastaja"]'))
    passwords = tmp_path / "passwords"
    passwords.write_text("tilintarkastaja: sala sana 1\n")
    env = {
        **os.environ,
        **stack.airflow_environment(),
        "CALLKEEPER_HOME": str(stack.home),
        "CALLKEEPER_CONFIG_FILE": str(config),
    }

    def asked(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "callkeeper.cli", "airflow", *arguments],
            env=env, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert set(roles.PERMISSIONS) <= set(asked("roles").split())
    told = asked("accounts", "--passwords", str(passwords))
    assert [line.split(maxsplit=2)[::2] for line in told.splitlines() if "is there" not in line] == [
        ["tilintarkastaja", "made"]
    ]
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as http:
        token = http.post("/auth/token", json={"username": "tilintarkastaja", "password": "sala sana 1"}).json()[
            "access_token"
        ]
        http.headers["Authorization"] = f"Bearer {token}"
        assert http.get("/api/v2/dags/delete_expired").status_code == 200
        assert http.get("/api/v2/variables").status_code == 403


def test_the_doctor_says_which_dags_are_paused(home: Path, signed_in):
    http = signed_in("data")
    http.patch("/api/v2/dags/reconcile", json={"is_paused": True}).raise_for_status()
    try:
        checks = json.loads(callkeeper(home, "doctor", "airflow", "--json").stdout)
        assert [c["verdict"] for c in checks if "reconcile" in c["what"] and c["what"].startswith("Paused")] == ["warn"]
    finally:
        http.patch("/api/v2/dags/reconcile", json={"is_paused": False}).raise_for_status()
    checks = json.loads(callkeeper(home, "doctor", "airflow", "--json").stdout)
    assert [c for c in checks if "reconcile" in c["what"]] == []
