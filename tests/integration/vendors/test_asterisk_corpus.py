"""The recordings and call details of a real Asterisk (tests/corpus/asterisk/README.md), call by call."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from callkeeper.clock import HELSINKI
from callkeeper.vendors import Direction, Media, MediaStatus, VendorCall
from callkeeper.vendors.asterisk import Asterisk

DAY = date(2026, 11, 24)
CORPUS = Path(__file__).parents[2] / "corpus" / "asterisk"
README = (CORPUS / "README.md").read_text(encoding="utf-8")
INBOUND, OUTBOUND = Direction.inbound, Direction.outbound


class Expected(NamedTuple):
    """``other``: the person's number, or "withheld", or "unusable"."""

    call: str
    uniqueid: str
    utc: str
    seconds: int
    direction: Direction | None
    other: str
    line: str
    codec: str | None = None
    legs: int = 0


CALLS = [
    Expected("01", "1795534769.0", "15:39:29", 10, INBOUND, "+358401234501", "+358102708001"),
    Expected("02", "1795534770.1", "15:39:30", 10, INBOUND, "+358401234502", "+358207001234"),
    Expected("03", "1795534771.3", "15:39:31", 8, INBOUND, "+358401234503", "+358102708001"),
    # 04, 08, 12, 16, 20: an old route, its rows name no file.
    Expected("04", "1795534773.4", "15:39:33", 11, INBOUND, "+358401234504", "+358800123456"),
    Expected("05", "1795534780.5", "15:39:40", 10, INBOUND, "+358501234505", "+358102708001", "gsm_ms"),
    Expected("06", "1795534781.6", "15:39:41", 10, INBOUND, "+358451234506", "+358207001234", legs=2),
    Expected("07", "1795534783.8", "15:39:43", 6, INBOUND, "+35891234507", "+358102708001"),
    Expected("08", "1795534785.9", "15:39:45", 6, INBOUND, "+358451234508", "+358800123456", "gsm_ms"),
    # Two phones rang: two rows, of which one was answered.
    Expected("09", "1795534790.10", "15:39:50", 11, INBOUND, "+358501234509", "+358207001234"),
    Expected("10", "1795534791.13", "15:39:51", 10, INBOUND, "+358501234510", "+358102708001", "pcm_alaw"),
    Expected("11", "1795534791.14", "15:39:51", 10, INBOUND, "+358441234511", "+358207001234"),
    Expected("12", "1795534793.16", "15:39:53", 7, INBOUND, "+358401234512", "+358800123456", "pcm_mulaw"),
    Expected("13", "1795534801.17", "15:40:01", 10, INBOUND, "+46701740605", "+358102708001"),
    Expected("14", "1795534802.18", "15:40:02", 7, INBOUND, "withheld", "+358102708001"),
    # Withheld too, yet asserted by the trunk, and nothing in the exchange's files marks it.
    Expected("15", "1795534803.19", "15:40:03", 9, INBOUND, "+358401234512", "+358207001234"),
    Expected("16", "1795534803.21", "15:40:03", 7, INBOUND, "unusable", "+358800123456"),
    Expected("17", "1795534809.22", "15:40:09", 5, None, "unusable", "+358207001234"),
    Expected("18", "1795534811.23", "15:40:11", 10, INBOUND, "+358401234501", "+358207001234"),
    Expected("19", "1795534811.25", "15:40:11", 2, INBOUND, "+358401234501", "+358102708001", "gsm_ms"),
    Expected("20", "1795534814.26", "15:40:14", 9, INBOUND, "+358401234503", "+358800123456"),
    Expected("21", "1795534815.27", "15:40:15", 3, INBOUND, "+358451234506", "+358901112222"),
    Expected("22", "1795534815.28", "15:40:15", 4, INBOUND, "+358441234511", "+358901112222", "gsm_ms"),
    Expected("23", "1795534818.29", "15:40:18", 8, INBOUND, "+358401234503", "+358102708001"),
    Expected("24", "1795534820.30", "15:40:20", 7, INBOUND, "+358401234501", "+358102708001", legs=2),
    Expected("25", "1795534823.31", "15:40:23", 7, OUTBOUND, "+358401234503", "+358207001234"),
    Expected("26", "1795534824.32", "15:40:24", 8, OUTBOUND, "+358501234505", "+358102708001", "gsm_ms"),
    # Through a Local channel: its inner half has a row of its own, and is no call.
    Expected("27", "1795534827.34", "15:40:27", 10, OUTBOUND, "+358501234510", "+358102708001"),
    # The extension that dialled stands in the name, the number shown in the row.
    Expected("28", "1795534827.36", "15:40:27", 8, OUTBOUND, "+358451234506", "+358207001234"),
]


def vendor(part: str = "") -> Asterisk:
    return Asterisk("vaihde", cdr=str(CORPUS / part / "Master.csv"), recordings=str(CORPUS / part))


def listed(part: str = "") -> dict[str, VendorCall]:
    calls = list(vendor(part).list_day(DAY, HELSINKI))
    found = {call.identity: call for call in calls}
    assert len(found) == len(calls)
    return found


def sha256_in_readme(name: str) -> str:
    (digest,) = re.findall(rf"`{re.escape(name)}` .*`([0-9a-f]{{64}})`", README)
    return str(digest)


def test_the_table_has_every_call_of_the_corpus_and_no_other() -> None:
    assert len(CALLS) == 28
    assert set(listed()) == {f"{expected.uniqueid}/0" for expected in CALLS}


@pytest.mark.parametrize("expected", CALLS, ids=[e.call for e in CALLS])
def test_a_call_is_listed_as_it_was(expected: Expected) -> None:
    call = listed()[f"{expected.uniqueid}/0"]
    ref = json.loads(call.ref)
    file = CORPUS / ref["path"]

    assert call == VendorCall(
        ref=call.ref,
        recording_id=None,
        call_id=expected.uniqueid,
        started_at=datetime.fromisoformat(f"2026-11-24T{expected.utc}+00:00").astimezone(UTC),
        duration_ms=expected.seconds * 1000,
        direction=expected.direction,
        other_party=call.other_party,
        service_number=expected.line,
        status=MediaStatus.available,
        media=Media(
            bytes=file.stat().st_size,
            content_type="audio/basic" if file.suffix in (".alaw", ".ulaw") else "audio/wav",
            codec=expected.codec,
        ),
        faults=() if expected.direction else ("direction_unknown",),
    )
    assert str(call.other_party) == expected.other
    assert len(ref.get("beside", [])) == expected.legs
    assert file.stem.endswith(expected.uniqueid)


@pytest.mark.parametrize("expected", CALLS, ids=[e.call for e in CALLS])
def test_a_calls_audio_is_the_mixed_file_byte_by_byte(expected: Expected) -> None:
    call = listed()[f"{expected.uniqueid}/0"]

    with vendor().open(call.ref) as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()

    assert digest == sha256_in_readme(json.loads(call.ref)["path"])


def test_the_damaged_pieces_come_as_what_they_are() -> None:
    found = listed("broken")

    facts = {c.call_id: (c.status, c.duration_ms, c.media.bytes, c.faults) for c in found.values()}

    available, absent, unanswered = MediaStatus.available, MediaStatus.absent, MediaStatus.unanswered
    assert facts == {
        "1795534848.40": (available, 9000, 64829, ()),  # b1, cut: its bytes will tell
        "1795534849.41": (available, 7000, 0, ()),  # b2, emptied
        "1795534850.42": (available, 5000, 324, ()),  # b3, a page of HTML
        "1795534852.43": (available, 9000, 32812, ()),  # b4, copied while it grew
        "1795534856.44": (absent, 10000, None, ()),  # b5, call details without a file
        "1795534857.46": (available, None, 171564, ("metadata_missing",)),  # b6, a file without call details
        "1795534858.47": (unanswered, 0, 44, ()),  # b7, nobody answered: a bare header
    }


def test_of_audio_without_call_details_nothing_is_guessed() -> None:
    call = listed("broken")["1795534857.46/0"]

    assert (call.started_at, call.direction, call.service_number) == (None, None, None)
    assert str(call.other_party) == "unusable"


def test_the_audio_of_call_details_without_a_file_is_missing_and_already_gone() -> None:
    call = listed("broken")["1795534856.44/0"]

    assert vendor("broken").delete(call.ref, "key") == "already_gone"
    assert str(call.other_party) == "+358451234508"


def test_without_a_later_call_the_day_is_not_over() -> None:
    assert vendor().day_status(DAY, HELSINKI) == "open"


def test_the_copy_in_this_project_is_whole() -> None:
    for name, digest in re.findall(r"`((?:broken/)?2026/[^`]+)` .*`([0-9a-f]{64})`", README):
        file: Any = CORPUS / name
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
