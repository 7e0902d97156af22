"""The strict allow-list: of a vendor's record only what the notice lists comes in, and only in its proper shape.

A field that is not listed loses its value here; its name is kept, to be counted. A field in the wrong shape is a fault
of its record, never of the delivery.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Final

from callkeeper.phone import WITHHELD, normalise
from callkeeper.vendors import Direction, Media, MediaStatus, VendorCall, VendorRef
from callkeeper.vendors.place import is_safe

RECORD_FIELDS: Final = frozenset(
    [
        "recording_id",
        "call_id",
        "segment_no",
        "supersedes",
        "started_at",
        "duration_ms",
        "direction",
        "caller_number",
        "caller_withheld",
        "service_number",
        "media",
        "status",
    ]
)
MEDIA_FIELDS: Final = frozenset(["path", "bytes", "sha256", "content_type", "codec", "channels", "encryption"])

_MOST_NAMES = 20
_LONGEST_TEXT = 500
_LONGEST_CALL_MS = 24 * 3600 * 1000
_LARGEST_BYTES = 1 << 50
_YEARS = range(2000, 2100)
"""Outside of it a time is a mistake, and arithmetic on it may overflow."""

_DIRECTIONS: Final = {d.value: d for d in Direction}
_STATUSES: Final = {s.value: s for s in MediaStatus if s is not MediaStatus.unanswered}
_YES: Final = frozenset({"true", "1", "yes"})
_NO: Final = frozenset({"false", "0", "no", ""})
_MOST_DIGITS = 5
"""In a word of a technical vocabulary (``mp4a.40.2``); with more it may be somebody's number."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}(?:/[A-Za-z0-9][A-Za-z0-9_.+-]{0,79})?")


def read_call(record: object, media: object, *, folder: str) -> VendorCall:
    """One record of a manifest; ``media`` is its media's fields (``record["media"]`` itself is not looked at).

    ``folder`` is where the media's path starts. Values may be JSON's or a CSV's texts. Never raises: what is wrong with
    the record are its ``faults``.
    """
    faults: list[str] = []
    if not isinstance(record, Mapping):
        faults.append("record_invalid")
        record = {}
    if not isinstance(media, Mapping):
        if media is not None:
            faults.append("record_invalid")
        media = {}
    get, of_media = record.get, media.get

    recording_id, call_id = _text(get("recording_id"), faults), _text(get("call_id"), faults)
    segment = _count(get("segment_no"), faults, most=(1 << 31) - 1)
    if not recording_id and not call_id:
        # It needs a name all the same, the same one when it is delivered again.
        faults.append("record_invalid")
        text = json.dumps([record, media], sort_keys=True, default=str)
        recording_id = "unnamed-" + hashlib.sha256(text.encode()).hexdigest()

    direction = get("direction")
    if (known_direction := _DIRECTIONS.get(direction) if isinstance(direction, str) else None) is None:
        faults.append("direction_unknown")
    status = get("status")
    if (known_status := _STATUSES.get(status) if isinstance(status, str) else None) is None:
        faults.append("record_invalid")
        known_status = MediaStatus.absent

    duration = get("duration_ms")
    duration_ms = None if duration is None else _count(duration, [], most=_LONGEST_CALL_MS)
    if duration_ms is None:
        faults.append("duration_invalid")

    caller, line = _text(get("caller_number"), faults), _text(get("service_number"), faults)
    # A number that the network asserted for somebody who withheld it is withheld.
    other_party = WITHHELD if _flag(get("caller_withheld"), faults) else normalise(caller)

    path = of_media("path")
    ref = "{}"
    if isinstance(path, str) and path:
        if is_safe(path):
            ref = f'{{"path":{_quoted(f"{folder}/{path}")}}}'
        else:
            faults.append("media_path_unsafe")
            ref = '{"unsafe":true}'
    elif path or known_status is MediaStatus.available:
        faults.append("record_invalid")
    encryption = of_media("encryption")
    if encryption in (None, "", "none", False):
        encryption = None
    else:
        faults.append("encrypted_without_key")
        encryption = _token(encryption) or "unknown"

    return VendorCall(
        ref=VendorRef(ref),
        recording_id=recording_id,
        call_id=call_id,
        segment=segment or 0,
        supersedes=_text(get("supersedes"), faults),
        started_at=_time(get("started_at"), faults),
        duration_ms=duration_ms,
        direction=known_direction,
        other_party=other_party,
        service_number=line_number(line) if line else None,
        status=known_status,
        media=Media(
            bytes=_count(of_media("bytes"), faults, most=_LARGEST_BYTES),
            sha256=_sha256(of_media("sha256"), faults),
            content_type=_token(of_media("content_type")),
            codec=_token(of_media("codec")),
            channels=_count(of_media("channels"), faults, most=64),
            encryption=encryption,
        ),
        faults=tuple(dict.fromkeys(faults)) if faults else (),
        unknown_fields=_unknown(record, media),
    )


@lru_cache(maxsize=1024)
def line_number(text: str) -> str | None:
    """One of our own numbers as E.164; None if it is no number. They are few, and come with every call."""
    return normalise(text).e164


@lru_cache(maxsize=1024)
def field_name(name: str) -> str:
    """A field's name, fit for the audit: ASCII letters, ``_ . -``; the rest is ``#``, for it might be a number."""
    return re.sub(r"[^A-Za-z_.-]+", "#", name)[:40] or "#"


def field_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names that are reported of one record's unknown fields, at most twenty of them."""
    return tuple(sorted({field_name(name) for name in names}))[:_MOST_NAMES]


def _unknown(record: Mapping[str, object], media: Mapping[str, object]) -> tuple[str, ...]:
    if record.keys() <= RECORD_FIELDS and media.keys() <= MEDIA_FIELDS:
        return ()
    return field_names([*(record.keys() - RECORD_FIELDS), *(f"media.{name}" for name in media.keys() - MEDIA_FIELDS)])


def _text(value: object, faults: list[str]) -> str | None:
    """Printable text of a bounded length, or None; an id or a number may be written as a JSON number."""
    if type(value) is int:
        value = str(value)
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable():
        return value or None
    if value is not None:
        faults.append("record_invalid")
    return None


def _count(value: object, faults: list[str], *, most: int) -> int | None:
    """A whole number from 0 to ``most``, or None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if type(value) is int and 0 <= value <= most:
        return value
    if value is None or value == "":
        return None
    faults.append("record_invalid")
    return None


def _flag(value: object, faults: list[str]) -> bool:
    """Whether a yes is meant; a word that is neither yes nor no is read as yes, which gives away nothing."""
    if value is None or value is False:
        return False
    if value is True:
        return True
    word = str(value).strip().casefold()
    if word in _NO or word in _YES:
        return word in _YES
    faults.append("record_invalid")
    return True


def _token(value: object) -> str | None:
    """A word of a technical vocabulary (a codec, a media type); anything else is dropped, for it might be free text."""
    return _word(value) if isinstance(value, str) else None


@lru_cache(maxsize=256)
def _word(text: str) -> str | None:
    return text.lower() if _TOKEN.fullmatch(text) and sum(map(str.isdigit, text)) <= _MOST_DIGITS else None


def _sha256(value: object, faults: list[str]) -> bytes | None:
    if value is None or value == "":
        return None
    try:
        digest = bytes.fromhex(value) if isinstance(value, str) and len(value) == 64 else b""
    except ValueError:
        digest = b""
    if len(digest) == 32:
        return digest
    faults.append("record_invalid")
    return None


def _time(value: object, faults: list[str]) -> datetime | None:
    """RFC 3339 with an offset, in UTC. Without one it could be one of two hours: never guessed."""
    try:
        at = datetime.fromisoformat(value.strip().upper()) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.year not in _YEARS:
        faults.append("time_missing")
        return None
    if at.tzinfo is None:
        faults.append("time_naive")
        return None
    return at.astimezone(UTC)
