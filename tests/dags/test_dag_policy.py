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


def test_there_is_a_dag_in_every_file(dags):
    assert set(dags) == {f.stem for f in FILES}


def test_every_dag_has_its_runbook_owner_tags_and_one_run_at_a_time(dags):
    for name, dag in dags.items():
        assert dag.doc_md.lstrip().startswith(f"# {name}"), f"{name}: the docstring is the runbook"
        for heading in ("What it does", "When it is red", "Clear and run again"):
            assert heading in dag.doc_md, f"{name}: the runbook says '{heading}'"
        assert "callkeeper" in dag.tags
        # By hand, one case does not wait for another.
        assert dag.max_active_runs == (16 if name == "legal_hold" else 1)
        assert dag.dagrun_timeout is not None
        assert dag.access_control, f"{name}: who may see and run it is said in the DAG"
        assert dag.default_args["owner"] in ("data-team", "privacy-officer")


def test_every_task_retries_ends_and_tells_of_its_failure(dags):
    for dag in dags.values():
        for task in dag.tasks:
            where = f"{dag.dag_id}.{task.task_id}"
            assert task.owner in ("data-team", "privacy-officer"), where
            assert task.retries >= 1, where
            if "HITL" not in type(task).__mro__[0].__name__ and "Approval" not in type(task).__name__:
                assert task.execution_timeout is not None, f"{where}: a task that hangs must end"
            assert task.on_failure_callback, f"{where}: a failure is told"
            assert task.doc_md or task.python_callable.__doc__, where


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
    assert top <= {"__future__", "datetime", "airflow.sdk", "callkeeper", "callkeeper.clock"}, (
        "imports belong inside the tasks"
    )


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
