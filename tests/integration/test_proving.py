"""The notice as a program: every promise is asked of live data, and each of them can be broken, and is red then."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from uuid import uuid4

import pytest
from click.testing import CliRunner

import trail
from asking import delivered
from callkeeper import controllers, letters, notice, pseudonyms
from callkeeper.commands.prove import prove as command
from callkeeper.errors import NotBalanced, NotFound, StoreConflict, StoreUnavailable
from callkeeper.jobs import answering, disclosing, fulfilling, holding, proving, reconciling
from callkeeper.jobs.proving import Verdict
from callkeeper.notify import Message
from callkeeper.phone import E164
from callkeeper.settings import PROJECT
from callkeeper.tickets import Right
from deliver import PHM, Call, deliver
from installation import ACTOR, DAY, NOW, OFFICER, Installation, at

PROMISES = {p.id: p for p in notice.load_notice(PROJECT / "config" / "notice.toml").promises}
CALLER = "+358401234501"

KEPT = {
    "notice_version", "controllers", "contact", "legal_basis", "lines", "columns", "customer_register", "processors",
    "only_necessary", "regions", "numbers", "database_rights", "access", "retention", "copies", "complaint",
}  # fmt: skip
"""What a sound installation keeps on its first morning; of the rest there is nothing yet."""


@pytest.fixture
def sound(fresh_office: Installation, monkeypatch) -> Installation:
    """Two calls imported, catalogue and store compared: nothing is broken."""
    office = fresh_office
    for _ in office.app.config.controllers:  # the notice's own address, for each of them
        text = office.settings.config_file.read_text()
        office.settings.config_file.write_text(text.replace("tietosuoja@example.fi", "tietosuoja@phmgroup.com"))
    office.app = office._build()
    with office.connect() as conn:
        controllers.apply(conn, office.app.config, OFFICER)
        pseudonyms.register(conn, office.app.keyring)
        conn.commit()
    deliver(office.linna, DAY, [Call(id="a", start=at(8)), Call(id="b", start=at(9), line=PHM)])
    office.run("import")
    reconcile(office, "morning")
    monkeypatch.setattr("callkeeper.settings.load", lambda **_: office.settings)
    return office


def reconcile(office: Installation, key: str) -> None:
    app = office.app
    with office.connect() as conn:
        number = reconciling.begin(conn, key)
        reconciling.compare_store(conn, number, app.store, ACTOR)
        reconciling.read_sample(conn, number, app.store, sample=10)
        reconciling.check_keeping(conn, number, app.holder, app.destroyer, sample=10)
        reconciling.compare_vendors(conn, number, [app.vendor("linna")], app.keyring, relook_days=7)
        reconciling.balance(conn, key, ACTOR)


def prove(office: Installation) -> proving.Proof:
    return proving.prove(office.app, office.app.notice, code="test", run="morning")


def answers(office: Installation) -> dict[str, proving.Answer]:
    return {proven.promise.id: proven.answer for proven in prove(office).answers}


def answer(office: Installation, promise: str) -> proving.Answer:
    return answers(office)[promise]


def event(office: Installation, event_class: str, account: str = "officer", **facts: object) -> None:
    """An event of the trail, now."""
    body = json.dumps({"action": f"{event_class}.x", "actor": {"account": account}, "v": 1, **facts})
    office.sql.execute(
        "insert into event (class, at, body) values (%s, callkeeper_now(), %s)", (event_class, body.encode())
    )


def kind(office: Installation, blocker: object, of_kind: str, *, days: int = 30) -> None:
    """What a blocker is, with its review so many days ahead."""
    office.sql.execute(
        "update blocker set kind = %s, review_on = %s where blocker = %s", (of_kind, DAY + timedelta(days), blocker)
    )


def request(office: Installation, *, received_on: date, right: Right = Right.access) -> str:
    """A request that came in on that day; its reference."""
    with office.connect() as conn:
        return fulfilling.open_ticket(
            conn, office.app.keyring, right=right, received_on=received_on, channel="letter", language="fi",
            numbers=[E164("+358401234599")], account="officer", actor=OFFICER,
        )  # fmt: skip


def recording(office: Installation, call: str = "a") -> object:
    mark = office.app.keyring.tombstone("linna", call)
    return office.value("select recording from recording where identity = %s", mark)


# --- each promise, broken ---------------------------------------------------------------------------------------------

Break = Callable[[Installation], "str | Callable[[], None] | None"]
BREAKS: dict[str, Break] = {}
"""How each promise is broken; what a break returns takes it back, SQL or a call, where it would stay."""


def breaks(promise: str) -> Callable[[Break], Break]:
    def note(function: Break) -> Break:
        BREAKS[promise] = function
        return function

    return note


def sql(promise: str, statement: str, undo: str | None = None) -> None:
    def carry_out(office: Installation) -> str | None:
        office.sql.execute(statement.replace("{database}", office.settings.db_name))
        return undo and undo.replace("{database}", office.settings.db_name)

    BREAKS[promise] = carry_out


sql("notice_version", "update controller set notice_version = '2024-01-01' where controller = 'phm'")
sql("controllers", "update controller set removed_at = callkeeper_now() where controller = 'phm'")
sql("contact", "update controller set contact = jsonb_set(contact, '{email}', '\"a@b.fi\"') where controller = 'phm'")
sql("legal_basis", "update controller set balancing_test = '' where controller = 'phm'")
sql("lines", "update line set valid_to = '2026-11-23' where controller = 'punavaara'")
sql(
    "columns",
    "alter table recording add column transcript text",
    "alter table recording drop column transcript",
)
sql(
    "customer_register",
    "create role crm login; grant connect on database {database} to crm",
    "revoke connect on database {database} from crm; drop role crm",
)
sql("processors", "update processor set valid_to = '2026-11-24'")
sql("regions", "update processor set regions = '{US}'")
sql("numbers", f"update recording set sealed_number = '{CALLER}'")
sql("database_rights", "grant update on event to callkeeper_app", "revoke update on event from callkeeper_app")
sql("access", 'update config_version set body = replace(body, \'"auditors": []\', \'"auditors": ["data"]\')')


def unseal(office: Installation) -> None:
    """As if nothing had ever been sealed."""
    with office.unguarded():
        office.sql.execute("truncate epoch, leaf, checkpoint, anchored restart identity")


def seal(*, hours: int, anchored: bool = True) -> str:
    """SQL of a checkpoint of so many hours ago."""
    return (
        "insert into epoch (epoch, reason, system_identifier) values (1, 'first', 'x') on conflict do nothing; "
        "insert into checkpoint (epoch, size, root, horizon, at, frontier, note) select 1, coalesce(max(size), 0) + 1, "
        f"decode(repeat('00', 32), 'hex'), '9', clock_timestamp() - interval '{hours} hours', '{{}}', 'x' from checkpoint; "
        + ("insert into anchored (number) select max(number) from checkpoint" if anchored else "")
    )


sql("trail", seal(hours=3))


def opening(
    office: Installation, account: str, purpose: str, *, row: bool = True, told: bool = True, **facts: object
) -> None:
    """That somebody listened: its row, and its event."""
    which = recording(office)
    if row:
        office.sql.execute(
            "insert into opening (recording, account, purpose) values (%s, %s, %s)", (which, account, purpose)
        )
    if told:
        event(office, "opening", account, recording=str(which), purpose=purpose, **facts)


@breaks("purposes")
def _(office):
    opening(office, "officer", "curiosity")


@breaks("disclosures")
def _(office):
    office.sql.execute(
        "insert into disclosure (disclosure, recipient_kind, recipient, purpose, scope, state, drafted_by, asked_by, approved_by, "
        "handed_over_at, channel) values ('DIS-2026-0001', 'group_company', 'phm', 'quality', 'x', 'handed_over', 'officer', 'officer', "
        "'approver', callkeeper_now(), 'courier')"
    )


@breaks("complaint")
def _(_):
    """As if a receipt gave less than was asked: its template says nothing of the authority."""
    patch = pytest.MonkeyPatch()
    patch.setattr(letters, "GIVE_LESS", letters.GIVE_LESS | {letters.Kind.receipt})
    return patch.undo


@breaks("only_necessary")
def _(office):
    office.sql.execute("update processor set extra_features_off = '{transcription}'")
    deliver(office.linna, DAY, [Call(id="c", start=at(10), fields={"Transcript_text": "hello"})], seq=2)
    office.run("again")


@breaks("retention")
def _(office):
    office.set_clock(NOW + timedelta(days=187))


@breaks("copies")
def _(office):
    import hashlib
    import io

    body = b"a copy that nobody knows"
    sha256 = hashlib.sha256(body).digest()
    where = {"sha256": sha256, "size_bytes": len(body), "content_type": "audio/wav"}
    office.app.store.put(f"rec/2027-05-25/{uuid4()}", io.BytesIO(body), **where)
    reconcile(office, "next morning")


@breaks("vendor_copies")
def _(office):
    office.sql.execute(
        "insert into deletion (recording, vendor, trigger, state, absence_checked_at, store_gone_at) "
        "select gen_random_uuid(), 'linna', 'retention_expired', 'store_gone', t, t from (select callkeeper_now() - interval '15 days') x (t)"
    )


@breaks("backups")
def _(office):
    backup(office, days=31)


@breaks("no_return")
def _(office):
    office.suppress("recording", office.app.keyring.tombstone("linna", "a"))


@breaks("holds")
def _(office):
    kind(office, office.block(recordings=(recording(office),)), "investigation", days=0)


@breaks("requests")
def _(office):
    request(office, received_on=date(2026, 10, 22))  # due on 2026-11-23, a Monday


@breaks("objections")
def _(office):
    office.suppress("caller", office.pseudonym(CALLER), DAY + timedelta(100))
    office.sql.execute("update suppression set since = since - interval '1 day'")


@pytest.fixture
def broken(sound: Installation):
    """``broken(promise)`` breaks it; what the schema remembers is taken back at the end."""
    undo: list[str | Callable[[], None]] = []

    def break_it(promise: str) -> None:
        if back := BREAKS[promise](sound):
            undo.append(back)

    yield break_it
    for back in undo:
        back() if callable(back) else sound.sql.execute(back)
    unseal(sound)


def test_a_sound_installation_keeps_every_promise_that_applies(sound):
    found = answers(sound)

    assert [a.says for a in found.values() if a.red] == []
    assert {promise for promise, a in found.items() if a.verdict == Verdict.kept} == KEPT


def test_every_promise_has_its_break():
    assert set(BREAKS) == set(PROMISES)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_that_is_broken_is_red(sound, broken, promise):
    assert not answer(sound, promise).red

    broken(promise)

    found = answer(sound, promise)
    assert found.verdict == Verdict.broken
    assert found.says.endswith(".")
    assert found.mend.endswith(".")


# --- what counts as kept, and what does not ---------------------------------------------------------------------------


def test_a_recording_is_overdue_after_48_hours_and_not_before(sound):
    due = sound.value("select min(eligible_at) from recording")

    verdicts = []
    for hours in (47, 49):
        sound.set_clock(due + timedelta(hours=hours))
        verdicts.append(answer(sound, "retention").verdict)

    assert verdicts == [Verdict.kept, Verdict.broken]


def test_what_a_legal_ground_keeps_is_not_overdue_and_is_counted(sound):
    for call in "ab":
        kind(sound, sound.block(recordings=(recording(sound, call),)), "legal_claim", days=300)
    sound.set_clock(NOW + timedelta(days=190))

    found = answers(sound)

    assert found["retention"].verdict == Verdict.kept
    assert found["holds"].figure == "2 legal grounds, 2 recordings kept longer"


def test_a_longer_term_in_the_rows_does_not_make_the_promise_longer(sound):
    sound.sql.execute("update recording set retention_months = 60")

    first = answer(sound, "retention")
    sound.set_clock(NOW + timedelta(days=190))
    later = answer(sound, "retention")

    assert (first.verdict, first.figure) == (Verdict.broken, "2 with a longer term")
    assert (later.verdict, later.figure) == (Verdict.broken, "2 overdue")


def test_what_was_blocked_when_a_night_last_looked_is_overdue_all_the_same(sound):
    """Nights that do not happen must not make it invisible: the journal still says "blocked" though the hold has ended."""
    sound.go_live()
    blocker = sound.block(recordings=(recording(sound),))
    sound.set_clock(NOW + timedelta(days=183))
    sound.sweep()
    sound.sql.execute("update blocker set ended_at = callkeeper_now() where blocker = %s", (blocker,))
    sound.sql.execute("delete from deletion where state <> 'blocked'")
    sound.sql.execute(
        "alter table recording disable trigger user; delete from recording where controller = 'phm'; alter table recording enable trigger user"
    )
    sound.set_clock(NOW + timedelta(days=186))

    found = answer(sound, "retention")

    assert sound.rows("select state from deletion") == [("blocked",)]
    assert (found.verdict, found.figure) == (Verdict.broken, "1 overdue")


def test_what_the_journal_alone_knows_is_overdue_too(sound):
    sound.sql.execute(
        "insert into deletion (recording, vendor, trigger, state, due_at, object_key, version_id, trouble) values "
        "(gen_random_uuid(), 'linna', 'quarantine_rejected', 'needs_human', callkeeper_now() - interval '49 hours', 'rec/x', 'v', 'store_refused')"
    )

    found = answer(sound, "retention")

    assert (found.verdict, found.figure) == (Verdict.broken, "1 overdue")


def test_quarantined_audio_is_overdue_too(sound):
    deliver(sound.linna, DAY, [Call(id="long", start=at(10), ms=3100)], seq=2)
    sound.run("again")
    sound.go_live()
    sound.set_clock(NOW + timedelta(days=190))
    sound.sql.execute("delete from staging; update recording set started_at = callkeeper_now()")

    found = answer(sound, "retention")

    assert sound.value("select count(*) from quarantine where version_id is not null") == 1
    assert (found.verdict, found.figure) == (Verdict.broken, "1 overdue")


def test_a_comparison_that_is_a_day_old_is_no_evidence(sound):
    sound.later(hours=31, minutes=30)

    found = answer(sound, "copies")

    assert (found.verdict, found.figure) == (Verdict.broken, "31 hours old")


def test_whatever_makes_the_reconciliation_red_is_told_in_its_words(sound):
    with sound.connect() as conn:
        number = reconciling.begin(conn, "half")
        reconciling.compare_store(conn, number, sound.app.store, ACTOR)
        reconciling.balance(conn, "half", ACTOR)

    found = answer(sound, "copies")

    assert (found.verdict, found.figure) == (Verdict.broken, "2 objects, 3 findings")
    assert "3 parts that were not compared" in found.says


def test_recordings_that_were_never_compared_with_the_store_are_not_kept(sound):
    sound.sql.execute("delete from reconciliation")

    first = answer(sound, "copies").verdict
    sound.later(hours=31)
    later = answer(sound, "copies").verdict

    assert (first, later) == (Verdict.not_yet, Verdict.broken)


@pytest.mark.parametrize(
    ("purpose", "account", "verdict"),
    [
        ("quality", "listener", "kept"),
        ("quality", "officer", "kept"),
        ("quality", "data", "broken"),
        ("authority", "officer", "kept"),
        ("authority", "listener", "broken"),
        ("", "officer", "broken"),
    ],
)
def test_an_opening_is_judged_by_its_purpose_and_by_who_opened(sound, purpose, account, verdict):
    sound.sql.execute(
        'update config_version set body = replace(body, \'"listeners": []\', \'"listeners": ["listener"]\')'
    )
    opening(sound, account, purpose)

    assert answer(sound, "purposes").verdict == verdict


@pytest.mark.parametrize("only", [{"told": False}, {"row": False}])
def test_an_opening_stands_in_the_register_and_in_the_trail(sound, only):
    opening(sound, "officer", "authority")
    whole = answer(sound, "purposes").verdict
    opening(sound, "officer", "authority", **only)

    found = answer(sound, "purposes")

    assert (whole, found.verdict) == (Verdict.kept, Verdict.broken)
    assert "1 opening are in the register or in the trail only" in found.says


def test_an_opening_for_a_request_names_it(sound):
    opening(sound, "officer", "subject_request")

    assert answer(sound, "purposes").verdict == Verdict.broken
    sound.sql.execute("update opening set ticket = %s", (request(sound, received_on=DAY),))
    assert answer(sound, "purposes").verdict == Verdict.kept


def test_a_wrong_opening_is_told_for_a_week_and_not_for_years(sound):
    opening(sound, "officer", "curiosity")
    sound.later(days=9)

    assert answer(sound, "purposes").verdict == Verdict.not_yet


def disclosed(office: Installation, *, untold: bool = False, second: str = "approver") -> str:
    """A recording that was handed to the police, by two people."""
    app = office.app
    with office.connect() as conn:
        disclosure = disclosing.draft(
            conn, app.keyring, recipient_kind="authority", recipient="police", purpose="authority", statute="Pakkokeinolaki 8:23",
            reference="R", recordings=[recording(office)], untold=untold, years=3, account="officer", actor=OFFICER,
        )  # fmt: skip
        disclosing.ask(conn, disclosure, account="officer", actor=OFFICER)
        disclosing.approve(conn, disclosure, account=second, actor=replace(OFFICER, account=second))
        disclosing.make(conn, app, disclosure, account=second, actor=replace(OFFICER, account=second))
        disclosing.hand_over(conn, disclosure, "courier", years=3, account="officer", actor=OFFICER)
    return disclosure


@pytest.mark.parametrize(
    "change",
    [
        "update disclosure set sealed_facts = null",
        "delete from decision where action = 'disclose_approve'",
        "update decision set account = 'officer' where subject like 'DIS-%'",
        "update decision set scope = 'x' where action = 'disclose_ask'",
        "update disclosure set state = 'approved', handed_over_at = null, channel = null",
    ],
)
def test_a_disclosure_needs_its_reference_two_people_and_a_row_beside_its_event(sound, change):
    disclosed(sound)
    whole = answer(sound, "disclosures").verdict
    sound.sql.execute(change)

    assert (whole, answer(sound, "disclosures").verdict) == (Verdict.kept, Verdict.broken)


def test_what_the_law_forbids_to_tell_is_in_no_figure(sound):
    disclosed(sound, untold=True)
    assert answer(sound, "disclosures").verdict == Verdict.not_yet
    disclosed(sound)
    assert answer(sound, "disclosures").figure == "1 disclosure"


def test_a_disclosures_second_person_opens_what_two_people_said_yes_to_and_nothing_else(sound):
    disclosed(sound)
    assert answer(sound, "purposes").verdict == Verdict.kept
    opening(sound, "approver", "security")
    assert answer(sound, "purposes").verdict == Verdict.broken


@pytest.mark.parametrize(
    ("way", "undo"),
    [
        ("alter table controller add column asiakas_id text", "alter table controller drop column asiakas_id"),
        ("create schema other; create table other.people (n integer)", "drop schema other cascade"),
        ("create publication all_of_it for table recording", "drop publication all_of_it"),
    ],
)
def test_any_way_to_another_register_is_seen(sound, way, undo):
    sound.sql.execute(way)
    try:
        assert answer(sound, "customer_register").verdict == Verdict.broken
    finally:
        sound.sql.execute(undo)


def test_a_column_that_the_tasks_role_cannot_read_is_seen_all_the_same(sound):
    """Why the system's catalogue is asked: information_schema leaves out what a role has no right on."""
    sound.sql.execute("create table voiceprint (recording uuid); revoke all on voiceprint from callkeeper_app")
    try:
        found = answer(sound, "columns")
    finally:
        sound.sql.execute("drop table voiceprint")

    assert (found.verdict, "voiceprint" in found.says) == (Verdict.broken, True)


def test_rights_of_the_other_roles_are_looked_at_too(sound):
    sound.sql.execute("grant delete on event to callkeeper_auditor")
    try:
        found = answer(sound, "database_rights")
    finally:
        sound.sql.execute("revoke delete on event from callkeeper_auditor")

    assert "callkeeper_auditor: DELETE on event" in found.says


def test_a_part_of_the_trail_without_its_trigger_is_seen(sound):
    part = sound.value("select relid::regclass::text from pg_partition_tree('event') where isleaf limit 1")
    sound.sql.execute(f"alter table {part} disable trigger no_change")
    try:
        found = answer(sound, "database_rights")
    finally:
        sound.sql.execute(f"alter table {part} enable always trigger no_change")

    assert (found.verdict, part in found.says) == (Verdict.broken, True)


@pytest.mark.parametrize(
    "statement",
    [
        "update recording set pseudonym = '+358401234501'",
        "update recording set pseudonym_key = 'another'",
        "update recording set caller_state = 'withheld'",
        "update recording set object_key = 'rec/2027-05-25/0401234501'",
        "update recording set direction = 'outbound'",
        "update key set retired_at = callkeeper_now() where purpose = 'pseudonym'",
    ],
)
def test_a_number_that_is_not_hidden_is_seen(sound, statement):
    retired = sound.value("select retired_at from key where purpose = 'pseudonym'")
    sound.sql.execute(statement)
    try:
        assert answer(sound, "numbers").verdict == Verdict.broken
    finally:
        sound.sql.execute("update key set retired_at = %s where purpose = 'pseudonym'", (retired,))


def test_the_bucket_is_where_the_store_says_that_it_is(sound):
    class Elsewhere:
        def region(self):
            return "us-east-1"

    vars(sound.app)["store"] = Elsewhere()

    found = answer(sound, "regions")

    assert (found.verdict, "the bucket, by the store's own word: us-east-1" in found.says) == (Verdict.broken, True)


@pytest.mark.parametrize("column", ["remote_support", "regions"])
def test_support_from_outside_is_a_transfer_too(sound, column):
    sound.sql.execute(f"update processor set {column} = '{{FI,IN}}'")

    assert answer(sound, "regions").verdict == Verdict.broken


def test_a_vendor_without_a_contract_is_no_kept_promise(sound):
    sound.sql.execute("update processor set removed_at = callkeeper_now()")

    found = answer(sound, "processors")

    assert (found.verdict, "linna" in found.says) == (Verdict.broken, True)


def test_a_request_is_in_time_until_its_due_day_is_over(sound):
    request(sound, received_on=date(2026, 10, 25))
    in_time = answer(sound, "requests")
    late = request(sound, received_on=date(2026, 10, 24))  # due on 2026-11-24, yesterday at NOW
    found = answer(sound, "requests")
    sound.sql.execute(
        "update ticket set extended_to = '2027-01-25', extension_reason = 'complexity' where ticket = %s", (late,)
    )
    untold = answer(sound, "requests")
    sound.sql.execute(
        "insert into ticket_delivery (ticket, kind, at, account, channel) values (%s, 'extension', '2026-11-24T20:00Z', 'officer', 'letter')",
        (late,),
    )
    extended = answer(sound, "requests")

    assert (in_time.verdict, found.verdict, extended.verdict) == (Verdict.kept, Verdict.broken, Verdict.kept)
    assert "Of 1 an extension was not told" in untold.says


def test_a_request_that_was_answered_late_is_told_for_a_week(sound):
    late = request(sound, received_on=date(2026, 10, 24))  # due on 2026-11-24, yesterday at NOW
    sound.sql.execute(
        "update ticket set state = 'closed', outcome = 'fulfilled', closed_at = callkeeper_now(), erase_on = '2029-11-25' where ticket = %s",
        (late,),
    )

    assert answer(sound, "requests").verdict == Verdict.broken
    sound.later(days=9)
    assert answer(sound, "requests").verdict == Verdict.not_yet


@pytest.mark.parametrize("right", [Right.objection, Right.restriction])
def test_what_is_objected_to_is_frozen_until_somebody_decides(sound, right):
    request(sound, received_on=DAY, right=right)
    frozen = answer(sound, "objections").verdict
    sound.sql.execute("update blocker set ended_at = callkeeper_now()")

    assert (frozen, answer(sound, "objections").verdict) == (Verdict.kept, Verdict.broken)


def test_an_answer_that_gives_less_was_printed_here_with_the_complaint_right(sound):
    ticket = request(sound, received_on=DAY)
    with sound.connect() as conn:
        refusal = {"reasons": "as told", "account": "officer", "actor": OFFICER}
        fulfilling.refuse(conn, sound.app.keyring, ticket, "excessive", **refusal)
    delivered(sound, ticket)
    unseen = answer(sound, "complaint")
    with sound.connect() as conn:
        answering.write(conn, sound.app, ticket, "refused", actor=OFFICER)

    assert (unseen.verdict, unseen.figure) == (Verdict.broken, "1 of 1 answer not shown")
    assert answer(sound, "complaint").verdict == Verdict.kept


def test_a_hold_that_nobody_ratified_is_late_after_three_days(sound):
    blocker = sound.block(recordings=(recording(sound),))
    kind(sound, blocker, "investigation", days=60)
    sound.sql.execute(
        "insert into hold (case_ref, kind, sealed_facts, drafted_by, placed_by, placed_at, effective_at, review_on, blocker) "
        "values ('H-2026-0001', 'investigation', 'x', 'officer', 'officer', callkeeper_now(), callkeeper_now(), '2027-01-01', %s)",
        (blocker,),
    )
    try:
        fresh = answer(sound, "holds").verdict
        sound.later(days=holding.RATIFY_DAYS, hours=1)
        late = answer(sound, "holds")
    finally:
        sound.sql.execute("delete from hold")

    assert (fresh, late.verdict) == (Verdict.kept, Verdict.broken)


@pytest.mark.parametrize(
    ("checkpoints", "verdict"),
    [
        ([], "not_yet"),
        ([seal(hours=0)], "kept"),
        ([seal(hours=0, anchored=False)], "broken"),
        ([seal(hours=1), seal(hours=0, anchored=False)], "kept"),
        ([seal(hours=3), seal(hours=0, anchored=False)], "broken"),
        ([seal(hours=3)], "broken"),
    ],
)
def test_the_trail_is_sealed_and_anchored_within_two_hours(sound, checkpoints, verdict):
    try:
        for checkpoint in checkpoints:
            sound.sql.execute(checkpoint)
        assert answer(sound, "trail").verdict == verdict
    finally:
        unseal(sound)


def test_what_the_sealer_has_signed_and_anchored_is_evidence(sound, seaweed):
    seaweed.make_bucket(bucket := f"anchor-{uuid4().hex}")
    sound.begin_trail(bucket, *seaweed.credentials("admin"))
    try:
        trail.seal(sound)
        found = answer(sound, "trail")
    finally:
        unseal(sound)

    assert (found.verdict, "stands outside the database" in found.says) == (Verdict.kept, True)


def test_a_trail_that_is_never_sealed_is_no_kept_promise(sound):
    sound.later(hours=3)

    assert answer(sound, "trail").verdict == Verdict.broken


# --- backups ----------------------------------------------------------------------------------------------------------


def backup(office: Installation, *, days: int) -> None:
    """A backup of so many days ago lies where backups lie."""
    folder = office.folder / "backups"
    folder.mkdir(exist_ok=True)
    file = folder / f"{days}.dump"
    file.write_bytes(b"x")
    then = time.time() - days * 86400 - 60
    os.utime(file, (then, then))
    office.change_settings(backups_location=str(folder))


def test_the_oldest_backup_is_what_counts(sound):
    backup(sound, days=1)
    backup(sound, days=29)
    young = answer(sound, "backups")
    backup(sound, days=31)
    old = answer(sound, "backups")

    assert (young.verdict, young.figure) == (Verdict.kept, "2 backups, the oldest 29 days")
    assert (old.verdict, old.figure) == (Verdict.broken, "3 backups, the oldest 31 days")


def test_backups_in_a_bucket_are_looked_at_as_well(sound, seaweed):
    import hashlib
    import io

    body = b"x"
    sha256 = hashlib.sha256(body).digest()
    sound.app.store.put("doctor/a.dump", io.BytesIO(body), sha256=sha256, size_bytes=1, content_type="text/plain")
    access, secret = seaweed.credentials("importer")
    secrets = sound.settings.secrets_dir
    secrets.mkdir(exist_ok=True)
    options = {"key": access, "secret": secret, "client_kwargs": {"endpoint_url": seaweed.endpoint}}
    (secrets / "backups.json").write_text(json.dumps(options))
    try:
        sound.change_settings(backups_location=f"s3://{sound.settings.store_bucket}/doctor")
        found = answer(sound, "backups")
    finally:
        (secrets / "backups.json").unlink()

    assert found.verdict == Verdict.kept
    assert found.figure.endswith("the oldest 0 days")


def test_a_place_of_backups_that_is_not_there_is_no_kept_promise(sound):
    sound.change_settings(backups_location=str(sound.folder / "not mounted"))

    found = answer(sound, "backups")

    assert (found.verdict, "is not there" in found.says) == (Verdict.unknown, True)


# --- what cannot be checked -------------------------------------------------------------------------------------------


@contextmanager
def store_down(office: Installation):
    class Down:
        def region(self):
            raise StoreUnavailable("The object store does not answer.", mend="Look whether it runs.")

        def put(self, *_, **__):
            raise StoreUnavailable("The object store does not answer.", mend="Look whether it runs.")

    store = office.app.store
    vars(office.app)["store"] = Down()
    yield
    vars(office.app)["store"] = store


def test_a_store_that_is_down_makes_its_promises_unknown_and_no_others(sound):
    before = answers(sound)
    with store_down(sound):
        found = answers(sound)

    assert {promise for promise in PROMISES if found[promise] != before[promise]} == {"regions"}
    assert found["regions"].verdict == Verdict.unknown
    assert found["regions"].says == (
        "This could not be checked, and so it does not count as kept. The object store does not answer."
    )


def test_a_database_that_is_down_keeps_nothing(sound):
    sound.change_settings(db_port=1)

    proof = prove(sound)

    assert proof.count("unknown") == len(PROMISES)
    assert "did not answer" in proof.answers[0].answer.says


def test_a_statement_that_fails_spoils_no_other_check(sound):
    sound.sql.execute("revoke select on reconciliation from callkeeper_app")
    try:
        found = answers(sound)
    finally:
        sound.sql.execute("grant select on reconciliation to callkeeper_app")

    assert {promise for promise, a in found.items() if a.red} == {"copies"}
    assert found["copies"].verdict == Verdict.unknown


def test_a_check_that_fails_tells_its_kind_and_not_its_words(sound, monkeypatch):
    def faulty(*_):
        raise KeyError("0401234501")

    monkeypatch.setitem(proving.CHECKS, "lines_of_recordings", faulty)

    found = answer(sound, "lines")

    assert (found.verdict, "KeyError" in found.says, "0401234501" in found.says) == (Verdict.unknown, True, False)


def test_a_check_that_hangs_is_one_that_could_not_be_made(sound, monkeypatch):
    def hangs(look, _):
        look.conn.execute("select pg_sleep(60)")

    monkeypatch.setitem(proving.CHECKS, "lines_of_recordings", hangs)
    monkeypatch.setattr(proving, "CHECK_SECONDS", 1)

    found = answers(sound)

    assert {promise for promise, a in found.items() if a.red} == {"lines"}


def test_a_check_cannot_change_anything(sound, monkeypatch):
    def changes(look, _):
        look.conn.execute("update recording set codec = 'another'")
        look.conn.commit()

    monkeypatch.setitem(proving.CHECKS, "lines_of_recordings", changes)

    assert answer(sound, "lines").verdict == Verdict.unknown
    assert sound.value("select count(*) from recording where codec = 'another'") == 0


def test_before_a_configuration_is_in_force_nothing_is_kept_that_needs_one(sound):
    sound.sql.execute("truncate config_version cascade")

    found = answers(sound)

    assert found["access"].verdict == found["regions"].verdict == Verdict.unknown


# --- what it never tells ----------------------------------------------------------------------------------------------


def outputs(office: Installation) -> dict[str, str]:
    proof = prove(office)
    mail = proving.message(proof, link="https://example.fi/runbook")
    shown = CliRunner().invoke(command, ["--quotes"])
    return {
        "json": proving.as_json(proof).decode(),
        "html": proving.as_html(proof).decode(),
        "mail": mail.subject + mail.text,
        "note": proving.note(proof),
        "terminal": shown.output,
    }


def test_no_number_person_recording_or_key_comes_out(sound, broken):
    event(sound, "opening", "riitta.listener", purpose="curiosity")
    for promise in ("numbers", "lines", "holds", "requests", "no_return", "copies", "disclosures"):
        broken(promise)
    secrets = {"riitta.listener", "401234501", "K-1", 'officer"'}
    rows = sound.rows("select recording, object_key, version_id, pseudonym, identity, sha256 from recording")
    for row in rows:
        secrets |= {v.hex() if isinstance(v, bytes | memoryview) else str(v) for v in row}
    assert len(secrets) == 4 + 2 * 4 + 2  # one caller, one audio

    leaks = {(where, secret) for where, text in outputs(sound).items() for secret in secrets if secret in text}

    assert leaks == set()


def test_a_preservation_order_looks_like_any_hold(sound):
    blocker = sound.block(recordings=(recording(sound),))
    told = []
    for of_kind in ("investigation", "authority_preservation", "legal_claim"):
        kind(sound, blocker, of_kind, days=0)
        told.append({where: re.sub(r"\d\d:\d\d", "", text) for where, text in outputs(sound).items()})
        told[-1].pop("json")  # it has the second of asking
        told[-1]["answer"] = str(answer(sound, "holds"))

    assert told[0] == told[1] == told[2]
    assert "preservation" not in str(told)


# --- kept in the store, told in the trail, and by mail ----------------------------------------------------------------


@dataclass
class Morning:
    """``morning(run)`` is the DAG's task; ``mails`` went out, ``notes`` were set."""

    office: Installation
    mails: list[tuple[str, Message]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def send(self, message, *, to=""):
        self.mails.append((to, message))

    def __call__(self, run):
        from types import SimpleNamespace

        from callkeeper import connections

        vars(self.office.app)["notifier"] = self
        ti = SimpleNamespace(dag_id="prove_notice", run_id=run, task_id="prove", try_number=1)
        return connections.prove_notice(self.office.app, {"ti": ti, "run_id": run})


@pytest.fixture
def morning(sound, monkeypatch) -> Morning:
    from callkeeper import connections

    made = Morning(sound)
    monkeypatch.setattr(connections, "note_run", lambda opened, dag, run, note: made.notes.append(note))
    sound.change_settings(smtp_host="mail.example", mail_privacy="officer@x")
    return made


def stored(office: Installation) -> dict[str, bytes]:
    found = {}
    for version in office.app.store.versions("reports/notice/"):
        with office.app.store.open(version.key, version.version_id) as body:
            found[version.key] = body.read()
    return found


def test_a_good_morning_is_kept_and_told_and_nobody_is_mailed(sound, morning):
    counts = morning("calm")

    assert counts == {"kept": len(KEPT), "broken": 0, "unknown": 0, "not_yet": len(PROMISES) - len(KEPT)}
    assert morning.mails == []
    assert morning.notes[-1].startswith("**2026-11-25: kept**")
    (told,) = sound.events("notice.proven")
    assert (told["counts"], told["broken"], told["notice"]) == (counts, [], "2023-09-12")


def test_the_event_has_the_hash_of_what_stands_in_the_store(sound, morning):
    import hashlib

    morning("calm")

    files = stored(sound)
    (told,) = sound.events("notice.proven")
    assert sorted(files) == ["reports/notice/2026-11-25/proof.html", "reports/notice/2026-11-25/proof.json"]
    assert hashlib.sha256(files["reports/notice/2026-11-25/proof.json"]).hexdigest() == told["digest"]


def test_a_second_proof_of_a_day_takes_the_next_name_and_the_first_one_stays(sound, morning):
    morning("first")
    first = stored(sound)
    morning("second")

    assert sorted(set(stored(sound)) - set(first)) == [
        "reports/notice/2026-11-25/proof-2.html",
        "reports/notice/2026-11-25/proof-2.json",
    ]
    assert {key: stored(sound)[key] for key in first} == first


def test_a_broken_promise_is_a_red_run_and_a_mail_to_the_officer_and_the_data_team(sound, morning, broken):
    broken("lines")

    with pytest.raises(NotBalanced, match="1 promises need somebody"):
        morning("red")

    assert [to for to, _ in morning.mails] == ["", "officer@x"]
    assert "Only the designated service numbers: broken (1 of 2 recordings undesignated)" in morning.mails[0][1].text
    assert "ALARM" in morning.notes[-1]
    assert sound.events("notice.proven")[-1]["broken"] == ["lines"]


def test_a_store_that_is_down_is_red_and_told_without_it(sound, morning):
    with store_down(sound), pytest.raises(NotBalanced):
        morning("down")

    (told,) = sound.events("notice.proven")
    assert (told["unknown"], "digest" in told) == (["regions"], False)
    assert len(morning.mails) == 2


def test_a_database_that_is_down_is_told_by_mail_all_the_same(sound, morning):
    sound.change_settings(db_port=1)
    with pytest.raises(NotBalanced, match=f"{len(PROMISES)} promises"):
        morning("down")

    assert len(morning.mails) == 2


# --- on the command line ----------------------------------------------------------------------------------------------


def test_the_command_line_says_each_promise_and_writes_the_page_and_leaves_no_trace(sound, tmp_path):
    page = tmp_path / "proof.html"

    shown = CliRunner().invoke(command, ["--html", str(page), "--quotes"], catch_exceptions=False)

    assert shown.exit_code == 0, shown.output
    assert all(p.title in shown.output for p in PROMISES.values())
    assert "Emme siirrä henkilötietoja EU:n tai ETA:n ulkopuolelle." in shown.output
    assert "<title>The notice, 2026-11-25</title>" in page.read_text()
    assert sound.events("notice.proven") == []
    assert stored(sound) == {}


def test_the_proof_of_a_day_comes_from_the_store_as_the_trail_knows_it(sound, morning, tmp_path):
    morning("first")
    sound.sql.execute("update controller set balancing_test = '' where controller = 'phm'")
    with pytest.raises(NotBalanced):
        morning("second")
    page = tmp_path / "proof.html"

    shown = CliRunner().invoke(command, ["--day", "2026-11-25", "--json", "--html", str(page)], catch_exceptions=False)

    assert shown.exit_code == 1
    assert shown.output.encode() == stored(sound)["reports/notice/2026-11-25/proof-2.json"]
    assert page.read_bytes() == stored(sound)["reports/notice/2026-11-25/proof-2.html"]


def test_a_proof_that_the_trail_does_not_know_is_not_handed_out(sound, morning):
    """Whoever may write into the store could put a better one there."""
    import io
    from hashlib import sha256

    morning("true")
    better = stored(sound)["reports/notice/2026-11-25/proof.json"].replace(b'"run":"true"', b'"run":"fine"')
    where = {"sha256": sha256(better).digest(), "size_bytes": len(better), "content_type": "application/json"}
    sound.app.store.put("reports/notice/2026-11-25/proof-2.json", io.BytesIO(better), **where)

    with sound.connect() as conn, pytest.raises(StoreConflict, match="not one that the trail knows"):
        proving.recall(conn, sound.app.store, DAY + timedelta(1))


def test_a_day_without_a_proof_says_so(sound):
    with sound.connect() as conn, pytest.raises(NotFound, match="2026-11-24"):
        proving.recall(conn, sound.app.store, DAY)


def test_the_command_line_fails_where_a_promise_is_broken(sound, broken):
    broken("lines")

    shown = CliRunner().invoke(command, ["--json"], catch_exceptions=False)

    assert shown.exit_code == 1
    assert json.loads(shown.output)["counts"]["broken"] == 1
