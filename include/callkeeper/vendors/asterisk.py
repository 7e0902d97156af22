"""An Asterisk or FreePBX exchange: its call details (``cdr_csv``'s Master.csv) and its tree of recordings.

The tree has a folder a day, ``YYYY/MM/DD``, and names as FreePBX writes them:
``TYPE-CALLED-CALLER-YYYYMMDD-HHMMSS-UNIQUEID.EXT``. A recording is a file that a finished call's rows belong to; its
legs (``-rx``, ``-tx``) and other formats of its name go with it when it is deleted. The exchange's rows stay there.

No clock is read: whether a day or a call is over is told by what stands in the files (docs/adr/0124).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import BinaryIO, Final, NamedTuple
from zoneinfo import ZoneInfo

from callkeeper.errors import AudioMissing, DeliveryUnreadable, VendorUnavailable
from callkeeper.phone import UNUSABLE, WITHHELD, Number, normalise
from callkeeper.vendors import (
    Capabilities,
    DayStatus,
    DeleteAnswer,
    Direction,
    Media,
    MediaStatus,
    VendorCall,
    VendorRef,
)
from callkeeper.vendors.fields import line_number
from callkeeper.vendors.place import Place, is_safe

SETTLED_AFTER: Final = timedelta(hours=1)
"""A day is over once a call has started so long after it: rows are written at a call's end, in batches at worst."""
_AROUND: Final = timedelta(hours=6)
"""A call's later rows and recordings (a transfer after midnight) start at most so long after its first."""
_NAME_BEFORE: Final = timedelta(hours=1)
"""The clock of the names may be so much behind that of the call details."""
_BEGINS_WITH_CALL: Final = timedelta(seconds=2)
_HEADER_BYTES: Final = 60
"""A WAV header and nothing more: 44 bytes of PCM, 60 of WAV49."""

_COLUMNS: Final = 18
_LATER_COLUMNS: Final = ("peeraccount", "linkedid", "sequence")
"""What newer Asterisks add behind the eighteen; anything further is counted as ``extra-column``."""
_STARTED: Final = re.compile(r',"(\d{4}-\d\d-\d\d) \d\d:\d\d:\d\d",')
"""The first time in a row. No caller's name can pretend to be one: quotes within a field are doubled."""

_NAME: Final = re.compile(r"([A-Za-z]+)-([^-]*)-(.*)-(\d{8})-(\d{6})-([!-~]*\d\.\d+)")
_EPOCH: Final = re.compile(r"(?:^|-)(\d{9,10})\.\d+$")
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode
_LEG: Final = re.compile(r"-(?:rx|tx)$")
_TEMPORARY: Final = re.compile(r"\.(?:tmp|part)$", re.IGNORECASE)
_INBOUND_CONTEXTS: Final = (
    "from-trunk",
    "from-pstn",
    "from-did",
    "ext-did",
    "from-digital",
    "from-zaptel",
    "from-dahdi",
)

_FORMATS: Final[Mapping[str, tuple[str, str | None]]] = {
    "wav": ("audio/wav", None),
    "WAV": ("audio/wav", "gsm_ms"),
    "wav49": ("audio/wav", "gsm_ms"),
    "alaw": ("audio/basic", "pcm_alaw"),
    "al": ("audio/basic", "pcm_alaw"),
    "ulaw": ("audio/basic", "pcm_mulaw"),
    "ul": ("audio/basic", "pcm_mulaw"),
    "pcm": ("audio/basic", "pcm_mulaw"),
    "gsm": ("audio/gsm", "gsm"),
    "g722": ("audio/g722", "g722"),
    "sln": ("audio/l16", "pcm_s16le"),
    "mp3": ("audio/mpeg", "mp3"),
    "ogg": ("audio/ogg", None),
    "opus": ("audio/ogg", "opus"),
}
"""Extension → media type and codec as claimed: ``.WAV`` is another codec than ``.wav``, in which anything may be."""


class _Row(NamedTuple):
    """A row of the call details, cut to what is needed. Times are aware; ``stem`` is the recording it names."""

    uniqueid: str
    start: datetime
    answer: datetime | None
    end: datetime | None
    billsec: int | None
    answered: bool
    src: str
    dst: str
    clid: str
    """Display name and number; empty where there is no name, as it says nothing then that ``src`` doesn't."""
    context: str
    is_first_leg: bool
    """A Local channel's ``;1`` half: the same call seen from inside, with its parties turned round."""
    stem: str | None
    extras: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class _Recording:
    """The files of one name. ``stem`` is that name without extension and leg."""

    stem: str
    folder_day: date
    kind: str = ""
    called: str = ""
    caller: str = ""
    named_at: datetime | None = None
    uniqueid: str | None = None
    path: str | None = None
    """The mixed audio, relative to the tree; None if there are legs only."""
    size: int = 0
    beside: list[str] = field(default_factory=list)
    """Legs and other formats: not recordings of their own, deleted with it."""

    @property
    def segment(self) -> int:
        """0 for what began with its call; a recording that began later is told by its second, from the name alone, so
        that no deletion of another one renumbers it."""
        began = _epoch(self.uniqueid)
        if self.named_at is None or began is None or abs(self.named_at - began) <= _BEGINS_WITH_CALL:
            return 0
        return max(0, round((self.named_at - began).total_seconds()))


@dataclass(kw_only=True, slots=True)
class _Day:
    """What was read for a day. ``reaches_back``: the call details go back beyond it; ``settled``: and well past it."""

    start: datetime
    end: datetime
    calls: dict[str, list[_Row]] = field(default_factory=dict)
    """uniqueid → its rows"""
    recordings: dict[str, _Recording] = field(default_factory=dict)
    reaches_back: bool = False
    settled: bool = False

    def has(self, at: datetime | None) -> bool:
        return at is not None and self.start <= at < self.end


class Asterisk:
    """An exchange whose call details are the file ``cdr`` and whose recordings are the tree ``recordings``.

    Both are paths or fsspec URLs, with the same fsspec ``options``; a ``*`` in the file's name reads several (rotated
    ones, one an account). ``cdr_timezone`` is the clock of the call details (``usegmtime=yes`` writes UTC),
    ``name_timezone`` that of the names.
    ``retention_days``: how long the exchange keeps recordings; None: until they are deleted.
    """

    def __init__(
        self,
        name: str,
        *,
        cdr: str,
        recordings: str,
        options: Mapping[str, object] | None = None,
        cdr_timezone: str = "UTC",
        name_timezone: str = "Europe/Helsinki",
        retention_days: int | None = None,
    ) -> None:
        folder, _, self._cdr_name = cdr.rpartition("/")
        self._name = name
        self._cdr = Place(folder or ".", options or {}, whose=name)
        self._tree = Place(recordings, options or {}, whose=name)
        self._cdr_tz = ZoneInfo(cdr_timezone)
        self._name_tz = ZoneInfo(name_timezone)
        self._capabilities = Capabilities(
            delete=True, confirm_deleted=True, checksums=False, completeness=True, retention_days=retention_days
        )

    def __repr__(self) -> str:
        return f"Asterisk({self._name})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def day_status(self, day: date, tz: tzinfo) -> DayStatus:
        """Complete once a call has started an hour after the day's end, if the call details reach back to the day."""
        found = self._read(day, tz)
        has_rows = any(found.has(row.start) for rows in found.calls.values() for row in rows)
        if found.settled and (has_rows or found.reaches_back):
            return "complete"
        named_today = any(_is_on(recording, day, tz) for recording in found.recordings.values())
        return "open" if has_rows or named_today else "absent"

    def fingerprint(self, day: date, tz: tzinfo) -> bytes:
        """SHA-256 over what ``list_day`` lists: rows and files are joined first, so no neighbouring day changes it."""
        whole = hashlib.sha256()
        for call in self.list_day(day, tz):
            facts = (
                call.ref, call.identity, call.started_at, call.duration_ms, call.direction, str(call.other_party),
                call.service_number, call.status, call.media, call.faults, call.unknown_fields,
            )  # fmt: skip
            whole.update(repr(facts).encode())
        return whole.digest()

    def list_day(self, day: date, tz: tzinfo) -> Iterator[VendorCall]:
        """The recordings of the calls that started on the day, and the answered calls that lack theirs.

        In memory are the day's rows and names. A file whose call has no row yet is left out until it has one, or until
        its header or a later call tells that it is finished.
        """
        found = self._read(day, tz)
        by_stem: dict[str, list[_Row]] = {}
        for rows in found.calls.values():
            for row in rows:
                if row.stem:
                    by_stem.setdefault(row.stem, []).append(row)
        recorded_lines: set[str] = set()
        recorded_calls: set[str] = set()
        for _, recording in sorted(found.recordings.items()):
            rows = _rows_of(recording, found.calls, by_stem)
            recorded_calls.update(row.uniqueid for row in rows)
            if not rows:
                if _is_on(recording, day, tz) and (found.settled or self._is_finished(recording)):
                    yield _without_metadata(recording)
                continue
            call = _call(recording, rows)
            if call.service_number and call.direction is Direction.inbound:
                recorded_lines.add(call.service_number)
            if not found.has(call.started_at):
                continue
            # One phone of a group may have given up while another still rings: a file with sound in it has to wait.
            if call.status is not MediaStatus.unanswered or recording.size <= _HEADER_BYTES or found.settled:
                yield call
        for stem, rows in sorted(by_stem.items()):
            if stem not in found.recordings and (rows := _answered(rows)) and found.has(_started(rows)):
                recorded_calls.update(row.uniqueid for row in rows)
                yield _call(self._parse(stem, day), rows)
        for uniqueid, rows in sorted(found.calls.items()):
            if uniqueid in recorded_calls or not (rows := _answered(rows)) or not found.has(_started(rows)):
                continue
            call = _call(_Recording(stem="", folder_day=day, uniqueid=uniqueid), rows)
            if call.service_number in recorded_lines:
                yield call

    def open(self, ref: VendorRef) -> BinaryIO:
        """The mixed audio as a stream. Raises AudioMissing, WrongCredentials or VendorUnavailable, in reads too."""
        path = json.loads(ref).get("path")
        if not path:
            raise AudioMissing(f"The exchange {self._name} has call details of a call, and no recording.")
        return self._tree.open(path)

    def delete(self, ref: VendorRef, key: str) -> DeleteAnswer:
        """Removes the recording, its legs and other formats; the exchange's rows stay. ``key`` is not needed."""
        answers = {self._tree.delete(path) for path in _paths(ref)}
        order: tuple[DeleteAnswer, ...] = ("refused", "deleted")
        return next((answer for answer in order if answer in answers), "already_gone")

    def confirm_deleted(self, ref: VendorRef) -> bool | None:
        """Looks again for each file. None: a versioned bucket that hides its versions from us."""
        answers = [self._tree.is_gone(path) for path in _paths(ref)]
        return False if False in answers else None if None in answers else True

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, day: date, tz: tzinfo) -> _Day:
        start, end = (datetime.combine(d, time(), tz).astimezone(UTC) for d in (day, day + timedelta(days=1)))
        found = _Day(start=start, end=end)
        self._read_rows(found)
        self._read_names(found, day)
        return found

    def _read_rows(self, found: _Day) -> None:
        """Streams the call details, and keeps the rows around the day."""
        first, last = found.start - _AROUND, found.end + _AROUND
        first_date, last_date = (at.astimezone(self._cdr_tz).date().isoformat() for at in (first, last))
        short = 0
        for name in self._cdr_names():
            with self._cdr.open(name) as file, io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace") as lines:
                for line in lines:
                    started = _STARTED.search(line)
                    if started is None or not line.endswith("\n"):
                        continue  # a heading, or a line that is being written
                    if started[1] < first_date:
                        found.reaches_back = True
                    elif started[1] > last_date:
                        found.settled = True
                    else:
                        row = self._row(line)
                        if row is None:
                            short += 1
                            continue
                        found.reaches_back |= row.start < found.start
                        found.settled |= row.start >= found.end + SETTLED_AFTER
                        same_call = found.calls.setdefault(row.uniqueid, []) if first <= row.start < last else [row]
                        if row not in same_call:  # it stands in Master.csv and in its account's own file
                            same_call.append(row)
        if short and not found.calls:
            raise DeliveryUnreadable(
                f"The call details of the exchange {self._name} have fewer than {_COLUMNS} columns.",
                mend="Set loguniqueid=yes and loguserfield=yes in cdr.conf.",
            )

    def _cdr_names(self) -> list[str]:
        pattern = re.compile(re.escape(self._cdr_name).replace(r"\*", "[^/]*"))
        names = sorted(file.name for file in self._cdr.files("") if pattern.fullmatch(file.name))
        if not names:
            raise VendorUnavailable(
                f"The call details of the exchange {self._name} are not there.",
                mend="Check `cdr` in the configuration, and whether the share is mounted.",
            )
        return names

    def _row(self, line: str) -> _Row | None:
        """None: too short to be one. Its file, if there is one, will be audio without metadata."""
        columns = next(csv.reader((line,)))
        if len(columns) < _COLUMNS:
            return None
        (
            _,
            src,
            dst,
            context,
            clid,
            channel,
            _,
            _,
            _,
            start,
            answer,
            end,
            _,
            billsec,
            disposition,
            _,
            uniqueid,
            userfield,
        ) = columns[:_COLUMNS]
        began = _epoch(uniqueid)
        started = _aware(start, self._cdr_tz, began) or began or datetime.min.replace(tzinfo=UTC)
        extras = columns[_COLUMNS:]
        return _Row(
            uniqueid=uniqueid,
            start=started,
            answer=started if answer == start else _aware(answer, self._cdr_tz, began),
            end=_aware(end, self._cdr_tz, began),
            billsec=int(billsec) if billsec.isascii() and billsec.isdigit() and len(billsec) < 7 else None,
            answered=disposition == "ANSWERED",
            src=src,
            dst=sys.intern(dst),
            clid="" if clid.startswith('""') else clid,
            context=sys.intern(context),
            is_first_leg=channel.startswith("Local/") and channel.endswith(";1"),
            stem=_stem_of_userfield(userfield),
            extras=(*_LATER_COLUMNS, *["extra-column"] * len(extras))[: len(extras)],
        )

    def _read_names(self, found: _Day, day: date) -> None:
        """Looks into the day's folder, and the two beside it for what was named around midnight."""
        first, last = found.start - _NAME_BEFORE, found.end + _AROUND
        first_day, last_day = (at.astimezone(self._name_tz).date() for at in (first, last))
        for n in range((last_day - first_day).days + 1):
            folder_day = first_day + timedelta(days=n)
            folder = folder_day.strftime("%Y/%m/%d")
            for file in self._tree.files(folder):
                base, _, extension = file.name.rpartition(".")
                path = f"{folder}/{file.name}"
                if extension not in _FORMATS or _TEMPORARY.search(base) or not is_safe(path):
                    continue
                stem = _LEG.sub("", base)
                recording = found.recordings.get(stem) or self._parse(stem, folder_day)
                if not (first <= recording.named_at < last if recording.named_at else folder_day == day):
                    continue
                found.recordings[stem] = recording
                if stem == base and (recording.path is None or _preference(path) < _preference(recording.path)):
                    recording.beside += [recording.path] if recording.path else []
                    recording.path, recording.size = path, file.size
                else:
                    recording.beside.append(path)

    def _parse(self, stem: str, folder_day: date) -> _Recording:
        """What a name tells, split from the right: a caller may hold ``-``, a uniqueid a dot."""
        named = _NAME.fullmatch(stem)
        if named is None:
            return _Recording(stem=stem, folder_day=folder_day)
        kind, called, caller, day, clock, uniqueid = named.groups()
        at = f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]}:{clock[4:]}"
        return _Recording(
            stem=stem,
            folder_day=folder_day,
            kind=kind.lower(),
            called=called,
            caller=caller,
            named_at=_aware(at, self._name_tz, _epoch(uniqueid)),
            uniqueid=uniqueid,
        )

    def _is_finished(self, recording: _Recording) -> bool:
        """Whether a WAV's header is filled in: Asterisk leaves its sizes at 0 until the recording ends."""
        if recording.path is None:
            return False
        try:
            with self._tree.open(recording.path, block_bytes=4096) as file:
                header = file.read(8)
        except AudioMissing:
            return False
        return header[:4] == b"RIFF" and header[4:] not in (b"", bytes(4))


# --- joining rows and files -------------------------------------------------------------------------------------------


def _rows_of(recording: _Recording, by_call: Mapping[str, list[_Row]], by_stem: Mapping[str, list[_Row]]) -> list[_Row]:
    """The rows that a recording belongs to: those that name it, and those of its call that name no other."""
    of_call = by_call.get(recording.uniqueid or "", [])
    rows = list(by_stem.get(recording.stem, ()))
    rows += [row for row in of_call if row.stem is None]
    rows = rows or of_call
    return [row for row in rows if not row.is_first_leg] or rows


def _answered(rows: Iterable[_Row]) -> list[_Row]:
    return [row for row in rows if row.answered and not row.is_first_leg]


def _started(rows: Iterable[_Row]) -> datetime:
    return min(row.start for row in rows)


def _call(recording: _Recording, rows: list[_Row]) -> VendorCall:
    """A finished call. Ring groups and transfers write several rows: the longest answered one tells who spoke."""
    faults = []
    answered = [row for row in rows if row.answered]
    main = max(answered or rows, key=lambda row: (row.uniqueid == recording.uniqueid, row.billsec or 0))
    direction, other_party, line = _parties(recording, main)
    if direction is None:
        faults.append("direction_unknown")
    duration_ms = _duration_ms(answered)
    if duration_ms is None:
        faults.append("duration_invalid")
    has_files = recording.path or recording.beside
    if not answered:
        status = MediaStatus.unanswered
    elif recording.path:
        status = MediaStatus.available
    else:
        status = MediaStatus.absent
    return VendorCall(
        ref=_ref(recording) if has_files else VendorRef("{}"),
        recording_id=None,
        call_id=recording.uniqueid or main.uniqueid,
        segment=recording.segment,
        started_at=_started(rows),
        duration_ms=duration_ms,
        direction=direction,
        other_party=other_party,
        service_number=line,
        status=status,
        media=_media(recording),
        faults=tuple(faults),
        unknown_fields=tuple(sorted({name for row in rows for name in row.extras})),
    )


def _without_metadata(recording: _Recording) -> VendorCall:
    """Audio of a call that has no row: nothing of it is guessed from its name but who it is."""
    unnamed = "file-" + hashlib.sha256(recording.stem.encode("utf-8", "surrogateescape")).hexdigest()
    return VendorCall(
        ref=_ref(recording),
        recording_id=None if recording.uniqueid else unnamed,
        call_id=recording.uniqueid,
        segment=recording.segment,
        started_at=None,
        duration_ms=None,
        direction=None,
        other_party=UNUSABLE,
        service_number=None,
        status=MediaStatus.available if recording.path else MediaStatus.absent,
        media=_media(recording),
        faults=("metadata_missing",),
    )


def _parties(recording: _Recording, row: _Row) -> tuple[Direction | None, Number, str | None]:
    """Direction, other party, our own line: as the name's type says, or else the row's context."""
    kind = recording.kind
    if kind not in ("in", "out", "internal"):
        kind = "in" if row.context.startswith(_INBOUND_CONTEXTS) else ""
    if kind == "out":
        # The row has the number that was shown, the name may have the extension that dialled.
        return Direction.outbound, _number(row.dst, recording.called), _line(row.src, recording.caller)
    # Behind a ring group or a queue the row's dst is the group, the name has the number that was called.
    line = _line(recording.called, row.dst)
    if kind == "in":
        # The number may have been asserted by the network for somebody who hid it.
        said = {recording.caller, row.clid} - {"", row.src}
        hidden = any(normalise(text) == WITHHELD for text in said)
        return Direction.inbound, WITHHELD if hidden else normalise(row.src), line
    return None, normalise(row.src), line


def _number(*written: str) -> Number:
    """The first that is a number, else what the first is."""
    return next((n for n in map(normalise, written) if n.e164), normalise(written[0]))


def _line(*written: str) -> str | None:
    return next((line for line in map(line_number, written) if line), None)


def _duration_ms(answered: list[_Row]) -> int | None:
    """From the answer to the end; 0 where nobody answered. Asterisk counts whole seconds, cut."""
    if not answered:
        return 0
    if len(answered) == 1:
        return None if answered[0].billsec is None else answered[0].billsec * 1000
    answers, ends = [row.answer for row in answered if row.answer], [row.end for row in answered if row.end]
    if not answers or not ends or max(ends) < min(answers):
        return None
    return round((max(ends) - min(answers)).total_seconds() * 1000)


def _media(recording: _Recording) -> Media:
    if recording.path is None:
        return Media()
    content_type, codec = _FORMATS[recording.path.rpartition(".")[2]]
    return Media(bytes=recording.size, content_type=content_type, codec=codec)


def _ref(recording: _Recording) -> VendorRef:
    facts = {"path": recording.path, "beside": sorted(recording.beside)}
    return VendorRef(_compact({name: value for name, value in facts.items() if value}))


def _paths(ref: VendorRef) -> list[str]:
    facts = json.loads(ref)
    return [path for path in (facts.get("path"), *facts.get("beside", ())) if path]


def _preference(path: str) -> int:
    """Where the same recording lies in several formats, the first of _FORMATS is taken."""
    return list(_FORMATS).index(path.rpartition(".")[2])


def _is_on(recording: _Recording, day: date, tz: tzinfo) -> bool:
    return (recording.named_at.astimezone(tz).date() if recording.named_at else recording.folder_day) == day


def _stem_of_userfield(userfield: str) -> str | None:
    """The recording's name, if the userfield is one: it may hold anything else."""
    base, _, extension = userfield.rpartition("/")[2].rpartition(".")
    return _LEG.sub("", base) if base and extension in _FORMATS else None


def _epoch(uniqueid: str | None) -> datetime | None:
    """When the channel was made, which its uniqueid holds: ``1795534769.0``, with a system's name before it or not."""
    found = _EPOCH.search(uniqueid or "")
    return datetime.fromtimestamp(int(found[1]), UTC) if found else None


def _aware(text: str, tz: tzinfo, near: datetime | None) -> datetime | None:
    """A local time in UTC. In the hour that comes twice the uniqueid's epoch tells which is meant; without it: None."""
    try:
        at = datetime.fromisoformat(text).replace(tzinfo=UTC)
        first, second = _offsets(text[:13], tz)
    except ValueError:
        return None
    if first == second:
        return at - first
    return min(at - first, at - second, key=lambda candidate: abs(candidate - near)) if near else None


@lru_cache(maxsize=1024)
def _offsets(hour: str, tz: tzinfo) -> tuple[timedelta, timedelta]:
    """What a local hour is ahead of UTC; two different offsets in the hour that comes twice."""
    at = datetime.fromisoformat(hour + ":00:00").replace(tzinfo=tz)
    return at.utcoffset() or timedelta(), at.replace(fold=1).utcoffset() or timedelta()
