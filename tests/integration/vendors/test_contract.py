"""What every vendor keeps to, whatever it is: the drop in a folder and on S3, by JSON and by CSV, and the exchange."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from callkeeper.clock import HELSINKI
from callkeeper.errors import AudioMissing, CallkeeperError, VendorUnavailable
from callkeeper.vendors import Vendor

Silent = Callable[[BaseException], None]


def test_it_is_a_vendor(case: Any) -> None:
    assert isinstance(case.vendor, Vendor)
    assert case.vendor.capabilities.delete


def test_a_day_is_listed_the_same_twice(case: Any) -> None:
    first = list(case.vendor.list_day(case.day, HELSINKI))
    again = list(case.vendor.list_day(case.day, HELSINKI))

    assert first == again
    assert {c.ref for c in first} == {c.ref for c in again}
    assert case.audio.keys() <= {c.identity for c in first}


def test_a_day_is_listed_lazily(case: Any) -> None:
    assert inspect.isgenerator(case.vendor.list_day(case.day, HELSINKI))
    # Nothing is asked of a vendor before the first call is wanted.
    case.unreachable.list_day(case.day, HELSINKI)


def test_every_time_is_aware_and_every_line_is_e164(case: Any) -> None:
    for call in case.vendor.list_day(case.day, HELSINKI):
        assert call.started_at.utcoffset() is not None
        assert call.service_number.startswith("+358")


def test_a_delivered_day_is_complete_and_another_is_absent(case: Any) -> None:
    assert case.vendor.day_status(case.day, HELSINKI) == "complete"
    assert case.vendor.day_status(case.day - timedelta(days=10), HELSINKI) == "absent"
    assert list(case.vendor.list_day(case.day - timedelta(days=10), HELSINKI)) == []


def test_the_fingerprint_stays_while_nothing_changes_and_changes_with_a_new_delivery(case: Any) -> None:
    before = case.vendor.fingerprint(case.day, HELSINKI)
    assert len(before) == 32
    assert case.vendor.fingerprint(case.day, HELSINKI) == before
    found = {c.identity for c in case.vendor.list_day(case.day, HELSINKI)}

    case.deliver_more()

    assert case.vendor.fingerprint(case.day, HELSINKI) != before
    assert found < {c.identity for c in case.vendor.list_day(case.day, HELSINKI)}


def test_an_absent_day_has_a_fingerprint_too(case: Any) -> None:
    assert len(case.vendor.fingerprint(case.day - timedelta(days=10), HELSINKI)) == 32


def test_the_audio_comes_as_a_stream_of_the_very_bytes(case: Any) -> None:
    for identity, expected in case.audio.items():
        call = case.call(identity)
        with case.vendor.open(call.ref) as stream:
            found = b""
            while piece := stream.read(1000):
                found += piece
        assert found == expected
        assert call.media.bytes == len(expected)


def test_missing_audio_is_told_without_its_name(case: Any, assert_silent: Silent) -> None:
    identity = next(iter(case.audio))
    ref = case.call(identity).ref
    case.lose_audio(identity)

    with pytest.raises(AudioMissing) as missing:
        case.vendor.open(ref)

    assert_silent(missing.value)


def test_deleted_audio_is_confirmed_and_deleting_it_again_finds_nothing(case: Any) -> None:
    identity, other = list(case.audio)[:2]
    ref, other_ref = case.call(identity).ref, case.call(other).ref
    assert case.vendor.confirm_deleted(ref) is False

    assert case.vendor.delete(ref, "key") == "deleted"

    assert case.vendor.confirm_deleted(ref) is True
    assert case.vendor.delete(ref, "key") == "already_gone"
    with pytest.raises(AudioMissing):
        case.vendor.open(ref)
    assert case.vendor.confirm_deleted(other_ref) is False
    assert case.vendor.open(other_ref).read() == case.audio[other]


def test_audio_that_somebody_else_deleted_is_already_gone(case: Any) -> None:
    identity = next(iter(case.audio))
    ref = case.call(identity).ref
    case.lose_audio(identity)

    assert case.vendor.delete(ref, "key") == "already_gone"
    assert case.vendor.confirm_deleted(ref) is True


QUESTIONS: dict[str, Callable[[Vendor, Any], object]] = {
    "day_status": lambda vendor, case: vendor.day_status(case.day, HELSINKI),
    "fingerprint": lambda vendor, case: vendor.fingerprint(case.day, HELSINKI),
    "list_day": lambda vendor, case: list(vendor.list_day(case.day, HELSINKI)),
}


def test_an_unreachable_vendor_says_so_and_may_be_asked_again(case: Any, assert_silent: Silent) -> None:
    for ask in QUESTIONS.values():
        with pytest.raises(VendorUnavailable) as down:
            ask(case.unreachable, case)
        assert down.value.retry
        assert_silent(down.value)


def test_nothing_that_can_be_printed_shows_a_number_or_a_name(case: Any) -> None:
    calls = list(case.vendor.list_day(case.day, HELSINKI))
    printed = f"{calls!r} {case.vendor!r} {vars(case.vendor)!r} {case.vendor}"

    numbers = [call.other_party.e164 for call in calls if call.other_party.e164]
    assert numbers
    assert not any(number in printed for number in numbers)
    assert "canary" not in printed
    assert not any(identity in printed for identity in case.audio)


def test_a_reference_from_elsewhere_cannot_leave_the_vendors_place(case: Any, assert_silent: Silent) -> None:
    for path in ("../../../etc/passwd", "/etc/passwd", "a/../../x", "a\\b", "C:x"):
        ref = '{"path":"' + path.replace("\\", "\\\\") + '"}'
        with pytest.raises(CallkeeperError) as refused:
            case.vendor.open(ref)
        assert isinstance(refused.value, AudioMissing)
        assert "leaves its folder" in str(refused.value)
        assert_silent(refused.value)
        assert case.vendor.delete(ref, "key") == "refused"
