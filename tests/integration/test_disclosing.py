"""Disclosures: to whom the law or the notice allows, by two people, encrypted, and answered for."""

from __future__ import annotations

import csv
import hmac
import io
import json
import re
import struct
import zlib
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import pbkdf2_hmac, sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import asking
from callkeeper import controllers, disclosures
from callkeeper.commands import disclosure as command
from callkeeper.errors import NotAllowed, NotFound, StoreConflict
from callkeeper.jobs import disclosing, fulfilling, holding
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.tickets import Right
from deliver import PHM, Call, deliver
from installation import ACTOR, DAY, NOW, OFFICER, Installation, at

CALLER = "+358409990001"
LATER = datetime(2027, 5, 26, 0, 30, tzinfo=UTC)
"""The night in which the calls of DAY are past their term."""
PEOPLE = ('approvers = ["approver"]', 'deputies = ["deputy"]\napprovers = ["approver"]')
STORED = ('other_party = "pseudonym"', 'other_party = "store"')
AUTHORITY, CASE = "Helsingin poliisilaitos", "5530/R/1/26"
DEMAND = {
    "recipient_kind": "authority",
    "recipient": AUTHORITY,
    "purpose": "authority",
    "statute": "Pakkokeinolaki 8:23",
    "reference": CASE,
}
GROUP = {"recipient_kind": "group_company", "recipient": "phm", "purpose": "quality"}


@pytest.fixture
def kept(office: Installation) -> Installation:
    """Two calls of Punavaara's, one of the other company's."""
    office.configure(PEOPLE)
    calls = [
        Call(id="a", start=at(8), caller=CALLER),
        Call(id="b", start=at(9), caller=CALLER),
        Call(id="c", start=at(10), caller=CALLER, line=PHM),
    ]
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


def recordings(office: Installation, controller: str = "punavaara") -> list[UUID]:
    rows = office.rows("select recording from recording where controller = %s order by started_at", controller)
    return [row.recording for row in rows]


def draft(office: Installation, facts: dict[str, Any] = DEMAND, **more: Any) -> str:
    with office.connect() as conn:
        named = more if {"case", "recordings"} & more.keys() else {"recordings": recordings(office)} | more
        return disclosing.draft(
            conn, office.app.keyring, years=3, account="officer", actor=OFFICER, **{**facts, **named}
        )


def act(
    office: Installation, disclosure: str, action: Any, account: str = "officer", **more: Any
) -> disclosing.Outcome:
    run = more.pop("run", None)
    with office.connect() as conn:
        return disclosing.act(
            conn, office.app, disclosure, action, account=account, duties=controllers.duties(conn, office.app.config, account),
            actor=replace(ACTOR, account=account, run=run), **more,
        )  # fmt: skip


def made(office: Installation, facts: dict[str, Any] = DEMAND, *, second: str = "deputy", **more: Any) -> str:
    disclosure = draft(office, facts, **more)
    act(office, disclosure, "ask")
    act(office, disclosure, "approve", second)
    return disclosure


def handed_over(office: Installation, facts: dict[str, Any] = DEMAND, **more: Any) -> str:
    disclosure = made(office, facts, **more)
    act(office, disclosure, "hand_over", channel="in_person")
    return disclosure


def shown(office: Installation, disclosure: str, *, officer: bool = True) -> disclosing.Disclosure:
    with office.connect() as conn:
        return disclosing.show(conn, disclosure, officer=officer)


def given(office: Installation, *, officer: bool = False) -> list[disclosing.Given]:
    with office.connect() as conn:
        return disclosing.of_recordings(conn, recordings(office), officer=officer, keyring=office.app.keyring)


def package(office: Installation, disclosure: str) -> tuple[bytes, str]:
    with office.connect() as conn:
        with disclosing.open_package(conn, office.app, disclosure, OFFICER) as body:
            whole = body.read()
        return whole, disclosing.passphrase(conn, office.app.keyring, disclosure, OFFICER)


def unzipped(whole: bytes, passphrase: str) -> dict[str, bytes]:
    """What an AES zip holds, by its central directory (APPNOTE 4.3.12, WinZip's AE-2): none of it by the library that wrote it."""
    found: dict[str, bytes] = {}
    end = whole.rindex(b"PK\x05\x06")
    n, _, place = struct.unpack_from("<HII", whole, end + 10)
    for _ in range(n):
        flags, method, size, names, extras, comments = struct.unpack_from("<8xHH8xI4xHHH", whole, place)
        assert (flags & 1, method) == (1, 99), "each file is encrypted, by AES"
        (local,) = struct.unpack_from("<I", whole, place + 42)
        name = whole[place + 46 : place + 46 + names].decode()
        extra = whole[place + 46 + names : place + 46 + names + extras]
        aes = extra[extra.index(b"\x01\x99") :]
        assert aes[8] == 3, "AES-256"
        (really,) = struct.unpack_from("<H", aes, 9)
        local_names, local_extras = struct.unpack_from("<HH", whole, local + 26)
        start = local + 30 + local_names + local_extras
        body = whole[start : start + size]
        salt, check, sealed, mac = body[:16], body[16:18], body[18:-10], body[-10:]
        keys = pbkdf2_hmac("sha1", passphrase.encode(), salt, 1000, 66)
        if keys[64:] != check or hmac.digest(keys[32:64], sealed, "sha1")[:10] != mac:
            raise ValueError("the passphrase does not open it")
        plain = b"".join(
            bytes(a ^ b for a, b in zip(sealed[i : i + 16], _block(keys[:32], i // 16 + 1), strict=False))
            for i in range(0, len(sealed), 16)
        )
        found[name] = zlib.decompress(plain, -15) if really == 8 else plain
        place += 46 + names + extras + comments
    return found


def _block(key: bytes, counter: int) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  # AES-CTR with a little-endian counter, as WinZip has it
    return encryptor.update(counter.to_bytes(16, "little"))


# --- to whom, for what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lacks", ["recipient", "statute", "reference"])
def test_an_authority_needs_its_name_the_law_and_its_reference(kept, lacks):
    with pytest.raises(NotAllowed, match="its name, the law, and the reference"):
        draft(kept, DEMAND | {lacks: " " if lacks == "recipient" else None})


@pytest.mark.parametrize("purpose", ["subject_request", "marketing", "authority"])
def test_a_company_of_the_group_is_given_recordings_for_the_notices_purposes_only(kept, purpose):
    with pytest.raises(NotAllowed, match="customer_care, quality, verification, training"):
        draft(kept, GROUP | {"purpose": purpose})


def test_a_law_is_a_name_with_a_section_and_no_number_of_a_case_or_of_a_person():
    for law in (
        "Pakkokeinolaki 8:23",
        "Poliisilaki 4:3",
        "Verotusmenettelylaki 19 §",
        "Laki oikeudenkäynnistä 7 § (370/2007)",
    ):
        assert disclosures.check_statute(law) == law
    for text in (
        "0401234567",
        "Matti Meikäläinen 010190-123A",
        "5530/R/1/26",
        "poliisi 0401234567",
        "Salainen laki",
        "",
    ):
        with pytest.raises(NotAllowed) as refused:
            disclosures.check_statute(text)
        assert not text or text not in str(refused.value)


def test_nothing_is_given_to_itself_and_nothing_that_is_not_there(kept):
    with pytest.raises(NotAllowed, match="2 are the recipient's own"):
        draft(kept, GROUP | {"recipient": "punavaara"})
    with pytest.raises(NotAllowed, match="1 are not in the catalogue"):
        draft(kept, recordings=[uuid4()])
    with pytest.raises(NotAllowed, match="needs its recordings"):
        draft(kept, recordings=[])


def hold(office: Installation) -> str:
    """A hold on the caller's calls, in force."""
    with office.connect() as conn:
        case_ref, _ = holding.draft(
            conn, office.app.keyring, kind="investigation", facts=holding.Facts(authority=AUTHORITY, reference=CASE),
            predicate=holding.Predicate(pseudonyms=holding.of_numbers(office.app.keyring, [CALLER]), controller="punavaara"),
            account="officer", actor=OFFICER, wide=True,
        )  # fmt: skip
        holding.place(conn, case_ref, "officer", OFFICER, office.app.holder)
    return case_ref


def test_what_is_closed_to_ordinary_use_is_given_to_no_company_and_a_hold_opens_it_to_an_authority(kept):
    case = hold(kept)

    with pytest.raises(NotAllowed, match="2 are closed to this use"):
        draft(kept, GROUP)
    kept.set_clock(LATER)
    disclosure = draft(kept, case=case)
    assert shown(kept, disclosure).recordings == 2


def test_what_is_past_its_term_and_held_by_nothing_is_given_to_nobody(kept):
    kept.set_clock(LATER)
    for facts in (DEMAND, GROUP):
        with pytest.raises(NotAllowed, match="2 are closed to this use"):
            draft(kept, facts)


def test_a_requests_recordings_are_a_scope_too(kept):
    with kept.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn, kept.app.keyring, right=Right.access, received_on=NOW.date(), channel="letter", language="fi",
            numbers=[CALLER], account="officer", actor=OFFICER,
        )  # fmt: skip
        fulfilling.prove_identity(
            conn,
            kept.app.keyring,
            ticket,
            evidence="strong",
            from_at=at(0),
            to_at=at(23),
            account="officer",
            actor=OFFICER,
        )
        fulfilling.preview(conn, kept.app.keyring, ticket, OFFICER)

    assert shown(kept, draft(kept, case=ticket)).recordings == 3
    with pytest.raises(NotFound, match="names no recording"):
        draft(kept, case="DSR-2026-0099")


def test_what_may_be_given_is_asked_of_all_recordings_at_once(kept):
    asked: list[Any] = []

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *arguments: Any, **more: Any) -> Any:
            asked.append(arguments)
            return super().execute(*arguments, **more)

    def questions(named: list[UUID]) -> int:
        with kept.connect() as conn:
            conn.cursor_factory = Counting
            asked.clear()
            disclosing._disclosable(conn, named, "authority", "authority", None)
        return len(asked)

    one, *others = recordings(kept)
    assert others
    assert questions([one, *others]) == questions([one]) == 1


# --- two people -------------------------------------------------------------------------------------------------------


def test_a_draft_gives_nothing_holds_nothing_and_says_so(kept):
    disclosure = draft(kept)

    assert act(kept, disclosure, "ask").text.endswith(disclosing.HOLDS_NOTHING)
    assert kept.value("select count(*) from blocker") == 0
    assert kept.value("select count(*) from package") == 0
    assert given(kept) == []


def test_the_second_person_is_never_the_first(kept):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")

    with pytest.raises(NotAllowed, match="the second person is another one"):
        act(kept, disclosure, "approve")
    with pytest.raises(psycopg.errors.CheckViolation):
        kept.sql.execute("update disclosure set approved_by = asked_by")


def test_approvers_say_the_second_yes_and_no_first_one(kept):
    disclosure = draft(kept)
    with pytest.raises(NotAllowed, match="may not do this"):
        act(kept, disclosure, "ask", "approver")
    for action in disclosing.ACTIONS:
        with pytest.raises(NotAllowed, match="may not do this"):
            act(kept, disclosure, action, "data", **({"channel": "courier"} if action == "hand_over" else {}))
    act(kept, disclosure, "ask")
    act(kept, disclosure, "approve", "approver")
    assert shown(kept, disclosure).state == "made"


def test_a_package_takes_two_yeses_as_rows_and_no_state_stands_for_them(kept):
    disclosure = draft(kept)
    kept.sql.execute("update disclosure set state = 'approved', asked_by = 'officer', approved_by = 'deputy'")

    with pytest.raises(NotAllowed, match="Nobody has said disclose_ask"):
        act(kept, disclosure, "make")
    assert kept.value("select count(*) from opening") == 0


@pytest.mark.parametrize(
    "change",
    [
        "update disclosure set statute = 'Poliisilaki 4:3'",
        "update disclosure set sealed_facts = 'x'",
        "insert into disclosure_recording select disclosure, (select recording from recording where controller = 'phm'), 'phm' from disclosure",
    ],
)
def test_a_yes_is_to_exactly_these_recordings_and_this_recipient(kept, change):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")
    kept.sql.execute(change)

    with pytest.raises(ScopeChanged):
        act(kept, disclosure, "approve", "deputy")


def test_a_run_that_is_cleared_asks_once_and_makes_once(kept):
    disclosure = draft(kept)
    for _ in range(2):
        assert act(kept, disclosure, "ask", run="manual__1").waits
    for _ in range(2):
        act(kept, disclosure, "approve", "deputy", run="manual__2")

    assert kept.value("select count(*) from decision where subject = %s", disclosure) == 2
    assert kept.value("select count(*) from package") == 1


def test_what_the_night_took_meanwhile_is_said_and_nothing_is_made(kept):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")
    kept.set_clock(LATER)

    with pytest.raises(NotAllowed, match=r"2 are closed to this use.*kept by a hold"):
        act(kept, disclosure, "approve", "deputy")


def test_what_was_restricted_after_its_package_was_made_is_not_handed_over(kept):
    disclosure = made(kept, GROUP)
    ticket = asking.agreed(kept, Right.restriction)
    asking.carry_out(kept, ticket)

    with pytest.raises(NotAllowed, match="Of 2 recordings 2 are closed to this use"):
        act(kept, disclosure, "hand_over", channel="in_person")
    assert shown(kept, disclosure).state == "made"
    assert given(kept) == []
    assert not [e for e in kept.events() if e["action"] == "recording.disclosed"]


def test_what_was_erased_after_its_package_was_made_is_not_handed_over(kept):
    kept.go_live()
    disclosure = made(kept)
    asking.carry_out(kept, asking.agreed(kept))
    kept.later(days=1)
    kept.sweep("tonight")
    assert recordings(kept) == []

    with pytest.raises(NotAllowed, match="Of 2 recordings 2 are not in the catalogue"):
        act(kept, disclosure, "hand_over", channel="in_person")
    assert shown(kept, disclosure).state == "made"


def test_a_hand_over_takes_two_yeses_as_rows_too(kept):
    disclosure = made(kept)
    kept.sql.execute("update decision set scope = '\\x00' where action = 'disclose_approve'")

    with pytest.raises(NotAllowed, match="Nobody has said disclose_approve"):
        act(kept, disclosure, "hand_over", channel="in_person")


# --- what the law forbids to tell -------------------------------------------------------------------------------------


def test_what_the_law_forbids_to_tell_is_there_for_officers_only(kept):
    disclosure = draft(kept, untold=True)
    act(kept, disclosure, "ask")

    with pytest.raises(NotFound, match="no such disclosure"):
        act(kept, disclosure, "approve", "approver")
    with pytest.raises(NotFound, match="no such disclosure"):
        act(kept, disclosure, "approve", "deputy", openly=True)
    with pytest.raises(NotFound, match="no such disclosure"):
        shown(kept, disclosure, officer=False)
    with kept.connect() as conn:
        assert disclosing.register(conn, officer=False) == []

    act(kept, disclosure, "approve", "deputy")
    act(kept, disclosure, "hand_over", channel="courier")
    assert given(kept) == []
    assert {g.disclosure for g in given(kept, officer=True)} == {disclosure}


def test_its_events_are_those_of_any_other(kept):
    handed_over(kept)
    told = _shapes(kept)
    kept.sql.execute("truncate disclosure, disclosure_recording, package, opening, ticket_delivery cascade")
    before = len(kept.events())
    handed_over(kept, untold=True)

    assert _shapes(kept, before) == told


def _shapes(office: Installation, first: int = 0) -> list[Any]:
    """Each event without what differs from one to the next: its action, its fields, and the words in them."""
    alike = {"at", "disclosure", "subject", "scope", "decision", "recording", "package"}
    return [
        {k: v for k, v in e.items() if k not in alike}
        for e in office.events()[first:]
        if "disclosure" in e or str(e.get("subject", "")).startswith("DIS-")
    ]


def test_once_it_may_be_told_it_is(kept):
    disclosure = handed_over(kept, untold=True)
    with kept.connect() as conn:
        disclosing.may_be_told(conn, disclosure, OFFICER)
    assert {g.disclosure for g in given(kept)} == {disclosure}


# --- the package ------------------------------------------------------------------------------------------------------


def test_the_package_is_encrypted_and_holds_the_audio_its_metadata_sums_and_a_receipt(office):
    office.configure(PEOPLE, STORED)
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER), Call(id="b", start=at(9), caller=None)])
    office.run("import")
    disclosure = made(office)
    whole, passphrase = package(office, disclosure)
    files = unzipped(whole, passphrase)

    stored = {r.recording: r for r in office.rows("select recording, object_key, version_id, sha256 from recording")}
    audio = {name: body for name, body in files.items() if name.startswith("audio/")}
    assert {UUID(name[11:47]): sha256(body).digest() for name, body in audio.items()} == {
        recording: bytes(r.sha256) for recording, r in stored.items()
    }
    sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert {name: sha256(files[name]).hexdigest() for name in sums} == sums
    assert set(files) - set(sums) == {"SHA256SUMS", "receipt.txt"}
    told = json.loads(files["metadata.json"])
    assert [(r["number"], r["number_state"]) for r in told["recordings"]] == [(CALLER, "known"), (None, "withheld")]
    assert [row["number"] for row in csv.DictReader(io.StringIO(files["metadata.csv"].decode()))] == [f"'{CALLER}", ""]
    receipt = files["receipt.txt"].decode()
    assert all(
        fact in receipt
        for fact in (disclosure, AUTHORITY, CASE, "Pakkokeinolaki 8:23", *(s for s in sums.values() if s in receipt))
    )
    assert [r.sha256 for r in stored.values() if bytes(r.sha256).hex() not in receipt] == []
    assert not any(fact.encode() in whole for fact in (CALLER, AUTHORITY, CASE, "Pakkokeinolaki"))
    with pytest.raises(ValueError, match="does not open it"):
        unzipped(whole, passphrase[:-1])


def test_a_company_is_given_no_number(office):
    office.configure(PEOPLE, STORED)
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER)])
    office.run("import")
    files = unzipped(*package(office, made(office, GROUP)))

    assert [r["number"] for r in json.loads(files["metadata.json"])["recordings"]] == [None]
    assert "PHM Group Services Oy" in files["receipt.txt"].decode()
    assert not any(CALLER.encode() in body for body in files.values())


def test_each_copy_is_an_opening_before_a_byte_is_read(kept, monkeypatch):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")
    seen: list[int] = []
    real = kept.app.store.open

    def opened(*args: Any, **more: Any) -> Any:
        seen.append(kept.value("select count(*) from opening where purpose = 'authority' and disclosure is not null"))
        return real(*args, **more)

    monkeypatch.setattr(kept.app.store, "open", opened)
    act(kept, disclosure, "approve", "deputy")

    assert seen == [2, 2]
    opened_events = [e for e in kept.events() if e["action"] == "recording.opened"]
    assert {(e["purpose"], e["disclosure"], e["actor"]["account"]) for e in opened_events} == {
        ("authority", disclosure, "deputy")
    }
    assert len(opened_events) == 2


def test_a_copy_that_is_not_what_import_kept_stops_the_package(kept):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")
    kept.sql.execute("update recording set sha256 = '\\x00'")

    with pytest.raises(StoreConflict, match="not what import kept"):
        act(kept, disclosure, "approve", "deputy")
    assert shown(kept, disclosure).state == "approved"


def test_a_make_that_failed_is_made_again_and_what_it_left_goes(kept, monkeypatch):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")
    with monkeypatch.context() as broken:
        broken.setattr(kept.app.store, "put", lambda *a, **m: (_ for _ in ()).throw(StoreConflict("down")))
        with pytest.raises(StoreConflict):
            act(kept, disclosure, "approve", "deputy")
    act(kept, disclosure, "make")

    left = kept.rows(
        "select ended_at is not null as ended, parts @? '$[*].version' as whole from package order by ended"
    )
    assert [tuple(row) for row in left] == [(False, True), (True, False)]
    journal = kept.rows("select trigger, object_key like 'pkg/%' as ours from deletion")
    assert [tuple(row) for row in journal] == [("package_expired", True)]


def test_the_last_day_of_a_package_is_the_one_before_it_goes(desk, kept):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")
    said = act(kept, disclosure, "approve", "deputy").text
    # A package made on 25 November goes in the night that begins 25 December.
    assert kept.value("select expires_on from package") == date(2026, 12, 25)
    assert "kept until 24.12.2026" in said
    assert re.search(r"package until +2026-12-24$", desk("show", disclosure, "--as", "officer").output, re.MULTILINE)

    kept.set_clock(datetime(2026, 12, 24, 12, tzinfo=UTC))
    package(kept, disclosure)
    kept.set_clock(datetime(2026, 12, 25, 12, tzinfo=UTC))
    with pytest.raises(NotFound, match="no package"):
        package(kept, disclosure)


def test_an_expired_package_is_handed_to_nobody_and_made_again(kept):
    disclosure = made(kept)
    kept.later(days=30)

    with pytest.raises(NotAllowed, match="has expired"):
        act(kept, disclosure, "hand_over", channel="courier")
    act(kept, disclosure, "make")
    act(kept, disclosure, "hand_over", channel="courier")
    assert shown(kept, disclosure).state == "handed_over"


def test_what_is_withdrawn_leaves_no_package_and_what_was_handed_over_cannot_be(kept):
    disclosure = made(kept)
    act(kept, disclosure, "withdraw")
    with pytest.raises(NotFound, match="no package"):
        package(kept, disclosure)
    assert given(kept) == []

    other = handed_over(kept)
    with pytest.raises(NotAllowed, match="handed over cannot become withdrawn"):
        act(kept, other, "withdraw")


# --- what it answers --------------------------------------------------------------------------------------------------


def test_what_was_handed_over_is_answered_with_recipient_purpose_and_day(kept):
    to_police, to_group = handed_over(kept), handed_over(kept, GROUP)
    made(kept)

    assert [(g.disclosure, g.recipient, g.company, g.purpose, g.statute) for g in given(kept)] == [
        *[(to_police, AUTHORITY, None, "authority", "Pakkokeinolaki 8:23")] * 2,
        *[(to_group, "PHM Group Services Oy", "phm", "quality", None)] * 2,
    ]


def test_who_it_was_is_forgotten_after_its_term_and_that_it_was_stays(kept):
    disclosure = handed_over(kept)
    kept.later(days=3 * 366)
    with kept.connect() as conn:
        assert disclosing.forget_past_term(conn, ACTOR) == 1
        assert disclosing.forget_past_term(conn, ACTOR) == 0

    assert {(g.disclosure, g.recipient) for g in given(kept)} == {(disclosure, None)}
    assert kept.value("select sealed_facts from disclosure") is None


def test_of_a_draft_that_nobody_ends_the_facts_go_after_its_term_too(kept):
    disclosure = draft(kept)
    act(kept, disclosure, "ask")
    kept.later(days=3 * 366)
    with kept.connect() as conn:
        assert disclosing.forget_past_term(conn, ACTOR) == 1

    assert kept.value("select sealed_facts from disclosure") is None
    with pytest.raises(NotAllowed):
        act(kept, disclosure, "approve", "deputy")


def test_the_term_of_what_was_handed_over_counts_from_then(kept):
    disclosure = made(kept)
    kept.later(days=10)
    act(kept, disclosure, "hand_over", channel="in_person")

    assert kept.value("select erase_on = (helsinki_day(handed_over_at) + interval '3 years')::date from disclosure")


def test_names_references_and_numbers_are_in_no_event_and_no_row(kept):
    handed_over(kept)

    told = json.dumps(kept.events(), default=str)
    rows = str(kept.rows("select * from disclosure")) + str(kept.rows("select * from decision"))
    assert [fact for fact in (AUTHORITY, CASE, CALLER) if fact in told or fact in rows] == []


def test_each_look_at_what_is_sealed_is_an_event(kept):
    disclosure = made(kept)
    package(kept, disclosure)
    with kept.connect() as conn:
        facts = disclosing.look(conn, kept.app.keyring, disclosure, OFFICER)

    assert facts == disclosures.Facts(authority=AUTHORITY, reference=CASE)
    assert [e["what"] for e in kept.events() if e["action"] == "disclosure.seen"] == ["package", "passphrase", "facts"]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(kept, monkeypatch):
    """The command line, signed in as whoever is named."""
    monkeypatch.setattr("callkeeper.wiring.build", lambda _: kept.app)
    monkeypatch.setattr("callkeeper.settings.load", lambda: kept.settings)
    monkeypatch.setattr("callkeeper.commands.signin.sign_in", lambda app, account, roles: account)

    def asked(*arguments: str, given: str | None = None) -> Any:
        return CliRunner().invoke(command.group, [*arguments], input=given, catch_exceptions=False)

    return asked


def test_an_officer_drafts_shows_and_hands_over_by_the_command_line(desk, kept, tmp_path):
    which = [flag for r in recordings(kept) for flag in ("--recording", str(r))]
    said = desk("draft", *which, "--as", "officer", given=f"{AUTHORITY}\nPakkokeinolaki 8:23\n{CASE}\n").output
    disclosure = re.search(r"DIS-\d{4}-\d{4}", said).group()
    assert disclosing.HOLDS_NOTHING in said

    desk("ask", disclosure, "--as", "officer")
    assert "is made: 2 recordings" in desk("approve", disclosure, "--as", "deputy", given="y\n").output
    out = tmp_path / "package.zip"
    desk("package", disclosure, "--out", str(out), "--as", "officer")
    passphrase = desk("passphrase", disclosure, "--as", "officer").output.strip()
    assert "receipt.txt" in unzipped(out.read_bytes(), passphrase)
    desk("handed-over", disclosure, "--channel", "in_person", "--as", "officer")

    seen = desk("show", disclosure, "--as", "approver").output
    assert "an authority" in seen
    assert AUTHORITY not in seen
    assert AUTHORITY in desk("show", disclosure, "--clear", "--as", "officer").output
    listed = desk("list", "--json", "--as", "approver").output
    assert [d["state"] for d in json.loads(listed)] == ["handed_over"]
    assert "untold" not in listed


def test_facts_come_from_a_file_too_and_are_on_no_command_line(desk, kept, tmp_path):
    facts = tmp_path / "facts"
    facts.write_text(f"authority: {AUTHORITY}\nstatute: Pakkokeinolaki 8:23\nreference: {CASE}\n")
    which = str(recordings(kept)[0])

    assert "DIS-" in desk("draft", "--recording", which, "--facts", str(facts), "--as", "officer").output
    facts.write_text("police: x\n")
    with pytest.raises(NotAllowed, match="Line 1 of the facts"):
        desk("draft", "--recording", which, "--facts", str(facts), "--as", "officer")
    options = {opt for c in command.group.commands.values() for p in c.params for opt in p.opts}
    assert not options & {"--authority", "--statute", "--reference", "--recipient"}


def test_a_package_is_written_for_its_taker_alone_and_over_nothing(desk, kept, tmp_path):
    disclosure, out = made(kept), tmp_path / "package.zip"
    out.write_text("mine")
    taken = ("package", disclosure, "--out", str(out), "--as", "officer")

    with pytest.raises(NotAllowed, match="is there already"):
        desk(*taken)
    assert out.read_text() == "mine"
    assert [e for e in kept.events() if e["action"] == "disclosure.seen"] == []
    out.unlink()
    desk(*taken)
    assert out.stat().st_mode & 0o777 == 0o600


def test_of_a_package_that_is_not_there_no_file_is_left(desk, kept, tmp_path):
    disclosure, out = draft(kept), tmp_path / "package.zip"

    with pytest.raises(NotFound, match="no package"):
        desk("package", disclosure, "--out", str(out), "--as", "officer")
    assert not out.exists()


def test_a_package_that_was_taken_back_is_gone_from_the_store_by_the_next_night(kept):
    disclosure = made(kept)
    # Other tests' copies stand in the store as well.
    key = kept.value("select parts -> 0 ->> 'key' from package")
    assert len(list(kept.app.store.versions(key))) == 1
    act(kept, disclosure, "withdraw")
    kept.go_live()
    kept.later(days=1)

    kept.sweep("tonight")
    assert list(kept.app.store.versions(key)) == []
    assert kept.value("select count(*) from package where gone_at is null") == 0
