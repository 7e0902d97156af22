"""The exchange: rows and files that don't fit together, days that are not over, clocks."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callkeeper.clock import HELSINKI
from callkeeper.errors import AudioMissing, DeliveryUnreadable, VendorUnavailable
from callkeeper.vendors import Direction, MediaStatus, VendorCall
from callkeeper.vendors.asterisk import Asterisk

DAY = date(2026, 11, 24)
EPOCH = 1795540000  # 2026-11-24 17:06:40 UTC, 19:06:40 in Helsinki
NAME = f"in-0102708001-0409900077-20261124-190640-{EPOCH}.77"
START, END = "2026-11-24 17:06:40", "2026-11-24 17:07:40"
Silent = Callable[[BaseException], None]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def listed(vendor: Asterisk, day: date = DAY) -> dict[str, VendorCall]:
    return {call.identity: call for call in vendor.list_day(day, HELSINKI)}


def new(exchange: Any, day: date = DAY) -> dict[str, VendorCall]:
    """The calls that a test has added to the corpus."""
    return {
        i: c for i, c in listed(exchange.vendor, day).items() if not i.startswith("17955347") and i[:8] != "17955348"
    }


# --- a call that is not over ------------------------------------------------------------------------------------------

RUNNING = b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(32_768)
FINISHED = b"RIFF\x24\x80\x00\x00WAVEfmt " + bytes(32_768)


def test_a_file_that_still_grows_is_left_out_until_its_row_has_come(exchange: Any) -> None:
    exchange.record(f"{NAME}.wav", RUNNING)
    assert new(exchange) == {}
    assert exchange.vendor.day_status(DAY, HELSINKI) == "open"

    exchange.row(f"{EPOCH}.77", START, END)

    assert new(exchange)[f"{EPOCH}.77/0"].status is MediaStatus.available


def test_a_headerless_file_without_a_row_is_left_out_until_the_day_is_over(exchange: Any) -> None:
    exchange.record(f"{NAME}.alaw", bytes(8000))
    assert new(exchange) == {}

    exchange.settle()

    assert new(exchange)[f"{EPOCH}.77/0"].faults == ("metadata_missing",)


@pytest.mark.parametrize("content", [RUNNING, FINISHED, b""])
def test_once_the_day_is_over_a_file_without_a_row_is_audio_without_metadata(exchange: Any, content: bytes) -> None:
    exchange.record(f"{NAME}.wav", content)
    exchange.settle()

    call = new(exchange)[f"{EPOCH}.77/0"]

    assert call.faults == ("metadata_missing",)
    assert exchange.vendor.open(call.ref).read() == content


def test_audio_whose_row_comes_late_keeps_its_identity(exchange: Any) -> None:
    exchange.record(f"{NAME}.wav", FINISHED)
    (before,) = new(exchange).values()
    exchange.row(f"{EPOCH}.77", START, END)

    (after,) = new(exchange).values()

    assert (before.faults, after.faults) == (("metadata_missing",), ())
    assert before.identity == after.identity


@pytest.mark.parametrize("name", ["canary 0409900077.wav", "0409900077.WAV", "in-1-2-20261124-xx.wav"])
def test_a_name_that_is_not_the_exchanges_own_is_audio_without_metadata(exchange: Any, name: str) -> None:
    exchange.record(name, FINISHED)
    exchange.settle()

    (call,) = new(exchange).values()

    assert call.faults == ("metadata_missing",)
    assert call.identity.startswith("file-")


def test_a_row_may_name_a_file_of_any_name(exchange: Any) -> None:
    exchange.record("konferenssi.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END, userfield="/var/spool/asterisk/monitor/2026/11/24/konferenssi.wav")

    (call,) = new(exchange).values()

    assert call.identity == f"{EPOCH}.77/0"
    assert call.direction is Direction.inbound


@pytest.mark.parametrize("name", [f"{NAME}.tmp.wav", f"{NAME}.wav.part", f"{NAME}.txt", ".hidden.wav.swp", NAME])
def test_what_is_no_finished_recording_is_not_looked_at(exchange: Any, name: str) -> None:
    exchange.record(name, FINISHED)
    exchange.settle()

    assert new(exchange) == {}


def test_half_a_row_is_not_looked_at_until_it_is_whole(exchange: Any) -> None:
    exchange.record(f"{NAME}.wav", RUNNING)
    exchange.row(f"{EPOCH}.77", START, END)
    whole = exchange.cdr.read_text(encoding="utf-8")
    exchange.cdr.write_text(whole[:-30], encoding="utf-8")
    assert new(exchange) == {}

    exchange.cdr.write_text(whole, encoding="utf-8")
    assert len(new(exchange)) == 1

    # The very first row of all, half written: no reason to call the whole unreadable.
    exchange.cdr.write_text(whole.splitlines()[-1][:-30], encoding="utf-8")
    assert listed(exchange.vendor)


# --- answered, unanswered, absent -------------------------------------------------------------------------------------


def test_nobody_answered_and_nothing_was_recorded_is_no_recording(exchange: Any) -> None:
    exchange.row(f"{EPOCH}.77", START, END, disposition="NO ANSWER", answer="", billsec="0")
    exchange.settle()

    assert new(exchange) == {}


@pytest.mark.parametrize("disposition", ["NO ANSWER", "BUSY", "FAILED", "CONGESTION"])
def test_nobody_answered_and_a_bare_header_stands_there(exchange: Any, disposition: str) -> None:
    exchange.record(f"{NAME}.wav", FINISHED[:44])
    exchange.row(f"{EPOCH}.77", START, END, disposition=disposition, answer="", billsec="0")

    (call,) = new(exchange).values()

    assert call.status is MediaStatus.unanswered
    assert (call.duration_ms, call.faults) == (0, ())


def test_while_another_phone_of_the_group_may_still_answer_the_call_is_left_out(exchange: Any) -> None:
    exchange.record(f"{NAME}.wav", RUNNING)
    exchange.row(f"{EPOCH}.77", START, START, disposition="NO ANSWER", answer="", billsec="0")
    assert new(exchange) == {}

    exchange.row(f"{EPOCH}.77", START, END, dstchannel="PJSIP/301-1")

    (call,) = new(exchange).values()
    assert (call.status, call.duration_ms) == (MediaStatus.available, 60_000)


def test_a_row_that_names_a_file_which_is_not_there_is_absent_under_the_files_identity(exchange: Any) -> None:
    file = exchange.record(f"{NAME}.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END, userfield=f"2026/11/24/{NAME}.wav")
    (before,) = new(exchange).values()
    file.unlink()

    (after,) = new(exchange).values()

    assert (before.status, after.status) == (MediaStatus.available, MediaStatus.absent)
    assert before.identity == after.identity


def test_an_answered_call_on_a_recorded_line_without_a_file_is_absent(exchange: Any) -> None:
    exchange.row(f"{EPOCH}.77", START, END, dst="0800123456")

    (call,) = new(exchange).values()

    assert (call.status, call.service_number) == (MediaStatus.absent, "+358800123456")
    with pytest.raises(AudioMissing):
        exchange.vendor.open(call.ref)


def test_an_answered_call_on_a_line_that_is_never_recorded_is_not_listed(exchange: Any) -> None:
    exchange.row(f"{EPOCH}.77", START, END, dst="0999999999")

    assert new(exchange) == {}


def test_a_userfield_that_is_no_recording_is_not_one(exchange: Any) -> None:
    exchange.row(f"{EPOCH}.77", START, END, dst="0999999999", userfield="canary Virtanen rang about invoice 7.5")

    assert new(exchange) == {}


# --- several rows, several files --------------------------------------------------------------------------------------


def test_a_transfer_with_one_file_is_one_call_from_the_first_answer_to_the_last_end(exchange: Any) -> None:
    exchange.record(f"{NAME}.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, "2026-11-24 17:07:00", billsec="20")
    exchange.row(f"{EPOCH}.77", "2026-11-24 17:07:00", "2026-11-24 17:09:00", billsec="120")

    (call,) = new(exchange).values()

    assert (call.started_at, call.duration_ms) == (utc(START), 140_000)


def test_a_second_recording_of_a_call_is_a_segment_that_no_deletion_renumbers(exchange: Any) -> None:
    second = f"in-0102708001-0409900077-20261124-190710-{EPOCH}.77"
    first_file = exchange.record(f"{NAME}.wav", FINISHED)
    exchange.record(f"{second}.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, "2026-11-24 17:07:10", userfield=f"{NAME}.wav", billsec="30")
    exchange.row(f"{EPOCH}.77", "2026-11-24 17:07:10", END, userfield=f"{second}.wav", billsec="31")

    calls = new(exchange)
    assert {i: c.duration_ms for i, c in calls.items()} == {f"{EPOCH}.77/0": 30_000, f"{EPOCH}.77/30": 31_000}

    first_file.unlink()
    left = new(exchange)
    assert left.keys() == calls.keys()
    assert left[f"{EPOCH}.77/0"].status is MediaStatus.absent
    assert left[f"{EPOCH}.77/30"] == calls[f"{EPOCH}.77/30"]


def test_two_local_halves_that_name_one_file_are_one_recording(exchange: Any) -> None:
    exchange.record(f"out-0409900077-0102708001-20261124-190640-{EPOCH}.78.wav", FINISHED)
    name = f"2026/11/24/out-0409900077-0102708001-20261124-190640-{EPOCH}.78.wav"
    halves = {"context": "click-out", "userfield": name}
    exchange.row(f"{EPOCH}.77", START, END, src="0409900077", dst="301", channel="Local/x@click-00000001;1", **halves)
    exchange.row(
        f"{EPOCH}.78", START, END, src="0102708001", dst="0409900077", channel="Local/x@click-00000001;2", **halves
    )

    (call,) = new(exchange).values()

    assert str(call.other_party) == "+358409900077"
    assert (call.direction, call.service_number) == (Direction.outbound, "+358102708001")


def test_the_inner_half_of_a_local_channel_is_no_absent_call_either(exchange: Any) -> None:
    name = f"2026/11/24/{NAME}.wav"
    inner = {"channel": "Local/x@click-00000001;1", "userfield": name}
    exchange.row(f"{EPOCH}.76", START, END, src="0102708001", dst="0800123456", **inner)
    assert new(exchange) == {}

    exchange.row(f"{EPOCH}.77", START, END, billsec="59", userfield=name)

    (call,) = new(exchange).values()
    assert (str(call.other_party), call.service_number) == ("+358409900099", "+358102708001")


def test_the_file_of_each_account_repeats_rows_and_no_call(exchange: Any) -> None:
    once = listed(exchange.vendor)
    shutil.copy(exchange.cdr, exchange.root / "account-1.csv")
    vendor = Asterisk("vaihde", cdr=str(exchange.root / "*.csv"), recordings=str(exchange.root))

    assert listed(vendor) == once


def test_rotated_call_details_are_read_with_the_present_ones(exchange: Any) -> None:
    whole = listed(exchange.vendor)
    lines = exchange.cdr.read_text(encoding="utf-8").splitlines(keepends=True)
    (exchange.root / "Master.csv.1").write_text("".join(lines[:20]), encoding="utf-8")
    exchange.cdr.write_text("".join(lines[20:]), encoding="utf-8")
    vendor = Asterisk("vaihde", cdr=str(exchange.root / "Master.csv*"), recordings=str(exchange.root))

    assert listed(vendor) == whole


def test_legs_and_other_formats_belong_to_the_recording_and_go_with_it(exchange: Any) -> None:
    names = [f"{NAME}.wav", f"{NAME}.mp3", f"{NAME}-rx.wav", f"{NAME}-tx.wav"]
    files = [exchange.record(name, FINISHED) for name in names]
    other = exchange.record(f"{NAME}8.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END)
    call = new(exchange)[f"{EPOCH}.77/0"]
    assert json.loads(call.ref)["path"].endswith("77.wav")

    files[2].unlink()
    assert exchange.vendor.confirm_deleted(call.ref) is False
    assert exchange.vendor.delete(call.ref, "key") == "deleted"

    assert not any(file.exists() for file in files)
    assert other.exists()
    assert exchange.vendor.confirm_deleted(call.ref) is True
    assert exchange.vendor.delete(call.ref, "key") == "already_gone"


def test_a_deletion_that_half_worked_is_finished_by_the_next(exchange: Any, tmp_path: Path) -> None:
    files = [exchange.record(f"{NAME}{leg}.wav", FINISHED) for leg in ("", "-rx")]
    exchange.row(f"{EPOCH}.77", START, END)
    (call,) = new(exchange).values()
    # The leg can't be removed now: a link stands in its place, which is not followed.
    files[1].rename(tmp_path / "leg.wav")
    files[1].symlink_to(tmp_path / "leg.wav")

    assert exchange.vendor.delete(call.ref, "key") == "refused"
    assert not files[0].exists()

    files[1].unlink()
    (tmp_path / "leg.wav").rename(files[1])
    assert exchange.vendor.confirm_deleted(call.ref) is False
    assert exchange.vendor.delete(call.ref, "key") == "deleted"
    assert exchange.vendor.confirm_deleted(call.ref) is True


def test_legs_without_a_mixed_file_are_no_audio_and_are_deleted_all_the_same(exchange: Any) -> None:
    leg = exchange.record(f"{NAME}-rx.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END)

    (call,) = new(exchange).values()

    assert call.status is MediaStatus.absent
    assert exchange.vendor.delete(call.ref, "key") == "deleted"
    assert not leg.exists()


# --- who called whom --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row", "direction", "other", "line"),
    [
        (
            "in-0102708001-0409900077",
            {"dst": "600", "context": "ext-group"},
            "inbound",
            "+358409900077",
            "+358102708001",
        ),
        (
            "in-0102708001-front-desk",
            {"src": "front-desk", "clid": '"" <front-desk>'},
            "inbound",
            "unusable",
            "+358102708001",
        ),
        ("in-0102708001-anonymous", {"src": "0409900077"}, "inbound", "withheld", "+358102708001"),
        ("in-0102708001-0409900077", {"clid": '"Anonymous" <0409900077>'}, "inbound", "withheld", "+358102708001"),
        ("in-0102708001-0409900077", {"clid": ""}, "inbound", "+358409900077", "+358102708001"),
        ("in-0102708001-unknown", {"src": "", "clid": '"" <>'}, "inbound", "withheld", "+358102708001"),
        ("in-112-0409900077", {"dst": "112"}, "inbound", "+358409900077", None),
        (
            "out-0409900077-201",
            {"src": "0102708001", "dst": "0409900077"},
            "outbound",
            "+358409900077",
            "+358102708001",
        ),
        ("out-0409900077-0102708001", {"src": "201", "dst": "s"}, "outbound", "+358409900077", "+358102708001"),
        ("out-0409900077-201", {"src": "201", "dst": "0409900077"}, "outbound", "+358409900077", None),
        ("internal-202-201", {"src": "201", "dst": "202", "context": "from-internal"}, None, "unusable", None),
        ("q-0102708001-0409900077", {}, "inbound", "+358409900077", "+358102708001"),
        ("exten-301-0409900077", {"context": "ext-local", "dst": "301"}, None, "+358409900077", None),
    ],
)
def test_direction_and_parties(
    exchange: Any, name: str, row: dict[str, str], direction: str | None, other: str, line: str | None
) -> None:
    exchange.record(f"{name}-20261124-190640-{EPOCH}.77.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END, **({"src": "0409900077", "clid": '"" <0409900077>'} | row))

    (call,) = new(exchange).values()

    assert (call.direction, str(call.other_party), call.service_number) == (direction, other, line)
    assert call.faults == (() if direction else ("direction_unknown",))


@pytest.mark.parametrize(("billsec", "expected"), [("60", 60_000), ("0", 0), ("", None), ("-1", None), ("x", None)])
def test_a_duration_is_whole_seconds_or_a_fault(exchange: Any, billsec: str, expected: int | None) -> None:
    exchange.record(f"{NAME}.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END, billsec=billsec)

    (call,) = new(exchange).values()

    assert call.duration_ms == expected
    assert call.faults == (() if expected is not None else ("duration_invalid",))


def test_later_columns_lose_their_values_and_are_counted_by_name(exchange: Any) -> None:
    exchange.record(f"{NAME}.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END, peer="canary", linked="1.2", sequence="7", note="canary Virtanen")

    (call,) = new(exchange).values()

    assert call.unknown_fields == ("extra-column", "linkedid", "peeraccount", "sequence")
    assert "canary" not in f"{call!r}"


def test_a_callers_display_name_cannot_hide_his_call(exchange: Any) -> None:
    name = '","1999-01-01 00:00:00","1999-01-01 00:00:00",\x01'
    exchange.record(f"{NAME}.wav", FINISHED)
    exchange.row(f"{EPOCH}.77", START, END, clid=f'"{name}" <0409900077>')

    (call,) = new(exchange).values()

    assert call.started_at == utc(START)


# --- days and clocks --------------------------------------------------------------------------------------------------


def test_a_day_is_complete_once_a_call_has_started_an_hour_after_its_end(exchange: Any) -> None:
    exchange.row("1795557600.1", "2026-11-24 22:00:00", "2026-11-24 22:59:59", dst="0999999999")
    exchange.row("1795561199.1", "2026-11-24 22:59:59", "2026-11-24 23:10:00", dst="0999999999")
    assert exchange.vendor.day_status(DAY, HELSINKI) == "open"

    exchange.row("1795561200.1", "2026-11-24 23:00:00", "2026-11-24 23:10:00", dst="0999999999")

    assert exchange.vendor.day_status(DAY, HELSINKI) == "complete"


def test_a_day_without_calls_between_others_is_complete_and_empty(exchange: Any) -> None:
    exchange.settle("2026-11-27 06:00:00")

    assert exchange.vendor.day_status(date(2026, 11, 25), HELSINKI) == "complete"
    assert listed(exchange.vendor, date(2026, 11, 25)) == {}


def test_a_day_before_the_call_details_begin_is_absent_even_if_others_follow(exchange: Any) -> None:
    exchange.settle()

    assert exchange.vendor.day_status(date(2026, 11, 20), HELSINKI) == "absent"


def test_a_day_whose_rows_are_gone_and_whose_files_are_there_stays_open(exchange: Any) -> None:
    exchange.cdr.write_text("", encoding="utf-8")
    exchange.settle()

    assert exchange.vendor.day_status(DAY, HELSINKI) == "open"
    assert {c.faults for c in listed(exchange.vendor).values()} == {("metadata_missing",)}


def test_a_call_over_midnight_belongs_to_the_day_on_which_it_started(exchange: Any) -> None:
    # 23:59:50 to 00:05 in Helsinki; it rang for twelve seconds, so its file is in the next day's folder.
    epoch = 1795557590
    exchange.record(f"out-0409900077-0102708001-20261125-000002-{epoch}.1.wav", FINISHED, day="2026/11/25")
    exchange.row(f"{epoch}.1", "2026-11-24 21:59:50", "2026-11-24 22:05:00", context="callback", dst="0409900077")
    # The transfer after midnight is the same call.
    exchange.row(f"{epoch}.1", "2026-11-24 22:05:00", "2026-11-24 22:06:00", context="callback", dst="0409900077")

    assert [c.started_at for c in new(exchange).values()] == [utc("2026-11-24 21:59:50")]
    assert listed(exchange.vendor, date(2026, 11, 25)) == {}


def test_the_next_days_calls_leave_a_days_fingerprint_alone(exchange: Any) -> None:
    exchange.settle()
    before = exchange.vendor.fingerprint(DAY, HELSINKI)
    epoch = 1795590000  # 09:00 on the 25th
    exchange.record(f"in-0102708001-0409900077-20261125-090000-{epoch}.1.wav", FINISHED, day="2026/11/25")
    exchange.row(f"{epoch}.1", "2026-11-25 07:00:00", "2026-11-25 07:01:00")

    assert exchange.vendor.fingerprint(DAY, HELSINKI) == before
    assert len(listed(exchange.vendor, date(2026, 11, 25))) == 1


@pytest.mark.parametrize(
    ("day", "first", "last", "hours"),
    [
        (date(2026, 3, 29), "2026-03-28 22:00:00", "2026-03-29 20:59:59", 23),
        (date(2026, 10, 25), "2026-10-24 21:00:00", "2026-10-25 21:59:59", 25),
        (date(2026, 11, 24), "2026-11-23 22:00:00", "2026-11-24 21:59:59", 24),
    ],
)
def test_a_helsinki_day_has_23_24_or_25_hours(tmp_path: Path, day: date, first: str, last: str, hours: int) -> None:
    def at(text: str, seconds: int = 0) -> tuple[str, str]:
        start = utc(text) + timedelta(seconds=seconds)
        return f"{start:%Y-%m-%d %H:%M:%S}", f"{start:%Y-%m-%d %H:%M:%S}"

    exchange = Files(tmp_path)
    for text, seconds in ((first, -1), (first, 0), (last, 0), (last, 1)):
        exchange.call(*at(text, seconds))

    found = sorted(c.started_at for c in exchange.vendor().list_day(day, HELSINKI) if c.started_at)

    assert found == [utc(first), utc(last)]
    assert utc(last) - utc(first) == timedelta(hours=hours, seconds=-1)


class Files:
    """An exchange made from nothing, its clocks as a test wants them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cdr = root / "Master.csv"

    def vendor(self, **clocks: str) -> Asterisk:
        return Asterisk("vaihde", cdr=str(self.cdr), recordings=str(self.root / "monitor"), **clocks)

    def call(self, start: str, end: str, *, epoch: int | None = None, named: datetime | None = None) -> str:
        epoch = epoch or round(utc(start).timestamp())
        named = named or datetime.fromtimestamp(epoch, HELSINKI)
        folder = self.root / "monitor" / f"{named:%Y/%m/%d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"in-0102708001-0409900077-{named:%Y%m%d-%H%M%S}-{epoch}.1.wav").write_bytes(FINISHED)
        with self.cdr.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(
                [
                    *["", "0409900077", "0102708001", "from-trunk", '"" <0409900077>', "PJSIP/1", "", "Hangup", ""],
                    *[start, start, end, "60", "60", "ANSWERED", "DOCUMENTATION", f"{epoch}.1", ""],
                ]
            )
        return f"{epoch}.1/0"


def test_in_the_hour_that_comes_twice_the_uniqueid_tells_which_is_meant(tmp_path: Path) -> None:
    exchange = Files(tmp_path)
    local = "2026-10-25 03:30:00"
    first, second = (round(utc(f"2026-10-25 0{hour}:30:00").timestamp()) for hour in (0, 1))
    for epoch in (first, second):
        exchange.call(local, local, epoch=epoch)
    vendor = exchange.vendor(cdr_timezone="Europe/Helsinki")

    found = listed(vendor, date(2026, 10, 25))

    assert {i: c.started_at for i, c in found.items()} == {
        f"{first}.1/0": utc("2026-10-25 00:30:00"),
        f"{second}.1/0": utc("2026-10-25 01:30:00"),
    }


def test_call_details_in_local_time_are_read_by_the_configured_clock(tmp_path: Path) -> None:
    exchange = Files(tmp_path)
    identity = exchange.call(
        "2026-11-24 00:30:00", "2026-11-24 00:31:00", epoch=round(utc("2026-11-23 22:30:00").timestamp())
    )
    vendor = exchange.vendor(cdr_timezone="Europe/Helsinki")

    assert listed(vendor)[identity].started_at == utc("2026-11-23 22:30:00")
    assert listed(vendor, date(2026, 11, 23)) == {}


def test_names_in_another_clock_than_ours_are_found_too(tmp_path: Path) -> None:
    exchange = Files(tmp_path)
    identity = exchange.call("2026-11-23 22:30:00", "2026-11-23 22:31:00", named=datetime(2026, 11, 23, 22, 30))
    vendor = exchange.vendor(name_timezone="UTC")

    assert listed(vendor)[identity].started_at == utc("2026-11-23 22:30:00")
    assert listed(vendor)[identity].status is MediaStatus.available


def test_a_system_name_before_the_uniqueid_is_part_of_it(exchange: Any) -> None:
    exchange.record(f"in-0102708001-0409900077-20261124-190640-pbx1-{EPOCH}.77.wav", FINISHED)
    exchange.row(f"pbx1-{EPOCH}.77", START, END)

    (call,) = new(exchange).values()

    assert (call.identity, call.status) == (f"pbx1-{EPOCH}.77/0", MediaStatus.available)


# --- call details that cannot be read ---------------------------------------------------------------------------------


def test_call_details_without_uniqueids_say_what_to_set(exchange: Any, assert_silent: Silent) -> None:
    rows = list(csv.reader(exchange.cdr.open(encoding="utf-8")))
    with exchange.cdr.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(row[:16] for row in rows)

    with pytest.raises(DeliveryUnreadable, match="loguniqueid=yes") as wrong:
        listed(exchange.vendor)
    assert_silent(wrong.value)


def test_a_torn_row_among_good_ones_costs_only_its_own_call(exchange: Any) -> None:
    exchange.record(f"{NAME}.wav", FINISHED)
    lines = exchange.cdr.read_text(encoding="utf-8").splitlines(keepends=True)
    torn = f'"","0409900077","0102708001","from-trunk","x","PJSIP/1","","Hangup","","{START}","{START}"\n'
    exchange.cdr.write_text("".join([*lines[:5], torn, *lines[5:]]), encoding="utf-8")

    calls = listed(exchange.vendor)

    assert len(calls) == 29
    assert calls[f"{EPOCH}.77/0"].faults == ("metadata_missing",)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig"])
def test_a_display_name_in_another_encoding_harms_nothing(exchange: Any, encoding: str) -> None:
    before = listed(exchange.vendor)
    exchange.cdr.write_text(exchange.cdr.read_text(encoding="utf-8"), encoding=encoding)

    assert listed(exchange.vendor) == before


def test_a_heading_line_is_no_call(exchange: Any) -> None:
    before = listed(exchange.vendor)
    heading = '"accountcode","src","dst","dcontext","clid","channel","dstchannel","lastapp","lastdata","start"\n'
    exchange.cdr.write_text(heading + exchange.cdr.read_text(encoding="utf-8"), encoding="utf-8")

    assert listed(exchange.vendor) == before


def test_an_exchange_without_call_details_is_unavailable_and_no_missing_day(
    exchange: Any, assert_silent: Silent
) -> None:
    exchange.cdr.unlink()

    with pytest.raises(VendorUnavailable) as wrong:
        exchange.vendor.day_status(DAY, HELSINKI)
    assert_silent(wrong.value)


def test_an_unmounted_tree_is_unavailable_and_no_day_of_absent_audio(exchange: Any, assert_silent: Silent) -> None:
    vendor = Asterisk("vaihde", cdr=str(exchange.cdr), recordings=str(exchange.root / "canary-0409900001"))

    with pytest.raises(VendorUnavailable) as wrong:
        list(vendor.list_day(DAY, HELSINKI))
    assert_silent(wrong.value)


def test_links_in_the_tree_are_not_followed(exchange: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside.wav"
    outside.write_bytes(FINISHED)
    (exchange.day / f"{NAME}.wav").symlink_to(outside)
    exchange.row(f"{EPOCH}.77", START, END, userfield=f"{NAME}.wav")

    (call,) = new(exchange).values()

    assert call.status is MediaStatus.absent
