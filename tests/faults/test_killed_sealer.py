"""A sealer that is killed at each of its named steps, and run again, leaves every event sealed once, and all of it outside."""

from __future__ import annotations

import os
import signal
import time

import pytest

from callkeeper.jobs import sealing
from callkeeper.trail import seal as sealer
from callkeeper.trail.notes import SealKeys
from faults.killing import killed_at, state, steps, stopping_at
from installation import ACTOR
from trail import RULES, Backup, faults, new_epoch, seal, seal_app, write

SEALING = steps("seal")
OPENING = steps("epoch")
ROTATING = steps("key")


def test_every_step_of_the_sealer_is_named():
    assert set(SEALING) >= {"seal.begun", "seal.leaves", "seal.signed", "seal.committed", "seal.leaves_anchored", "seal.note_anchored", "seal.anchored"}  # fmt: skip
    assert set(OPENING) == {"epoch.leaves", "epoch.committed", "epoch.adopted"}


@pytest.mark.parametrize("step", [*SEALING, "epoch.leaves", "epoch.committed"])
def test_a_first_sealing_that_was_killed_goes_on(sealed_office, step):
    write(sealed_office, 5)

    assert killed_at(sealed_office, step, seal_app)
    write(sealed_office, 2)
    seal(sealed_office)

    assert faults(sealed_office) == []
    assert len(sealed_office.events("epoch.opened")) == 1


@pytest.mark.parametrize("step", SEALING)
def test_a_later_sealing_that_was_killed_goes_on_without_signing_twice(sealed_office, step):
    write(sealed_office, 5)
    first = seal(sealed_office).size
    write(sealed_office, 4)

    assert killed_at(sealed_office, step, seal_app)
    done = seal(sealed_office)

    assert done.size == first + 4
    assert sealed_office.value("select count(*) from checkpoint where size > %s", first) == 1
    assert faults(sealed_office) == []


@pytest.mark.parametrize("step", OPENING)
def test_an_epoch_after_a_restore_that_was_killed_is_opened_by_the_next(sealed_office, step, postgres, tmp_path):
    write(sealed_office, 3)
    seal(sealed_office)
    write(sealed_office, 2)
    backup = Backup(sealed_office, postgres, tmp_path / "callkeeper.dump")
    for _ in range(2):
        write(sealed_office, 2)
        seal(sealed_office)
    backup.restore()
    write(sealed_office, 1)

    assert killed_at(sealed_office, step, new_epoch)
    if step != "epoch.committed":
        new_epoch(sealed_office.app)
    write(sealed_office, 1)
    seal(sealed_office)

    assert sealed_office.value("select max(epoch) from epoch") == 2
    assert sealed_office.value("select count(*) from leaf where event_id is null") == 4
    assert faults(sealed_office) == []


def test_a_sealer_that_sleeps_after_its_commit_while_another_goes_on_changes_nothing_when_it_wakes(
    sealed_office, monkeypatch
):
    write(sealed_office, 5)
    seal(sealed_office)
    write(sealed_office, 5)
    sleeper = stopping_at(sealed_office, "seal.committed", seal_app)
    try:
        until = time.monotonic() + 60
        while state(sleeper) != "T":
            assert time.monotonic() < until, "it does not come to the step"
            time.sleep(0.05)
        with pytest.raises(sealer.SealerBusy):
            seal(sealed_office, wait_seconds=0.5)
        # As when the server has given up on its connection.
        sealed_office.sql.execute(
            "select pg_terminate_backend(l.pid) from pg_locks l where l.locktype = 'advisory' and l.granted and l.objid = %s",
            (sealer.LOCK & 0xFFFFFFFF,),
        )
        write(sealed_office, 3)
        done = seal(sealed_office, wait_seconds=10)
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join(60)

    assert sleeper.exitcode not in (0, None)
    assert done.size == 15
    assert faults(sealed_office) == []
    assert seal(sealed_office, RULES).events == 0


def add_key(app):
    with app.connect("sealer") as conn:
        return sealing.add_key(conn, app.seal_keys, app.anchor, RULES, ACTOR)


@pytest.mark.parametrize("step", [*ROTATING, "seal.signed", "seal.note_anchored"])
def test_a_key_whose_taking_up_was_killed_is_taken_up_by_the_next_and_told_once(sealed_office, step):
    write(sealed_office, 2)
    seal(sealed_office)

    assert killed_at(sealed_office, step, add_key)
    key = add_key(sealed_office.app)

    told = [e["verifier_key"] for e in sealed_office.events("seal_key.added")]
    assert told.count(str(key.verifier)) == 1
    assert len(told) == 2
    now = SealKeys.load(sealed_office.settings.trail_keys_dir)
    assert (len(now.live), len(now.pending)) == (2, 0)
    assert faults(sealed_office) == []
