"""# age_trail: what the trail says of long ago goes, and its seal stays

**What it does.** Each morning at 04:20 (Helsinki) it looks which months of the trail are past their term to their last event:
two years for who opened recordings, three for tickets and for all that proves a deletion (`[terms]` in the configuration; the
trail's own events never go). Such a month goes as a whole, a class at a time: its bodies are dropped, in one transaction with
the event `bodies.expired` that says how many they were and which leaves are theirs. The leaves stay, so the rest of the trail
is verified as before, and a body that is missing without such an event is tampering. Before it goes each body is compared with
its leaf once more. Most mornings there is nothing to do. Reports in the store go after the same three years; tombstones once no
backup (`backups_days`) and no vendor (`retention_days`) still has what they name. The marks of deleted recordings in the
suppression go half a year after that: by then import refuses such a call for its age. A ticket that has been closed for its term
(`tickets_years`) loses what is personal of it: numbers, times, sealed notes, and the salt without which nobody can say any more whom
its events were about. Its reference, right, days and outcome stay.

**When it is red.** The log of `drop_past_bodies` names each month and what keeps it. Nothing of such a month is dropped.

| what the log says of a month | what it means | what to do |
|---|---|---|
| was in use | a long look at the trail (an export, a report) was under way | nothing: it is tried again, and tomorrow |
| has events that were never sealed, or under no checkpoint that stands outside | `seal_audit` has not done its work, for years perhaps | see `seal_audit` and `callkeeper seal status`; then clear this run |
| has bodies that are not what was sealed; lacks bodies that were sealed | somebody has changed the trail past its guards | keep everything as it is, and call the privacy officer: this is evidence. `callkeeper-verify` on an export says which |

`drop_past_files` is red where the store keeps what should go: `callkeeper doctor` says what the destroyer may not do.

**Clear and run again.** Safe at any time, any number of times: what has gone is not looked for again.

**Backups** still have what has gone until they are past their own term (`backups_days`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from callkeeper.clock import HELSINKI


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(hours=1))
def drop_past_bodies() -> dict[str, int]:
    """Drops the months of the trail that are past their term, sealed and anchored; their leaves stay."""
    from callkeeper import connections

    return connections.age_trail(get_current_context())


@task(execution_timeout=timedelta(hours=1))
def drop_past_files() -> dict[str, int]:
    """Deletes reports and tombstones in the store that are past their term."""
    from callkeeper import connections

    return connections.age_files(get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def forget_past_tickets() -> dict[str, int]:
    """Erases what is personal of tickets that are past their term: numbers, times, sealed notes, and who their events were about."""
    from callkeeper import connections

    return connections.age_tickets(get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


@dag(
    dag_id="age_trail",
    doc_md=__doc__,
    tags=["callkeeper", "daily", "trail"],
    schedule=CronTriggerTimetable("20 4 * * *", timezone="Europe/Helsinki"),
    start_date=datetime(2026, 1, 1, tzinfo=HELSINKI),
    catchup=False,
    allowed_run_types=["scheduled", "manual"],
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args={
        "owner": "data-team",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "on_failure_callback": tell_failure,
    },
    access_control={
        "callkeeper_data_team": {"DAGs": {"can_read", "can_edit"}, "DAG Runs": {"can_create"}},
        "callkeeper_notes": {"DAGs": {"can_read", "can_edit"}},
        "callkeeper_officer": {"DAGs": {"can_read"}},
        "callkeeper_approver": {"DAGs": {"can_read"}},
        "callkeeper_auditor": {"DAGs": {"can_read"}},
    },
)
def age_trail() -> None:
    [drop_past_bodies(), drop_past_files(), forget_past_tickets()] >> seal().as_teardown()


age_trail()
