"""delete_expired in Airflow's terms: what follows on what, what fails alone, what is noted and mailed, and when it is red."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callkeeper.errors import ClockWrong, StoreUnavailable, VendorUnavailable
from callkeeper.jobs import deleting
from callkeeper.notify import Message
from callkeeper.settings import Settings
from deliver import PHM, Call, deliver
from installation import DAY, Installation, at

LATER = datetime(2027, 5, 25, 21, 30, tzinfo=UTC)
"""00:30 in Helsinki, in the second night in which the calls of DAY are past their term."""


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The DAG, as Airflow reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(Path(__file__).resolve().parents[2] / "dags" / "delete_expired.py"))
    assert not bag.import_errors, bag.import_errors
    return bag.dags["delete_expired"]


def upstream(dag: Any) -> dict[str, tuple[set[str], str]]:
    return {t.task_id: (set(t.upstream_task_ids), t.trigger_rule.value) for t in dag.tasks}


# --- its shape --------------------------------------------------------------------------------------------------------


def test_it_runs_at_half_past_midnight_in_helsinki_and_is_never_backfilled(dag):
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("30 0 * * *", "Europe/Helsinki")
    assert dag.catchup is False
    assert {kind.value for kind in dag.allowed_run_types} == {"scheduled", "manual"}


def test_a_run_that_hangs_does_not_keep_the_next_night_waiting(dag):
    assert (dag.max_active_runs, dag.dagrun_timeout < timedelta(hours=24)) == (1, True)


def test_nothing_in_it_waits_for_a_person(dag):
    """Architecture, rule 14: a yes is a row; what is not there yet is left for the next night."""
    assert {type(t).__module__.split(".")[0] for t in dag.tasks} == {"airflow"}
    assert [t.task_id for t in dag.tasks if "HITL" in t.task_type or "Sensor" in t.task_type or t.params] == []


def test_nothing_is_sent_before_it_is_armed_and_its_tombstones_are_written(dag):
    edges = upstream(dag)

    assert edges["plan"] == ({"open_night", "settle_holds"}, "all_done_min_one_success")
    assert edges["arm"] == ({"plan"}, "all_success")
    assert edges["tombstones"] == ({"arm"}, "all_success")
    lanes = [name for name in edges if name.startswith("send_")]
    assert len(lanes) == Settings().deletion_lanes
    assert {name: edges[name] for name in lanes} == {name: ({"tombstones"}, "all_success") for name in lanes}


def test_a_lane_that_fails_keeps_no_vendor_from_being_asked_and_nothing_keeps_the_balance(dag):
    edges = upstream(dag)

    assert edges["vendors"] == ({name for name in edges if name.startswith("send_")}, "all_done")
    assert edges["balance"] == ({"ask_vendor"}, "all_done")
    assert edges["seal"] == ({"balance"}, "all_done_setup_success")
    assert set(edges) - {name for wanted, _ in edges.values() for name in wanted} == {"seal"}


# --- a night, task by task --------------------------------------------------------------------------------------------


class Night:
    """Runs the DAG's tasks one after another by their trigger rules, in this process; keeps notes and mails."""

    def __init__(self, dag: Any, office: Installation, patch: pytest.MonkeyPatch) -> None:
        from callkeeper import connections

        self.dag, self.office, self.patch, self.connections = dag, office, patch, connections
        self.notes: list[str] = []
        self.mails: list[tuple[str, Message]] = []
        self.states: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.results: dict[str, Any] = {}
        # Of the tests' clocks only the database's is moved.
        office.change_settings(demo=True, smtp_host="relay", mail_privacy="officer@x", mail_escalation="above@x")
        patch.setattr(connections, "app", lambda: office.app)
        patch.setattr(connections, "note_run", lambda _app, _dag, _run, note: self.notes.append(note))

    def send(self, message: Message, *, to: str = "") -> None:
        self.mails.append((to, message))

    def __call__(self, run: str = "scheduled__1") -> dict[str, str]:
        """The tasks' states; what failed stands in ``errors``."""
        vars(self.office.app)["notifier"] = self
        self.states, self.errors, self.results = {}, {}, {}
        for task in self.dag.topological_sort():
            if not task.is_teardown:  # it seals: test_seal_audit.py
                self._run(task, run)
        return self.states

    def _run(self, task: Any, run: str) -> None:
        from airflow.sdk.exceptions import AirflowException

        before = [self.states[name] for name in task.upstream_task_ids]
        go = {
            "all_success": all(state == "success" for state in before),
            "all_done": True,
            "all_done_min_one_success": "success" in before or not before,
        }[task.trigger_rule.value]
        if not go:
            skipped = "failed" not in before and "upstream_failed" not in before
            self.states[task.task_id] = "skipped" if skipped else "upstream_failed"
            return
        mapped = task.task_id == "ask_vendor"
        body = task.python_callable
        calls = [{"vendor": v} for v in self.results["vendors"]] if mapped else [self._arguments(task)]
        context = {
            "run_id": run,
            "ti": SimpleNamespace(
                dag_id=self.dag.dag_id, run_id=run, task_id=task.task_id, try_number=1, map_index=-1,
                get_task_states=lambda **_: {run: dict(self.states)},
            ),
        }  # fmt: skip
        state = "success" if calls else "skipped"
        with self.patch.context() as patch:
            patch.setitem(body.__globals__, "get_current_context", lambda: context)
            for arguments in calls:
                try:
                    self.results[task.task_id] = body(**arguments)
                except AirflowException as wrong:  # ours in Airflow's words; another error is the test's
                    self.errors[task.task_id], state = str(wrong), "failed"
        self.states[task.task_id] = state

    def _arguments(self, task: Any) -> dict[str, Any]:
        return {"lane": task.op_args[0]} if task.op_args else {}

    @property
    def subject(self) -> str:
        return next(message.subject for to, message in reversed(self.mails) if not to)


@pytest.fixture
def night(dag: Any, office: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """Three calls past their term, foreseen; the officer has said yes to going live."""
    deliver(
        office.linna, DAY, [Call(id="a", start=at(8)), Call(id="b", start=at(9), line=PHM), Call(id="c", start=at(10))]
    )
    office.run("import")
    office.go_live()
    office.set_clock(LATER - timedelta(days=1))
    office.forecast()
    office.set_clock(LATER)
    return Night(dag, office, monkeypatch)


def rehearsing(night: Night) -> Night:
    night.office.sql.execute("delete from decision")
    return night


def test_a_good_night_is_green_noted_mailed_and_its_report_stands_in_the_store(night):
    states = night()

    assert set(states.values()) == {"success"}
    assert night.results["balance"] == {
        "due": 3, "withdrawn": 0, "done": 3, "blocked": 0, "waiting": 0, "open_at_vendor": 0, "failed": 0,
    }  # fmt: skip
    assert night.subject == "callkeeper deletion 2027-05-26: balanced, 3 due, 3 done"
    assert night.notes[0].startswith("**2027-05-26: balanced**, 3 due: 3 done")
    assert [to for to, _ in night.mails] == [""]
    assert set(night.office.value("select files from night")) == {"json", "html"}
    assert night.office.versions() == []


def test_a_rehearsal_does_nothing_and_each_task_says_so(night, capsys):
    rehearsing(night)

    states = night()

    told = capsys.readouterr().out
    assert [line for line in ("nothing is armed", "nothing is sent", "no vendor is asked") if line not in told] == []
    assert {name for name, state in states.items() if state != "success"} == {"ask_vendor"}
    assert states["ask_vendor"] == "skipped"
    assert night.subject == "callkeeper deletion 2027-05-26: rehearsal, 3 due, 0 done"
    assert len(night.office.versions()) == 3
    assert night.office.rows("select from suppression") == []


def test_a_run_that_is_cleared_and_run_again_says_the_same_and_mails_once(night):
    first = night()
    results = dict(night.results)

    again = night()

    assert again == first | {"ask_vendor": "skipped"}
    assert night.results["balance"] == results["balance"]
    assert len(night.mails) == 1


def test_a_lane_that_fails_stops_neither_the_vendors_nor_the_balance_and_tomorrow_goes_on(night, monkeypatch):
    def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("The object store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(type(night.office.app.destroyer), "delete", down)
        states = night()

    assert (states["send_1"], states["vendors"], states["balance"]) == ("failed", "success", "failed")
    assert "ALARM, 3 due, 0 done" in night.subject
    assert "Task failed: send_1." in night.mails[-1][1].text
    night.office.set_clock(LATER + timedelta(days=1))
    assert night("scheduled__2")["balance"] == "success"
    assert night.results["balance"]["done"] == 3


def test_holds_that_the_store_does_not_take_stop_no_deletion_and_are_told(night, monkeypatch):
    held = night.office.value("select recording from recording where controller = 'phm'")
    night.office.block(recordings=(held,))

    def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("The object store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(type(night.office.app.holder), "hold", down)
        states = night()

    assert (states["settle_holds"], states["plan"], states["send_1"]) == ("failed", "success", "success")
    assert "Task failed: settle_holds." in night.mails[-1][1].text
    assert [r.recording for r in night.office.rows("select recording from recording")] == [held]


def test_a_night_that_cannot_write_its_tombstones_sends_nothing(night, monkeypatch):
    def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("The object store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(type(night.office.app.store), "put", down)
        states = night()

    assert (states["tombstones"], states["send_1"], states["balance"]) == ("failed", "upstream_failed", "failed")
    assert len(night.office.versions()) == 3
    assert "The night's report is not in the store yet" in night.mails[-1][1].text


def test_a_vendor_that_is_down_is_red_by_the_balance_and_loses_nothing(night, monkeypatch):
    def down(*_: object, **__: object) -> None:
        raise VendorUnavailable("The vendor does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr("callkeeper.vendors.drop.Drop.delete", down)
        states = night()

    assert (states["ask_vendor"], states["balance"]) == ("success", "failed")
    assert "linna: 3 open since 26 May 2027." in night.mails[-1][1].text
    assert night.office.versions() == []
    night.office.set_clock(LATER + timedelta(days=1))
    assert night("scheduled__2")["balance"] == "success"
    assert night.results["balance"]["done"] == 3


def test_a_vendor_that_is_no_longer_configured_is_a_line_in_the_mail_and_no_red_night(night):
    night.office.sql.execute("update recording set vendor = 'gone' where controller = 'phm'")

    states = night()

    assert (states["ask_vendor"], states["balance"]) == ("success", "success")
    assert night.results["balance"]["open_at_vendor"] == 1
    assert "gone: 1 open since 26 May 2027. Gone here; the vendor is no longer in the configuration" in (
        night.mails[-1][1].text
    )


def test_a_surplus_waits_with_a_mail_to_the_officer_and_after_three_days_to_who_is_above(night):
    night.office.sql.execute("delete from forecast")
    states = night()
    first = {to for to, _ in night.mails}
    for days in (1, 2, 3):
        # The first night planned some seconds after LATER.
        night.office.set_clock(LATER + timedelta(days=days, minutes=5))
        night(f"scheduled__{days + 1}")

    assert states["balance"] == "failed"
    assert first == {"", "officer@x"}
    assert [to for to, _ in night.mails].count("above@x") == 1
    assert len(night.office.versions()) == 3


def test_a_night_without_its_balance_is_closed_by_the_next(night, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(night.connections, "end_night", lambda *_: {})
        night()
    night.office.set_clock(LATER + timedelta(days=1))

    assert night("scheduled__2")["balance"] == "failed"
    assert "The night of 26 May 2027 was cut off; this one closed it." in night.mails[-1][1].text
    night.office.set_clock(LATER + timedelta(days=2))
    assert night("scheduled__3")["balance"] == "success"


@pytest.mark.parametrize("days", [20, -1])
def test_a_night_under_a_wrong_clock_deletes_nothing_though_a_forecast_had_foreseen_it(night, days):
    office = night.office
    office.change_settings(demo=False)
    office.set_clock(datetime.now(UTC) + timedelta(days=days))
    office.sql.execute(
        "update recording set started_at = now() - interval '6 months' + interval '10 days', term_since = '-infinity'"
    )
    office.sql.execute("update forecast set made_at = now() - interval '1 day'")

    states = night()

    assert states["open_night"] == "failed"
    assert night.errors["open_night"].startswith("The clock that decides and ")
    assert len(office.versions()) == 3
    assert office.rows("select from deletion") == []


@pytest.mark.parametrize("task", ["plan", "arm", "send_1"])
def test_a_clock_that_goes_wrong_in_the_middle_of_a_night_stops_what_decides_by_it(night, task):
    night.office.change_settings(demo=False)
    body = night.dag.get_task(task).python_callable
    night.patch.setitem(body.__globals__, "get_current_context", lambda: {"run_id": "any"})

    with pytest.raises(Exception, match="The clock that decides"):
        body(**night._arguments(night.dag.get_task(task)))


def test_no_night_begins_before_the_time_for_which_it_was_planned(office):
    here = datetime.now(UTC)
    office.set_clock(here)
    with office.connect() as conn:
        deleting.require_clock(conn, here=here, run_at=here - timedelta(days=3))  # cleared, and run again
        with pytest.raises(ClockWrong, match="and the run's differ by 2:0"):
            deleting.require_clock(conn, here=here, run_at=here + timedelta(hours=2))
        with pytest.raises(ClockWrong, match="and this machine's differ by"):
            deleting.require_clock(conn, here=here - timedelta(hours=2), run_at=None)


def test_a_task_without_an_opened_night_says_what_to_clear(night):
    body = night.dag.get_task("plan").python_callable
    context = {"run_id": "none", "ti": SimpleNamespace(dag_id="d", run_id="none", task_id="plan", try_number=1)}
    night.patch.setitem(body.__globals__, "get_current_context", lambda: context)

    with pytest.raises(Exception, match=r"This run has no night\. Clear the whole DAG run"):
        body()
