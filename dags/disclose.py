"""# disclose: give recordings to an authority, or to a company of the group; two people

**What it does.** Carries out one `action` on one `disclosure`, in the name of whoever triggers it. The disclosure was drafted before,
with `callkeeper disclosure draft`: which recordings, to whom, for what, by which law and under which reference stands there, sealed
where it must be, and never here.

| `action` | who | what happens |
|---|---|---|
| `ask` | a privacy officer or a deputy | the first person's word for exactly what was drafted; nothing is given yet |
| `approve` | another officer, deputy or an approver | the second person's; then the package is made |
| `make` | a privacy officer or a deputy | makes a package that failed, or has expired, again; both yeses stand |
| `hand_over` | a privacy officer or a deputy | notes that the recipient has it, against a receipt, and by which `channel` |
| `withdraw` | a privacy officer or a deputy | it comes to nothing, and its package goes; not once it was handed over |

**Two people** are two accounts: two runs, `ask` by one, `approve` by another. Their yes is to exactly these recordings and this
recipient; if anything of that changes, draft it again.

**To whom.** An authority, by a law and its demand. A company of the group, for a purpose of the notice (customer care, quality,
verification, training), and only what is open to ordinary use: not past its term, not under a request or a legal ground. Nobody else.

**A draft holds nothing.** Neither does what is asked for or approved: a recording whose term ends meanwhile goes all the same, and then
`make` says how many are missing. To keep them until then, draft and place a hold (`legal_hold`); it opens them to the officer, too.

**The package** is one encrypted zip (AES-256): the audio as import kept it, metadata as JSON and CSV, SHA256SUMS, a receipt to be
signed. `callkeeper disclosure package` takes it out, `callkeeper disclosure passphrase` tells what opens it: they go by different
ways. Each recording in it counts as opened, by the second person's run, with the purpose. It is gone after 30 days.

**What the law forbids to tell** is not for this DAG, since others see its runs: it says that there is no such disclosure. The officer
and a deputy ask, approve and hand over with `callkeeper disclosure`.

**When it is red.** The log of `carry_out` says why, in a sentence: the account may not do this, the disclosure is not there, its
recordings are closed or gone, something changed since it was drafted. If the database or the store failed, clear the task: what was
half made goes by itself.

**Clear and run again.** Safe at any time: the same run asks once and makes once.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task(execution_timeout=timedelta(hours=2))
def carry_out() -> dict[str, int]:
    """The action, in the name of whoever triggered the run."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        return connections.disclose(app, conn, get_current_context())


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


@dag(
    dag_id="disclose",
    doc_md=__doc__,
    tags=["callkeeper", "by hand", "disclosure"],
    schedule=None,
    # By hand only: there is nothing that a pause would hold back but a person.
    is_paused_upon_creation=False,
    catchup=False,
    # Nobody's word is in a scheduled run, a backfill's, or another DAG's.
    allowed_run_types=["manual"],
    max_active_runs=4,
    dagrun_timeout=timedelta(hours=6),
    params={
        "disclosure": Param(
            type="string", pattern=r"^DIS-\d{4}-\d{4,}$", description="The disclosure, as `callkeeper disclosure draft` numbered it."
        ),
        "action": Param(
            type="string", enum=["ask", "approve", "make", "hand_over", "withdraw"], description="What is to be done."
        ),
        "channel": Param(
            None, enum=[None, "in_person", "courier", "secure_transfer"], description="How it was handed over. For hand_over, and only then."
        ),
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
def disclose() -> None:
    carry_out() >> seal().as_teardown()


disclose()
