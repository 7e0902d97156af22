"""# watch_deadlines: what falls due, is late, or is about to be lost

**What it does.** Each morning at 07:00 (Helsinki) it looks for what a day is running out for, and mails it to the privacy officer
and her deputies (`CALLKEEPER_MAIL_PRIVACY`): one mail, in it ticket and case numbers, counts, days and names of the configuration. A morning with
nothing to tell sends nothing. The run's note, its log and its result have how many matters there are; which, only the mail says.

| section | what it tells, and when |
|---|---|
| Requests | a request 14, 7, 3 and 1 days before it is due, then each morning until it is answered; the day is the law's, and no question to the person stops it; reviews of freezes (nobody has proven who asks), restrictions and objections; packages that nobody has handed over, before they go |
| Legal grounds | a second person's word that is missing, each morning; a review 7, 3 and 1 days before, then each morning; a ground's end from 14 days before; days of a hold's window that nobody has imported; what the store has not confirmed |
| Disclosures | one that was neither handed over nor withdrawn 14 days after its draft, each morning |
| Quarantine | calls whose 14 days end in 7, 3, 1 days, today, or have ended |
| Deletions | recordings more than 48 hours past their term, where nights are live (a rehearsing night tells it itself: it waits for a yes) |
| Vendors | days that are not complete and that the vendor keeps for 2 days or no longer; copies open at it for more than 14 days |
| Contracts and legal basis | a contract's end 60, 30 and 7 days before; its grace, and all else that the preflight finds, each morning |

What is late beyond the officer's time (a request past its day, a hold not ratified for 6 days, a review 14 days over) goes to `CALLKEEPER_MAIL_ESCALATION` as well.
A morning that did not happen is made up for: what had its step since the last mail is told in the next. What waits for a
person's yes is told by the night that waits ([delete_expired](delete_expired.md)).

**When it is red.** Never for what falls due: that is somebody's to do, and not this DAG's. It is red when it could not look or tell.

| why | what to do |
|---|---|
| the database does not answer | `callkeeper doctor`; clear the task |
| the mail relay does not answer, or refuses an address | `callkeeper doctor`; mend it, clear the task: whom no mail has reached gets it then |

Where no relay is configured the run is green, its log says that nobody is told, and what was not told stays to be told.

**Clear and run again.** Safe at any time: a run that has told does not tell again; one that has not, does. A second run by hand on the
same day tells the same once more. It is never backfilled: it looks at the present.

**By hand.** Trigger it at any hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from callkeeper.clock import HELSINKI


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(minutes=30))
def watch() -> dict[str, int]:
    """Looks for what falls due, and mails it to the privacy officer and her deputies."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        return connections.watch_deadlines(app, conn, get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


@dag(
    dag_id="watch_deadlines",
    doc_md=__doc__,
    tags=["callkeeper", "daily", "deadlines"],
    schedule=CronTriggerTimetable("0 7 * * *", timezone="Europe/Helsinki"),
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
def watch_deadlines() -> None:
    watch() >> seal().as_teardown()


watch_deadlines()
