"""Every place of a night at which something can go wrong, each way it can, singly and in pairs: the end is the same.

The store and the vendor are in memory; the same contract suite checks them and the real ones. A pair's choice is drawn
from a seed, which a failure prints: ``FAULTS_SEED=… make test-faults`` draws it again. ``make soak`` tries all singles
both ways, and pairs without end, until its time is up.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Any

import pytest

from callkeeper import deletions
from callkeeper.errors import CallkeeperError
from callkeeper.jobs import deleting, holding, tombstones
from faults.killing import steps
from faults.leaving import DUE, end_state, prepare, story
from faults.world import STORE_MODES, VENDOR_MODES, Died, Fault, World
from installation import ACTOR

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
SEED = int(os.environ.get("FAULTS_SEED") or (random.randrange(10**9) if SOAK_SECONDS else 20261124))
PAIRS = 40
NTH = 2
"""A place that is passed more often is the same code with the next batch."""
TELLS = {
    "planned": {"deletion.planned", None},
    "blocked": {"deletion.blocked"},
    "armed": {"deletion.armed"},
    "sending": {"deletion.sending"},
    "store_gone": {"deletion.store_gone", "deletion.vendor_asked", "deletion.vendor_answered"},
    "done": {"deletion.done"},
}
"""The last event of a deletion in each state."""


class Matrix:
    """A night to be spoilt: what it begins with, how it ends undisturbed, and the places that it passes."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.reset()
        self.known = prepare(world, world)
        accepted, refused = (world.vendor.call(name).ref for name in ("versions", "other"))
        world.vendor.manners |= {accepted: "accepts", refused: "refuses"}
        self.before = world.save()
        world.load(self.before)
        world.order()
        world.sweep("one")
        self.passed = Counter(world.passed)
        world.sweep("two")
        self.whole = self.end()

    def end(self) -> dict[str, Any]:
        return end_state(self.world, self.known, self.world.vendor.recordings)

    def singles(self) -> list[Fault]:
        found = []
        for (where, what), times in sorted(self.passed.items()):
            modes = {"step": ("die",), "commit": ("before", "after")}.get(where)
            modes = modes or (STORE_MODES if where == "store" else VENDOR_MODES)[what]
            # Each commit is a transaction of its own.
            last = times if where == "commit" else min(times, NTH)
            found += [
                Fault(where=where, what=what, nth=nth, mode=mode)  # type: ignore[arg-type]  # as they were counted
                for nth in range(1, last + 1)
                for mode in modes
            ]
        return found

    def spoil(self, *faults: Fault, next_night: bool) -> None:
        """A night with these faults; then it is run again, or only the next ones are: two at most, and all is as it should be."""
        world = self.world
        world.load(self.before)
        world.order(*faults)
        self.attempt("one")
        if len(faults) > 1:
            self.attempt("two" if next_night else "one")
        world.heal()
        assert world.sweep("three" if next_night else "one").balanced
        self.check()
        if self.end() != self.whole:
            assert world.sweep("four").balanced
            self.check()
        assert self.end() == self.whole

    def attempt(self, key: str) -> None:
        try:
            assert self.world.sweep(key).balanced
        except Died:
            pass
        except CallkeeperError:
            # The DAG's last task counts, whatever became of those before it.
            self.balance(key)
        self.check()

    def balance(self, key: str) -> None:
        try:
            with self.world.connect() as conn:
                night = deletions.find_night(conn, key)
                assert deleting.balance(conn, night, ACTOR).balanced
        except (CallkeeperError, Died):
            pass

    def check(self) -> None:
        """What is true after every try, however it ended."""
        world, known = self.world, self.known
        assert world.trespasses == []
        there = {v.key for v in world.versions()} | {key for key, _ in world.store.uploads("")}
        asked = Counter(recording for _, recording in world.vendor.keys)
        catalogue = {r.recording for r in world.rows("select recording from recording")}
        told = story(world, known)
        for row in world.rows("select * from deletion"):
            name = known.names[row.recording]
            if row.state in ("store_gone", "done"):
                assert known.keys[row.recording] not in there, f"{name} is gone, and a version of it is there"
                assert row.recording not in catalogue, f"{name} is gone, and a row of it is there"
            if row.state == "done":
                assert asked[str(row.recording)] or name == "orphan", f"{name} is done, and its vendor was not asked"
            deletion = told.get(name, [])
            assert (deletion[-1] if deletion else None) in TELLS[row.state], f"{name} is {row.state}: {deletion}"
            assert len(deletion) == len(set(deletion)), f"{name} ended, or went on, twice: {deletion}"
        for row in world.rows(
            "select r.recording, object_key from recording r "
            "where not exists (select from deletion d where d.recording = r.recording and d.state = 'sending')"
        ):
            assert row.object_key in there, f"{known.names[row.recording]} lost its audio, and was never sent"
        assert max(world.vendor.deletions.values(), default=0) <= 1


@pytest.fixture(scope="module")
def matrix(world: World) -> Matrix:
    return Matrix(world)


def test_undisturbed_everything_due_ends_and_what_is_held_or_waits_stays(matrix):
    states = {name: row["state"] for name, row in matrix.whole["journal"].items()}
    assert states == dict.fromkeys(DUE, "done") | {"other": "store_gone", "held": "blocked", "surplus": "planned"}
    assert matrix.whole["store"] == {"held": 1, "surplus": 1, "young": 1}
    assert matrix.world.trespasses == []


def test_the_night_passes_every_step_of_the_destroyer(matrix):
    reached = {what for where, what in matrix.passed if where == "step"}
    assert reached >= set(steps("plan", "arm", "send", "ask"))
    assert len(matrix.singles()) > 120


def test_one_fault_anywhere_and_the_end_is_the_same(matrix):
    for number, fault in enumerate(matrix.singles()):
        for next_night in (True, False) if SOAK_SECONDS else (number % 2 == 0,):
            with told(fault):
                matrix.spoil(fault, next_night=next_night)


def test_two_faults_anywhere_and_the_end_is_the_same(matrix):
    singles, chance = matrix.singles(), random.Random(SEED)
    until, tried = time.monotonic() + SOAK_SECONDS, 0
    while tried < PAIRS or time.monotonic() < until:
        pair = chance.sample(singles, 2)
        with told(*pair):
            matrix.spoil(*pair, next_night=chance.random() < 0.5)
        tried += 1
    print(f"{tried} pairs of {len(singles)} faults, seed {SEED}")


def test_every_step_done_twice_changes_nothing(matrix):
    """As when a task is cleared and run again: in the order of the night, each two times."""
    world = matrix.world
    world.load(matrix.before)
    rules = world.app.deleting_rules()
    for key in ("one", "two"):
        with world.connect() as conn:
            for _ in range(2):
                night = deleting.open_night(conn, key, ACTOR)
            for _ in range(2):
                holding.settle(conn, world.app.holder, ACTOR)
            for _ in range(2):
                deleting.plan(conn, night, rules, ACTOR)
            night = deletions.find_night(conn, key)
            for _ in range(2):
                deleting.arm(conn, night, rules, ACTOR)
            for _ in range(2):
                tombstones.export(conn, world.app.store, night.night, ACTOR)
            for lane in (1, 1, 2, 2):
                deleting.send(conn, night, world.app.destroyer, lane=lane, rules=rules, actor=ACTOR)
            for _ in range(2):
                deleting.ask_vendor(conn, night, world.vendor, keyring=world.app.keyring, rules=rules, actor=ACTOR)
            for _ in range(2):
                assert deleting.balance(conn, night, ACTOR).balanced
        matrix.check()
    assert matrix.end() == matrix.whole


class told:  # noqa: N801  # read as a word: with told(fault)
    """Says which fault it was, and with which seed it comes again."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, wrong: BaseException | None, trace: Any) -> None:
        if isinstance(wrong, Exception):
            wrong.add_note(f"after {', '.join(map(str, self.faults))} (FAULTS_SEED={SEED})")
