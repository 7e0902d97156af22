"""A night's report: what it says, where it stands, who is told; and what it never says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner

from callkeeper import blockers, deletions
from callkeeper.commands import reports, status, watchdog
from callkeeper.deletions import Night
from callkeeper.errors import CallkeeperError, MailUnavailable, NotFound, StoreConflict, StoreUnavailable
from callkeeper.jobs import approving, deleting, reporting, telling
from callkeeper.jobs.reporting import Ahead, Awaiting, Counts, OpenLine, Overdue, Report, Why
from callkeeper.notify import Message
from deliver import PHM, Call, deliver
from fakes.vendor import FakeVendor
from installation import ACTOR, DAY, Installation, at

LATER = datetime(2027, 5, 26, 0, 30, tzinfo=UTC)
"""The night in which the calls of DAY are past their term (2027-05-25 is the first day)."""
TODAY = date(2027, 5, 26)
CALLER, OTHER = "+358401234501", "+358501234505"


@pytest.fixture
def kept(office: Installation) -> Installation:
    """Four calls in the catalogue, their term over, deletion live, the last forecast an evening old."""
    deliver(
        office.linna,
        DAY,
        [
            Call(id="a", start=at(8)),
            Call(id="b", start=at(9), line=PHM),
            Call(id="c", start=at(10), caller=OTHER),
            Call(id="d", start=at(11)),
        ],
    )
    office.run("import")
    office.go_live()
    office.set_clock(LATER - timedelta(days=1))
    office.forecast()
    office.set_clock(LATER)
    return office


@pytest.fixture
def shelf(office: Installation) -> Installation:
    """The store without reports: its names are those of every test's first night."""
    office.app.destroyer.delete(list(office.app.store.versions("reports/")))
    return office


def tell(office: Installation, key: str = "sweep", *, holds: int = 0) -> Report:
    """What the balance task does once the night is balanced."""
    with office.connect() as conn:
        return reporting.tell(conn, deletions.find_night(conn, key), hold_alarms=holds, keep_years=3)


def write(office: Installation, today: date = TODAY) -> str:
    with office.connect() as conn:
        return reporting.write_what_waits(conn, office.app.store, today)


def evidence(office: Installation, report: Report) -> dict:
    with office.connect() as conn:
        return json.loads(reporting.evidence(conn, report.night))


def found(office: Installation, report: Report, *, failures: tuple[str, ...] = (), unwritten: str = "", days: int = 0):
    with office.connect() as conn:
        now = conn.execute("select callkeeper_now()").fetchone()[0]
    return telling.alarms(report, failures=failures, unwritten=unwritten, now=now + timedelta(days=days))


def block(office: Installation, kind: str, call: str) -> None:
    """A blocker of that kind on one call."""
    recording = recording_of(office, call)
    blocker = office.block(recordings=(recording,))
    office.sql.execute("update blocker set kind = %s where blocker = %s", (kind, blocker))


def vendor_of(office: Installation, **manner) -> FakeVendor:
    """A vendor who has what the catalogue has."""
    vendor = FakeVendor(**manner)
    for row in office.rows("select sealed_ref, identity from recording"):
        vendor.add(office.app.keyring.unseal("reference", bytes(row.sealed_ref), bytes(row.identity)).decode())
    return vendor


def recording_of(office: Installation, call: str):
    mark = office.app.keyring.tombstone("linna", call)
    return office.value("select recording from recording where identity = %s", mark)


def prefix(office: Installation) -> list[str]:
    with office.connect() as conn:
        return [
            f["key"] for row in conn.execute("select files from night where files is not null") for f in row[0].values()
        ]


# --- what it says -----------------------------------------------------------------------------------------------------


def test_a_report_says_what_became_of_what_was_due_and_why(kept):
    block(kept, "investigation", "a")
    block(kept, "access_freeze", "c")
    kept.sweep(vendors={"linna": vendor_of(kept, manner="accepts")})

    report = tell(kept)

    punavaara = {"due": 3, "withdrawn": 0, "done": 0, "blocked": 2, "waiting": 0, "open_at_vendor": 1, "failed": 0}
    phm = {"due": 1, "withdrawn": 0, "done": 0, "blocked": 0, "waiting": 0, "open_at_vendor": 1, "failed": 0}
    assert report.controllers == (Counts(controller="phm", **phm), Counts(controller="punavaara", **punavaara))
    assert report.reasons == (
        Why(controller="phm", outcome="open_at_vendor", reason="vendor_pending", n=1),
        Why(controller="punavaara", outcome="blocked", reason="legal_ground", n=1),
        Why(controller="punavaara", outcome="blocked", reason="open_request", n=1),
        Why(controller="punavaara", outcome="open_at_vendor", reason="vendor_pending", n=1),
    )
    (line,) = report.open_lines
    assert line == OpenLine(vendor="linna", reason="vendor_pending", n=2, since=line.since)
    assert (report.mode, report.balanced, report.day, report.keep_until) == ("live", True, TODAY, date(2030, 5, 26))
    assert (report.code, report.config_version) != (None, None)
    assert report.config_digest == kept.value("select encode(digest, 'hex') from config_version order by 1 limit 1")


def test_the_proof_says_how_many_versions_went_and_when_it_was_read_that_none_is_left(kept, seaweed):
    key = kept.value("select object_key from recording limit 1")
    seaweed.client().put_object(Bucket=kept.settings.store_bucket, Key=key, Body=b"another version")
    kept.sweep()

    proof = tell(kept).proof

    first, last = kept.row("select min(absence_checked_at), max(absence_checked_at) from deletion")
    assert (proof.recordings, proof.versions_removed) == (4, 5)
    assert (proof.first_checked_at, proof.last_checked_at) == (first, last)
    assert proof.places == ("store.versions", "store.unfinished_uploads")


def test_a_night_counts_as_its_proof_only_what_went_in_it(kept):
    block(kept, "investigation", "a")
    kept.sweep("first", vendors={"linna": vendor_of(kept, manner="accepts", polls=0)})
    first = tell(kept, "first")
    kept.sql.execute("update blocker set ended_at = callkeeper_now()")
    kept.set_clock(LATER + timedelta(days=1))
    kept.sweep("second")

    second = tell(kept, "second")

    assert (first.proof.recordings, second.proof.recordings) == (3, 1)


def test_what_is_ahead_is_what_the_night_foresaw(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8)), Call(id="b", start=at(9), line=PHM)])
    office.run("import")
    block(office, "investigation", "b")
    with office.connect() as conn:
        blockers.cover(conn, office.value("select blocker from blocker"))
    office.set_clock(LATER - timedelta(days=9))
    office.sweep()

    report = tell(office)

    assert (report.ahead(1), report.ahead(30)) == ((0, 0), (2, 1))
    assert Ahead(horizon_days=30, controller="phm", due=1, blocked=1) in report.forecast


def test_only_what_nothing_blocks_is_overdue_after_48_hours(kept):
    block(kept, "investigation", "a")
    kept.set_clock(LATER + timedelta(days=3))
    with kept.connect() as conn:
        kept.armed(conn, "sweep")
        deleting.balance(conn, deletions.find_night(conn, "sweep"), ACTOR)

    report = tell(kept)

    due = datetime(2027, 5, 24, 21, tzinfo=UTC)
    assert report.overdue == (
        Overdue(controller="phm", n=1, oldest_due_at=due),
        Overdue(controller="punavaara", n=2, oldest_due_at=due),
    )


@pytest.mark.parametrize(
    ("blocked", "overdue"), [(False, [("punavaara", 3), ("phm", 1)]), (True, [("punavaara", 2), ("phm", 1)])]
)
def test_what_the_journal_does_not_know_is_overdue_too(kept, blocked, overdue):
    """A plan that failed for days must not make what it missed invisible."""
    if blocked:
        block(kept, "investigation", "a")
    kept.set_clock(LATER + timedelta(days=3))
    with kept.connect() as conn:
        night = deleting.open_night(conn, "sweep", ACTOR)
        kept.sql.execute("update night set planned_at = callkeeper_now() where night = %s", (night.night,))
        deleting.balance(conn, deletions.find_night(conn, "sweep"), ACTOR)

    assert sorted((o.controller, o.n) for o in tell(kept).overdue) == sorted(overdue)


def test_a_night_that_was_cut_off_is_closed_and_balanced_by_the_next(kept):
    with kept.connect() as conn:
        kept.armed(conn, "cut off")
        kept.set_clock(LATER + timedelta(days=1))
        night = deleting.open_night(conn, "next", ACTOR)
        closed = reporting.close_earlier(conn, night, ACTOR)
    kept.sweep("next")

    report = tell(kept, "next")

    assert closed == [TODAY]
    assert report.cut_off == (TODAY,)
    assert kept.rows("select run_key from night where not balanced or balanced is null") == []
    assert "cut off" in " ".join(a.text for a in found(kept, report) if a.red)


def test_telling_twice_changes_nothing(kept):
    kept.sweep()
    first = tell(kept)

    assert tell(kept) == first
    assert kept.value("select revision from night") == 1


# --- what it does not tell --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    ["investigation", "authority_preservation", "legal_claim", "complaint", "security", "other", "a kind to come"],
)
def test_every_hold_is_a_legal_ground_whatever_it_is(kept, kind):
    block(kept, kind, "a")
    block(kept, kind, "b")
    kept.sweep()

    report = tell(kept)

    blocked = {(w.controller, w.reason, w.n) for w in report.reasons if w.outcome == "blocked"}
    assert blocked == {("punavaara", "legal_ground", 1), ("phm", "legal_ground", 1)}
    assert report.why("blocked") == [("legal ground", 2)]


def test_a_recording_with_two_blockers_is_counted_once_the_strictest_first(kept):
    block(kept, "restriction", "a")
    block(kept, "access_freeze", "a")
    block(kept, "objection", "b")
    kept.sweep()

    report = tell(kept)

    assert sorted(w.reason for w in report.reasons if w.outcome == "blocked") == ["open_request", "restriction"]
    assert report.total("blocked") == 2


def test_a_reason_that_blocks_and_that_nobody_knows_reads_as_a_legal_ground():
    assert reporting.in_words("blocked", "authority_preservation") == "legal ground"


def test_no_number_reference_or_key_comes_out(kept):
    """Canaries: everything personal of the catalogue, before it went, in every spelling that it had."""
    block(kept, "authority_preservation", "b")
    secrets = canaries(kept)
    kept.sweep()
    report = tell(kept, holds=1)
    write(kept)
    alarms = found(kept, report, failures=("send_1",))
    mail = telling.message(report, alarms, link="https://example.fi/runbook")
    with kept.connect() as conn:
        month, proof = reporting.month(conn, TODAY.replace(day=1)), reporting.evidence(conn, report.night)
    outputs = {
        "json": proof.decode(),
        "html": reporting.as_html(report).decode(),
        "month": repr(month),
        "subject": mail.subject,
        "text": mail.text,
        "mail": mail.html or "",
        "deciders": telling.to_deciders(report, [a.text for a in alarms]).text,
        "note": telling.note(report, alarms),
        "keys": repr(prefix(kept)),
        "terminal": terminal(kept, reports.group, "show"),
    }

    leaks = {(where, what) for where, text in outputs.items() for what, secret in secrets.items() if secret in text}
    assert leaks == set()
    for text in outputs.values():
        assert "preservation" not in text
        assert "K-1" not in text


def canaries(office: Installation) -> dict[str, str]:
    """What of the catalogue's rows nobody may read, by name."""
    found: dict[str, str] = {}
    for number in (CALLER, OTHER, "0207001234", "0102708001"):
        digits = re.sub(r"\D", "", number).removeprefix("358").lstrip("0")
        found[number] = digits
    for row in office.rows("select object_key, version_id, pseudonym, identity, sha256, sealed_ref from recording"):
        for name, value in row._asdict().items():
            text = bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)
            found[f"{name} {text}"] = text
    assert len(found) > 10
    return found


def test_the_canaries_would_be_found(kept):
    """The search itself: a report that named an object's key would be caught by it."""
    keys = canaries(kept)

    leaked = f"deleted {kept.value('select object_key from recording limit 1')} of 040 1234501".replace(" ", "")

    assert {what.split()[0] for what, secret in keys.items() if secret in leaked} >= {"object_key", CALLER}


def test_the_page_needs_nothing_from_elsewhere_and_names_no_recording(kept):
    kept.sweep()
    recordings = [str(r.recording) for r in kept.rows("select recording from deletion")]

    page = reporting.as_html(tell(kept)).decode()

    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", page)
    assert [r for r in recordings if r in page] == []
    assert "<title>Deletion report, 2027-05-26</title>" in page


# --- the evidence -----------------------------------------------------------------------------------------------------


def test_the_evidence_has_a_receipt_of_each_recording_that_is_done(kept):
    block(kept, "investigation", "a")
    due = kept.value("select min(eligible_at) from recording")
    kept.sweep()
    report = tell(kept)

    receipts = evidence(kept, report)["receipts"]

    done = {str(r.recording) for r in kept.rows("select recording from deletion where state = 'done'")}
    assert {r["recording"] for r in receipts} == done
    assert len(done) == report.total("done") == 3
    for receipt in receipts:
        assert datetime.fromisoformat(receipt["due_at"]) == due
        assert receipt["absence_checked_at"] <= receipt["done_at"]
        facts = {k: receipt[k] for k in ("vendor", "trigger", "versions_removed", "vendor_answer", "vendor_confirmed")}
        assert facts == {
            "vendor": "linna",
            "trigger": "retention_expired",
            "versions_removed": 1,
            "vendor_answer": "deleted",
            "vendor_confirmed": True,
        }


def test_what_a_person_settled_between_two_nights_stands_in_the_next_nights_evidence(kept):
    kept.sweep("first", vendors={"linna": vendor_of(kept, manner="cannot")})
    first = tell(kept, "first")
    recording = kept.value("select recording from deletion order by 1 limit 1")
    with kept.connect() as conn:
        approving.settle(conn, recording, "vendor_closed", "officer", ACTOR)
    kept.set_clock(LATER + timedelta(days=1))
    kept.sweep("second", vendors={"linna": FakeVendor(manner="cannot")})

    told = evidence(kept, tell(kept, "second"))

    assert [s["recording"] for s in told["settled"]] == [str(recording)]
    assert told["settled"][0]["vendor_answer"] == "settled_by_person"
    assert (told["receipts"], evidence(kept, first)["settled"]) == ([], [])


def test_the_evidence_is_canonical_and_the_same_each_time(kept):
    kept.sweep()
    report = tell(kept)
    with kept.connect() as conn:
        first, second = (reporting.evidence(conn, report.night) for _ in range(2))

    assert first == second
    assert first.isascii()
    assert json.loads(first)["schema"] == "callkeeper.deletion_report/1"
    assert (json.dumps(json.loads(first), sort_keys=True, separators=(",", ":")) + "\n").encode() == first


# --- in the store -----------------------------------------------------------------------------------------------------


def test_the_report_stands_in_the_store_as_it_was_made(kept, shelf):
    kept.sweep()
    report = tell(kept)

    assert write(kept) == ""

    files = kept.value("select files from night")
    assert {kind: f["key"] for kind, f in files.items()} == {
        "json": f"reports/deletion/2027-05-26/{report.night}.json",
        "html": f"reports/deletion/2027-05-26/{report.night}.html",
    }
    with kept.connect() as conn:
        assert reporting.fetch(kept.app.store, files, "json") == reporting.evidence(conn, report.night)
    assert reporting.fetch(kept.app.store, files, "html") == reporting.as_html(report)


def test_a_report_that_somebody_changed_in_the_store_is_not_handed_out(kept):
    kept.sweep()
    tell(kept)
    write(kept)
    files = kept.value("select files from night")
    other = files["html"] | {"key": files["json"]["key"], "version_id": files["json"]["version_id"]}

    with pytest.raises(StoreConflict, match="not the one that was written"):
        reporting.fetch(kept.app.store, {"html": other}, "html")


def test_a_store_that_is_down_costs_no_report_the_next_night_writes_it(kept, monkeypatch):
    kept.sweep("first")
    tell(kept, "first")

    def down(*_, **__):
        raise StoreUnavailable("The object store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(type(kept.app.store), "put", down)
        why = write(kept)
    assert "does not answer" in why
    assert prefix(kept) == []
    kept.set_clock(LATER + timedelta(days=1))
    kept.sweep("second")
    tell(kept, "second")

    assert write(kept) == ""
    assert len(prefix(kept)) == 4


def test_a_night_that_is_counted_again_has_another_report_and_the_first_one_stays(kept, shelf):
    vendor = vendor_of(kept, manner="accepts", polls=0)
    kept.sweep(vendors={"linna": vendor})
    tell(kept)
    write(kept)
    before = kept.value("select files from night")
    kept.sweep(vendors={"linna": vendor})
    tell(kept)
    write(kept)
    after = kept.value("select files from night")

    assert after["json"]["key"].endswith("-2.json")
    assert reporting.fetch(kept.app.store, before, "json") != reporting.fetch(kept.app.store, after, "json")


def test_a_night_whose_number_came_again_after_a_restore_takes_the_next_name(kept, shelf):
    """What was written before is another night's evidence: it stays, and the new one is written beside it."""
    kept.sweep()
    report = tell(kept)
    write(kept)
    before = kept.value("select files from night")
    kept.sql.execute(
        "update night set files = null, revision = 1, summary = jsonb_set(summary, '{run}', '\"another\"')"
    )

    assert write(kept) == ""

    after = kept.value("select files from night")
    assert after["json"]["key"] == f"reports/deletion/2027-05-26/{report.night}-2.json"
    assert reporting.fetch(kept.app.store, before, "json") != reporting.fetch(kept.app.store, after, "json")


def test_writing_again_writes_nothing(kept):
    kept.sweep()
    tell(kept)
    write(kept)
    with kept.connect() as conn:
        assert reporting.write(conn, kept.app.store) == 0


# --- the month --------------------------------------------------------------------------------------------------------


@pytest.fixture
def may(kept: Installation) -> Installation:
    """Two nights of May, one of them without deletions, and a day between them without a night."""
    block(kept, "investigation", "a")
    kept.sweep("first")
    tell(kept, "first")
    kept.set_clock(LATER + timedelta(days=2))
    kept.sweep("third")
    tell(kept, "third")
    kept.set_clock(datetime(2027, 5, 31, 21, 30, tzinfo=UTC))  # 1 June, 00:30 in Helsinki
    return kept


def test_a_month_sums_its_nights_per_controller_and_names_the_days_without_one(may):
    with may.connect() as conn:
        summed = reporting.month(conn, date(2027, 5, 1))

    facts = {c.controller: (c.done, c.blocked, c.settled) for c in summed.controllers}
    assert facts == {"phm": (1, 0, 0), "punavaara": (2, 1, 0)}
    assert [n.run for n in summed.nights] == ["first", "third"]
    assert summed.missing == (date(2027, 5, 27), date(2027, 5, 29), date(2027, 5, 30), date(2027, 5, 31))


def test_the_first_night_of_a_month_puts_the_month_before_into_the_store_once(may):
    with may.connect() as conn:
        key = reporting.write_month(conn, may.app.store, date(2027, 6, 1))
        again = reporting.write_month(conn, may.app.store, date(2027, 6, 2))

    assert (key, again) == ("reports/deletion/2027-05.pdf", None)
    stored = may.app.store.head(key)
    try:
        assert may.app.store.open(key, stored.version_id).read().startswith(b"%PDF-1.7")
    finally:
        # The month has one name in the store, which the tests share.
        store = may.app.destroyer
        store.delete(list(store.versions(key)))


def test_a_month_without_a_night_has_no_report(may):
    with may.connect() as conn:
        assert reporting.write_month(conn, may.app.store, date(2027, 5, 2)) is None
        with pytest.raises(NotFound, match="2027-04"):
            reporting.month(conn, date(2027, 4, 1))


def test_the_pdf_is_tagged_and_the_same_for_the_same_figures(may):
    with may.connect() as conn:
        summed = reporting.month(conn, date(2027, 5, 1))

    made = reporting.as_pdf("Deletion report, May 2027", summed)

    assert made == reporting.as_pdf("Deletion report, May 2027", summed)
    assert [
        mark for mark in (b"/StructTreeRoot", b"pdfuaid:part", b"Deletion report, May 2027") if mark not in made
    ] == []


def test_a_page_that_cannot_be_set_says_so_without_its_figures(may, monkeypatch):
    import typst

    def broken(*_, **__):
        raise typst.TypstError("expected content, found 0401234501")

    monkeypatch.setattr("typst.compile", broken)
    with may.connect() as conn, pytest.raises(CallkeeperError, match=r"^The PDF could not be set\.") as wrong:
        reporting.as_pdf("x", reporting.month(conn, date(2027, 5, 1)))
    assert "0401234501" not in str(wrong.value)


# --- who is told ------------------------------------------------------------------------------------------------------


@dataclass
class Postbox:
    """A notifier that keeps what it is given."""

    sent: list[tuple[str, Message]] = field(default_factory=list)

    def send(self, message: Message, *, to: str = "") -> None:
        self.sent.append((to, message))


def mail(office: Installation, report: Report, alarms) -> Postbox:
    box = Postbox()
    with office.connect() as conn:
        telling.mail(
            conn, box, report, alarms, link="https://example.fi/runbook", privacy="officer@x", escalation="ceo@x"
        )
    return box


def test_a_good_night_is_told_once_to_the_data_team_only(kept):
    kept.sweep()
    report = tell(kept)
    alarms = found(kept, report)

    first, again = mail(kept, report, alarms), mail(kept, report, alarms)

    ((to, message),) = first.sent
    assert (to, message.subject) == ("", "callkeeper deletion 2027-05-26: balanced, 4 due, 4 done")
    assert "punavaara: 3 due = 3 done + 0 blocked" in message.text
    assert again.sent == []


def test_a_rehearsal_says_so_and_what_it_would_delete_is_no_alarm(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8))])
    office.run("import")
    office.set_clock(LATER + timedelta(days=9))
    office.sweep()
    report = tell(office)
    alarms = found(office, report)

    sent, asked, late = mail(office, report, alarms).sent

    assert [(a.red, a.deciders, a.late) for a in alarms] == [(False, True, True)]
    assert (asked[0], late[0]) == ("officer@x", "ceo@x")
    assert "Nights rehearse, and 1 recordings are past their term by more than 48 hours" in asked[1].text
    assert "rehearsal, 1 due, 0 done" in sent[1].subject
    assert "1 rehearsal: nothing goes before the privacy officer's yes" in sent[1].text
    assert "past their term by more than 48 hours: punavaara 1" in sent[1].text
    assert report.overdue[0].n == 1
    assert len(office.versions()) == 1


def test_an_address_that_is_refused_keeps_no_other_from_being_told(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8))])
    office.run("import")
    office.set_clock(LATER + timedelta(days=9))
    office.sweep()
    report = tell(office)
    told = []

    class Refusing:
        def send(self, message, *, to=""):
            if to == "officer@x":
                raise MailUnavailable("refused")
            told.append(to)

    with office.connect() as conn, pytest.raises(MailUnavailable):
        telling.mail(
            conn,
            Refusing(),
            report,
            found(office, report),
            link="https://x",
            privacy="officer@x",
            escalation="ceo@x",
        )

    assert told == ["", "ceo@x"]


def test_recordings_of_a_line_that_is_designated_no_more_are_told_to_those_who_decide(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8))])
    office.run("import")
    office.configure(
        ('number = "020 700 1234"\ncontroller = "punavaara"', 'number = "020 700 9999"\ncontroller = "punavaara"')
    )
    office.sweep()

    (alarm,) = found(office, tell(office))

    assert (alarm.deciders, "callkeeper approve unlawful" in alarm.text) == (True, True)
    assert alarm.text.startswith("1 recordings of a line that is not designated wait for a person's yes")


def surplus(office: Installation) -> Report:
    """A live night that finds what no forecast had foreseen."""
    deliver(office.linna, DAY, [Call(id="a", start=at(8)), Call(id="b", start=at(9))])
    office.run("import")
    office.go_live()
    office.set_clock(LATER)
    office.sweep()
    return tell(office)


def test_a_surplus_is_told_to_those_who_decide(office):
    report = surplus(office)
    alarms = found(office, report)

    sent = dict(mail(office, report, alarms).sent)

    assert report.awaiting == (Awaiting(waits="surplus", n=2, since=report.awaiting[0].since),)
    assert set(sent) == {"", "officer@x"}
    assert sent[""].subject.startswith("callkeeper deletion 2027-05-26: ALARM")
    assert "callkeeper approve surplus" in sent["officer@x"].text
    assert "Nobody has answered" not in sent["officer@x"].text


def test_a_surplus_that_nobody_answers_for_three_days_is_told_to_somebody_else(office):
    report = surplus(office)

    calm, late = found(office, report), found(office, report, days=3)

    assert [a.late for a in calm if a.deciders] == [False]
    sent = dict(mail(office, report, late).sent)
    assert "have not answered for three days" in sent["ceo@x"].text
    assert "2 more recordings than the forecast had foreseen" in sent["ceo@x"].text


def test_what_the_hold_register_needs_is_a_number_to_the_data_team_and_told_by_the_morning_not_by_the_night(kept):
    kept.sweep()
    report = tell(kept, holds=1)

    sent = mail(kept, report, found(kept, report)).sent

    assert [to for to, _ in sent] == [""]
    assert "1 matter" in sent[0][1].text


def test_a_red_night_is_told_again_when_it_is_balanced_again(kept):
    kept.sweep()
    report = tell(kept)
    alarms = found(kept, report, failures=("send_1",))

    assert len(mail(kept, report, alarms).sent) == len(mail(kept, report, alarms).sent) == 1


def test_a_store_that_refuses_and_a_vendor_that_is_down_are_alarms_with_what_to_do(kept):
    vendor = vendor_of(kept)
    vendor.fail("delete", "before", times=9)
    kept.sweep(vendors={"linna": vendor})
    report = tell(kept)
    texts = [a.text for a in found(kept, report, unwritten="The object store does not answer.") if a.red]

    assert [t for t in texts if t.startswith("linna: 4 open since") and "did not answer" in t]
    assert [t for t in texts if "not in the store yet: The object store does not answer." in t]


def test_what_a_vendor_cannot_do_is_told_and_keeps_no_night_red(kept):
    kept.sweep(vendors={"linna": vendor_of(kept, manner="cannot")})
    report = tell(kept)
    alarms = found(kept, report)

    assert [a.red for a in alarms] == [False]
    assert "callkeeper deletions settle" in alarms[0].text
    assert telling.word(report, alarms) == "balanced"


def test_a_difference_is_an_alarm(kept):
    kept.sweep()
    kept.sql.execute("update night_count set n = n + 1 where outcome = 'due' and controller = 'phm'")
    kept.sql.execute("update night set balanced = false")

    report = tell(kept)

    assert "phm: the night does not balance, +1 of 2 recordings." in [a.text for a in found(kept, report) if a.red]
    assert "does not balance" in reporting.as_html(report).decode()


def test_the_note_fits_on_a_run_and_begins_with_the_word(kept):
    kept.sweep()
    report = tell(kept)

    note = telling.note(report, found(kept, report))

    assert note.startswith("**2027-05-26: balanced**, 4 due: 4 done")
    assert "punavaara | 3 | 3" in note
    assert len(note) < 1000


# --- on the command line ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _settings_of_the_office(monkeypatch, request):
    if "office" in request.fixturenames:
        office = request.getfixturevalue("office")
        monkeypatch.setattr("callkeeper.settings.load", lambda **_: office.settings)


def terminal(office: Installation, command, *words: str, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(command, words, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_last_nights_and_one_night_can_be_read_on_the_terminal(kept):
    assert "No night has a report yet." in terminal(kept, reports.group)
    block(kept, "security", "a")
    kept.sweep()
    tell(kept)

    assert "2027-05-26" in terminal(kept, reports.group)
    shown = terminal(kept, reports.group, "show", "2027-05-26")
    assert "legal ground" in shown
    assert "3 recordings proven gone from the store, 3 versions removed" in shown


def test_a_report_is_written_into_a_file_in_each_format(kept, tmp_path):
    kept.sweep()
    report = tell(kept)
    write(kept)

    for kind, begins in (("html", b"<!doctype html>"), ("json", b'{"awaiting":'), ("pdf", b"%PDF-")):
        target = tmp_path / f"report.{kind}"
        terminal(kept, reports.group, "get", str(report.day), "--format", kind, "--to", str(target))
        assert target.read_bytes().startswith(begins)
    terminal(kept, reports.group, "month", "2027-05", "--to", str(tmp_path / "month.pdf"))
    assert (tmp_path / "month.pdf").read_bytes().startswith(b"%PDF-")


def test_a_day_without_a_night_is_said_to_have_none(kept):
    with pytest.raises(NotFound, match="2027-01-01"):
        terminal(kept, reports.group, "show", "2027-01-01")


def test_status_tells_of_the_last_night_to_people_and_programs(kept):
    assert "No night of deletions yet" in terminal(kept, status.status)
    kept.sweep()
    tell(kept)

    assert "open at vendor" in terminal(kept, status.status)
    (night,) = json.loads(terminal(kept, status.status, "--json"))["nights"]
    assert (night["day"], night["balanced"], night["mode"]) == ("2027-05-26", True, "live")
    assert sum(c["done"] for c in night["controllers"]) == 4


def bark(office: Installation) -> str:
    office.sql.execute("update import_run set ended_at = callkeeper_now(), balanced = true")  # imports are well
    result = CliRunner().invoke(watchdog.watchdog, catch_exceptions=False)
    return f"{result.exit_code} {result.output}"


def test_the_watchdog_is_quiet_before_the_first_night_while_nothing_has_been_due_for_long(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8))])
    office.run("import")

    assert bark(office).startswith("0 ")


def test_the_watchdog_barks_when_no_night_has_happened_and_something_is_due(kept):
    assert bark(kept).startswith("0 ")
    kept.set_clock(LATER + timedelta(hours=30))

    told = bark(kept)

    assert told.startswith("1 ")
    assert "No night of deletions has ended in balance yet." in told


def test_the_watchdog_barks_when_the_last_night_is_too_long_ago_or_did_not_balance(kept):
    kept.sweep()
    assert "The last balanced night of deletions ended at" in bark(kept)
    kept.set_clock(LATER + timedelta(hours=31))
    with kept.connect() as conn:
        kept.armed(conn, "under way")

    told = bark(kept)

    assert told.startswith("1 ")
    assert "more than 30 hours ago" in told
    assert "has not ended" in told


def test_a_night_is_known_by_its_run(kept):
    with kept.connect() as conn:
        opened = deleting.open_night(conn, "sweep", ACTOR)
        assert isinstance(deletions.find_night(conn, "sweep"), Night)
        assert opened.run_key == "sweep"
