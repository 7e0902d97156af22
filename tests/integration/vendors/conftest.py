"""What the vendors' tests deliver, and the vendors that every test of the contract is run against.

Numbers here are canaries: none of them may come out of a vendor in a text that people or logs see.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from callkeeper.embedded.store import SeaweedFS
from callkeeper.vendors import Vendor, VendorCall
from callkeeper.vendors.asterisk import Asterisk
from callkeeper.vendors.drop import Drop

DAY = date(2026, 11, 24)
CORPUS = Path(__file__).parents[2] / "corpus" / "asterisk"
CANARY = re.compile(
    r"(?<!\d)(?:\+?358|0|00358)?(?:40|45|50|44|9)\d{6,8}(?!\d)|46701740605|asukas|canary", re.IGNORECASE
)

Record = dict[str, Any]


def make_record(number: int = 1, **changed: Any) -> Record:
    """A good record; a change of ``media`` changes only the media's fields that it names."""
    audio = audio_of(number)
    media = {
        "path": f"audio/canary+35840990{number:04d}.wav",
        "bytes": len(audio),
        "sha256": hashlib.sha256(audio).hexdigest(),
        "content_type": "audio/wav",
        "codec": "pcm_s16le",
        "channels": 1,
        "encryption": None,
    }
    record = {
        "recording_id": f"canary-{number}",
        "call_id": f"call-canary-{number}",
        "segment_no": 0,
        "supersedes": None,
        "started_at": f"2026-11-24T10:{number % 60:02d}:00+02:00",
        "duration_ms": 60_000,
        "direction": "inbound",
        "caller_number": f"+35840990{number:04d}",
        "caller_withheld": False,
        "service_number": "010 270 8001",
        "media": media,
        "status": "available",
    }
    if isinstance(changed.get("media"), Mapping):
        changed["media"] = media | changed["media"]
    return record | changed


def audio_of(number: int) -> bytes:
    return b"RIFF canary audio %d " % number * (1000 + number)


def make_manifest(records: list[Any], **changed: Any) -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "vendor": "linna",
        "delivery_id": "d-1",
        "delivery_seq": 1,
        "business_date": DAY.isoformat(),
        "timezone": "Europe/Helsinki",
        "generated_at": "2026-11-25T01:00:00+02:00",
        "complete": True,
        "record_count": len(records),
        "records": records,
    } | changed


def make_csv(records: list[Record], *, trailer: str | None = None, delimiter: str = ",") -> str:
    """The records as a flat CSV, its trailer included."""

    def cell(value: object) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    first = make_record()
    writer.writerow([*(name for name in first if name != "media"), *(f"media_{name}" for name in first["media"])])
    for record in records:
        flat = [cell(value) for name, value in record.items() if name != "media"]
        writer.writerow(flat + [cell(value) for value in record["media"].values()])
    text.write((f"#end,record_count={len(records)}" if trailer is None else trailer).replace(",", delimiter) + "\r\n")
    return text.getvalue()


class Folder:
    """A drop in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.day = root / DAY.isoformat()

    def put(self, name: str, content: bytes | str) -> Path:
        path = self.day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def deliver(self, *records: Any, name: str = "manifest.json", **changed: Any) -> Path:
        return self.put(name, json.dumps(make_manifest(list(records), **changed)))

    @property
    def vendor(self) -> Drop:
        return Drop("linna", location=str(self.root))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = Folder(tmp_path / "linna")
    found.day.mkdir(parents=True)
    return found


@pytest.fixture
def record() -> Callable[..., Record]:
    return make_record


@pytest.fixture
def csv_text() -> Callable[..., str]:
    return make_csv


class Exchange:
    """A copy of the real exchange's files, which a test may change."""

    def __init__(self, root: Path, part: str = "") -> None:
        self.root = root
        self.cdr = root / "Master.csv"
        self.day = root / "2026" / "11" / "24"
        shutil.copytree(CORPUS / part / "2026", root / "2026")
        shutil.copy(CORPUS / part / "Master.csv", self.cdr)

    @property
    def vendor(self) -> Asterisk:
        return Asterisk("vaihde", cdr=str(self.cdr), recordings=str(self.root))

    def row(self, uniqueid: str, start: str, end: str, **changed: str) -> None:
        """A finished call's row, as Asterisk writes it."""
        values = {
            "account": "", "src": "0409900099", "dst": "0102708001", "context": "from-trunk", "clid": '"" <0409900099>',
            "channel": "PJSIP/trunk-000000ff", "dstchannel": "", "app": "Hangup", "data": "", "start": start,
            "answer": start, "end": end, "duration": "60", "billsec": "60", "disposition": "ANSWERED",
            "ama": "DOCUMENTATION", "uniqueid": uniqueid, "userfield": "",
        } | changed  # fmt: skip
        with self.cdr.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(values.values())

    def settle(self, at: str = "2026-11-25 06:00:00") -> None:
        """A later call, not recorded: the day is over."""
        self.row("1795586400.900", at, at, dst="0999999999")

    def record(self, name: str, content: bytes, day: str = "2026/11/24") -> Path:
        path = self.root / day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path / "vaihde")


@pytest.fixture
def broken_exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path / "vaihde", "broken")


@dataclass
class Case:
    """A vendor with a day of calls, and what a test may do to it."""

    vendor: Vendor
    audio: dict[str, bytes]
    """identity → the audio's bytes"""
    deliver_more: Callable[[], None]
    lose_audio: Callable[[str], None]
    unreachable: Vendor
    day: date = DAY

    def call(self, identity: str) -> VendorCall:
        from callkeeper.clock import HELSINKI

        return next(c for c in self.vendor.list_day(self.day, HELSINKI) if c.identity == identity)


def _drop_case(folder: Folder, fmt: str) -> Case:
    def deliver(numbers: list[int], name: str, seq: int) -> None:
        for n in numbers:
            folder.put(make_record(n)["media"]["path"], audio_of(n))
        records = [make_record(n) for n in numbers]
        if fmt == "json":
            folder.deliver(*records, name=f"{name}.json", delivery_seq=seq)
        else:
            trailer = f"#end,record_count={len(records)},delivery_seq={seq},complete=true"
            folder.put(f"{name}.csv", make_csv(records, trailer=trailer))

    deliver([1, 2, 3], "manifest", 1)
    return Case(
        vendor=folder.vendor,
        audio={f"canary-{n}": audio_of(n) for n in (1, 2, 3)},
        deliver_more=lambda: deliver([4], "manifest-2", 2),
        lose_audio=lambda identity: (folder.day / make_record(int(identity[-1]))["media"]["path"]).unlink(),
        unreachable=Drop("linna", location=str(folder.root / "not-mounted" / "canary-0409900001")),
    )


def _asterisk_case(exchange: Exchange) -> Case:
    exchange.settle()
    names = [line.split('"')[-2] for line in (CORPUS / "Master.csv").read_text().splitlines() if ".wav" in line]
    audio = {f"{name.rsplit('-', 1)[1][: -len('.wav')]}/0": (CORPUS / name).read_bytes() for name in names[:3]}
    paths = {f"{name.rsplit('-', 1)[1][: -len('.wav')]}/0": exchange.root / name for name in names[:3]}

    def deliver_more() -> None:
        exchange.record("in-0102708001-0409900099-20261124-190000-1795539600.77.wav", audio_of(7))
        exchange.row("1795539600.77", "2026-11-24 17:00:00", "2026-11-24 17:01:00")

    return Case(
        vendor=exchange.vendor,
        audio=audio,
        deliver_more=deliver_more,
        lose_audio=lambda identity: paths[identity].unlink(),
        unreachable=Asterisk("vaihde", cdr=f"{exchange.root}/canary-0409900001/Master.csv", recordings="nowhere"),
    )


class Bucket:
    """A drop in a bucket of its own on a real S3 server."""

    def __init__(self, server: SeaweedFS, bucket: str, prefix: str) -> None:
        self.server, self.bucket, self.prefix = server, bucket, prefix
        self.client = server.client()
        if bucket not in {b["Name"] for b in self.client.list_buckets()["Buckets"]}:
            self.client.create_bucket(Bucket=bucket)

    def put(self, name: str, content: bytes | str) -> None:
        body = content if isinstance(content, bytes) else content.encode()
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{DAY}/{name}", Body=body)

    def vendor(self, key: str = "", secret: str = "", **more: Any) -> Drop:
        admin = self.server.credentials("admin")
        options = {"endpoint_url": self.server.endpoint, "key": key or admin[0], "secret": secret or admin[1], **more}
        return Drop("linna", location=f"s3://{self.bucket}/{self.prefix}", options=options)


@pytest.fixture
def bucket(seaweed: SeaweedFS, request: pytest.FixtureRequest) -> Bucket:
    prefix = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return Bucket(seaweed, "linna-drop", f"drop {prefix}+a")


def _s3_case(bucket: Bucket) -> Case:
    def deliver(numbers: list[int], name: str, seq: int) -> None:
        for n in numbers:
            bucket.put(make_record(n)["media"]["path"], audio_of(n))
        bucket.put(name, json.dumps(make_manifest([make_record(n) for n in numbers], delivery_seq=seq)))

    deliver([1, 2, 3], "manifest.json", 1)

    def lose_audio(identity: str) -> None:
        path = make_record(int(identity[-1]))["media"]["path"]
        bucket.client.delete_object(Bucket=bucket.bucket, Key=f"{bucket.prefix}/{DAY}/{path}")

    return Case(
        vendor=bucket.vendor(),
        audio={f"canary-{n}": audio_of(n) for n in (1, 2, 3)},
        deliver_more=lambda: deliver([4], "manifest-2.json", 2),
        lose_audio=lose_audio,
        unreachable=bucket.vendor(endpoint_url="http://127.0.0.1:9"),
    )


@pytest.fixture(params=["drop, json", "drop, csv", "drop on S3", "asterisk"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """Each vendor in turn."""
    match request.param:
        case "drop, json":
            yield _drop_case(request.getfixturevalue("folder"), "json")
        case "drop, csv":
            yield _drop_case(request.getfixturevalue("folder"), "csv")
        case "drop on S3":
            yield _s3_case(request.getfixturevalue("bucket"))
        case _:
            yield _asterisk_case(request.getfixturevalue("exchange"))


def _assert_silent(wrong: BaseException) -> None:
    """Neither the error nor anything that a traceback would print with it tells a number or a name."""
    printed = "".join(traceback.format_exception(wrong, chain=True))
    # The code's own lines are no leak: what an error says is behind its class's name.
    said = [line for line in printed.splitlines() if not line.startswith("  ")]
    found = [bool(CANARY.search(text)) for text in (str(wrong), repr(wrong), repr(wrong.args), *said)]
    assert not any(found)
    assert wrong.__cause__ is None
    assert wrong.__context__ is None or wrong.__suppress_context__


@pytest.fixture
def assert_silent() -> Callable[[BaseException], None]:
    return _assert_silent


@pytest.fixture(scope="session")
def next_day() -> date:
    return DAY + timedelta(days=1)
