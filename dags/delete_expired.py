"""# delete_expired: what is past its term goes, unless something blocks it

**What it does.** Each night at 00:30 (Helsinki) it plans what has expired, asks of each recording whether anything blocks it,
deletes in the store by exact version, reads again that nothing is left, erases the catalogue's row, and asks the vendor to
delete its copy. What import, a quarantine, an erasure or a reconciliation put into the journal goes the same way. It ends in
a balance, `due - withdrawn = done + blocked + waiting + open at the vendor + failed`, and in a report: `callkeeper reports`.

**Rehearsal.** Until the privacy officer's recorded yes (`callkeeper approve go-live`) a night does everything but the effect:
it plans, counts and reports; nothing is armed, nothing is sent, no vendor is asked, and the tasks say so.

**Safety stop.** What the last forecast had foreseen goes. A surplus beyond it waits for a person's yes
(`callkeeper approve surplus`), and never keeps the rest or the next night waiting. A backlog goes in slices.

**When it is red.** The mail says why, and so does the log of the `balance` task.

| red task | what it means | what to do |
|---|---|---|
| `open_night` | the database did not answer, or the clocks differ by more than an hour: nothing is decided by a wrong one | see that it runs, or `callkeeper doctor` for the clock; clear the run |
| `settle_holds` | the store's legal holds are not in line with the register. Nothing held is deleted: the register is asked, under its lock, before each deletion. What was released may stay undeleted | `callkeeper doctor`; the next night tries again |
| `plan`, `arm` | the database failed, a clock is wrong, or the night took too long; nothing further was deleted | clear the task, and those after it |
| `tombstones` | the store did not answer: nothing was deleted without its tombstone | clear the task, or leave it: the next night goes on |
| `send_1`, `send_2` | the store failed in the middle, or refuses the destroyer | `callkeeper doctor`; clear the task, or leave it: the next night proves or repeats what was sent |
| `vendors`, `ask_vendor` | the database or a key failed; a vendor that does not answer, or is no longer configured, is no red task but a line in the mail | mend it; the next night asks again |
| `balance` | one of the above, or something needs somebody: see the table below | the mail names it |

| what the mail says | what to do |
|---|---|
| past their term by more than 48 hours | a promise is broken: see what is failed or waiting, and end it |
| wait for a person's yes | the officer looks and decides: `callkeeper approve` |
| not deleted, with a reason | `callkeeper deletions list` says what mends it |
| a vendor did not answer, or refused our account | talk to the vendor; the next night asks again |
| does not balance | a fault of ours: report it |
| the report is not in the store yet | see that the store runs; the next night writes it |

**Clear and run again.** Every task is safe to clear and run again, in any order, any number of times: the journal knows how
far each recording has come. A night that was cut off is balanced by the next one. It is never backfilled: a missed night's
recordings are due in the next.

**By hand.** Trigger it at any hour; it is one more night.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, TriggerRule, chain, dag, get_current_context, task

from callkeeper import settings
from callkeeper.clock import HELSINKI

SETTINGS = settings.load()


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(minutes=10))
def open_night() -> dict[str, object]:
    """Opens the night: live, or a rehearsal until the privacy officer's yes."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        night = connections.open_night(app, conn, get_current_context())
        print(f"night {night.night}, {night.day}: {night.mode}")
        return {"night": night.night, "mode": night.mode}


@task(execution_timeout=timedelta(hours=2))
def settle_holds() -> dict[str, int]:
    """Brings the store's legal holds in line with the register, so that what was released can go, and what is held can't."""
    from callkeeper import connections

    with connections.night(get_current_context()) as (app, conn, _, actor):
        return connections.settle_holds(app, conn, actor)


# A store that leaves holds unsettled stops no night (docs/adr/0163): plan needs the opened night only.
@task(execution_timeout=timedelta(hours=2), trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def plan() -> dict[str, int]:
    """Puts what has expired into the journal, marks what no forecast had foreseen, and counts what is due."""
    from callkeeper import connections
    from callkeeper.jobs import deleting

    with connections.night(get_current_context(), decides=True) as (app, conn, night, actor):
        return dict(deleting.plan(conn, night, app.deleting_rules(), actor))


@task(execution_timeout=timedelta(hours=2))
def arm() -> dict[str, int]:
    """Decides on each: blocked, waiting, or armed with its tombstone set. Arms nothing in a rehearsal."""
    from callkeeper import connections
    from callkeeper.jobs import deleting

    with connections.night(get_current_context(), decides=True) as (app, conn, night, actor):
        if not night.live:
            print("a rehearsal: nothing is armed")
        return dict(deleting.arm(conn, night, app.deleting_rules(), actor))


@task(execution_timeout=timedelta(hours=1))
def tombstones() -> dict[str, int]:
    """Writes what is about to go into the store, outside the database: a backup that is restored brings nothing back."""
    from callkeeper import connections
    from callkeeper.jobs import tombstones

    with connections.night(get_current_context()) as (app, conn, night, actor):
        return {"tombstones": tombstones.export(conn, app.store, night.night, actor)}


@task(execution_timeout=timedelta(hours=4))
def send(lane: int) -> dict[str, int]:
    """Deletes what is armed in the store, by exact version, and proves it: one of a few lanes, each claiming batches."""
    from callkeeper import connections
    from callkeeper.jobs import deleting

    with connections.night(get_current_context(), decides=True) as (app, conn, night, actor):
        if not night.live:
            print("a rehearsal: nothing is sent")
            return {}
        return dict(deleting.send(conn, night, app.destroyer, lane=lane, rules=app.deleting_rules(), actor=actor))


# A lane that failed keeps no vendor from being asked for what is gone already.
@task(execution_timeout=timedelta(minutes=10), trigger_rule=TriggerRule.ALL_DONE)
def vendors() -> list[str]:
    """The configured vendors that still have what is gone here; none in a rehearsal."""
    from callkeeper import connections, deletions

    with connections.night(get_current_context()) as (app, conn, night, _):
        if not night.live:
            print("a rehearsal: no vendor is asked")
            return []
        return deletions.vendors_to_ask(conn, [vendor.id for vendor in app.config.vendors])


@task(execution_timeout=timedelta(hours=4), map_index_template="{{ vendor_name }}")
def ask_vendor(vendor: str) -> dict[str, int]:
    """Asks a vendor to delete its copies, and looks whether those it accepted are gone."""
    from callkeeper import connections
    from callkeeper.jobs import deleting

    context = get_current_context()
    context["vendor_name"] = vendor
    with connections.night(context) as (app, conn, night, actor):
        rules = app.deleting_rules()
        return dict(deleting.ask_vendor(conn, night, app.vendor(vendor), keyring=app.keyring, rules=rules, actor=actor))


@task(execution_timeout=timedelta(hours=1), trigger_rule=TriggerRule.ALL_DONE)
def balance() -> dict[str, int]:
    """Do the counts add up? Makes the forecast and the report, notes and mails it, and fails if something needs somebody."""
    from callkeeper import connections

    context = get_current_context()
    with connections.night(context) as (app, conn, night, actor):
        return connections.end_night(app, conn, night, actor, context)


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


@dag(
    dag_id="delete_expired",
    doc_md=__doc__,
    tags=["callkeeper", "nightly", "deletion"],
    schedule=CronTriggerTimetable("30 0 * * *", timezone="Europe/Helsinki"),
    start_date=datetime(2026, 1, 1, tzinfo=HELSINKI),
    catchup=False,
    allowed_run_types=["scheduled", "manual"],
    max_active_runs=1,
    # Shorter than a day: a run that hangs must not keep the next night waiting.
    dagrun_timeout=timedelta(hours=20),
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
def delete_expired() -> None:
    opened = open_night()
    planned = plan()
    lanes = [send.override(task_id=f"send_{lane}")(lane) for lane in range(1, SETTINGS.deletion_lanes + 1)]
    asked = vendors()
    opened >> planned
    chain(opened, settle_holds(), planned, arm(), tombstones(), lanes, asked)
    ask_vendor.expand(vendor=asked) >> balance() >> seal().as_teardown()


delete_expired()
