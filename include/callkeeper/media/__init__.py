"""The media's edge: where audio is kept, and what an audio file really holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One version of one object. ``created`` is False where the very bytes already stood under the key."""

    key: str
    version_id: str
    sha256: bytes
    size_bytes: int
    created: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectVersion:
    key: str
    version_id: str
    is_delete_marker: bool
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioFacts:
    """What demuxing and decoding found. ``duration_ms`` counts decoded samples' time, never a header's claim.

    ``truncated``: the container claims more than is there. ``codec`` is FFmpeg's name (pcm_s16le, pcm_alaw, gsm_ms, opus, …).
    """

    duration_ms: int
    codec: str
    channels: int
    sample_rate_hz: int
    truncated: bool


class Store(Protocol):
    """An S3-compatible store, one bucket, versioned and with Object Lock enabled."""

    def put(
        self, key: str, body: BinaryIO, *, sha256: bytes, size_bytes: int, content_type: str, legal_hold: bool = False
    ) -> Stored:
        """Writes once (If-None-Match: *), the store checking the SHA-256. The same bytes already there are adopted
        (``created=False``); other bytes raise StoreConflict. Full or read-only: StoreRefused. Unreachable: StoreUnavailable."""
        ...

    def head(self, key: str, version_id: str | None = None) -> Stored | None: ...

    def open(self, key: str, version_id: str, *, first: int = 0, last: int | None = None) -> BinaryIO:
        """One version's bytes as a stream; of a range, both ends included, where one is given. Raises NotFound."""
        ...

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Every version and delete marker under the prefix, complete."""
        ...

    def region(self) -> str | None:
        """Where the bucket is, by the store's own word; None where the store does not say."""
        ...

    def check(self) -> tuple[str, ...]:
        """What is wrong with bucket, rights, versioning, Object Lock, encryption or region, in words; empty: nothing."""
        ...


class Destroyer(Protocol):
    """The store as the one identity that may delete versions; it cannot lift a legal hold (architecture, rule 4)."""

    def delete(self, versions: Sequence[ObjectVersion]) -> dict[tuple[str, str], str]:
        """Deletes exactly these versions (delete markers too), 1,000 a call; returns the failures by (key, version id).

        denied: no right, or a legal hold; unavailable: a retry may help; unknown: the store said something else. What is not among them the store says is gone, or never was there: its word, no proof. Raises StoreUnavailable,
        StoreRefused or WrongCredentials where a whole call fails; then any of the versions may be gone.
        """
        ...

    def versions(self, prefix: str, *, first: str = "", last: str = "") -> Iterator[ObjectVersion]:
        """Every version and delete marker under the prefix, complete, in no order.

        Only of keys from ``first`` to ``last``, both included, where they are given; a range costs only its range.
        """
        ...

    def uploads(self, prefix: str, *, begun_before: datetime | None = None) -> Iterator[tuple[str, str]]:
        """(key, upload id) of every unfinished multipart upload under the prefix, complete; by the store's clock, if told."""
        ...

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Ends an upload and removes its parts; one that is not there is no error."""
        ...


class Holder(Protocol):
    """The store as the identity that places and lifts legal holds; it cannot delete a version (architecture, rule 4)."""

    def hold(self, key: str, version_id: str) -> bool:
        """Puts the version under a legal hold; False if it is not there."""
        ...

    def release(self, key: str, version_id: str) -> bool:
        """Lifts the version's legal hold; False if it is not there."""
        ...

    def is_held(self, key: str, version_id: str) -> bool | None:
        """Whether a legal hold stands on the version; None if it is not there."""
        ...


class Vault(Protocol):
    """The anchor's bucket, as the identity that puts and reads there, and may do nothing else anywhere."""

    def put(
        self, key: str, body: BinaryIO, *, sha256: bytes, size_bytes: int, content_type: str, retain_until: datetime
    ) -> Stored:
        """Writes once, under Object Lock COMPLIANCE until then. The same bytes already there are adopted; other bytes
        raise StoreConflict. Full or read-only: StoreRefused. Unreachable: StoreUnavailable."""
        ...

    def open(self, key: str, version_id: str) -> BinaryIO: ...

    def versions(self, prefix: str, *, first: str = "") -> Iterator[ObjectVersion]:
        """Every version and delete marker under the prefix, of keys from ``first`` on, complete."""
        ...

    def check_vault(self) -> tuple[str, ...]:
        """What is wrong with bucket, rights, versioning or Object Lock, in words; empty: nothing."""
        ...


class Backups(Protocol):
    """Where backups of the database lie."""

    def ages(self) -> Sequence[datetime]:
        """When each of them was written, in UTC, in no order. Raises StoreUnavailable."""
        ...
