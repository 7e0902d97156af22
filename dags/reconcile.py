"""# reconcile: catalogue, store and vendors side by side

**What it does.** Each morning at 05:00 (Helsinki) it compares every object in the store with the catalogue's rows, reads and
hashes the audio of some recordings again (others each day), asks the store of some whether their legal holds still stand,
compares what the vendors list for the latest days with what is here, and looks for what has come back though it was deleted. It ends in a balance sheet of all that was ever imported,
`imported = live + quarantined + gone`, by three counts that know nothing of each other: what the runs counted, what the trail
was told, what is there. Nothing is deleted here.

**Objects that no row explains** are noted when they are first seen. Seen again by a later run, they go into the journal and
wait for a person's yes: `callkeeper approve orphans`.

**When it is red.** The mail says why, and so does the log of the `balance` task. Which recordings a finding is about stands in
the log of the task that found it, by their UUIDs.

| red task | what it means | what to do |
|---|---|---|
| `compare_store`, `read_sample`, `check_keeping` | the store or the database failed in the middle | `callkeeper doctor`; clear the task, then `balance` |
| `compare_vendors` | the configuration is wrong, or the database failed; an unanswering vendor is a line in the mail | mend it; clear the task, then `balance` |
| `balance` | one of the above, or something was lost, changed, or has come back: see below | the mail names it |

| what the mail says | what to do |
|---|---|
| recordings of which the store has no audio | was an older database restored? `callkeeper restore-check`. Else the audio is lost: tell the privacy officer |
| audio that is not what was imported; delete markers; versions beside a recording's own | somebody works past callkeeper, or the store fails: look at it, tell the privacy officer |
| recordings under a hold that the store does not keep any more; uploads left unfinished | somebody works past callkeeper: find out who may lift legal holds, or write. The next settling places the legal holds again |
| objects of recordings that were proven gone | was the store restored? Seen again, they are planned to go |
| calls that are in the database again after their deletion | `callkeeper restore-check --apply` |
| recordings that were deleted here, and the vendor has them (again) | the next import of that day plans them again; if it lasts, talk to the vendor |
| calls in staging of vendors that are no longer configured | put the vendor back until they are in; else a night deletes them when their term is over |
| days that no import has asked for | trigger `import_recordings` with the day |
| calls that were imported, and are nowhere here; counts that differ | a fault of ours, or a row was removed by hand: report it |

**Clear and run again.** Every task is safe to clear and run again, in any order, any number of times: each notes what it found
in the place of what it had found before. It is never backfilled: it looks at what is there now.

**By hand.** Trigger it at any hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, TriggerRule, dag, get_current_context, task

from callkeeper.clock import HELSINKI


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(minutes=10))
def begin() -> int:
    """Opens the run's reconciliation."""
    from callkeeper import connections
    from callkeeper.jobs import reconciling

    with connections.step() as app, app.connect() as conn:
        return reconciling.begin(conn, get_current_context()["run_id"])


@task(execution_timeout=timedelta(hours=4))
def compare_store(number: int) -> dict[str, int]:
    """Compares every object in the store with the rows that explain it."""
    from callkeeper import connections
    from callkeeper.jobs import reconciling

    with connections.step() as app, app.connect() as conn:
        who = connections.actor(app, conn, get_current_context())
        return dict(reconciling.compare_store(conn, number, app.store, who))


@task(execution_timeout=timedelta(hours=2))
def read_sample(number: int) -> dict[str, int]:
    """Reads and hashes the audio of some recordings again."""
    from callkeeper import connections
    from callkeeper.jobs import reconciling

    with connections.step() as app, app.connect() as conn:
        return dict(reconciling.read_sample(conn, number, app.store, sample=app.settings.reconcile_sample))


@task(execution_timeout=timedelta(hours=2))
def check_keeping(number: int) -> dict[str, int]:
    """Asks the store whether legal holds still stand, and for uploads that nobody finished."""
    from callkeeper import connections
    from callkeeper.jobs import reconciling

    with connections.step() as app, app.connect() as conn:
        sample = app.settings.reconcile_sample
        return dict(reconciling.check_keeping(conn, number, app.holder, app.destroyer, sample=sample))


@task(execution_timeout=timedelta(hours=2))
def compare_vendors(number: int) -> dict[str, int]:
    """Compares what the vendors list for the latest days with what is here."""
    from callkeeper import connections
    from callkeeper.jobs import reconciling

    with connections.step() as app, app.connect() as conn:
        vendors = [app.vendor(entry.id) for entry in app.config.vendors]
        days = app.settings.import_relook_days
        return dict(reconciling.compare_vendors(conn, number, vendors, app.keyring, relook_days=days))


@task(execution_timeout=timedelta(minutes=30), trigger_rule=TriggerRule.ALL_DONE)
def balance() -> dict[str, int]:
    """Draws up the balance sheet, notes and mails the findings, and fails if something needs somebody."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        return connections.end_reconciliation(app, conn, get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


@dag(
    dag_id="reconcile",
    doc_md=__doc__,
    tags=["callkeeper", "daily", "reconciliation"],
    schedule=CronTriggerTimetable("0 5 * * *", timezone="Europe/Helsinki"),
    start_date=datetime(2026, 1, 1, tzinfo=HELSINKI),
    catchup=False,
    allowed_run_types=["scheduled", "manual"],
    max_active_runs=1,
    # Shorter than a day: a run that hangs must not keep the next one waiting.
    dagrun_timeout=timedelta(hours=12),
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
def reconcile() -> None:
    number = begin()
    # A part that failed keeps no other from being compared.
    parts = [compare_store(number), read_sample(number), check_keeping(number), compare_vendors(number)]
    parts >> balance() >> seal().as_teardown()


reconcile()
