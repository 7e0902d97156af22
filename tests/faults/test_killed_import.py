"""An import that is killed at each of its named steps, and run again, leaves what an undisturbed one leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pydantic import SecretStr

import callkeeper
from installation import DAY
from night import end_state, prepare, tally

ROOT = Path(callkeeper.__file__).parent
PROGRAM = Path(__file__).resolve().parents[1] / "run_import.py"

_REACHED = [
    found
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "crashpoints.py"
    for found in re.findall(r"\breach\(([^)]*)\)", path.read_text())
]
STEPS = [step.strip("\"'") for step in _REACHED]


def killed_at(office, step: str, key: str) -> subprocess.CompletedProcess[str]:
    """The import as a process of its own, its settings from the environment, to die at the step."""
    own = {
        f"CALLKEEPER_{name.upper()}": str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for name, value in office.app.settings
        if value is not None
    }
    return subprocess.run(
        [sys.executable, str(PROGRAM), key, DAY.isoformat(), "linna"],
        env={**os.environ, **own, "PYTHONPATH": str(ROOT.parent), "CALLKEEPER_CRASH_AT": step},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, object]:
    """What a night without a crash leaves: worked out by the first test that needs it, the same for all."""
    return {}


def expected(office, undisturbed):
    if not undisturbed:
        prepare(office)
        office.run("night")
        undisturbed |= end_state(office) | {"tally": tally(office, "night")}
        office.reset()
    return undisturbed


def test_the_steps_are_named_once_and_in_the_code():
    assert len(STEPS) >= 14
    assert [step for step, n in Counter(STEPS).items() if n > 1] == []
    assert all(re.fullmatch(r'"[a-z]+\.[a-z_]+"', found) for found in _REACHED)


def test_the_night_has_every_outcome_in_it(office, undisturbed):
    outcomes = {outcome for _, outcome, _, _ in expected(office, undisturbed)["tally"]}
    assert outcomes == {
        "found", "kept", "unchanged", "corrected", "quarantined", "suppressed", "refused", "pending", "repeated",
        "unknown_field",
    }  # fmt: skip
    assert undisturbed["every object has its row"]
    assert undisturbed["cover"] == ["held"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_and_run_again_it_leaves_the_same(office, undisturbed, step):
    whole = expected(office, undisturbed)
    prepare(office)

    killed = killed_at(office, step, "night")
    assert killed.returncode == -signal.SIGKILL, f"{step} was not reached: {killed.stderr}"
    assert office.value("select ended_at from import_run where run_key = 'night'") is None
    balance = office.run("night")

    assert balance.balanced
    assert end_state(office) | {"tally": tally(office, "night")} == whole


@pytest.mark.parametrize("step", ["stage.after_commit", "check.after_commit", "fetch.stored", "keep.before_commit"])
def test_what_a_killed_night_left_the_next_night_finishes(office, undisturbed, step):
    whole = expected(office, undisturbed)
    prepare(office)

    assert killed_at(office, step, "night").returncode == -signal.SIGKILL
    balance = office.run("next night")

    assert balance.balanced
    left = end_state(office)
    same = ("recording", "quarantine", "deletion", "cover", "days", "every object has its row")
    assert {part: left[part] for part in same} == {part: whole[part] for part in same}
    # audio that is not there may have been missed in both nights
    assert [{**c, "missed": 0} for c in left["staging"]] == [{**c, "missed": 0} for c in whole["staging"]]
    assert _of_calls(left["events"]) == _of_calls(whole["events"])


def _of_calls(events: Counter[str]) -> Counter[str]:
    return Counter({event: n for event, n in events.items() if '"recording"' in event})
