"""Real runs of legal_hold in an Airflow of its own, its tasks' bodies replaced; prints a line of states a run.

``python real_run.py TASK ...``: a run for each, in which that task fails and the other succeeds (``none``: both do). For a process of its
own, with an AIRFLOW_HOME of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DAGS = Path(__file__).resolve().parents[2] / "dags"


def main(failing: str) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(str(DAGS / "legal_hold.py")).dags["legal_hold"]
    for task in dag.tasks:
        task.retries, task.on_failure_callback = 0, []
        task.python_callable = fail if task.task_id == failing else succeed
    run = dag.test(run_conf={"case": "H-2026-0001", "action": "place"})
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    sys.stdout.write(f"\nRESULT {json.dumps({'run': str(run.state), **states})}\n")


def fail() -> dict[str, int]:
    raise RuntimeError("this task fails")


def succeed() -> dict[str, int]:
    return {"n": 1}


if __name__ == "__main__":
    for each in sys.argv[1:]:
        main(each)
