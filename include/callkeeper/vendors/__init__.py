"""The vendor's edge: where calls come from.

One Protocol, one file a kind. What passes this door holds clear numbers and the vendor's references in memory only:
``repr`` of a record shows neither, and every exception raised here is one of ours, worded without them.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from enum import StrEnum
from typing import BinaryIO, Literal, NewType, Protocol, runtime_checkable

from callkeeper.phone import Number

VendorRef = NewType("VendorRef", str)
"""What a vendor needs to open, delete or look up one recording again: compact JSON, opaque to everybody else.

It may hold numbers (file names do): it is sealed before it is stored, and never printed."""

DayStatus = Literal["complete", "open", "absent"]
"""complete: the vendor says the day is whole; open: more may come; absent: nothing was delivered for the day."""


class Direction(StrEnum):
    inbound = "inbound"
    outbound = "outbound"


class MediaStatus(StrEnum):
    available = "available"
    pending = "pending"
    """Still being processed at the vendor: looked at again by every later run."""
    absent = "absent"
    """The vendor has metadata but no audio, for good."""
    deleted = "deleted"
    """The vendor deleted (or purged) the audio itself."""
    unanswered = "unanswered"
    """Nobody answered: a file may exist at the vendor, but holds no call. Refused, and to be deleted there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """What the vendor claims of the audio; every field may be unknown (None)."""

    bytes: int | None = None
    sha256: builtins.bytes | None = None
    content_type: str | None = None
    codec: str | None = None
    channels: int | None = None
    encryption: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorCall:
    """One recording as the vendor lists it, metadata already cut to the allow-list of the notice.

    ``recording_id``, or else ``call_id`` and ``segment``, names it for good. ``started_at`` is aware, or None if the
    vendor gave no usable time. ``other_party`` is the caller of an inbound call and the called party of an outbound one.
    ``service_number`` is our own line as E.164, None if it was missing or no number. ``faults`` are reason codes of
    ``callkeeper.quality`` found at the door. ``unknown_fields`` are the names (never values) of metadata fields that
    were dropped here.
    """

    ref: VendorRef = field(repr=False)
    recording_id: str | None = field(repr=False)
    call_id: str | None = field(repr=False)
    segment: int = 0
    supersedes: str | None = field(default=None, repr=False)
    started_at: datetime | None
    duration_ms: int | None
    direction: Direction | None
    other_party: Number = field(repr=False)
    service_number: str | None
    status: MediaStatus
    media: Media
    faults: tuple[str, ...] = ()
    unknown_fields: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The text that names this recording at its vendor, stable over redeliveries; hashed before it is stored."""
        return self.recording_id if self.recording_id else f"{self.call_id}/{self.segment}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a vendor can do; ``retention_days`` is how long it keeps audio before purging it, None if for ever."""

    delete: bool
    confirm_deleted: bool
    checksums: bool
    completeness: bool
    retention_days: int | None = None
    soft_delete_days: int | None = None
    encrypted: bool = False


DeleteAnswer = Literal["deleted", "already_gone", "accepted", "refused", "unsupported"]


@runtime_checkable
class Vendor(Protocol):
    """Where calls come from. ``day`` is a calendar day in ``tz`` (Europe/Helsinki)."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def day_status(self, day: date, tz: tzinfo) -> DayStatus: ...

    def fingerprint(self, day: date, tz: tzinfo) -> bytes:
        """SHA-256 over all that ``list_day`` would read for the day: equal means that nothing changed there."""
        ...

    def list_day(self, day: date, tz: tzinfo) -> Iterator[VendorCall]:
        """The day's recordings, lazily, in bounded memory; the same recording may come twice."""
        ...

    def open(self, ref: VendorRef) -> BinaryIO:
        """The audio as a stream. Raises AudioMissing, VendorUnavailable or WrongCredentials."""
        ...

    def delete(self, ref: VendorRef, key: str) -> DeleteAnswer:
        """Asks for deletion; ``key`` makes a repeated call the same call. Only ``jobs/deleting.py`` may call it."""
        ...

    def confirm_deleted(self, ref: VendorRef) -> bool | None:
        """Whether the recording is gone at the vendor; None: it cannot tell."""
        ...
