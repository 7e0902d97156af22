"""Quarantine: each reason that can come through a drop, and what people do about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from callkeeper import db, quality
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import balancing, importing, quarantining
from callkeeper.jobs.preflight import preflight
from callkeeper.quality import REASONS
from deliver import Call, deliver, tone
from installation import ACTOR, DAY, NOW, at, counts, reasons


def call(identity: str = "r1", **changes) -> Call:
    return Call(**{"id": identity, "start": at(9), **changes})


def header_only() -> bytes:
    return tone()[:44]


def cut_off() -> bytes:
    return tone(3)[: 44 + 8000 * 2]


def unknown_format() -> bytes:
    """A WAV file whose format tag nobody knows."""
    whole = bytearray(tone())
    whole[20:22] = (0x7ABC).to_bytes(2, "little")
    return bytes(whole)


HTML = b"<!DOCTYPE html><html><body>500 Internal Server Error</body></html>"

STAGED = {
    "record_invalid": call(fields={"segment_no": "first"}),
    "line_missing": call(line=None),
    "line_undesignated": call(line="09 111 2222"),
    "time_naive": call(start="2026-11-24T09:00:00"),
    "time_missing": call(start=None),
    "time_in_future": call(start=NOW + timedelta(hours=2)),
    "direction_unknown": call(direction="internal"),
    "duration_invalid": call(ms=-1),
    "media_path_unsafe": call(media={"path": "../r1.wav"}),
    "encrypted_without_key": call(media={"encryption": "pgp"}),
    "audio_absent": call(fields={"status": "absent"}),
}
"""What each check on metadata stops (changed_bytes needs two deliveries, metadata_missing another kind of vendor)."""
HEARD = {
    "audio_empty": call(audio=header_only()),
    "not_audio": call(audio=HTML),
    "codec_unknown": call(audio=unknown_format()),
    "checksum_mismatch": call(media={"sha256": "00" * 32}),
    "size_mismatch": call(media={"bytes": 17, "sha256": ...}),
    "audio_truncated": call(audio=cut_off(), ms=3000),
    "duration_mismatch": call(ms=3100),
}
"""What the audio itself tells."""


def test_every_reason_has_its_case_here():
    elsewhere = {"metadata_missing", "changed_bytes"}
    gates = {code for code, reason in REASONS.items() if reason.gate}
    assert set(STAGED) | set(HEARD) | elsewhere == gates
    assert set(HEARD) == {code for code, reason in REASONS.items() if not reason.staged}


@pytest.mark.parametrize("reason", [*STAGED, *HEARD])
def test_a_faulty_call_is_quarantined_for_its_reason_and_no_other_waits_for_it(office, reason):
    faulty = {**STAGED, **HEARD}[reason]
    deliver(office.linna, DAY, [faulty, call("sound", start=at(10))])

    balance = office.run()

    assert counts(balance) == {"found": 2, "kept": 1, "quarantined": 1}
    assert reasons(balance) == {f"quarantined:{reason}": 1}
    waiting = office.row("select * from quarantine")
    assert (waiting.reason, waiting.vendor, waiting.day) == (reason, "linna", DAY)
    assert abs(waiting.decide_by - (NOW + timedelta(days=14))) < timedelta(minutes=1)
    assert waiting.counts_from == (waiting.started_at or waiting.delivered_at)
    (event,) = office.events("recording.quarantined")
    assert (event["recording"], event["reason"], event["state_after"]) == (
        str(waiting.recording),
        reason,
        "quarantined",
    )
    assert office.day_state() == "complete"
    # only what a person may release has its audio here already: the vendor may purge it before she has decided
    assert (waiting.version_id is not None) is REASONS[reason].releasable
    assert {v.version_id for v in office.versions()} == {
        r.version_id
        for r in office.rows("select version_id from quarantine union select version_id from recording")
        if r.version_id
    }


def test_nothing_of_an_undesignated_line_is_fetched(office, monkeypatch):
    deliver(office.linna, DAY, [STAGED["line_undesignated"]])
    monkeypatch.setattr("callkeeper.vendors.drop.Drop.open", lambda *_: pytest.fail("its audio was fetched"))

    assert counts(office.run()) == {"found": 1, "quarantined": 1}


def test_a_quarantined_call_that_comes_again_just_so_stays_where_it_is(office):
    deliver(office.linna, DAY, [STAGED["line_missing"]])
    office.run()
    before = office.row("select * from quarantine")
    deliver(office.linna, DAY, [STAGED["line_missing"], call("new", audio=tone(1, 500))], seq=2)

    balance = office.run("next")

    assert counts(balance) == {"found": 2, "kept": 1, "quarantined": 1}
    assert office.row("select * from quarantine") == before
    assert len(office.events("recording.quarantined")) == 1


@pytest.mark.parametrize("reason", ["time_naive", "checksum_mismatch", "duration_mismatch", "audio_absent"])
def test_a_call_that_is_delivered_again_and_better_leaves_quarantine_under_its_old_uuid(office, reason):
    deliver(office.linna, DAY, [{**STAGED, **HEARD}[reason]])
    office.run()
    waiting = office.row("select * from quarantine")
    deliver(office.linna, DAY, [call(ms=1001)], seq=2)

    assert counts(office.run("next")) == {"found": 1, "kept": 1}

    assert office.value("select recording from recording") == waiting.recording
    (event,) = office.events("quarantine.left")
    assert (event["reason"], event["how"]) == (reason, "redelivered")
    assert len(office.versions()) == 1


def test_audio_that_was_delivered_anew_leaves_the_old_object_in_the_journal(office):
    deliver(office.linna, DAY, [HEARD["audio_truncated"]])
    office.run()
    old = office.row("select * from quarantine")
    deliver(office.linna, DAY, [call(audio=tone(3), ms=3000)], seq=2)

    assert counts(office.run("next")) == {"found": 1, "kept": 1}

    kept = office.row("select * from recording")
    orphan = office.row("select * from deletion")
    assert (orphan.trigger, orphan.object_key, orphan.version_id) == ("orphan", old.object_key, old.version_id)
    assert kept.object_key != orphan.object_key
    assert {v.version_id for v in office.versions()} == {kept.version_id, orphan.version_id}
    # the orphan is an object's end, not the call's: later corrections are still taken
    deliver(office.linna, DAY, [call(audio=tone(3), ms=2900)], seq=3)
    assert counts(office.run("later")) == {"corrected": 1, "found": 1}


def test_a_call_whose_audio_stands_here_and_that_is_refused_in_the_end_takes_its_audio_along(office):
    deliver(office.linna, DAY, [HEARD["duration_mismatch"]])
    office.run()
    waiting = office.row("select * from quarantine")
    long_ago = replace(HEARD["duration_mismatch"], start=at(9, day=DAY - timedelta(200)))
    deliver(office.linna, DAY, [long_ago], seq=2)

    assert counts(office.run("next")) == {"found": 1, "refused": 1}

    planned = office.row("select * from deletion")
    assert (planned.trigger, planned.object_key, planned.version_id) == (
        "retention_expired", waiting.object_key, waiting.version_id,
    )  # fmt: skip


# --- people -----------------------------------------------------------------------------------------------------------


def test_the_list_says_what_waits_since_when_and_whether_its_audio_is_here(office):
    deliver(office.linna, DAY, [call("a", line="09 111 2222"), replace(HEARD["duration_mismatch"], id="b")])
    office.run()

    with office.connect() as conn:
        waiting = quarantining.waiting(conn)
        only = quarantining.waiting(conn, "duration_mismatch")
        one = quarantining.one(conn, only[0].recording)
        with pytest.raises(NotFound):
            quarantining.one(conn, uuid4())

    assert {(w.reason, w.has_audio, w.overdue) for w in waiting} == {
        ("line_undesignated", False, False),
        ("duration_mismatch", True, False),
    }
    assert (one.line, one.duration_ms, one.audio_ms, one.codec) == ("+358207001234", 3100, 1000, "pcm_s16le")
    assert not {"pseudonym", "sealed_number", "sealed_ref", "identity"} & set(one._fields)


def test_a_line_that_is_put_into_the_register_frees_its_calls_by_itself(office):
    deliver(
        office.linna,
        DAY,
        [call(line="09 111 2222"), call("before", line="09 111 2222", start=at(9, day=DAY - timedelta(3)))],
    )
    assert counts(office.run()) == {"found": 2, "quarantined": 2}
    office.configure(more=f'[[lines]]\nnumber = "09 111 2222"\ncontroller = "phm"\nfrom = {DAY}\n')

    balance = office.run("next")

    assert balance.balanced
    assert balance.total("kept") == 1
    assert office.value("select controller from recording") == "phm"
    assert office.value("select count(*) from quarantine") == 1, "the register knows the line from the day on only"
    (event,) = office.events("quarantine.left")
    assert event["how"] == "mended"


def test_calls_are_looked_at_again_when_a_person_asks(office):
    deliver(office.linna, DAY, [call("r1", audio=None), call("r2")])
    (office.linna / str(DAY) / "r2.wav").write_bytes(b"")
    for night in range(3):
        office.run(f"night {night}")
    assert sorted(r.reason for r in office.rows("select reason from quarantine")) == [
        "audio_absent",
        "checksum_mismatch",
    ]
    for name in ("r1", "r2"):
        (office.linna / str(DAY) / f"{name}.wav").write_bytes(tone() if name == "r2" else b"")

    with office.connect() as conn:
        assert quarantining.reevaluate(conn, recordings=[], reason="checksum_mismatch", actor=ACTOR) == 1
        assert quarantining.reevaluate(conn, recordings=[uuid4()], reason=None, actor=ACTOR) == 0
    balance = office.run("next")

    assert balance.total("kept") == 1
    assert balance.balanced
    assert office.value("select reason from quarantine") == "audio_absent"
    assert office.events("quarantine.left")[0]["actor"]["account"] == "data"


def test_looking_again_lets_nothing_pass_that_only_a_release_may(office):
    deliver(office.linna, DAY, [HEARD["duration_mismatch"]])
    office.run()

    with office.connect() as conn:
        quarantining.reevaluate(conn, recordings=[], reason="duration_mismatch", actor=ACTOR)
    balance = office.run("next")

    assert balance.total("kept") == 0
    assert reasons(balance)["quarantined:duration_mismatch"] == 1
    assert len(office.versions()) == 1


@pytest.mark.parametrize("reason", ["duration_mismatch", "audio_truncated"])
def test_a_released_call_is_kept_with_its_stored_audio_though_the_vendor_has_purged_it(office, reason):
    deliver(office.linna, DAY, [HEARD[reason]])
    office.run()
    waiting = office.row("select * from quarantine")
    (office.linna / str(DAY) / "r1.wav").unlink()

    with office.connect() as conn:
        quarantining.release(conn, recording=waiting.recording, account="officer", actor=ACTOR)
    balance = office.run("next")

    assert balance.total("kept") == 1
    assert balance.balanced
    kept = office.row("select * from recording")
    assert (kept.recording, kept.version_id, kept.sha256) == (waiting.recording, waiting.version_id, waiting.sha256)
    (event,) = office.events("quarantine.left")
    assert (event["reason"], event["how"], event["actor"]["account"]) == (reason, "released", "data")


def test_a_released_call_does_not_claim_a_legal_hold_that_the_store_does_not_have(office):
    deliver(office.linna, DAY, [HEARD["duration_mismatch"]])
    office.run()
    hold = office.block(line="+358207001234", from_at=at(0))

    with office.connect() as conn:
        quarantining.release(
            conn, recording=office.value("select recording from quarantine"), account="officer", actor=ACTOR
        )
    office.run("next")

    kept = office.row("select recording, legal_hold from recording")
    assert tuple(office.row("select blocker, recording from blocker_cover")) == (hold, kept.recording)
    assert not kept.legal_hold, "placing it is the hold's work"


@pytest.mark.parametrize("act", [quarantining.release, quarantining.reject])
@pytest.mark.parametrize("account", ["data", "approver", "nobody"])
def test_only_an_officers_word_lets_a_call_pass_or_go_whoever_asks_for_it(office, act, account):
    deliver(office.linna, DAY, [HEARD["duration_mismatch"]])
    office.run()

    with office.connect() as conn, pytest.raises(NotAllowed, match="may not say"):
        act(conn, recording=office.value("select recording from quarantine"), account=account, actor=ACTOR)

    assert office.value("select count(*) from quarantine") == 1


@pytest.mark.parametrize("reason", ["line_undesignated", "time_missing", "not_audio"])
def test_nobody_may_release_what_must_not_be_kept(office, reason):
    deliver(office.linna, DAY, [{**STAGED, **HEARD}[reason]])
    office.run()

    with office.connect() as conn, pytest.raises(NotAllowed) as refused:
        quarantining.release(
            conn, recording=office.value("select recording from quarantine"), account="officer", actor=ACTOR
        )

    assert refused.value.mend == REASONS[reason].mend
    assert office.value("select count(*) from quarantine") == 1


@pytest.mark.parametrize(
    ("reason", "trigger", "has_object"),
    [("line_undesignated", "unlawful_confirmed", False), ("duration_mismatch", "quarantine_rejected", True)],
)
def test_a_rejected_call_goes_into_the_journal_and_nothing_is_deleted_yet(office, reason, trigger, has_object):
    deliver(office.linna, DAY, [{**STAGED, **HEARD}[reason]])
    office.run()
    waiting = office.row("select * from quarantine")

    with office.connect() as conn:
        quarantining.reject(conn, recording=waiting.recording, account="officer", actor=ACTOR)

    planned = office.row("select * from deletion")
    assert (planned.recording, planned.trigger, planned.state) == (waiting.recording, trigger, "planned")
    assert (planned.object_key, planned.version_id) == (waiting.object_key, waiting.version_id)
    assert (planned.version_id is not None) is has_object
    assert planned.sealed_ref == waiting.sealed_ref
    (event,) = office.events("deletion.planned")
    assert (event["reason"], event["state_before"], event["actor"]["account"]) == (reason, "quarantined", "data")
    assert office.rows("select * from quarantine") == []
    assert (office.linna / str(DAY) / "r1.wav").exists()
    assert len(office.versions()) == has_object
    # and it does not come back
    deliver(office.linna, DAY, [replace({**STAGED, **HEARD}[reason], ms=3200)], seq=2)
    assert counts(office.run("next")) == {"found": 1, "refused": 1}


def test_two_people_cannot_decide_about_the_same_call(office):
    deliver(office.linna, DAY, [STAGED["line_missing"]])
    office.run()
    recording = office.value("select recording from quarantine")
    one = quarantining.one

    def decided_meanwhile(conn, asked):
        found = one(conn, asked)
        with office.connect() as other, pytest.MonkeyPatch.context() as unpatched:
            unpatched.setattr(quarantining, "one", one)
            quarantining.reject(other, recording=asked, account="officer", actor=ACTOR)
        return found

    with office.connect() as conn, pytest.MonkeyPatch.context() as patch:
        patch.setattr(quarantining, "one", decided_meanwhile)
        with pytest.raises(NotFound):
            quarantining.reject(conn, recording=recording, account="officer", actor=ACTOR)
    assert len(office.events("deletion.planned")) == 1


# --- alarms -----------------------------------------------------------------------------------------------------------


def alarms(office, key: str) -> list[str]:
    with office.connect() as conn:
        result = balancing.balance(conn, key, ACTOR)
        return list(balancing.morning(conn, result, windows={"linna": 30}).alarms)


def test_a_call_that_waits_beyond_fourteen_days_is_an_alarm(office):
    deliver(office.linna, DAY, [STAGED["line_missing"]])
    office.run()
    assert alarms(office, "night") == []

    office.later(days=13, hours=23)
    assert alarms(office, "night") == []
    office.later(days=14, hours=1)

    (alarm,) = alarms(office, "night")
    assert alarm == "linna, -: 1 calls have waited in quarantine beyond their term (line_missing)."
    with office.connect() as conn:
        assert [w.overdue for w in quarantining.waiting(conn)] == [True]


@pytest.mark.parametrize(
    ("days", "alarm"),
    [
        (1, None),
        (2, "linna, 2026-11-24: nothing was delivered."),
        (27, "linna, 2026-11-24: nothing was delivered."),
        (28, "linna, 2026-11-24: the vendor keeps this day until 2026-12-24 only, and it is not complete."),
        (30, "linna, 2026-11-24: the vendor keeps this day until 2026-12-24 only, and it is not complete."),
        (
            31,
            "linna, 2026-11-24: the vendor's window has closed and it is not complete: a person declares it lost.",
        ),
    ],
)
def test_an_unfinished_day_alarms_before_the_vendors_window_closes(office, days, alarm):
    office.run()
    office.later(days=days - 1)

    assert alarms(office, "night") == ([alarm] if alarm else [])


def test_the_morning_mail_says_in_counts_what_came_and_what_waits(office):
    deliver(office.linna, DAY, [STAGED["line_missing"], call("sound")])
    result = office.run()

    with office.connect() as conn:
        mail = balancing.message(
            balancing.morning(conn, result, windows={"linna": 30}), link="https://example.fi/runbook"
        )
        assert not balancing.was_mailed(conn, "night")
        balancing.mark_mailed(conn, result.run)
        assert balancing.was_mailed(conn, "night")

    assert mail.subject == "callkeeper import 2026-11-24: balanced, 2 found, 1 kept"
    for part in (mail.text, mail.html):
        assert "line_missing" in part
        assert "https://example.fi/runbook" in part


# --- Great Expectations -----------------------------------------------------------------------------------------------


def test_the_suite_counts_what_is_quarantined_and_notes_the_rest(office):
    calls = [replace(c, id=f"{reason}-{n}") for reason, c in STAGED.items() for n in range(2)]
    calls += [call("sip", caller="matti@example.fi"), call("yesterday", start=at(23, day=DAY - timedelta(1)))]
    deliver(office.linna, DAY, calls)
    deliver(
        office.linna, DAY - timedelta(1), [call("changed", audio=tone(1, 300), start=at(8, day=DAY - timedelta(1)))]
    )
    office.run("before", DAY - timedelta(1))
    deliver(
        office.linna,
        DAY - timedelta(1),
        [call("changed", audio=tone(1, 301), start=at(8, day=DAY - timedelta(1)))],
        seq=2,
    )

    with office.connect() as conn:
        preflight(conn, office.app.config, run_key="n", day=DAY, first_day=None, only_vendor=None, actor=ACTOR)
        job = office.app.importing(conn, "n", "linna", ACTOR)
        importing.stage(conn, job)
        checked = quality.run_suite(db.url(office.settings), run=job.run, vendor="linna")
        importing.check(conn, job)

    failing = {c.reason: c.failing for c in checked if c.failing}
    gates = {r.reason: r.n for r in office.rows("select reason, count(*) as n from quarantine group by 1")}
    assert {code: n for code, n in failing.items() if REASONS[code].gate} == gates
    assert gates == {**dict.fromkeys(STAGED, 2), "changed_bytes": 1}
    assert {code: n for code, n in failing.items() if not REASONS[code].gate} == {
        "caller_unusable": 1,
        "day_differs": 3,
    }
    assert {c.reason for c in checked} == {code for code, reason in REASONS.items() if reason.staged}


def test_a_suite_that_cannot_be_run_is_no_suite_that_found_nothing(office):
    office.sql.execute("alter view staging_fault rename to gone")
    try:
        with pytest.raises(quality.CheckFailed):
            quality.run_suite(db.url(office.settings), run=1, vendor="linna")
    finally:
        office.sql.execute("alter view gone rename to staging_fault")
