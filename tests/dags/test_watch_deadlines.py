"""watch_deadlines in Airflow: when it runs, and what others see of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callkeeper.errors import MailUnavailable
from callkeeper.notify import Message
from installation import DAY, NOW, Installation


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The DAG, as Airflow reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(Path(__file__).resolve().parents[2] / "dags" / "watch_deadlines.py"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags["watch_deadlines"]


class Morning:
    """``morning()`` is the task `watch`; ``mails`` went out, ``notes`` were set."""

    def __init__(self, dag: Any, office: Installation, patch: pytest.MonkeyPatch) -> None:
        from callkeeper import connections

        self.task, self.office, self.patch, self.connections = dag.get_task("watch"), office, patch, connections
        self.mails: list[tuple[str, Message]] = []
        self.notes: list[str] = []
        self.down = False
        office.change_settings(smtp_host="relay", mail_privacy="officer@x", mail_escalation="above@x")
        patch.setattr(connections, "app", lambda: office.app)
        patch.setattr(connections, "note_run", lambda _app, _dag, _run, note: self.notes.append(note))

    def send(self, message: Message, *, to: str = "") -> None:
        if self.down:
            raise MailUnavailable("The relay does not answer.")
        self.mails.append((to, message))

    def __call__(self, run: str = "scheduled__1") -> dict[str, int]:
        vars(self.office.app)["notifier"] = self
        body = self.task.python_callable
        ti = SimpleNamespace(dag_id="watch_deadlines", run_id=run, task_id="watch", try_number=1, map_index=-1)
        with self.patch.context() as patch:
            patch.setitem(body.__globals__, "get_current_context", lambda: {"ti": ti, "run_id": run})
            counts: dict[str, int] = body()
        return counts


@pytest.fixture
def morning(dag, fresh_office, monkeypatch) -> Morning:
    return Morning(dag, fresh_office, monkeypatch)


def closing(office: Installation) -> None:
    """A day that its vendor deletes soon, and that is not here."""
    office.sql.execute(
        "insert into delivery_day (vendor, day, state) values ('linna', %s, 'open')", (DAY - timedelta(days=28),)
    )


def test_it_looks_each_morning_at_seven_in_helsinki(dag):
    assert "0 7 * * *" in (getattr(dag.timetable, "expression", ""), getattr(dag.timetable, "_expression", ""))
    assert {task.task_id for task in dag.tasks} == {"watch", "seal"}
    assert dag.get_task("seal").is_teardown
    assert dag.catchup is False


def test_a_morning_with_nothing_to_tell_is_noted_and_nobody_is_mailed(morning):
    assert morning() == {"late": 0}
    assert morning.mails == []
    assert morning.notes == ["**2026-11-25: nothing falls due**"]


def test_what_falls_due_is_mailed_to_the_officer_and_only_counted_for_others(morning):
    closing(morning.office)

    counts = morning()

    assert counts == {"vendors": 1, "late": 0}
    ((to, mail),) = morning.mails
    assert (to, mail.subject) == ("officer@x", "callkeeper deadlines 2026-11-25: 1 for you")
    assert "27 October 2026 not complete" in mail.text
    assert mail.text.rstrip().endswith("/dags/watch_deadlines")
    assert morning.notes == ["**2026-11-25: 1 matter, 0 late**: vendors 1"]


def test_a_cleared_run_mails_nothing_again_and_the_next_morning_does(morning):
    closing(morning.office)

    morning(), morning()
    morning.office.set_clock(NOW + timedelta(days=1))
    morning("scheduled__2")

    assert len(morning.mails) == 2


def test_a_relay_that_is_down_fails_the_task_for_a_retry_that_tells(morning):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    closing(morning.office)
    morning.down = True
    with pytest.raises(AirflowException) as wrong:
        morning()
    assert not isinstance(wrong.value, AirflowFailException), "a retry helps"

    morning.down = False
    morning()
    assert len(morning.mails) == 1


def test_the_data_team_is_told_which_dags_are_paused(morning, monkeypatch):
    import httpx

    from callkeeper import connections

    def airflow(request: httpx.Request) -> httpx.Response:
        assert (request.url.path, request.url.params["paused"], request.url.params["tags"]) == (
            "/api/v2/dags",
            "true",
            "callkeeper",
        )
        return httpx.Response(200, json={"dags": [{"dag_id": "reconcile"}, {"dag_id": "legal_hold"}]})

    @contextmanager
    def signed_in(_: Any) -> Iterator[httpx.Client]:
        with httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow)) as http:
            yield http

    monkeypatch.setattr(connections, "_airflow", signed_in)
    morning()

    (told,) = [mail for to, mail in morning.mails if to == "" and "paused" in mail.subject]
    assert told.text.startswith("These DAGs are paused, and so never run: legal_hold, reconcile.")
