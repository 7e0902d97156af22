"""The copy for the person who asked: what is in it, what opens it, and that nothing of it is left behind."""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import io
import json
import math
import os
import re
import shutil
import struct
import subprocess
import wave
import zipfile
import zlib
from array import array
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from browser import CHROMIUM, needs_browser
from callkeeper import package
from callkeeper.commands import ticket as ticket_command
from callkeeper.errors import NotAllowed, NotFound, StoreConflict, StoreUnavailable
from callkeeper.jobs import fulfilling, packaging, quarantining, reconciling
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.package import Part, sealing
from callkeeper.phone import E164
from callkeeper.tickets import Mute, Right
from callkeeper.trail.events import Actor
from deliver import PHM, Call, deliver, tone
from installation import ACTOR, DAY, OFFICER, Installation, at

CALLER = E164("+358409990001")
ALAW = b"\xd5\x55\x54\xd4\x80\x90" * 4000


def stereo(seconds: float = 2.0) -> bytes:
    """A call with the caller on the left at 440 Hz, the agent on the right at 880 Hz."""
    n = round(8000 * seconds)
    samples = array("h")
    for i in range(n):
        samples.append(round(8000 * math.sin(i * 440 * math.tau / 8000)))
        samples.append(round(8000 * math.sin(i * 880 * math.tau / 8000)))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, 8000, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
    return file.getvalue()


@pytest.fixture
def kept(office: Installation) -> Installation:
    """Three calls of one caller: PCM, headerless A-law, stereo."""
    calls = [
        Call(id="a", start=at(8), caller=CALLER),
        Call(id="b", start=at(9), caller=CALLER, line=PHM, audio=ALAW, ms=3000, media={"content_type": "audio/x-alaw", "codec": "pcm_alaw"}),
        Call(id="c", start=at(10), caller=CALLER, audio=stereo(), ms=2000, media={"channels": 2}),
    ]  # fmt: skip
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


def opened(office: Installation, language: str = "fi") -> str:
    today = office.value("select helsinki_day(callkeeper_now())")
    with office.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn, office.app.keyring, right=Right.access, received_on=today, channel="letter", language=language,
            numbers=[CALLER], account="officer", actor=OFFICER,
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


def approved(office: Installation, ticket: str | None = None, **more: Any) -> str:
    ticket = ticket or opened(office, **more)
    with office.connect() as conn:
        seen = fulfilling.preview(conn, office.app.keyring, ticket, OFFICER)
        fulfilling.approve(conn, office.app.keyring, ticket, scope=seen.scope, account="officer", actor=OFFICER)
    return ticket


def made(office: Installation, ticket: str | None = None) -> package.Package:
    with office.connect() as conn:
        return packaging.make(conn, office.app, ticket or approved(office), OFFICER)


def phrase(office: Installation, ticket: str) -> str:
    with office.connect() as conn:
        return packaging.passphrase(conn, office.app.keyring, ticket, account="officer", actor=OFFICER)


def part_of(office: Installation, ticket: str, n: int = 1) -> bytes:
    with (
        office.connect() as conn,
        packaging.open_part(conn, office.app, ticket, n, account="officer", actor=OFFICER) as body,
    ):
        return body.read()


def unsealed(page: bytes, passphrase: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Reads a file that opens itself by its format alone: its index and its files."""
    blocks: dict[str, list[str]] = {}
    for kind, text in re.findall(r'<script type="text/plain" data-is="(\w+)">([^<]*)</script>', page.decode()):
        blocks.setdefault(kind, []).append(text)
    header = blocks["header"][0].encode()
    facts = json.loads(header)
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), base64.b64decode(facts["salt"]), facts["rounds"])

    def opens(kind: int, n: int, text: str) -> bytes:
        return AESGCM(key).decrypt(kind.to_bytes(4, "big") + n.to_bytes(8, "big"), base64.b64decode(text), header)

    index = json.loads(opens(1, 0, blocks["index"][0]))
    chunks = [opens(2, n, text) for n, text in enumerate(blocks.get("chunk", []))]
    return index | facts, {
        name: b"".join(chunks[f["first"] : f["first"] + f["chunks"]]) for name, f in index["files"].items()
    }


def sound(data: bytes) -> tuple[int, array[int]]:
    with wave.open(io.BytesIO(data)) as heard:
        samples = array("h")
        samples.frombytes(heard.readframes(heard.getnframes()))
        return heard.getnchannels(), samples


def objects(office: Installation) -> set[str]:
    """What stands in the store of this test's packages."""
    ids = {str(row.package) for row in office.rows("select package from package")}
    return {v.key for v in office.app.store.versions("pkg/") if v.key.split("/")[2] in ids}


# --- what is in it ------------------------------------------------------------------------------------------------------


def test_the_package_has_sound_metadata_and_letter_and_the_ticket_is_carried_out(kept):
    ticket = approved(kept)
    whole = made(kept, ticket)

    assert [(p.n, p.kind) for p in whole.parts] == [(1, "html"), (1, "zip")]
    index, files = unsealed(part_of(kept, ticket), phrase(kept, ticket))
    assert sorted(files) == [
        "audio/001.wav", "audio/002.wav", "audio/003.wav",
        "letter.pdf", "letter.txt", "metadata.csv", "metadata.json",
    ]  # fmt: skip
    assert files["audio/001.wav"] == tone()
    assert files["audio/003.wav"] == stereo()
    channels, samples = sound(files["audio/002.wav"])
    assert (channels, len(samples)) == (1, len(ALAW))
    assert files["letter.pdf"].startswith(b"%PDF")
    assert ticket in files["letter.txt"].decode()
    assert "Puhelutallenteesi" in index["index"]
    assert (index["rounds"], index["part"], index["parts"]) == (600_000, 1, 1)
    assert kept.value("select state from ticket") == "carried_out"
    assert [row.outcome for row in kept.rows("select outcome from ticket_recording")] == ["copied"] * 3
    assert whole.expires_on == DAY + timedelta(days=31)


def test_metadata_is_the_same_as_json_and_csv_and_tells_the_persons_own_number(kept):
    ticket = approved(kept)
    made(kept, ticket)
    _, files = unsealed(part_of(kept, ticket), phrase(kept, ticket))

    told = json.loads(files["metadata.json"])
    rows = list(csv.DictReader(io.StringIO(files["metadata.csv"].decode("utf-8-sig"))))
    assert [r["n"] for r in rows] == ["1", "2", "3"] == [str(r["n"]) for r in told["recordings"]]
    first = told["recordings"][0]
    assert (first["company"], first["started_at"], first["duration_s"], first["number"], first["deleted_on"]) == (
        "Punavaara Oy", "2026-11-24T08:00:00+02:00", 1, f"tel:{CALLER}", "2027-05-25",
    )  # fmt: skip
    assert rows[0]["number"] == f"tel:{CALLER}"
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


def test_a_call_without_sound_is_answered_and_not_said_to_be_copied(kept):
    calls = [
        Call(id="d", start=at(11), caller=CALLER, fields={"status": "absent"}),
        Call(id="e", start=at(12), caller=CALLER, audio=b"no sound " * 999),
    ]
    deliver(kept.linna, DAY, calls, seq=2)
    kept.run("again")
    reasons = [r.reason for r in kept.rows("select reason from quarantine order by started_at")]
    assert reasons == ["audio_absent", "not_audio"]

    ticket = approved(kept, language="en")
    made(kept, ticket)

    _, files = unsealed(part_of(kept, ticket), phrase(kept, ticket))
    listed = json.loads(files["metadata.json"])["recordings"]
    assert [bool(r["files"]) for r in listed] == [True, True, True, False, False]
    text = files["letter.txt"].decode()
    assert (text.count("copy provided"), text.count("no sound that could be copied")) == (3, 2)
    assert "receiving copies of them" not in text
    outcomes = kept.rows("select outcome, count(*) as n from ticket_recording group by 1")
    assert {r.outcome: r.n for r in outcomes} == {"copied": 3, "none": 2}


def test_a_call_that_was_rejected_meanwhile_is_copied_as_long_as_it_is_there(kept):
    deliver(kept.linna, DAY, [Call(id="d", start=at(11), caller=CALLER, ms=9000)], seq=2)
    kept.run("again")
    rejected = kept.row("select recording, reason from quarantine")
    assert rejected.reason == "duration_mismatch"
    ticket = opened(kept, language="en")
    with kept.connect() as conn:
        quarantining.reject(conn, recording=rejected.recording, account="officer", actor=OFFICER)

    made(kept, approved(kept, ticket))

    _, files = unsealed(part_of(kept, ticket), phrase(kept, ticket))
    assert files["audio/004.wav"] == tone()
    assert files["letter.txt"].decode().count("no sound") == 0
    assert [row.outcome for row in kept.rows("select outcome from ticket_recording")] == ["copied"] * 4


def test_another_persons_number_is_not_in_the_copy_of_a_call_found_by_its_time(kept):
    from callkeeper.tickets import Call as Timed

    today = kept.value("select helsinki_day(callkeeper_now())")
    with kept.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn, kept.app.keyring, right=Right.access, received_on=today, channel="letter", language="en", account="officer",
            times=[Timed(line=E164("+358207001234"), from_at=at(7, 59), to_at=at(8, 1))], actor=OFFICER,
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
    made(kept, approved(kept, ticket))

    _, files = unsealed(part_of(kept, ticket), phrase(kept, ticket))
    assert json.loads(files["metadata.json"])["recordings"][0]["number"] is None
    assert not any(CALLER.encode() in body for body in files.values())


def test_what_is_muted_and_the_other_channel_are_not_on_the_copy_and_the_original_is_not_touched(kept):
    ticket = opened(kept)
    which = kept.value("select recording from recording where channels = 2")
    before = kept.rows("select recording, version_id, sha256 from recording order by 1")
    with kept.connect() as conn:
        fulfilling.redact(
            conn,
            kept.app.keyring,
            ticket,
            which,
            mutes=[Mute(from_ms=500, to_ms=1000, reason="other_person")],
            channel=0,
            actor=OFFICER,
        )
    made(kept, approved(kept, ticket))

    index, files = unsealed(part_of(kept, ticket), phrase(kept, ticket))
    channels, samples = sound(files["audio/003.wav"])
    left = array("h", [round(8000 * math.sin(i * 440 * math.tau / 8000)) for i in range(16000)])
    assert (channels, len(samples)) == (1, 16000)
    assert set(samples[4000:8000]) == {0}
    assert samples[:4000] == left[:4000]
    assert samples[8000:] == left[8000:]
    told = json.loads(files["metadata.json"])["recordings"][2]
    assert (told["own_channel_only"], told["muted"]) == (
        True,
        [{"from_ms": 500, "to_ms": 1000, "reason": "other_person"}],
    )
    assert "Mykistetty 0:00–0:01" in index["index"]
    assert kept.rows("select recording, version_id, sha256 from recording order by 1") == before
    assert len(kept.versions()) == 3


def test_a_call_too_long_for_a_part_comes_in_pieces_and_the_rest_in_further_parts(kept, monkeypatch):
    monkeypatch.setattr(packaging, "ROOM_BYTES", 40_000)
    ticket = approved(kept)
    whole = made(kept, ticket)

    assert {(p.kind, p.n) for p in whole.parts} == {
        (kind, n) for kind in ("html", "zip") for n in range(1, len(whole.parts) // 2 + 1)
    }
    opens, heard, indexes = phrase(kept, ticket), {}, []
    for n in range(1, len(whole.parts) // 2 + 1):
        index, files = unsealed(part_of(kept, ticket, n), opens)
        indexes.append((index["part"], index["parts"]))
        heard |= files
    assert indexes == [(n, len(indexes)) for n in range(1, len(indexes) + 1)]
    assert [name for name in sorted(heard) if name.startswith("audio/")] == [
        "audio/001.wav", "audio/002_1.wav", "audio/002_2.wav",
        "audio/003_1.wav", "audio/003_2.wav",
    ]  # fmt: skip
    pieces = array("h")
    for name in sorted(name for name in heard if "/003" in name):
        pieces += sound(heard[name])[1]
    assert pieces == sound(stereo())[1]


def test_audio_that_is_not_what_was_imported_is_not_handed_out(kept):
    ticket = approved(kept)
    kept.sql.execute("update recording set sha256 = sha256('other') where channels = 2")

    with pytest.raises(StoreConflict):
        made(kept, ticket)
    assert kept.value("select state from ticket") == "approved"


@pytest.mark.parametrize("language", ["fi", "sv", "en"])
def test_the_index_is_in_the_callers_language(kept, language):
    ticket = approved(kept, language=language)
    made(kept, ticket)

    index, _ = unsealed(part_of(kept, ticket), phrase(kept, ticket))
    assert sealing.words(language)["index"]["heading"] in index["index"]
    assert f'lang="{language}"' in part_of(kept, ticket).decode()[:200]


@needs_browser
def test_a_browser_plays_what_it_could_not_play_and_the_real_index_is_accessible(kept, tmp_path):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    ticket = approved(kept)
    made(kept, ticket)
    file = tmp_path / "part.html"
    file.write_bytes(part_of(kept, ticket))

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = browser.new_context(bypass_csp=True).new_page()
        page.goto(file.as_uri())
        page.get_by_role("textbox").fill(phrase(kept, ticket))
        page.get_by_role("button", name="Avaa").click()
        page.get_by_role("heading", name="Puhelutallenteesi").wait_for()
        found = Axe().run(page).response["violations"]
        page.get_by_role("button", name="Kuuntele 2").click()
        page.wait_for_function("document.querySelector('audio')?.duration > 2.9")
        with page.expect_download() as taken:
            page.get_by_role("button", name="Kirje (PDF)").click()
        assert Path(taken.value.path()).read_bytes().startswith(b"%PDF")
        browser.close()
    assert [v["id"] for v in found] == []


def test_the_zip_is_aes_256_and_opens_with_the_passphrase_only(kept, tmp_path):
    ticket = approved(kept)
    made(kept, ticket)
    file = tmp_path / "part.zip"
    file.write_bytes(part_of(kept, ticket, 2))

    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [m.filename for m in members]
        assert {m.compress_type for m in members} == {99}
        assert all(m.flag_bits & 1 for m in members)
        assert all(b"AE\x03" in m.extra for m in members)  # AES-256
        opened = {m.filename: by_its_format(file.read_bytes(), m, phrase(kept, ticket)) for m in members}
    assert names[0] == "index.html"
    assert opened["audio/001.wav"] == tone()
    index = opened["index.html"].decode()
    assert all(f'href="{name}"' in index for name in names[1:])
    assert "<script" not in index
    assert CALLER.encode() not in file.read_bytes()
    assert opened["metadata.json"] == unsealed(part_of(kept, ticket), phrase(kept, ticket))[1]["metadata.json"]


def test_7z_opens_the_zip(kept, tmp_path):
    program = shutil.which("7z") or shutil.which("7zz")
    if program is None:
        pytest.skip("There is no 7z here (Debian: apt install 7zip).")
    ticket = approved(kept)
    made(kept, ticket)
    file = tmp_path / "part.zip"
    file.write_bytes(part_of(kept, ticket, 2))

    def run(passphrase: str, verb: str = "t") -> int:
        return subprocess.run(
            [program, verb, "-y", f"-p{passphrase}", f"-o{tmp_path}/out", str(file)], capture_output=True, check=False
        ).returncode

    assert run(phrase(kept, ticket)) == 0
    assert run("kalevo-miruta-hajole-ponesi-turaka") != 0
    assert run(phrase(kept, ticket), "x") == 0
    assert (tmp_path / "out/audio/003.wav").read_bytes() == stereo()


def by_its_format(archive: bytes, member: zipfile.ZipInfo, passphrase: str) -> bytes:
    """A member of a WinZip AE-2 archive, read by the format's description alone; its MAC is checked."""
    name, extra = struct.unpack_from("<HH", archive, member.header_offset + 26)
    start = member.header_offset + 30 + name + extra
    data = archive[start : start + member.compress_size]
    salt, check, sealed, mac = data[:16], data[16:18], data[18:-10], data[-10:]
    keys = hashlib.pbkdf2_hmac("sha1", passphrase.encode(), salt, 1000, 66)
    assert keys[64:] == check
    assert hmac.digest(keys[32:64], sealed, "sha1")[:10] == mac
    plain, aes = bytearray(), Cipher(algorithms.AES(keys[:32]), modes.ECB()).encryptor()  # noqa: S305  # of which the format makes its counter mode
    for n in range(0, len(sealed), 16):
        block = aes.update((n // 16 + 1).to_bytes(16, "little"))
        plain += bytes(a ^ b for a, b in zip(sealed[n : n + 16], block, strict=False))
    return zlib.decompressobj(-15).decompress(bytes(plain))


# --- two people's rows --------------------------------------------------------------------------------------------------


def test_no_state_stands_for_the_decisions_row(kept):
    ticket = approved(kept)
    kept.sql.execute("delete from decision")

    with pytest.raises(NotAllowed):
        made(kept, ticket)
    assert kept.value("select count(*) from package") == 0


def test_a_scope_that_changed_while_the_package_was_made_needs_a_new_look(kept, monkeypatch):
    ticket = approved(kept)
    write = packaging._write

    def late(*args: Any) -> list[Part]:
        kept.sql.execute(
            "update ticket_recording set channel = 0 where recording = (select recording from recording where channels = 2)"
        )
        return write(*args)

    monkeypatch.setattr(packaging, "_write", late)
    with pytest.raises(ScopeChanged):
        made(kept, ticket)

    assert kept.value("select state from ticket") == "approved"
    with kept.connect() as conn, pytest.raises(NotFound, match="has no package"):
        packaging.parts(conn, ticket)


def test_audio_on_weak_evidence_takes_the_second_persons_yes(kept):
    today = kept.value("select helsinki_day(callkeeper_now())")
    with kept.connect() as conn:
        ticket = fulfilling.open_ticket(
            conn, kept.app.keyring, right=Right.access, received_on=today, channel="phone", language="fi", numbers=[CALLER],
            account="officer", actor=OFFICER,
        )  # fmt: skip
        fulfilling.prove_identity(
            conn,
            kept.app.keyring,
            ticket,
            evidence="callback",
            from_at=at(0),
            to_at=at(23),
            account="officer",
            actor=OFFICER,
        )
    approved(kept, ticket)

    with pytest.raises(NotAllowed, match="two people"):
        made(kept, ticket)


# --- killed, and run again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "crash", ["package.begun", "package.noted", "package.put", "package.before_whole", "package.whole"]
)
def test_killed_at_any_line_and_run_again_there_is_one_package_and_the_rest_goes(kept, monkeypatch, crash):
    class Killed(BaseException):
        pass

    def dies(point: str) -> None:
        if point == crash:
            raise Killed

    kept.go_live()
    kept.forecast()
    ticket = approved(kept)
    with monkeypatch.context() as patched:
        patched.setattr(packaging, "reach", dies)
        with pytest.raises(Killed):
            made(kept, ticket)

    whole = made(kept, ticket)
    kept.later(hours=1)
    night = kept.sweep()

    assert night.balanced
    assert objects(kept) == {p.key for p in whole.parts}
    assert kept.value("select count(*) from package where gone_at is null") == 1
    _, files = unsealed(part_of(kept, ticket), phrase(kept, ticket))
    assert len(files) == 7
    assert made(kept, ticket).package == whole.package


def test_killed_and_never_run_again_it_goes_a_day_later(kept, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("The object store does not answer.")

    kept.go_live()
    kept.forecast()
    ticket = approved(kept)
    put, done = kept.app.store.put, []

    def once(*args: Any, **more: Any) -> Any:
        if done:
            fails()
        done.append(put(*args, **more))
        return done[-1]

    with monkeypatch.context() as patched:
        patched.setattr(kept.app.store, "put", once)
        with pytest.raises(StoreUnavailable):
            made(kept, ticket)
    assert len(objects(kept)) == 1

    kept.later(hours=12)
    kept.sweep("early")
    assert len(objects(kept)) == 1
    kept.later(hours=25)
    assert kept.sweep("later").balanced
    assert objects(kept) == set()
    assert tuple(kept.row("select gone_at is not null, sealed_passphrase from package")) == (True, None)


def test_a_maker_that_slept_for_longer_than_a_day_writes_nothing_that_nobody_would_find(kept, monkeypatch):
    def sleeps(point: str) -> None:
        if point == "package.begun":
            kept.later(hours=25)
            kept.sweep("meanwhile")

    kept.go_live()
    kept.forecast()
    ticket = approved(kept)
    with monkeypatch.context() as patched:
        patched.setattr(packaging, "reach", sleeps)
        with pytest.raises(NotAllowed, match="taken back while"):
            made(kept, ticket)

    assert objects(kept) == set()
    assert [tuple(r) for r in kept.rows("select parts = '[]' as empty, gone_at is not null as gone from package")] == [
        (True, True)
    ]
    assert made(kept, ticket).whole


def test_one_maker_at_a_time(kept):
    ticket = approved(kept)
    with kept.connect() as other:
        other.execute("select pg_advisory_lock(hashtextextended('callkeeper.package ' || %s, 0))", (ticket,))
        with pytest.raises(NotAllowed, match="being made already"):
            made(kept, ticket)
    assert made(kept, ticket).whole


# --- its end ------------------------------------------------------------------------------------------------------------


def test_its_term_over_it_cannot_be_had_and_the_one_destroyer_takes_it(kept):
    kept.go_live()
    ticket = approved(kept)
    whole = made(kept, ticket)
    kept.later(days=29)
    kept.forecast()
    assert len(part_of(kept, ticket)) > 1000
    kept.later(days=30)

    with pytest.raises(NotFound, match="is over"):
        part_of(kept, ticket)
    with pytest.raises(NotFound, match="is over"):
        phrase(kept, ticket)
    night = kept.sweep()

    assert (night.balanced, objects(kept)) == (True, set())
    done = kept.events("deletion.done")
    assert {e["recording"] for e in done} == {str(p.part) for p in whole.parts}
    assert {e["trigger"] for e in done} == {"package_expired"}
    row = kept.row("select parts, sealed_passphrase, gone_at is not null as gone from package")
    assert (row.sealed_passphrase, row.gone) == (None, True)
    assert not any("key" in part or "sha256" in part for part in row.parts)
    assert kept.sweep("again").balanced
    (event,) = kept.events("package.ended")
    assert event["reason"] == "expired"


def test_taken_back_it_cannot_be_had_and_goes_by_the_next_night(kept):
    kept.go_live()
    kept.forecast()
    ticket = approved(kept)
    made(kept, ticket)
    with kept.connect() as conn:
        packaging.withdraw(conn, ticket, OFFICER)
        conn.commit()

    with pytest.raises(NotFound, match="is over"):
        part_of(kept, ticket)
    assert kept.value("select expires_on <= helsinki_day(callkeeper_now()) from package")
    kept.later(hours=1)
    assert kept.sweep().balanced
    assert objects(kept) == set()


def test_a_hold_on_the_recordings_does_not_keep_the_copy(kept):
    kept.go_live()
    kept.forecast()
    ticket = approved(kept)
    made(kept, ticket)
    kept.block(pseudonyms=(kept.pseudonym(CALLER),))
    kept.later(days=30)
    kept.forecast()

    kept.sweep()

    assert objects(kept) == set()
    assert len(kept.versions()) == 3


def test_reconcile_knows_a_package_and_says_what_is_missing_of_it(fresh_office):
    kept = fresh_office
    deliver(kept.linna, DAY, [Call(id="a", start=at(8), caller=CALLER)])
    kept.run("import")
    whole = made(kept, approved(kept))

    def found(key: str) -> dict[str, int]:
        with kept.connect() as conn:
            return dict(reconciling.compare_store(conn, reconciling.begin(conn, key), kept.app.store, ACTOR))

    first = found("first")
    assert (first["packages"], first["live"]) == (2, 1)
    assert not {"stray", "foreign", "missing", "packages_missing", "objects_difference"} & first.keys()

    one = [v for v in kept.app.store.versions("pkg/") if v.key == whole.parts[0].key]
    kept.app.destroyer.delete(one)
    assert found("second")["packages_missing"] == 1


def test_an_object_of_no_package_is_a_stray(fresh_office):
    data = b"?"
    fresh_office.app.store.put(
        "pkg/2026-12-25/none/1.zip",
        io.BytesIO(data),
        sha256=hashlib.sha256(data).digest(),
        size_bytes=1,
        content_type="application/zip",
    )
    with fresh_office.connect() as conn:
        found = reconciling.compare_store(conn, reconciling.begin(conn, "x"), fresh_office.app.store, ACTOR)
    assert found["stray"] == 1


# --- who has it ---------------------------------------------------------------------------------------------------------


def test_fetching_a_part_and_seeing_the_passphrase_are_events_and_officers_alone(kept):
    ticket = approved(kept)
    made(kept, ticket)
    part_of(kept, ticket, 2)
    phrase(kept, ticket)

    (taken,), (seen,) = kept.events("package.taken"), kept.events("passphrase.seen")
    assert (taken["ticket"], taken["part"], taken["kind"], taken["actor"]["account"]) == (ticket, 1, "zip", "officer")
    assert (seen["ticket"], seen["actor"]["account"]) == (ticket, "officer")
    with kept.connect() as conn, pytest.raises(NotAllowed):
        packaging.open_part(conn, kept.app, ticket, 1, account="data", actor=Actor(account="data"))
    with kept.connect() as conn, pytest.raises(NotAllowed):
        packaging.passphrase(conn, kept.app.keyring, ticket, account="data", actor=Actor(account="data"))
    for n in (0, 3):
        with pytest.raises(NotFound):
            part_of(kept, ticket, n)


def test_the_command_line_makes_it_writes_it_out_and_tells_the_passphrase_apart(kept, tmp_path, monkeypatch):
    monkeypatch.setattr("callkeeper.settings.load", lambda: kept.settings)
    monkeypatch.setattr("callkeeper.wiring.build", lambda _: kept.app)
    monkeypatch.setattr("callkeeper.commands.signin.sign_in", lambda *_: "officer")
    ticket, out = approved(kept), tmp_path / "out"

    def run(*words: str) -> Any:
        return CliRunner().invoke(ticket_command.group, [*words, "--as", "officer"])

    early = run("passphrase", ticket)
    done = run("package", ticket, "--out", str(out))
    told = run("passphrase", ticket)

    assert "has no package" in str(early.exception)
    assert done.exit_code == told.exit_code == 0, done.output
    assert sorted((f.name, f.stat().st_mode & 0o777) for f in out.iterdir()) == [
        (f"{ticket}_1.html", 0o600), (f"{ticket}_1.zip", 0o600),
    ]  # fmt: skip
    assert told.output.strip() == phrase(kept, ticket)
    assert told.output.strip() not in done.output
    assert len(unsealed((out / f"{ticket}_1.html").read_bytes(), told.output.strip())[1]) == 7
    assert run("package", ticket, "--out", str(out)).exit_code == 0
    assert kept.value("select count(*) from package") == 1


def test_no_number_and_no_passphrase_is_in_keys_rows_or_events(kept):
    ticket = approved(kept)
    made(kept, ticket)
    said = phrase(kept, ticket)

    row = kept.row("select package::text, parts::text, sealed_passphrase from package")
    events = json.dumps(kept.events())
    for secret in (said, said.replace("-", " "), CALLER, CALLER.removeprefix("+358")):
        assert secret not in row.package + row.parts
        assert secret not in events
        assert secret.encode() not in bytes(row.sealed_passphrase)
    assert "pkg/" not in events
    assert UUID(kept.events("package.made")[0]["package"])


def test_the_passphrase_is_not_easily_guessed():
    some = {package.passphrase() for _ in range(1000)}

    assert len(some) == 1000
    assert all(re.fullmatch(r"(?:[hjklmnprstv][aeiou]){3}(?:-(?:[hjklmnprstv][aeiou]){3}){4}", one) for one in some)
    assert package.PASSPHRASE_BITS == 86
    assert sealing.normal(" Kalevo  MIRUTA-hajole ") == b"kalevo-miruta-hajole"
