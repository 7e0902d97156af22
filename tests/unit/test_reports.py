"""A report's page, its words and its documentation, without a database."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from callkeeper.deletions import TERMS
from callkeeper.jobs import reporting, telling
from callkeeper.jobs.reporting import Ahead, Awaiting, Counts, OpenLine, Overdue, Proof, Receipt, Report, Why
from callkeeper.retention import HOLDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "deletion-report.md"


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 24, hour, minute, tzinfo=UTC)


REPORT = Report(
    night=41, run="scheduled", day=date(2026, 11, 25), mode="live", started_at=at(22, 30), planned_at=at(22, 31),
    ended_at=at(22, 58), balanced=True, code="0.1.0", config_version=7, config_digest="ab" * 32,
    keep_until=date(2029, 11, 25),
    controllers=(
        Counts(controller="phm", due=12_345, withdrawn=1, done=12_300, blocked=30, waiting=12, open_at_vendor=1, failed=1),
    ),
    reasons=(Why(controller="phm", outcome="waiting", reason="surplus", n=12),),
    proof=Proof(recordings=12_301, versions_removed=12_400, first_checked_at=at(22, 40), last_checked_at=at(22, 57)),
    forecast=(Ahead(horizon_days=1, controller="phm", due=400, blocked=9),),
    overdue=(), open_lines=(), awaiting=(), hold_alarms=0, cut_off=(),
)  # fmt: skip


def page(report: Report) -> str:
    return re.sub(r"\s+", " ", reporting.as_html(report).decode())


def test_the_page_says_the_night_the_terms_the_proof_and_what_comes():
    told = page(REPORT)

    assert "night of 25 November 2026" in told
    assert "<dt>done</dt><dd>12 300</dd>" in told
    assert (
        "12 301 recordings were proven to be gone from the store; 12 400 object versions that were sent are there no more"
        in told
    )
    assert "first at 2026-11-25 00:40 EET, last at 2026-11-25 00:57 EET" in told
    assert "more than the forecast had foreseen: a person&#39;s yes" in told
    assert '400 <span class="soft">(9 blocked)</span>' in told
    assert "callkeeper 0.1.0, configuration 7" in told


def test_a_bar_is_as_long_as_its_figures_say():
    widths = re.findall(r'width="([\d.]+)" height="24" fill="var\(--(\w+)\)"', page(REPORT))

    per_term = {term: float(width) for width, term in widths[: len(TERMS)]}
    assert per_term == {
        term: pytest.approx(1000 * getattr(REPORT.controllers[0], term) / 12_345, abs=0.01) for term in TERMS
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"balanced": False}, "does not balance"),
        ({"mode": "rehearsal"}, "Nothing was deleted, and nothing is before the privacy officer's recorded yes"),
        ({"controllers": ()}, "Nothing was due."),
        ({"forecast": ()}, "No forecast was made."),
        ({"overdue": (Overdue(controller="phm", n=2, oldest_due_at=at(1)),)}, "phm 2 (the oldest since 2026-11-24 03:00 EET)"),
        ({"cut_off": (date(2026, 11, 23),)}, "The night of 23 November 2026 was cut off"),
        ({"open_lines": (OpenLine(vendor="linna", reason="vendor_refused", n=3, since=at(1)),)}, "refused to delete its copy"),
        ({"awaiting": (Awaiting(waits="approval", n=3, since=at(1)),)}, "Waiting for a person's yes"),
        ({"hold_alarms": 2}, "2 matters of the hold register need the privacy officer"),
        ({"config_version": None, "config_digest": None}, "configuration not applied"),
        ({"controllers": (Counts(controller="<b>x", due=1, withdrawn=0, done=1, blocked=0, waiting=0, open_at_vendor=0, failed=0),)}, "&lt;b&gt;x"),
    ],
)  # fmt: skip
def test_the_page_says_what_is_out_of_the_ordinary(changed, said):
    assert said not in page(REPORT)
    assert said in page(replace(REPORT, **changed))


@pytest.mark.parametrize("kind", sorted(HOLDS))
def test_no_word_tells_one_hold_from_another(kind):
    assert reporting.in_words("blocked", kind) == "legal ground"


def test_a_notes_red_lines_come_first():
    calm, red = telling.Alarm(text="calm", red=False), telling.Alarm(text="red")

    note = telling.note(REPORT, [calm, red])

    assert note.index("- red") < note.index("- calm")
    assert note.startswith("**2026-11-25: ALARM**, 12345 due: 1 withdrawn, 12300 done")


@pytest.mark.parametrize(
    ("mode", "red", "word"),
    [
        ("live", False, "balanced"),
        ("live", True, "ALARM"),
        ("rehearsal", False, "rehearsal"),
        ("rehearsal", True, "ALARM"),
    ],
)
def test_the_subject_says_the_night_in_a_word(mode, red, word):
    mail = telling.message(replace(REPORT, mode=mode), [telling.Alarm(text="x", red=red)], link="https://example.fi")

    assert mail.subject == f"callkeeper deletion 2026-11-25: {word}, 12345 due, 12300 done"


def test_every_field_of_the_evidence_is_documented():
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text()))

    for record in (Report, Counts, Why, Proof, Ahead, Overdue, OpenLine, Awaiting, Receipt):
        assert {f.name for f in fields(record)} - documented == set(), record.__name__
    assert {"receipts", "settled", *reporting.BLOCKED, *reporting.WAITING} - documented == set()
    assert reporting.SCHEMA in PAGE.read_text()
