"""The demonstration's vendors: what they deliver is what they say, and the same each time."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import process_time

import av
import numpy as np
import pytest

from callkeeper.clock import HELSINKI, helsinki_day, retention_eligible_at
from callkeeper.demo import audio, letting_go
from callkeeper.demo.asterisk import CORPUS, make_asterisk
from callkeeper.demo.drop import HELD_CALLER, Counts, Expected, archive, deliver_later, make_drop, make_old_days
from callkeeper.errors import NotAudio
from callkeeper.media.probe import probe
from callkeeper.phone import normalise
from callkeeper.quality import DURATION_TOLERANCE_MS, REASONS
from callkeeper.vendors import MediaStatus, VendorCall
from callkeeper.vendors.asterisk import Asterisk
from callkeeper.vendors.drop import Drop

LAST = date(2026, 11, 23)
DAYS = [LAST - timedelta(days=n) for n in reversed(range(10))]
NOW = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
OURS = {"+358102708001", "+358207001234", "+358800123456"}


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    folder = tmp_path_factory.mktemp("demo") / "linna"
    return folder, make_drop(folder, DAYS, seed=1)


def vendor(folder: Path) -> Drop:
    return Drop("linna", location=str(folder))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fault(source: Drop, call: VendorCall) -> str | None:
    """The reason for which an import would put a call into quarantine, in the order of quality's view."""
    outcomes = {
        "line_missing": call.service_number is None,
        "line_undesignated": call.service_number not in OURS and call.started_at is not None,
        "time_in_future": call.started_at is not None and call.started_at > NOW,
        "audio_absent": call.status is MediaStatus.absent,
    } | dict.fromkeys(call.faults, True)
    return next((reason for reason in REASONS if outcomes.get(reason)), None)


def audio_fault(source: Drop, call: VendorCall) -> str | None:
    """What the audio tells, in the order in which an import looks."""
    with source.open(call.ref) as body:
        data = body.read()
    if call.media.sha256 not in (None, hashlib.sha256(data).digest()):
        return "checksum_mismatch"
    if call.media.bytes not in (None, len(data)):
        return "size_mismatch"
    try:
        facts = probe(io.BytesIO(data), claimed_codec=call.media.codec, content_type=call.media.content_type)
    except NotAudio as wrong:
        return wrong.reason
    if facts.truncated:
        return "audio_truncated"
    assert call.duration_ms is not None
    return "duration_mismatch" if abs(facts.duration_ms - call.duration_ms) > DURATION_TOLERANCE_MS else None


def outcome(source: Drop, call: VendorCall) -> str:
    if call.started_at is not None and retention_eligible_at(call.started_at, 6) <= NOW:
        return "refused"
    if reason := fault(source, call):
        return reason
    if call.status is MediaStatus.pending:
        return "pending"
    return audio_fault(source, call) or "kept"


def counted(source: Drop, listed: Iterable[VendorCall]) -> Counts:
    calls = list(listed)
    unique = {call.identity: call for call in calls}
    outcomes = Counter(outcome(source, call) for call in unique.values())
    terms = {term: outcomes.pop(term, 0) for term in ("kept", "refused", "pending")}
    return Counts(
        found=len(unique),
        quarantined=dict(outcomes),
        repeated=len(calls) - len(unique),
        unknown_fields=dict(Counter(name for call in calls for name in call.unknown_fields)),
        **terms,
    )


def test_each_day_holds_what_it_is_expected_to(drop: tuple[Path, Expected]) -> None:
    folder, expected = drop
    source = vendor(folder)

    found = {day: counted(source, source.list_day(day, HELSINKI)) for day in DAYS if day != expected.missing_day}

    assert found == expected.days


def test_it_is_about_three_hundred_calls_with_every_kind_of_fault(drop: tuple[Path, Expected]) -> None:
    _, expected = drop
    reasons = Counter[str]()
    for counts in expected.days.values():
        reasons.update(counts.quarantined)

    # What a drop cannot have (a file of an unknown codec has its own test, audio without a record is an exchange's) or
    # not yet (other bytes need a first delivery).
    assert {r for r, reason in REASONS.items() if reason.gate} - reasons.keys() == {
        "metadata_missing", "changed_bytes", "codec_unknown",
    }  # fmt: skip
    assert 270 < sum(counts.found for counts in expected.days.values()) < 330
    assert sum(counts.refused for counts in expected.days.values()) == 1
    assert sum(counts.pending for counts in expected.days.values()) == 1


def test_the_same_seed_makes_the_same_bytes_in_seconds(drop: tuple[Path, Expected], tmp_path: Path) -> None:
    folder, expected = drop
    began = process_time()

    again = make_drop(tmp_path, DAYS, seed=1)

    assert process_time() - began < 20
    assert again == expected
    assert tree(tmp_path) == tree(folder)


def test_another_seed_makes_other_calls() -> None:
    assert audio.pcm_wav(audio.speech(1, 2)) != audio.pcm_wav(audio.speech(2, 2))


def test_an_empty_day_is_complete_and_a_missing_one_absent(drop: tuple[Path, Expected]) -> None:
    folder, expected = drop
    assert expected.empty_day is not None
    assert expected.missing_day is not None

    assert vendor(folder).day_status(expected.empty_day, HELSINKI) == "complete"
    assert vendor(folder).day_status(expected.missing_day, HELSINKI) == "absent"


def test_calls_begin_around_midnight_on_their_own_helsinki_day(drop: tuple[Path, Expected]) -> None:
    folder, _ = drop
    source = vendor(folder)
    starts = [call.started_at for day in DAYS for call in source.list_day(day, HELSINKI) if call.started_at]

    assert [at for at in starts if f"{at.astimezone(HELSINKI):%H:%M:%S}" == "23:59:56"]
    assert [at for at in starts if at.date() != helsinki_day(at) and at.year == 2026]


def test_one_day_is_a_spreadsheet_and_leftovers_lie_about(drop: tuple[Path, Expected]) -> None:
    folder, _ = drop

    names = [path.name for path in folder.rglob("*") if path.is_file()]

    assert names.count("manifest.csv") == 1
    assert {name for name in names if name.endswith(".tmp")} == {"kesken.wav.tmp", "manifest-9.json.tmp"}


def test_what_is_delivered_later_changes_the_day_as_expected(tmp_path: Path) -> None:
    expected = make_drop(tmp_path, DAYS, seed=2, calls_per_day=12)
    source, day = vendor(tmp_path), expected.later_day
    before = {call.identity: call for call in source.list_day(day, HELSINKI)}
    outcomes_before = {name: outcome(source, call) for name, call in before.items()}

    assert deliver_later(tmp_path, DAYS, seed=2)
    assert not deliver_later(tmp_path, DAYS, seed=2)

    calls = list(source.list_day(day, HELSINKI))
    after = {call.identity: call for call in calls}
    terms = Counter[str]()
    reasons = Counter[str]()
    for name, call in after.items():
        was, now = outcomes_before.get(name), outcome(source, call)
        if was == "kept" and call == before[name]:
            terms["unchanged"] += 1
        elif was == "kept" and call.media.sha256 != before[name].media.sha256:
            reasons["changed_bytes"] += 1
        elif was == "kept":
            terms["corrected"] += 1
        elif now in ("kept", "refused", "pending"):
            terms[now] += 1
        else:
            reasons[now] += 1
    assert (
        Counts(
            found=len(after),
            quarantined=dict(reasons),
            repeated=len(calls) - len(after),
            unknown_fields=dict(Counter(name for call in calls for name in call.unknown_fields)),
            **terms,
        )
        == expected.later
    )


def test_few_days_are_enough(tmp_path: Path) -> None:
    expected = make_drop(tmp_path, DAYS[:1], seed=3)
    source = vendor(tmp_path)

    assert counted(source, source.list_day(DAYS[0], HELSINKI)) == expected.days[DAYS[0]]
    assert (expected.empty_day, expected.missing_day, expected.later_day) == (None, None, DAYS[0])
    assert deliver_later(tmp_path, DAYS[:1], seed=3)


# --- audio ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "codec"),
    [(audio.pcm_wav, "pcm_s16le"), (audio.mulaw_wav, "pcm_mulaw"), (audio.mulaw, "pcm_mulaw"), (audio.opus, "opus")],
)
def test_made_up_audio_is_audio_of_the_length_asked_for(make: object, codec: str) -> None:
    data = make(audio.speech(5, 7.25))  # type: ignore[operator]

    facts = probe(io.BytesIO(data), claimed_codec="pcm_mulaw", content_type=None)

    assert (facts.codec, facts.duration_ms, facts.truncated) == (codec, 7250, False)


def test_mu_law_decodes_to_what_went_in() -> None:
    samples = audio.speech(6, 3)

    with av.open(io.BytesIO(audio.mulaw_wav(samples))) as file:
        back = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])

    # G.711: sixteen steps between one power of two and the next, so half a step is a 32nd.
    assert np.all(np.abs(back.astype(int) - samples) <= (np.abs(samples.astype(int)) + 132) / 32 + 1)


# --- the exchange -----------------------------------------------------------------------------------------------------


def exchange(folder: Path) -> Asterisk:
    return Asterisk("vaihde", cdr=f"{folder}/cdr-csv/Master.csv", recordings=f"{folder}/monitor")


def facts_of(call: VendorCall, moved_by: timedelta) -> tuple[object, ...]:
    """A call without its day: what must be the same on every other one."""
    return (
        call.segment, call.started_at + moved_by if call.started_at else None, call.duration_ms, call.direction,
        str(call.other_party), call.service_number, call.status, call.media, call.faults, call.unknown_fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    "day", [date(2026, 11, 24), date(2027, 7, 1), date(2026, 10, 25), date(2027, 3, 28), date(2028, 2, 29)]
)
def test_the_exchange_lists_the_same_calls_on_any_day(tmp_path: Path, day: date) -> None:
    original = Asterisk("vaihde", cdr=f"{CORPUS}/Master.csv", recordings=str(CORPUS))
    make_asterisk(tmp_path, day, broken=False)
    noon, old_noon = (datetime(d.year, d.month, d.day, 17, 39, 29, tzinfo=HELSINKI) for d in (day, date(2026, 11, 24)))
    moved_by = noon.astimezone(UTC) - old_noon.astimezone(UTC)

    before = sorted(repr(facts_of(call, moved_by)) for call in original.list_day(date(2026, 11, 24), HELSINKI))
    after = sorted(repr(facts_of(call, timedelta())) for call in exchange(tmp_path).list_day(day, HELSINKI))

    assert len(after) > 25
    assert after == before
    assert exchange(tmp_path).day_status(day, HELSINKI) == "complete"
    assert list(exchange(tmp_path).list_day(day + timedelta(days=1), HELSINKI)) == []


def test_every_time_in_the_exchanges_files_is_moved_by_the_same_instant(tmp_path: Path) -> None:
    day = date(2026, 7, 1)

    make_asterisk(tmp_path, day)

    rows = list(csv.reader((tmp_path / "cdr-csv" / "Master.csv").read_text().splitlines()))
    for row in rows:
        began = datetime.fromtimestamp(float(row[16].split(".")[0]), UTC)
        assert abs(datetime.fromisoformat(row[9]).replace(tzinfo=UTC) - began) <= timedelta(seconds=2)
        if row[17]:
            assert row[17].startswith("2026/07/01/")
    names = [path.name for path in (tmp_path / "monitor").rglob("*.*")]
    assert len(names) == 38
    for name in names:
        [(stamp, epoch)] = re.findall(r"-(\d{8}-\d{6})-(\d{10})\.\d", name)
        local = datetime.strptime(stamp, "%Y%m%d-%H%M%S").replace(tzinfo=HELSINKI)
        assert abs(local.timestamp() - int(epoch)) <= 2


def test_the_exchanges_audio_is_untouched(tmp_path: Path) -> None:
    make_asterisk(tmp_path, date(2027, 7, 1))

    def digests(*folders: Path) -> list[str]:
        return sorted(
            hashlib.sha256(p.read_bytes()).hexdigest() for f in folders for p in f.rglob("*.*") if p.is_file()
        )

    assert digests(tmp_path / "monitor") == digests(CORPUS / "2026", CORPUS / "broken" / "2026")


def test_the_manifests_are_what_the_format_says(drop: tuple[Path, Expected]) -> None:
    folder, expected = drop

    manifest = json.loads((folder / expected.later_day.isoformat() / "manifest-1.json").read_text())

    assert manifest["record_count"] == len(manifest["records"])
    assert manifest["business_date"] == expected.later_day.isoformat()
    assert datetime.fromisoformat(manifest["generated_at"]).tzinfo


# --- the old days -----------------------------------------------------------------------------------------------------

OLD = [date(2026, 5, 22), date(2026, 5, 23)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    make_old_days(tmp_path / "linna", OLD, seed=1, calls_per_day=4)
    return tmp_path / "linna"


def test_the_old_days_are_good_calls_and_the_held_caller_rang_once(old: Path):
    source = vendor(old)

    calls = [call for day in OLD for call in source.list_day(day, HELSINKI)]

    assert [source.day_status(day, HELSINKI) for day in OLD] == ["complete", "complete"]
    assert len(calls) == 8
    assert [fault(source, call) for call in calls] == [None] * 8
    assert sum(call.other_party == normalise(HELD_CALLER) for call in calls) == 1


def test_what_the_vendor_has_archived_it_will_not_delete_whoever_asks(old: Path):
    source = vendor(old)

    archive(old, OLD[-1])
    archive(old, OLD[-1])
    answers = Counter(source.delete(call.ref, "key") for day in OLD for call in source.list_day(day, HELSINKI))

    assert answers == {"deleted": 7, "refused": 1}
    assert [p.name for p in (old / "archive").iterdir()] == ["LP-archived"]


@pytest.mark.parametrize(
    "now", [datetime(2026, 8, 31, 12, tzinfo=HELSINKI), datetime(2027, 3, 1, 0, 20, tzinfo=HELSINKI)]
)
def test_the_old_days_are_past_their_term_when_the_last_night_begins(now: datetime):
    night = letting_go.last_night(now)

    days = letting_go.old_days(now)

    begins = datetime.combine(night, letting_go.NIGHT_AT, HELSINKI)
    last_calls = [datetime.combine(day, time(23, 59, 59), HELSINKI) for day in days]
    assert begins <= now
    assert [retention_eligible_at(call, 6) <= begins for call in last_calls] == [True, True]
    # and were not, so long before that nobody would have waited
    assert min(retention_eligible_at(call, 6) for call in last_calls) > begins - timedelta(days=5)
