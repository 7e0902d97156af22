"""The anchor's bucket and its identity: what is put there stays, and nobody reaches from one bucket into the other."""

from __future__ import annotations

import hashlib
import io
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from callkeeper.embedded.store import ANCHOR, RECORDINGS, REGION, SeaweedFS
from callkeeper.errors import TrailBroken
from callkeeper.media.s3 import S3Store
from callkeeper.trail.anchor import Anchor


def bucket_of(server: SeaweedFS, identity: str = "sealer", bucket: str = ANCHOR) -> S3Store:
    access_key, secret_key = server.credentials(identity)
    return S3Store(
        endpoint=server.endpoint, region=REGION, bucket=bucket, access_key=access_key, secret_key=secret_key, attempts=2
    )


@pytest.fixture
def anchor(seaweed) -> Anchor:
    """In the real bucket, as the real identity, with a term of a day."""
    return Anchor(bucket_of(seaweed), 1)


@pytest.fixture
def epoch() -> int:
    """One that no other test has."""
    return 10_000 + secrets.randbelow(10**9)


def allowed(attempt, **question) -> bool:
    try:
        attempt(**question)
    except ClientError as wrong:
        if wrong.response["Error"]["Code"] not in ("AccessDenied", "403"):
            raise
        return False
    return True


def test_a_checkpoint_and_its_leaves_are_put_and_read(anchor, epoch):
    anchor.put_leaves(epoch, 0, 2, b"a" * 64)
    anchor.put_note(epoch, 2, "note\n")
    anchor.put_note(epoch, 2, "note\n")

    found = anchor.standing(epoch, 0)
    assert {k for k in found.notes if k[0] == epoch} == {(epoch, 2)}
    assert anchor.read(found.notes[epoch, 2]) == b"note\n"
    assert anchor.read(found.leaves[epoch, 0, 2]) == b"a" * 64


def test_another_history_under_the_same_place_is_refused(anchor, epoch):
    anchor.put_note(epoch, 2, "note\n")

    with pytest.raises(TrailBroken, match="another history"):
        anchor.put_note(epoch, 2, "another\n")


def test_from_a_size_on_only_what_is_newer_is_listed(anchor, epoch):
    for start, size in ((0, 9), (9, 10), (10, 11), (11, 100)):
        anchor.put_leaves(epoch, start, size, b"")
        anchor.put_note(epoch, size, "note\n")

    found = anchor.standing(epoch, 10)

    assert sorted(k for k in found.notes if k[0] == epoch) == [(epoch, 10), (epoch, 11), (epoch, 100)]
    assert sorted(k for k in found.leaves if k[0] == epoch) == [(epoch, 10, 11), (epoch, 11, 100)]


def test_what_is_put_there_is_under_a_lock_until_its_term(anchor, epoch, seaweed):
    anchor.put_note(epoch, 2, "note\n")
    version = anchor.standing(epoch, 2).notes[epoch, 2]

    kept = seaweed.client().get_object_retention(Bucket=ANCHOR, Key=version.key, VersionId=version.version_id)

    assert kept["Retention"]["Mode"] == "COMPLIANCE"
    left = kept["Retention"]["RetainUntilDate"] - datetime.now(UTC)
    assert timedelta(hours=23) < left < timedelta(hours=25)


def test_the_anchoring_identity_puts_and_reads_and_may_do_nothing_else(anchor, epoch, seaweed):
    anchor.put_note(epoch, 2, "note\n")
    version = anchor.standing(epoch, 2).notes[epoch, 2]
    client, which = seaweed.client("sealer"), {"Bucket": ANCHOR, "Key": version.key}
    its = {**which, "VersionId": version.version_id}

    assert not allowed(client.delete_object, **its)
    assert not allowed(client.delete_object, **which)
    assert not allowed(client.put_bucket_versioning, Bucket=ANCHOR, VersioningConfiguration={"Status": "Suspended"})
    assert not allowed(client.list_objects_v2, Bucket=RECORDINGS)
    assert not allowed(client.put_object, Bucket=RECORDINGS, Key="rec/x", Body=b"x")
    assert not allowed(client.get_object, Bucket=RECORDINGS, Key="doctor/legal-hold")


@pytest.mark.parametrize("identity", ["importer", "destroyer", "holder"])
def test_no_other_identity_reaches_the_anchor(seaweed, identity):
    client = seaweed.client(identity)

    assert not allowed(client.list_objects_v2, Bucket=ANCHOR)
    assert not allowed(client.put_object, Bucket=ANCHOR, Key="0001/x.note", Body=b"x")


def test_the_shipped_bucket_has_nothing_to_mend(seaweed):
    assert bucket_of(seaweed).check_vault() == ()
    assert bucket_of(seaweed).check_vault() == ()


def test_a_bucket_that_keeps_nothing_is_told(seaweed):
    name = f"plain-{secrets.token_hex(4)}"
    seaweed.client().create_bucket(Bucket=name)

    found = bucket_of(seaweed, "admin", name).check_vault()

    assert any("keeps no versions" in fault for fault in found)


def test_objects_of_others_are_passed_over(anchor, epoch, seaweed):
    text = b"x"
    anchor.vault.put(
        f"{epoch:04d}/readme", io.BytesIO(text), sha256=hashlib.sha256(text).digest(), size_bytes=1,
        content_type="text/plain", retain_until=datetime.now(UTC) + timedelta(days=1),
    )  # fmt: skip
    anchor.put_note(epoch, 2, "note\n")

    assert {k for k in anchor.standing(epoch, 0).notes if k[0] == epoch} == {(epoch, 2)}
