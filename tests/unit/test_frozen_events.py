"""What was once written into the trail is read for ever, and means the same."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from callkeeper.trail import events
from callkeeper.trail.events import Actor, Event, EventUnreadable, canonical, read, utc
from freeze_events import ACTOR, AT, FROZEN, freeze, frozen

LINES = [json.loads(line) for line in FROZEN.read_text().splitlines()]
BODY = next(line["body"] for line in LINES if line["action"] == "recording.kept").encode()


def name(line: dict) -> str:
    return f"{line['action']} {line['v']}"


def test_each_version_of_each_event_is_frozen_once():
    assert len(frozen()) == len(LINES)
    assert set(frozen()) == set(events.KINDS), "run `python tests/freeze_events.py`; it adds what is new"


@pytest.mark.parametrize("line", LINES, ids=name)
def test_an_event_does_not_change_without_a_new_version(line):
    assert freeze(events.KINDS[line["action"], line["v"]]) == line, (
        "give it a new version; keep the class of the old one"
    )


@pytest.mark.parametrize("line", LINES, ids=name)
def test_a_body_that_was_written_is_read_and_written_again_the_same(line):
    found = read(line["body"].encode())

    assert (found.event.action, found.event.version) == (line["action"], line["v"])
    assert found.actor == ACTOR
    assert utc(found.at) == AT
    assert canonical(found.event, found.actor.facts(), utc(found.at)) == line["body"].encode()


def test_versions_count_from_one_and_the_newest_is_of_the_same_class():
    for action in {action for action, _ in events.KINDS}:
        versions = {v: kind for (a, v), kind in events.KINDS.items() if a == action}
        assert sorted(versions) == list(range(1, len(versions) + 1))
        assert len({kind.event_class for kind in versions.values()}) == 1


def test_an_old_version_is_read_beside_the_new_one(monkeypatch):
    @dataclass(frozen=True, kw_only=True, slots=True)
    class DayClosed2(Event):
        event_class: ClassVar = "import"
        action: ClassVar[str] = "day.closed"
        version: ClassVar[int] = 2
        vendor: str

    # as the module's own end does it
    monkeypatch.setattr(events, "KINDS", {**events.KINDS, ("day.closed", 2): DayClosed2})
    old = next(line["body"] for line in LINES if line["action"] == "day.closed")

    assert read(old.encode()).event == events.DayClosed(vendor="ä vendor", day="ä day", state="lost", reason="ä reason")
    assert read(canonical(DayClosed2(vendor="linna"), {}, AT)).event == DayClosed2(vendor="linna")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        BODY + b" ",
        BODY.replace(b'"v":1', b'"v":9'),
        BODY.replace(b'"v":1', b'"v":[]'),
        BODY.replace(b"recording.kept", b"recording.lost"),
        BODY.replace(b'"delivery":41', b'"delivery":true'),
        BODY.replace(b'"delivery":41', b'"delivery":"41"'),
        BODY.replace(b'"delivery":41', b'"delivery":41.0'),
        BODY.replace(b'"delivery":41,', b""),
        BODY.replace(b'"delivery":41', b'"delivery":41,"extra":1'),
        BODY.replace(b'"attempt":2', b'"attempt":2,"extra":1'),
        BODY.replace(b"00:15", b"24:15"),
        BODY.replace(b"00:15:00.000001Z", b"02:15:00.000001+02:00"),
        BODY.replace(b'"blocked":true', b'"blocked": true'),
        re.sub(rb'("action":[^,]+),(.*)}', rb"\2,\1}", BODY),
    ],
)
def test_what_callkeeper_would_have_written_otherwise_is_not_read(body):
    with pytest.raises(EventUnreadable):
        read(body)


def test_what_is_not_said_is_none_again():
    event = events.DayClosed(vendor="linna", day="2026-11-24", state="complete")

    assert read(canonical(event, {}, AT)).event == event
    assert read(canonical(event, {}, AT)).actor == Actor()
