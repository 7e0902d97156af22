"""A delivery's manifest, JSON or CSV, read piece by piece: memory stays the same however long it is.

``read_head`` looks at the delivery's own fields, ``read_records`` at its records. What cannot be read as a whole raises
DeliveryUnreadable with the place (a record's or line's number), never with a value. Format: docs/vendors.md.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO, Final

from callkeeper.vendors.fields import MEDIA_FIELDS, RECORD_FIELDS, field_names

HEAD_FIELDS: Final = frozenset(
    [
        "schema_version",
        "vendor",
        "delivery_id",
        "delivery_seq",
        "business_date",
        "timezone",
        "generated_at",
        "complete",
        "record_count",
        "records",
    ]
)
_NEEDED: Final = frozenset(["schema_version", "delivery_seq", "business_date", "complete", "record_count"])
_CSV_NEEDED: Final = frozenset(
    ["started_at", "duration_ms", "direction", "caller_number", "service_number", "status", "path"]
)
_CSV_TRAILER: Final = frozenset(["end", "eof", "trailer", "total", "count", "record_count", "records"])

_CHUNK_CHARS = 1 << 18
_LONGEST_VALUE_CHARS = 1 << 20
"""No record and no field of a manifest is longer: a text that does not parse within it is broken."""
_TAIL_BYTES = 8192
_MOST_RECORDS = 1_000_000
"""No day of a vendor has so many."""

Record = tuple[object, object]
"""A record, and its media's fields: whatever stood there, not checked yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A delivery's own fields. ``unknown_fields`` are names only."""

    delivery_seq: int
    complete: bool
    business_date: date | None
    record_count: int
    unknown_fields: tuple[str, ...] = ()


class Unreadable(Exception):
    """What is wrong with a manifest, in words without values; the drop says which manifest."""


def read_head(file: BinaryIO, *, is_csv: bool) -> Head:
    """The delivery's own fields: of a JSON manifest whose fields precede its records, only the beginning is read.

    Raises Unreadable.
    """
    if is_csv:
        return _csv_head(file)
    fields: dict[str, object] = {}
    for name, value in _json_items(file):
        if name != "records":
            fields[name] = value
        elif fields.keys() >= _NEEDED:
            break
    return _head(fields)


def read_records(file: BinaryIO, *, is_csv: bool) -> Iterator[Record | Head]:
    """Each record, and last the head, its unknown fields complete. Raises Unreadable, at the end too (wrong count)."""
    count = 0
    if is_csv:
        head: Head | None = None
        for item in _csv_items(file):
            if isinstance(item, Head):
                head = item
            else:
                count += 1
                yield item
        assert head is not None  # _csv_items ends with it or raises
    else:
        fields: dict[str, object] = {}
        for name, value in _json_items(file):
            if name == "records":
                count += 1
                yield (value, value.get("media")) if isinstance(value, dict) else (value, None)
            else:
                fields[name] = value
        head = _head(fields)
    if head.record_count != count:
        says = (
            head.record_count if head.record_count < _MOST_RECORDS else "far more"
        )  # a number there may be a caller's
        raise Unreadable(f"it says that it has {says} records, and has {count}")
    yield head


def _head(fields: Mapping[str, object]) -> Head:
    if missing := sorted(_NEEDED - fields.keys()):
        raise Unreadable(f"it lacks {', '.join(missing)}")
    if str(fields["schema_version"]).partition(".")[0] != "1":
        raise Unreadable("its schema_version is not 1")
    seq, count, day, complete = (fields[name] for name in ("delivery_seq", "record_count", "business_date", "complete"))
    if not isinstance(complete, bool):
        raise Unreadable("complete is neither true nor false")
    for name, number in (("delivery_seq", seq), ("record_count", count)):
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 31:
            raise Unreadable(f"{name} is no whole number")
    try:
        business_date = date.fromisoformat(str(day))
    except ValueError:
        raise Unreadable("business_date is no date (YYYY-MM-DD)") from None
    assert isinstance(seq, int)
    assert isinstance(count, int)
    return Head(
        delivery_seq=seq,
        complete=complete,
        business_date=business_date,
        record_count=count,
        unknown_fields=field_names(fields.keys() - HEAD_FIELDS),
    )


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json_items(file: BinaryIO) -> Iterator[tuple[str, object]]:
    """(name, value) of a JSON object in the order of the text; an array ``records`` comes as one item a record."""
    text = _JsonText(file)
    text.expect("{", "it does not begin with {")
    if text.peek() == "}":
        text.expect("}", "")
    else:
        while True:
            name = text.value("one of its fields")
            if not isinstance(name, str):
                raise Unreadable("it has a field whose name is no text")
            text.expect(":", "a field's name has no : behind it")
            if name == "records":
                for record in _json_records(text):
                    yield name, record
            else:
                yield name, text.value("one of its fields")
            if text.peek() != ",":
                break
            text.expect(",", "")
        text.expect("}", "it is cut off, or a comma is missing between its fields")
    if text.peek():
        raise Unreadable("there is something behind its end")


def _json_records(text: _JsonText) -> Iterator[object]:
    text.expect("[", "records is no list")
    if text.peek() == "]":
        text.expect("]", "")
        return
    number = 1
    while True:
        yield text.value(f"record {number}")
        if text.peek() != ",":
            break
        text.expect(",", "")
        number += 1
    text.expect("]", f"it is cut off, or a comma is missing, behind record {number}")


class _JsonText:
    """A JSON text of which only a window is in memory; each value is read by the standard library's C scanner."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-8-sig")
        self._window = ""
        self._at = 0
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    def _more(self) -> bool:
        if self._ended:
            return False
        try:
            chunk = self._file.read(_CHUNK_CHARS)
        except UnicodeError:
            raise Unreadable("it is not UTF-8") from None
        self._window = self._window[self._at :] + chunk
        self._at = 0
        self._ended = not chunk
        return not self._ended

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            window, at = self._window, self._at
            while at < len(window) and window[at] in " \t\r\n":
                at += 1
            self._at = at
            if at < len(window):
                return window[at]
            if not self._more():
                return ""

    def expect(self, character: str, otherwise: str) -> None:
        if self.peek() != character:
            raise Unreadable(otherwise)
        self._at += 1

    def value(self, what: str) -> object:
        """The next value, whole. Raises Unreadable, naming ``what``."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._window, self._at)
            except (ValueError, RecursionError):
                end = -1
            # A number that touches the window's end may go on behind it.
            if 0 <= end < len(self._window) or (end >= 0 and self._ended):
                self._at = end
                return value
            if len(self._window) - self._at > _LONGEST_VALUE_CHARS or not self._more():
                if end >= 0:
                    continue
                raise Unreadable(f"{what} is no JSON, or is cut off")


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv_head(file: BinaryIO) -> Head:
    """The trailer, looked for at the end only."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    lines = file.read().decode("utf-8", "replace").strip().splitlines()
    for delimiter in ",;\t":
        if lines and (head := _trailer(next(csv.reader([lines[-1]], delimiter=delimiter), []))):
            return head
    raise Unreadable("it has no trailer: its last line should be #end and the number of its records")


def _csv_items(file: BinaryIO) -> Iterator[Record | Head]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    line = 1
    try:
        first = text.readline(_LONGEST_VALUE_CHARS)
        delimiter = max(",;\t", key=first.count)
        columns = [_column(name) for name in next(csv.reader([first], delimiter=delimiter), [])]
        if missing := sorted(_CSV_NEEDED - set(columns)):
            raise Unreadable(f"its first line lacks the columns {', '.join(missing)}")
        if not {"recording_id", "call_id"} & set(columns):
            raise Unreadable("its first line has neither recording_id nor call_id")
        if len(set(columns)) < len(columns):
            raise Unreadable("its first line names a column twice")
        of_media = [i for i, name in enumerate(columns) if name in MEDIA_FIELDS]
        # Fields of the delivery are no news in a record: some vendors repeat them in each line.
        of_record = [
            i for i, name in enumerate(columns) if name not in MEDIA_FIELDS and name not in HEAD_FIELDS - RECORD_FIELDS
        ]
        held: list[str] | None = None
        rows = csv.reader(text, delimiter=delimiter)
        for row in rows:
            line = rows.line_num + 1
            if not row:
                continue
            if held is not None:
                yield _csv_record(held, columns, of_record, of_media)
            held = row
        head = _trailer(held or [])
    except UnicodeError:
        raise Unreadable(f"it is not UTF-8, near line {line}: Latin-1 and UTF-16 are not read") from None
    except csv.Error:
        raise Unreadable(f"line {line + 1} is no CSV") from None
    if head is None:
        raise Unreadable("it has no trailer: its last line should be #end and the number of its records")
    yield head


def _csv_record(row: list[str], columns: list[str], of_record: list[int], of_media: list[int]) -> Record:
    if len(row) != len(columns):
        return None, None
    return {columns[i]: row[i] for i in of_record}, {columns[i]: row[i] for i in of_media}


def _column(name: str) -> str:
    """A column's name; the media's fields may be written ``media.path``, ``media_path`` or ``path``."""
    name = name.strip().casefold()
    short = re.sub(r"^media[._]", "", name)
    return short if short in MEDIA_FIELDS else name


def _trailer(row: list[str]) -> Head | None:
    """``#end,record_count=3,delivery_seq=2,complete=true``, or just ``#end,3``: the first delivery, and complete."""
    mark, *cells = [cell.strip().casefold() for cell in row] or [""]
    mark, _, number = mark.lstrip("# ").partition("=")
    if mark not in _CSV_TRAILER:
        return None
    fields: dict[str, str] = {"record_count": number} if number else {}
    for cell in cells:
        name, equals, value = cell.partition("=")
        if equals:
            fields[name.strip()] = value.strip()
        elif cell:
            fields.setdefault("record_count", cell)
    count, seq = (fields.get(name, default) for name, default in (("record_count", ""), ("delivery_seq", "1")))
    for what, text in (("record_count", count), ("delivery_seq", seq)):
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Unreadable(f"its trailer's {what} is no whole number")
    complete, day = fields.get("complete", "true"), fields.get("business_date")
    if complete not in ("true", "false"):
        raise Unreadable("its trailer's complete is neither true nor false")
    try:
        business_date = date.fromisoformat(day) if day else None
    except ValueError:
        raise Unreadable("its trailer's business_date is no date (YYYY-MM-DD)") from None
    unknown = field_names(fields.keys() - HEAD_FIELDS)
    return Head(
        delivery_seq=int(seq),
        complete=complete == "true",
        business_date=business_date,
        record_count=int(count),
        unknown_fields=unknown,
    )
