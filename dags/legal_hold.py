"""# legal_hold: keep what a case names, from now on; or extend, narrow, end it

**What it does.** Carries out one `action` on one `case`, in the name of whoever triggers it. The case was drafted before, with
`callkeeper hold draft`: what it holds, why and for whom stands there, sealed, and never here.

| `action` | who | when it takes effect |
|---|---|---|
| `place` | a privacy officer or a deputy | at once, on that one word; a second person ratifies it within 3 days |
| `ratify` | another officer, deputy or an approver | at once; not ratified is an alarm, never a release |
| `extend` | asked by an officer or a deputy, confirmed by another account | with the second person's run; it takes `review_on` or `ends_on` |
| `narrow` | the same | with the second person's run; `callkeeper hold draft --case` wrote down what is left |
| `release` | the same | with the second person's run; nothing is deleted by it: the next night decides |

**Placed at 23:50.** From the moment at which the run is green nothing that the case covers is deleted: the database sees to that
first, the store's own legal holds follow within seconds. The run's note says whether the hold is effective, and for how many
recordings it was too late; `callkeeper hold show CASE` lists those. It also says which days of the case's window are not imported
yet: of their calls a vendor has the only copy, and nothing is held. The officer and her deputies get a mail of each hold that is placed.

**The vendor corrects a call** that is held (another number, line or time), and the case no longer names it: it stays held, the
register counts it, and a week's mails say so. It goes when the case is narrowed, by two people as always: `callkeeper hold draft
--case CASE`, naming nothing, narrows it by just these; or when it is released.

**Two people** are two accounts. The first run of `extend`, `narrow` and `release` ends with "waits for a second person": the other
person triggers the same action on the same case. What nobody has confirmed after 14 days is no longer meant.

**When it is red.** The log of `carry_out` says why, in a sentence: the account may not do this, the case is not there or was
released, a date does not fit (after today; a review within 12 months, an end within 3, later ones by extending). Nothing has
changed then. If the database or the store failed, clear the task.

**The store does not answer.** The run is green all the same, and says so: what the case covers is not deleted, and the next night,
the next import or another `place` of the same case places the legal holds.

**Clear and run again.** Safe at any time: the same run never counts for a second person, and does nothing twice.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(hours=1))
def carry_out() -> dict[str, int]:
    """The action, in the name of whoever triggered the run."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        return connections.legal_hold(app, conn, get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


def _day(description: str) -> Param:
    return Param(None, type=["null", "string"], format="date", pattern=r"^\d{4}-\d{2}-\d{2}$", description=description)


@dag(
    dag_id="legal_hold",
    doc_md=__doc__,
    tags=["callkeeper", "by hand", "hold"],
    schedule=None,
    # By hand only: there is nothing that a pause would hold back but a person.
    is_paused_upon_creation=False,
    catchup=False,
    # Nobody's word is in a scheduled run, a backfill's, or another DAG's.
    allowed_run_types=["manual"],
    # An urgent one never waits for a wide one: the locks are in the database.
    max_active_runs=16,
    dagrun_timeout=timedelta(hours=3),
    params={
        "case": Param(type="string", pattern=r"^H-\d{4}-\d{4}$", description="The case, as `callkeeper hold draft` numbered it."),
        "action": Param(type="string", enum=["place", "ratify", "extend", "narrow", "release"], description="What is to be done."),
        "review_on": _day("The day by which somebody looks at it again; empty: in 30 days. For place and extend."),
        "ends_on": _day("The day on which its ground ends, where that is known, 3 months ahead at most. For place and extend."),
    },
    default_args={
        "owner": "privacy-officer",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "on_failure_callback": tell_failure,
    },
    access_control={
        "callkeeper_officer": {"DAGs": {"can_read", "can_edit"}},
        "callkeeper_approver": {"DAGs": {"can_read", "can_edit"}},
        "callkeeper_notes": {"DAGs": {"can_read", "can_edit"}},
        # It clears what failed, and creates no run: no right to "DAG Runs".
        "callkeeper_data_team": {"DAGs": {"can_read", "can_edit"}},
        "callkeeper_auditor": {"DAGs": {"can_read"}},
    },
)  # fmt: skip
def legal_hold() -> None:
    carry_out() >> seal().as_teardown()


legal_hold()
