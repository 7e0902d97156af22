"""The canonical bytes of events: one text for one meaning, and nothing in it that could be read two ways."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

import pytest

from callkeeper.jobs.importing import _ranges
from callkeeper.trail.append import ANY, _bodies, _of_each
from callkeeper.trail.events import (
    Actor,
    BlockerTooLate,
    DeletionDone,
    ImportBalanced,
    RecordingCorrected,
    RecordingKept,
    canonical,
)

AT = "2026-11-24T00:00:00.000000Z"
ONE, TWO = UUID(int=1), UUID(int=2**127)


def kept(recording: UUID) -> RecordingKept:
    return RecordingKept(recording=recording, controller="punavaara", vendor="linna", delivery=7, blocked=False)


def test_a_body_is_ascii_json_with_sorted_keys_and_no_blanks():
    body = canonical(kept(ONE), Actor(account="säde").facts(), AT)

    assert body.isascii()
    assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    assert json.loads(body)["recording"] == str(ONE)


def test_what_is_none_is_left_out():
    assert "account" not in Actor(dag="d").facts()
    assert b"null" not in canonical(kept(ONE), {}, AT)


@pytest.mark.parametrize("count", [2**53, -(2**53)])
def test_an_integer_that_another_reader_could_round_is_refused(count):
    event = ImportBalanced(vendor="v", controller="c", counts={"found": count}, balanced=True)

    with pytest.raises(ValueError, match="2\\^53"):
        canonical(event, {}, AT)


def test_a_float_is_refused():
    event = ImportBalanced(vendor="v", controller="c", counts={"found": 1.0}, balanced=True)

    with pytest.raises(TypeError, match="float"):
        canonical(event, {}, AT)


def test_events_that_are_alike_have_the_bytes_that_each_would_have_alone():
    together = list(_bodies(canonical(kept(ANY), {}, AT), [ONE, TWO]))

    assert together == [canonical(kept(ONE), {}, AT), canonical(kept(TWO), {}, AT)]


@pytest.mark.parametrize(
    "event",
    [
        kept(ONE),
        kept(ANY),
        DeletionDone(
            recording=TWO, controller=None, vendor="v", trigger="t", due_at=str(ANY), versions_removed=1, vendor_answer="deleted",
            vendor_confirmed=None,
        ),
        RecordingCorrected(recording=ONE, controller="c", vendor="v", delivery=1, changed=("line", "caller")),
        ImportBalanced(vendor="v", controller="c", counts={"found": 1}, balanced=True),
        BlockerTooLate(blocker=TWO, recording=ONE),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_an_event_among_many_has_the_bytes_that_it_would_have_alone(event):
    of_each = _of_each({"account": "data"}, AT)

    assert [of_each(event), of_each(event)] == [canonical(event, {"account": "data"}, AT)] * 2


def test_values_that_are_equal_and_not_the_same_have_each_their_text():
    of_each = _of_each({}, AT)
    true, one = (replace(kept(ONE), blocked=blocked) for blocked in (True, 1))

    assert [of_each(true), of_each(one)] == [canonical(true, {}, AT), canonical(one, {}, AT)]
    assert of_each(true) != of_each(one)


@pytest.mark.parametrize("parts", [0, 1, 2, 7, 1000])
def test_the_ranges_of_a_check_hold_every_uuid_once(parts):
    ranges = list(_ranges(parts))

    assert len(ranges) == max(parts, 1)
    assert ranges[0][0] == UUID(int=0)
    assert ranges[-1][1] == UUID(int=2**128 - 1)
    assert all(after[0].int == before[1].int + 1 for before, after in pairwise(ranges))
