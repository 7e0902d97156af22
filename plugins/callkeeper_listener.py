"""Airflow's listener: the start and end of callkeeper's runs and tasks, told to callkeeper.trail.witness.

Airflow calls the hooks for runs in the scheduler, for tasks in the task's own process, and both in the api-server when somebody
sets a state by hand. Only a task waits for its sight to be written, at most two seconds; a hook that raises is logged by Airflow.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from typing import ClassVar

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from callkeeper import settings
from callkeeper.trail import witness
from callkeeper.trail.events import RunEnded, RunStarted, TaskEnded, TaskStarted


@cache
def _witness() -> witness.Witness:
    return witness.Witness(settings.load().witness_dir, settings.load)


def _run(dag_run, kind, **facts) -> None:
    if witness.is_ours(dag_run.dag_id):
        event = partial(kind, triggered_by=dag_run.triggering_user_name, **facts)
        _witness().see(event, witness.actor(dag=dag_run.dag_id, run=dag_run.run_id), wait=False)


def _ended(dag_run, state: str, msg: str) -> None:
    _run(dag_run, RunEnded, state=state, by_hand="manually" in msg)


def _task(ti, kind, **facts) -> None:
    if not witness.is_ours(ti.dag_id):
        return
    # In the scheduler and the api-server it is a row of Airflow's database, and nobody waits.
    in_task = type(ti).__module__.startswith("airflow.sdk.")
    user = ti.get_template_context()["dag_run"].triggering_user_name if in_task else None
    lane = None if ti.map_index == -1 else ti.map_index
    who = witness.actor(dag=ti.dag_id, run=ti.run_id, task=ti.task_id, attempt=ti.try_number)
    _witness().see(partial(kind, map_index=lane, triggered_by=user, **facts), who, wait=in_task)


def _task_ended(ti, state: str, previous_state) -> None:
    _task(ti, TaskEnded, state=state, by_hand=previous_state is None)


@hookimpl
def on_dag_run_running(dag_run, msg):
    run_type = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    _run(dag_run, _begun(RunStarted), run_type=run_type)


@hookimpl
def on_dag_run_success(dag_run, msg):
    _ended(dag_run, "success", msg)


@hookimpl
def on_dag_run_failed(dag_run, msg):
    _ended(dag_run, "failed", msg)


@hookimpl
def on_task_instance_running(previous_state, task_instance):
    _task(task_instance, _begun(TaskStarted))


@hookimpl
def on_task_instance_success(previous_state, task_instance):
    _task_ended(task_instance, "success", previous_state)


@hookimpl
def on_task_instance_skipped(previous_state, task_instance):
    _task_ended(task_instance, "skipped", previous_state)


@hookimpl
def on_task_instance_failed(previous_state, task_instance, error):
    again = getattr(task_instance.state, "value", task_instance.state) == "up_for_retry"
    _task_ended(task_instance, "up_for_retry" if again else "failed", previous_state)


@hookimpl
def before_stopping(component):
    _witness().flush()


def _begun(kind):
    """The event with the digest of the code, which is worked out where nobody waits for it."""
    return lambda **facts: kind(code=witness.code_digest(), **facts)


class CallkeeperListener(AirflowPlugin):
    name = "callkeeper_listener"
    listeners: ClassVar = [sys.modules[__name__]]
