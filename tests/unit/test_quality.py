"""The reasons of quarantine: each says what it means and what mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import callkeeper
from callkeeper.quality import REASONS, _plain_id

SOURCES = [p for p in Path(callkeeper.__file__).parent.rglob("*.py") if p.name != "quality.py"]


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_says_what_it_means_and_what_mends_it(code):
    reason = REASONS[code]
    assert re.fullmatch(r"[a-z_]+", code)
    assert reason.means.endswith(".")
    assert reason.mend.endswith(".")


def test_a_person_may_only_let_pass_what_the_audio_told():
    """What the metadata lack cannot be known better by a person: it is delivered again, or goes."""
    assert {code for code, reason in REASONS.items() if reason.releasable} == {"audio_truncated", "duration_mismatch"}
    assert all(reason.gate for reason in REASONS.values() if reason.releasable)


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_is_found_somewhere(code):
    assert any(re.search(rf"['\"]{code}['\"]", path.read_text()) for path in SOURCES)


def test_every_reason_that_the_door_or_the_probe_gives_is_known():
    given = set()
    for path in SOURCES:
        text = path.read_text()
        given |= set(re.findall(r"NotAudio\(\"(\w+)\"", text))
        given |= set(re.findall(r"faults\.append\(\"(\w+)\"", text))
    assert given
    assert given <= set(REASONS)


@pytest.mark.parametrize("vendor", ["linna'; drop table recording; --", "lin na", "", "linna%"])
def test_a_vendors_id_that_could_be_sql_is_refused(vendor):
    with pytest.raises(ValueError, match="letters, digits"):
        _plain_id(vendor)


def test_a_configured_vendors_id_is_taken():
    assert _plain_id("linna-2_b") == "linna-2_b"
