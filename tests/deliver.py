"""Deliveries of a drop vendor, made for the tests: a manifest, and honest audio beside it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import wave
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path

PUNAVAARA, PHM = "020 700 1234", "010 270 8001"
"""Designated lines of the controllers punavaara and phm."""


@cache
def tone(seconds: float = 1.0, hertz: int = 440) -> bytes:
    """A WAV file of 8 kHz PCM16 mono; another tone, other bytes."""
    samples = array("h", (round(8000 * math.sin(n * hertz * math.tau / 8000)) for n in range(round(8000 * seconds))))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class Call:
    """One record of a manifest. ``audio`` is what lies at its path (None: nothing); ``media`` and ``fields`` override.

    A field or media field that is set to ``...`` is left out of the record.
    """

    id: str
    start: datetime | str | None
    line: str | None = PUNAVAARA
    caller: str | None = "+358 40 1234501"
    direction: str = "inbound"
    audio: bytes | None = field(default_factory=tone)
    ms: int | None = 1000
    media: Mapping[str, object] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return str(self.media.get("path", f"{self.id}.wav"))

    def record(self) -> dict[str, object]:
        audio = self.audio or b""
        media = {
            "path": self.path,
            "bytes": len(audio),
            "sha256": hashlib.sha256(audio).hexdigest(),
            "content_type": "audio/wav",
            "codec": "pcm_s16le",
            "channels": 1,
            **self.media,
        }
        record = {
            "recording_id": self.id,
            "call_id": f"call-{self.id}",
            "segment_no": 0,
            "started_at": self.start.isoformat() if isinstance(self.start, datetime) else self.start,
            "duration_ms": self.ms,
            "direction": self.direction,
            "caller_number": self.caller,
            "caller_withheld": False,
            "service_number": self.line,
            "media": {name: value for name, value in media.items() if value is not ...},
            "status": "available",
            **self.fields,
        }
        return {name: value for name, value in record.items() if value is not ...}


def deliver(
    vendor: Path,
    day: date,
    calls: Iterable[Call | object],
    *,
    seq: int = 1,
    complete: bool = True,
    repeat: int = 1,
    **head: object,
) -> Path:
    """Puts a day's delivery into the vendor's folder, the manifest last; returns the manifest's path."""
    folder = vendor / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    records: list[object] = []
    for call in calls:
        if isinstance(call, Call) and call.audio is not None and ".." not in call.path:
            (folder / call.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / call.path).write_bytes(call.audio)
        records += [call.record() if isinstance(call, Call) else call] * repeat
    manifest = folder / f"manifest-{seq}.json"
    manifest.write_text(
        json.dumps(
            {
                "schema_version": 1,
                "vendor": "linna",
                "delivery_id": f"{day}/{seq}",
                "delivery_seq": seq,
                "business_date": day.isoformat(),
                "timezone": "Europe/Helsinki",
                "complete": complete,
                "record_count": len(records),
                **head,
                "records": records,
            }
        )
    )
    return manifest
