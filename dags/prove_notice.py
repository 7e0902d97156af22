"""# prove_notice: the notice as a program

**What it does.** Each morning at 06:00 (Helsinki) it asks every promise of the notice to callers of live data: catalogue, trail,
store, register. `config/notice.toml` has each promise in the notice's own words, with the control that keeps it and the name
of its check. An answer is *kept*, *broken*, *could not be checked* or *not yet applicable*, with its figure. What could
not be checked (the store is down, a question fails) never counts as kept. Nothing is changed by asking.

The answers stand in the store as JSON and HTML, `reports/notice/<day>/proof`, beside the nights' reports; the event `notice.proven`
has their counts and the JSON's SHA-256. No personal data are in them, and every hold is a legal ground like any other.

**When it is red.** A promise is broken or could not be checked. The data team and the privacy officer have a mail that names each,
with its figure and what mends it; so do the run's note and the log. It is red each morning until that is mended.

| promise | most often | what to do |
|---|---|---|
| Deleted after six months | a night did not happen, or something waits for a yes | `callkeeper reports show`, the runbook of `delete_expired` |
| Every copy is accounted for | `reconcile` is red, paused or late | its mail, and its runbook |
| Deleted at the vendor, too | a vendor refuses, or does not answer | `callkeeper deletions list`; `settle` once you know |
| Kept longer for a specific reason only | a review is overdue, a second person's word is missing | the privacy officer: `callkeeper holds` |
| Every processor is bound by a contract | a contract ended | renew it, write it into `config/callkeeper.toml`, `callkeeper config apply` |
| Processors handle what is necessary, no more | a vendor has switched a feature on | have it switched off |
| Nothing leaves the EU or the EEA | a region or a sub-processor changed | move it, then write where it is |
| Only date, time, duration and number | a column or a table that nobody explained | say in `config/notice.toml` what it holds, or take it away |
| Nothing goes to the customer register | a role, a server or a table of another system is at the database | find out who made it, and take it away |
| The trail can only be added to | a right or a trigger was changed | `callkeeper doctor rights`; find out who did it |
| The notice in force is this one | the notice has changed | bring `docs/notice-fi.txt` and `config/notice.toml` up to it |
| could not be checked | store or database did not answer | `callkeeper doctor`; clear the task |

**Clear and run again.** The task is safe to clear and run again at any time: it asks anew, and a second proof of the same day
takes the next name (`proof-2`). It is never backfilled: it asks about the present.

**By hand.** Trigger it at any hour; or look without leaving a trace: `callkeeper prove`, with `--html FILE` for the page. A morning's
answers, as the store has them and the trail knows them: `callkeeper prove --day 2026-11-25`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from callkeeper.clock import HELSINKI


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(hours=2))
def prove() -> dict[str, int]:
    """Asks every promise, keeps and tells the answers, and fails if one is broken or could not be checked."""
    from callkeeper import connections

    with connections.step() as app:
        return connections.prove_notice(app, get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


@dag(
    dag_id="prove_notice",
    doc_md=__doc__,
    tags=["callkeeper", "daily", "proof"],
    schedule=CronTriggerTimetable("0 6 * * *", timezone="Europe/Helsinki"),
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
def prove_notice() -> None:
    prove() >> seal().as_teardown()


prove_notice()
