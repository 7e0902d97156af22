"""# seal_audit: the trail is signed, and what was signed stands outside

**What it does.** Every hour, at minute 15, it writes a heartbeat, gives every event whose transaction has ended its place in a
tree, signs the tree's root, and puts checkpoint and leaf hashes into the anchor: a bucket in which nobody can delete them
before their term. Every other DAG seals its own events at its end in the same way.

**When it is red.** The mail says why.

| what the mail says | what it means | what to do |
|---|---|---|
| the trail waits for a transaction | a session or a prepared transaction, in any database of the server, has written and does not end; nothing after it can be sealed | end it: `select pg_terminate_backend(PID)`, `rollback prepared 'NAME'`; the next run seals what waited |
| the trail is not what was sealed | leaves, checkpoint, keys, server or anchor contradict each other. Nothing is signed until a person has looked | see the next table |
| a task failed | the database, the anchor's bucket or the keys did not answer, or another sealer hung | `callkeeper doctor`; the next run goes on. While the anchor does not answer, nothing is signed |

| what it contradicts | where it comes from | what to do |
|---|---|---|
| another cluster; transaction ids have gone back; the anchor knows of more | a backup was restored, or the database was moved | `callkeeper seal new-epoch --reason restored_backup` (or `moved_database`). It takes back from the anchor what the database lost, opens a new tree, and signs what was never sealed. Tell the auditor |
| the same, and nothing was restored | somebody has put an older state in place of the newer one, or seals a copy with our key | keep everything as it is, call the privacy officer, compare with the anchor |
| not what was signed; no signature; not as many leaves; does not come to the root | somebody has changed the database past its guards, or the key folder is another one | bring the key folder back if it was changed; else as above. `callkeeper-verify` on an export says what broke and where |
| the key folder is lost | | bring its copy back; without one, `callkeeper seal new-epoch --reason other`, and a new fingerprint to the auditor by the old way |

**The listener.** Airflow's listener tells the trail of each run and task. What it could not write in two seconds it leaves as a mark, and
this run tells the trail how many there were (`witness.missed`); its log warns. Many of them: the database was away or overloaded. One each hour:
the listener is not loaded (is `plugins/` Airflow's plugins folder?), since nobody saw this very run begin.

**Clear and run again.** Safe at any time, any number of times: a batch is one transaction, and the anchor takes the same bytes
again. Two sealers wait for each other.

**Keys.** `callkeeper seal rotate-key` and `retire-key`; `callkeeper seal status` shows their verifiers. Their folder
(`CALLKEEPER_TRAIL_KEYS_DIR`) belongs on a backup of its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from callkeeper.clock import HELSINKI


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(minutes=50))
def seal() -> dict[str, int]:
    """Writes the heartbeat, seals what can be sealed, puts it in the anchor; who is in the way, or what is broken, is an alarm."""
    from callkeeper import connections

    return connections.seal_hour(get_current_context())


@dag(
    dag_id="seal_audit",
    doc_md=__doc__,
    tags=["callkeeper", "hourly", "trail"],
    schedule=CronTriggerTimetable("15 * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=HELSINKI),
    catchup=False,
    # It signs what is there and deletes nothing: the trail is sealed from the first hour on, whatever else waits for a person.
    is_paused_upon_creation=False,
    allowed_run_types=["scheduled", "manual"],
    max_active_runs=1,
    # An hour's run that hangs must not keep the next one waiting.
    dagrun_timeout=timedelta(minutes=55),
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
def seal_audit() -> None:
    seal()


seal_audit()
