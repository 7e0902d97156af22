"""Airflow's API, as one signed-in account."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from callkeeper.errors import SetupFailed

ENDED = ("success", "failed")


class Airflow:
    """Asks and triggers; ``url`` is Airflow's own address."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def get(self, path: str, **params: Any) -> Any:
        """What is there; None if it is not."""
        try:
            answer = self.http.get(f"/api/v2{path}", params=params)
        except httpx.TimeoutException:  # a busy machine: asked once more
            answer = self.http.get(f"/api/v2{path}", params=params)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def unpause(self, dag: str) -> None:
        self.http.patch(f"/api/v2/dags/{dag}", json={"is_paused": False}).raise_for_status()

    def scheduled(self, dag: str) -> list[dict[str, Any]]:
        """The DAG's scheduled runs, the oldest first."""
        found = self.get(f"/dags/{dag}/dagRuns", limit=100, order_by="run_after", run_type="scheduled")
        return list(found["dag_runs"])

    def switch_on(self, dag: str) -> str | None:
        """Unpauses the DAG. Airflow makes up for the last time at which it was due: that run's id, if there is one."""
        if not self.get(f"/dags/{dag}")["is_paused"]:
            return None
        before = [run["dag_run_id"] for run in self.scheduled(dag)]
        self.unpause(dag)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for run in self.scheduled(dag):
                if run["dag_run_id"] not in before:
                    return str(run["dag_run_id"])
            time.sleep(0.5)
        return None

    def until_parsed(self, dag: str) -> Any:
        """The DAG's details, once Airflow knows it. Raises SetupFailed after four minutes."""
        end = time.monotonic() + 240
        while (found := self.get(f"/dags/{dag}/details")) is None:
            if time.monotonic() > end:
                raise SetupFailed(
                    f"Airflow does not know {dag} after 4 minutes.",
                    mend="See the dag-processor's log, `callkeeper stack`.",
                )
            time.sleep(1)
        return found

    def run(self, dag: str, run_id: str) -> Any:
        """The run as Airflow has it; None if there is no such run."""
        return self.get(f"/dags/{dag}/dagRuns/{run_id}")

    def state(self, dag: str, run_id: str) -> str | None:
        found = self.run(dag, run_id)
        return str(found["state"]) if found else None

    def ended_well(self, dag: str, run_id: str) -> bool:
        return self.state(dag, run_id) == "success"

    def start(self, dag: str, run_id: str, conf: Mapping[str, str]) -> None:
        """Triggers the run, or clears it if it had failed; one that is under way goes on."""
        state = self.state(dag, run_id)
        if state is None:
            body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
            self.http.post(f"/api/v2/dags/{dag}/dagRuns", json=body).raise_for_status()
        elif state == "failed":
            self.http.post(f"/api/v2/dags/{dag}/dagRuns/{run_id}/clear", json={"dry_run": False}).raise_for_status()

    def wait(self, dag: str, run_id: str, *, seconds: float) -> str:
        """The state in which the run has ended. Raises SetupFailed if it does not."""
        end = time.monotonic() + seconds
        while (state := self.state(dag, run_id)) not in ENDED:
            if time.monotonic() > end:
                raise SetupFailed(
                    f"The run {run_id} of {dag} has not ended after {seconds / 60:.0f} minutes.",
                    mend="See it in Airflow, then run this again.",
                )
            time.sleep(0.5)
        return str(state)

    def running(self, dag: str, run_id: str) -> str:
        """Which tasks run now, with the vendor's name where they have one."""
        found = self.get(f"/dags/{dag}/dagRuns/{run_id}/taskInstances", limit=100)
        tasks = [t for t in found["task_instances"] if t["state"] == "running"]
        return ", ".join(f"{t['task_id']} {t.get('rendered_map_index') or ''}".strip() for t in tasks)


@contextlib.contextmanager
def signed_in(url: str, account: str, password: str) -> Iterator[Airflow]:
    """Airflow as the account sees it."""
    # Nothing between this machine and itself: a proxy of the environment is not asked.
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        try:
            answer = http.post("/auth/token", json={"username": account, "password": password})
            answer.raise_for_status()
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield Airflow(http)
        except httpx.HTTPError as wrong:
            what = f"HTTP {wrong.response.status_code}" if isinstance(wrong, httpx.HTTPStatusError) else "no answer"
            raise SetupFailed(
                f"Airflow did not do what it was asked for: {what}.", mend="See `callkeeper stack`; run this again."
            ) from None
