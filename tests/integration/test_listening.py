"""Somebody listens: a row and an event before a byte, ranges under one token, and closed where the table says so."""

from __future__ import annotations

import io
import tempfile
import wave
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from callkeeper import blockers
from callkeeper.blockers import Blocker
from callkeeper.errors import CallkeeperError, NotAllowed, NotFound
from callkeeper.jobs import fulfilling, listening
from callkeeper.media import copying
from callkeeper.phone import E164
from callkeeper.tickets import Right
from callkeeper.trail.events import Actor
from deliver import PHM, Call, deliver, tone
from installation import ACTOR, DAY, OFFICER, Installation, at

CALLER = E164("+358409990001")
LISTENER = Actor(account="kuuntelija", rule="test")
ALAW = b"\xd5\x55\x54\xd4\x80\x90" * 4000
"""Three seconds of A-law, without any header."""


@pytest.fixture
def kept(office: Installation) -> Installation:
    """Two calls of one caller, to two companies; punavaara has a listener."""
    office.configure(('employee_notice = "HR-1"', 'employee_notice = "HR-1"\nlisteners = ["kuuntelija"]'))
    calls = [
        Call(id="a", start=at(8), caller=CALLER),
        Call(id="b", start=at(9), caller=CALLER, line=PHM, audio=ALAW, ms=3000, media={"content_type": "audio/x-alaw", "codec": "pcm_alaw"}),
    ]  # fmt: skip
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


def of(office: Installation, controller: str) -> UUID:
    return office.value("select recording from recording where controller = %s", controller)


def opened(
    office: Installation, recording: UUID, purpose: str = "quality", account: str = "kuuntelija", **more: object
):
    with office.connect() as conn:
        actor = Actor(account=account, rule="test")
        return listening.open_audio(conn, office.app, recording, account=account, purpose=purpose, actor=actor, **more)


def resumed(office: Installation, found: listening.Listening, account: str = "kuuntelija", token: str | None = None):
    with office.connect() as conn:
        return listening.resume(conn, office.app, token or found.token, recording=found.recording, account=account)


def request(office: Installation, right: Right = Right.access) -> str:
    today = office.value("select helsinki_day(callkeeper_now())")
    with office.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn, office.app.keyring, right=right, received_on=today, channel="letter", language="fi", numbers=[CALLER],
            account="officer", actor=OFFICER,
        )  # fmt: skip
        fulfilling.prove_identity(
            conn,
            office.app.keyring,
            ticket,
            evidence="strong",
            from_at=at(0),
            to_at=at(23),
            account="officer",
            actor=OFFICER,
        )
        fulfilling.preview(conn, office.app.keyring, ticket, OFFICER)
    return ticket


def test_a_listener_hears_what_was_imported_and_it_is_a_row_and_an_event(kept):
    recording = of(kept, "punavaara")

    found = opened(kept, recording)

    assert b"".join(listening.read(kept.app, found)) == tone()
    assert (found.size_bytes, found.content_type) == (len(tone()), "audio/wav")
    row = kept.row("select recording, account, purpose, ticket from opening")
    assert tuple(row) == (recording, "kuuntelija", "quality", None)
    (event,) = kept.events("recording.opened")
    assert (event["recording"], event["controller"], event["purpose"], event["actor"]["account"]) == (
        str(recording), "punavaara", "quality", "kuuntelija",
    )  # fmt: skip


def test_the_opening_is_committed_before_a_byte_is_read(kept, monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise NotFound("The object is not in the store.")

    monkeypatch.setattr(kept.app.store, "open", unreachable)
    with pytest.raises(NotFound):
        opened(kept, of(kept, "punavaara"))

    assert kept.value("select count(*) from opening") == 1


def test_without_its_event_there_is_no_opening(kept, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(listening, "append", fails)
    with pytest.raises(RuntimeError):
        opened(kept, of(kept, "punavaara"))

    assert kept.value("select count(*) from opening") == 0


def test_ranges_of_one_listening_come_under_its_token_without_a_new_opening(kept):
    found = opened(kept, of(kept, "punavaara"))

    again = resumed(kept, found)

    assert b"".join(listening.read(kept.app, again, 44, 143)) == tone()[44:144]
    assert b"".join(listening.read(kept.app, again, len(tone()) - 2)) == tone()[-2:]
    assert list(listening.read(kept.app, again, len(tone()))) == []
    assert kept.value("select count(*) from opening") == 1


def test_a_token_is_of_one_account_one_recording_and_ten_minutes(kept, monkeypatch):
    found = opened(kept, of(kept, "punavaara"))
    body, _, mac = found.token.partition(".")

    with pytest.raises(NotAllowed, match="no listening of yours"):
        resumed(kept, found, account="officer")
    for forged in ("", body, f"{body}.", f"{body}.{'0' * len(mac)}", f"x{body}.{mac}", "ä.ö"):
        with pytest.raises(NotAllowed, match="no listening of yours"):
            resumed(kept, found, token=forged or "x")
    with kept.connect() as conn, pytest.raises(NotAllowed, match="no listening of yours"):
        listening.resume(conn, kept.app, found.token, recording=of(kept, "phm"), account="kuuntelija")
    monkeypatch.setattr(listening, "TOKEN_LASTS", timedelta(seconds=-1))
    with pytest.raises(NotAllowed, match="is over"):
        resumed(kept, opened(kept, of(kept, "punavaara")))


def test_a_restriction_closes_a_listening_that_is_under_way(kept):
    found = opened(kept, of(kept, "punavaara"))
    request(kept, Right.restriction)

    with pytest.raises(NotAllowed, match="closed to this use"):
        resumed(kept, found)


def test_a_listener_hears_its_own_company_only(kept):
    with pytest.raises(NotAllowed, match="listeners' of the recording's company"):
        opened(kept, of(kept, "phm"))
    assert kept.value("select count(*) from opening") == 0


def test_an_expired_recording_is_closed_from_the_moment_of_its_expiry(kept):
    kept.set_clock(datetime(2027, 5, 24, 20, 59, tzinfo=UTC))
    opened(kept, of(kept, "punavaara"))
    kept.set_clock(datetime(2027, 5, 24, 21, 0, 1, tzinfo=UTC))  # it is set to the second

    with pytest.raises(NotAllowed, match="closed to this use"):
        opened(kept, of(kept, "punavaara"))


@pytest.mark.parametrize("kind", ["investigation", "authority_preservation", "legal_claim"])
def test_what_is_held_is_the_officers_and_nobody_is_told_what_kind(kept, kind):
    hold = Blocker(
        blocker=uuid4(), kind=kind, case_ref="K-1", placed_by="officer", review_on=date(2027, 1, 1),
        pseudonyms=(kept.pseudonym(CALLER),),
    )  # fmt: skip
    with kept.connect() as conn:
        blockers.place(conn, hold, ACTOR)

    with pytest.raises(NotAllowed) as told:
        opened(kept, of(kept, "punavaara"))
    assert str(told.value) == listening.Refusal.closed
    opened(kept, of(kept, "punavaara"), "legal_claim", "officer")


def test_an_undecided_erasure_closes_it_to_staff_and_the_officer_hears_it_for_the_request(kept):
    ticket = request(kept, Right.erasure)

    with pytest.raises(NotAllowed, match="closed to this use"):
        opened(kept, of(kept, "punavaara"))
    opened(kept, of(kept, "punavaara"), "subject_request", "officer", ticket=ticket)

    assert kept.value("select ticket from opening") == ticket
    assert kept.events("recording.opened")[0]["ticket"] == ticket


def test_listening_for_a_request_takes_an_open_one_that_is_about_the_recording(kept):
    ticket, recording = request(kept), of(kept, "punavaara")
    for named in (None, "DSR-2026-0099"):
        with pytest.raises(NotAllowed, match="needs the request"):
            opened(kept, recording, "subject_request", "officer", ticket=named)
    with kept.connect() as conn:
        fulfilling.close(conn, ticket, "withdrawn", years=3, actor=OFFICER)

    with pytest.raises(NotAllowed, match="needs the request"):
        opened(kept, recording, "subject_request", "officer", ticket=ticket)


def test_a_quarantined_recording_is_closed_to_staff(kept):
    deliver(kept.linna, DAY, [Call(id="q", start=at(11), caller=CALLER, ms=9000)], seq=2)
    kept.run("second")
    recording = kept.value("select recording from quarantine where version_id is not null")
    kept.sql.execute("update quarantine set controller = 'punavaara'")

    with pytest.raises(NotAllowed, match="closed to this use"):
        opened(kept, recording)


def test_what_no_browser_plays_is_played_as_wav_and_the_original_is_not_touched(kept):
    ticket, recording = request(kept), of(kept, "phm")
    before = [(v.key, v.version_id) for v in kept.versions()]

    found = opened(kept, recording, "subject_request", "officer", ticket=ticket)
    whole = b"".join(listening.read(kept.app, found))

    assert (found.content_type, found.size_bytes) == ("audio/wav", len(whole))
    with wave.open(io.BytesIO(whole)) as heard:
        assert (heard.getnchannels(), heard.getframerate(), heard.getnframes()) == (1, 8000, len(ALAW))
    again = resumed(kept, found, account="officer")
    assert b"".join(listening.read(kept.app, again, 100, 199)) == whole[100:200]
    assert [(v.key, v.version_id) for v in kept.versions()] == before


def test_how_long_the_copy_of_headerless_audio_is_is_known_without_decoding_it(kept, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    ticket, recording = request(kept), of(kept, "phm")
    monkeypatch.setattr(copying, "decode", never)

    found = opened(kept, recording, "subject_request", "officer", ticket=ticket)

    assert found.size_bytes == 44 + 2 * len(ALAW)


def test_a_copy_that_cannot_be_made_leaves_no_file_open(kept, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise CallkeeperError("It could not be decoded.")

    spools, real = [], tempfile.SpooledTemporaryFile
    ticket, recording = request(kept), of(kept, "phm")
    found = opened(kept, recording, "subject_request", "officer", ticket=ticket)
    monkeypatch.setattr(
        listening.tempfile, "SpooledTemporaryFile", lambda **how: spools.append(real(**how)) or spools[-1]
    )
    monkeypatch.setattr(copying, "decode", fails)

    with pytest.raises(CallkeeperError):
        list(listening.read(kept.app, found))

    assert [spool.closed for spool in spools] == [True, True]


def test_an_unknown_recording_and_one_that_is_gone_are_said_to_be_so(kept):
    with pytest.raises(NotFound, match="no audio"):
        opened(kept, uuid4())
