"""Sealing in Airflow: the hourly run and its alarms, and the end of every other run, whose colour stays its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from callkeeper.errors import StoreUnavailable
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, DayClosed, TaskStarted
from installation import ACTOR, Installation

PROJECT = Path(__file__).resolve().parents[2]
EVENT = DayClosed(vendor="linna", day="2026-11-24", state="complete")
CONTEXT = {
    "run_id": "r1",
    "ti": SimpleNamespace(dag_id="seal_audit", run_id="r1", task_id="seal", try_number=1, map_index=-1),
}


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        return dict(DagBag(str(PROJECT / "dags")).dags)


# --- its shape --------------------------------------------------------------------------------------------------------


def test_it_runs_at_minute_15_of_every_hour(dags):
    dag = dags["seal_audit"]
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("15 * * * *", "UTC")
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_every_other_dag_ends_in_sealing_as_a_teardown_that_judges_no_run(dags):
    for name, dag in dags.items():
        if name == "seal_audit":
            continue
        last = {task.task_id for task in dag.tasks if not task.downstream_task_ids}
        assert last == {"seal"}, name
        seal = dag.get_task("seal")
        assert (seal.is_teardown, seal.on_failure_fail_dagrun) == (True, False), name
        assert seal.trigger_rule.value == "all_done_setup_success", name


def test_a_red_run_stays_red_under_its_sealing_and_a_green_one_green(tmp_path):
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "PYTHONPATH": str(PROJECT / "include"),
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("real_run.py")), "legal_hold", "carry_out", "seal", "none"],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip

    found = [json.loads(line.removeprefix("RESULT ")) for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert found == [
        {"run": "failed", "carry_out": "failed", "seal": "success"},
        {"run": "success", "carry_out": "success", "seal": "failed"},
        {"run": "success", "carry_out": "success", "seal": "success"},
    ], done.stderr[-3000:]


# --- what its tasks do ------------------------------------------------------------------------------------------------


class Mails(list[tuple[str, Any]]):
    def send(self, message: Any, *, to: str = "") -> None:
        self.append((to, message))


@pytest.fixture
def sealing(sealed_office: Installation, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``sealing.office``, ``sealing.mails``; the tasks' bodies are those of connections."""
    from callkeeper import connections

    mails = Mails()
    sealed_office.change_settings(smtp_host="relay", mail_privacy="officer@x", trail_wait_seconds=2)

    def app() -> Any:
        vars(sealed_office.app)["notifier"] = mails
        return sealed_office.app

    monkeypatch.setattr(connections, "app", app)
    with sealed_office.connect() as conn:  # as Airflow's listener does it
        append(conn, Actor(dag="seal_audit", run="r1", task="seal", attempt=1), [TaskStarted(code="0")])
        conn.commit()
    return SimpleNamespace(
        office=sealed_office,
        mails=mails,
        hour=lambda: connections.seal_hour(CONTEXT),
        run=lambda: connections.seal_run(CONTEXT),
    )


def write(office: Installation) -> None:
    with office.connect() as conn:
        append(conn, ACTOR, [EVENT])
        conn.commit()


def test_an_hour_writes_its_heartbeat_and_seals_it(sealing):
    first, second = sealing.hour(), sealing.hour()

    assert second["size"] == first["size"] + 1
    assert len(sealing.office.events("trail.heartbeat")) == 2
    assert sealing.office.value("select count(*) from event where id not in (select event_id from leaf)") == 0
    assert sealing.mails == []


def test_an_hour_tells_what_airflows_listener_missed_and_seals_that_too(sealing, caplog):
    folder = sealing.office.settings.witness_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1764300000000000000-1-1").touch()

    sealing.hour()

    (told,) = sealing.office.events("witness.missed")
    assert told["count"] == 1
    assert "listener missed 1 starts and ends" in caplog.text
    assert list(folder.iterdir()) == []
    assert sealing.office.value("select count(*) from event where id not in (select event_id from leaf)") == 0


def test_the_end_of_a_run_has_its_events_under_a_checkpoint(sealing):
    write(sealing.office)

    assert sealing.run() == {"sealed": 3, "covered": 1}
    assert sealing.run() == {"sealed": 0, "covered": 1}


def test_the_end_of_a_run_waits_for_no_transaction_for_long_and_says_who_it_was(sealing, caplog):
    sealing.hour()
    with sealing.office.connect() as slow:
        append(slow, ACTOR, [EVENT])
        write(sealing.office)

        assert sealing.run()["covered"] == 0
        pid = slow.info.backend_pid

    assert f"session {pid} in the database" in caplog.text


def test_the_end_of_a_run_does_not_fail_for_an_anchor_that_is_down_and_the_hour_does(sealing, monkeypatch, caplog):
    write(sealing.office)

    def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("The object store does not answer.")

    monkeypatch.setattr("callkeeper.media.s3.S3Store.versions", down)

    assert sealing.run() == {"sealed": 0, "covered": 0}
    assert "the anchor does not answer" in caplog.text
    with pytest.raises(Exception, match="does not answer"):
        sealing.hour()
    assert sealing.office.value("select count(*) from checkpoint") == 0


def test_a_transaction_that_holds_everything_up_is_an_alarm_with_its_pid_and_database(sealing, postgres):
    """Idle, after having written, in another database of the server."""
    sealing.hour()
    sealing.office.change_settings(trail_lag_minutes=0)
    with postgres.connect("postgres") as other:
        other.execute("create table if not exists elsewhere (n integer)")
        other.autocommit = False
        other.execute("insert into elsewhere values (1)")
        pid = other.info.backend_pid

        with pytest.raises(AirflowFailException, match=f"session {pid} in the database postgres"):
            sealing.hour()
        other.rollback()

    assert [to for to, _ in sealing.mails] == ["", "officer@x"]
    assert sealing.mails[0][1].subject == "callkeeper ALARM: the trail waits for a transaction"
    assert f"session {pid} in the database postgres (role postgres)" in sealing.mails[0][1].text


def test_a_broken_trail_is_an_alarm_and_nothing_is_signed(sealing):
    sealing.hour()
    with sealing.office.unguarded():
        sealing.office.sql.execute("delete from leaf where seq = 1")
    before = sealing.office.value("select count(*) from checkpoint")

    with pytest.raises(AirflowFailException, match="not as many leaves"):
        sealing.hour()

    assert [to for to, _ in sealing.mails] == ["", "officer@x"]
    assert sealing.office.value("select count(*) from checkpoint") == before
