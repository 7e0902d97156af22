"""The drop: what goes wrong in a delivery, and where it ends up."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from callkeeper.clock import HELSINKI
from callkeeper.errors import AudioMissing, ConfigurationError, DeliveryUnreadable, VendorUnavailable, WrongCredentials
from callkeeper.phone import UNUSABLE, WITHHELD
from callkeeper.vendors import Direction, Media, MediaStatus, VendorCall
from callkeeper.vendors.drop import Drop

Silent = Callable[[BaseException], None]
DAY = date(2026, 11, 24)


def listed(vendor: Drop, day: date = DAY) -> list[VendorCall]:
    return list(vendor.list_day(day, HELSINKI))


def only(folder: Any, record: Any, **delivery: Any) -> VendorCall:
    """The call of a delivery with that one record."""
    folder.deliver(record, **delivery)
    (call,) = listed(folder.vendor)
    return call


# --- a good record ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", ["json", "csv"])
def test_a_good_record_comes_in_whole(folder: Any, record: Any, csv_text: Any, fmt: str) -> None:
    good = record(1)
    if fmt == "json":
        folder.deliver(good)
    else:
        folder.put("manifest.csv", csv_text([good]))

    (call,) = listed(folder.vendor)

    assert call == VendorCall(
        ref=call.ref,
        recording_id="canary-1",
        call_id="call-canary-1",
        started_at=datetime(2026, 11, 24, 8, 1, tzinfo=UTC),
        duration_ms=60_000,
        direction=Direction.inbound,
        other_party=call.other_party,
        service_number="+358102708001",
        status=MediaStatus.available,
        media=Media(
            bytes=good["media"]["bytes"],
            sha256=bytes.fromhex(good["media"]["sha256"]),
            content_type="audio/wav",
            codec="pcm_s16le",
            channels=1,
        ),
    )
    assert call.other_party.e164 == "+358409900001"
    assert json.loads(call.ref) == {"path": f"{DAY}/{good['media']['path']}"}


def test_json_and_csv_give_the_same_calls(folder: Any, record: Any, csv_text: Any) -> None:
    records = [
        record(1),
        record(2, caller_withheld=True),
        record(3, caller_number=None),
        record(4, status="pending", media={"path": None, "bytes": None, "sha256": None}),
        record(5, started_at="2026-11-24T10:00:00"),
        record(6, direction="sideways", duration_ms=None),
        record(7, supersedes="canary-1", segment_no=2),
        record(8, media={"encryption": "pgp"}),
    ]
    manifest = folder.deliver(*records)
    by_json = listed(folder.vendor)
    manifest.unlink()
    folder.put("manifest.csv", csv_text(records))

    assert listed(folder.vendor) == by_json
    assert len(by_json) == 8


# --- the door: what is in a record ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({"started_at": None}, ("time_missing",)),
        ({"started_at": "yesterday"}, ("time_missing",)),
        ({"started_at": "0001-01-01T00:00:00+02:00"}, ("time_missing",)),
        ({"started_at": 1795534769}, ("time_missing",)),
        ({"started_at": "2026-11-24T10:00:00"}, ("time_naive",)),
        ({"started_at": "2026-11-24"}, ("time_naive",)),
        ({"duration_ms": None}, ("duration_invalid",)),
        ({"duration_ms": -1}, ("duration_invalid",)),
        ({"duration_ms": "a minute"}, ("duration_invalid",)),
        ({"duration_ms": 24 * 3600 * 1000 + 1}, ("duration_invalid",)),
        ({"duration_ms": 10**30}, ("duration_invalid",)),
        ({"duration_ms": True}, ("duration_invalid",)),
        ({"direction": None}, ("direction_unknown",)),
        ({"direction": "internal"}, ("direction_unknown",)),
        ({"direction": ["inbound"]}, ("direction_unknown",)),
        ({"status": "lost"}, ("record_invalid",)),
        ({"status": None}, ("record_invalid",)),
        ({"status": "unanswered"}, ("record_invalid",)),
        ({"recording_id": None, "call_id": None}, ("record_invalid",)),
        ({"recording_id": "x" * 501}, ("record_invalid",)),
        ({"recording_id": "a\x00b"}, ("record_invalid",)),
        ({"recording_id": "\ud800"}, ("record_invalid",)),
        ({"segment_no": -1}, ("record_invalid",)),
        ({"caller_number": {"number": "0409900001"}}, ("record_invalid",)),
        ({"caller_withheld": "perhaps"}, ("record_invalid",)),
        ({"media": None}, ("record_invalid",)),
        ({"media": "audio/1.wav"}, ("record_invalid",)),
        ({"media": {"path": None}}, ("record_invalid",)),
        ({"media": {"sha256": "abc"}}, ("record_invalid",)),
        ({"media": {"sha256": "zz" * 32}}, ("record_invalid",)),
        ({"media": {"bytes": -5}}, ("record_invalid",)),
        ({"media": {"encryption": "pgp"}}, ("encrypted_without_key",)),
        ({"media": {"encryption": "none"}}, ()),
        ({"media": {"encryption": {"key": "1"}}}, ("encrypted_without_key",)),
    ],
)
def test_one_bad_record_is_a_fault_of_its_own_and_the_others_come_in(
    folder: Any, record: Any, changed: dict[str, Any], faults: tuple[str, ...]
) -> None:
    folder.deliver(record(1), record(2, **changed), record(3))

    before, bad, after = listed(folder.vendor)

    assert before.faults == after.faults == ()
    assert bad.faults == faults
    assert bad.identity.encode()


@pytest.mark.parametrize("record_", ["a text", 17, None, [], ["x"]])
def test_what_is_no_record_at_all_is_listed_as_invalid(folder: Any, record: Any, record_: Any) -> None:
    folder.deliver(record(1), record_)

    _, bad = listed(folder.vendor)

    assert "record_invalid" in bad.faults
    with pytest.raises(AudioMissing):
        folder.vendor.open(bad.ref)


def test_a_record_without_an_id_has_the_same_identity_each_time_it_comes(folder: Any, record: Any) -> None:
    nameless = [record(n, recording_id=None, call_id=None) for n in (1, 2)]
    folder.deliver(*nameless)
    first = [call.identity for call in listed(folder.vendor)]
    folder.deliver(*reversed(nameless))

    assert [call.identity for call in listed(folder.vendor)] == first[::-1]
    assert len(set(first)) == 2


def test_segments_of_a_call_without_recording_ids_are_told_apart(folder: Any, record: Any) -> None:
    folder.deliver(*(record(n, recording_id=None, call_id="call-7", segment_no=n) for n in range(3)))

    assert [call.identity for call in listed(folder.vendor)] == ["call-7/0", "call-7/1", "call-7/2"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"caller_number": "0409900001"}, "+358409900001"),
        ({"caller_number": 358409900001}, "+358409900001"),
        ({"caller_number": None}, WITHHELD),
        ({"caller_number": "salainen"}, WITHHELD),
        ({"caller_withheld": True}, WITHHELD),
        ({"caller_withheld": "yes"}, WITHHELD),
        ({"caller_withheld": "perhaps"}, WITHHELD),
        ({"caller_number": "sip:asukas@portaali.example"}, UNUSABLE),
        ({"caller_number": "201"}, UNUSABLE),
        ({"caller_number": "+358409900001", "direction": "outbound"}, "+358409900001"),
    ],
)
def test_the_other_party_is_a_number_withheld_or_unusable(
    folder: Any, record: Any, changed: dict[str, Any], expected: Any
) -> None:
    call = only(folder, record(1, **changed))

    assert (call.other_party.e164 or call.other_party) == expected


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("0207001234", "+358207001234"),
        ("+358207001234", "+358207001234"),
        ("020 700 1234", "+358207001234"),
        ("0901112222", "+358901112222"),
        (None, None),
        ("", None),
        ("helpdesk", None),
    ],
)
def test_our_own_line_is_the_same_in_every_spelling(folder: Any, record: Any, written: str, line: str | None) -> None:
    assert only(folder, record(1, service_number=written)).service_number == line


@pytest.mark.parametrize("status", ["pending", "absent", "deleted", "available"])
def test_what_the_vendor_says_of_the_audio_is_kept(folder: Any, record: Any, status: str) -> None:
    assert only(folder, record(1, status=status)).status == MediaStatus(status)


@pytest.mark.parametrize("status", ["pending", "absent", "deleted"])
def test_a_record_without_audio_is_no_fault_if_its_status_says_so(folder: Any, record: Any, status: str) -> None:
    call = only(folder, record(1, status=status, media=None))

    assert call.faults == ()
    with pytest.raises(AudioMissing):
        folder.vendor.open(call.ref)
    assert folder.vendor.delete(call.ref, "key") == "already_gone"
    assert folder.vendor.confirm_deleted(call.ref) is True


# --- the door: the allow-list -----------------------------------------------------------------------------------------


def test_an_unknown_field_loses_its_value_and_its_name_is_counted(folder: Any, record: Any, csv_text: Any) -> None:
    call = only(folder, record(1, agent="Canary Virtanen", transcript="canary", media={"voiceprint": "canary"}))

    assert call.unknown_fields == ("agent", "media.voiceprint", "transcript")
    assert "Virtanen" not in f"{call!r}{call.ref}"

    text = (
        csv_text([record(1)])
        .replace("recording_id,", "agent,recording_id,")
        .replace("\ncanary-1", "\nVirtanen,canary-1")
    )
    (folder.day / "manifest.json").unlink()
    folder.put("manifest.csv", text)
    assert [c.unknown_fields for c in listed(folder.vendor)] == [("agent",)]


def test_a_number_in_a_field_name_is_cut_out_of_it(folder: Any, record: Any) -> None:
    call = only(folder, record(1, **{"note for 0409900001": "x", "é" * 90: "x", "a" * 90: 1, "": 2}))

    assert call.unknown_fields == ("#", "a" * 40, "note#for#".replace("for#", "for").replace("note#for", "note#for#"))


def test_a_hostile_record_cannot_flood_the_audit_with_names(folder: Any, record: Any) -> None:
    names = {a + b: 1 for a in "abcdefghij" for b in "klmnopqrst"}

    assert len(only(folder, record(1, **names)).unknown_fields) == 20


def test_unknown_fields_of_the_delivery_itself_are_counted_once(folder: Any, record: Any) -> None:
    folder.deliver(record(1), record(2), operator="Canary Virtanen")

    assert [call.unknown_fields for call in listed(folder.vendor)] == [(), ("operator",)]


def test_free_text_cannot_ride_in_on_a_technical_field(folder: Any, record: Any) -> None:
    media = {
        "codec": "Virtanen called, 0409900001",
        "content_type": "x" * 300,
        "encryption": "ask Virtanen, 0409900001",
    }
    call = only(folder, record(1, media=media))

    assert (call.media.codec, call.media.content_type, call.media.encryption) == (None, None, "unknown")


# --- the door: paths --------------------------------------------------------------------------------------------------

UNSAFE = [
    "../../secret.wav",
    "audio/../../secret.wav",
    "/etc/passwd",
    "..",
    ".",
    "audio//1.wav",
    "audio/./1.wav",
    "audio/",
    "audio\\1.wav",
    "C:/1.wav",
    "s3://elsewhere/1.wav",
    "file::s3",
    "1.wav?versionId=2",
    "audio/1.wav\n",
    "audio/\x001.wav",
    "a" * 256 + ".wav",
    "/".join(["abcdefgh"] * 150),
]


@pytest.mark.parametrize("path", UNSAFE)
def test_an_unsafe_path_is_a_fault_and_is_never_opened_or_deleted(
    folder: Any, record: Any, path: str, assert_silent: Silent
) -> None:
    (folder.root / "secret.wav").write_bytes(b"secret")
    call = only(folder, record(1, media={"path": path}))

    assert call.faults == ("media_path_unsafe",)
    with pytest.raises(AudioMissing) as refused:
        folder.vendor.open(call.ref)
    assert_silent(refused.value)
    assert folder.vendor.delete(call.ref, "key") == "refused"
    assert folder.vendor.confirm_deleted(call.ref) is None
    assert (folder.root / "secret.wav").exists()


@pytest.mark.parametrize(
    "path", ["a+b/+358409900001 (1).wav", "ääni/puhelu å.wav", "[1]*#%20.wav", "~x.wav", "..x/a..b.wav"]
)
def test_an_odd_yet_harmless_path_works(folder: Any, record: Any, path: str) -> None:
    folder.put(path, b"sound")
    call = only(folder, record(1, media={"path": path}))

    assert call.faults == ()
    assert folder.vendor.open(call.ref).read() == b"sound"
    assert folder.vendor.delete(call.ref, "key") == "deleted"
    assert not (folder.day / path).exists()


def test_symbolic_links_are_not_followed(folder: Any, record: Any, tmp_path: Path, assert_silent: Silent) -> None:
    secret = tmp_path / "outside" / "secret.wav"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    (folder.day / "file.wav").symlink_to(secret)
    (folder.day / "linked").symlink_to(secret.parent)
    folder.deliver(record(1, media={"path": "file.wav"}), record(2, media={"path": "linked/secret.wav"}))

    for call in listed(folder.vendor):
        with pytest.raises(AudioMissing) as refused:
            folder.vendor.open(call.ref)
        assert_silent(refused.value)
        assert folder.vendor.delete(call.ref, "key") == "refused"
    assert secret.exists()

    manifest = tmp_path / "outside" / "manifest.json"
    (folder.day / "manifest.json").rename(manifest)
    (folder.day / "manifest.json").symlink_to(manifest)
    assert folder.vendor.day_status(DAY, HELSINKI) == "absent"


def test_the_configured_folder_itself_may_be_a_link(folder: Any, record: Any, tmp_path: Path) -> None:
    folder.put("1.wav", b"sound")
    folder.deliver(record(1, media={"path": "1.wav"}))
    (tmp_path / "link").symlink_to(folder.root)
    vendor = Drop("linna", location=str(tmp_path / "link"))

    assert vendor.open(listed(vendor)[0].ref).read() == b"sound"


def test_a_pipe_or_a_folder_in_place_of_audio_is_missing_audio(folder: Any, record: Any) -> None:
    os.mkfifo(folder.day / "pipe.wav")
    (folder.day / "folder.wav").mkdir()
    folder.deliver(record(1, media={"path": "pipe.wav"}), record(2, media={"path": "folder.wav"}))

    for call in listed(folder.vendor):
        with pytest.raises(AudioMissing):
            folder.vendor.open(call.ref)


# --- deliveries and days ----------------------------------------------------------------------------------------------


def test_a_missing_day_is_absent_and_an_empty_one_complete(folder: Any, next_day: date) -> None:
    folder.deliver()

    assert folder.vendor.day_status(DAY, HELSINKI) == "complete"
    assert listed(folder.vendor) == []
    assert folder.vendor.day_status(next_day, HELSINKI) == "absent"


def test_the_newest_delivery_says_whether_the_day_is_complete(folder: Any, record: Any) -> None:
    folder.deliver(record(1), complete=False)
    assert folder.vendor.day_status(DAY, HELSINKI) == "open"

    folder.deliver(record(2), name="manifest-a.json", delivery_seq=3, complete=True)
    assert folder.vendor.day_status(DAY, HELSINKI) == "complete"

    folder.deliver(record(3), name="manifest-b.json", delivery_seq=2, complete=False)
    assert folder.vendor.day_status(DAY, HELSINKI) == "complete"


def test_a_later_delivery_adds_and_corrects(folder: Any, record: Any) -> None:
    folder.deliver(record(1), record(2), name="manifest-z.json", delivery_seq=1)
    folder.deliver(record(2, duration_ms=1), record(3), name="manifest-a.json", delivery_seq=2)

    calls = listed(folder.vendor)

    # Of a recording that comes twice the last is the valid one.
    assert {c.identity: c.duration_ms for c in calls} == {"canary-1": 60_000, "canary-2": 1, "canary-3": 60_000}


def test_a_duplicate_row_and_one_with_changed_bytes_come_under_the_same_identity(folder: Any, record: Any) -> None:
    folder.deliver(record(1), record(1), record(1, media={"sha256": "ab" * 32}))

    calls = listed(folder.vendor)

    assert {c.identity for c in calls} == {"canary-1"}
    assert [c.media.sha256 == bytes.fromhex("ab" * 32) for c in calls] == [False, False, True]


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json.tmp",
        "manifest.tmp.json",
        ".manifest.json",
        "manifest.json.part",
        "manifest.json~",
        "Xmanifest.json",
    ],
)
def test_an_upload_under_way_is_not_looked_at(folder: Any, record: Any, name: str) -> None:
    folder.put(name, "{")

    assert folder.vendor.day_status(DAY, HELSINKI) == "absent"
    folder.deliver(record(1))
    assert len(listed(folder.vendor)) == 1


def test_audio_of_the_same_folder_is_no_manifest(folder: Any, record: Any) -> None:
    folder.put("manifest.wav", b"x")
    (folder.day / "manifest.json").mkdir()

    assert folder.vendor.day_status(DAY, HELSINKI) == "absent"


def test_a_call_that_starts_on_another_helsinki_day_is_listed_with_its_own_start(folder: Any, record: Any) -> None:
    # The vendor's day is UTC: 22:30Z on the 24th is half past midnight on the 25th in Helsinki.
    folder.deliver(record(1, started_at="2026-11-24T22:30:00Z"), timezone="UTC")

    (call,) = listed(folder.vendor)

    assert call.started_at == datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
    assert call.faults == ()


def test_the_hour_that_comes_twice_is_told_apart_by_its_offset(folder: Any, record: Any) -> None:
    day = date(2026, 10, 25)
    folder.day = folder.root / day.isoformat()
    starts = ["2026-10-25T03:30:00+03:00", "2026-10-25T03:30:00+02:00"]
    folder.deliver(*(record(n, started_at=s) for n, s in enumerate(starts)), business_date=day.isoformat())

    first, second = listed(folder.vendor, day)

    assert second.started_at - first.started_at == timedelta(hours=1)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
def test_days_of_23_and_25_hours_are_folders_like_others(folder: Any, record: Any, day: date) -> None:
    folder.day = folder.root / day.isoformat()
    folder.deliver(record(1), business_date=day.isoformat())

    assert folder.vendor.day_status(day, HELSINKI) == "complete"
    assert len(listed(folder.vendor, day)) == 1


def test_redelivered_after_a_deletion_it_has_the_same_identity(folder: Any, record: Any) -> None:
    folder.put(record(1)["media"]["path"], b"x")
    call = only(folder, record(1))
    folder.vendor.delete(call.ref, "key")
    folder.put(record(1)["media"]["path"], b"x")

    (again,) = listed(folder.vendor)

    assert again.identity == call.identity


def test_a_manifest_that_changes_while_it_is_listed_changes_the_fingerprint(folder: Any, record: Any) -> None:
    folder.deliver(record(1), record(2))
    before = folder.vendor.fingerprint(DAY, HELSINKI)
    listing = folder.vendor.list_day(DAY, HELSINKI)
    next(listing)
    newer = folder.deliver(record(1), record(2), record(3), name="new.json")
    newer.rename(folder.day / "manifest.json")

    assert len(list(listing)) == 1
    assert folder.vendor.fingerprint(DAY, HELSINKI) != before


def test_a_manifest_that_is_written_over_while_it_is_listed_is_not_taken(folder: Any, record: Any) -> None:
    folder.deliver(*map(record, range(5000)))
    listing = folder.vendor.list_day(DAY, HELSINKI)
    next(listing)
    folder.deliver(record(1), record(2))

    with pytest.raises(DeliveryUnreadable):
        list(listing)


# --- manifests that cannot be read ------------------------------------------------------------------------------------


def manifest(records: str = "[]", count: int = 0, **fields: Any) -> str:
    head = {
        "schema_version": 1, "delivery_seq": 1, "business_date": str(DAY), "complete": True, "record_count": count,
    } | fields  # fmt: skip
    return json.dumps(head)[:-1] + f', "records": {records}}}'


CANARY_RECORD = '{"recording_id": "canary-1", "caller_number": "+358409900001"}'
BROKEN = {
    "": "it does not begin with {",
    "[]": "it does not begin with {",
    "<html>0409900001</html>": "it does not begin with {",
    '{"schema_version": 1': "it is cut off, or a comma is missing between its fields",
    '{"schema_version" 1}': "a field's name has no : behind it",
    "{9900001: 1}": "it has a field whose name is no text",
    "{canary: 1}": "one of its fields is no JSON, or is cut off",
    "{}": "it lacks business_date, complete, delivery_seq, record_count, schema_version",
    manifest()[:-1]: "it is cut off, or a comma is missing between its fields",
    manifest() + "x": "there is something behind its end",
    manifest(f"[{CANARY_RECORD}", 1): "it is cut off, or a comma is missing, behind record 1",
    manifest(f"[{CANARY_RECORD}, {CANARY_RECORD[:-4]}]", 2): "record 2 is no JSON, or is cut off",
    manifest(f"[{CANARY_RECORD} {CANARY_RECORD}]", 2): "it is cut off, or a comma is missing, behind record 1",
    manifest(f"[{CANARY_RECORD}, ]", 1): "record 2 is no JSON, or is cut off",
    manifest('{"a": "0409900001"}'): "records is no list",
    manifest(f"[{CANARY_RECORD}]", 2): "it says that it has 2 records, and has 1",
    manifest(count=-1): "record_count is no whole number",
    manifest(record_count="0409900001"): "record_count is no whole number",
    manifest(record_count=True): "record_count is no whole number",
    manifest(delivery_seq=None): "delivery_seq is no whole number",
    manifest(complete="0409900001"): "complete is neither true nor false",
    manifest(schema_version=2): "its schema_version is not 1",
    manifest(schema_version="0409900001"): "its schema_version is not 1",
    manifest(business_date="0409900001"): "business_date is no date (YYYY-MM-DD)",
    manifest(business_date="2026-11-23"): "its business_date is another day than its folder's",
    manifest("[" + "[" * 100_000 + "]"): "record 1 is no JSON, or is cut off",
    manifest('["' + "9" * 2_000_000, 1): "record 1 is no JSON, or is cut off",
    manifest("[" + "9" * 5000 + "]", 1): "record 1 is no JSON, or is cut off",
}


@pytest.mark.parametrize(("text", "word"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_broken_manifest_is_told_by_its_place_and_never_by_its_values(
    folder: Any, text: str, word: str, assert_silent: Silent
) -> None:
    folder.put("manifest-0409900001.json", text)

    with pytest.raises(DeliveryUnreadable) as broken:
        listed(folder.vendor)

    assert str(broken.value) == (
        f"The manifest of linna for 2026-11-24 cannot be read: {word}. Nothing of it was taken. "
        "Ask the vendor to deliver it again."
    )
    assert_silent(broken.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("name", ["manifest.json", "manifest.csv"])
def test_another_encoding_than_utf8_is_refused(
    folder: Any, record: Any, csv_text: Any, name: str, encoding: str, assert_silent: Silent
) -> None:
    records = [record(1, agent="Mäkelä")]
    text = (
        manifest(json.dumps(records, ensure_ascii=False), 1)
        if name.endswith("json")
        else csv_text([record(1, call_id="ä")])
    )
    folder.put(name, text.encode(encoding))

    with pytest.raises(DeliveryUnreadable, match=r"is not UTF-8|has no trailer") as broken:
        listed(folder.vendor)
    assert_silent(broken.value)


def test_a_byte_order_mark_is_fine(folder: Any, record: Any, csv_text: Any) -> None:
    folder.put("manifest.json", "\ufeff" + manifest(json.dumps([record(1)]), 1))
    folder.put("manifest-2.csv", "\ufeff" + csv_text([record(2)]))

    assert [c.faults for c in listed(folder.vendor)] == [(), ()]


def test_the_order_of_the_manifests_fields_does_not_matter(folder: Any, record: Any) -> None:
    fields = json.loads(manifest(json.dumps([record(1), record(2)]), 2))
    folder.put("manifest.json", json.dumps(dict(sorted(fields.items(), reverse=True))))

    assert folder.vendor.day_status(DAY, HELSINKI) == "complete"
    assert len(listed(folder.vendor)) == 2


@pytest.mark.parametrize("size", [3, 5, 17, 1000])
def test_a_manifest_reads_the_same_wherever_its_pieces_are_cut(
    folder: Any, record: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = manifest(json.dumps([record(n, duration_ms=1234567 + n) for n in range(3)]), 3, trailing=12345)
    folder.put("manifest.json", text + "\n  ")
    expected = listed(folder.vendor)

    monkeypatch.setattr("callkeeper.vendors.manifest._CHUNK_CHARS", size)

    assert listed(folder.vendor) == expected
    assert [c.duration_ms for c in expected] == [1234567, 1234568, 1234569]


def test_one_broken_delivery_is_named_by_its_place_among_the_others(folder: Any, record: Any) -> None:
    folder.deliver(record(1))
    folder.put("manifest-2-0409900001.json", "{")

    with pytest.raises(DeliveryUnreadable, match=r"The manifest of linna for 2026-11-24 \(1 of 2 by name\)"):
        folder.vendor.day_status(DAY, HELSINKI)


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_separator_is_found_out(folder: Any, record: Any, csv_text: Any, delimiter: str) -> None:
    folder.put("manifest.csv", csv_text([record(1), record(2)], delimiter=delimiter))

    assert folder.vendor.day_status(DAY, HELSINKI) == "complete"
    assert [c.faults for c in listed(folder.vendor)] == [(), ()]


@pytest.mark.parametrize(
    ("trailer", "word"),
    [
        ("#end,record_count=3", "it says that it has 3 records, and has 2"),
        ("#end,x", "its trailer's record_count is no whole number"),
        ("#end", "its trailer's record_count is no whole number"),
        ("#end,2,complete=perhaps", "its trailer's complete is neither true nor false"),
        ("#end,2,delivery_seq=-1", "its trailer's delivery_seq is no whole number"),
        ("#end,2,business_date=2026-11-23", "its business_date is another day than its folder's"),
        ("", "it has no trailer: its last line should be #end and the number of its records"),
    ],
)
def test_a_csv_without_a_right_trailer_is_not_taken(
    folder: Any, record: Any, csv_text: Any, trailer: str, word: str, assert_silent: Silent
) -> None:
    folder.put("manifest.csv", csv_text([record(1), record(2)], trailer=trailer))

    with pytest.raises(DeliveryUnreadable) as broken:
        listed(folder.vendor)

    assert f"cannot be read: {word}." in str(broken.value)
    assert_silent(broken.value)


@pytest.mark.parametrize(
    "trailer", ["#end,2", "# trailer,2", "record_count,2", "#count=2", "TOTAL,2", "end,record_count=2,x=1"]
)
def test_a_trailer_may_be_worded_in_several_ways(folder: Any, record: Any, csv_text: Any, trailer: str) -> None:
    folder.put("manifest.csv", csv_text([record(1), record(2)], trailer=trailer))

    assert len(listed(folder.vendor)) == 2


def test_the_trailer_says_which_delivery_it_is_and_whether_the_day_is_complete(
    folder: Any, record: Any, csv_text: Any
) -> None:
    folder.put("manifest-a.csv", csv_text([record(1)], trailer="#end,1,delivery_seq=2,complete=false"))
    folder.put("manifest-b.csv", csv_text([record(1)], trailer="#end,1,delivery_seq=1,complete=true"))

    assert folder.vendor.day_status(DAY, HELSINKI) == "open"


def test_a_row_of_another_length_is_a_fault_of_its_own(folder: Any, record: Any, csv_text: Any) -> None:
    text = csv_text([record(1), record(2)], trailer="#end,3").replace("#end", "canary-9,0409900001\r\n#end")
    folder.put("manifest.csv", text)

    assert ["record_invalid" in c.faults for c in listed(folder.vendor)] == [False, False, True]


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("recording_id,caller_number", "its first line lacks the columns direction, duration_ms, path"),
        (
            "started_at,duration_ms,direction,caller_number,service_number,status,path",
            "neither recording_id nor call_id",
        ),
        (
            "call_id,path,media_path,started_at,duration_ms,direction,caller_number,service_number,status",
            "a column twice",
        ),
    ],
)
def test_a_csv_whose_heading_is_wrong_is_not_taken(folder: Any, header: str, word: str) -> None:
    folder.put("manifest.csv", f"{header}\n#end,0\n")

    with pytest.raises(DeliveryUnreadable, match=word):
        listed(folder.vendor)


def test_a_quote_that_is_never_closed_swallows_no_record_silently(folder: Any, record: Any, csv_text: Any) -> None:
    folder.put("manifest.csv", csv_text([record(1), record(2), record(3)]).replace("\ncanary-2", '\n"canary-2'))

    with pytest.raises(DeliveryUnreadable):
        listed(folder.vendor)


# --- the place --------------------------------------------------------------------------------------------------------


def test_nothing_connects_before_it_is_asked() -> None:
    assert Drop("linna", location="no-such-scheme://canary").name == "linna"


def test_a_location_that_cannot_be_used_says_so(assert_silent: Silent) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        Drop("linna", location="no-such-scheme://canary-0409900001/x").day_status(DAY, HELSINKI)
    assert_silent(wrong.value)


def test_an_unmounted_share_is_no_missing_day(folder: Any) -> None:
    folder.day.rmdir()
    assert folder.vendor.day_status(DAY, HELSINKI) == "absent"
    folder.root.rmdir()

    with pytest.raises(VendorUnavailable):
        folder.vendor.day_status(DAY, HELSINKI)


class Flaky(LocalFileSystem):
    """A file system that fails in mid-read, in a library's own words."""

    protocol = "flaky"

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any) -> Any:
        whole = super()._open(path, mode, block_size, **kwargs)

        class Failing:
            def __init__(self) -> None:
                self.reads = 0

            def readinto(self, buffer: Any) -> int:
                self.reads += 1
                if self.reads > 1:
                    raise OSError(f"503 Slow Down: {path}")
                return int(whole.readinto(memoryview(buffer)[:10]))

            def close(self) -> None:
                raise OSError(f"cannot close {path}")

        return Failing()


def test_a_vendor_that_fails_in_mid_read_fails_in_our_words(folder: Any, record: Any, assert_silent: Silent) -> None:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    folder.put(record(1)["media"]["path"], b"x" * 100)
    call = only(folder, record(1))
    vendor = Drop("linna", location=f"flaky://{folder.root}")

    with pytest.raises(VendorUnavailable) as failed, vendor.open(call.ref) as stream:
        stream.read()

    assert_silent(failed.value)
    with pytest.raises(VendorUnavailable) as failed:
        vendor.fingerprint(DAY, HELSINKI)
    assert_silent(failed.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and delete everything")
def test_a_folder_that_we_may_only_read_refuses_a_deletion_and_a_closed_one_refuses_us(
    folder: Any, record: Any
) -> None:
    path = folder.put("1.wav", b"x")
    call = only(folder, record(1, media={"path": "1.wav"}))
    try:
        path.parent.chmod(0o555)
        assert folder.vendor.delete(call.ref, "key") == "refused"
        path.parent.chmod(0o000)
        for ask in (lambda: folder.vendor.open(call.ref), lambda: folder.vendor.day_status(DAY, HELSINKI)):
            with pytest.raises(WrongCredentials):
                ask()
    finally:
        path.parent.chmod(0o755)


def test_a_long_manifest_stays_within_a_few_megabytes(folder: Any, record: Any) -> None:
    records = json.dumps([record(n, notes="x" * 2000) for n in range(50)])[1:-1]
    folder.put("manifest.json", manifest("[" + ", ".join([records] * 100) + "]", 5_000))
    size = (folder.day / "manifest.json").stat().st_size
    assert size > 10 << 20

    tracemalloc.start()
    count = sum(1 for _ in folder.vendor.list_day(DAY, HELSINKI))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 5_000
    assert peak < 6 << 20


def test_the_checksum_is_passed_on_as_claimed_and_not_believed(folder: Any, record: Any) -> None:
    folder.put(record(1)["media"]["path"], b"other bytes")
    call = only(folder, record(1))

    assert call.media.sha256 != hashlib.sha256(folder.vendor.open(call.ref).read()).digest()
