"""First light, as its user has it: everything started, two days imported through Airflow, and no number anywhere beside the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from callkeeper import settings as settings_module
from callkeeper import wiring
from callkeeper.embedded.stack import Stack
from demonstration import callkeeper, leaks_in_databases, leaks_in_files, numbers_of_callers

DAG = "import_recordings"


def _runs(airflow: httpx.Client) -> list[dict]:
    return airflow.get(f"/api/v2/dags/{DAG}/dagRuns", params={"run_type": "scheduled"}).json()["dag_runs"]


def test_the_demonstration_ends_in_the_balance(home: Path):
    shown = (home / "demo.out").read_text()

    assert [word for word in ("2 of 2", "it adds up", "Done in") if word not in shown] == []


def test_each_day_is_one_green_run_with_its_balance_as_a_note(airflow: httpx.Client):
    runs = _runs(airflow)

    assert [run["state"] for run in runs] == ["success", "success"]
    assert all(" found = " in run["note"] for run in runs)


def test_the_catalogue_says_by_an_asset_event_what_came(airflow: httpx.Client):
    events = airflow.get("/api/v2/assets/events").json()["asset_events"]

    assert {event["extra"]["vendor"] for event in events} == {"linna", "vaihde"}
    assert sum(event["extra"].get("kept", 0) for event in events) > 20


def test_status_tells_the_same_to_people_and_programs(home: Path):
    told, data = callkeeper(home, "status"), json.loads(callkeeper(home, "status", "--json", "--runs", "2").stdout)

    assert [word for word in ("linna", "punavaara") if word not in told.stdout] == []
    assert [run["balanced"] for run in data["runs"]] == [True, True]
    assert all(
        b["found"] == sum(n for term, n in b.items() if term not in ("vendor", "controller", "found"))
        for r in data["runs"]
        for b in r["balances"]
    )


def test_every_kept_recordings_audio_is_the_vendors(home: Path):
    app = wiring.build(settings_module.load(home=home))
    with app.connect() as conn:
        rows = list(conn.execute("select object_key, version_id, sha256, size_bytes from recording"))
    keys = {version.key: version for version in app.store.versions("rec/")}

    assert len(rows) > 20
    for row in rows:
        assert keys[row.object_key].version_id == row.version_id


def test_the_watchdog_is_quiet_after_a_good_night(home: Path):
    told = callkeeper(home, "watchdog")

    assert told.returncode == 0, told.stderr


def test_the_data_team_cannot_touch_what_is_not_its_own(airflow: httpx.Client):
    assert airflow.get("/api/v2/connections").status_code == 403
    assert airflow.get("/api/v2/variables").status_code == 403


def test_a_number_is_refused_as_a_parameter(airflow: httpx.Client):
    """And, as the search below shows, does not stay in Airflow's log table of what was asked for."""
    answer = airflow.post(f"/api/v2/dags/{DAG}/dagRuns", json={"conf": {"vendor": "0401234501"}, "logical_date": None})

    assert answer.status_code in (400, 422), answer.text


def test_a_second_up_changes_nothing(home: Path, stack: Stack):
    before = {p.name: p.pid for p in stack.supervisor.programs()}

    again = callkeeper(home, "up")

    assert again.returncode == 0, again.stderr
    assert {p.name: p.pid for p in stack.supervisor.programs()} == before


# --- no number beside the catalogue -----------------------------------------------------------------------------------


def test_no_log_of_a_task_or_a_service_no_mail_and_no_object_key_holds_a_number(home: Path):
    numbers = numbers_of_callers(home)
    assert len(numbers) > 20, "the canaries are planted"

    assert leaks_in_files(home, numbers) == []


def test_no_table_holds_a_number(home: Path, stack: Stack):
    """XCom, conf, rendered fields, Airflow's own log table, notes; and the catalogue but for its sealed columns."""
    assert leaks_in_databases(stack, numbers_of_callers(home)) == []
