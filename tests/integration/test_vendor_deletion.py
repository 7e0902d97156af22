"""Deletion at a vendor: what a drop in a folder and the vendor in memory both do, and what the latter can do besides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from callkeeper.errors import AudioMissing, CallkeeperError, VendorUnavailable, WrongCredentials
from callkeeper.vendors import Vendor, VendorRef
from callkeeper.vendors.drop import Drop
from fakes.vendor import FakeVendor, Manner


@dataclass(frozen=True, kw_only=True)
class Case:
    """``add`` puts a recording there and gives its reference; ``unreachable`` is the same kind of vendor, away."""

    vendor: Vendor
    add: Callable[[str], VendorRef]
    unreachable: Vendor


def drop_case(folder: Path) -> Case:
    day = folder / "linna" / "2026-11-24"
    day.mkdir(parents=True)

    def add(name: str) -> VendorRef:
        (day / f"{name}.wav").write_bytes(b"audio")
        return VendorRef(json.dumps({"path": f"2026-11-24/{name}.wav"}))

    return Case(
        vendor=Drop("linna", location=str(day.parent)),
        add=add,
        unreachable=Drop(
            "linna",
            location="s3://drop",
            options={"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"},
        ),
    )


def fake_case() -> Case:
    vendor, away = FakeVendor(), FakeVendor()
    for operation in ("delete", "confirm_deleted"):
        away.fail(operation, "before", times=100)  # type: ignore[arg-type]  # the two names above
    return Case(vendor=vendor, add=vendor.add, unreachable=away)


@pytest.fixture(params=["fake", "drop"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return fake_case() if request.param == "fake" else drop_case(tmp_path)


def has_audio(vendor: Vendor, ref: VendorRef) -> bool:
    try:
        with vendor.open(ref) as audio:
            return audio.read() == b"audio"
    except AudioMissing:
        return False


def test_both_are_vendors_that_can_delete(case: Case) -> None:
    assert isinstance(case.vendor, Vendor)
    assert case.vendor.capabilities.delete
    assert case.vendor.capabilities.confirm_deleted


def test_what_is_deleted_is_gone_and_nothing_else_is(case: Case) -> None:
    going, staying = case.add("1"), case.add("2")
    assert case.vendor.confirm_deleted(going) is False

    assert case.vendor.delete(going, "key-1") == "deleted"

    assert case.vendor.confirm_deleted(going) is True
    assert case.vendor.confirm_deleted(staying) is False
    assert not has_audio(case.vendor, going)
    assert has_audio(case.vendor, staying)


def test_asked_again_with_the_same_key_it_is_gone_all_the_same(case: Case) -> None:
    ref = case.add("1")

    answers = [case.vendor.delete(ref, "key-1") for _ in range(3)]

    assert answers[0] == "deleted"
    assert set(answers) <= {"deleted", "already_gone"}
    assert case.vendor.confirm_deleted(ref) is True


def test_what_is_not_there_is_already_gone(case: Case) -> None:
    ref = case.add("1")
    case.vendor.delete(ref, "key-1")

    assert case.vendor.delete(ref, "another key") == "already_gone"
    assert case.vendor.confirm_deleted(ref) is True


def test_a_recording_delivered_again_is_seen_and_can_go_again(case: Case) -> None:
    ref = case.add("1")
    case.vendor.delete(ref, "key-1")
    assert case.add("1") == ref

    assert case.vendor.confirm_deleted(ref) is False
    assert case.vendor.delete(ref, "key-2") == "deleted"

    assert case.vendor.confirm_deleted(ref) is True


def test_a_vendor_that_is_away_has_not_answered(case: Case) -> None:
    ref = case.add("1")

    for question in (case.unreachable.confirm_deleted, lambda ref: case.unreachable.delete(ref, "key-1")):
        with pytest.raises(CallkeeperError) as caught:
            question(ref)
        assert type(caught.value) is VendorUnavailable
        assert caught.value.retry


# --- the vendor in memory ---------------------------------------------------------------------------------------------


def test_an_accepted_deletion_takes_its_polls() -> None:
    vendor = FakeVendor(manner="accepts", polls=2)
    ref = vendor.add("1")

    assert vendor.delete(ref, "key-1") == "accepted"
    assert has_audio(vendor, ref)

    assert [vendor.confirm_deleted(ref) for _ in range(4)] == [False, False, True, True]
    assert vendor.deletions[ref] == 1


@pytest.mark.parametrize(("manner", "answer"), [("refuses", "refused"), ("cannot", "unsupported")])
def test_what_is_not_to_be_deleted_stays(manner: Manner, answer: str) -> None:
    vendor = FakeVendor(manner=manner)
    ref = vendor.add("1")

    assert vendor.delete(ref, "key-1") == answer

    assert vendor.confirm_deleted(ref) is False
    assert has_audio(vendor, ref)
    assert vendor.capabilities.delete is (manner != "cannot")


def test_single_recordings_have_manners_of_their_own() -> None:
    vendor = FakeVendor()
    easy, hard = vendor.add("1"), vendor.add("2")
    vendor.manners[hard] = "refuses"

    assert [vendor.delete(ref, f"key-{ref}") for ref in (easy, hard)] == ["deleted", "refused"]


def test_who_changes_its_mind_is_heard_by_a_new_question() -> None:
    vendor = FakeVendor()
    ref = vendor.add("1")
    vendor.manners[ref] = "refuses"
    assert vendor.delete(ref, "key-1") == "refused"

    del vendor.manners[ref]

    assert vendor.delete(ref, "key-1") == "deleted"


def test_a_lost_answer_is_a_deletion_and_asked_again_is_answered_without_another_one() -> None:
    vendor = FakeVendor()
    ref = vendor.add("1")
    vendor.fail("delete", "after")

    with pytest.raises(VendorUnavailable):
        vendor.delete(ref, "key-1")
    assert not has_audio(vendor, ref)

    assert vendor.delete(ref, "key-1") == "deleted"
    assert vendor.keys == {(ref, "key-1"): 2}
    assert vendor.deletions == {ref: 1}


def test_an_error_before_the_effect_leaves_it_and_credentials_can_be_revoked() -> None:
    vendor = FakeVendor()
    ref = vendor.add("1")
    vendor.fail("delete", "before")
    vendor.fail("delete", "denied", nth=2)

    with pytest.raises(VendorUnavailable):
        vendor.delete(ref, "key-1")
    with pytest.raises(WrongCredentials):
        vendor.delete(ref, "key-1")

    assert has_audio(vendor, ref)
    assert vendor.keys == {}


def test_a_request_that_a_library_sends_twice_deletes_once() -> None:
    vendor = FakeVendor()
    ref = vendor.add("1")
    vendor.fail("delete", "twice")

    assert vendor.delete(ref, "key-1") == "deleted"

    assert vendor.keys == {(ref, "key-1"): 2}
    assert vendor.deletions == {ref: 1}


def test_a_vendor_that_cannot_tell_says_so() -> None:
    vendor = FakeVendor(confirms=False)
    ref = vendor.add("1")

    assert vendor.delete(ref, "key-1") == "deleted"

    assert vendor.confirm_deleted(ref) is None
    assert not vendor.capabilities.confirm_deleted
