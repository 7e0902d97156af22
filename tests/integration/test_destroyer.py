"""The store's edge for deletion: what SeaweedFS and the store in memory both do, and what only the real one can get wrong."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import pytest
from botocore.awsrequest import AWSResponse

from callkeeper.embedded.ports import free_ports
from callkeeper.embedded.store import RECORDINGS, REGION, SeaweedFS
from callkeeper.errors import CallkeeperError, StoreRefused, StoreUnavailable, WrongCredentials
from callkeeper.media import Destroyer, Holder, ObjectVersion, Store
from callkeeper.media.s3 import DELETE_KEYS, S3Store
from fakes.store import FakeStore


class Side(Store, Destroyer, Holder, Protocol):
    """What one identity can try: everything. Whether it may is the question."""

    # Store's and Destroyer's versions() in one.
    def versions(self, prefix: str, *, first: str = "", last: str = "") -> Iterator[ObjectVersion]: ...


@dataclass(frozen=True, kw_only=True)
class Sides:
    """One store by its three identities, and what others do to it: one more version, a marker, an unfinished upload."""

    importer: Side
    destroyer: Side
    holder: Side
    add: Callable[[str], ObjectVersion]
    hide: Callable[[str], ObjectVersion]
    begin_upload: Callable[[str], str]


def s3_side(server: SeaweedFS, identity: str, **more: Any) -> S3Store:
    access_key, secret_key = server.credentials(identity)
    given = {"endpoint": server.endpoint, "region": REGION, "bucket": RECORDINGS, "attempts": 2}
    return S3Store(**(given | {"access_key": access_key, "secret_key": secret_key} | more))


def real_sides(server: SeaweedFS) -> Sides:
    admin = server.client()

    def add(key: str) -> ObjectVersion:
        version_id = admin.put_object(Bucket=RECORDINGS, Key=key, Body=b"audio")["VersionId"]
        return ObjectVersion(key=key, version_id=version_id, is_delete_marker=False, size_bytes=5)

    def hide(key: str) -> ObjectVersion:
        version_id = admin.delete_object(Bucket=RECORDINGS, Key=key)["VersionId"]
        return ObjectVersion(key=key, version_id=version_id, is_delete_marker=True, size_bytes=0)

    def begin_upload(key: str) -> str:
        upload_id = admin.create_multipart_upload(Bucket=RECORDINGS, Key=key)["UploadId"]
        admin.upload_part(Bucket=RECORDINGS, Key=key, UploadId=upload_id, PartNumber=1, Body=b"half a call")
        return str(upload_id)

    importer, destroyer, holder = (s3_side(server, name) for name in ("importer", "destroyer", "holder"))
    return Sides(importer=importer, destroyer=destroyer, holder=holder, add=add, hide=hide, begin_upload=begin_upload)


def fake_sides() -> Sides:
    fake = FakeStore()
    return Sides(
        importer=fake.as_importer,
        destroyer=fake.as_destroyer,
        holder=fake.as_holder,
        add=fake.add,
        hide=fake.hide,
        begin_upload=fake.begin_upload,
    )


@pytest.fixture(scope="module")
def real(seaweed: SeaweedFS) -> Sides:
    return real_sides(seaweed)


@pytest.fixture(params=["fake", "seaweedfs"])
def store(request: pytest.FixtureRequest) -> Sides:
    return fake_sides() if request.param == "fake" else request.getfixturevalue("real")


@pytest.fixture
def folder() -> str:
    return f"rec/2027-05-25/{uuid4()}"


def listed(side: Side, prefix: str, **narrowed: str) -> set[tuple[str, str]]:
    return {(v.key, v.version_id) for v in side.versions(prefix, **narrowed)}


def names(versions: Sequence[ObjectVersion]) -> set[tuple[str, str]]:
    return {(v.key, v.version_id) for v in versions}


# --- what goes --------------------------------------------------------------------------------------------------------


def test_exactly_the_versions_that_are_named_go(store: Sides, folder: str) -> None:
    old, new, other = store.add(f"{folder}/1"), store.add(f"{folder}/1"), store.add(f"{folder}/2")

    assert store.destroyer.delete([old]) == {}

    assert listed(store.destroyer, folder) == names([new, other])


def test_a_delete_marker_hides_and_is_not_gone(store: Sides, folder: str) -> None:
    call, marker = store.add(folder), store.hide(folder)

    found = list(store.destroyer.versions(folder))

    assert store.importer.head(folder) is None
    assert {(v.version_id, v.is_delete_marker) for v in found} == {(call.version_id, False), (marker.version_id, True)}


def test_a_marker_goes_as_any_version_does_and_what_it_hid_comes_back(store: Sides, folder: str) -> None:
    call, marker = store.add(folder), store.hide(folder)

    assert store.destroyer.delete([marker]) == {}
    assert listed(store.destroyer, folder) == names([call])
    assert store.importer.head(folder) is not None

    assert store.destroyer.delete([call]) == {}
    assert listed(store.destroyer, folder) == set()


def test_what_is_gone_already_or_never_was_is_no_failure(store: Sides, folder: str) -> None:
    call, staying = store.add(f"{folder}/1"), store.add(f"{folder}/2")
    never = ObjectVersion(
        key=f"{folder}/3", version_id="6714f6031390bd4c8795816f03939f32", is_delete_marker=False, size_bytes=1
    )
    other_version = ObjectVersion(
        key=staying.key, version_id="6714f6031390bd4c8795816f03939f32", is_delete_marker=False, size_bytes=1
    )

    assert store.destroyer.delete([call]) == {}
    assert store.destroyer.delete([call, never, other_version]) == {}
    assert store.destroyer.delete([]) == {}

    assert listed(store.destroyer, folder) == names([staying])


def test_the_versions_of_a_key_go_in_any_order(store: Sides, folder: str) -> None:
    order = random.Random(5)
    for n in range(5):
        key = f"{folder}/{n}"
        there = [store.hide(key) if order.random() < 0.3 else store.add(key) for _ in range(7)]
        order.shuffle(there)
        while there:
            going, there = there[:2], there[2:]

            assert store.destroyer.delete(going) == {}
            assert listed(store.destroyer, key) == names(there)


def test_many_versions_go_in_calls_of_a_thousand_and_a_listing_has_them_all(store: Sides, folder: str) -> None:
    keys = [f"{folder}/{uuid4()}" for _ in range(DELETE_KEYS + 150)]
    with ThreadPoolExecutor(8) as lanes:
        there = list(lanes.map(store.add, keys))

    assert listed(store.destroyer, folder) == names(there)

    assert store.destroyer.delete(there) == {}
    assert listed(store.destroyer, folder) == set()


# --- holds ------------------------------------------------------------------------------------------------------------


def test_what_is_held_is_refused_with_its_name_and_the_others_go(store: Sides, folder: str) -> None:
    calls = [store.add(f"{folder}/{n}") for n in range(3)]
    assert store.holder.hold(calls[1].key, calls[1].version_id)

    failed = store.destroyer.delete(calls)

    assert failed == {(calls[1].key, calls[1].version_id): "denied"}
    assert listed(store.destroyer, folder) == names([calls[1]])
    with store.importer.open(calls[1].key, calls[1].version_id) as audio:
        assert audio.read() == b"audio"
    assert store.holder.release(calls[1].key, calls[1].version_id)


def test_the_destroyer_can_neither_place_nor_lift_a_hold(store: Sides, folder: str) -> None:
    call = store.add(folder)
    store.holder.hold(call.key, call.version_id)

    with pytest.raises(StoreRefused):
        store.destroyer.release(call.key, call.version_id)
    with pytest.raises(StoreRefused):
        store.destroyer.hold(call.key, call.version_id)

    assert store.holder.is_held(call.key, call.version_id) is True
    store.holder.release(call.key, call.version_id)


def test_nobody_but_the_destroyer_deletes(store: Sides, folder: str) -> None:
    call, marker = store.add(folder), store.hide(folder)

    for side in (store.importer, store.holder):
        assert side.delete([call, marker]) == {
            (folder, call.version_id): "denied",
            (folder, marker.version_id): "denied",
        }

    assert listed(store.destroyer, folder) == names([call, marker])


def test_the_destroyer_neither_writes_nor_reads(store: Sides, folder: str) -> None:
    call = store.add(folder)

    with pytest.raises(StoreRefused):
        store.destroyer.open(call.key, call.version_id)
    with pytest.raises(StoreRefused):
        store.destroyer.put(
            f"{folder}/2",
            io.BytesIO(b"x"),
            sha256=hashlib.sha256(b"x").digest(),
            size_bytes=1,
            content_type="audio/wav",
        )

    assert listed(store.destroyer, folder) == names([call])


def test_a_hold_is_placed_seen_and_lifted(store: Sides, folder: str) -> None:
    call = store.add(folder)
    assert store.holder.is_held(call.key, call.version_id) is False

    for _ in range(2):
        assert store.holder.hold(call.key, call.version_id) is True
        assert store.holder.is_held(call.key, call.version_id) is True
    for _ in range(2):
        assert store.holder.release(call.key, call.version_id) is True
        assert store.holder.is_held(call.key, call.version_id) is False

    assert store.destroyer.delete([call]) == {}
    assert listed(store.destroyer, folder) == set()


def test_a_hold_belongs_to_one_version(store: Sides, folder: str) -> None:
    old, new = store.add(folder), store.add(folder)
    store.holder.hold(old.key, old.version_id)

    assert store.holder.is_held(new.key, new.version_id) is False
    assert store.destroyer.delete([old, new]) == {(old.key, old.version_id): "denied"}

    store.holder.release(old.key, old.version_id)


def test_what_is_not_there_can_be_neither_held_nor_released(store: Sides, folder: str) -> None:
    call = store.add(folder)
    store.destroyer.delete([call])

    assert store.holder.hold(call.key, call.version_id) is False
    assert store.holder.release(call.key, call.version_id) is False
    assert store.holder.is_held(call.key, call.version_id) is None
    assert listed(store.destroyer, folder) == set()


# --- listings ---------------------------------------------------------------------------------------------------------


def test_a_range_has_its_two_ends_and_nothing_beside_them(store: Sides, folder: str) -> None:
    calls = [store.add(f"{folder}/{n:02x}") for n in range(0, 40, 4)]
    keys = [c.key for c in calls]
    store.hide(keys[3])

    def ranged(first: str, last: str) -> list[str]:
        return sorted({v.key for v in store.destroyer.versions(f"{folder}/", first=first, last=last)})

    assert ranged(keys[2], keys[5]) == keys[2:6]
    assert ranged(keys[0], keys[0]) == keys[:1]
    assert ranged(keys[4], "") == keys[4:]
    assert ranged("", keys[4]) == keys[:5]
    assert ranged(f"{folder}/05", f"{folder}/0b") == [keys[2]]
    assert ranged(f"{folder}/05", f"{folder}/07") == []
    # The ends may lie outside the prefix.
    assert ranged("rec/", "rec/9") == keys
    assert ranged(f"{folder}/", keys[1]) == keys[:2]
    assert ranged("sec", "tec") == []
    assert len(list(store.destroyer.versions(f"{folder}/", first=keys[3], last=keys[3]))) == 2


def test_a_day_is_listed_without_its_neighbours(store: Sides, folder: str) -> None:
    calls = {day: store.add(f"{folder}/2027-05-{day}/{uuid4()}") for day in (24, 25, 26)}

    assert listed(store.destroyer, f"{folder}/2027-05-25/") == names([calls[25]])
    assert listed(store.destroyer, f"{folder}/2027-05-25/", first=calls[25].key, last=calls[25].key) == names(
        [calls[25]]
    )
    assert listed(store.destroyer, f"{folder}/", first=calls[25].key) == names([calls[25], calls[26]])


# --- unfinished uploads -----------------------------------------------------------------------------------------------


def test_unfinished_uploads_are_found_although_no_version_shows_them_and_are_ended(store: Sides, folder: str) -> None:
    mine = sorted((f"{folder}/{n}", store.begin_upload(f"{folder}/{n}")) for n in (1, 1, 2))
    elsewhere = f"{folder}-other", store.begin_upload(f"{folder}-other")

    assert listed(store.destroyer, folder) == set()
    assert sorted(store.destroyer.uploads(f"{folder}/")) == mine

    for upload in mine:
        store.destroyer.abort_upload(*upload)
    assert list(store.destroyer.uploads(f"{folder}/")) == []
    assert elsewhere in list(store.destroyer.uploads(folder))

    store.destroyer.abort_upload(*mine[0])  # again is no error
    store.destroyer.abort_upload(*elsewhere)


# --- what only a real store can get wrong -----------------------------------------------------------------------------


def small_pages(side: S3Store, size: int) -> list[str]:
    """Lets a store ask for small pages; what it asked is written down."""
    asked: list[str] = []

    def shrink(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        asked.append(model.name)
        return params | ({"MaxKeys": size} if model.name == "ListObjectVersions" else {"MaxUploads": size})

    for listing in ("ListObjectVersions", "ListMultipartUploads"):
        side._s3.meta.events.register(f"provide-client-params.s3.{listing}", shrink)
    return asked


def test_any_range_over_many_pages_is_what_sorting_says(seaweed: SeaweedFS, real: Sides, folder: str) -> None:
    choose = random.Random(11)
    there = {
        real.add(f"{folder}/2027-05-{day:02}/{choose.getrandbits(32):08x}").key for day in range(1, 6) for _ in range(6)
    }
    side = s3_side(seaweed, "destroyer")
    small_pages(side, 4)
    for _ in range(150):
        prefix = choose.choice([f"{folder}/", f"{folder}/2027-05-03", f"{folder}/2027-05-04/"])
        first, last = (choose.choice(["", *there])[: choose.randint(len(folder), len(folder) + 20)] for _ in "12")

        found = {v.key for v in side.versions(prefix, first=first, last=last)}

        assert found == {k for k in there if k.startswith(prefix) and first <= k and (not last or k <= last)}


KEYS_IN_USE = (
    "doctor/legal-hold",
    "doctor/3e1b5c1e-6a5e-4f0b-9df6-0c6a9f6e0001",
    "rec/2027-05-31/3e1b5c1e-6a5e-4f0b-9df6-0c6a9f6e0001",
    "rec/2027-05-31/3e1b5c1e-6a5e-4f0b-9df6-0c6a9f6e0002",
    "rec/2027-06-01/3e1b5c1e-6a5e-4f0b-9df6-0c6a9f6e0001",
    "reports/deletion/2027-05.pdf",
    "reports/deletion/2027-05-31/7.html",
    "reports/deletion/2027-05-31/7.json",
    "reports/deletion/2027-05-31/70.html",
    "reports/deletion/2027-05-31/70.json",
    "reports/deletion/2027-06.pdf",
    "reports/deletion/2027-06-01/71.json",
    "tombstones/2027-05-31/7-0a1b.jsonl",
    "tombstones/2027-05-31/7-0a1c.jsonl",
    "tombstones/2027-05-31/70-0a1b.jsonl",
)
"""Keys as callkeeper makes them. SeaweedFS leaves out keys of some other shapes when it lists in pages (ADR 0155)."""


@pytest.mark.parametrize("size", [1, 2, 3])
def test_keys_as_we_make_them_are_all_listed_however_the_pages_fall(
    seaweed: SeaweedFS, real: Sides, folder: str, size: int
) -> None:
    there = [real.add(f"{folder}/{key}") for key in KEYS_IN_USE]
    side = s3_side(seaweed, "destroyer")
    small_pages(side, size)

    assert listed(side, f"{folder}/") == names(there)


def test_a_range_costs_only_its_range(seaweed: SeaweedFS, real: Sides, folder: str) -> None:
    keys = [real.add(f"{folder}/{n:03}").key for n in range(60)]
    side = s3_side(seaweed, "destroyer")
    asked = small_pages(side, 5)

    assert len(list(side.versions(folder, first=keys[20], last=keys[23]))) == 4

    assert len(asked) <= 2


def test_unfinished_uploads_are_listed_over_many_pages(seaweed: SeaweedFS, real: Sides, folder: str) -> None:
    begun = {(f"{folder}/{n // 3}", real.begin_upload(f"{folder}/{n // 3}")) for n in range(11)}
    side = s3_side(seaweed, "destroyer")
    asked = small_pages(side, 4)

    assert sorted(side.uploads(f"{folder}/")) == sorted(begun)

    assert len(asked) >= 3
    for upload in begun:
        side.abort_upload(*upload)


def test_an_ended_uploads_parts_are_gone_from_the_store(seaweed: SeaweedFS, real: Sides, folder: str) -> None:
    def parts() -> int:
        return seaweed._shell(f"fs.tree /buckets/{RECORDINGS}/.uploads/").count(".part")

    before = parts()
    upload = real.begin_upload(folder)
    assert parts() == before + 1

    real.destroyer.abort_upload(folder, upload)

    assert parts() == before


def answering(side: S3Store, operation: str, status: int, body: str) -> None:
    """Lets another answer come in the store's place."""

    class Raw(io.BytesIO):
        def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
            yield self.read()

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, status, {"content-type": "application/xml"}, Raw(body.encode()))

    side._s3.meta.events.register(f"before-send.s3.{operation}", answer)


DELETE_RESULT = "<DeleteResult>{}</DeleteResult>"
KEY, VERSION = "rec/2027-05-25/3f0c-canary", "v1-canary"
CALL = ObjectVersion(key=KEY, version_id=VERSION, is_delete_marker=False, size_bytes=1)


def error(code: str) -> str:
    return DELETE_RESULT.format(
        f"<Error><Key>{KEY}</Key><VersionId>{VERSION}</VersionId><Code>{code}</Code><Message>m</Message></Error>"
    )


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("AccessDenied", "denied"),
        ("InternalError", "unavailable"),
        ("SlowDown", "unavailable"),
        ("ServiceUnavailable", "unavailable"),
        ("NoSuchVersion", None),
        ("NoSuchKey", None),
        ("InvalidArgument", "unknown"),
        ("", "unknown"),
    ],
)
def test_what_is_said_of_a_single_version_is_read(seaweed: SeaweedFS, code: str, ours: str | None) -> None:
    side = s3_side(seaweed, "destroyer")
    answering(side, "DeleteObjects", 200, error(code))

    assert side.delete([CALL]) == ({(KEY, VERSION): ours} if ours else {})


WHOLE: dict[str, tuple[str, Callable[[S3Store], object]]] = {
    "delete": ("DeleteObjects", lambda side: side.delete([CALL])),
    "versions": ("ListObjectVersions", lambda side: list(side.versions(KEY))),
    "uploads": ("ListMultipartUploads", lambda side: list(side.uploads(KEY))),
    "is_held": ("GetObjectLegalHold", lambda side: side.is_held(KEY, VERSION)),
    "hold": ("PutObjectLegalHold", lambda side: side.hold(KEY, VERSION)),
}


@pytest.mark.parametrize(
    ("status", "body", "wrong"),
    [
        (503, "<Error><Code>SlowDown</Code></Error>", StoreUnavailable),
        (500, "<Error><Code>InternalError</Code></Error>", StoreUnavailable),
        (500, f"<html>{KEY} {VERSION}", StoreUnavailable),
        (403, "<Error><Code>AccessDenied</Code></Error>", StoreRefused),
        (403, "<Error><Code>InvalidAccessKeyId</Code></Error>", WrongCredentials),
        (404, f"<html><body>no such page: {KEY}</body></html>", StoreRefused),
    ],
)
@pytest.mark.parametrize("operation", WHOLE)
def test_a_call_that_fails_as_a_whole_is_an_error_of_ours_and_no_answer(
    seaweed: SeaweedFS, operation: str, status: int, body: str, wrong: type[CallkeeperError]
) -> None:
    name, call = WHOLE[operation]
    side = s3_side(seaweed, "destroyer", attempts=1)
    answering(side, name, status, body)

    with pytest.raises(CallkeeperError) as caught:
        call(side)

    assert type(caught.value) is wrong
    assert_silent(caught.value)


@pytest.mark.parametrize("operation", ["delete", "versions", "uploads", "is_held"])
def test_an_answer_that_is_no_xml_is_none(seaweed: SeaweedFS, operation: str) -> None:
    name, call = WHOLE[operation]
    side = s3_side(seaweed, "destroyer", attempts=1)
    answering(side, name, 200, f"<html>{KEY} {VERSION}")

    with pytest.raises(StoreUnavailable) as caught:
        call(side)

    assert_silent(caught.value)


def assert_silent(wrong: BaseException) -> None:
    """botocore's own error, which holds the answer's text, shows in no traceback."""
    assert "canary" not in f"{wrong} {wrong!r}"
    assert wrong.__suppress_context__
    assert wrong.__cause__ is None


@pytest.mark.parametrize("body", ["", "<html><body>Down for maintenance</body></html>"])
def test_a_page_that_is_no_listing_does_not_count_as_an_empty_one(seaweed: SeaweedFS, body: str) -> None:
    side = s3_side(seaweed, "destroyer")
    for listing in ("ListObjectVersions", "ListMultipartUploads"):
        answering(side, listing, 200, body)

    with pytest.raises(StoreUnavailable, match="broke off"):
        list(side.versions(KEY))
    with pytest.raises(StoreUnavailable, match="broke off"):
        list(side.uploads(KEY))


def test_a_store_that_is_away_is_unavailable_to_every_question(seaweed: SeaweedFS) -> None:
    side = s3_side(seaweed, "destroyer", endpoint=f"http://127.0.0.1:{free_ports(['s3'])['s3']}", attempts=1)

    for question in (
        lambda: side.delete([CALL]),
        lambda: list(side.versions(KEY)),
        lambda: list(side.uploads(KEY)),
        lambda: side.abort_upload(KEY, "1"),
        lambda: side.hold(KEY, VERSION),
        lambda: side.is_held(KEY, VERSION),
    ):
        with pytest.raises(StoreUnavailable):
            question()


# --- the faults that the store in memory can have ---------------------------------------------------------------------


def test_an_error_before_the_effect_leaves_everything_and_only_once() -> None:
    store = FakeStore()
    call = store.add("rec/1")
    store.fail("delete", "before")

    with pytest.raises(StoreUnavailable):
        store.delete([call])
    assert listed(store, "rec/") == names([call])

    assert store.delete([call]) == {}


def test_a_lost_answer_comes_after_the_effect() -> None:
    store = FakeStore()
    call = store.add("rec/1")
    store.fail("delete", "after")

    with pytest.raises(StoreUnavailable):
        store.delete([call])

    assert listed(store, "rec/") == set()


def test_rights_taken_away_are_an_answer_for_each_version_or_a_refusal_of_the_call() -> None:
    store = FakeStore()
    calls = [store.add("rec/1"), store.add("rec/2")]
    store.fail("delete", "denied")
    store.fail("delete", "refused", nth=2)

    assert set(store.delete(calls).values()) == {"denied"}
    with pytest.raises(StoreRefused):
        store.delete(calls)

    assert listed(store, "rec/") == names(calls)


def test_a_part_of_a_deletion_fails_by_name() -> None:
    store = FakeStore()
    calls = [store.add(f"rec/{n}") for n in range(4)]
    store.fail("delete", "partial")

    failed = store.delete(calls)

    assert set(failed.values()) == {"unavailable"}
    assert listed(store, "rec/") == set(failed)
    assert 0 < len(failed) < len(calls)


def test_a_listing_can_break_off_and_an_effect_come_twice() -> None:
    store = FakeStore()
    call = store.add("rec/1")
    store.fail("versions", "partial")
    store.fail("hold", "twice")

    with pytest.raises(StoreUnavailable):
        list(store.versions("rec/"))
    assert store.hold(call.key, call.version_id)

    assert store.is_held(call.key, call.version_id)


def test_a_fault_can_be_ordered_for_a_later_call_for_several_and_taken_back() -> None:
    store = FakeStore()
    store.fail("versions", "before", nth=2, times=2)

    outcomes = []
    for _ in range(4):
        try:
            outcomes.append(list(store.versions("")))
        except StoreUnavailable:
            outcomes.append("unavailable")
    store.fail("versions", "before")
    store.heal()

    assert outcomes == [[], "unavailable", "unavailable", []]
    assert list(store.versions("")) == []
    assert store.calls == ["versions"] * 5
    with pytest.raises(ValueError, match="No operation"):
        store.fail("explode", "before")


def test_the_three_identities_see_one_store_and_share_its_faults() -> None:
    store = FakeStore()
    call = store.as_importer.put(
        "rec/1", io.BytesIO(b"x"), sha256=hashlib.sha256(b"x").digest(), size_bytes=1, content_type="audio/wav"
    )
    store.fail("hold", "before")

    with pytest.raises(StoreUnavailable):
        store.as_holder.hold(call.key, call.version_id)

    assert [v.key for v in itertools.chain(store.versions("rec/"), store.as_destroyer.versions("rec/"))] == [
        "rec/1"
    ] * 2
