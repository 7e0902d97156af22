"""The store against a real S3 server, as the importer."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from callkeeper.embedded.ports import free_ports
from callkeeper.embedded.secrets import Secrets
from callkeeper.embedded.store import PORTS, RECORDINGS, REGION, SeaweedFS
from callkeeper.errors import (
    CallkeeperError,
    ConfigurationError,
    NotFound,
    StoreConflict,
    StoreRefused,
    StoreUnavailable,
    WrongCredentials,
)
from callkeeper.media import Store, Stored
from callkeeper.media.s3 import IN_MEMORY_BYTES, LARGEST_BYTES, S3Store

AUDIO = os.urandom(40_000)


def store_of(server: SeaweedFS, identity: str = "importer", **more: Any) -> S3Store:
    access_key, secret_key = server.credentials(identity)
    given = {"endpoint": server.endpoint, "region": REGION, "bucket": RECORDINGS, "attempts": 2}
    return S3Store(**(given | {"access_key": access_key, "secret_key": secret_key} | more))


def put(store: Store, key: str, data: bytes = AUDIO, **more: Any) -> Stored:
    digest = hashlib.sha256(data).digest()
    return store.put(
        key, io.BytesIO(data), **({"sha256": digest, "size_bytes": len(data), "content_type": "audio/wav"} | more)
    )


def read(store: Store, stored: Stored) -> bytes:
    with store.open(stored.key, stored.version_id) as body:
        return body.read()


@pytest.fixture(scope="module")
def store(seaweed: SeaweedFS) -> S3Store:
    return store_of(seaweed)


@pytest.fixture(scope="module")
def admin(seaweed: SeaweedFS) -> Any:
    return seaweed.client()


@pytest.fixture
def key() -> str:
    return f"rec/2027-05-25/{uuid4()}"


def test_what_was_put_is_found_and_read_by_its_version(store: S3Store, key: str) -> None:
    stored = put(store, key)

    assert stored == Stored(
        key=key,
        version_id=stored.version_id,
        sha256=hashlib.sha256(AUDIO).digest(),
        size_bytes=len(AUDIO),
        created=True,
    )
    assert read(store, stored) == AUDIO
    assert (
        store.head(key)
        == store.head(key, stored.version_id)
        == Stored(key=key, version_id=stored.version_id, sha256=stored.sha256, size_bytes=len(AUDIO), created=False)
    )


def test_what_is_there_already_is_adopted(store: S3Store, key: str) -> None:
    first = put(store, key)

    again = put(store, key)

    assert (again.version_id, again.created) == (first.version_id, False)
    assert len(list(store.versions(key))) == 1


def test_other_bytes_under_the_key_are_a_conflict_and_stay(store: S3Store, key: str) -> None:
    first = put(store, key)

    with pytest.raises(StoreConflict) as caught:
        put(store, key, b"another call")

    assert key not in str(caught.value)
    assert read(store, first) == AUDIO


def test_of_writers_that_race_one_creates_and_the_others_adopt(store: S3Store) -> None:
    for _ in range(3):
        key = f"rec/2027-05-25/{uuid4()}"

        with ThreadPoolExecutor(8) as lanes:
            results = list(lanes.map(lambda _, key=key: put(store, key), range(8)))  # type: ignore[misc]

        assert len({r.version_id for r in results}) == 1
        assert [v.version_id for v in store.versions(key)] == [results[0].version_id]
        assert sum(r.created for r in results) == 1


def test_a_large_body_is_streamed_from_where_it_stands(store: S3Store, key: str) -> None:
    data = os.urandom(IN_MEMORY_BYTES + 12_345)
    spool = io.BytesIO(b"before" + data)
    spool.seek(6)

    stored = store.put(key, spool, sha256=hashlib.sha256(data).digest(), size_bytes=len(data), content_type="audio/wav")

    assert read(store, stored) == data


def test_bytes_that_are_not_what_their_checksum_says_are_not_kept(store: S3Store, key: str) -> None:
    with pytest.raises(StoreUnavailable, match="damaged"):
        put(store, key, sha256=hashlib.sha256(b"other").digest())

    assert list(store.versions(key)) == []


def test_a_body_that_breaks_off_leaves_nothing_behind(store: S3Store, key: str) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > IN_MEMORY_BYTES:
                raise OSError("/var/spool/in-0102708001-+358401234501.wav: gone")
            return super().read(size)

    data = bytes(2 * IN_MEMORY_BYTES)
    with pytest.raises(StoreUnavailable) as caught:
        store.put(
            key, Breaking(data), sha256=hashlib.sha256(data).digest(), size_bytes=len(data), content_type="audio/wav"
        )

    assert "358401234501" not in str(caught.value)
    assert list(store.versions(key)) == []


def test_a_range_is_read_with_both_its_ends(store: S3Store, key: str) -> None:
    data = bytes(range(256))
    stored = put(store, key, data)

    def part(**ends: int) -> bytes:
        with store.open(stored.key, stored.version_id, **ends) as body:
            return body.read()

    assert part(first=10, last=19) == data[10:20]
    assert part(first=250) == data[250:]
    assert part(last=0) == data[:1]


def test_more_than_one_put_can_carry_is_refused(store: S3Store, key: str) -> None:
    with pytest.raises(StoreRefused, match="5 GiB"):
        put(store, key, size_bytes=LARGEST_BYTES + 1)


def legal_hold(admin: Any, stored: Stored) -> str:
    reply = admin.get_object_legal_hold(Bucket=RECORDINGS, Key=stored.key, VersionId=stored.version_id)
    return str(reply["LegalHold"]["Status"])


@pytest.mark.parametrize("there_before", [False, True])
def test_a_held_call_is_under_a_legal_hold_even_if_its_audio_was_there_before(
    store: S3Store, admin: Any, key: str, there_before: bool
) -> None:
    if there_before:
        put(store, key)

    stored = put(store, key, legal_hold=True)

    assert legal_hold(admin, stored) == "ON"
    with pytest.raises(ClientError):
        admin.delete_object(Bucket=RECORDINGS, Key=key, VersionId=stored.version_id)
    admin.put_object_legal_hold(Bucket=RECORDINGS, Key=key, VersionId=stored.version_id, LegalHold={"Status": "OFF"})


def test_every_version_and_marker_is_listed_over_many_pages(store: S3Store, admin: Any) -> None:
    prefix = f"rec/2027-05-26/{uuid4()}"
    expected = set()
    for n in range(12):
        key = f"{prefix}/{n:02} ä+&.wav"
        for body in (b"1", b"22", b"333")[: n % 3 + 1]:
            reply = admin.put_object(Bucket=RECORDINGS, Key=key, Body=body)
            expected.add((key, reply["VersionId"], False, len(body)))
        if n % 2:
            expected.add((key, admin.delete_object(Bucket=RECORDINGS, Key=key)["VersionId"], True, 0))
    paged = store_pages(store, 4)

    found = [(v.key, v.version_id, v.is_delete_marker, v.size_bytes) for v in paged.versions(prefix)]

    assert len(found) == len(expected)
    assert set(found) == expected


def store_pages(store: S3Store, size: int) -> S3Store:
    """A store like it that asks for small pages."""
    other = S3Store(**vars_of(store))
    other._s3.meta.events.register(
        "provide-client-params.s3.ListObjectVersions", lambda params, **_: params | {"MaxKeys": size}
    )
    return other


def vars_of(store: S3Store) -> dict[str, Any]:
    keys = store._s3._request_signer._credentials
    return {
        "endpoint": store._endpoint,
        "region": store._region,
        "bucket": store._bucket,
        "access_key": keys.access_key,
        "secret_key": keys.secret_key,
    }


def test_a_listing_that_the_store_breaks_off_is_an_error_not_an_end(store: S3Store, key: str) -> None:
    put(store, key)
    broken = S3Store(**vars_of(store))

    def cut(parsed: dict[str, Any], **_: Any) -> None:
        parsed["IsTruncated"] = True
        parsed.pop("NextKeyMarker", None)

    broken._s3.meta.events.register("after-call.s3.ListObjectVersions", cut)

    with pytest.raises(StoreUnavailable, match="broke off"):
        list(broken.versions(key))


def test_an_object_behind_a_delete_marker_is_hidden_not_gone(store: S3Store, admin: Any, key: str) -> None:
    stored = put(store, key)
    admin.delete_object(Bucket=RECORDINGS, Key=key)

    assert store.head(key) is None
    assert read(store, stored) == AUDIO
    assert sorted(v.is_delete_marker for v in store.versions(key)) == [False, True]


def test_what_was_never_there_is_not_found(store: S3Store, key: str) -> None:
    assert store.head(key) is None
    assert list(store.versions(key)) == []
    with pytest.raises(NotFound) as caught:
        store.open(key, "6714f6031390bd4c8795816f03939f32")
    assert key not in str(caught.value)


def test_a_store_that_keeps_no_checksum_has_its_bytes_read(store: S3Store, key: str) -> None:
    stored = put(store, key)
    plain = S3Store(**vars_of(store))
    plain._s3.meta.events.register("after-call.s3.HeadObject", lambda parsed, **_: parsed.pop("ChecksumSHA256", None))

    again = put(plain, key)

    assert (again.sha256, again.version_id, again.created) == (stored.sha256, stored.version_id, False)


# --- what can be wrong ------------------------------------------------------------------------------------------------


def nobody(server: SeaweedFS) -> S3Store:
    return store_of(server, access_key="AKIA0401234501")


def wrong_secret(server: SeaweedFS) -> S3Store:
    return store_of(server, secret_key="wrong")


def without_the_right(server: SeaweedFS) -> S3Store:
    return store_of(server, "destroyer")


def no_bucket(server: SeaweedFS) -> S3Store:
    return store_of(server, "admin", bucket="no-such-bucket")


def no_server(server: SeaweedFS) -> S3Store:
    return store_of(server, endpoint=f"http://127.0.0.1:{free_ports(['s3'])['s3']}")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (nobody, WrongCredentials, "does not know these credentials"),
        (wrong_secret, WrongCredentials, "does not know these credentials"),
        (without_the_right, StoreRefused, "does not let us write"),
        (no_bucket, StoreRefused, "bucket is not there"),
        (no_server, StoreUnavailable, "does not answer"),
    ],
)
def test_a_refusal_is_said_in_words_without_the_key(
    seaweed: SeaweedFS, key: str, make: Callable[[SeaweedFS], S3Store], error: type[CallkeeperError], words: str
) -> None:
    broken = make(seaweed)

    with pytest.raises(CallkeeperError) as caught:
        put(broken, key)

    assert type(caught.value) is error
    assert words in str(caught.value)
    assert key not in str(caught.value)
    assert caught.value.__suppress_context__
    assert caught.value.mend


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server with room for a few megabytes."""

    class Tiny(SeaweedFS):
        def command(self) -> list[str]:
            room = ("-master.volumeSizeLimitMB=1", "-volume.max=3")
            return [
                part for part in super().command() if not part.startswith(("-master.volumeSize", "-volume.max"))
            ] + list(room)

    folder = tmp_path_factory.mktemp("tiny")
    server = Tiny(folder / "data", free_ports(PORTS), secrets=Secrets(folder / "secrets"))
    server.start()
    try:
        server.make_bucket()
        yield server
    finally:
        server.stop(kill=True)


def test_a_full_store_takes_nothing_and_says_so(tiny: SeaweedFS) -> None:
    store = store_of(tiny)
    kept: list[Stored] = []

    def fill() -> None:
        while len(kept) < 40:
            kept.append(put(store, f"rec/2027-05-25/{len(kept):02}", os.urandom(500_000)))

    with pytest.raises(StoreRefused, match="full or read-only") as caught:
        fill()

    assert not caught.value.retry
    assert {v.version_id for v in store.versions("rec/")} == {s.version_id for s in kept}
    assert [fault for fault in store.check() if "full or read-only" in fault]


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="address or region"):
        S3Store(endpoint="localhost:8333", region=REGION, bucket="b", access_key="a", secret_key="s")


def test_the_keys_show_nowhere(seaweed: SeaweedFS) -> None:
    assert seaweed.credentials("importer")[1] not in repr(store_of(seaweed)) + str(vars(store_of(seaweed)))


# --- doctor -----------------------------------------------------------------------------------------------------------


def test_a_store_as_it_should_be_has_nothing_to_mend(store: S3Store, admin: Any) -> None:
    assert store.check() == ()
    assert store.check() == ()

    held = [v for v in store.versions("doctor/") if v.key == "doctor/legal-hold"]
    assert len(held) == 1


def test_the_probe_goes_where_the_identity_may_remove_it(seaweed: SeaweedFS, store: S3Store) -> None:
    before = len(list(store.versions("doctor/")))

    store_of(seaweed, "admin").check()

    assert len(list(store.versions("doctor/"))) <= max(before, 1)


@pytest.fixture(scope="module")
def plain_bucket(admin: Any) -> str:
    admin.create_bucket(Bucket="plain")
    return "plain"


@pytest.fixture(scope="module")
def ruled_bucket(admin: Any) -> str:
    admin.create_bucket(Bucket="ruled", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    admin.put_object_lock_configuration(
        Bucket="ruled", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    return "ruled"


def test_a_bucket_without_versions_lock_and_encryption_is_told_all_of_it(seaweed: SeaweedFS, plain_bucket: str) -> None:
    faults = " ".join(store_of(seaweed, "admin", bucket=plain_bucket).check())

    assert "keeps no versions" in faults
    assert "no Object Lock" in faults


def test_a_default_retention_rule_and_missing_encryption_are_faults(seaweed: SeaweedFS, ruled_bucket: str) -> None:
    faults = " ".join(store_of(seaweed, "admin", bucket=ruled_bucket).check())

    assert "default retention rule" in faults
    assert "does not encrypt" in faults


@pytest.mark.parametrize("named", ["eu-west-2", None])
def test_where_the_bucket_is_is_the_stores_own_word_and_no_settings(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    """As AWS says it, in a header; a server that says nothing is not given the setting's word."""
    store = store_of(seaweed)
    assert store.region() is None
    headers = {"x-amz-bucket-region": named} if named else {}
    monkeypatch.setattr(
        store._s3, "head_bucket", lambda **_: {"ResponseMetadata": {"HTTPHeaders": headers}}, raising=True
    )

    assert store.region() == named


def test_a_region_outside_the_eea_is_a_fault(seaweed: SeaweedFS) -> None:
    assert store_of(seaweed, region_allowed=lambda region: region == REGION).check() == ()
    [fault] = store_of(seaweed, region_allowed=lambda region: False).check()
    assert f"{REGION} is not in the EU/EEA" in fault


def test_an_identity_without_rights_is_told_which(seaweed: SeaweedFS) -> None:
    faults = store_of(seaweed, "holder").check()

    assert [fault for fault in faults if "does not let us write" in fault]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (wrong_secret, "does not know these credentials"),
        (no_server, "does not answer"),
        (no_bucket, "bucket is not there"),
    ],
)
def test_what_stops_the_check_is_its_only_finding(
    seaweed: SeaweedFS, make: Callable[[SeaweedFS], S3Store], words: str
) -> None:
    [fault] = make(seaweed).check()

    assert words in fault


def test_a_store_beyond_this_machine_is_spoken_to_over_tls(tmp_path: Path) -> None:
    store = S3Store(endpoint="http://192.0.2.1:9", region=REGION, bucket="b", access_key="a", secret_key="s")

    assert list(store._ask_address()) == ["The store is spoken to without TLS. Give an https:// address."]
