"""A night of deletions that is killed at each of its named steps, and run again, leaves what an undisturbed one leaves."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterable
from datetime import date

import pytest

from callkeeper.embedded.store import SeaweedFS
from deliver import Call, deliver
from faults.killing import killed_at, state, steps, stopping_at
from faults.leaving import DUE, Known, end_state, prepare
from installation import DAY, Installation
from run_night import run_night

STEPS = steps("plan", "arm", "send", "ask")
SETTLING = ["hold.flagged", "hold.stored", "hold.before_settled", "hold.settled"]
"""The steps of bringing the store's legal holds in line, with which a night begins."""


class Servers:
    """The vendor's folder, and the store as its administrator sees it."""

    def __init__(self, office: Installation, seaweed: SeaweedFS) -> None:
        self._office = office
        self._admin, self._bucket = seaweed.client(), office.settings.store_bucket

    def deliver(self, calls: Iterable[Call], day: date = DAY) -> None:
        deliver(self._office.linna, day, calls)

    def add_version(self, key: str) -> str:
        return str(self._admin.put_object(Bucket=self._bucket, Key=key, Body=b"another version")["VersionId"])

    def hide(self, key: str) -> None:
        self._admin.delete_object(Bucket=self._bucket, Key=key)

    def begin_upload(self, key: str) -> None:
        upload = self._admin.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"]
        part = io.BytesIO(b"x" * 100_000)
        self._admin.upload_part(Bucket=self._bucket, Key=key, UploadId=upload, PartNumber=1, Body=part)


def end(office: Installation, known: Known) -> dict[str, object]:
    return end_state(office, known, (file.name for file in office.linna.glob("*/*.wav")))


@pytest.fixture
def known(office, seaweed):
    return prepare(office, Servers(office, seaweed))


@pytest.fixture(scope="module")
def whole() -> dict[str, object]:
    """What an undisturbed night leaves, filled in by the first test."""
    return {}


def test_undisturbed_what_is_due_goes_and_what_is_held_or_waits_stays(office, known, whole):
    balance = office.sweep("night")

    assert balance.balanced
    assert (balance.total("done"), balance.total("blocked"), balance.total("waiting")) == (len(DUE), 1, 1)
    whole |= end(office, known)
    assert whole["store"] == {"held": 1, "surplus": 1, "young": 1}
    assert whole["vendor"] == ["held.wav", "surplus.wav", "young.wav"]
    assert whole["uploads"] == []


def test_the_steps_are_named_once():
    assert len(STEPS) == len(set(STEPS)) == 18
    assert set(SETTLING) < set(steps("hold"))


@pytest.mark.parametrize("step", [*SETTLING, *STEPS])
def test_killed_and_run_again_it_leaves_the_same(office, known, whole, step):
    assert killed_at(office, step, run_night, "night")

    assert office.sweep("night").balanced

    assert end(office, known) == whole


@pytest.mark.parametrize(
    "step", ["plan.before_commit", "arm.after_commit", "send.deleted", "send.proven", "ask.deleted"]
)
def test_what_a_killed_night_left_the_next_night_finishes(office, known, whole, step):
    assert killed_at(office, step, run_night, "night")

    assert office.sweep("next night").balanced

    assert end(office, known) == whole
    assert office.sweep("night").balanced, "the killed one, cleared and run again after it"
    assert end(office, known) == whole


def test_a_process_that_was_stopped_in_mid_deletion_and_wakes_after_its_lease_changes_nothing(office, known, whole):
    """Stopped when it had claimed and sent, woken when another had taken its claim over and finished."""
    sleeper = stopping_at(office, "send.sending", run_night, "night")
    try:
        until = time.monotonic() + 60
        while state(sleeper) != "T":
            assert time.monotonic() < until, "it does not come to the step"
            time.sleep(0.05)
        office.sql.execute("update deletion set lease_until = clock_timestamp() - interval '1 second'")
        office.sweep("night")
        done = end(office, known)
        fences = office.rows("select recording, fence from deletion order by 1")
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join(60)

    assert sleeper.exitcode == 0
    assert done == whole
    assert end(office, known) == whole
    assert office.rows("select recording, fence from deletion order by 1") == fences
