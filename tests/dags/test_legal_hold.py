"""legal_hold in Airflow: who may trigger it, in whose name it acts, and what it must not tell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import ValidationError, validate

from callkeeper.blockers import Predicate
from callkeeper.errors import NotAllowed
from callkeeper.jobs import holding
from callkeeper.jobs.holding import ACTIONS, KINDS, Facts
from deliver import Call, deliver
from installation import ACTOR, DAY, Installation, at

CALLER = "+358401234501"


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The DAG, as Airflow reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(Path(__file__).resolve().parents[2] / "dags" / "legal_hold.py"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags["legal_hold"]


def test_it_is_triggered_by_hand_only(hold):
    assert hold.schedule is None
    assert {kind.value for kind in hold.allowed_run_types} == {"manual"}
    assert hold.catchup is False


def test_officers_and_approvers_trigger_it_and_the_data_team_clears_what_failed(hold):
    rights = {role: access["DAGs"] for role, access in hold.access_control.items()}
    # callkeeper_notes sets a run's note, the data team clears; neither may create a run (docs/access.md is tried on a real Airflow)
    assert {role for role, may in rights.items() if "can_edit" in may} == {
        "callkeeper_officer",
        "callkeeper_approver",
        "callkeeper_notes",
        "callkeeper_data_team",
    }
    assert [role for role, access in hold.access_control.items() if set(access) != {"DAGs"}] == []
    assert rights["callkeeper_auditor"] == {"can_read"}


def test_its_parameters_are_a_case_an_action_and_days_and_refuse_everything_else(hold):
    schemas = {name: hold.params.get_param(name).schema for name in hold.params}
    assert set(schemas) == {"case", "action", "review_on", "ends_on"}
    assert tuple(schemas["action"]["enum"]) == ACTIONS
    for name, value in (
        ("case", "H-2026-1"), ("case", "+358401234501"), ("case", "H-2026-0001 0401234501"), ("case", None),
        ("action", "delete"), ("review_on", "0401234501"), ("ends_on", "2026-12-01 Matti"),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            validate(value, schemas[name])
    for name, value in (("case", "H-2026-0001"), ("review_on", None), ("review_on", "2026-12-31")):
        validate(value, schemas[name])


def test_nothing_in_it_tells_a_kind(hold):
    told = f"{hold.doc_md} {hold.tags} {[t.task_id for t in hold.tasks]} {[p.description for p in map(hold.params.get_param, hold.params)]}"
    assert [kind for kind in KINDS if kind != "other" and kind.replace("_", " ") in told.replace("_", " ")] == []


class Runs:
    """Runs of legal_hold without Airflow: the same context, the same function; notes are kept here."""

    def __init__(self, office: Installation) -> None:
        self.office, self.notes = office, dict[str, str]()

    def __call__(
        self, action: str, case_ref: str, account: str | None, run: str = "manual__1", **days: str
    ) -> dict[str, int]:
        from callkeeper import connections

        context = {
            "params": {"case": case_ref, "action": action, "review_on": None, "ends_on": None, **days},
            "dag_run": SimpleNamespace(triggering_user_name=account),
            "run_id": run,
            "ti": SimpleNamespace(dag_id="legal_hold", run_id=run, task_id="carry_out", try_number=1),
        }
        with self.office.connect() as conn:
            return connections.legal_hold(self.office.app, conn, context)


@pytest.fixture
def trigger(fresh_office, monkeypatch):
    from callkeeper import connections

    deliver(fresh_office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER), Call(id="b", start=at(9), caller=None)])
    fresh_office.run("import")
    runs = Runs(fresh_office)
    monkeypatch.setattr(connections, "note_run", lambda opened, dag, run, note: runs.notes.update({run: note}))
    return runs


@pytest.fixture
def case(trigger) -> str:
    with trigger.office.connect() as conn:
        case_ref, _ = holding.draft(
            conn,
            trigger.office.app.keyring,
            kind="authority_preservation",
            facts=Facts(authority="Helsingin poliisilaitos", reference="5530/R/1/26"),
            predicate=Predicate(pseudonyms=holding.of_numbers(trigger.office.app.keyring, [CALLER])),
            account="officer",
            actor=ACTOR,
            wide=True,
        )
    return case_ref


def test_a_run_places_the_hold_in_the_name_of_whoever_triggered_it(trigger, case):
    counts = trigger("place", case, "officer")

    assert counts == {"waits": 0, "effective": 1, "held": 1, "open": 0, "too_late": 0}
    placed = trigger.office.events("blocker.placed")[0]["actor"]
    assert (placed["account"], placed["dag"], placed["run"]) == ("officer", "legal_hold", "manual__1")
    assert trigger.notes["manual__1"].startswith(f"{case} is placed and effective.")


def test_the_second_persons_run_carries_a_release_out(trigger, case):
    trigger("place", case, "officer")

    first = trigger("release", case, "officer", "manual__2")
    cleared = trigger("release", case, "officer", "manual__2")
    second = trigger("release", case, "approver", "manual__3")

    assert (first["waits"], cleared["waits"], second["waits"], second["held"]) == (1, 1, 0, 0)
    assert "waits for a second person" in trigger.notes["manual__2"]
    assert trigger.notes["manual__3"] == f"{case} is released, by two people."
    assert trigger.office.value("select count(*) from blocker where ended_at is null") == 0


@pytest.mark.parametrize("account", ["data", "stranger", None, ""])
def test_whoever_is_not_named_in_the_configuration_places_nothing(trigger, case, account):
    with pytest.raises(NotAllowed):
        trigger("place", case, account)
    assert trigger.office.value("select count(*) from blocker") == 0


def test_it_is_what_was_applied_that_names_people_and_not_the_file(trigger, case):
    trigger.office.configure(('privacy_officers = ["officer"]', 'privacy_officers = ["stranger"]'), apply=False)

    with pytest.raises(NotAllowed):
        trigger("place", case, "stranger")
    assert trigger("place", case, "officer")["effective"] == 1


def test_a_day_that_no_calendar_has_is_refused(trigger, case):
    with pytest.raises(NotAllowed, match="none of the calendar's"):
        trigger("place", case, "officer", review_on="2026-13-45")


def test_notes_logs_and_counts_tell_neither_kind_nor_person(trigger, case, caplog):
    caplog.set_level("DEBUG")
    said = [trigger("place", case, "officer"), trigger("ratify", case, "approver", "manual__2")]

    told = f"{said} {trigger.notes} {caplog.text}"
    for secret in ("preservation", "poliisi", "5530", "1234501", trigger.office.pseudonym(CALLER).hex()):
        assert secret not in told
