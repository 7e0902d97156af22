"""# import_recordings: the vendor's day, into the catalogue

**What it does.** Each night at 02:15 (Helsinki) it takes the day before from every vendor, and every earlier day that is
not finished yet: lists the recordings, checks their metadata, fetches their audio into the store, and keeps them in the
catalogue. What fails a check waits in quarantine. What should go at the vendor is only noted here. It ends in a balance:
`found = kept + unchanged + corrected + quarantined + suppressed + refused + pending`.

**By hand.** Trigger it with `day` (one day, taken again) and `vendor` (one of them), or with neither (yesterday, all).

**When it is red.** The morning's mail says why, and so does the log of the `balance` task.

| red task | what it means | what to do |
|---|---|---|
| `preflight` | the configuration is not applied, a contract has ended, a region is not in the EU/EEA, no legal basis | mend it, `callkeeper doctor`, clear the run |
| `stage` | the vendor did not answer or refused us | talk to the vendor; later runs take the day again by themselves |
| `check` | the checks could not be run | look at the log; clear the task |
| `fetch_1`, `fetch_2` | the vendor or the store failed in the middle | nothing is lost: clear the task |
| `keep` | the database failed | clear the task |
| `balance` | one of the above, a delivery that cannot be read, or calls lost or counted twice | `callkeeper status`; a difference is a fault of ours: report it |

**Clear and run again.** Every task is safe to clear and run again, in any order, any number of times.

**Days that never come.** `callkeeper status` lists them. Once a person knows that a day is lost: `callkeeper days lost`.

**Quarantine.** `callkeeper quarantine list` says what waits, why, and what would mend it.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from airflow.sdk import (
    Asset,
    CronDataIntervalTimetable,
    Param,
    TriggerRule,
    chain,
    dag,
    get_current_context,
    task,
    task_group,
)

from callkeeper import settings
from callkeeper.clock import HELSINKI

SETTINGS = settings.load()
# Without a first day there is nothing to catch up on.
FIRST_DAY = SETTINGS.import_first_day or date(2026, 1, 1)
CATALOGUE = Asset(name="callkeeper_catalogue", uri="callkeeper://catalogue/recordings")


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(minutes=10))
def preflight() -> list[str]:
    """May we import, and from whom: the applied configuration, contracts, regions, legal basis."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        return connections.preflight(app, conn, get_current_context())


@task(execution_timeout=timedelta(hours=2), map_index_template="{{ vendor_name }}")
def stage(vendor: str) -> dict[str, int]:
    """Lists the vendor's unfinished days, and stages what is new."""
    from callkeeper import connections
    from callkeeper.jobs import importing

    context = get_current_context()
    context["vendor_name"] = vendor
    with connections.importing(vendor, context) as (_, conn, job):
        done = importing.stage(conn, job)
        return {"days": done.days, "found": done.found, "unreadable_days": len(done.troubles)}


@task(execution_timeout=timedelta(hours=1), map_index_template="{{ vendor_name }}")
def check(vendor: str) -> dict[str, int]:
    """Runs the Great Expectations suite over what is staged, and decides on every call."""
    from callkeeper import connections, db, quality
    from callkeeper.jobs import importing

    context = get_current_context()
    context["vendor_name"] = vendor
    with connections.importing(vendor, context) as (app, conn, job):
        results = quality.run_suite(db.url(app.settings), run=job.run, vendor=vendor)
        for result in results:
            if result.failing:
                print(f"{'gate' if result.gate else 'note'}: {result.reason}: {result.failing}")
        return dict(importing.check(conn, job))


@task(execution_timeout=timedelta(hours=6), map_index_template="{{ vendor_name }}")
def fetch(vendor: str, lane: int) -> dict[str, int]:
    """Streams the audio of the checked calls into the store: one of a few lanes, each claiming batches."""
    from callkeeper import connections
    from callkeeper.jobs import fetching
    from callkeeper.media.probe import probe

    context = get_current_context()
    context["vendor_name"] = vendor
    with connections.importing(vendor, context) as (app, conn, job):
        return dict(fetching.fetch(conn, job, app.store, probe, lane=lane, claim_rows=app.settings.import_claim_rows))


@task(
    execution_timeout=timedelta(hours=1),
    map_index_template="{{ vendor_name }}",
    trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
    outlets=[CATALOGUE],
)
def keep(vendor: str) -> dict[str, int]:
    """Puts what is fetched into the catalogue, under the blockers' lock, and closes the finished days; what a hold covers
    is put under a legal hold in the store."""
    from callkeeper import connections
    from callkeeper.jobs import holding, importing

    context = get_current_context()
    context["vendor_name"] = vendor
    with connections.importing(vendor, context) as (app, conn, job):
        done = importing.keep(conn, job)
        counts = dict(done) | {"days_closed": len(importing.finish_days(conn, job))}
        holding.settle(conn, app.holder, job.actor)
    context["outlet_events"][CATALOGUE].extra = {"vendor": vendor, **counts}
    return counts


@task(execution_timeout=timedelta(minutes=10), trigger_rule=TriggerRule.ALL_DONE)
def balance() -> dict[str, int]:
    """Do the counts add up? Notes it on the run, mails it, and fails the run if something needs somebody."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        return connections.balance(app, conn, get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


@dag(
    dag_id="import_recordings",
    doc_md=__doc__,
    tags=["callkeeper", "nightly", "import"],
    schedule=CronDataIntervalTimetable("15 2 * * *", timezone="Europe/Helsinki"),
    start_date=datetime.combine(FIRST_DAY, time(2, 15), tzinfo=HELSINKI),
    catchup=SETTINGS.import_first_day is not None,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            pattern=r"^\d{4}-\d{2}-\d{2}$",
            description="One day, taken again; empty: yesterday.",
        ),
        "vendor": Param(
            None, type=["null", "string"], pattern=r"^[a-z][a-z0-9-]{0,30}$", description="One vendor; empty: all."
        ),
    },
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
def import_recordings() -> None:
    @task_group(group_id="vendor")
    def one_vendor(vendor: str) -> None:
        lanes = [fetch.override(task_id=f"fetch_{lane}")(vendor, lane) for lane in range(1, SETTINGS.import_lanes + 1)]
        chain(stage(vendor), check(vendor), lanes, keep(vendor))

    one_vendor.expand(vendor=preflight()) >> balance() >> seal().as_teardown()


import_recordings()
