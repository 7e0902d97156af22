"""An import that is killed at each of its named steps, and run again, leaves what an undisturbed one leaves."""

from __future__ import annotations

from collections import Counter

import pytest

from faults.killing import killed_at, steps
from installation import DAY
from night import end_state, prepare, tally
from run_import import run_import

STEPS = steps("stage", "check", "fetch", "keep")


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
    assert len(STEPS) == len(set(STEPS)) == 14


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

    assert killed_at(office, step, run_import, "night", DAY, "linna")
    assert office.value("select ended_at from import_run where run_key = 'night'") is None
    balance = office.run("night")

    assert balance.balanced
    left = end_state(office) | {"tally": tally(office, "night")}
    for part, rows in whole.items():
        assert left[part] == rows, (part, _other(left[part], rows))


@pytest.mark.parametrize("step", ["stage.after_commit", "check.after_commit", "fetch.stored", "keep.before_commit"])
def test_what_a_killed_night_left_the_next_night_finishes(office, undisturbed, step):
    whole = expected(office, undisturbed)
    prepare(office)

    assert killed_at(office, step, run_import, "night", DAY, "linna")
    balance = office.run("next night")

    assert balance.balanced
    left = end_state(office)
    same = ("recording", "quarantine", "deletion", "cover", "days", "every object has its row")
    for part in same:
        assert left[part] == whole[part], (part, _other(left[part], whole[part]))
    # audio that is not there may have been missed in both nights
    assert [{**c, "missed": 0} for c in left["staging"]] == [{**c, "missed": 0} for c in whole["staging"]]
    assert _of_calls(left["events"]) == _of_calls(whole["events"])


def _of_calls(events: Counter[str]) -> Counter[str]:
    return Counter({event: n for event, n in events.items() if '"recording"' in event})


def _other(left, whole):
    """What is on one side only: what a failure shows."""
    if isinstance(left, Counter):
        return {"left": left - whole, "whole": whole - left}
    if not isinstance(left, list):
        return left, whole
    return [("left", row) for row in left if row not in whole] + [("whole", row) for row in whole if row not in left]
