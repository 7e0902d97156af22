"""The trail: written in the transaction that it tells of, in exact bytes, with nothing in it that tells who called."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from uuid import UUID

import pytest

from callkeeper import db
from callkeeper.trail import events
from callkeeper.trail.append import append
from callkeeper.trail.events import Actor, DayClosed, Event, ImportBalanced, RecordingKept, canonical

ACTOR = Actor(dag="import_recordings", run="night", task="keep", attempt=2, rule="0.1.0", config=7)
KEPT = RecordingKept(recording=UUID(int=1), controller="phm", vendor="linna", delivery=3, blocked=False)
CLOSED = DayClosed(vendor="linna", day="2026-11-24", state="complete")

EVENTS = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]
ALLOWED = {
    "recording", "controller", "vendor", "delivery", "blocked", "state_before", "state_after", "changed", "reason", "how",
    "trigger", "day", "found", "status", "state", "vendors", "refused", "findings", "counts", "balanced", "blocker",
    "config_version", "digest", "added", "removed", "key_id", "purpose", "change",
    # the way out: what was proven and answered, a night's and a reconciliation's counts, a decision's codes and hash
    "catalogued", "versions_removed", "answer", "confirmed", "due_at", "vendor_answer", "vendor_confirmed", "trouble", "due", "mode",
    "night", "surplus", "decided", "decision", "scope", "subject", "tombstones", "lost", "marks", "planned", "reconciliation",
    "recordings", "too_late", "review_on", "followed_by", "why",
    # the trail of itself: trees, sizes, roots; a public key
    "epoch", "carried", "previous_epoch", "previous_size", "previous_root", "anchored_size", "anchored_root", "verifier_key", "seconds", "lost_digest",
    # what Airflow did, as the listener saw it; what aged out
    "run_type", "triggered_by", "by_hand", "code", "map_index", "event_class_", "month", "count",
    # a morning's deadlines: how many, and how many of them late
    "matters", "late",
    # the notice: its version, and the promises that were broken or could not be checked, by their ids
    "notice", "broken", "unknown",
    # files in the store that went: reports or tombstones, of before which day
    "kind", "before",
    # a person's request: its reference, its codes and days; whom it is about only as hashes under the ticket's salt
    "ticket", "right", "channel", "received_on", "due_on", "subjects", "blockers", "linked_to", "identity", "extended_to", "erase_on",
    # a letter: its kind, its language, by which way it went
    "language",
    # an access package: its id, its day, how many parts of which kind; an opening's disclosure by its reference
    "package", "expires_on", "parts", "part", "disclosure",
    # a disclosure: its reference and the package's, a day; never to whom
    "what",
    "noted", "lifts_on",
}  # fmt: skip
"""Ids, codes and counts (requirements, §5). Who adds a field here has asked what could stand in it."""


def test_an_events_bytes_are_exact():
    body = canonical(KEPT, ACTOR.facts(), "2026-11-25T00:15:00.000000Z")

    assert body == (
        b'{"action":"recording.kept","actor":{"attempt":2,"config":7,"dag":"import_recordings","rule":"0.1.0","run":"night",'
        b'"task":"keep"},"at":"2026-11-25T00:15:00.000000Z","blocked":false,"controller":"phm","delivery":3,'
        b'"recording":"00000000-0000-0000-0000-000000000001","state_after":"live","state_before":"staged","v":1,'
        b'"vendor":"linna"}'
    )


@pytest.mark.parametrize("value", [2**53, 1.5, b"bytes", object()])
def test_an_event_takes_no_value_whose_bytes_could_differ(value):
    with pytest.raises((TypeError, ValueError)):
        canonical(
            ImportBalanced(vendor="linna", controller="phm", counts={"found": value}, balanced=True),
            {},
            "2026-11-25T00:15:00Z",
        )


def test_an_event_is_written_with_its_change_or_not_at_all(app_conn):
    before = app_conn.execute("select count(*) from event").fetchone()[0]
    append(app_conn, ACTOR, [KEPT, CLOSED])
    app_conn.rollback()
    assert app_conn.execute("select count(*) from event").fetchone()[0] == before

    assert append(app_conn, ACTOR, [KEPT, CLOSED]) == 2
    xid = app_conn.execute("select pg_current_xact_id()::text").fetchone()[0]
    at = db.now(app_conn)
    app_conn.commit()

    rows = app_conn.execute("select class as of, at, xid::text, body from event order by id desc limit 2").fetchall()
    assert [(r[0], r[1], r[2]) for r in rows] == [("import", at, xid)] * 2
    assert [bytes(r[3]) for r in rows] == [canonical(e, ACTOR.facts(), events.utc(at)) for e in (CLOSED, KEPT)]


def test_the_trail_knows_every_class_of_event(app_conn):
    known = {row[0] for row in app_conn.execute("select class as known from event_class")}
    assert {kind.event_class for kind in EVENTS} <= known
    assert known == set(events.EventClass.__args__)


def test_events_have_one_name_each():
    actions = [kind.action for kind in EVENTS]
    assert len(set(actions)) == len(actions) >= 9
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", action) for action in actions)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_has_fields_for_ids_codes_and_counts_only(kind):
    assert {f.name for f in fields(kind)} <= ALLOWED


def test_an_actor_is_an_account_or_a_task():
    assert Actor(account="officer").facts() == {"account": "officer"}
    assert json.loads(canonical(CLOSED, ACTOR.facts(), "x"))["actor"] == ACTOR.facts()
