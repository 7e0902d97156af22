"""The second witness, in a real Airflow: all that it ran stands in the trail, and when the listener's database is away, nothing else is."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from callkeeper.embedded.stack import Stack
from callkeeper.trail.events import Recorded, RunEnded, RunStarted, TaskEnded, TaskStarted, WitnessMissed, read

DAG = "reconcile"


def _seen(stack: Stack, run: str | None = None) -> list[Recorded]:
    """What the listener saw, of one run or of all, in its order."""
    with stack.postgres.connect("callkeeper") as sql:
        rows = sql.execute("select body from callkeeper.event where class = 'run' order by id").fetchall()
    found = [read(bytes(row.body)) for row in rows]
    witnessed = (RunStarted, RunEnded, TaskStarted, TaskEnded)
    return [r for r in found if isinstance(r.event, witnessed) and run in (None, r.actor.run)]


def _marks(stack: Stack) -> int:
    return len(list((stack.home / "witness").glob("[0-9]*")))


def _told(stack: Stack) -> int:
    """How much the seals have said that was missed."""
    with stack.postgres.connect("callkeeper") as sql:
        rows = sql.execute("select body from callkeeper.event where class = 'trail' order by id").fetchall()
    return sum(r.event.count for row in rows if isinstance((r := read(bytes(row.body))).event, WitnessMissed))


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


def _expected(airflow: httpx.Client, dag: str, run: str, state: str) -> Iterator[tuple]:
    """What a witness must have seen of a run that has ended: (what, task, lane, state)."""
    yield (RunStarted, None, None, None)
    yield (RunEnded, None, None, state)
    for task in _tasks(airflow, dag, run):
        # What Airflow skips by itself is seen by nobody.
        if task["state"] in ("success", "failed") and task["try_number"] and task["start_date"]:
            lane = task["map_index"] if task["map_index"] >= 0 else None
            yield (TaskStarted, task["task_id"], lane, None)
            yield (TaskEnded, task["task_id"], lane, task["state"])


def _unseen(stack: Stack, airflow: httpx.Client, dag: str, run: str, state: str) -> list[tuple]:
    seen = [
        (type(r.event), r.actor.task, getattr(r.event, "map_index", None), getattr(r.event, "state", None))
        for r in _seen(stack, run)
        if r.actor.dag == dag
    ]
    return [one for one in _expected(airflow, dag, run, state) if one not in seen]


def test_every_run_and_task_that_airflow_knows_is_witnessed_or_marked_as_missed(stack: Stack, airflow: httpx.Client):
    """A busy machine may take longer than two seconds for a transaction: then it is missed, and that is known."""
    time.sleep(4)
    runs = airflow.get("/api/v2/dags/~/dagRuns", params={"limit": 100}).json()["dag_runs"]
    ended = [r for r in runs if r["state"] in ("success", "failed")]

    unseen = [one for r in ended for one in _unseen(stack, airflow, r["dag_id"], r["dag_run_id"], r["state"])]

    assert len(ended) >= 4
    assert len(_seen(stack)) >= 2 * len(ended)
    assert len(unseen) <= _marks(stack) + _told(stack)


def test_a_witness_says_who_triggered_it_and_which_code_ran(stack: Stack, airflow: httpx.Client):
    for attempt in range(3):
        marks, name = _marks(stack), f"witness-up-{attempt}-{time.time_ns()}"
        assert _run(airflow, name) == "success"
        if _marks(stack) == marks:
            break

    assert _unseen(stack, airflow, DAG, name, "success") == []
    seen = _seen(stack, name)
    assert {r.event.triggered_by for r in seen} == {"data"}
    assert len({r.event.code for r in seen if isinstance(r.event, RunStarted | TaskStarted)}) == 1
    assert isinstance(seen[0].event, RunStarted)
    assert isinstance(seen[-1].event, RunEnded)


def test_a_state_set_by_hand_is_told_from_one_that_came_about(stack: Stack, airflow: httpx.Client):
    name = next(r.actor.run for r in reversed(_seen(stack)) if r.actor.run.startswith("witness-up"))
    path, wanted = f"/api/v2/dags/{DAG}/dagRuns/{name}", {(TaskEnded, "balance", "failed"), (RunEnded, None, "failed")}
    for _ in range(3):
        airflow.patch(f"{path}/taskInstances/balance", json={"new_state": "failed"}).raise_for_status()
        airflow.patch(path, json={"state": "failed"}).raise_for_status()
        time.sleep(4)
        by_hand = {
            (type(r.event), r.actor.task, r.event.state)
            for r in _seen(stack, name)
            if getattr(r.event, "by_hand", False)
        }
        if by_hand >= wanted:
            break

    assert by_hand == wanted


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
    marks, name = _marks(stack), f"witness-{away}-{time.time_ns()}"

    assert _run(airflow, name) == "success"

    assert {t["state"] for t in _tasks(airflow, DAG, name)} == {"success"}
    assert stack.health()["scheduler"] == "healthy"
    assert _seen(stack, name) == []
    # no less: what others saw meanwhile is in the folder too
    assert _marks(stack) - marks >= len(list(_expected(airflow, DAG, name, "success")))


def test_the_next_seal_says_how_much_was_missed(stack: Stack, airflow: httpx.Client):
    time.sleep(31)  # a younger mark may be of what is just being written
    missed, before = set((stack.home / "witness").glob("[0-9]*")), _told(stack)
    assert missed
    airflow.patch("/api/v2/dags/seal_audit", json={"is_paused": False}).raise_for_status()
    body = {"dag_run_id": f"witness-seal-{time.time_ns()}", "logical_date": None, "conf": {}}
    airflow.post("/api/v2/dags/seal_audit/dagRuns", json=body).raise_for_status()
    end = time.monotonic() + 300
    while any(mark.exists() for mark in missed) and time.monotonic() < end:
        time.sleep(1)

    assert not any(mark.exists() for mark in missed)
    assert _told(stack) - before >= len(missed)
