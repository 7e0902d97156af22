"""The object store: any S3 server, one bucket, versioned, with Object Lock.

What botocore says holds keys and addresses; everything raised here is one of ours, worded without them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from callkeeper.errors import (
    CallkeeperError,
    ConfigurationError,
    NotFound,
    StoreConflict,
    StoreRefused,
    StoreUnavailable,
    WrongCredentials,
)
from callkeeper.media import ObjectVersion, Stored

LARGEST_BYTES = 5 << 30
"""What S3 takes in one PUT. More would need parts, whose checksum is not that of the whole: refused instead."""
IN_MEMORY_BYTES = 8 << 20
"""Up to here a body is sent from memory, in one write; a larger one is streamed."""
DELETE_KEYS = 1000
"""What S3 takes in one DeleteObjects."""
ADOPT_TRIES = 3
"""How often a PUT is tried while another writer's is under way (HTTP 409)."""

_HELD = "doctor/legal-hold"
"""The one object that ``check`` leaves behind: it shows that a legal hold can be placed."""
_KEPT = "doctor/kept"
"""The one object that ``check_vault`` leaves behind: it shows that nobody can delete it before its term."""

_CREATE = "Create it with Object Lock enabled, or correct CALLKEEPER_STORE_BUCKET."
_UNKNOWN_US = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"})
_GONE = frozenset({"NoSuchVersion", "NoSuchKey", "NoSuchUpload"})
_NEVER_HELD = frozenset({"NoSuchObjectLegalHold", "NoSuchObjectLockConfiguration"})
_PASSING = frozenset({"InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "503", "500"})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"})


class S3Store:
    """One bucket of an S3 server; safe to use from several threads.

    An empty ``endpoint`` is AWS; empty keys are AWS's own chain (an instance's role). ``region_allowed`` says whether
    a region is one that recordings may be kept in; ``attempts`` is how often botocore tries what may pass;
    ``on_this_machine``: nothing but this machine lies between here and the server. Nothing connects before the first call.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        region: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        region_allowed: Callable[[str], bool] | None = None,
        connections: int = 16,
        attempts: int = 4,
        on_this_machine: bool = False,
    ) -> None:
        self._on_this_machine = on_this_machine
        self._endpoint, self._region, self._bucket, self._region_allowed = endpoint, region, bucket, region_allowed
        try:
            self._s3: Any = boto3.session.Session().client(
                "s3",
                endpoint_url=endpoint or None,
                region_name=region,
                aws_access_key_id=access_key or None,
                aws_secret_access_key=secret_key or None,
                config=Config(
                    connect_timeout=5,
                    read_timeout=60,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                    max_pool_connections=connections,
                    tcp_keepalive=True,
                    # The SHA-256 of the call's audio is sent, signed, with each PUT: a second checksum, and a second
                    # hash of the body for the signature, would only cost time.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": False},
                ),
            )
        except (BotoCoreError, ValueError):
            raise ConfigurationError(
                "The object store's address or region is wrong.",
                mend="Look at CALLKEEPER_STORE_ENDPOINT and CALLKEEPER_STORE_REGION.",
            ) from None

    def __repr__(self) -> str:
        return f"S3Store({self._bucket!r})"

    def put(
        self,
        key: str,
        body: BinaryIO,
        *,
        sha256: bytes,
        size_bytes: int,
        content_type: str,
        legal_hold: bool = False,
        retain_until: datetime | None = None,
    ) -> Stored:
        """Writes once (If-None-Match: *), the store checking the SHA-256; ``body`` is read from where it stands.

        The same bytes already there are adopted (``created=False``), and put under the legal hold if one is asked for;
        other bytes raise StoreConflict. ``retain_until``: until then nobody at all can delete it (COMPLIANCE).
        """
        if size_bytes > LARGEST_BYTES:
            raise StoreRefused(
                "The audio is larger than the 5 GiB that the store takes in one piece.", mend="Look at the vendor."
            )
        start = body.tell()
        small = body.read() if size_bytes <= IN_MEMORY_BYTES else None
        lock: dict[str, Any] = {"ObjectLockLegalHoldStatus": "ON"} if legal_hold else {}
        if retain_until:
            lock |= {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": retain_until}
        for _ in range(ADOPT_TRIES):
            try:
                with self._worded("write"):
                    reply = self._s3.put_object(
                        Bucket=self._bucket,
                        Key=key,
                        Body=body if small is None else small,
                        ContentLength=size_bytes,
                        ContentType=content_type,
                        ChecksumSHA256=base64.b64encode(sha256).decode(),
                        IfNoneMatch="*",
                        **lock,
                    )
            except _Occupied:
                there = self.head(key)
                if there is None:
                    time.sleep(0.2)
                    body.seek(start)
                    continue
                if (there.sha256, there.size_bytes) != (sha256, size_bytes):
                    raise StoreConflict("Another object, with other bytes, stands under this key.") from None
                if legal_hold:
                    self.hold(key, there.version_id)
                return there
            version = reply.get("VersionId")
            if not version or version == "null":
                raise StoreRefused("The bucket keeps no versions.", mend="Switch on versioning.")
            return Stored(key=key, version_id=version, sha256=sha256, size_bytes=size_bytes, created=True)
        raise StoreUnavailable("Others keep writing and removing the same object.", mend="Try again.")

    def head(self, key: str, version_id: str | None = None) -> Stored | None:
        """The object, or one version of it; None if it is not there or a delete marker hides it (no proof of its end).

        Where the store keeps no SHA-256, the object is read and hashed here.
        """
        which = {"Key": key} if version_id is None else {"Key": key, "VersionId": version_id}
        try:
            with self._worded("read"):
                found = self._s3.head_object(Bucket=self._bucket, ChecksumMode="ENABLED", **which)
        except NotFound:
            return None
        version, checksum = found.get("VersionId", "null"), found.get("ChecksumSHA256")
        digest = base64.b64decode(checksum) if checksum and "-" not in checksum else self._hash(key, version)
        return Stored(key=key, version_id=version, sha256=digest, size_bytes=found["ContentLength"], created=False)

    def open(self, key: str, version_id: str, *, first: int = 0, last: int | None = None) -> BinaryIO:
        """One version's bytes as a stream; of a range, both ends included, where one is given. Raises NotFound."""
        part = {"Range": f"bytes={first}-{'' if last is None else last}"} if first or last is not None else {}
        with self._worded("read"):
            reply = self._s3.get_object(Bucket=self._bucket, Key=key, VersionId=version_id, **part)
        return cast(BinaryIO, io.BufferedReader(_Stream(self, reply["Body"]), 1 << 20))

    def versions(self, prefix: str, *, first: str = "", last: str = "") -> Iterator[ObjectVersion]:
        """Every version and delete marker under the prefix, or of its keys from ``first`` to ``last`` (both included).

        Raises StoreUnavailable rather than end early.
        """
        # A listing begins behind its marker. To a marker that is outside the prefix SeaweedFS answers "nothing" (ADR 0155).
        begin = {"KeyMarker": first[:-1]} if first[:-1].startswith(prefix) and first[:-1] else {}
        lowest, highest = first.encode(), last.encode() if last else None
        for page in self._pages(self._s3.list_object_versions, "KeyMarker", "VersionIdMarker", Prefix=prefix, **begin):
            beyond = False
            for kind in ("Versions", "DeleteMarkers"):
                for entry in page.get(kind, ()):
                    order = entry["Key"].encode()  # S3 lists by the bytes
                    if highest is not None and order > highest:
                        beyond = True
                    elif order >= lowest:
                        yield ObjectVersion(
                            key=entry["Key"],
                            version_id=entry["VersionId"],
                            is_delete_marker=kind == "DeleteMarkers",
                            size_bytes=entry.get("Size", 0),
                        )
            if beyond:
                return

    def delete(self, versions: Sequence[ObjectVersion]) -> dict[tuple[str, str], str]:
        """Deletes exactly these versions, 1,000 a call; returns the failures by (key, version id): denied, unavailable, unknown."""
        failed: dict[tuple[str, str], str] = {}
        for start in range(0, len(versions), DELETE_KEYS):
            objects = [{"Key": v.key, "VersionId": v.version_id} for v in versions[start : start + DELETE_KEYS]]
            with self._worded("delete versions in"):
                reply = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            for error in reply.get("Errors", ()):
                if (code := error.get("Code", "")) not in _GONE:
                    which = error.get("Key", ""), error.get("VersionId", "")
                    failed[which] = "denied" if code in _DENIED else "unavailable" if code in _PASSING else "unknown"
        return failed

    def uploads(self, prefix: str, *, begun_before: datetime | None = None) -> Iterator[tuple[str, str]]:
        """(key, upload id) of every unfinished upload under the prefix; raises StoreUnavailable rather than end early.

        Only those begun before that moment, if one is given; one of which the store does not say when, too.
        """
        for page in self._pages(self._s3.list_multipart_uploads, "UploadIdMarker", "KeyMarker", Prefix=prefix):
            for entry in page.get("Uploads", ()):
                if begun_before is None or "Initiated" not in entry or entry["Initiated"] < begun_before:
                    yield entry["Key"], entry["UploadId"]

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Ends an upload and removes its parts; one that is not there is no error."""
        with suppress(NotFound), self._worded("abort an upload in"):
            self._s3.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    def hold(self, key: str, version_id: str) -> bool:
        """Puts the version under a legal hold; False if it is not there."""
        return self._set_hold(key, version_id, "ON")

    def release(self, key: str, version_id: str) -> bool:
        """Lifts the version's legal hold; False if it is not there."""
        return self._set_hold(key, version_id, "OFF")

    def is_held(self, key: str, version_id: str) -> bool | None:
        """Whether a legal hold stands on the version; None if it is not there."""
        with suppress(NotFound), self._worded("ask about a legal hold in"):
            try:
                reply = self._s3.get_object_legal_hold(Bucket=self._bucket, Key=key, VersionId=version_id)
            except ClientError as wrong:
                if _code(wrong) in _NEVER_HELD:
                    return False
                raise
            return bool(reply["LegalHold"]["Status"] == "ON")
        return None

    def region(self) -> str | None:
        """The bucket's region as the store names it; None where it names none."""
        with self._worded("look at"):
            headers = self._s3.head_bucket(Bucket=self._bucket)["ResponseMetadata"]["HTTPHeaders"]
        return headers.get("x-amz-bucket-region") or None

    def check(self) -> tuple[str, ...]:
        """What is wrong with address, bucket, rights, versioning, Object Lock, encryption or region, in words."""
        faults: list[str] = []
        for ask in (self._ask_address, self._ask_versioning, self._ask_lock, self._ask_region, self._ask_objects):
            try:
                faults += ask()
            except (StoreUnavailable, WrongCredentials) as wrong:
                return (*faults, str(wrong))
            except CallkeeperError as wrong:
                faults.append(str(wrong))
        return tuple(dict.fromkeys(faults))

    def check_vault(self) -> tuple[str, ...]:
        """What is wrong with the anchor's bucket, in words: address, versions, lock, and that what is put there stays."""
        faults: list[str] = []
        for ask in (self._ask_address, self._ask_versioning, self._ask_region, self._ask_kept):
            try:
                faults += ask()
            except (StoreUnavailable, WrongCredentials) as wrong:
                return (*faults, str(wrong))
            except CallkeeperError as wrong:
                faults.append(str(wrong))
        return tuple(dict.fromkeys(faults))

    # --- doctor's questions ---------------------------------------------------------------------------------------

    def _ask_address(self) -> Iterator[str]:
        where = urlsplit(self._endpoint)
        if self._on_this_machine:
            return
        if where.scheme == "http" and where.hostname not in ("127.0.0.1", "localhost", "::1"):
            yield "The store is spoken to without TLS. Give an https:// address."

    def _ask_versioning(self) -> Iterator[str]:
        with self._worded("read the versioning of"):
            versioning = self._s3.get_bucket_versioning(Bucket=self._bucket)
        if versioning.get("Status") != "Enabled":
            yield "The bucket keeps no versions. Switch on versioning."

    def _ask_lock(self) -> Iterator[str]:
        try:
            with self._worded("read the Object Lock of"):
                lock = self._s3.get_object_lock_configuration(Bucket=self._bucket)["ObjectLockConfiguration"]
        except NotFound:
            lock = {}
        if lock.get("ObjectLockEnabled") != "Enabled":
            yield "The bucket has no Object Lock, so no legal hold can stand in it. Create a bucket with Object Lock."
        if lock.get("Rule"):
            yield "The bucket has a default retention rule, which keeps recordings beyond their time. Remove the rule."

    def _ask_region(self) -> Iterator[str]:
        try:
            actual = self.region() or self._region
        except NotFound:
            return  # versioning has said so
        if actual != self._region:
            yield f"The bucket is in {actual}, not in {self._region}. Correct CALLKEEPER_STORE_REGION."
        if self._region_allowed is not None and not self._region_allowed(actual):
            yield f"The bucket's region {actual} is not in the EU/EEA, where the notice promises that recordings stay."

    def _ask_objects(self) -> Iterator[str]:
        """Writes, writes again, reads and removes an object; places a legal hold on the one that stays."""
        key, text = f"doctor/{uuid4()}", b"callkeeper doctor\n"
        digest = hashlib.sha256(text).digest()
        sent: dict[str, Any] = {"sha256": digest, "size_bytes": len(text), "content_type": "text/plain"}
        stored = self.put(key, io.BytesIO(text), **sent)
        try:
            if self._overwrites(key):
                yield "The store overwrites what is there: it ignores If-None-Match. Take one that heeds it."
            with self.open(key, stored.version_id) as back:
                if back.read() != text:
                    yield "The store gives other bytes than it was given."
            with self._worded("read"):
                found = self._s3.head_object(Bucket=self._bucket, Key=key, VersionId=stored.version_id)
            if not found.get("ServerSideEncryption"):
                yield "The store does not encrypt what it keeps. Switch on the bucket's default encryption."
            if not any(v.version_id == stored.version_id for v in self.versions(key)):
                yield "The store does not list the versions that it keeps."
        finally:
            self._remove_probe(key)
        try:
            self.put(_HELD, io.BytesIO(text), **sent, legal_hold=True)
        except StoreRefused:
            yield "The importing identity may not place legal holds. Give it s3:PutObjectLegalHold."

    def _ask_kept(self) -> Iterator[str]:
        """Puts one object under a short term, always the same one, and tries to delete it."""
        text = b"callkeeper doctor\n"
        until = datetime.now(UTC) + timedelta(days=1)
        sent: dict[str, Any] = {"sha256": hashlib.sha256(text).digest(), "size_bytes": len(text)}
        kept = self.put(_KEPT, io.BytesIO(text), **sent, content_type="text/plain", retain_until=until)
        with self._worded("read"):
            found = self._s3.head_object(Bucket=self._bucket, Key=_KEPT, VersionId=kept.version_id)
        if found.get("ObjectLockMode") != "COMPLIANCE":
            yield "The bucket keeps nothing under Object Lock. Create a bucket with Object Lock for the anchor."
        probe = ObjectVersion(key=_KEPT, version_id=kept.version_id, is_delete_marker=False, size_bytes=len(text))
        if not self._refused_to_delete(probe):
            yield "The anchoring identity can delete what it put. Take the right from it."

    def _refused_to_delete(self, version: ObjectVersion) -> bool:
        try:
            return bool(self.delete([version]))
        except StoreRefused:
            return True

    def _overwrites(self, key: str) -> bool:
        """Whether the store takes other bytes for an object that it was told not to overwrite."""
        try:
            with self._worded("write"):
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=b"again\n", IfNoneMatch="*")
        except _Occupied:
            return False
        return True

    def _remove_probe(self, key: str) -> None:
        """The importing identity may lack the right, as it should: then the probe stays."""
        with suppress(StoreRefused):
            self.delete(list(self.versions(key)))

    # --- within ---------------------------------------------------------------------------------------------------

    def _set_hold(self, key: str, version_id: str, status: str) -> bool:
        try:
            with self._worded("place or lift a legal hold in"):
                self._s3.put_object_legal_hold(
                    Bucket=self._bucket, Key=key, VersionId=version_id, LegalHold={"Status": status}
                )
        except NotFound:
            return False
        return True

    def _pages(self, ask: Any, marker: str, other: str, **question: str) -> Iterator[dict[str, Any]]:
        """A listing's pages, complete: an empty one is what proves a deletion.

        botocore's own paginator takes a missing marker for the end; and SeaweedFS gives no KeyMarker with uploads, and
        loses some if it is sent one all the same. So what is asked for next is what the page names, at least ``marker``.
        """
        after: dict[str, str] = {}
        while True:
            with self._worded("list"):
                page = ask(Bucket=self._bucket, **(question | after))
            following = {name: page[f"Next{name}"] for name in (marker, other) if page.get(f"Next{name}")}
            more = page.get("IsTruncated")
            # None: some page of a proxy's that happens to be XML. It says nothing about what is there.
            if more is None or (more and (marker not in following or following == after)):
                raise StoreUnavailable("The store broke off its listing.", mend="Try again.")
            yield page
            if not more:
                return
            after = following

    def _hash(self, key: str, version_id: str) -> bytes:
        with self.open(key, version_id) as stream:
            return hashlib.file_digest(cast(io.BufferedReader, stream), "sha256").digest()

    @contextmanager
    def _worded(self, doing: str) -> Iterator[None]:
        """Rewrites what botocore raises: its messages hold keys, buckets and addresses."""
        try:
            yield
        except ClientError as wrong:
            raise self._refusal(wrong, doing) from None
        except (BotoCoreError, OSError):
            raise StoreUnavailable("The object store does not answer.", mend="Look whether it runs.") from None

    def _refusal(self, wrong: ClientError, doing: str) -> CallkeeperError:
        code = _code(wrong)
        status = int(wrong.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if status in (409, 412) and doing == "write":
            return _Occupied("Something stands under this key.")
        if code in _UNKNOWN_US or status == 401:
            return WrongCredentials(
                "The object store does not know these credentials.", mend="Correct the store's keys."
            )
        if code == "RequestTimeTooSkewed":
            return WrongCredentials("The object store's clock and this machine's differ.", mend="Set the clock.")
        if code == "NoSuchBucket":
            return StoreRefused("The bucket is not there.", mend=_CREATE)
        if code in _FULL or status == 507:
            return StoreRefused("The object store is full.", mend="Give it more room, then clear the task.")
        if code in _DENIED or status == 403:
            # HEAD has no body: there, wrong keys and a missing right look alike.
            return StoreRefused(
                f"The object store does not let us {doing} the bucket.", mend="Look at its keys and rights."
            )
        # Only who asks for one object learns from a bare 404 that it is not there: a proxy may have said it.
        if code in _GONE or (status in (404, 405) and doing.startswith(("read", "look"))):
            return NotFound("The object is not in the store.")
        if status in (301, 307):
            return StoreRefused("The bucket is in another region.", mend="Correct CALLKEEPER_STORE_REGION.")
        if code == "BadDigest":
            return StoreUnavailable("The audio arrived damaged at the store.", mend="Try again.")
        if status == 500 and doing == "write" and self._reads():
            # SeaweedFS says no more than this when its volumes are full, or its bucket was made read-only.
            return StoreRefused(
                "The object store takes nothing: it is full or read-only.", mend="Make room, then clear the task."
            )
        if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout"):
            return StoreUnavailable(f"The object store failed (HTTP {status}).", mend="Try again later.")
        return StoreRefused(f"The object store refused to {doing} (HTTP {status}).", mend="Run `callkeeper doctor`.")

    def _reads(self) -> bool:
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except (BotoCoreError, ClientError, OSError):
            return False
        return True


class _Occupied(CallkeeperError):
    """A conditional PUT met an object, or another writer's PUT; never leaves this module."""


class _Stream(io.RawIOBase):
    """A reply's body, whose errors are ours too."""

    def __init__(self, store: S3Store, body: Any) -> None:
        self._store, self._body = store, body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._store._worded("read"):
            chunk = self._body.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._body.close()
        super().close()


def _code(wrong: ClientError) -> str:
    return str(wrong.response.get("Error", {}).get("Code", ""))
