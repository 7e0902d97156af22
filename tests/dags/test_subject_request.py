"""subject_request in Airflow: who may trigger it, whom it asks, what counts as an answer, and what it must not tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from jsonschema import ValidationError, validate

from asking import opened, proven, three_calls
from callkeeper.errors import AirflowUnavailable, NotAllowed
from callkeeper.tickets import Right
from installation import Installation

PROJECT = Path(__file__).resolve().parents[2]
NUMBER = "+358401234501"


@pytest.fixture(scope="module")
def request_dag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The DAG, as Airflow reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(PROJECT / "dags" / "subject_request.py"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags["subject_request"]


# --- the DAG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"ticket": NUMBER},
        {"ticket": "DSR-2026-1"},
        {"right": "everything"},
        {"right": NUMBER},
        {"action": "approve"},
        {"extension_reason": "busy"},
        {"extension_reason": NUMBER},
    ],
)
def test_no_parameter_takes_anything_but_a_ticket_and_known_words(request_dag, wrong):
    good = {"ticket": "DSR-2026-0007", "right": "access", "action": "extend", "extension_reason": "complexity"}
    schemas = {name: request_dag.params.get_param(name).schema for name in good}

    for name, value in good.items():
        validate(value, schemas[name])
    for name, value in wrong.items():
        with pytest.raises(ValidationError):
            validate(value, schemas[name])


def test_those_who_decide_may_trigger_it_and_the_others_read(request_dag):
    may = {role: set(grants["DAGs"]) for role, grants in request_dag.access_control.items()}

    # callkeeper_notes sets a run's note, the data team clears; neither may create a run (docs/access.md is tried on a real Airflow)
    assert {role for role, can in may.items() if "can_edit" in can} == {
        "callkeeper_officer",
        "callkeeper_approver",
        "callkeeper_notes",
        "callkeeper_data_team",
    }
    assert may["callkeeper_auditor"] == {"can_read"}


def test_a_question_without_people_is_not_asked(request_dag):
    question = request_dag.get_task("decide")

    for nobody in ([], None):
        asked = copy(question)
        asked.assigned_users = nobody
        with pytest.raises(ValueError, match="Nobody is named"):
            type(question).execute.__wrapped__(asked, {})


def test_what_is_typed_into_a_question_is_repeated_nowhere(request_dag):
    question = request_dag.get_task("decide")
    who = {"id": "3", "name": "officer"}
    event = {
        "chosen_options": ["Refuse"],
        "params_input": {"ground": NUMBER, "a field": NUMBER},
        "responded_at": datetime(2026, 11, 28, tzinfo=UTC),
        "responded_by_user": who,
    }

    assert question.execute_complete({}, event) == {"chosen_options": ["Refuse"], "responded_by_user": who}


def test_a_run_that_asks_nobody_ends_and_one_that_fails_is_red(tmp_path):
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "PYTHONPATH": str(PROJECT / "include"),
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("real_run.py")), "subject_request", "none", "begin"],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip

    found = [json.loads(line.removeprefix("RESULT ")) for line in done.stdout.splitlines() if line.startswith("RESULT")]
    questions = ("decide", "second", "release", "deliver")
    skipped, cut_off = dict.fromkeys(questions, "skipped"), dict.fromkeys(questions, "upstream_failed")
    assert found == [
        {"run": "success", "begin": "success", **skipped, "record": "skipped", "seal": "success"},
        {"run": "failed", "begin": "failed", **cut_off, "record": "upstream_failed", "seal": "success"},
    ], done.stderr[-3000:]


# --- what its tasks do --------------------------------------------------------------------------------------------------


class Airflow:
    """Airflow's API, as the tasks' account sees it: paths to answers."""

    def __init__(self) -> None:
        self.ids = {"officer": "3", "approver": "5"}
        self.runs: dict[str, str] = {}
        self.detail: dict[str, Any] | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/callkeeper-people/ids":
            asked = request.url.params.get_list("account")
            return httpx.Response(200, json={name: self.ids[name] for name in asked if name in self.ids})
        if path.endswith("/hitlDetails"):
            return httpx.Response(200, json=self.detail) if self.detail else httpx.Response(404)
        state = self.runs.get(path.rpartition("/")[2])
        return httpx.Response(200, json={"state": state}) if state else httpx.Response(404)


class Task(SimpleNamespace):
    """A task instance, with what it has pushed."""

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        return self.pushed.get(key)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    from callkeeper import connections

    fake = Airflow()

    @contextmanager
    def client(_: Any) -> Iterator[httpx.Client]:
        with httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(fake.answer)) as http:
            yield http

    monkeypatch.setattr(connections, "_airflow", client)
    monkeypatch.setattr(connections, "note_run", lambda *_: None)
    return fake


def context(ticket: str, run: str, *, right: str = "erasure", account: str | None = "officer") -> dict[str, Any]:
    ti = Task(dag_id="subject_request", run_id=run, task_id="begin", try_number=1, map_index=-1, pushed={})
    params = {"ticket": ticket, "right": right, "action": "advance", "extension_reason": None}
    return {"ti": ti, "run_id": run, "params": params, "dag_run": SimpleNamespace(triggering_user_name=account)}


def begin(office: Installation, facts: dict[str, Any]) -> Any:
    from callkeeper import connections

    with office.connect() as conn:
        return connections.begin_request(office.app, conn, facts)


def record(office: Installation, facts: dict[str, Any]) -> Any:
    from callkeeper import connections

    with office.connect() as conn:
        return connections.record_answer(office.app, conn, facts)


@pytest.fixture
def asked(office: Installation, airflow: Airflow) -> SimpleNamespace:
    """A ticket whose run has asked the officer; ``facts`` is the run's context."""
    ticket = proven(three_calls(office), opened(office, Right.erasure))
    facts = context(ticket, f"{ticket}--1")
    begin(office, facts)
    return SimpleNamespace(office=office, ticket=ticket, facts=facts)


def test_a_question_goes_to_the_people_in_force_by_airflows_ids(asked):
    pushed = asked.facts["ti"].pushed

    assert pushed["question"] == "decide"
    assert pushed["asked"] == [{"id": "3", "name": "officer"}]
    assert "1 of phm, 1 of punavaara" in pushed["text"]


def test_nothing_is_asked_where_nobody_has_an_account(office, airflow):
    ticket = proven(three_calls(office), opened(office, Right.erasure))
    airflow.ids = {}

    with pytest.raises(NotAllowed, match="None of officer has an account"):
        begin(office, context(ticket, "manual__1"))


def test_a_run_that_nobody_triggered_does_nothing(office, airflow):
    ticket = proven(three_calls(office), opened(office, Right.erasure))

    with pytest.raises(NotAllowed, match="Nobody's account"):
        begin(office, context(ticket, "manual__1", account=None))


def test_a_task_that_was_marked_by_hand_is_no_answer(asked, airflow):
    for detail in (
        {"response_received": False, "chosen_options": None, "responded_by_user": None},
        {"response_received": True, "chosen_options": ["Approve"], "responded_by_user": None},
    ):
        airflow.detail = detail
        with pytest.raises(NotAllowed, match="Nobody has answered"):
            record(asked.office, asked.facts)

    assert asked.office.value("select count(*) from decision where subject = %s", asked.ticket) == 0


def test_an_answer_that_airflow_does_not_tell_may_be_asked_for_again(asked):
    with pytest.raises(AirflowUnavailable) as told:
        record(asked.office, asked.facts)

    assert told.value.retry


def test_an_answer_counts_in_the_name_that_airflow_noted(asked, airflow):
    airflow.detail = {
        "response_received": True,
        "chosen_options": ["Ask for identity"],
        "params_input": {},
        "responded_by_user": {"id": "3", "name": "officer"},
    }

    stretch = record(asked.office, asked.facts)

    assert stretch.state == "identity_asked"
    moved = asked.office.events("ticket.moved")[-1]
    assert (moved["actor"]["account"], moved["actor"]["run"]) == ("officer", f"{asked.ticket}--1")


def test_the_next_run_is_triggered_with_the_ticket_and_its_right_only(asked, airflow):
    from airflow.sdk.exceptions import DagRunTriggerException

    from callkeeper import connections

    airflow.detail = {
        "response_received": True,
        "chosen_options": ["Narrow"],
        "params_input": {"scope": NUMBER},
        "responded_by_user": {"id": "3", "name": "officer"},
    }

    with pytest.raises(DagRunTriggerException) as triggered:
        connections.go_on(asked.facts, record(asked.office, asked.facts))

    assert (triggered.value.trigger_dag_id, triggered.value.dag_run_id) == ("subject_request", f"{asked.ticket}--2")
    assert triggered.value.conf == {"ticket": asked.ticket, "right": "erasure", "action": "advance"}


@pytest.mark.parametrize(("state", "told"), [("running", False), ("queued", False), ("failed", True), (None, True)])
def test_a_run_that_airflow_has_ended_or_lost_leaves_its_ticket_to_the_next(asked, airflow, state, told):
    airflow.runs = {f"{asked.ticket}--1": state} if state else {}

    if told:
        assert begin(asked.office, context(asked.ticket, "manual__2")).question == "decide"
    else:
        with pytest.raises(NotAllowed, match=f"{asked.ticket}--1 carries"):
            begin(asked.office, context(asked.ticket, "manual__2"))
