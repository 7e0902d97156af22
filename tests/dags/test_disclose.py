"""disclose in Airflow: who may trigger it, in whose name it acts, and what it must not tell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import ValidationError, validate

from callkeeper import disclosures
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import disclosing
from callkeeper.jobs.disclosing import ACTIONS
from deliver import Call, deliver
from installation import DAY, OFFICER, Installation, at


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The DAG, as Airflow reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(Path(__file__).resolve().parents[2] / "dags" / "disclose.py"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags["disclose"]


def test_it_is_triggered_by_hand_only(dag):
    assert dag.schedule is None
    assert {kind.value for kind in dag.allowed_run_types} == {"manual"}


def test_only_who_may_say_yes_may_create_a_run_of_it(dag):
    edit = {role for role, access in dag.access_control.items() if "can_edit" in access["DAGs"]}
    assert edit == {"callkeeper_officer", "callkeeper_approver", "callkeeper_notes", "callkeeper_data_team"}
    assert [role for role, access in dag.access_control.items() if set(access) != {"DAGs"}] == []


def test_its_parameters_are_a_disclosure_an_action_and_a_way_and_refuse_everything_else(dag):
    schemas = {name: dag.params.get_param(name).schema for name in dag.params}
    assert set(schemas) == {"disclosure", "action", "channel"}
    assert tuple(schemas["action"]["enum"]) == ACTIONS
    assert schemas["channel"]["enum"] == [None, *disclosures.CHANNELS]
    for name, value in (
        ("disclosure", "+358401234501"), ("disclosure", "DIS-2026-1"), ("disclosure", "DIS-2026-0001 Matti"), ("disclosure", None),
        ("action", "delete"), ("channel", "Pasilanraitio 11"),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            validate(value, schemas[name])


@pytest.fixture
def trigger(fresh_office: Installation, monkeypatch) -> Any:
    """Runs of disclose without Airflow: the same context, the same function; notes are kept here."""
    from callkeeper import connections

    fresh_office.configure(('approvers = ["approver"]', 'deputies = ["deputy"]\napprovers = ["approver"]'))
    deliver(fresh_office.linna, DAY, [Call(id="a", start=at(8), caller="+358401234501")])
    fresh_office.run("import")
    notes: dict[str, str] = {}
    monkeypatch.setattr(connections, "note_run", lambda opened, dag, run, note: notes.update({run: note}))

    def run(disclosure: str, action: str, account: str | None, channel: str | None = None) -> dict[str, int]:
        context = {
            "params": {"disclosure": disclosure, "action": action, "channel": channel},
            "dag_run": SimpleNamespace(triggering_user_name=account),
            "run_id": f"manual__{action}",
            "ti": SimpleNamespace(dag_id="disclose", run_id=f"manual__{action}", task_id="carry_out", try_number=1),
        }
        with fresh_office.connect() as conn:
            return connections.disclose(fresh_office.app, conn, context)

    run.office, run.notes = fresh_office, notes  # type: ignore[attr-defined]
    return run


def drafted(office: Installation, **more: Any) -> str:
    with office.connect() as conn:
        return disclosing.draft(
            conn, office.app.keyring, recipient_kind="authority", recipient="Helsingin poliisilaitos", purpose="authority",
            statute="Pakkokeinolaki 8:23", reference="5530/R/1/26", years=3, account="officer", actor=OFFICER,
            recordings=[row.recording for row in office.rows("select recording from recording")], **more,
        )  # fmt: skip


def test_two_runs_by_two_accounts_make_a_package_and_a_third_hands_it_over(trigger):
    disclosure = drafted(trigger.office)

    assert trigger(disclosure, "ask", "officer") == {"recordings": 1, "waits": 1}
    with pytest.raises(NotAllowed, match="another one"):
        trigger(disclosure, "approve", "officer")
    assert trigger(disclosure, "approve", "approver") == {"recordings": 1, "waits": 0}
    assert trigger(disclosure, "hand_over", "officer", "in_person") == {"recordings": 1, "waits": 0}

    told = " ".join(trigger.notes.values())
    assert "waits for a second person" in told
    assert [fact for fact in ("poliisi", "5530", "+358") if fact in told] == []
    done = [e["actor"] for e in trigger.office.events() if e["action"].startswith("disclosure.")]
    assert {(who.get("account"), who.get("dag")) for who in done} == {
        ("officer", None),
        ("officer", "disclose"),
        ("approver", "disclose"),
    }


def test_nobodys_run_does_nothing_and_what_may_not_be_told_is_not_there(trigger):
    disclosure = drafted(trigger.office)
    untold = drafted(trigger.office, untold=True)

    with pytest.raises(NotAllowed, match="Nobody's account"):
        trigger(disclosure, "ask", None)
    with pytest.raises(NotFound, match="no such disclosure"):
        trigger(untold, "ask", "officer")
    with pytest.raises(NotAllowed, match="takes how it was done"):
        trigger(disclosure, "hand_over", "officer")
