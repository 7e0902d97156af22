"""A hold that is placed while a night has come to one of its steps: what was not sent yet is held, the rest is listed."""

from __future__ import annotations

import pytest

from callkeeper.blockers import Predicate
from faults.killing import steps
from faults.leaving import CALLER, prepare
from faults.world import Fault, World

LOCKED = ("arm.locked", "arm.before_commit", "send.locked", "send.before_commit", "ask.before_commit")
"""At these a night has the blockers' lock: who places a hold waits for it."""
AUDIO = "select recording, object_key, version_id, pseudonym from recording union all select recording, object_key, version_id, pseudonym from deletion where version_id is not null"


class Night:
    """The night to be met, and what its caller's calls are before it."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.reset()
        self.known = prepare(world, world)
        self.before = world.save()
        self.predicate = Predicate(pseudonyms=(world.pseudonym(CALLER),))
        self.covered = {r.recording: r for r in world.rows(AUDIO) if r.pseudonym == self.predicate.pseudonyms[0]}


@pytest.fixture(scope="module")
def night(world: World) -> Night:
    return Night(world)


@pytest.mark.parametrize("step", [*steps("plan", "arm", "send", "ask"), "hold.flagged", "hold.stored", "hold.settled"])
@pytest.mark.parametrize("nth", [1, 2])
def test_what_is_not_sent_when_a_hold_comes_is_held_and_the_rest_is_listed(night, step, nth):
    world, known = night.world, night.known
    world.load(night.before)
    met: list[tuple[str | None, dict[object, str]]] = []

    def meanwhile() -> None:
        case = world.hold(night.predicate)
        states = {r.recording: r.state for r in world.rows("select recording, state from deletion")}
        met.append((case, states))

    world.meanwhile = meanwhile
    world.order(Fault(where="step", what=step, nth=nth, mode="meanwhile"))
    assert world.sweep("night").balanced
    if not met:
        assert nth > 1, f"{step} was not reached"
        return
    ((case, states),) = met
    assert (case is None) == (step in LOCKED)
    assert world.sweep("next night").balanced
    assert world.trespasses == []
    if case is None:
        return

    sent = {recording for recording, state in states.items() if state in ("sending", "store_gone", "done")}
    there = {(v.key, v.version_id) for v in world.versions()}
    saved = {recording for recording, r in night.covered.items() if (r.object_key, r.version_id) in there}
    too_late = {r.recording for r in world.rows("select recording from hold_too_late")}
    assert saved >= set(night.covered) - sent, "what was not sent is gone"
    assert all(world.store.is_held(night.covered[r].object_key, night.covered[r].version_id) for r in saved)
    gone = {r for r in night.covered if r not in saved and states.get(r) == "sending"}
    assert {known.names[r] for r in gone} <= {known.names[r] for r in too_late}, "what was too late is listed"
    assert not too_late & saved
    assert world.value("select effective_at is not null from hold where case_ref = %s", case)
    for recording in gone:
        assert any(known.names[recording] in ref for ref in world.vendor.recordings), "the vendor's is the last copy"
