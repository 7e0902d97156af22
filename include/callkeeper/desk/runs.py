"""What Airflow does, it does in the name of whoever sits at the desk: with the token of her own session.

A run of ``subject_request`` asks, and this answers it. Everything that is sent there is a ticket's number, a code or a hash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from callkeeper import db
from callkeeper.errors import CallkeeperError, NotAllowed
from callkeeper.jobs import fulfilling, leading
from callkeeper.jobs.leading import Question, Where

DAG = "subject_request"
PATIENCE_SECONDS = 90.0
"""So long a form waits for Airflow; then the page says that it goes on by itself."""
SETTLES = timedelta(seconds=2)
"""An answer within about a second of its question fails the task (Airflow 3.3.2)."""
POLL_SECONDS = 0.4


class AirflowSilent(CallkeeperError):
    """Airflow did not answer, or took too long."""

    retry = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Airflow's API, as one person."""

    api: str
    token: str

    def trigger(self, ticket: fulfilling.Ticket, run: str, action: str = "advance") -> None:
        """Starts a run for the ticket. That there is one of that number already is as good. Raises NotAllowed, AirflowSilent."""
        conf = {"ticket": ticket.ticket, "right": ticket.right.value, "action": action}
        answer = self._send("POST", f"/dags/{DAG}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": conf})
        if answer.status_code != 409:
            _require(answer)

    def asked_since(self, run: str, question: Question) -> datetime | None:
        """Since when the run waits for an answer to that question; None: it does not (yet)."""
        answer = self._send("GET", f"/dags/{DAG}/dagRuns/{run}/taskInstances/{question}/-1/hitlDetails")
        if answer.status_code == 404:
            return None
        _require(answer)
        detail = answer.json()
        if detail["response_received"] or detail["task_instance"]["state"] not in ("awaiting_input", "deferred"):
            return None
        return datetime.fromisoformat(detail["created_at"])

    def answer(self, run: str, question: Question, chosen: str, params: Mapping[str, str | None]) -> None:
        """Answers it. Raises NotAllowed where somebody else is asked, or somebody has answered; AirflowSilent."""
        body = {"chosen_options": [chosen], "params_input": dict(params)}
        answer = self._send("PATCH", f"/dags/{DAG}/dagRuns/{run}/taskInstances/{question}/-1/hitlDetails", body)
        if answer.status_code == 403:
            raise NotAllowed(
                "You are not among those who are asked.", mend="Whoever says the first yes never says the second."
            )
        if answer.status_code == 409:
            raise NotAllowed("Somebody has answered already.", mend="Load the page again.")
        _require(answer)

    def _send(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            with httpx.Client(base_url=f"{self.api.rstrip('/')}/api/v2", timeout=20, trust_env=False) as http:
                return http.request(method, path, json=body, headers={"Authorization": f"Bearer {self.token}"})
        except httpx.HTTPError:
            raise AirflowSilent("Airflow does not answer.", mend="Try it again in a minute.") from None


def _require(answer: httpx.Response) -> None:
    if answer.status_code in (401, 403):
        raise NotAllowed("Airflow does not let your account do this.", mend="The roles of Airflow name who may.")
    if answer.is_error:
        # Its text may repeat what was sent.
        raise AirflowSilent(f"Airflow answered with a fault ({answer.status_code}).", mend="Try it again in a minute.")


def say(
    conn: db.Connection, runs: Runs, ticket: fulfilling.Ticket, question: Question, chosen: str, **params: str | None
) -> None:
    """Gives a person's answer to a ticket's run, starting one where none waits; returns once it is recorded.

    Raises NotAllowed where the ticket waits for something else, AirflowSilent where Airflow takes too long.
    """
    ends = time.monotonic() + PATIENCE_SECONDS
    run = _asking(conn, runs, ticket, question, ends)
    _until(ends, lambda: (since := runs.asked_since(run, question)) is not None and datetime.now(UTC) - since > SETTLES)
    runs.answer(run, question, chosen, params)
    _until(ends, lambda: not _waits(leading.where(conn, ticket.ticket), run, question))


def go_on(conn: db.Connection, runs: Runs, ticket: fulfilling.Ticket) -> None:
    """Starts the ticket's next run, unless one has it."""
    stands = leading.where(conn, ticket.ticket)
    if stands.run is None:
        runs.trigger(ticket, stands.next_run)


def _asking(conn: db.Connection, runs: Runs, ticket: fulfilling.Ticket, question: Question, ends: float) -> str:
    go_on(conn, runs, ticket)
    found: list[str] = []

    def asks() -> bool:
        stands = leading.where(conn, ticket.ticket)
        if stands.run and stands.question not in (None, question):
            raise NotAllowed("This request waits for something else by now.", mend="Load the page again.")
        if stands.run and stands.question:
            found.append(stands.run)
        return bool(found)

    _until(ends, asks)
    return found[0]


def _waits(stands: Where, run: str, question: Question) -> bool:
    return stands.run == run and stands.question == question


def _until(ends: float, done: Callable[[], bool]) -> None:
    while not done():
        if time.monotonic() > ends:
            raise AirflowSilent(
                "Airflow is slow, and has not done it yet.",
                mend="It may still do it: look at this page again in a minute.",
            )
        time.sleep(POLL_SECONDS)
