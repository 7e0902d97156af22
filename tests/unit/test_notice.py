"""config/notice.toml: the notice's own words, all of them, and what each promise is answered from."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from callkeeper import notice
from callkeeper.controllers import load_config
from callkeeper.errors import ConfigurationError
from callkeeper.jobs import proving
from callkeeper.jobs.proving import CHECKS, Answer, Proof, Proven, Verdict

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED = PROJECT / "config" / "notice.toml"
TEXT = (PROJECT / "docs" / "notice-fi.txt").read_text(encoding="utf-8")
NOTICE = notice.load_notice(SHIPPED)


@pytest.mark.parametrize("quote", list(notice.quotes(NOTICE)), ids=lambda q: q[:40])
def test_a_quote_is_verbatim_in_the_notice(quote):
    assert quote in TEXT


def test_no_sentence_of_the_notice_is_left_out():
    assert notice.unquoted(NOTICE, TEXT) == ""


def test_a_sentence_that_is_left_out_would_be_seen():
    fewer = NOTICE.model_copy(update={"promises": tuple(p for p in NOTICE.promises if p.id != "regions")})

    assert notice.unquoted(fewer, TEXT) == "Emme siirrä henkilötietoja EU:n tai ETA:n ulkopuolelle."


def test_every_check_shows_one_promise_and_every_promise_has_its_check():
    assert sorted(p.evidence for p in NOTICE.promises) == sorted(CHECKS)


def test_the_promises_are_those_of_the_notice_that_the_shipped_configuration_names():
    config = load_config(PROJECT / "config" / "callkeeper.toml")

    assert {c.notice_version for c in config.controllers} == {NOTICE.notice.version}
    assert f"{NOTICE.notice.version:%-d.%-m.%Y}" in TEXT


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "regions"', 'id = "lines"', "names a promise twice: lines"),
        ('evidence = "regions_in_use"', "", "evidence: Field required"),
        ("[notice]", "[notice", "is no TOML"),
        ('id = "regions"', 'id = "Regions!"', "id: String should match"),
        ("version = 2023-09-12", "version = 2023-09-12\nfuture = 1", "notice.future: Extra inputs"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_words(tmp_path, old, new, said):
    text = SHIPPED.read_text()
    assert old in text
    file = tmp_path / "notice.toml"
    file.write_text(text.replace(old, new, 1))

    with pytest.raises(ConfigurationError, match=re.escape(said)):
        notice.load_notice(file)


def test_a_file_that_is_not_there_is_told_with_its_setting(tmp_path):
    with pytest.raises(ConfigurationError, match="CALLKEEPER_NOTICE_FILE"):
        notice.load_notice(tmp_path / "none.toml")


def test_a_promise_whose_check_there_is_not_ends_the_asking():
    promise = NOTICE.promises[0].model_copy(update={"evidence": "nobodys_check"})

    with pytest.raises(ConfigurationError, match="nobodys_check"):
        proving.prove(None, NOTICE.model_copy(update={"promises": (promise,)}), code="test")


@pytest.mark.parametrize(
    ("table", "column", "allowed"),
    [
        ("recording", "started_at", True),
        ("recording", "transcript", False),
        ("deletion", "vendor_answer", True),
        ("night", "whatever_it_has", True),
        ("voiceprint", "recording", False),
    ],
)
def test_of_a_call_each_column_is_named_and_of_the_rest_each_table(table, column, allowed):
    assert NOTICE.stored.allows(table, column) is allowed


# --- what is told -----------------------------------------------------------------------------------------------------


def proof(*verdicts: Verdict) -> Proof:
    answers = tuple(
        Proven(
            promise=promise,
            answer=Answer(
                verdict=verdict,
                figure="2 of 3",
                says="It says so.",
                mend="Do <this>." if verdict in proving.RED else "",
            ),
        )
        for promise, verdict in zip(NOTICE.promises, verdicts, strict=False)
    )
    at = datetime(2026, 11, 25, 4, tzinfo=UTC)
    facts = {
        "at": at,
        "day": date(2026, 11, 25),
        "run": "r",
        "notice": date(2023, 9, 12),
        "code": "1",
        "config_version": 3,
    }
    return Proof(answers=answers, **facts)


def test_what_could_not_be_checked_is_as_red_as_what_is_broken():
    told = proof(Verdict.kept, Verdict.broken, Verdict.unknown, Verdict.not_yet)

    assert [p.answer.verdict for p in told.red] == [Verdict.broken, Verdict.unknown]
    assert told.word == "ALARM"
    assert told.sums == "1 kept, 1 broken, 1 could not be checked, 1 not yet applicable"
    assert proof(Verdict.kept, Verdict.not_yet).word == "kept"


def test_the_mail_names_what_is_red_and_what_mends_it():
    mail = proving.message(proof(Verdict.kept, Verdict.broken, Verdict.unknown), link="https://example.fi/runbook")

    assert mail.subject == "callkeeper notice 2026-11-25: ALARM, 2 of 3 promises need somebody"
    assert "! Group companies are the controllers: broken (2 of 3)\n    It says so.\n    Do <this>." in mail.text
    assert "! There is an address for requests: could not be checked" in mail.text
    assert "https://example.fi/runbook" in mail.text


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_is_in_it():
    page = proving.as_html(proof(*Verdict)).decode()

    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", page)
    assert "Do &lt;this&gt;." in page
    assert all(f'lang="fi">{quote.split()[0]}' in page for p in NOTICE.promises[:4] for quote in p.quotes)


def test_the_json_is_canonical_and_says_each_promise():
    import json

    body = proving.as_json(proof(Verdict.kept, Verdict.unknown))

    told = json.loads(body)
    assert body.isascii()
    assert (json.dumps(told, sort_keys=True, separators=(",", ":")) + "\n").encode() == body
    assert told["counts"] == {"kept": 1, "broken": 0, "unknown": 1, "not_yet": 0}
    assert [a["answer"]["verdict"] for a in told["answers"]] == ["kept", "unknown"]
    assert told["answers"][0]["promise"]["quotes"] == list(NOTICE.promises[0].quotes)
