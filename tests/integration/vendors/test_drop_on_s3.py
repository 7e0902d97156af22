"""The drop in a bucket of a real S3 server: credentials, versions, names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from callkeeper.clock import HELSINKI
from callkeeper.embedded.store import RECORDINGS, SeaweedFS
from callkeeper.errors import AudioMissing, VendorUnavailable, WrongCredentials
from callkeeper.vendors import VendorRef

DAY = date(2026, 11, 24)
REF = VendorRef(json.dumps({"path": f"{DAY}/audio/canary+0409900001 ä.wav"}))


def ask_everything(vendor: Any) -> dict[str, Callable[[], object]]:
    return {
        "day_status": lambda: vendor.day_status(DAY, HELSINKI),
        "fingerprint": lambda: vendor.fingerprint(DAY, HELSINKI),
        "list_day": lambda: list(vendor.list_day(DAY, HELSINKI)),
        "open": lambda: vendor.open(REF).read(),
    }


@pytest.mark.parametrize("credentials", [{"secret": "wrong"}, {"key": "nobody", "secret": "wrong"}])
def test_wrong_credentials_are_told_as_such(bucket: Any, credentials: dict[str, str], assert_silent: Any) -> None:
    bucket.put("audio/canary+0409900001 ä.wav", b"sound")
    vendor = bucket.vendor(**credentials)

    for ask in ask_everything(vendor).values():
        with pytest.raises(WrongCredentials) as refused:
            ask()
        assert_silent(refused.value)
    assert vendor.delete(REF, "key") == "refused"
    assert bucket.vendor().open(REF).read() == b"sound"


def test_credentials_that_are_revoked_later_are_told_as_such(bucket: Any) -> None:
    bucket.put("audio/canary+0409900001 ä.wav", b"sound")
    vendor = bucket.vendor()
    assert vendor.day_status(DAY, HELSINKI) == "absent"
    vendor._place._fs._session = None
    vendor._place._fs.secret = "revoked"
    vendor._place._fs.connect(refresh=True)

    with pytest.raises(WrongCredentials):
        vendor.open(REF)


def test_rights_to_read_only_refuse_a_deletion(seaweed: SeaweedFS, bucket: Any) -> None:
    name = f"{bucket.prefix}/{DAY}/audio/1.wav"
    bucket.client.put_object(Bucket=RECORDINGS, Key=name, Body=b"sound")
    bucket.bucket = RECORDINGS
    vendor = bucket.vendor(*seaweed.credentials("importer"))
    ref = VendorRef(json.dumps({"path": f"{DAY}/audio/1.wav"}))

    assert vendor.delete(ref, "key") == "refused"
    assert vendor.confirm_deleted(ref) is False
    assert vendor.open(ref).read() == b"sound"


def test_a_bucket_that_is_not_there_is_no_missing_day(bucket: Any, assert_silent: Any) -> None:
    bucket.bucket = "no-such-bucket"

    with pytest.raises(VendorUnavailable) as wrong:
        bucket.vendor().day_status(DAY, HELSINKI)
    assert_silent(wrong.value)


def test_a_deletion_in_a_versioned_bucket_removes_every_version(bucket: Any) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.bucket, VersioningConfiguration={"Status": "Enabled"})
    key = f"{bucket.prefix}/{DAY}/audio/1.wav"
    for content in (b"first", b"second"):
        bucket.put("audio/1.wav", content)
    bucket.put("audio/1.wav.old", b"another key with the same beginning")
    ref = VendorRef(json.dumps({"path": f"{DAY}/audio/1.wav"}))
    vendor = bucket.vendor()

    # Somebody's plain delete only hides it: that is not gone.
    bucket.client.delete_object(Bucket=bucket.bucket, Key=key)
    with pytest.raises(AudioMissing):
        vendor.open(ref)
    assert vendor.confirm_deleted(ref) is False

    assert vendor.delete(ref, "key") == "deleted"

    assert vendor.confirm_deleted(ref) is True
    left = bucket.client.list_object_versions(Bucket=bucket.bucket, Prefix=key)
    assert [v["Key"] for v in left.get("Versions", [])] == [f"{key}.old"]
    assert left.get("DeleteMarkers", []) == []
    assert vendor.delete(ref, "key") == "already_gone"


def test_odd_names_work(bucket: Any, record: Any) -> None:
    path = "a+b/%20&x=#*[/canary +0409900001 ä.wav"
    bucket.put(path, b"sound")
    manifest = {
        "schema_version": 1, "delivery_seq": 1, "business_date": str(DAY), "complete": True, "record_count": 1,
        "records": [record(1, media={"path": path, "bytes": 5, "sha256": hashlib.sha256(b"sound").hexdigest()})],
    }  # fmt: skip
    bucket.put("manifest.json", json.dumps(manifest))
    bucket.put("manifests/manifest.json", "{")
    vendor = bucket.vendor()

    (call,) = vendor.list_day(DAY, HELSINKI)

    assert call.faults == ()
    assert vendor.open(call.ref).read() == b"sound"
    assert vendor.delete(call.ref, "key") == "deleted"
    with pytest.raises(AudioMissing):
        vendor.open(call.ref)


def test_a_large_recording_is_streamed_in_pieces(bucket: Any) -> None:
    content = bytes(range(256)) * (9 << 12)
    bucket.put("audio/canary+0409900001 ä.wav", content)

    with bucket.vendor().open(REF) as stream:
        found = hashlib.sha256()
        while piece := stream.read(1 << 20):
            found.update(piece)

    assert found.digest() == hashlib.sha256(content).digest()
