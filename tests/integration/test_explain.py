"""One recording explained: its clock, where it is, what blocks it as the asker may see it, and what comes next."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper import db, retention
from callkeeper.clock import HELSINKI
from callkeeper.commands import explain as command
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import explaining
from callkeeper.retention import BlockerKind, Schedule, StaffUse, SubjectCopy, Trigger
from deliver import Call, deliver
from installation import ACTOR, DAY, at

ELIGIBLE = datetime(2027, 5, 25, 0, 0, tzinfo=HELSINKI)
"""When the calls of DAY may go."""
NIGHT = ELIGIBLE + timedelta(minutes=30)


@pytest.fixture
def kept(office):
    """One call in the catalogue."""
    deliver(office.linna, DAY, [Call(id="a", start=at(8))])
    office.run("import")
    return office


@pytest.fixture
def recording(kept) -> UUID:
    return kept.value("select recording from recording")


def explain(office, recording, *, officer=False):
    with office.connect() as conn:
        return explaining.explain(conn, recording, months=6, officer=officer)


def hold(office, kind: str = "investigation", **predicate) -> UUID:
    blocker = office.block(**predicate)
    office.sql.execute("update blocker set kind = %s where blocker = %s", (kind, blocker))
    return blocker


# --- the clock and what comes next ------------------------------------------------------------------------------------


def test_in_its_term_it_says_the_anniversary_and_the_night_in_which_it_goes(kept, recording):
    e = explain(kept, recording)

    assert (e.place, e.controller, e.vendor, e.state) == ("catalogue", "punavaara", "linna", None)
    assert e.where == "In the catalogue since 2026-11-25; its audio is in the store."
    assert (e.clock.anniversary, e.clock.eligible_at) == (date(2027, 5, 24), ELIGIBLE)
    assert not e.expired
    assert (e.next, e.next_at) == ("It goes in the first night after its anniversary.", NIGHT)
    assert (e.outcome.staff, e.outcome.schedule) == (StaffUse.listener, Schedule.no)


def test_expired_while_nights_rehearse_it_waits_for_going_live(kept, recording):
    kept.set_clock(ELIGIBLE + timedelta(minutes=1))

    e = explain(kept, recording)

    assert e.expired
    assert e.outcome.staff is StaffUse.nobody
    assert "approve go-live" in e.next


def test_expired_and_live_it_goes_in_the_next_night(kept, recording):
    kept.go_live()
    kept.set_clock(ELIGIBLE + timedelta(minutes=1))

    e = explain(kept, recording)

    assert (e.next, e.next_at) == ("It goes in the next night.", NIGHT)


def test_an_unforeseen_one_waits_for_a_persons_yes(kept, recording):
    kept.go_live()
    kept.set_clock(NIGHT)
    kept.sweep("night")

    assert "callkeeper approve surplus" in explain(kept, recording).next


def test_an_orphan_nobody_explains_waits_for_a_persons_yes(kept):
    stray = uuid4()
    kept.sql.execute(
        "insert into deletion (recording, vendor, trigger, object_key, version_id, waits) values (%s, 'linna', 'orphan', %s, 'v', 'approval')",
        (stray, f"rec/2027-05-25/{stray}"),
    )

    e = explain(kept, stray)

    assert e.outcome.schedule is Schedule.undecided
    assert "callkeeper approve orphans" in e.next
    assert e.clock is None


def test_a_deleted_ones_evidence_is_told_and_its_clock_is_gone(kept, recording):
    kept.go_live()
    kept.set_clock(NIGHT - timedelta(days=1))
    kept.forecast()
    kept.set_clock(NIGHT)
    kept.sweep("night")

    e = explain(kept, recording)

    assert (e.place, e.where, e.clock) == ("gone", "Gone, here and at the vendor.", None)
    assert (e.next, e.next_at) == ("Nothing: this is the end.", None)
    assert e.outcome.copy is SubjectCopy.no_data
    proof = e.evidence
    assert (proof.due_at, proof.trigger, proof.catalogued) == (ELIGIBLE, "retention_expired", True)
    assert (proof.versions_removed, proof.vendor_answer, proof.vendor_confirmed) == (1, "deleted", True)
    assert proof.night == date(2027, 5, 25)
    assert ELIGIBLE < proof.absence_checked_at <= proof.done_at


def test_an_open_line_at_the_vendor_says_why_and_what_to_do(kept, recording):
    kept.sql.execute(
        "insert into deletion (recording, vendor, trigger, state, trouble, vendor_answer, absence_checked_at, store_gone_at) "
        "values (%s, 'linna', 'retention_expired', 'store_gone', 'vendor_refused', 'refused', callkeeper_now(), callkeeper_now())",
        (recording,),
    )
    kept.sql.execute("delete from recording")

    e = explain(kept, recording)

    assert (e.where, e.trouble) == ("Gone here; its vendor's copy is not settled.", "vendor_refused")
    assert "callkeeper deletions settle" in e.next
    kept.block(recordings=(recording,))
    assert explain(kept, recording).next == "The vendor is not asked, for a legal ground."


def test_what_needs_a_person_says_so(kept, recording):
    kept.sql.execute(
        "insert into deletion (recording, vendor, trigger, state, trouble) values (%s, 'linna', 'retention_expired', 'needs_human', 'key_missing')",
        (recording,),
    )

    assert explain(kept, recording).next.startswith(
        "A person mends it. Gone here; the vendor's reference cannot be opened"
    )


def test_a_quarantined_one_says_why_and_by_when_a_person_decides(office):
    deliver(office.linna, DAY, [Call(id="a", start=None)])
    office.run("import")
    row = office.row("select recording, delivered_at, decide_by from quarantine")

    e = explain(office, row.recording)

    assert e.place == "quarantine"
    assert "The record has no usable time." in e.where
    assert e.clock.started_at == row.delivered_at
    assert (e.outcome.schedule, e.next_at) == (Schedule.undecided, row.decide_by)


def test_a_rejected_call_is_in_the_journal_only(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8), direction="internal")])
    office.run("import")
    call = office.value("select recording from quarantine")
    from callkeeper.jobs import quarantining

    with office.connect() as conn:
        quarantining.reject(conn, recording=call, account="officer", actor=ACTOR)
    office.go_live()

    e = explain(office, call)

    assert (e.place, e.state, e.outcome.schedule) == ("journal", "planned", Schedule.at_once)
    assert e.rule == "It goes because a person rejected it in quarantine."
    assert e.next == "It goes in the next night."


def test_an_id_that_nobody_knows_gets_a_clear_sentence(kept):
    with pytest.raises(NotFound, match="No recording of this id is known here"):
        explain(kept, uuid4())


# --- what blocks it, as the asker may see it --------------------------------------------------------------------------


def test_what_blocks_it_is_counted_for_all_and_named_for_officers_only(kept, recording):
    hold(kept, "legal_claim", controller="punavaara", from_at=at(0))
    hold(kept, "authority_preservation", recordings=(recording,))
    hold(kept, "security", controller="phm", from_at=at(0))
    kept.set_clock(NIGHT)

    plain, officers = explain(kept, recording), explain(kept, recording, officer=True)

    assert (plain.legal_grounds, plain.grounds) == (2, ())
    assert plain.next.startswith("It stays, for 2 legal grounds.")
    assert {g.kind for g in officers.grounds} == {"legal_claim", "authority_preservation"}
    assert (plain.outcome.copy, officers.outcome.copy) == (SubjectCopy.officer, SubjectCopy.secrecy)


HOLD_KINDS = sorted(retention.HOLDS)


@pytest.mark.parametrize("kind", HOLD_KINDS)
def test_nothing_that_others_read_tells_a_preservation_order_from_any_hold(kept, recording, kind, run):
    hold(kept, "complaint", recordings=(recording,))
    usual = run(recording, "--json").output, run(recording).output
    kept.sql.execute("update blocker set kind = %s", (kind,))

    assert (run(recording, "--json").output, run(recording).output) == usual
    assert kind not in usual[0] + usual[1]


def test_a_hold_that_has_ended_blocks_nothing(kept, recording):
    blocker = hold(kept, recordings=(recording,))
    kept.sql.execute("update blocker set ended_at = callkeeper_now() where blocker = %s", (blocker,))

    assert explain(kept, recording).legal_grounds == 0


def test_a_kind_that_nobody_knows_blocks(kept, recording):
    hold(kept, "made_up_later", recordings=(recording,))
    kept.set_clock(NIGHT)

    e = explain(kept, recording)

    assert e.outcome.schedule is Schedule.no
    assert e.legal_grounds == 1


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def run(kept, monkeypatch):
    monkeypatch.setattr(command.settings, "load", lambda: kept.settings)

    def sign_in(app, account, roles):
        if account != "officer":
            raise NotAllowed(f"{account} may not do this.")
        return account

    monkeypatch.setattr("callkeeper.commands.signin.sign_in", sign_in)

    def invoke(*words):
        return CliRunner(env={"COLUMNS": "200"}).invoke(command.explain, [str(w) for w in words])

    return invoke


def test_the_command_tells_it_in_helsinki_time(run, recording):
    lines = run(recording).output.splitlines()

    assert [line.split("  ")[0] for line in lines] == [
        "recording", "controller", "vendor", "where", "rule", "call started", "anniversary", "may go from", "legal grounds",
        "staff use", "next",
    ]  # fmt: skip
    assert lines[5].split("  ")[-1].strip() == "2026-11-24 08:00 Helsinki"
    assert lines[-1].endswith("It goes in the first night after its anniversary. (2027-05-25 00:30 Helsinki)")


def test_an_officer_who_signs_in_sees_the_grounds_and_nobody_else_can(run, kept, recording):
    hold(kept, "authority_preservation", recordings=(recording,))

    officers, others = run(recording, "--as", "officer"), run(recording, "--as", "data")

    since = f"{kept.value('select placed_at from blocker').astimezone(HELSINKI):%Y-%m-%d %H:%M}"
    assert f"K-1: authority_preservation, since {since} Helsinki, review 2026-11-24" in officers.output
    assert isinstance(others.exception, NotAllowed)


def test_programs_read_json(run, recording):
    body = json.loads(run(recording, "--json").output)

    assert body["recording"] == str(recording)
    assert body["outcome"] == {"staff": "listener", "copy": "officer", "schedule": "no", "erasure": "officer"}


def test_a_deleted_ones_evidence_is_printed(run, kept, recording):
    kept.go_live()
    kept.set_clock(NIGHT - timedelta(days=1))
    kept.forecast()
    kept.set_clock(NIGHT)
    kept.sweep("night")

    output = run(recording).output

    assert "due             2027-05-25 00:00 Helsinki" in output
    assert "versions        1 removed" in output
    assert "vendor          deleted; looked at again: gone" in output
    assert ", night of 2027-05-25" in output
    assert "staff use" not in output


@pytest.mark.parametrize(
    ("after", "night"),
    [
        ("2026-11-24T22:29:00", "2026-11-24T22:30:00"),
        ("2026-11-24T22:30:00", "2026-11-24T22:30:00"),
        ("2026-11-24T22:31:00", "2026-11-25T22:30:00"),
        ("2027-03-27T22:31:00", "2027-03-28T21:30:00"),  # the night with 23 hours
        ("2026-10-24T21:31:00", "2026-10-25T22:30:00"),  # the night with 25
    ],
)
def test_the_next_night_begins_at_half_past_twelve_in_helsinki(after, night):
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)

    assert explaining.next_night(moment) == datetime.fromisoformat(night).replace(tzinfo=UTC)


# --- the sweep's SQL decides as the function does ---------------------------------------------------------------------

FACTS = st.fixed_dictionaries(
    {
        "place": st.sampled_from(["catalogue", "quarantine", "journal"]),
        "state": st.sampled_from(["planned", "blocked"]),
        "trigger": st.sampled_from([t.value for t in Trigger]),
        "started": st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
        "waits": st.sampled_from([None, "surplus", "approval"]),
        "decided": st.booleans(),
        "blockers": st.lists(
            st.tuples(
                st.sampled_from(
                    [k.value for k in BlockerKind if k not in (BlockerKind.quarantine,)] + ["made_up_later"]
                ),
                st.sampled_from(["recording", "pseudonym", "line", "controller", "other_line", "before"]),
                st.booleans(),
            ),
            max_size=3,
        ),
    }
)


@settings(max_examples=150, deadline=None)
@given(facts=FACTS)
def test_the_sweeps_sql_and_the_decision_agree(conn_of_examples, facts):
    conn = conn_of_examples
    recording = _generate(conn, facts)
    try:
        q = db.queries()
        row = q.explain_recording(conn, recording=recording)
        kinds = [b.kind for b in q.explain_blockers(conn, recording=recording)]
        (verdict,) = [
            r.verdict
            for r in q.arm_verdicts(
                conn, planned_at=row.now, after_at=datetime(1, 1, 1, tzinfo=UTC), after=UUID(int=0), limit=100
            )
            if r.recording == recording
        ] or ["not due"]
        clock = explaining.clock_of(row, 6)
        s = explaining.situation(row, kinds, clock)
    finally:
        conn.rollback()

    waiting = facts["waits"] is not None and not facts["decided"]
    blocked = bool(retention.blocks(Trigger(facts["trigger"]), s.blockers))
    expected = "blocked" if blocked else "waiting" if waiting else "armed"
    if facts["trigger"] == "retention_expired" and facts["place"] == "catalogue" and not clock.expired(row.now):
        expected = "withdrawn"
    assert verdict == expected
    if verdict == "armed":
        assert retention.may_go(s)
    if verdict in ("blocked", "withdrawn"):
        assert not retention.may_go(s)


@pytest.fixture(scope="module")
def conn_of_examples(settings):
    """A connection whose every example is rolled back; the owner may write anywhere."""
    with db.connect(settings, "owner") as conn:
        yield conn


def _generate(conn: db.Connection, facts) -> UUID:
    """Rows of one recording in that state."""
    recording, pseudonym = uuid4(), b"p" * 32
    conn.execute(
        "insert into config_version (applied_by, digest, body) overriding system value values ('t', '', '{}') returning version"
    )
    version = conn.execute("select max(version) from config_version").fetchone()[0]
    conn.execute(
        "insert into controller values ('c', 'C', '1', '{fi}', '2023-09-12', 'L', 'H', '{}', %s, null) on conflict do nothing",
        (version,),
    )
    common = {"recording": recording, "at": facts["started"], "pseudonym": pseudonym, "key": f"rec/x/{recording}"}
    if facts["place"] == "catalogue":
        conn.execute(
            "insert into recording (recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym, "
            "identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels, sample_rate_hz, legal_hold, "
            "delivery, retention_months) values (%(recording)s, 'c', 'v', '+358100', 'inbound', %(at)s, 1, 'known', %(pseudonym)s, "
            "%(key)s::bytea, '', '', %(key)s, 'v', '', 1, 1, 'c', 1, 1, false, 1, 6)",
            common,
        )
    elif facts["place"] == "quarantine":
        conn.execute(
            "insert into quarantine (recording, run, vendor, day, delivery, identity, revision, sealed_ref, delivered_at, started_at, line, "
            "controller, caller_state, pseudonym, media_status, door_faults, object_key, reason, decide_by, counts_from) values "
            "(%(recording)s, 1, 'v', '2026-01-01', 1, %(key)s::bytea, '', '', %(at)s, %(at)s, '+358100', 'c', 'known', %(pseudonym)s, "
            "'available', '{}', %(key)s, 'line_undesignated', %(at)s, %(at)s)",
            common,
        )
    # A row of the catalogue or of quarantine has the facts; the journal of such a one has none of its own.
    own = facts["place"] != "catalogue"
    decision = (
        conn.execute(
            "insert into decision (subject, action, account, scope) values ('s', 'a', 'o', '') returning decision"
        ).fetchone()[0]
        if facts["decided"]
        else None
    )
    conn.execute(
        "insert into deletion (recording, vendor, controller, trigger, state, waits, decision, line, pseudonym, started_at, due_at) "
        "values (%s, 'v', 'c', %s, %s, %s, %s, %s, %s, %s, '2026-01-01')",
        (
            recording, facts["trigger"], facts["state"], facts["waits"], decision,
            "+358100" if own else None, pseudonym if own else None, facts["started"] if own else None,
        ),
    )  # fmt: skip
    for kind, by, ended in facts["blockers"]:
        predicate = {
            "recording": {"recordings": [recording]},
            "pseudonym": {"pseudonyms": [pseudonym]},
            "line": {"line": "+358100", "from_at": facts["started"]},
            "controller": {"controller": "c", "from_at": facts["started"] - timedelta(days=1)},
            "other_line": {"line": "+358200", "from_at": facts["started"]},
            "before": {"line": "+358100", "from_at": facts["started"] - timedelta(days=2), "to_at": facts["started"]},
        }[by]
        values = {
            "recordings": None,
            "pseudonyms": None,
            "line": None,
            "controller": None,
            "from_at": None,
            "to_at": None,
        } | predicate
        conn.execute(
            "insert into blocker (blocker, kind, case_ref, recordings, pseudonyms, line, controller, from_at, to_at, placed_by, review_on, "
            "ended_at) values (gen_random_uuid(), %(kind)s, 'K', %(recordings)s, %(pseudonyms)s, %(line)s, %(controller)s, %(from_at)s, "
            "%(to_at)s, 'o', '2030-01-01', %(ended)s)",
            values | {"kind": kind, "ended": facts["started"] if ended else None},
        )
    return recording
