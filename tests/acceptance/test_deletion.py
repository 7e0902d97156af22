"""Letting go, as its users have it: a night through Airflow, one recording held, one open at its vendor, the rest gone, and proof."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import httpx
import pytest

from callkeeper import db, wiring
from callkeeper import settings as settings_module
from callkeeper.demo.drop import HELD_CALLER
from callkeeper.demo.letting_go import NIGHT
from callkeeper.wiring import App
from demonstration import callkeeper, night


@pytest.fixture(scope="module")
def app(home: Path) -> App:
    return wiring.build(settings_module.load(home=home))


def _journal(app: App) -> dict[str, list[db.Row]]:
    """What was due in the demonstration's night, by its state."""
    found: dict[str, list[db.Row]] = {}
    with app.connect() as conn:
        for row in conn.execute(
            "select * from deletion where due_at <= (select planned_at from night where run_key = %s)", (NIGHT,)
        ):
            found.setdefault(row.state, []).append(row)
    return found


def _old_files(home: Path) -> list[Path]:
    """What the vendor still has of the old days."""
    days = sorted(p for p in (home / "vendors" / "linna").iterdir() if p.name[:2] == "20")[:2]
    return [path for day in days for path in (day / "audio").iterdir()]


def test_the_demonstration_shows_the_night(home: Path):
    shown = (home / "demo.out").read_text()

    expected = (
        "rehearsal",
        "Decision 2 is recorded",
        "placed and effective",
        "60 due: 58 done, 1 blocked, 1 open at vendor",
    )
    assert [words for words in expected if words not in shown] == []
    assert HELD_CALLER not in shown


def test_each_recording_of_the_old_days_has_left_but_the_held_one(app: App):
    journal = _journal(app)

    assert {state: len(rows) for state, rows in journal.items()} == {"done": 58, "store_gone": 1, "blocked": 1}
    assert {(r.versions_removed, r.vendor_answer, r.vendor_confirmed) for r in journal["done"]} == {
        (1, "deleted", True)
    }
    assert [r.vendor_answer for r in journal["store_gone"]] == ["refused"]


def test_the_store_has_one_version_of_what_is_held_under_a_legal_hold_and_nothing_of_the_rest(app: App):
    (held,) = _journal(app)["blocked"]
    with app.connect() as conn:
        audio = conn.execute(
            "select object_key, version_id, legal_hold from recording where recording = %s", (held.recording,)
        ).fetchone()
        catalogue = {row.object_key for row in conn.execute("select object_key from recording")}
        waiting = {
            row.object_key for row in conn.execute("select object_key from quarantine where version_id is not null")
        }

    versions = Counter(version.key for version in app.store.versions("rec/"))

    assert audio.legal_hold
    assert app.holder.is_held(audio.object_key, audio.version_id) is True
    assert versions == Counter(catalogue | waiting)


def test_the_vendor_has_what_is_held_and_what_it_will_not_delete(home: Path):
    left = _old_files(home)

    assert len(left) == 2
    assert sorted(path.is_symlink() for path in left) == [False, True]


def test_the_clock_is_right_again_and_nothing_is_broken(home: Path):
    told = callkeeper(home, "doctor")

    assert "callkeeper_now() is the real time" in told.stdout
    assert told.returncode == 0, told.stdout


def test_the_report_of_the_night_is_in_the_store_and_in_a_file(home: Path):
    (page,) = (home / "reports").glob("deletion-*.html")
    day = page.stem.removeprefix("deletion-")

    told = callkeeper(home, "reports", "get", day, "--format", "json", "--to", str(home / "reports" / "night.json"))
    body = json.loads((home / "reports" / "night.json").read_text())

    assert told.returncode == 0, told.stderr
    assert (body["run"], body["mode"], body["balanced"]) == (NIGHT, "live", True)
    assert len(body["receipts"]) == 58
    assert "legal ground" in page.read_text()


def test_a_recording_is_explained_whether_it_is_gone_or_held(home: Path, app: App):
    journal = _journal(app)

    gone = callkeeper(home, "explain", str(journal["done"][0].recording)).stdout
    held = callkeeper(home, "explain", str(journal["blocked"][0].recording)).stdout

    assert "1 removed" in gone
    assert "looked at again: gone" in gone
    assert "legal grounds   1" in held
    assert "investigation" not in held


def test_the_next_night_goes_through_airflow_and_takes_what_import_had_refused(
    home: Path, app: App, airflow: httpx.Client
):
    run = night(airflow, "next_night")

    with app.connect() as conn:
        left = {
            row.state: row.n
            for row in conn.execute("select state, count(*) as n from deletion where due_at <= now() group by 1")
        }

    assert run["state"] == "success", run["note"]
    assert "live" in run["note"] or "balanced" in run["note"]
    assert left == {"done": left["done"], "blocked": 1, "store_gone": 1}
    assert left["done"] > 58


def test_the_demonstration_is_not_played_where_calls_were_imported_without_it(home: Path):
    env = home / "callkeeper.env"
    before = env.read_text()
    env.write_text(before.replace("CALLKEEPER_DEMO='true'\n", ""))
    try:
        told = callkeeper(home, "demo")
    finally:
        env.write_text(before)

    assert told.returncode == 1
    assert "a folder of its own" in told.stderr
