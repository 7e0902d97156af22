"""The second witness, in a real Airflow: all that it ran stands in the trail, and when the listener's database is away, nothing else is."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from callkeeper.embedded.stack import Stack
from callkeeper.trail.events import Recorded, RunEnded, RunStarted, TaskEnded, TaskStarted, read

DAG = "reconcile"
TASKS = ("begin", "compare_store", "read_sample", "compare_vendors", "balance", "seal")


def _seen(stack: Stack, run: str | None = None) -> list[Recorded]:
    """What the listener saw, of one run or of all, in its order."""
    with stack.postgres.connect("callkeeper") as sql:
        rows = sql.execute("select body from callkeeper.event where class = 'run' order by id").fetchall()
    found = [read(bytes(row.body)) for row in rows]
    witnessed = (RunStarted, RunEnded, TaskStarted, TaskEnded)
    return [r for r in found if isinstance(r.event, witnessed) and run in (None, r.actor.run)]


def _marks(stack: Stack) -> int:
    return len(list((stack.home / "witness").glob("[0-9]*")))


def _run(airflow: httpx.Client, name: str) -> str:
    """A run of reconcile from its trigger to its end; the state in which it ended."""
    body = {"dag_run_id": name, "logical_date": None, "conf": {}}
    airflow.post(f"/api/v2/dags/{DAG}/dagRuns", json=body).raise_for_status()
    end = time.monotonic() + 300
    while time.monotonic() < end:
        state = airflow.get(f"/api/v2/dags/{DAG}/dagRuns/{name}").json()["state"]
        if state in ("success", "failed"):
            time.sleep(4)  # a run's end is seen by the scheduler, which waits for no writing
            return str(state)
        time.sleep(0.5)
    raise AssertionError("the run does not end")


def _tasks(airflow: httpx.Client, dag: str, run: str) -> list[dict]:
    return airflow.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances").json()["task_instances"]


def test_every_run_and_task_that_airflow_knows_has_its_witnesses(stack: Stack, airflow: httpx.Client):
    seen = _seen(stack)
    runs = airflow.get("/api/v2/dags/~/dagRuns", params={"limit": 100}).json()["dag_runs"]
    ended = {(r["dag_id"], r["dag_run_id"]): r["state"] for r in runs if r["state"] in ("success", "failed")}

    assert len(ended) >= 4
    for (dag, run), state in ended.items():
        mine = [r for r in seen if (r.actor.dag, r.actor.run) == (dag, run)]
        assert sum(isinstance(r.event, RunStarted) for r in mine) >= 1, run
        assert [r.event.state for r in mine if isinstance(r.event, RunEnded)][-1:] == [state], run
        for task in _tasks(airflow, dag, run):
            if task["state"] not in ("success", "failed") or not task["try_number"] or not task["start_date"]:
                continue  # what Airflow skips by itself is seen by nobody
            lane = task["map_index"] if task["map_index"] >= 0 else None
            own = [r.event for r in mine if (r.actor.task, r.actor.attempt) == (task["task_id"], task["try_number"])]
            assert any(isinstance(e, TaskStarted) and e.map_index == lane for e in own), (run, task["task_id"])
            assert any(isinstance(e, TaskEnded) and (e.map_index, e.state) == (lane, task["state"]) for e in own), run


def test_a_witness_says_who_triggered_it_and_which_code_ran(stack: Stack, airflow: httpx.Client):
    assert _run(airflow, "witness-up") == "success"

    seen = _seen(stack, "witness-up")
    assert {r.event.triggered_by for r in seen} == {"data"}
    assert len({r.event.code for r in seen if isinstance(r.event, RunStarted | TaskStarted)}) == 1
    assert sorted(r.actor.task for r in seen if isinstance(r.event, TaskStarted)) == sorted(TASKS)
    assert sorted(r.actor.task for r in seen if isinstance(r.event, TaskEnded)) == sorted(TASKS)
    assert isinstance(seen[0].event, RunStarted)
    assert isinstance(seen[-1].event, RunEnded)


def test_a_state_set_by_hand_is_told_from_one_that_came_about(stack: Stack, airflow: httpx.Client):
    path = f"/api/v2/dags/{DAG}/dagRuns/witness-up"
    airflow.patch(f"{path}/taskInstances/balance", json={"new_state": "failed"}).raise_for_status()
    airflow.patch(path, json={"state": "failed"}).raise_for_status()
    time.sleep(4)

    by_hand = [r for r in _seen(stack, "witness-up") if getattr(r.event, "by_hand", False)]
    assert [(type(r.event), r.actor.task, r.event.state) for r in by_hand] == [
        (TaskEnded, "balance", "failed"),
        (RunEnded, None, "failed"),
    ]


@pytest.fixture(params=["down", "hanging"])
def away(request: pytest.FixtureRequest, stack: Stack) -> Iterator[str]:
    """The listener's database is another one, and that one is away; everybody else's is as it was."""
    file: Path = stack.home / "callkeeper.env"
    before = file.read_text()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if request.param == "down":
            server.close()
        ours = f"CALLKEEPER_DB_PORT='{stack.ports['postgres']}'"
        assert ours in before
        file.write_text(before.replace(ours, f"CALLKEEPER_DB_PORT='{port}'"))
        try:
            yield request.param
        finally:
            file.write_text(before)
            (stack.home / "witness" / "pause").unlink(missing_ok=True)


def test_a_listener_without_its_database_fails_no_task_and_holds_up_no_scheduler(
    stack: Stack, airflow: httpx.Client, away: str
):
    marks = _marks(stack)

    assert _run(airflow, f"witness-{away}") == "success"

    assert {t["state"] for t in _tasks(airflow, DAG, f"witness-{away}")} == {"success"}
    assert stack.health()["scheduler"] == "healthy"
    assert _seen(stack, f"witness-{away}") == []
    assert _marks(stack) - marks == 2 * len(TASKS) + 2


def test_the_next_seal_says_how_much_was_missed(stack: Stack, airflow: httpx.Client):
    time.sleep(31)
    missed = _marks(stack)
    assert missed
    airflow.patch("/api/v2/dags/seal_audit", json={"is_paused": False}).raise_for_status()
    body = {"dag_run_id": "witness-seal", "logical_date": None, "conf": {}}
    airflow.post("/api/v2/dags/seal_audit/dagRuns", json=body).raise_for_status()
    end = time.monotonic() + 240
    while _marks(stack) and time.monotonic() < end:
        time.sleep(1)

    with stack.postgres.connect("callkeeper") as sql:
        rows = sql.execute("select body from callkeeper.event where class = 'trail' order by id").fetchall()
    told = [r.event.count for row in rows if (r := read(bytes(row.body))).event.action == "witness.missed"]
    assert sum(told) == missed
    assert _marks(stack) == 0
