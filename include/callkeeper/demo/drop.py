"""A vendor's drop to try callkeeper with: some three hundred invented calls over ten days, every kind of fault among them.

The same seed and days give the same bytes. What an import must find is returned with them, and compared by the tests.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from callkeeper.clock import HELSINKI, add_months
from callkeeper.demo import audio

VENDOR = "linna"
LINES = ("010 270 8001", "0102708001", "+358 207 001 234", "0207001234", "0800123456", "0800 123 456")
"""The designated numbers of config/callkeeper.toml, as a vendor happens to write them."""
NOT_OURS = "0901112222"
HELD_CALLER = "040 123 4480"
"""Whom the police ask about: nobody else's number, so that one recording is held."""
_ARCHIVED = "LP-archived"

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What an import of one day finds: ``found`` is the sum of the terms behind it. Reasons are those of quality.py.

    ``repeated`` (records that came twice) and ``unknown_fields`` (name to times) are counted beside them.
    """

    found: int = 0
    kept: int = 0
    unchanged: int = 0
    corrected: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    pending: int = 0
    repeated: int = 0
    unknown_fields: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """``days``: when each day is first imported; ``later``: when ``later_day`` is looked at again after ``deliver_later``.

    ``empty_day`` was delivered without a call, ``missing_day`` was not delivered (None: there are too few days for them).
    """

    days: Mapping[date, Counts]
    later: Counts
    later_day: date
    empty_day: date | None
    missing_day: date | None


def make_drop(folder: Path, days: Sequence[date], *, seed: int, calls_per_day: int = 36) -> Expected:
    """Writes the drop of these Helsinki days, a folder a day, its manifest last; returns what an import must find."""
    plan = _Plan(days)
    faults = _faults_by_day(plan)
    counts: dict[date, Counts] = {}
    for n, day in enumerate(days):
        delivery = _Delivery(folder, day, random.Random(f"{seed} {n}"))
        if day == plan.missing:
            continue
        if day != plan.empty:
            for fault in faults[day]:
                fault(delivery)
            while len(delivery.records) < calls_per_day:
                delivery.call()
            delivery.shuffle()
        (delivery.write_csv if day == plan.csv else delivery.write_json)()
        counts[day] = delivery.counts()
    return Expected(
        days=counts,
        later=_later_counts(counts[plan.later]),
        later_day=plan.later,
        empty_day=plan.empty,
        missing_day=plan.missing,
    )


def make_old_days(folder: Path, days: Sequence[date], *, seed: int, calls_per_day: int = 30) -> None:
    """Writes plain days of good calls. On the last one HELD_CALLER rang, once, and there is the call that ``archive`` moves."""
    for day in days:
        delivery = _Delivery(folder, day, random.Random(f"{seed} {day}"))
        if day == days[-1]:
            delivery.call(caller_number=HELD_CALLER)
            delivery.call(recording_id=_ARCHIVED)
        while len(delivery.records) < calls_per_day:
            delivery.call()
        delivery.shuffle()
        delivery.write_json()


def archive(folder: Path, day: date) -> None:
    """The vendor moves a recording of the day into an archive of its own, and leaves a link: so it will not be deleted."""
    manifest = json.loads((folder / day.isoformat() / _manifest_name(1)).read_text())
    (record,) = (record for record in manifest["records"] if record["recording_id"] == _ARCHIVED)
    path, archived = folder / day.isoformat() / record["media"]["path"], folder / "archive" / _ARCHIVED
    if path.is_symlink():
        return
    if path.exists():
        archived.parent.mkdir(exist_ok=True)
        os.replace(path, archived)
    path.symlink_to(archived)


def deliver_later(folder: Path, days: Sequence[date], *, seed: int) -> bool:
    """The second delivery of one of the early days: what was pending, a late call, corrections. False: it is there already."""
    day = _Plan(days).later
    if (folder / day.isoformat() / _manifest_name(2)).exists():
        return False
    first = json.loads((folder / day.isoformat() / _manifest_name(1)).read_text())
    by_id = {record["recording_id"]: record for record in first["records"] if isinstance(record, dict)}
    delivery = _Delivery(folder, day, random.Random(f"{seed} later"), sequence=2)
    pending = by_id[_PENDING]
    delivery.call(**{name: pending[name] for name in _SAME}, seconds=pending["duration_ms"] / 1000)
    delivery.call(recording_id="LP-late")
    changed = by_id[_CHANGED]
    delivery.call(**{name: changed[name] for name in _SAME}, seconds=changed["duration_ms"] / 1000)
    delivery.records.append(by_id[_CORRECTED] | {"caller_number": "040 123 4999"})
    damaged = by_id[_DAMAGED]
    content = (delivery.folder / damaged["media"]["path"]).read_bytes()
    delivery.records.append(damaged | {"media": damaged["media"] | {"sha256": hashlib.sha256(content).hexdigest()}})
    delivery.records.append(by_id[_SAME_AGAIN])
    delivery.write_json()
    return True


_PENDING, _CHANGED, _CORRECTED, _DAMAGED, _SAME_AGAIN = (
    "LP-pending",
    "LP-changed",
    "LP-corrected",
    "LP-damaged",
    "LP-same",
)
"""The recordings of the later day that its second delivery speaks of again."""
_SAME = ("recording_id", "call_id", "started_at", "duration_ms", "direction", "caller_number", "service_number")


def _later_counts(first: Counts) -> Counts:
    """Of what was kept one is corrected and the others stand as they are, one of them (other bytes) quarantined beside."""
    waiting = Counter(first.quarantined) - Counter(["checksum_mismatch"]) + Counter(["changed_bytes"])
    return Counts(
        found=first.found + 1,
        kept=3,  # what was pending, the late call, the damaged one redelivered
        unchanged=first.kept - 2,
        corrected=1,
        quarantined=dict(waiting),
        refused=first.refused,
        repeated=first.repeated + 5,
        unknown_fields=first.unknown_fields,
    )


class _Plan:
    """Which of the days is what. Too few days: none is empty, missing or CSV."""

    def __init__(self, days: Sequence[date]) -> None:
        n = len(days)
        self.later = days[max(0, n // 2 - 2)]
        self.empty = days[1] if n >= 6 else None
        self.missing = days[n - 3] if n >= 6 else None
        self.csv = days[n - 1] if n >= 4 else None
        self.full = [d for d in days if d not in (self.empty, self.missing, self.csv)]


def _manifest_name(sequence: int) -> str:
    return f"manifest-{sequence}.json"


# --- calls ------------------------------------------------------------------------------------------------------------


def _number(rng: random.Random) -> str:
    """An invented customer's number, in one of the ways in which numbers are written."""
    rest = f"40123{rng.randrange(4500, 4560)}"
    return rng.choice(["+358", "00358", "358", "0", "+358 (0)"]) + rest


class _Delivery:
    """One day's delivery in the making: its records, its audio, and what is to become of each call."""

    def __init__(self, root: Path, day: date, rng: random.Random, *, sequence: int = 1) -> None:
        self.folder, self.day, self.rng, self.sequence = root / day.isoformat(), day, rng, sequence
        self.records: list[Any] = []
        self.outcomes: Counter[str] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.unknown_fields: Counter[str] = Counter()
        self.repeated = 0
        (self.folder / "audio").mkdir(parents=True, exist_ok=True)

    def call(
        self,
        outcome: str = "kept",
        *,
        media: dict[str, Any] | None = None,
        content: bytes | None = None,
        seconds: float | None = None,
        form: str | None = None,
        **changed: Any,
    ) -> Record:
        """A good call, but for what is ``changed``; ``outcome`` is kept, refused, pending or a reason of quarantine."""
        rng = self.rng
        seconds = seconds or round(rng.uniform(3, 12), 2)
        form = form or rng.choices(["pcm", "mulaw", "opus", "raw"], [30, 50, 15, 5])[0]
        caller = _number(rng)
        record: Record = {
            "recording_id": f"LP{self.day:%y%m%d}{self.sequence}{len(self.records):04}",
            "call_id": f"{rng.getrandbits(64):016x}",
            "segment_no": 0,
            "supersedes": None,
            "started_at": self.at(rng.randrange(8 * 3600, 17 * 3600)),
            # What is billed and what is heard differ: on a real exchange by -1.0 to +0.9 s.
            "duration_ms": round(seconds * 1000) + rng.randrange(-900, 900),
            "direction": rng.choices(["inbound", "outbound"], [3, 1])[0],
            "caller_number": caller,
            "caller_withheld": False,
            "service_number": rng.choice(LINES),
            "status": "available",
        } | changed
        made, extension, codec, content_type = self.audio(seconds, form)
        content = made if content is None else content
        digits = caller.replace(" ", "").replace("(0)", "")
        path = f"audio/{rng.randrange(10**6):06}_{digits}_{record['recording_id'] or record['segment_no']}.{extension}"
        record["media"] = {
            "path": path,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "content_type": content_type,
            "codec": codec,
            "channels": 1,
            "encryption": None,
        } | (media or {})
        if record["status"] == "available" and ".." not in record["media"]["path"]:
            (self.folder / record["media"]["path"]).write_bytes(content)
        self.records.append(record)
        self.count(outcome)
        return record

    def at(self, second_of_day: int) -> str:
        """A wall-clock time of the day, RFC 3339 with its offset."""
        hour, rest = divmod(second_of_day, 3600)
        return datetime.combine(self.day, time(hour, *divmod(rest, 60)), HELSINKI).isoformat()

    def count(self, outcome: str) -> None:
        if outcome in ("kept", "refused", "pending"):
            self.outcomes[outcome] += 1
        else:
            self.quarantined[outcome] += 1

    def audio(self, seconds: float, form: str) -> tuple[bytes, str, str, str]:
        """Bytes, extension, codec, media type."""
        samples = audio.speech(self.rng.getrandbits(32), seconds)
        if form == "pcm":
            return audio.pcm_wav(samples), "wav", "pcm_s16le", "audio/wav"
        if form == "mulaw":
            return audio.mulaw_wav(samples), "wav", "pcm_mulaw", "audio/wav"
        if form == "raw":
            return audio.mulaw(samples), "ulaw", "pcm_mulaw", "audio/basic"
        return audio.opus(samples), "ogg", "opus", "audio/ogg"

    def shuffle(self) -> None:
        """Faults stand among good calls."""
        self.rng.shuffle(self.records)

    def counts(self) -> Counts:
        return Counts(
            found=self.outcomes.total() + self.quarantined.total(),
            kept=self.outcomes["kept"],
            refused=self.outcomes["refused"],
            pending=self.outcomes["pending"],
            quarantined=dict(self.quarantined),
            repeated=self.repeated,
            unknown_fields=dict(self.unknown_fields),
        )

    def write_json(self) -> None:
        after = datetime.combine(self.day, time(1, 30), UTC) + timedelta(days=self.sequence)
        manifest = {
            "schema_version": "1.0",
            "vendor": VENDOR,
            "delivery_id": f"{VENDOR}-{self.day}-{self.sequence}",
            "delivery_seq": self.sequence,
            "business_date": self.day.isoformat(),
            "timezone": "Europe/Helsinki",
            "generated_at": after.isoformat(),
            "complete": True,
            "record_count": len(self.records),
            "records": self.records,
        }
        self.write(_manifest_name(self.sequence), json.dumps(manifest, ensure_ascii=False, indent=1))

    def write_csv(self) -> None:
        """As a spreadsheet in Finland writes it: a byte-order mark, semicolons."""
        text = io.StringIO()
        rows = csv.writer(text, delimiter=";")
        names = [name for name in self.records[0] if name != "media"]
        rows.writerow([*names, *self.records[0]["media"]])
        for record in self.records:
            cells = [*(record[name] for name in names), *record["media"].values()]
            rows.writerow(["" if c is None else str(c).lower() if isinstance(c, bool) else c for c in cells])
        rows.writerow(["#end", f"record_count={len(self.records)}", f"business_date={self.day}", "complete=true"])
        self.write("manifest.csv", "\ufeff" + text.getvalue())

    def write(self, name: str, text: str) -> None:
        """Whole or not at all: an import may be looking."""
        partial = self.folder / f".{name}.tmp"
        partial.write_text(text, encoding="utf-8", newline="")
        os.replace(partial, self.folder / name)


# --- faults -----------------------------------------------------------------------------------------------------------

Fault = Callable[[_Delivery], object]


def _faults_by_day(plan: _Plan) -> Mapping[date, list[Fault]]:
    """Each fault once, spread over the days; what the second delivery speaks of on its day."""
    found: dict[date, list[Fault]] = {}
    for n, fault in enumerate(_ANY_DAY):
        found.setdefault(plan.full[n % len(plan.full)], []).append(fault)
    found.setdefault(plan.later, []).extend(_LATER_DAY)
    if plan.csv:
        found[plan.csv] = [lambda d: d.call(caller_number=None, caller_withheld=True)]
    return found


def _over_midnight(d: _Delivery) -> None:
    d.call(started_at=d.at(24 * 3600 - 4), seconds=11.5)


def _in_utc(d: _Delivery) -> None:
    """Half past midnight here is yesterday there."""
    start = datetime.combine(d.day, time(0, 30), HELSINKI).astimezone(UTC)
    d.call(started_at=start.isoformat().replace("+00:00", "Z"))


def _past_its_term(d: _Delivery) -> None:
    """Eight months old: it is refused, and to be deleted at the vendor."""
    start = datetime.combine(add_months(d.day, -8), time(12, 15), HELSINKI)
    d.call("refused", started_at=start.isoformat())


def _in_the_future(d: _Delivery) -> None:
    start = datetime.combine(d.day + timedelta(days=400), time(9, 0), HELSINKI)
    d.call("time_in_future", started_at=start.isoformat())


def _naive_time(d: _Delivery) -> None:
    d.call("time_naive", started_at=d.at(9 * 3600)[:19])


def _segments(d: _Delivery) -> None:
    """One call, handed on twice: three recordings that share its id."""
    for n in range(3):
        d.call(recording_id=None, call_id="LP-handed-on", segment_no=n, started_at=d.at(10 * 3600 + 15 * n))


def _twice(d: _Delivery) -> None:
    d.records.append(d.call())
    d.repeated += 1


def _unknown_fields(d: _Delivery) -> None:
    extra: dict[str, Any] = {"agent": "Matti M.", "customer_id": "C-4411", "transcript": "Hei, soitan vuodosta …"}
    d.call(**extra)
    d.unknown_fields.update(extra.keys())


def _html(d: _Delivery) -> None:
    page = "<!DOCTYPE html>\n<html><body><h1>Istunto on vanhentunut</h1><p>Kirjaudu uudelleen.</p></body></html>\n"
    d.call("not_audio", content=page.encode(), form="pcm")


def _truncated(d: _Delivery) -> None:
    whole = audio.pcm_wav(audio.speech(d.rng.getrandbits(32), 14))
    d.call("audio_truncated", content=whole[: len(whole) * 2 // 5], form="pcm", seconds=14)


def _encrypted(d: _Delivery) -> None:
    d.call("encrypted_without_key", content=d.rng.randbytes(40_000), media={"encryption": "aes-256-gcm"})


def _wrong_extension(d: _Delivery) -> None:
    """Opus, named and announced as WAV: what is in the file decides."""
    d.call(form="opus", media={"path": "audio/nimi_vaarin.wav", "content_type": "audio/wav", "codec": "pcm_s16le"})


def _leftovers(d: _Delivery) -> None:
    """Uploads that broke off beside what is whole: nobody reads them."""
    (d.folder / "audio" / "kesken.wav.tmp").write_bytes(b"RIFF\0\0\0\0WAVE")
    (d.folder / "manifest-9.json.tmp").write_text('{"schema_version": "1.0", "records": [')


def _not_a_record(d: _Delivery) -> None:
    d.records.append("ERROR 500")
    d.count("record_invalid")


_ANY_DAY: tuple[Fault, ...] = (
    lambda d: d.call("line_undesignated", service_number=NOT_OURS),
    lambda d: d.call("line_missing", service_number=None),
    lambda d: d.call(caller_number=None, caller_withheld=True),
    lambda d: d.call(caller_withheld=True),  # the network asserted a number that its owner withheld
    lambda d: d.call(caller_number="sip:asukas@operator.example"),
    lambda d: d.call(caller_number="201"),
    lambda d: d.call("direction_unknown", direction="internal"),
    lambda d: d.call("time_missing", started_at=None),
    lambda d: d.call("duration_invalid", duration_ms=None),
    lambda d: d.call("audio_absent", status="absent", media={"path": None, "bytes": None, "sha256": None}),
    lambda d: d.call("audio_empty", content=b""),
    lambda d: d.call("size_mismatch", media={"bytes": 1_000_000, "sha256": None}),
    lambda d: d.call("duration_mismatch", duration_ms=95_000),
    lambda d: d.call("media_path_unsafe", media={"path": "../../vendors/../etc/passwd"}),
    _naive_time,
    _in_the_future,
    _past_its_term,
    _over_midnight,
    _in_utc,
    _segments,
    _twice,
    _unknown_fields,
    _html,
    _truncated,
    _encrypted,
    _wrong_extension,
    _leftovers,
    _not_a_record,
)

_LATER_DAY: tuple[Fault, ...] = (
    lambda d: d.call("pending", recording_id=_PENDING, status="pending", media={"bytes": None, "sha256": None}),
    lambda d: d.call(recording_id=_CHANGED),
    lambda d: d.call(recording_id=_CORRECTED),
    lambda d: d.call(recording_id=_SAME_AGAIN),
    lambda d: d.call("checksum_mismatch", recording_id=_DAMAGED, media={"sha256": "00" * 32}),
)
