"""Real runs of a DAG in an Airflow of its own, its tasks' bodies replaced; prints a line of states a run.

``python real_run.py DAG TASK ...``: a run for each, in which that task fails and the others succeed (``none``: all do); a branch goes to nothing.
For a process of its own, with an AIRFLOW_HOME of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DAGS = Path(__file__).resolve().parents[2] / "dags"


CONF = {
    "legal_hold": {"case": "H-2026-0001", "action": "place"},
    "subject_request": {"ticket": "DSR-2026-0001", "right": "access"},
}


def main(name: str, failing: str) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(str(DAGS / f"{name}.py")).dags[name]
    for task in dag.tasks:
        task.retries, task.on_failure_callback = 0, []
        if task.task_id == failing:
            task.python_callable = fail
        else:
            task.python_callable = go_nowhere if "Branch" in type(task).__name__ else succeed
    run = dag.test(run_conf=CONF[name])
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    sys.stdout.write(f"\nRESULT {json.dumps({'run': str(run.state), **states})}\n")


def fail() -> dict[str, int]:
    raise RuntimeError("this task fails")


def succeed() -> dict[str, int]:
    return {"n": 1}


def go_nowhere() -> None:
    return None


if __name__ == "__main__":
    for each in sys.argv[2:]:
        main(sys.argv[1], each)
