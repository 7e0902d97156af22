"""The vendor's day, into the catalogue: every way that a call can go, on a real database and a real store."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from callkeeper import db, deliveries
from callkeeper.clock import HELSINKI, retention_eligible_at
from callkeeper.deliveries import declare_lost
from callkeeper.errors import ConfigurationError, NotAllowed, NotFound, VendorUnavailable
from callkeeper.jobs import balancing, fetching, importing
from callkeeper.jobs.preflight import preflight
from callkeeper.media.probe import probe
from callkeeper.vendors.drop import Drop
from deliver import PHM, PUNAVAARA, Call, deliver, tone
from installation import ACTOR, DAY, EXCHANGE, NOW, at, counts, reasons

CALLER, CALLED = "+358401234501", "+358501234505"


def call(identity: str = "r1", **changes) -> Call:
    return Call(**{"id": identity, "start": at(9), **changes})


# --- kept -------------------------------------------------------------------------------------------------------------


def test_a_call_is_kept_with_its_audio_under_the_day_on_which_it_expires(office):
    deliver(office.linna, DAY, [call(audio=tone(1.5), ms=1500)])

    balance = office.run()

    assert counts(balance) == {"found": 1, "kept": 1}
    kept = office.row("select * from recording")
    assert (kept.controller, kept.vendor, kept.line, kept.direction) == (
        "punavaara",
        "linna",
        "+358207001234",
        "inbound",
    )
    assert (kept.started_at, kept.duration_ms, kept.audio_ms) == (at(9), 1500, 1500)
    assert (kept.codec, kept.channels, kept.sample_rate_hz, kept.legal_hold) == ("pcm_s16le", 1, 8000, False)
    assert kept.eligible_at == retention_eligible_at(at(9)) == datetime(2027, 5, 25, tzinfo=HELSINKI)
    assert kept.object_key == f"rec/2027-05-25/{kept.recording}"
    (version,) = office.versions()
    assert (version.key, version.version_id, version.size_bytes) == (kept.object_key, kept.version_id, kept.size_bytes)
    with office.app.store.open(kept.object_key, kept.version_id) as stored:
        assert stored.read() == tone(1.5)
    assert office.app.store.head(kept.object_key).sha256 == kept.sha256 == hashlib.sha256(tone(1.5)).digest()
    assert office.rows("select * from staging") == []


def test_a_kept_call_has_one_event_with_codes_and_ids_only(office):
    deliver(office.linna, DAY, [call()])

    office.run()

    (event,) = office.events("recording.kept")
    del event["at"], event["actor"]
    recording = office.value("select recording from recording")
    assert event == {
        "action": "recording.kept", "blocked": False, "controller": "punavaara", "recording": str(recording), "v": 1,
        "delivery": office.value("select delivery from delivery"), "state_after": "live", "state_before": "staged",
        "vendor": "linna",
    }  # fmt: skip


def test_the_callers_number_is_kept_as_pseudonym_and_sealed_value_only(office):
    deliver(office.linna, DAY, [call(caller="0401234501")])

    office.run()

    kept = office.row("select * from recording")
    assert (kept.caller_state, bytes(kept.pseudonym)) == ("known", office.pseudonym(CALLER))
    assert kept.pseudonym_key == office.app.keyring.key_id
    assert office.app.keyring.unseal("number", kept.sealed_number, kept.identity).decode() == CALLER


def test_each_controllers_calls_are_counted_apart(office):
    deliver(office.linna, DAY, [call("r1"), call("r2", line=PHM), call("r3", line=PHM), call("r4", line="09 111 2222")])

    balance = office.run()

    assert {
        b.controller: {k: n for k, n in b.counts.items() if n} for b in balance.balances if b.counts.get("found")
    } == {
        "punavaara": {"found": 1, "kept": 1},
        "phm": {"found": 2, "kept": 2},
        "-": {"found": 1, "quarantined": 1},
    }
    assert balance.balanced


def test_several_segments_of_a_call_are_recordings_of_their_own(office):
    parts = [
        call(f"p{n}", fields={"recording_id": None, "call_id": "c1", "segment_no": n}, audio=tone(1, 400 + n))
        for n in range(3)
    ]
    deliver(office.linna, DAY, parts)

    assert counts(office.run()) == {"found": 3, "kept": 3}
    assert len({v.key for v in office.versions()}) == 3


def test_the_same_call_twice_in_a_listing_counts_once_and_the_last_row_is_valid(office):
    deliver(office.linna, DAY, [call(ms=900), call(ms=1000)], repeat=2)

    balance = office.run()

    assert counts(balance) == {"found": 1, "kept": 1}
    assert balance.reasons[("repeated", "", "linna")] == 3
    assert office.value("select duration_ms from recording") == 1000


def test_a_line_belongs_to_whoever_had_it_on_the_calls_own_helsinki_day(office):
    moved = """
    [[lines]]
    number = "020 700 1234"
    controller = "phm"
    from = 2026-11-24
    """
    office.configure(("from = 2023-09-12\n[[lines]]", "from = 2023-09-12\nto = 2026-11-23\n[[lines]]"), more=moved)
    before, after = at(23, 59, day=DAY - timedelta(1)), at(0, 0)
    deliver(office.linna, DAY, [call("r1", start=before), call("r2", start=after)])

    office.run()

    assert [(r.started_at, r.controller) for r in office.rows("select * from recording order by started_at")] == [
        (before, "punavaara"),
        (after, "phm"),
    ]


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_number_asserted_for_somebody_who_withheld_it_is_withheld(office):
    deliver(
        office.linna,
        DAY,
        [call("r1", fields={"caller_withheld": True}), call("r2", caller=None), call("r3", caller="salainen")],
    )

    office.run()

    stored = office.rows("select caller_state, pseudonym, pseudonym_key, sealed_number from recording")
    assert [tuple(row) for row in stored] == [("withheld", None, None, None)] * 3


def test_a_caller_who_is_no_number_is_kept_without_one(office):
    deliver(office.linna, DAY, [call(caller="sip:matti@example.fi")])

    office.run()

    kept = office.row("select caller_state, pseudonym, sealed_number from recording")
    assert tuple(kept) == ("unusable", None, None)


@pytest.mark.parametrize(
    ("policy", "state", "findable", "readable"),
    [("pseudonym", "known", True, False), ("discard", "discarded", False, False), ("store", "known", True, True)],
)
def test_the_called_partys_number_is_kept_as_the_policy_says(office, policy, state, findable, readable):
    office.configure(('other_party = "pseudonym"', f'other_party = "{policy}"'))
    deliver(office.linna, DAY, [call("out", direction="outbound", caller=CALLED), call("in", caller=CALLER)])

    office.run()

    outbound = office.row("select * from recording where direction = 'outbound'")
    assert outbound.caller_state == state
    assert (outbound.pseudonym == office.pseudonym(CALLED)) is findable
    assert (outbound.sealed_number is not None) is readable
    assert office.row("select * from recording where direction = 'inbound'").sealed_number is not None


def test_unknown_fields_lose_their_values_and_only_their_names_are_counted(office):
    secret = "Matti Meikäläinen 010190-123A"
    extra = {"customer_name": secret, "agent": secret}
    deliver(
        office.linna, DAY, [call("r1", fields=extra, media={"transcript": secret}), call("r2", fields={"agent": secret})],
        campaign=secret,
    )  # fmt: skip

    balance = office.run()

    dropped = {name: n for (outcome, name, _), n in balance.reasons.items() if outcome == "unknown_field"}
    assert dropped == {"agent": 2, "customer_name": 1, "media.transcript": 1, "campaign": 1}
    for table in ("recording", "tally", "delivery", "delivery_day", "import_run"):
        assert secret not in str(office.rows(f"select t::text from {table} t"))
    assert secret not in str(office.events())


# --- delivered again --------------------------------------------------------------------------------------------------


def test_a_known_delivery_is_counted_as_unchanged_and_changes_nothing(office):
    deliver(office.linna, DAY, [call("r1"), call("r2", line=PHM)])
    office.run()
    before, events = office.rows("select * from recording order by 1"), len(office.events())

    balance = office.run("next")

    assert counts(balance) == {"found": 2, "unchanged": 2}
    assert reasons(balance) == {"unchanged:known_delivery": 2}
    assert office.rows("select * from recording order by 1") == before
    assert {e["action"] for e in office.events()[events:]} == {"import.checked", "import.balanced"}


def test_another_delivery_of_the_same_records_leaves_them_unchanged(office):
    deliver(office.linna, DAY, [call("r1")])
    office.run()
    deliver(office.linna, DAY, [call("r1"), call("r2", start=at(10))], seq=2)

    balance = office.run("next")

    assert counts(balance) == {"found": 2, "kept": 1, "unchanged": 1}


def test_a_late_call_of_a_complete_day_is_kept(office):
    deliver(office.linna, DAY, [call("r1")])
    office.run()
    assert office.day_state() == "complete"
    deliver(office.linna, DAY, [call("r2")], seq=2)

    office.later(days=3)
    balance = office.run("later", DAY + timedelta(3))

    assert counts(balance) == {"found": 2, "kept": 1, "unchanged": 1}
    assert office.day_state() == "complete"


def test_a_late_call_of_a_day_beyond_the_relook_is_kept_when_the_day_is_asked_for(office):
    deliver(office.linna, DAY, [call("r1")])
    office.run()
    deliver(office.linna, DAY, [call("r2")], seq=2)
    office.later(days=20)

    assert counts(office.run("later", DAY + timedelta(20))) == {}
    with office.connect() as conn:
        db.queries().open_run(conn, run_key="manual", day=DAY)
        conn.commit()
        job = office.app.importing(conn, "manual", "linna", ACTOR, narrowed=True)
        assert importing.stage(conn, job).found == 2


def test_corrected_metadata_replaces_the_older_and_the_end_is_worked_out_anew(office):
    deliver(office.linna, DAY, [call(start=at(9), caller=CALLER)])
    office.run()
    before = office.row("select * from recording")
    earlier = at(9, day=DAY - timedelta(30))
    deliver(office.linna, DAY, [call(start=earlier, caller=CALLED, line=PHM, ms=1400)], seq=2)

    balance = office.run("next")

    assert counts(balance) == {"corrected": 1, "found": 1}
    after = office.row("select * from recording")
    assert (after.recording, after.object_key, after.version_id) == (
        before.recording,
        before.object_key,
        before.version_id,
    )
    assert (after.controller, after.line, after.started_at, after.duration_ms) == (
        "phm",
        "+358102708001",
        earlier,
        1400,
    )
    assert after.eligible_at == retention_eligible_at(earlier)
    assert bytes(after.pseudonym) == office.pseudonym(CALLED)
    assert office.app.keyring.unseal("number", after.sealed_number, after.identity).decode() == CALLED
    (event,) = office.events("recording.corrected")
    assert event["recording"] == str(before.recording)
    assert event["changed"] == ["controller", "line", "started_at", "duration", "number"]
    assert len(office.versions()) == 1


def test_a_correction_that_is_taken_back_is_taken_back_here_too(office):
    manifest = deliver(office.linna, DAY, [call(ms=1000)])
    first = manifest.read_text()
    office.run()
    deliver(office.linna, DAY, [call(ms=1500)])
    assert counts(office.run("second")) == {"corrected": 1, "found": 1}
    manifest.write_text(first)

    assert counts(office.run("third")) == {"corrected": 1, "found": 1}
    assert office.value("select duration_ms from recording") == 1000
    assert counts(office.run("fourth")) == {"found": 1, "unchanged": 1}


def test_a_correction_that_puts_a_call_beyond_its_term_is_no_refusal_but_ends_the_recording(office):
    deliver(office.linna, DAY, [call()])
    office.run()
    long_ago = at(9, day=DAY - timedelta(200))
    deliver(office.linna, DAY, [call(start=long_ago)], seq=2)

    assert counts(office.run("next")) == {"corrected": 1, "found": 1}
    assert office.value("select eligible_at < callkeeper_now() from recording")
    assert office.rows("select * from deletion") == []


def test_audio_that_the_vendor_moved_is_known_under_its_new_place(office):
    deliver(office.linna, DAY, [call()])
    office.run()
    deliver(office.linna, DAY, [call(media={"path": "moved/r1.wav"})], seq=2)

    assert counts(office.run("next")) == {"corrected": 1, "found": 1}
    kept = office.row("select sealed_ref, identity from recording")
    assert b"moved/r1.wav" in office.app.keyring.unseal("reference", kept.sealed_ref, kept.identity)
    assert office.events("recording.corrected")[0]["changed"] == ["reference"]


def test_other_bytes_under_a_known_id_are_quarantined_and_the_first_stay(office):
    deliver(office.linna, DAY, [call(audio=tone(1, 440))])
    office.run()
    before = office.row("select * from recording")
    deliver(office.linna, DAY, [call(audio=tone(1, 880))], seq=2)

    balance = office.run("next")

    assert counts(balance) == {"found": 1, "quarantined": 1}
    assert reasons(balance) == {"quarantined:changed_bytes": 1}
    assert office.row("select * from recording") == before
    with office.app.store.open(before.object_key, before.version_id) as stored:
        assert stored.read() == tone(1, 440)


# --- refused, suppressed, held ----------------------------------------------------------------------------------------


def test_a_call_past_its_term_is_refused_planned_to_go_and_left_at_the_vendor(office):
    old = at(9, day=DAY - timedelta(190))
    deliver(office.linna, DAY, [call(start=old)])

    balance = office.run()

    assert counts(balance) == {"found": 1, "refused": 1}
    assert reasons(balance) == {"refused:retention_expired": 1}
    planned = office.row("select * from deletion")
    assert (planned.trigger, planned.state, planned.version_id, planned.started_at) == (
        "retention_expired",
        "planned",
        None,
        old,
    )
    assert b"r1.wav" in office.app.keyring.unseal("reference", planned.sealed_ref, planned.identity)
    assert (office.linna / str(DAY) / "r1.wav").read_bytes() == tone()
    assert office.versions() == []
    (event,) = office.events("deletion.planned")
    assert (event["recording"], event["trigger"]) == (str(planned.recording), "retention_expired")


def test_a_call_is_refused_from_the_first_moment_of_the_day_on_which_it_may_go(office):
    start = at(23, 59, day=date(2026, 8, 31))  # six months later there is no 31st: anniversary 28 February
    deliver(office.linna, DAY, [call("r1", start=start)], complete=False)
    office.set_clock(datetime(2027, 2, 28, 23, 50, tzinfo=HELSINKI))
    assert counts(office.run()) == {"found": 1, "kept": 1}
    office.set_clock(datetime(2027, 3, 1, 0, 1, tzinfo=HELSINKI))
    deliver(office.linna, DAY, [call("r2", start=start)], seq=2)

    assert counts(office.run("next")) == {"found": 2, "refused": 1, "unchanged": 1}


def test_a_refused_call_that_is_delivered_again_is_planned_once(office):
    old = at(9, day=DAY - timedelta(190))
    deliver(office.linna, DAY, [call(start=old)])
    office.run()
    deliver(office.linna, DAY, [call(start=old), call("r2")], seq=2)

    balance = office.run("next")

    assert counts(balance) == {"found": 2, "kept": 1, "refused": 1}
    assert reasons(balance) == {"refused:already_planned": 1}
    assert len(office.rows("select * from deletion")) == len(office.events("deletion.planned")) == 1


def test_a_refused_call_of_which_the_vendor_tells_something_else_is_looked_at_anew(office):
    old = at(9, day=DAY - timedelta(190))
    deliver(office.linna, DAY, [call(start=old)])
    office.run()
    deliver(office.linna, DAY, [call(start=old, ms=900)], seq=2)

    balance = office.run("next")

    assert counts(balance) == {"found": 1, "refused": 1}
    assert reasons(balance) == {"refused:retention_expired": 1}
    assert [r.state for r in office.rows("select state from deletion")] == ["planned"]
    assert [e["action"] for e in office.events("deletion.planned", "deletion.withdrawn")] == [
        "deletion.planned", "deletion.withdrawn", "deletion.planned",
    ]  # fmt: skip


def test_a_recording_that_was_deleted_does_not_come_back(office):
    office.suppress("recording", office.app.keyring.tombstone("linna", "r1"))
    deliver(office.linna, DAY, [call("r1"), call("r2")])

    balance = office.run()

    assert counts(balance) == {"found": 2, "kept": 1, "suppressed": 1}
    assert reasons(balance) == {"suppressed:redelivered_after_deletion": 1}
    assert office.value("select trigger from deletion") == "redelivered_after_deletion"


def test_calls_of_somebody_whose_objection_was_upheld_are_suppressed_until_its_review(office):
    office.suppress("caller", office.pseudonym(CALLER), review_on=NOW.date())
    office.suppress("caller", office.pseudonym(CALLED), review_on=NOW.date() - timedelta(1))
    deliver(office.linna, DAY, [call("r1", caller=CALLER), call("r2", caller=CALLED)])

    balance = office.run()

    assert counts(balance) == {"found": 2, "kept": 1, "suppressed": 1}
    assert office.value("select trigger from deletion") == "objection_upheld"
    assert bytes(office.value("select pseudonym from recording")) == office.pseudonym(CALLED)


@pytest.mark.parametrize("why", ["retention_expired", "redelivered_after_deletion", "objection_upheld"])
def test_a_call_that_would_be_refused_is_kept_when_a_hold_covers_it(office, why):
    start = at(9, day=DAY - timedelta(190)) if why == "retention_expired" else at(9)
    if why == "redelivered_after_deletion":
        office.suppress("recording", office.app.keyring.tombstone("linna", "r1"))
    if why == "objection_upheld":
        office.suppress("caller", office.pseudonym(CALLER))
    hold = office.block(pseudonyms=(office.pseudonym(CALLER),))
    deliver(office.linna, DAY, [call(start=start, caller=CALLER)])

    balance = office.run()

    assert counts(balance) == {"found": 1, "kept": 1}
    kept = office.row("select * from recording")
    assert [tuple(r) for r in office.rows("select blocker, recording from blocker_cover")] == [(hold, kept.recording)]
    assert kept.legal_hold
    assert office.events("recording.kept")[0]["blocked"] is True
    # the store itself refuses to let go of it
    assert office.app.store._s3.get_object_legal_hold(
        Bucket=office.settings.store_bucket, Key=kept.object_key, VersionId=kept.version_id
    )["LegalHold"] == {"Status": "ON"}
    assert office.rows("select * from deletion") == []


def test_a_hold_that_ended_covers_nothing(office):
    office.block(pseudonyms=(office.pseudonym(CALLER),))
    office.sql.execute("update blocker set ended_at = callkeeper_now()")
    deliver(office.linna, DAY, [call(start=at(9, day=DAY - timedelta(190)), caller=CALLER)])

    assert counts(office.run()) == {"found": 1, "refused": 1}


@pytest.mark.parametrize(
    ("predicate", "covered"),
    [
        ({"line": "+358207001234", "from_at": at(8)}, {9, 12}),
        ({"line": "+358207001234", "from_at": at(9), "to_at": at(12)}, {9}),
        ({"controller": "punavaara", "from_at": at(10)}, {12}),
        ({"controller": "phm", "from_at": at(0)}, set()),
    ],
)
def test_a_hold_covers_the_calls_of_its_predicate_and_no_others(office, predicate, covered):
    office.block(**predicate)
    deliver(office.linna, DAY, [call(f"r{hour}", start=at(hour)) for hour in (7, 9, 12)])

    office.run()

    found = office.rows("select started_at from recording join blocker_cover using (recording)")
    assert {r.started_at.astimezone(HELSINKI).hour for r in found} == covered


def test_a_call_that_may_not_come_any_more_since_it_was_checked_is_not_kept(office):
    deliver(office.linna, DAY, [call(caller=CALLER)])
    real, asked = importing.keep, []

    def objection_upheld_just_before(conn, job):
        if not asked and office.rows("select from staging where state = 'fetched'"):
            asked.append(office.suppress("caller", office.pseudonym(CALLER)))
        return real(conn, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "keep", objection_upheld_just_before)
        assert counts(office.run()) == {"found": 1, "pending": 1}
    assert counts(office.run("next")) | {"unchanged": 0} == {"found": 1, "suppressed": 1, "unchanged": 0}
    assert office.rows("select * from recording") == []
    # its audio was in the store already: the journal says which version goes
    (version,) = office.versions()
    planned = office.row("select object_key, version_id, trigger from deletion")
    assert tuple(planned) == (version.key, version.version_id, "objection_upheld")


# --- on its way -------------------------------------------------------------------------------------------------------


def test_pending_audio_is_kept_once_it_is_there_and_only_then_the_day_is_complete(office):
    pending = call(audio=None, fields={"status": "pending"}, media={"sha256": ..., "bytes": ...})
    deliver(office.linna, DAY, [pending])
    assert counts(office.run()) == {"found": 1, "pending": 1}
    assert office.day_state() == "open"
    assert counts(office.run("second")) == {"found": 1, "pending": 1}
    deliver(office.linna, DAY, [call()], seq=2)

    assert counts(office.run("third")) == {"found": 1, "kept": 1}
    assert office.day_state() == "complete"


def test_what_a_vendor_left_in_staging_that_is_no_longer_configured_goes_when_its_term_is_over(office):
    deliver(office.linna, DAY, [call(audio=None, fields={"status": "pending"}, media={"sha256": ..., "bytes": ...})])
    office.run()
    office.configure(('[[vendors]]\nid = "linna"', '[[vendors]]\nid = "another"'))
    office.go_live()
    office.set_clock(datetime(2027, 5, 24, 20, tzinfo=UTC))
    office.sweep("the night before")
    assert office.value("select count(*) from staging") == 1
    assert office.value("select count(*) from deletion") == 0

    office.set_clock(datetime(2027, 5, 24, 21, 30, tzinfo=UTC))
    balance = office.sweep("night")

    assert office.value("select count(*) from staging") == 0
    assert (balance.total("due"), balance.total("open_at_vendor")) == (1, 1)
    assert [e["reason"] for e in office.events("deletion.planned")] == ["vendor_gone"]
    assert office.value("select count(*) from suppression where kind = 'recording'") == 1


def test_a_pending_call_whose_line_is_corrected_is_counted_for_the_controller_whose_it_is(office):
    unready = {"audio": None, "fields": {"status": "pending"}, "media": {"sha256": ..., "bytes": ...}}
    deliver(office.linna, DAY, [call(**unready)])
    office.run()
    deliver(office.linna, DAY, [call(line=PHM)], seq=2)

    balance = office.run("next")

    assert {b.controller: b.counts["found"] for b in balance.balances if b.counts["found"]} == {"phm": 1}
    assert balance.balanced
    assert office.value("select controller from recording") == "phm"


def test_listed_audio_that_is_missing_for_three_runs_is_quarantined(office):
    deliver(office.linna, DAY, [call()])
    (office.linna / str(DAY) / "r1.wav").unlink()

    assert counts(office.run("first")) == {"found": 1, "pending": 1}
    assert counts(office.run("first")) == {"found": 1, "pending": 1}, "a task that is run again is no other run"
    assert counts(office.run("second")) == {"found": 1, "pending": 1}
    third = office.run("third")

    assert counts(third) == {"found": 1, "quarantined": 1}
    assert reasons(third) == {"quarantined:audio_absent": 1}


def test_audio_whose_path_is_corrected_is_found_there(office):
    deliver(office.linna, DAY, [call()])
    (office.linna / str(DAY) / "r1.wav").unlink()
    assert counts(office.run("first")) == {"found": 1, "pending": 1}
    deliver(office.linna, DAY, [call(media={"path": "elsewhere.wav"})], seq=2)

    assert counts(office.run("second")) == {"found": 1, "kept": 1}


def test_a_line_that_is_no_longer_designated_stops_a_fetched_call_on_its_way(office):
    deliver(office.linna, DAY, [call()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "keep", lambda conn, job: None)
        office.run()
    assert office.value("select state from staging") == "fetched"
    office.configure(('number = "020 700 1234"', 'number = "020 700 9999"'))

    balance = office.run("next")

    assert reasons(balance)["quarantined:line_undesignated"] == 1
    assert balance.balanced
    (version,) = office.versions()
    assert office.value("select version_id from quarantine") == version.version_id


def test_what_an_interrupted_run_has_fetched_is_kept_by_the_next(office):
    deliver(office.linna, DAY, [call("r1"), call("r2")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "keep", lambda conn, job: None)
        assert counts(office.run()) == {"found": 2, "pending": 2}

    balance = office.run("next")

    assert balance.total("kept") == 2
    assert balance.balanced
    assert len(office.versions()) == len(office.events("recording.kept")) == 2


# --- lanes ------------------------------------------------------------------------------------------------------------


def fetch_in_lane(office, lane: int) -> int:
    with office.connect() as conn:
        job = office.app.importing(conn, "night", "linna", ACTOR)
        return fetching.fetch(conn, job, office.app.store, probe, lane=lane, claim_rows=2)["fetched"]


def up_to_the_fetch(office) -> None:
    with office.connect() as conn:
        preflight(conn, office.app.config, run_key="night", day=DAY, first_day=None, only_vendor=None, actor=ACTOR)
        job = office.app.importing(conn, "night", "linna", ACTOR)
        importing.stage(conn, job)
        importing.check(conn, job)


def test_lanes_share_the_work_and_fetch_nothing_twice(office, monkeypatch):
    deliver(office.linna, DAY, [call(f"r{n}") for n in range(20)])
    up_to_the_fetch(office)
    opened: list[str] = []
    real = Drop.open
    monkeypatch.setattr(Drop, "open", lambda self, ref: opened.append(ref) or real(self, ref))

    with ThreadPoolExecutor(2) as lanes:
        fetched = list(lanes.map(lambda lane: fetch_in_lane(office, lane), (1, 2)))

    assert sum(fetched) == 20
    assert min(fetched) > 0
    assert len(opened) == len(set(opened)) == 20


def test_a_lane_that_fell_silent_loses_its_batch_once_its_lease_is_over(office):
    deliver(office.linna, DAY, [call(f"r{n}") for n in range(4)])
    up_to_the_fetch(office)
    office.sql.execute("update staging set lane = 1, lease_until = clock_timestamp() + interval '1 minute'")

    assert fetch_in_lane(office, 2) == 0, "another lane is at it"
    office.sql.execute("update staging set lease_until = clock_timestamp() - interval '1 second' where lane = 1")

    assert fetch_in_lane(office, 2) == 4


# --- days -------------------------------------------------------------------------------------------------------------


def test_an_empty_day_is_complete_and_a_missing_day_is_taken_up_by_a_later_run(office):
    deliver(office.linna, DAY - timedelta(1), [])

    office.run("first", first_day=DAY - timedelta(1))
    assert (office.day_state(DAY - timedelta(1)), office.day_state(DAY)) == ("complete", "absent")

    deliver(office.linna, DAY, [call()])
    assert counts(office.run("second", DAY + timedelta(1))) == {"found": 1, "kept": 1}
    assert office.day_state(DAY) == "complete"


def test_a_partial_day_stays_open_until_the_vendor_calls_it_complete(office):
    deliver(office.linna, DAY, [call("r1")], complete=False)
    assert counts(office.run()) == {"found": 1, "kept": 1}
    assert office.day_state() == "open"
    deliver(office.linna, DAY, [call("r2")], seq=2)

    assert counts(office.run("next")) == {"found": 2, "kept": 1, "unchanged": 1}
    assert office.day_state() == "complete"


def test_a_delivery_that_comes_in_the_middle_of_a_run_is_left_to_the_next(office):
    deliver(office.linna, DAY, [call("r1")], complete=False)
    real = importing.check

    def delivered_meanwhile(conn, job):
        deliver(office.linna, DAY, [call("r2")], seq=2)
        return real(conn, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "check", delivered_meanwhile)
        assert counts(office.run()) == {"found": 1, "kept": 1}
    assert office.day_state() == "open"
    assert office.run("next").total("kept") == 1
    assert office.day_state() == "complete"


def test_a_manifest_that_cannot_be_read_holds_up_no_other_day(office):
    yesterday = DAY - timedelta(1)
    deliver(office.linna, yesterday, [call("broken")]).write_text('{"schema_version": 1, "records": [')
    deliver(office.linna, DAY, [call("sound")])

    balance = office.run(first_day=yesterday)

    assert counts(balance) == {"found": 1, "kept": 1}
    assert office.day_state() == "complete"
    (day,) = _unfinished(office)
    assert (day.day, day.state) == (yesterday, "open")
    assert "cannot be read" in day.trouble
    deliver(office.linna, yesterday, [call("broken", start=at(9, day=yesterday))])
    assert office.run("next").total("kept") == 1
    assert _unfinished(office) == ()


def test_a_correction_of_a_complete_day_that_cannot_be_read_is_told_until_it_can(office):
    deliver(office.linna, DAY, [call("r1")])
    office.run()
    deliver(office.linna, DAY, [call("r2")], seq=2, record_count=7)

    office.run("next")
    (day,) = _unfinished(office)
    assert (day.state, "it says that it has 7 records" in day.trouble) == ("complete", True)

    deliver(office.linna, DAY, [call("r2")], seq=2)
    office.later(days=20)
    assert office.run("mended", DAY + timedelta(20)).total("kept") == 1, "beyond the relook, too"
    assert DAY not in {d.day for d in _unfinished(office)}


def test_a_vendor_that_is_down_raises_and_its_days_are_marked_and_taken_next_time(office):
    deliver(office.linna, DAY, [call()])
    office.linna.rename(office.folder / "unmounted")

    with pytest.raises(VendorUnavailable):
        office.run(first_day=DAY - timedelta(1))
    assert [(d.day, d.state, "not there" in d.trouble) for d in _unfinished(office)] == [
        (DAY - timedelta(1), "open", True),
        (DAY, "open", True),
    ]

    (office.folder / "unmounted").rename(office.linna)
    assert counts(office.run("next")) == {"found": 1, "kept": 1}
    assert [(d.day, d.state, d.trouble) for d in _unfinished(office)] == [(DAY - timedelta(1), "absent", None)]


def test_a_vendor_that_is_down_puts_no_finished_day_in_doubt(office):
    deliver(office.linna, DAY, [call()])
    office.run()
    office.linna.rename(office.folder / "unmounted")

    with pytest.raises(VendorUnavailable):
        office.run("next", DAY + timedelta(1))

    assert [d.day for d in _unfinished(office)] == [DAY + timedelta(1)]


def test_a_lost_day_is_not_waited_for_any_more(office):
    office.run()
    assert office.day_state() == "absent"

    with office.connect() as conn:
        declare_lost(conn, vendor="linna", day=DAY, account="data", reason="vendor_purged", actor=ACTOR)

    assert office.day_state() == "lost"
    assert _unfinished(office) == ()
    (event,) = office.events("day.closed")
    assert (event["state"], event["reason"], event["actor"]["account"]) == ("lost", "vendor_purged", "data")
    deliver(office.linna, DAY, [call()])
    assert counts(office.run("next")) == {}
    with office.connect() as conn, pytest.raises(NotFound):
        declare_lost(conn, vendor="linna", day=DAY, account="data", reason="vendor_purged", actor=ACTOR)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2027, 3, 28), 23), (date(2026, 10, 25), 25)], ids=["the 23-hour day", "the 25-hour day"]
)
def test_every_hour_of_a_long_or_short_day_is_its_days(office, day, hours):
    midnight = datetime(day.year, day.month, day.day, tzinfo=HELSINKI)
    office.set_clock(datetime(day.year, day.month, day.day, 2, 15, tzinfo=HELSINKI) + timedelta(days=1))
    starts = [datetime.fromtimestamp(midnight.timestamp() + 3600 * h + 1800, HELSINKI) for h in range(hours)]
    deliver(office.linna, day, [call(f"r{n}", start=s) for n, s in enumerate(starts)])

    assert counts(office.run(day=day)) == {"found": hours, "kept": hours}
    assert office.value("select count(distinct started_at) from recording") == hours
    assert office.value("select count(*) from recording where helsinki_day(started_at) = %s", day) == hours
    expires = {r.object_key.split("/")[1] for r in office.rows("select object_key from recording")}
    assert expires == {retention_eligible_at(midnight).astimezone(HELSINKI).date().isoformat()}


def test_a_call_over_midnight_belongs_to_the_day_on_which_it_began(office):
    before = at(23, 59, day=DAY - timedelta(1))
    deliver(office.linna, DAY, [call(start=before)])

    assert counts(office.run()) == {"found": 1, "kept": 1}
    kept = office.row("select started_at, eligible_at, object_key from recording")
    assert kept.eligible_at == datetime(2027, 5, 24, tzinfo=HELSINKI)
    assert kept.object_key.startswith("rec/2027-05-24/")


# --- may we? ----------------------------------------------------------------------------------------------------------


def test_a_contract_within_its_grace_still_imports_and_says_so(office, caplog):
    office.configure(("valid_to = 2030-12-31", f"valid_to = {NOW.date() - timedelta(14)}"))
    deliver(office.linna, DAY, [call()])

    with caplog.at_level(logging.WARNING, "callkeeper"):
        assert counts(office.run()) == {"found": 1, "kept": 1}
    assert "a broken promise" in caplog.text
    assert office.events("import.checked")[0]["findings"] == ["linna:contract_expired"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("valid_to = 2030-12-31", f"valid_to = {NOW.date() - timedelta(15)}", "linna:contract_past_grace"),
        ('regions = ["FI"]', 'regions = ["FI", "us-east-1"]', "linna:region_outside"),
        ('region = "FI"', 'region = "eu-west-2"', "store:region_outside"),
        ('balancing_test = "LIA-1"', 'balancing_test = ""', "punavaara:balancing_test_missing"),
        (
            "notice_version = 2023-09-12",
            f"notice_version = {NOW.date() + timedelta(1)}",
            "punavaara:notice_not_in_force",
        ),
    ],
)
def test_nothing_is_imported_where_the_notice_forbids_it_and_the_day_is_wanted_all_the_same(office, old, new, code):
    office.configure((old, new))
    deliver(office.linna, DAY, [call()])

    with pytest.raises(NotAllowed):
        office.run()

    (event,) = office.events("import.checked")
    assert (event["refused"], event["vendors"], code in event["findings"]) == (["linna"], [], True)
    assert office.rows("select * from staging") == office.rows("select * from recording") == []
    assert office.day_state() == "open"


def test_a_configuration_that_was_not_applied_imports_nothing(office):
    office.configure(("retention_days = 30", "retention_days = 20"), apply=False)

    with pytest.raises(ConfigurationError, match="callkeeper config apply"):
        office.run()
    assert office.rows("select * from import_run") == []


def test_a_day_that_has_not_been_yet_is_not_imported(office):
    with pytest.raises(ConfigurationError, match="has not been yet"):
        office.run(day=NOW.date() + timedelta(1))


def test_a_step_without_its_runs_preflight_says_what_to_do(office):
    with office.connect() as conn, pytest.raises(ConfigurationError, match="Clear the whole DAG run"):
        office.app.importing(conn, "never checked", "linna", ACTOR)
    with office.connect() as conn, pytest.raises(NotFound):
        balancing.balance(conn, "never checked", ACTOR)


# --- the balance ------------------------------------------------------------------------------------------------------


def test_a_run_balances_and_says_so_once(office):
    deliver(office.linna, DAY, [call("r1"), call("r2", line=PHM)])
    office.run()

    with office.connect() as conn:
        again = balancing.balance(conn, "night", ACTOR)

    assert again.balanced
    assert [(e["controller"], e["counts"], e["balanced"]) for e in office.events("import.balanced")] == [
        ("phm", {"found": 1, "kept": 1}, True),
        ("punavaara", {"found": 1, "kept": 1}, True),
    ]
    run = office.row("select * from import_run")
    assert (run.balanced, run.ended_at is not None) == (True, True)


@pytest.mark.parametrize(("outcome", "difference"), [("kept", 1), ("found", -1)])
def test_a_call_that_is_lost_or_counted_twice_is_seen(office, outcome, difference):
    deliver(office.linna, DAY, [call("r1"), call("r2")])
    office.run()
    office.sql.execute("update tally set n = n - 1 where outcome = %s and controller = 'punavaara'", (outcome,))

    with office.connect() as conn:
        result = balancing.balance(conn, "night", ACTOR)
        news = balancing.morning(conn, result, windows={"linna": 30})

    assert not result.balanced
    assert {b.controller: b.difference for b in result.balances if b.difference} == {"punavaara": difference}
    assert any("does not balance" in alarm for alarm in news.alarms)
    assert "ALARM" in balancing.message(news, link="https://example.fi/runbook").subject
    assert not office.value("select balanced from import_run")
    assert office.events("import.balanced")[-1]["balanced"] is False


def test_all_that_ever_came_is_in_the_catalogue_in_quarantine_or_on_its_way_out(office):
    many = [call(f"r{n}", start=at(n % 24), line=PHM if n % 2 else PUNAVAARA) for n in range(20)]
    deliver(
        office.linna,
        DAY,
        [*many, call("old", start=at(9, day=DAY - timedelta(190))), call("odd", direction="internal")],
    )

    balance = office.run()

    assert counts(balance) == {"found": 22, "kept": 20, "quarantined": 1, "refused": 1}
    assert office.value("select count(*) from recording") == 20
    assert office.value("select count(*) from quarantine") == office.value("select count(*) from deletion") == 1
    assert {UUID(e["recording"]) for e in office.events("recording.kept")} == {
        r.recording for r in office.rows("select recording from recording")
    }


def _unfinished(office):
    with office.connect() as conn:
        return deliveries.unfinished(conn)


# --- a real exchange --------------------------------------------------------------------------------------------------

CORPUS = Path(__file__).parents[1] / "corpus" / "asterisk"


def test_a_real_exchanges_day_comes_in_whole(office):
    office.configure(more=EXCHANGE.replace("{corpus}", str(CORPUS)))

    balance = office.run(vendor="vaihde")

    assert counts(balance) == {"found": 28, "kept": 25, "quarantined": 3}
    assert reasons(balance) == {"quarantined:direction_unknown": 1, "quarantined:line_undesignated": 2}
    heard = {r.codec: r.n for r in office.rows("select codec, count(*) as n from recording group by 1")}
    assert heard == {"gsm_ms": 4, "pcm_alaw": 3, "pcm_mulaw": 1, "pcm_s16le": 17}
    asked = office.rows("select * from recording where pseudonym = %s", office.pseudonym(CALLER))
    assert {r.line for r in asked} == {"+358102708001", "+358207001234"}, "one person, however the trunk writes her"
    assert len(office.versions()) == 25
    assert counts(office.run("next", vendor="vaihde")) == {"found": 28, "unchanged": 28}


def test_a_real_exchanges_broken_files_each_have_their_place(office):
    office.configure(more=EXCHANGE.replace("{corpus}", str(CORPUS / "broken")))

    balance = office.run(vendor="vaihde")

    assert counts(balance) == {"found": 7, "quarantined": 6, "refused": 1}
    assert reasons(balance) == {
        "quarantined:audio_absent": 1,
        "quarantined:audio_empty": 1,
        "quarantined:audio_truncated": 1,
        "quarantined:duration_mismatch": 1,
        "quarantined:metadata_missing": 1,
        "quarantined:not_audio": 1,
        "refused:unanswered": 1,
    }
    unanswered = office.row("select * from deletion")
    assert (unanswered.trigger, unanswered.version_id) == ("retention_expired", None)
    assert unanswered.due_at == retention_eligible_at(unanswered.started_at)
