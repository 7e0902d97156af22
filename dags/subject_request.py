"""# subject_request: lead one person's request to its answer, a stretch at a time

**What it does.** Each run carries one ticket to the next thing that a person must do, asks for it, and records the answer: who said
what about exactly which recordings. Then the next run goes on (`DSR-2026-0007--2` after `--1`). Searching, previewing, carrying out and
packing it does itself. The ticket was opened before, on the privacy desk or with `callkeeper ticket open`; what it searches for stands
there, sealed, and never here.

| `action` | who | what happens |
|---|---|---|
| `advance` | officer, deputy, approver | the ticket goes on from where it is |
| `dry_run` | the same | says where it stands and how many recordings a search would find; changes nothing |
| `extend` | officer, deputy | three months from receipt, with `extension_reason`; the person is told by the first due day. Then as `advance` |
| `take_over` | officer, deputy | as `advance`, where another run has the ticket and waits: that run's answer does not count any more |

**What you are asked**, under *Required Actions*. Look at the ticket first, on the privacy desk: here stand counts only. A question
waits as long as it takes, over restarts too; the due day does not wait, and `watch_deadlines` mails it.

| question | who | answer | what it means |
|---|---|---|---|
| `decide` | officer, deputy | Approve | yes, to exactly these recordings: copy the 12 characters after *Scope* into `scope`; for an erasure, say in `erasure_ground` why it is due (GDPR Art. 17(1)) |
| | | Narrow | you have left some out, or muted some, on the desk: look at what is left |
| | | Refuse | no, on the `ground` that the law lists. Note the reasons on the desk first: they go into the letter, and stay out of Airflow |
| | | Ask for identity | the person proves who they are first. The run ends; `advance` once it is noted |
| | | Ask for clarification | the person says what they mean first. The run ends; `advance` once they have |
| | | Extend | it takes longer, for the `extension_reason`; send the letter by the first due day. You are asked again |
| `second` | another officer, deputy or approver | Approve | the second yes, to the same `scope`. Erasure and objection always take it, and audio on weak evidence |
| | | Reject | no: it goes back to the officer |
| `release` | officer, deputy | Release | the answer (the package and letter, or the letter) may be handed over |
| | | Take back | an access package is withdrawn, and decided on anew |
| `deliver` | officer, deputy | Delivered | it was handed over, by that `channel`. What the request froze is free again |
| | | Not yet | the run ends; `advance` when you have |

Nobody is both persons of two. A yes to what has changed since is no yes: you are asked again, about what there is now. An erasure is
done by the next night (00:30): the run ends, and after that night `advance` asks for the release. What a legal ground keeps goes by
itself when that ends; `advance` then asks for the second letter's delivery.

**When it is red.** Nothing half-done is left: every step either happened, with its row and its event, or did not. The log of the red
task says why, in a sentence; the data team gets a mail.

| what it says | what to do |
|---|---|
| "asks for erasure, not for access" | the wrong right was chosen: trigger again with the ticket's own |
| "The run ... carries it, and waits for an answer" | answer there. If nobody can any more (it was deleted, its people have left): trigger `take_over` |
| "may not do this" | your account has no such duty in [people] of the configuration |
| "Nobody has answered" | somebody marked the question as done by hand, which is no answer. Clear that task and answer it |
| "does not carry ... any more" | the answer came to a run that was taken over: answer the other one |
| "An answer ... within a second" or "not in a state where it could be marked as running" | the question was answered too quickly: it asks again by itself; answer it again |
| the database, the store or Airflow did not answer | clear the task when they do |

**Clear and run again.** Safe at any time, any task: a ticket knows how far it is, and an answer counts once. Clearing `begin` asks
anew. Clearing a run whose ticket has gone on says which run has it. Marking a task as successful by hand does nothing to the ticket.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, TriggerRule, dag, get_current_context, task

RIGHTS = ["access", "rectification", "erasure", "restriction", "objection", "portability"]
EXTENSION_REASONS = ["complexity", "number_of_requests"]
GROUNDS = [
    "manifestly_unfounded", "excessive", "not_identifiable", "others_rights", "legal_obligation", "legal_claims", "compelling_grounds",
    "data_protection_act_34", "not_applicable",
]  # fmt: skip
ERASURE_GROUNDS = [
    "no_longer_needed",
    "consent_withdrawn",
    "objected",
    "unlawful",
    "law_orders_it",
    "offered_to_a_child",
]
CHANNELS = ["letter", "email", "phone", "visit", "web", "other"]


class Question(HITLOperator):
    """A question whose people are known when it is asked; what was typed into it is repeated nowhere: not in an error, not in XCom."""

    template_fields = (*HITLOperator.template_fields, "assigned_users")

    def execute(self, context):
        if not self.assigned_users:
            # Airflow would let everybody answer who may answer anything.
            raise ValueError("Nobody is named who may answer.")
        return super().execute(context)

    def validate_params_input(self, params_input):
        """Nothing: ``record`` asks Airflow for the answer, checks it, and says in words what it lacks."""

    def execute_complete(self, context, event):
        answer = super().execute_complete(context, event)
        return {"chosen_options": answer["chosen_options"], "responded_by_user": answer["responded_by_user"]}


def tell_failure(context) -> None:
    """Mails the data team: the task, the run, the runbook."""
    from callkeeper import connections

    connections.tell_failure(context)


@task.branch(execution_timeout=timedelta(hours=5))
def begin() -> str | None:
    """Takes the ticket for this run, does what a machine can, and goes to the question that a person is asked; to none, if there is none."""
    from callkeeper import connections

    with connections.step() as app, app.connect() as conn:
        return connections.begin_request(app, conn, get_current_context()).question


@task(execution_timeout=timedelta(hours=1), trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def record() -> None:
    """Makes rows of ours of the answer, and triggers the ticket's next run, if there is something to go on with."""
    from callkeeper import connections

    context = get_current_context()
    with connections.step() as app, app.connect() as conn:
        stretch = connections.record_answer(app, conn, context)
    connections.go_on(context, stretch)


@task(execution_timeout=timedelta(minutes=10))
def seal() -> dict[str, int]:
    """Brings the run's events under a checkpoint. As a teardown it runs whatever came before, and changes no run's colour."""
    from callkeeper import connections

    return connections.seal_run(get_current_context())


def _one_of(values: list[str], description: str) -> Param:
    return Param(None, type=["null", "string"], enum=[None, *values], description=description)


def _scope() -> Param:
    return Param(
        "", type="string", pattern=r"^([0-9a-f]{12})?$", description="The 12 characters after Scope, for a yes."
    )


@dag(
    dag_id="subject_request",
    doc_md=__doc__,
    tags=["callkeeper", "by hand", "request"],
    schedule=None,
    catchup=False,
    # A person's, and the next stretch that a run triggers itself, in the name of whoever triggered the first.
    allowed_run_types=["manual", "operator_triggered"],
    # A run waits for weeks, and no request for another; a ticket has one run, by its row.
    max_active_runs=1000,
    # No run is timed out while a person thinks: its tasks have their own ends, its question none.
    dagrun_timeout=None,
    is_paused_upon_creation=False,
    params={
        "ticket": Param(type="string", pattern=r"^DSR-\d{4}-\d{4,}$", description="The ticket, as it was numbered when it was opened."),
        "right": Param(type="string", enum=RIGHTS, description="What it asks for; it must be the ticket's own."),
        "action": Param("advance", type="string", enum=["advance", "dry_run", "extend", "take_over"], description="What is to be done."),
        "extension_reason": _one_of(EXTENSION_REASONS, "For extend only: why it takes longer."),
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
def subject_request() -> None:
    begun = begin()

    def ask(question: str, options: list[str], doc: str, **fields: Param) -> Question:
        return Question(
            task_id=question,
            subject="{{ params.ticket }} ({{ params.right }}): " + question,
            body=begun["text"],
            options=options,
            params=fields,
            assigned_users=begun["asked"],
            doc_md=doc,
        )

    questions = [
        ask(
            "decide", ["Approve", "Narrow", "Refuse", "Ask for identity", "Ask for clarification", "Extend"],
            "The officer decides; see the runbook for what each answer means.",
            scope=_scope(), erasure_ground=_one_of(ERASURE_GROUNDS, "For the yes to an erasure: why it is due, GDPR Art. 17(1)(a) to (f)."),
            ground=_one_of(GROUNDS, "For Refuse: the ground that the law lists."),
            extension_reason=_one_of(EXTENSION_REASONS, "For Extend: why it takes longer."),
        ),
        ask("second", ["Approve", "Reject"], "Another person than the first says yes, or no.", scope=_scope()),
        ask("release", ["Release", "Take back"], "The officer lets the answer go."),
        ask("deliver", ["Delivered", "Not yet"], "The officer says how it was handed over.", channel=_one_of(CHANNELS, "For Delivered: how.")),
    ]  # fmt: skip
    begun >> questions >> record() >> seal().as_teardown()


subject_request()
