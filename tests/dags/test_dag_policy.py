"""Policy over every DAG: what the data team may count on."""

from __future__ import annotations

import ast
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FIRST_DAY = "2026-06-01"
FILES = sorted((PROJECT / "dags").glob("*.py"))


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.setenv("CALLKEEPER_IMPORT_FIRST_DAY", FIRST_DAY)
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(PROJECT / "dags"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags


WAITS_FOR_PEOPLE = {"subject_request"}
"""DAGs whose runs ask people questions in Airflow, and wait for weeks."""


def test_there_is_a_dag_in_every_file(dags):
    assert set(dags) == {f.stem for f in FILES}


def test_every_dag_has_its_runbook_owner_tags_and_one_run_at_a_time(dags):
    for name, dag in dags.items():
        assert dag.doc_md.lstrip().startswith(f"# {name}"), f"{name}: the docstring is the runbook"
        for heading in ("What it does", "When it is red", "Clear and run again"):
            assert heading in dag.doc_md, f"{name}: the runbook says '{heading}'"
        assert "callkeeper" in dag.tags
        # By hand, one case does not wait for another; a request's run waits for weeks, while others come.
        assert dag.max_active_runs == {"legal_hold": 16, "subject_request": 1000, "disclose": 4}.get(name, 1)
        # A run that waits for a person is never timed out. All that could hang in it, its tasks, ends by itself (below).
        assert (dag.dagrun_timeout is None) == (name in WAITS_FOR_PEOPLE), name
        assert dag.access_control, f"{name}: who may see and run it is said in the DAG"
        assert dag.default_args["owner"] in ("data-team", "privacy-officer")


def test_every_task_retries_ends_and_tells_of_its_failure(dags):
    for dag in dags.values():
        for task in dag.tasks:
            where = f"{dag.dag_id}.{task.task_id}"
            assert task.owner in ("data-team", "privacy-officer"), where
            assert task.retries >= 1, where
            if asks(task):
                assert dag.dag_id in WAITS_FOR_PEOPLE, where
                # No end, and so no default that would be taken for an answer.
                assert (task.response_timeout, task.execution_timeout, task.defaults) == (None, None, None), where
            else:
                assert task.execution_timeout is not None, f"{where}: a task that hangs must end"
            assert task.on_failure_callback, f"{where}: a failure is told"
            assert task.doc_md or task.python_callable.__doc__, where


def asks(task) -> bool:
    """Whether the task is a question to a person."""
    return any("HITL" in kind.__name__ for kind in type(task).__mro__)


def test_each_question_offers_what_the_core_knows_and_names_its_people(dags):
    from callkeeper import tickets
    from callkeeper.jobs import leading

    dag = dags["subject_request"]
    questions = {task.task_id: task for task in dag.tasks if asks(task)}

    assert {name: tuple(task.options) for name, task in questions.items()} == leading.OPTIONS
    for name, task in questions.items():
        assert "assigned_users" in task.template_fields, f"{name}: its people are known when it is asked"
        assert task.assigned_users is not None, f"{name}: Airflow would let anybody answer"
    enums = {key: tuple(dag.params.get_param(key).schema["enum"]) for key in ("right", "action", "extension_reason")}
    assert enums == {
        "right": tuple(tickets.Right),
        "action": leading.WHATS,
        "extension_reason": (None, *tickets.EXTENSION_REASONS),
    }
    decide, deliver = questions["decide"].params, questions["deliver"].params
    assert tuple(decide.get_param("erasure_ground").schema["enum"]) == (None, *tickets.ERASURE_GROUNDS)
    assert tuple(decide.get_param("ground").schema["enum"]) == (None, *tickets.GROUNDS)
    assert tuple(decide.get_param("extension_reason").schema["enum"]) == (None, *tickets.EXTENSION_REASONS)
    assert tuple(deliver.get_param("channel").schema["enum"]) == (None, *tickets.CHANNELS)


def test_no_run_of_another_dag_carries_a_persons_word(dags):
    """What people decide in is triggered by them, or by its own last stretch."""
    kinds = {name: {kind.value for kind in dag.allowed_run_types or ()} for name, dag in dags.items()}
    assert kinds["legal_hold"] == {"manual"}
    assert kinds["subject_request"] == {"manual", "operator_triggered"}


def _cron(dag) -> str:
    return getattr(dag.timetable, "expression", None) or getattr(dag.timetable, "_expression", "")


def test_no_daily_dag_is_scheduled_in_the_hour_that_comes_twice_or_not_at_all(dags):
    assert _cron(dags["import_recordings"]) == "15 2 * * *"
    for dag in dags.values():
        hour = (_cron(dag).split() or ["", "*"])[1]
        assert hour != "3", f"{dag.dag_id}: 03:00 to 04:00 local is not safe"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_no_dag_reads_airflows_metadata_database_or_holds_a_rule(file: Path):
    tree = ast.parse(file.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    banned = ("airflow.models", "airflow.settings", "airflow.utils.session", "sqlalchemy", "psycopg", "boto3")
    assert not [name for name in imported if name.startswith(banned)]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_a_dag_file_imports_nothing_heavy_when_it_is_parsed(file: Path):
    tree = ast.parse(file.read_text())
    top = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }
    light = {"__future__", "datetime", "airflow.sdk", "callkeeper", "callkeeper.clock"}
    # 0.03 s, and a question is an operator.
    light.add("airflow.providers.standard.operators.hitl")
    assert top <= light, "imports belong inside the tasks"


def test_import_catches_up_from_its_first_day_so_that_no_day_is_skipped(dags):
    dag = dags["import_recordings"]
    assert dag.catchup is True
    assert dag.start_date.astimezone(ZoneInfo("Europe/Helsinki")).isoformat() == f"{FIRST_DAY}T02:15:00+03:00"


def test_only_the_import_may_be_backfilled(dags):
    """What deletes, holds or compares acts on the present: a past night of it is no night."""
    backfilled = {
        name
        for name, dag in dags.items()
        if dag.allowed_run_types is None or "backfill" in {kind.value for kind in dag.allowed_run_types}
    }
    assert backfilled == {"import_recordings"}
