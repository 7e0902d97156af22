"""Catalogue, store and vendors side by side: each finding, produced and seen."""

from __future__ import annotations

import json
import logging
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest

from callkeeper import db
from callkeeper.embedded.store import RECORDINGS
from callkeeper.errors import VendorUnavailable
from callkeeper.jobs import approving, fetching, holding, importing, reconciling
from callkeeper.jobs.preflight import preflight
from callkeeper.jobs.reconciling import FINDINGS
from callkeeper.media.probe import probe
from deliver import PHM, Call, deliver, tone
from installation import ACTOR, DAY, at

LINK = "https://docs.example/runbooks/reconcile.md"
CALLS = (
    Call(id="a", start=at(8)),
    Call(id="b", start=at(9), line=PHM, audio=tone(1, 600)),
    Call(id="c", start=at(10), audio=tone(1, 700)),
    Call(id="long", start=at(11), ms=3100),  # in quarantine, with its audio
    Call(id="odd", start=at(12), direction="internal"),  # in quarantine, without
)


@pytest.fixture
def office(fresh_office):
    """Three calls in the catalogue and two in quarantine, one of them with audio."""
    deliver(fresh_office.linna, DAY, CALLS)
    fresh_office.run("import")
    return fresh_office


@pytest.fixture
def s3(seaweed):
    """The store as its admin, who can do what callkeeper never would."""
    return seaweed.client()


def reconcile(office, key="morning", **instead):
    """All parts, in their order; what is listed, what is read, and the vendors may be others."""
    app = office.app
    vendors = [app.vendor(v.id) for v in app.config.vendors]
    with office.connect() as conn:
        number = reconciling.begin(conn, key)
        reconciling.compare_store(conn, number, instead.get("listing", app.store), ACTOR)
        reconciling.read_sample(conn, number, instead.get("store", app.store), sample=app.settings.reconcile_sample)
        reconciling.check_keeping(conn, number, app.holder, app.destroyer, sample=app.settings.reconcile_sample)
        reconciling.compare_vendors(
            conn, number, instead.get("vendors", vendors), app.keyring, relook_days=app.settings.import_relook_days
        )
        return reconciling.balance(conn, key, ACTOR, first_day=instead.get("first_day"))


def found(result):
    """The findings with their counts."""
    return {code: result.counts[code] for code in result.findings}


def erase(office, name, key):
    """One recording's whole way out, as after an approved erasure."""
    mark = office.app.keyring.tombstone("linna", name)
    row = office.row("select recording, object_key from recording where identity = %s", mark)
    office.sql.execute(
        "insert into deletion (recording, vendor, controller, trigger, object_key) "
        "select recording, vendor, controller, 'erasure_approved', object_key from recording where identity = %s",
        (mark,),
    )
    office.go_live()
    assert office.sweep(key).total("done") == 1
    return row


def lose(office, statement):
    """A row goes by no way that callkeeper has."""
    with office.sql.transaction():
        office.sql.execute("set local session_replication_role = replica")
        office.sql.execute(statement)


def key_of(office, name):
    mark = office.app.keyring.tombstone("linna", name)
    return office.row("select recording, object_key, version_id from recording where identity = %s", mark)


def put(s3, key, body=b"audio of nobody's"):
    return s3.put_object(Bucket=RECORDINGS, Key=key, Body=body)["VersionId"]


# --- nothing to find --------------------------------------------------------------------------------------------------


def test_a_morning_after_an_import_has_no_findings_and_balances(office):
    result = reconcile(office)

    assert found(result) == {}
    assert result.balanced
    assert {what: result.counts[what] for what in ("objects", "live", "quarantined", "read", "listed")} == {
        "objects": 4, "live": 3, "quarantined": 1, "read": 3, "listed": 5,
    }  # fmt: skip
    assert {term: result.total(term) for term in ("ever", "live", "quarantined", "gone")} == {
        "ever": 5, "live": 3, "quarantined": 2, "gone": 0,
    }  # fmt: skip


def test_what_was_deleted_with_proof_is_gone_in_the_balance(office):
    erase(office, "a", "night")

    result = reconcile(office)

    assert found(result) == {}
    assert {term: result.total(term) for term in ("ever", "live", "quarantined", "gone")} == {
        "ever": 5, "live": 2, "quarantined": 2, "gone": 1,
    }  # fmt: skip


def test_what_leaves_quarantine_for_the_journal_is_gone_in_the_balance(office):
    from callkeeper.jobs import quarantining

    with office.connect() as conn:
        for row in office.rows("select recording from quarantine"):
            quarantining.reject(conn, recording=row.recording, account="officer", actor=ACTOR)
    before = reconcile(office, "before")
    office.go_live()
    office.sweep("night")

    after = reconcile(office, "after")

    assert (found(before), found(after)) == ({}, {})
    assert (before.counts["leaving"], after.counts["objects"]) == (1, 3)
    assert after.total("gone") == 2


def test_a_call_that_a_person_lets_pass_is_counted_once(office):
    from callkeeper.jobs import quarantining

    mark = office.app.keyring.tombstone("linna", "long")
    with office.connect() as conn:
        long = office.value("select recording from quarantine where identity = %s", mark)
        quarantining.release(conn, recording=long, account="officer", actor=ACTOR)
    office.run("next")

    result = reconcile(office)

    assert found(result) == {}
    assert (result.total("ever"), result.total("live"), result.total("quarantined")) == (5, 4, 1)


def test_audio_of_a_call_on_its_way_in_is_a_young_intent(office):
    deliver(office.linna, DAY, [*CALLS, Call(id="new", start=at(13), audio=tone(1, 900))], seq=2)
    app = office.app
    with office.connect() as conn:
        preflight(conn, app.config, run_key="half", day=DAY, first_day=None, only_vendor="linna", actor=ACTOR)
        job = app.importing(conn, "half", "linna", ACTOR)
        importing.stage(conn, job)
        importing.check(conn, job)
        fetching.fetch(conn, job, app.store, probe, lane=1, claim_rows=10)

    result = reconcile(office)

    assert found(result) == {}
    assert (result.counts["staged"], result.counts["live"]) == (1, 3)


def test_what_callkeeper_keeps_beside_the_recordings_is_no_stray(office, s3):
    for key in ("doctor/probe", "reports/deletion/2026-11-24/1.json", "tombstones/2026-11-24/1-ab.jsonl"):
        put(s3, key)

    assert found(reconcile(office)) == {}


# --- catalogue and store ----------------------------------------------------------------------------------------------


def test_audio_that_is_no_longer_there_is_missing_and_named_by_its_uuid(office, s3, caplog):
    row = key_of(office, "a")
    s3.delete_object(Bucket=RECORDINGS, Key=row.object_key, VersionId=row.version_id)

    with caplog.at_level(logging.WARNING):
        result = reconcile(office)

    assert found(result) == {"missing": 1}
    assert not result.balanced
    assert str(row.recording) in caplog.text
    assert row.object_key not in caplog.text


def test_audio_of_quarantine_can_be_missing_too(office, s3):
    row = office.row("select object_key, version_id from quarantine where version_id is not null")
    s3.delete_object(Bucket=RECORDINGS, Key=row.object_key, VersionId=row.version_id)

    assert found(reconcile(office)) == {"missing": 1}


def test_audio_that_the_destroyer_was_sent_to_is_not_missing(office, s3):
    row = key_of(office, "a")
    office.sql.execute(
        "insert into deletion (recording, vendor, trigger, object_key, state, sending_at) "
        "values (%s, 'linna', 'erasure_approved', %s, 'sending', now())",
        (row.recording, row.object_key),
    )
    s3.delete_object(Bucket=RECORDINGS, Key=row.object_key, VersionId=row.version_id)

    assert found(reconcile(office)) == {}


def test_a_delete_marker_over_a_living_recording_is_seen_though_its_audio_is_there(office, s3):
    s3.delete_object(Bucket=RECORDINGS, Key=key_of(office, "a").object_key)

    result = reconcile(office)

    assert found(result) == {"hidden": 1}
    assert not result.balanced
    assert office.rows("select * from stray") == []


def test_a_version_beside_a_living_recordings_own_is_seen_and_never_planned(office, s3):
    put(s3, key_of(office, "a").object_key)
    reconcile(office, "first")
    office.later(days=1)

    result = reconcile(office, "second")

    assert result.counts["extra"] == 1
    assert not result.balanced
    assert office.rows("select * from deletion") == []


def test_bytes_that_are_not_what_was_imported_are_found_by_reading_them(office, caplog):
    row = key_of(office, "b")
    office.sql.execute("update recording set sha256 = %s where recording = %s", (b"\0" * 32, row.recording))

    with caplog.at_level(logging.WARNING):
        result = reconcile(office)

    assert found(result) == {"changed": 1}
    assert not result.balanced
    assert str(row.recording) in caplog.text


class Meanwhile:
    """The store, in which something happens between the listing and the look at the rows."""

    def __init__(self, store, happens):
        self.store, self.happens = store, happens

    def versions(self, prefix):
        yield from list(self.store.versions(prefix))
        self.happens()


def test_what_goes_while_the_store_is_listed_is_no_stray_and_has_not_risen(office):
    result = reconcile(office, listing=Meanwhile(office.app.store, lambda: erase(office, "a", "night")))

    assert found(result) == {}
    assert (result.counts["went"], result.counts["live"]) == (1, 2)


def test_what_comes_while_the_store_is_listed_is_not_missing(office):
    deliver(office.linna, DAY, [*CALLS, Call(id="new", start=at(13), audio=tone(1, 900))], seq=2)

    result = reconcile(office, listing=Meanwhile(office.app.store, lambda: office.run("meanwhile")))

    assert found(result) == {}
    assert (result.counts["live"], result.total("live")) == (3, 4)


class Reader:
    """The store, noting what is read."""

    def __init__(self, store):
        self.store, self.read = store, []

    def open(self, key, version_id):
        self.read.append(key)
        return self.store.open(key, version_id)


def test_each_day_other_recordings_are_read_and_in_the_end_all(office):
    office.change_settings(reconcile_sample=2)
    readers = [Reader(office.app.store) for _ in range(3)]

    for n, reader in enumerate(readers):
        reconcile(office, f"day {n}", store=reader)

    keys = [r.object_key for r in office.rows("select object_key from recording order by recording")]
    assert [key for reader in readers for key in reader.read] == [*keys, *keys]


def test_a_sample_that_is_read_again_reads_the_same(office):
    office.change_settings(reconcile_sample=2)
    readers = [Reader(office.app.store) for _ in range(2)]

    for reader in readers:
        reconcile(office, "the same run", store=reader)

    assert readers[0].read == readers[1].read


def test_a_stray_is_planned_on_second_sight_goes_by_a_persons_yes_and_is_forgotten(office, s3):
    recording = uuid4()
    key = f"rec/2027-05-25/{recording}"
    put(s3, key)
    put(s3, key, b"another")

    first = reconcile(office, "first")
    office.later(hours=6)
    soon = reconcile(office, "soon")
    assert (found(first), found(soon)) == ({"stray": 2}, {"stray": 2})
    assert first.balanced
    assert office.rows("select * from deletion") == []

    office.later(days=1)
    second = reconcile(office, "second")
    assert second.counts["orphans_planned"] == 1
    row = office.row("select recording, trigger, state, waits, decision, object_key from deletion")
    assert tuple(row) == (recording, "orphan", "planned", "approval", None, key)
    assert [(e["recording"], e["trigger"], e["reason"]) for e in office.events("deletion.planned")] == [
        (str(recording), "orphan", "stray")
    ]

    office.go_live()
    assert office.sweep("without a yes").reasons("waiting") == {"approval": 1}
    assert found(reconcile(office, "third")) == {}
    with office.connect() as conn:
        approving.approve(conn, approving.propose(conn, approving.Subject.orphans), "officer", ACTOR)
    assert office.sweep("with a yes").total("done") == 1
    assert [v for v in office.app.store.versions("rec/") if v.key == key] == []
    assert found(reconcile(office, "last")) == {}
    assert office.rows("select * from stray") == []


def test_a_key_that_a_row_has_is_never_planned_whatever_the_strays_say(office):
    """The destroyer takes every version of a key: the last look before the journal does not trust the one before it."""
    erase_later = key_of(office, "c")
    office.sql.execute(
        "insert into deletion (recording, vendor, trigger, object_key) values (%s, 'linna', 'erasure_approved', %s)",
        (erase_later.recording, erase_later.object_key),
    )
    for table in ("recording", "quarantine"):
        office.sql.execute(
            "insert into stray (object_key, version_id, recording, why) "
            f"select object_key, coalesce(version_id, 'v'), gen_random_uuid(), 'stray' from {table}"
        )

    with office.connect() as conn:
        planned = list(db.queries().plan_strays(conn, seen_before=db.now(conn)))

    assert planned == []


def test_a_stray_that_goes_by_itself_is_forgotten(office, s3):
    key = f"rec/2027-05-25/{uuid4()}"
    version = put(s3, key)
    reconcile(office, "first")
    s3.delete_object(Bucket=RECORDINGS, Key=key, VersionId=version)
    office.later(days=1)

    assert found(reconcile(office, "second")) == {}
    assert office.rows("select * from stray") == []


def test_a_lone_delete_marker_is_a_stray_too(office, s3):
    s3.delete_object(Bucket=RECORDINGS, Key=f"rec/2027-05-25/{uuid4()}")

    assert found(reconcile(office)) == {"stray": 1}


def test_a_stray_whose_key_names_no_recording_gets_a_uuid_of_its_own(office, s3):
    put(s3, "rec/what is this")
    reconcile(office, "first")
    office.later(days=1)

    assert reconcile(office, "second").counts["orphans_planned"] == 1
    assert isinstance(office.value("select recording from deletion"), UUID)


def test_an_object_of_a_recording_that_was_proven_gone_is_an_alarm_and_goes_again(office, s3):
    row = erase(office, "a", "night")
    office.later(hours=1)
    put(s3, row.object_key)

    first = reconcile(office, "first")
    office.later(days=1)
    second = reconcile(office, "second")

    assert first.counts["risen"] == 1
    assert not first.balanced
    assert second.counts["orphans_planned"] == 1
    old, new = office.rows("select recording, state, trigger from deletion order by planned_at")
    assert (old.recording, old.state) == (row.recording, "done")
    assert (new.state, new.trigger) == ("planned", "orphan")
    assert new.recording != row.recording


def test_what_is_no_recording_at_all_is_a_finding_and_stays_where_it_is(office, s3):
    put(s3, "backup.tar")
    reconcile(office, "first")
    office.later(days=1)

    result = reconcile(office, "second")

    assert found(result)["foreign"] == 1
    assert not result.balanced
    assert office.rows("select * from deletion") == []


# --- the vendors ------------------------------------------------------------------------------------------------------


def test_what_was_deleted_here_and_is_there_again_is_an_alarm_until_import_plans_it(office):
    erase(office, "a", "night")
    deliver(office.linna, DAY, CALLS, seq=2)

    before = reconcile(office, "before")
    office.run("import again")
    after = reconcile(office, "after")

    assert (found(before), found(after)) == ({"deleted_here": 1}, {})
    assert not before.balanced
    assert office.value("select trigger from deletion where state = 'planned'") == "redelivered_after_deletion"


def test_what_the_vendor_no_longer_has_is_told_and_no_alarm(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8), fields={"status": "deleted"})], seq=2)

    result = reconcile(office)

    assert found(result) == {"gone_there": 1}
    assert result.balanced


def test_what_came_after_the_last_import_is_no_lost_call(office):
    deliver(office.linna, DAY, [*CALLS, Call(id="late", start=at(13))], seq=2)

    assert found(reconcile(office)) == {}


def test_a_vendor_that_does_not_answer_keeps_no_other_part_from_being_compared(office):
    class Silent:
        name = "linna"

        def day_status(self, day, tz):
            raise VendorUnavailable("The vendor does not answer.")

    result = reconcile(office, vendors=[Silent()])

    assert found(result) == {"vendors_silent": 1}
    assert result.counts["live"] == 3


def test_days_that_never_came_and_days_that_nobody_asked_for_are_counted(office):
    office.sql.execute(
        "insert into delivery_day (vendor, day, state) values ('linna', '2026-11-20', 'absent'), "
        "('linna', '2026-11-21', 'open'), ('linna', '2026-11-23', 'complete')"
    )

    result = reconcile(office)

    assert found(result) == {"never_delivered": 1, "unfinished": 1, "never_taken": 1}


def test_days_before_the_first_that_is_caught_up_on_are_nobodys_to_ask_for(office):
    office.sql.execute(
        "insert into delivery_day (vendor, day, state) values ('linna', '2026-05-22', 'complete'), "
        "('linna', '2026-11-21', 'complete'), ('linna', '2026-11-23', 'complete')"
    )

    result = reconcile(office, first_day=date(2026, 11, 21))

    assert found(result) == {"never_taken": 1}
    assert not result.balanced


# --- the dead ---------------------------------------------------------------------------------------------------------


def test_a_recording_whose_mark_stands_in_the_suppression_has_risen(office):
    office.suppress("recording", office.app.keyring.tombstone("linna", "a"))

    result = reconcile(office)

    assert found(result) == {"risen_rows": 1}
    assert not result.balanced


def test_a_suppressed_call_that_a_hold_made_import_keep_has_not_risen(office):
    office.suppress("recording", office.app.keyring.tombstone("linna", "a"))
    office.block(recordings=(key_of(office, "a").recording,))

    assert found(reconcile(office)) == {}


def test_a_recording_that_is_armed_has_not_risen(office):
    row = key_of(office, "a")
    office.suppress("recording", office.app.keyring.tombstone("linna", "a"))
    office.sql.execute(
        "insert into deletion (recording, vendor, trigger, object_key, state) "
        "values (%s, 'linna', 'erasure_approved', %s, 'armed')",
        (row.recording, row.object_key),
    )

    assert found(reconcile(office)) == {}


def test_a_staged_call_that_an_ended_run_left_behind_has_risen_too(office):
    deliver(
        office.linna, DAY, [*CALLS, Call(id="later", start=at(14), audio=None, fields={"status": "pending"})], seq=2
    )
    office.run("import again")
    office.suppress("recording", office.app.keyring.tombstone("linna", "later"))

    assert found(reconcile(office)) == {"risen_rows": 1}


def test_calls_that_a_vendor_left_in_staging_which_is_no_longer_configured_are_told(office):
    deliver(
        office.linna, DAY, [*CALLS, Call(id="later", start=at(14), audio=None, fields={"status": "pending"})], seq=2
    )
    office.run("import again")
    office.configure(('[[vendors]]\nid = "linna"', '[[vendors]]\nid = "another"'))

    result = reconcile(office)

    assert result.counts["left_behind"] == 1
    assert "left_behind" not in [code for code in result.findings if FINDINGS[code].red]


def test_recordings_of_a_line_that_is_not_designated_are_counted(office):
    office.configure(('[[lines]]\nnumber = "010 270 8001"\ncontroller = "phm"\nfrom = 2023-09-12\n', ""))

    result = reconcile(office)

    assert found(result) == {"unlawful": 1}
    assert result.balanced


def test_what_a_person_kept_is_told_each_morning_and_planned_again_after_a_month(office, s3):
    put(s3, f"rec/2027-05-25/{uuid4()}")
    reconcile(office, "first")
    office.later(days=1)
    reconcile(office, "second")
    with office.connect() as conn:
        approving.keep(conn, approving.propose(conn, approving.Subject.orphans), "officer", ACTOR)

    told = reconcile(office, "third")
    assert (told.counts["orphans_kept"], told.counts["stray"], told.counts["orphans_planned"]) == (1, 0, 0)
    office.later(days=32)
    assert reconcile(office, "a month later").counts["stray"] == 1
    office.later(days=33)
    assert reconcile(office, "and a day").counts["orphans_planned"] == 1


def test_a_legal_hold_that_was_lifted_in_the_store_is_told_and_placed_again_by_the_next_settling(office):
    office.block(controller="phm", from_at=at(0))
    row = office.row("select recording, object_key, version_id from recording where controller = 'phm'")
    with office.connect() as conn:
        holding.settle(conn, office.app.holder, ACTOR)
    assert found(reconcile(office)) == {}
    office.app.holder.release(row.object_key, row.version_id)

    result = reconcile(office, "next")

    assert (found(result), result.balanced) == ({"unheld": 1}, False)
    with office.connect() as conn:
        holding.settle(conn, office.app.holder, ACTOR)
    assert office.app.holder.is_held(row.object_key, row.version_id) is True
    assert found(reconcile(office, "last")) == {}


def test_an_upload_that_nobody_finishes_is_told_once_it_is_old(office, s3, monkeypatch):
    upload = s3.create_multipart_upload(Bucket=RECORDINGS, Key="rec/2026-11-24/half")["UploadId"]
    try:
        assert "uploads_left" not in found(reconcile(office))
        monkeypatch.setattr(reconciling, "UPLOAD_AGE", timedelta(minutes=-5))
        assert found(reconcile(office, "next"))["uploads_left"] == 1
    finally:
        s3.abort_multipart_upload(Bucket=RECORDINGS, Key="rec/2026-11-24/half", UploadId=upload)


# --- the balance ------------------------------------------------------------------------------------------------------


def test_a_row_that_vanished_from_the_catalogue_fails_every_count_that_knew_of_it(office):
    lose(office, "delete from recording where line like '%2070%'")

    result = reconcile(office)

    assert found(result) == {"stray": 2, "lost": 2, "kept_difference": 2, "ever_difference": 2}
    assert not result.balanced


def test_a_row_that_vanished_from_quarantine_fails_the_balance(office):
    lose(office, "delete from quarantine where version_id is null")

    assert found(reconcile(office)) == {"lost": 1, "ever_difference": 1}


def test_a_journal_row_that_vanished_fails_the_balance(office):
    erase(office, "a", "night")
    lose(office, "delete from deletion")

    result = reconcile(office)

    assert found(result) == {"kept_difference": 1, "ever_difference": 1}
    assert not result.balanced


def test_a_run_that_counted_too_many_fails_the_balance(office):
    office.sql.execute("update tally set n = n + 1 where outcome = 'kept' and controller = 'phm'")

    assert found(reconcile(office)) == {"kept_difference": 1}


def test_two_errors_in_two_directions_do_not_cancel(office):
    lose(office, "delete from recording where line like '%2708%'")
    office.sql.execute(
        "insert into quarantine select s.* from (select * from quarantine where version_id is null) s on conflict do nothing"
    )
    lose(office, "update quarantine set vendor = 'vaihde' where version_id is null")

    assert reconcile(office).counts["ever_difference"] >= 2


def test_parts_that_were_not_compared_fail_the_run(office):
    with office.connect() as conn:
        reconciling.begin(conn, "alone")
        result = reconciling.balance(conn, "alone", ACTOR)

    assert found(result) == {"not_compared": 4}
    assert not result.balanced


def test_the_same_run_again_finds_the_same_and_has_one_event(office, s3):
    put(s3, f"rec/2027-05-25/{uuid4()}")

    first, again = reconcile(office, "run"), reconcile(office, "run")

    assert first == again
    (event,) = office.events("reconciliation.ended")
    assert event["counts"] == {
        "stray": 1, "sheet_ever": 5, "sheet_live": 3, "sheet_quarantined": 2, "sheet_gone": 0,
    }  # fmt: skip
    assert event["balanced"] is True


def test_a_second_look_replaces_what_the_first_had_found(office, s3):
    row = key_of(office, "a")
    s3.delete_object(Bucket=RECORDINGS, Key=row.object_key)
    first = reconcile(office, "run")
    for page in s3.list_object_versions(Bucket=RECORDINGS, Prefix=row.object_key)["DeleteMarkers"]:
        s3.delete_object(Bucket=RECORDINGS, Key=row.object_key, VersionId=page["VersionId"])

    again = reconcile(office, "run")

    assert (found(first), found(again)) == ({"hidden": 1}, {})
    assert [e["balanced"] for e in office.events("reconciliation.ended")] == [False, True]


def test_findings_hold_counts_and_words_and_nothing_of_a_person(office, s3, caplog):
    row = key_of(office, "a")
    s3.delete_object(Bucket=RECORDINGS, Key=row.object_key, VersionId=row.version_id)
    s3.delete_object(Bucket=RECORDINGS, Key=key_of(office, "b").object_key)
    put(s3, "Matti Meikäläinen +358401234501.wav")
    put(s3, f"rec/2027-05-25/{uuid4()}")
    deliver(office.linna, DAY, [Call(id="c", start=at(10), fields={"status": "deleted"})], seq=2)
    office.suppress("recording", office.app.keyring.tombstone("linna", "c"))
    with caplog.at_level(logging.DEBUG, logger="callkeeper"):
        reconcile(office, "first")
        office.later(days=1)
        result = reconcile(office, "second")

    findings = office.value("select findings from reconciliation order by reconciliation desc limit 1")
    mail = reconciling.message(result, link=LINK)
    told = "\n".join(
        [json.dumps(findings), mail.subject, mail.text, reconciling.note(result), caplog.text]
        + [json.dumps(e) for e in office.events("reconciliation.ended", "deletion.planned")]
    )
    marks = [office.app.keyring.tombstone("linna", c.id).hex() for c in CALLS]
    secret = ["Meikäläinen", "40123", "rec/", ".wav", "207001234", "call-a", row.version_id, *marks]
    assert len(result.findings) >= 5
    assert [s for s in secret if s in told] == []
    assert {type(n) for part in findings.values() for n in _leaves(part)} == {int}


def _leaves(part):
    for value in part.values():
        yield from _leaves(value) if isinstance(value, dict) else [value]


def test_the_mail_says_what_was_found_and_what_to_do(office, s3):
    put(s3, f"rec/2027-05-25/{uuid4()}")
    calm = reconciling.message(reconcile(office, "calm"), link=LINK)
    put(s3, "backup.tar")

    alarm = reconciling.message(reconcile(office, "alarm"), link=LINK)

    assert calm.subject == "callkeeper reconcile: 1 findings"
    assert alarm.subject == "callkeeper reconcile: ALARM"
    assert "1 objects that are no recordings" in alarm.text
    assert "5 ever imported; 3 live + 2 quarantined + 0 gone." in alarm.text
    assert LINK in alarm.text


def test_every_finding_says_what_it_means_and_what_mends_it():
    for code, finding in FINDINGS.items():
        assert finding.means, code
        assert finding.mend.endswith("."), code


def test_yesterday_is_not_late_yet(office):
    office.sql.execute("update delivery_day set state = 'open'")

    assert found(reconcile(office)) == {}
    office.set_clock(at(5, day=date(2026, 11, 26)) + timedelta(minutes=1))
    assert "unfinished" in found(reconcile(office, "a day later"))
