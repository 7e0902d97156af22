"""Holds: at once on one person's word, lasting until two people end them, and kept by database and store alike."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner

from callkeeper import blockers, controllers, db
from callkeeper.blockers import Predicate
from callkeeper.commands import hold as command
from callkeeper.commands import keys as keys_command
from callkeeper.errors import MailUnavailable, NotAllowed, NotFound, StoreUnavailable
from callkeeper.jobs import deleting, holding, quarantining
from callkeeper.jobs.holding import ACTIONS, KINDS, DatesDoNotFit, Facts
from deliver import PHM, Call, deliver
from fakes.store import FakeStore
from installation import ACTOR, DAY, NOW, at

LATER = datetime(2027, 5, 26, 0, 30, tzinfo=UTC)
"""The night in which the calls of DAY are past their term."""
TODAY = date(2026, 11, 25)
CALLER, OTHER = "+358401234501", "+358401234502"
FACTS = Facts(authority="Helsingin poliisilaitos", reference="5530/R/1/26", ground="a threat in a call")
PEOPLE = ('approvers = ["approver"]', 'deputies = ["deputy"]\napprovers = ["approver"]')


@pytest.fixture
def office(office):
    """An officer, a deputy, an approver, the data team's account."""
    office.configure(PEOPLE)
    return office


@pytest.fixture
def kept(office):
    """Three calls in the catalogue: a and b of one caller, c of another one; b on the other company's line."""
    calls = [
        Call(id="a", start=at(8), caller=CALLER),
        Call(id="b", start=at(9), caller=CALLER, line=PHM),
        Call(id="c", start=at(10), caller=OTHER),
    ]
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


@pytest.fixture
def due(kept):
    """The same, their term over, deletion live, the last forecast an evening old."""
    kept.go_live()
    kept.set_clock(LATER - timedelta(days=1))
    kept.forecast()
    kept.set_clock(LATER)
    return kept


def numbers(office, *callers: str) -> tuple[bytes, ...] | None:
    return holding.of_numbers(office.app.keyring, callers)


def draft(office, kind="investigation", *, account="officer", wide=True, **predicate) -> str:
    """A drafted case, of that caller unless a predicate is given."""
    named = Predicate(**predicate or {"pseudonyms": numbers(office, CALLER)})
    with office.connect() as conn:
        case_ref, _ = holding.draft(
            conn, office.app.keyring, kind=kind, facts=FACTS, predicate=named, account=account, actor=ACTOR, wide=wide
        )
    return case_ref


def act(office, action, case_ref, account="officer", *, run=None, **dates):
    """One person's action, as the DAG and the command line do it."""
    with office.connect() as conn:
        return holding.act(
            conn,
            case_ref,
            action,
            account=account,
            duties=controllers.duties(conn, office.app.config, account),
            actor=replace(ACTOR, account=account, run=run),
            holder=office.app.holder,
            **dates,
        )


def placed(office, kind="investigation", **predicate) -> str:
    case_ref = draft(office, kind, **predicate)
    act(office, "place", case_ref)
    return case_ref


def settle(office, **more):
    with office.connect() as conn:
        return dict(holding.settle(conn, office.app.holder, ACTOR, **more))


def in_store(office) -> dict[UUID, bool]:
    """Which recordings' versions are there, and whether a legal hold stands on them."""
    rows = office.rows(
        "select recording, object_key, version_id from recording union all select recording, object_key, version_id from quarantine "
        "union all select recording, object_key, version_id from deletion where version_id is not null"
    )
    return {r.recording: office.app.holder.is_held(r.object_key, r.version_id) for r in rows}


def recording(office, caller=CALLER, line="+358207001234") -> UUID:
    return office.value(
        "select recording from recording where pseudonym = %s and line = %s", office.pseudonym(caller), line
    )


def cases(office, *, officer=True):
    with office.connect() as conn:
        return holding.register(conn, officer=officer)


# --- placing ----------------------------------------------------------------------------------------------------------


def test_one_persons_word_holds_at_once_in_the_database_and_in_the_store(kept):
    case_ref = draft(kept)
    assert set(in_store(kept).values()) == {False}

    done = act(kept, "place", case_ref)

    assert (done.effective, done.held, done.open, done.too_late) == (True, 2, 0, 0)
    held = {r.recording for r in kept.rows("select recording from recording where legal_hold")}
    assert held == {r for r, stands in in_store(kept).items() if stands}
    assert len(held) == 2
    assert recording(kept, OTHER) not in held


def test_what_is_held_stays_beyond_its_term_and_the_rest_goes(due):
    placed(due)

    balance = due.sweep("night")

    assert balance.balanced
    assert (balance.total("done"), balance.total("blocked")) == (1, 2)
    assert sorted(in_store(due).values()) == [True, True]


def test_a_hold_asked_for_at_ten_to_midnight_stands_when_deletion_begins(due):
    due.set_clock(datetime(2027, 5, 25, 20, 50, tzinfo=UTC))
    case_ref = draft(due)

    done = act(due, "place", case_ref)
    due.set_clock(datetime(2027, 5, 25, 21, 30, tzinfo=UTC))
    balance = due.sweep("night")

    assert done.effective
    assert "Another" not in done.text
    assert "A second person ratifies it by 28.05.2027." in done.text
    assert (balance.total("done"), balance.total("blocked")) == (1, 2)


def test_a_hold_covers_calls_still_to_come_and_they_stand_under_it_in_the_store(office):
    case_ref = placed(office)
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER), Call(id="c", start=at(9), caller=OTHER)])

    office.run("import")
    settle(office)

    assert office.rows("select legal_hold from recording where pseudonym = %s", office.pseudonym(CALLER)) == [(True,)]
    assert in_store(office) == {recording(office): True, recording(office, OTHER): False}
    assert cases(office)[0].recordings == 1
    assert act(office, "place", case_ref).held == 1


def test_the_trail_tells_that_and_by_whom_and_neither_kind_nor_person(kept):
    case_ref = placed(kept)
    act(kept, "ratify", case_ref, "approver")

    told = kept.events(
        "blocker.drafted",
        "blocker.placed",
        "legal_hold.placed",
        "blocker.effective",
        "blocker.ratified",
        "decision.made",
    )
    assert [e["action"] for e in told] == [
        "blocker.drafted", "blocker.placed", "decision.made", "legal_hold.placed", "legal_hold.placed",
        "blocker.effective", "blocker.ratified", "decision.made",
    ]  # fmt: skip
    assert [e["actor"]["account"] for e in told[1:]] == ["officer"] * 5 + ["approver"] * 2
    assert {e["subject"] for e in told if e["action"] == "decision.made"} == {case_ref}
    effective = next(e for e in told if e["action"] == "blocker.effective")
    assert (effective["recordings"], effective["too_late"]) == (2, 0)
    said = json.dumps(told)
    assert not re.search("investigation|poliisi|5530|pseudonym|kind", said)
    assert kept.pseudonym(CALLER).hex() not in said


def test_placed_again_it_is_one_hold(kept):
    case_ref = placed(kept)

    again = act(kept, "place", case_ref, "deputy")

    assert (again.effective, again.held) == (True, 2)
    assert kept.value("select count(*) from blocker") == 1
    assert kept.value("select placed_by from hold") == "officer"
    assert len(kept.events("blocker.placed")) == len(kept.events("blocker.effective")) == 1


def test_a_case_that_is_not_there_or_over_is_not_placed(kept):
    with pytest.raises(NotFound, match="There is no case"):
        act(kept, "place", "H-2026-9999")
    case_ref = placed(kept)
    for account in ("officer", "deputy"):
        act(kept, "release", case_ref, account)
    with pytest.raises(NotAllowed, match="has been released"):
        act(kept, "place", case_ref)


# --- drafting ---------------------------------------------------------------------------------------------------------


def test_cases_are_numbered_by_the_year(office):
    assert [draft(office), draft(office)] == ["H-2026-0001", "H-2026-0002"]
    office.set_clock(datetime(2027, 1, 1, 0, 1, tzinfo=NOW.tzinfo))
    assert draft(office) == "H-2027-0001"


@pytest.mark.parametrize(
    "predicate",
    [{}, {"controller": "phm"}, {"line": "+358207001234"}, {"from_at": at(8)}, {"recordings": (), "pseudonyms": ()}],
)
def test_a_predicate_is_never_a_wildcard(kept, predicate):
    with kept.connect() as conn, pytest.raises(NotAllowed, match="hold everything"):
        holding.preview(conn, Predicate(**predicate))


def test_the_tables_refuse_a_wildcard_whoever_writes_it(kept):
    draft(kept)
    for table, columns in (
        ("blocker", "kind, case_ref, placed_by, review_on"),
        ("hold_predicate", "case_ref, drafted_by"),
    ):
        values = {"blocker": "'other', 'H-2026-0001', 'x', '2026-12-01'", "hold_predicate": "'H-2026-0001', 'x'"}[table]
        for parts in ("null, null", "'{}', null", "'{}', 'phm'", "null, 'phm'"):
            key = {"blocker": "blocker", "hold_predicate": "predicate"}[table]
            with pytest.raises(Exception, match="never_a_wildcard"):
                kept.sql.execute(
                    f"insert into {table} ({key}, {columns}, pseudonyms, controller) values (gen_random_uuid(), {values}, {parts})"
                )


def test_what_would_be_held_is_said_before_per_controller(kept):
    with kept.connect() as conn:
        found = holding.preview(conn, Predicate(pseudonyms=numbers(kept, CALLER)))

    assert found.counts == {"phm": (1, 1), "punavaara": (1, 2)}
    assert found.recordings == 2


def test_wide_is_more_than_a_tenth_and_must_be_said(office):
    deliver(office.linna, DAY, [Call(id=f"r{n}", start=at(8, n), caller=OTHER) for n in range(18)])
    deliver(office.linna, DAY, [Call(id=f"s{n}", start=at(9, n), caller=CALLER) for n in range(2)], seq=2)
    office.run("import")

    assert draft(office, wide=False) == "H-2026-0001"
    with pytest.raises(NotAllowed, match="This is wide: 18 of 20 of punavaara"):
        draft(office, wide=False, pseudonyms=numbers(office, OTHER))
    with pytest.raises(NotAllowed, match="This is wide: 20 of 20"):
        draft(office, wide=False, controller="punavaara", from_at=at(0))
    assert draft(office, wide=True, controller="punavaara", from_at=at(0)) == "H-2026-0002"


def test_what_covers_nothing_must_be_able_to_cover_something_yet(kept):
    nobody = numbers(kept, "+358401234599")
    assert draft(kept, pseudonyms=nobody)
    assert draft(kept, pseudonyms=nobody, to_at=NOW - timedelta(days=30))
    with pytest.raises(NotAllowed, match="none that is still to come"):
        draft(kept, pseudonyms=nobody, to_at=NOW - timedelta(days=32))
    with pytest.raises(NotAllowed, match="none that is still to come"):
        draft(kept, recordings=(uuid4(),))


def test_a_kind_has_its_facts(kept):
    with kept.connect() as conn:
        for kind, facts in (
            ("other", Facts()),
            ("investigation", Facts(authority="x")),
            ("authority_preservation", Facts()),
        ):
            with pytest.raises(NotAllowed, match="needs"):
                holding.draft(
                    conn, kept.app.keyring, kind=kind, facts=facts, account="officer", actor=ACTOR,
                    predicate=Predicate(pseudonyms=numbers(kept, CALLER)),
                )  # fmt: skip
    assert kept.value("select count(*) from hold") == 0


def test_a_case_that_was_drafted_under_other_keys_is_drafted_again(kept, monkeypatch):
    case_ref = draft(kept)
    with monkeypatch.context() as patch:
        patch.setattr("callkeeper.wiring.build", lambda settings: kept.app)
        patch.setattr("callkeeper.commands.signin.sign_in", lambda app, account, roles: "data")
        rotated = CliRunner().invoke(keys_command.group, ["rotate", "pseudonym"], catch_exceptions=False)

    assert rotated.exit_code == 0
    kept.change_settings()
    with pytest.raises(NotAllowed, match="keys were rotated"):
        act(kept, "place", case_ref)
    again = draft(kept)
    assert act(kept, "place", again).held == 2, "a search asks for every live key"


# --- two people -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "may"),
    [
        ("officer", {*ACTIONS}),
        ("deputy", {*ACTIONS}),
        ("approver", {"ratify"}),
        ("data", set()),
        ("nobody", set()),
    ],
)
def test_who_may_be_the_first_to_do_what(office, account, may):
    done = set()
    for action in ACTIONS:
        case_ref = draft(office)
        if action != "place":
            act(office, "place", case_ref, "deputy" if account == "officer" else "officer")
        if action == "narrow":
            narrower(office, case_ref, to_at=at(8, 30))
        dates = {"review_on": TODAY + timedelta(days=60)} if action == "extend" else {}
        try:
            act(office, action, case_ref, account, **dates)
            done.add(action)
        except NotAllowed:
            pass

    assert done == may
    assert office.value("select count(*) > 0 from decision where account = %s", account) is bool(may - {"place"})


def narrower(office, case_ref, **by):
    with office.connect() as conn:
        return holding.draft_narrower(
            conn, office.app.keyring, case_ref=case_ref, by=Predicate(**by), account="officer", actor=ACTOR
        )


def test_who_placed_a_hold_cannot_ratify_it_and_another_account_can(kept):
    case_ref = placed(kept)

    with pytest.raises(NotAllowed, match="Another account must"):
        act(kept, "ratify", case_ref, "officer")
    act(kept, "ratify", case_ref, "deputy")

    assert kept.row("select ratified_by, ratified_at is not null from hold") == ("deputy", True)
    assert kept.rows("select action, account from decision order by 1") == [("place", "officer"), ("ratify", "deputy")]
    act(kept, "ratify", case_ref, "approver")
    assert kept.value("select ratified_by from hold") == "deputy", "ratified is ratified"


def test_a_release_takes_effect_with_the_second_account_only(due):
    case_ref = placed(due)

    first = act(due, "release", case_ref, "officer")
    again = act(due, "release", case_ref, "officer")

    assert first.waits
    assert again.waits
    assert "waits for a second person" in first.text
    assert due.value("select ended_at from blocker") is None
    assert due.sweep("first").total("blocked") == 2
    assert cases(due)[0].waiting == ("release, asked by officer",)

    done = act(due, "release", case_ref, "approver")

    assert not done.waits
    assert due.value("select ended_at is not null from blocker")
    assert due.value("select count(*) from recording where legal_hold is distinct from false") == 0
    assert set(in_store(due).values()) == {False}
    assert [e["why"] for e in due.events("blocker.ended")] == ["released"]
    assert due.rows("select account from decision where action = 'release' order by decision") == [
        ("officer",), ("officer",), ("approver",)
    ]  # fmt: skip


def test_a_holds_end_deletes_nothing_by_itself_and_the_next_night_does(due):
    case_ref = placed(due)
    due.sweep("first")

    for account in ("officer", "deputy"):
        act(due, "release", case_ref, account)
    assert due.value("select count(*) from recording") == 2

    assert due.sweep("second").total("done") == 2
    assert due.versions() == []


def test_what_another_blocker_covers_stays_under_its_legal_hold(due):
    case_ref = placed(due)
    due.block(recordings=(recording(due),))

    for account in ("officer", "deputy"):
        act(due, "release", case_ref, account)

    assert {r for r, stands in in_store(due).items() if stands} == {recording(due)}


def test_an_extension_takes_two_and_the_same_dates(kept):
    case_ref = placed(kept)
    later, latest = TODAY + timedelta(days=60), TODAY + timedelta(days=90)
    act(kept, "extend", case_ref, "officer", review_on=later)
    assert kept.value("select review_on from hold") == TODAY + timedelta(days=30)

    with pytest.raises(DatesDoNotFit, match="Other dates"):
        act(kept, "extend", case_ref, "deputy", review_on=latest)
    act(kept, "extend", case_ref, "deputy", review_on=later)

    assert kept.row("select h.review_on, b.review_on as blockers from hold h join blocker b using (blocker)") == (
        later,
        later,
    )
    assert [e["review_on"] for e in kept.events("blocker.extended")] == [later.isoformat()]


def test_who_asks_anew_takes_back_what_they_asked_for(kept):
    case_ref = placed(kept)
    latest = TODAY + timedelta(days=90)
    act(kept, "extend", case_ref, "officer", review_on=TODAY + timedelta(days=60))
    act(kept, "extend", case_ref, "officer", review_on=latest)

    act(kept, "extend", case_ref, "approver")

    assert kept.value("select review_on from hold") == latest


def test_what_nobody_confirmed_for_a_fortnight_is_no_longer_meant(kept):
    case_ref = placed(kept)
    act(kept, "release", case_ref, "officer")
    kept.later(days=14, hours=1)

    with pytest.raises(NotAllowed, match="Nobody has asked"):
        act(kept, "release", case_ref, "approver")
    assert act(kept, "release", case_ref, "deputy").waits
    assert kept.value("select ended_at from blocker") is None


def test_a_run_that_is_cleared_does_its_part_once(kept):
    case_ref = placed(kept)
    act(kept, "release", case_ref, "officer", run="first")
    assert act(kept, "release", case_ref, "officer", run="first").waits
    act(kept, "release", case_ref, "deputy", run="second")
    again = act(kept, "release", case_ref, "officer", run="first")

    assert again.text == f"{case_ref} is released, by two people."
    assert act(kept, "release", case_ref, "deputy", run="second").held == 0
    assert kept.value("select count(*) from hold_request") == 1


def test_a_narrowed_hold_lets_go_of_what_is_left_out_and_of_nothing_else(kept):
    case_ref = placed(kept)

    before, after = narrower(kept, case_ref, line="+358207001234")
    assert (before.recordings, after.recordings) == (2, 1)
    assert act(kept, "narrow", case_ref, "officer").waits
    assert sum(in_store(kept).values()) == 2
    done = act(kept, "narrow", case_ref, "approver")

    assert (done.effective, done.held) == (True, 1)
    assert {r for r, stands in in_store(kept).items() if stands} == {recording(kept)}
    old, new = kept.rows("select blocker, ended_at, line, pseudonyms from blocker order by ended_at nulls last")
    assert old.ended_at is not None
    assert (new.ended_at, new.line) == (None, "+358207001234")
    assert new.pseudonyms == old.pseudonyms
    assert [(e["blocker"], e["followed_by"]) for e in kept.events("blocker.ended")] == [
        (str(old.blocker), str(new.blocker))
    ]
    assert kept.value("select count(*) from hold where blocker = %s", new.blocker) == 1


def test_the_second_person_sees_what_she_says_yes_to(kept):
    case_ref = placed(kept)
    narrower(kept, case_ref, line="+358207001234")
    act(kept, "narrow", case_ref, "officer")
    act(kept, "extend", case_ref, "officer", review_on=TODAY + timedelta(days=60))

    with kept.connect() as conn:
        (case,) = holding.register(conn, officer=False, case_ref=case_ref)

    assert case.waiting == (
        "narrow to a number, line +358207001234, asked by officer",
        f"extend to a review on {TODAY + timedelta(days=60)}, asked by officer",
    )


def test_nothing_can_pass_between_the_wider_and_the_narrower_one(kept):
    """Both change in one transaction under the exclusive lock: whoever looks finds one of them."""
    case_ref = placed(kept)
    narrower(kept, case_ref, line="+358207001234")
    act(kept, "narrow", case_ref, "officer")
    live = "select count(*) from blocker b where covers(b, %s, 'punavaara', '+358207001234', %s, %s)"
    seen = []
    with kept.connect() as other, pytest.MonkeyPatch.context() as patch:

        def look(step):
            if step in ("hold.before_change", "hold.changed"):
                seen.append(other.execute(live, (recording(kept), kept.pseudonym(CALLER), at(8))).fetchone()[0])
                other.rollback()
                other.execute("set lock_timeout = '50ms'")
                if step == "hold.before_change":
                    with pytest.raises(Exception, match="lock timeout"):
                        db.lock_blockers(other, exclusive=False)
                    other.rollback()

        patch.setattr(holding, "reach", look)
        act(kept, "narrow", case_ref, "approver")

    assert seen == [1, 1]


@pytest.mark.parametrize(
    "by",
    [
        {"controller": "phm", "line": "+358207001234"},
        {"to_at": at(7)},
        {"recordings": (uuid4(),)},
    ],
)
def test_a_hold_is_not_narrowed_to_what_it_does_not_cover(kept, by):
    case_ref = placed(kept, pseudonyms=numbers(kept, CALLER), controller="punavaara", from_at=at(8))
    if "recordings" in by:
        case_ref = placed(kept, recordings=(recording(kept), recording(kept, OTHER)))

    with pytest.raises(NotAllowed, match="does not cover") if "line" not in by else pytest.raises(NotAllowed):
        narrower(kept, case_ref, **by)


def test_an_older_draft_does_not_widen_what_was_narrowed_since(kept):
    case_ref = placed(kept)
    narrower(kept, case_ref, controller="punavaara")
    kept.set_clock(NOW + timedelta(minutes=1))
    narrower(kept, case_ref, controller="phm")
    for account in ("officer", "deputy"):
        act(kept, "narrow", case_ref, account)

    with pytest.raises(NotAllowed):
        act(kept, "narrow", case_ref, "officer")
    assert {r for r, stands in in_store(kept).items() if stands} == {recording(kept, line="+358102708001")}


def test_narrowed_is_not_the_same_again(kept):
    case_ref = placed(kept)
    with pytest.raises(NotAllowed, match="leaves nothing out"):
        narrower(kept, case_ref, pseudonyms=numbers(kept, CALLER))
    with pytest.raises(NotAllowed, match="does not cover"):
        narrower(kept, case_ref, pseudonyms=numbers(kept, OTHER))


# --- dates, and what they must not tell -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "fits"),
    [
        ({}, True),
        ({"review_on": date(2026, 11, 26)}, True),
        ({"review_on": date(2026, 11, 25)}, False),
        ({"review_on": date(2027, 11, 25)}, True),
        ({"review_on": date(2027, 11, 26)}, False),
        ({"ends_on": date(2027, 2, 25)}, True),
        ({"ends_on": date(2027, 2, 26)}, False),
        ({"ends_on": date(2026, 11, 25)}, False),
    ],
)
def test_the_same_dates_fit_every_kind(office, dates, fits):
    """A preservation order lasts three months at most; a refusal that others do not get would tell it."""
    refusals = set()
    for kind in KINDS:
        case_ref = draft(office, kind)
        try:
            act(office, "place", case_ref, **dates)
        except DatesDoNotFit as refused:
            refusals.add(str(refused))

    assert len(refusals) == (0 if fits else 1)
    assert office.value("select count(*) from blocker") == (len(KINDS) if fits else 0)


def test_a_preservation_order_ends_after_three_months_unless_it_is_renewed(kept):
    kept.set_clock(datetime(2026, 11, 30, 12, tzinfo=NOW.tzinfo))
    case_ref = placed(kept, "authority_preservation")
    assert kept.value("select ends_on from hold") == date(2027, 2, 28), "the month's last day"

    kept.set_clock(datetime(2027, 2, 20, 12, tzinfo=NOW.tzinfo))
    with pytest.raises(DatesDoNotFit):
        act(kept, "extend", case_ref, ends_on=date(2027, 5, 21))
    for account in ("officer", "deputy"):
        act(kept, "extend", case_ref, account, ends_on=date(2027, 5, 20))

    assert kept.value("select ends_on from hold") == date(2027, 5, 20)


def test_a_preservation_order_looks_like_any_hold_to_whoever_is_no_officer(kept):
    seen = {}
    for kind in ("authority_preservation", "complaint"):
        case_ref = draft(kept, kind)
        texts = [act(kept, "place", case_ref).text, act(kept, "ratify", case_ref, "deputy").text]
        texts += [
            act(kept, "extend", case_ref, a, review_on=TODAY + timedelta(days=40)).text for a in ("officer", "deputy")
        ]
        with kept.connect() as conn:
            shown = holding.show(conn, case_ref, None)[0]
            found = [a.text for a in holding.alarms(conn)]
        texts += [act(kept, "release", case_ref, a).text for a in ("officer", "deputy")]
        events = [
            {k: v for k, v in e.items() if k not in ("at", "blocker", "recording", "decision", "scope", "subject")}
            for e in kept.events()
            if e["action"].startswith(("blocker.", "legal_hold.", "decision."))
        ]
        seen[kind] = json.dumps([texts, found, replace(shown, waiting=()).__repr__(), events], default=str).replace(
            case_ref, "CASE"
        )
        kept._first_event = kept.value("select max(id) from event")

    assert seen["authority_preservation"] == seen["complaint"]


UUIDS_TIMES_AND_NUMBERS = re.compile(
    rb'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|"at":"[^"]{27}"|"due_at":"[^"]{27}"|"decision":\d+|"scope":"[0-9a-f]{64}"'
    rb'|"night":\d+|"delivery":\d+|"config_version":\d+|(?<="subject":")[^"]+'
)


@pytest.mark.parametrize("kind", ["investigation", "other"])
def test_the_trails_bytes_are_the_same_whether_it_is_a_preservation_order_or_not(office, kind):
    """What an auditor or anybody else can see of it: bodies, classes, lengths, and which were written together."""

    def life(of_kind: str) -> list[tuple[str, int, bytes]]:
        office.reset()
        office.configure(PEOPLE)
        calls = [Call(id=name, start=at(8 + n), caller=CALLER) for n, name in enumerate("ab")]
        deliver(office.linna, DAY, [*calls, Call(id="c", start=at(11), caller=OTHER)])
        office.run("import")
        office.go_live()
        office.set_clock(LATER - timedelta(days=1))
        office.forecast()
        office.set_clock(LATER)
        case_ref = placed(office, of_kind)
        act(office, "ratify", case_ref, "deputy")
        office.sweep("first")
        for account in ("officer", "deputy"):
            act(office, "extend", case_ref, account, ends_on=LATER.date() + timedelta(days=70))
        narrower(office, case_ref, from_at=at(9))
        for action in ("narrow", "release"):
            for account in ("officer", "deputy"):
                act(office, action, case_ref, account)
        office.sweep("second")
        rows = office.rows(
            "select class as of, dense_rank() over (order by xid) as together, body from event where id > %s order by id",
            office._first_event,
        )
        return [(r.of, r.together, UUIDS_TIMES_AND_NUMBERS.sub(b"?", bytes(r.body))) for r in rows]

    hidden, open_ = life("authority_preservation"), life(kind)

    assert sum(b'"blocker.' in body or b'"deletion.blocked' in body for _, _, body in hidden) >= 10
    assert hidden == open_


def test_the_register_shows_kinds_to_officers_only(kept):
    placed(kept, "authority_preservation")

    (officers,), (others,) = cases(kept), cases(kept, officer=False)

    assert (officers.ground, officers.ends_on) == ("authority preservation", date(2027, 2, 25))
    assert (others.ground, others.ends_on) == ("legal ground", None)
    assert (others.state, others.recordings, others.review_on) == ("effective", 2, TODAY + timedelta(days=30))


def test_a_cases_facts_are_sealed_and_the_officer_reads_them(kept):
    case_ref = placed(kept)

    with kept.connect() as conn:
        _, facts, named, late = holding.show(conn, case_ref, kept.app.keyring)
        _, hidden, _, _ = holding.show(conn, case_ref, None)

    assert (facts, hidden, late) == (FACTS, None, [])
    assert named == Predicate(pseudonyms=numbers(kept, CALLER))
    sealed = kept.value("select sealed_facts from hold")
    assert b"poliisi" not in bytes(sealed)


# --- alarms -----------------------------------------------------------------------------------------------------------


def levels(office):
    with office.connect() as conn:
        return [(a.level, re.sub(r"H-\d{4}-\d{4}", "CASE", a.text)) for a in holding.alarms(conn)]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(days=2, hours=23), []),
        (timedelta(days=3, hours=1), ["privacy"]),
        (timedelta(days=5, hours=23), ["privacy"]),
        (timedelta(days=6, hours=1), ["privacy", "escalation"]),
    ],
)
def test_not_ratified_is_an_alarm_and_never_a_release(office, after, expected):
    case_ref = placed(office)
    office.set_clock(NOW + after)

    assert [level for level, _ in levels(office)] == expected
    assert office.value("select ended_at from blocker") is None

    act(office, "ratify", case_ref, "approver")
    assert levels(office) == []


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 12, 25), []),
        (date(2026, 12, 26), ["privacy"]),
        (date(2027, 1, 8), ["privacy"]),
        (date(2027, 1, 9), ["privacy", "escalation"]),
    ],
)
def test_a_review_that_nobody_made_is_an_alarm(office, day, expected):
    act(office, "ratify", placed(office), "approver")
    office.set_clock(datetime(day.year, day.month, day.day, 12, tzinfo=NOW.tzinfo))

    assert [level for level, _ in levels(office)] == expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2027, 2, 10), []),
        (date(2027, 2, 11), [("privacy", "CASE: its ground ends in 14 days. Extend or release it.")]),
        (
            date(2027, 2, 27),
            [
                ("privacy", "CASE: its ground ends 2 days ago. Extend or release it."),
                ("escalation", "CASE: nobody has extended or released it in time. It stays in force."),
            ],
        ),
    ],
)
def test_the_end_of_a_preservation_order_is_told_to_the_officers_a_fortnight_before(office, day, expected):
    case_ref = draft(office, "authority_preservation")
    act(office, "place", case_ref, review_on=date(2027, 6, 1))
    act(office, "ratify", case_ref, "approver")
    office.set_clock(datetime(day.year, day.month, day.day, 12, tzinfo=NOW.tzinfo))

    assert levels(office) == expected
    assert office.value("select ended_at from blocker") is None


# --- the store, in line with the blockers -----------------------------------------------------------------------------


@pytest.fixture
def faked(kept):
    """The same calls, their objects in a store in memory that fails when it is told to."""
    store = FakeStore()
    for row in kept.rows("select recording, object_key from recording"):
        version = store.add(row.object_key)
        kept.sql.execute(
            "update recording set version_id = %s where recording = %s", (version.version_id, row.recording)
        )
    vars(kept.app).update(store=store.as_importer, destroyer=store.as_destroyer, holder=store.as_holder)
    kept.fake = store
    return kept


@pytest.fixture
def faked_due(faked):
    faked.go_live()
    faked.set_clock(LATER - timedelta(days=1))
    faked.forecast()
    faked.set_clock(LATER)
    return faked


def flags_and_store(office) -> set[tuple[bool, bool | None]]:
    flags = dict(office.rows("select recording, legal_hold from recording"))
    return {(flags[r], stands) for r, stands in in_store(office).items()}


@pytest.mark.parametrize("mode", ["before", "after", "refused", "twice"])
def test_a_store_that_fails_does_not_undo_a_hold_and_a_later_run_finishes_it(faked, monkeypatch, mode):
    case_ref = draft(faked)
    monkeypatch.setattr(holding, "WAIT_SECONDS", 0.0)
    faked.fake.fail("hold", mode)
    with faked.connect() as conn:
        done = holding.place(conn, case_ref, "officer", ACTOR, faked.app.holder, wait_seconds=0)

    assert faked.value("select count(*) from blocker where ended_at is null") == 1
    if mode != "twice":
        assert not done.effective
        assert (done.held + done.open, done.open > 0) == (2, True)
        assert "the store has not confirmed all of it" in done.text
        assert [level for level, _ in levels(faked)] == []
        faked.later(hours=2)
        assert [level for level, _ in levels(faked)] == ["privacy"]
    settle(faked)

    assert act(faked, "place", case_ref).effective
    assert flags_and_store(faked) == {(True, True), (False, False)}


def test_a_store_that_is_down_is_asked_once_and_not_for_every_recording(faked, monkeypatch):
    monkeypatch.setattr(holding, "BATCH", 1)
    case_ref = draft(faked)
    faked.fake.fail("hold", "before", times=100)

    with faked.connect() as conn:
        holding.place(conn, case_ref, "officer", ACTOR, faked.app.holder, wait_seconds=0)

    assert faked.fake.calls.count("hold") == 1
    assert faked.value("select count(*) from recording where legal_hold is null") == 1


@pytest.mark.parametrize("mode", ["before", "after", "refused"])
def test_a_release_that_the_store_does_not_answer_is_lifted_later(faked, mode):
    case_ref = placed(faked)
    faked.fake.fail("release", mode)

    for account in ("officer", "deputy"):
        act(faked, "release", case_ref, account)
    assert (None in {flag for flag, _ in flags_and_store(faked)}) is True
    settle(faked)

    assert flags_and_store(faked) == {(False, False)}


class _KilledError(BaseException):
    pass


STEPS = sorted(set(re.findall(r'reach\("(hold\.\w+)"\)', Path(holding.__file__).read_text())))


def test_the_steps_of_holding_are_named():
    assert len(STEPS) >= 10


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_of_placing_and_of_releasing_it_ends_the_same(faked, monkeypatch, step):
    case_ref = draft(faked)
    steps = [("place", "officer"), ("release", "officer"), ("release", "deputy")]
    reached = []

    def killed(at_step):
        if at_step == step and at_step not in reached:
            reached.append(at_step)
            raise _KilledError

    monkeypatch.setattr(holding, "reach", killed)
    for action, account in steps:
        for _ in range(2):  # the second time as the task's next try
            try:
                act(faked, action, case_ref, account, run=f"{action} {account}")
                break
            except _KilledError:
                continue
        if action == "place":
            settle(faked)
            assert flags_and_store(faked) == {(True, True), (False, False)}
            assert faked.value("select count(*) from hold where effective_at is not null") == 1
    settle(faked)

    assert reached == [step]
    assert flags_and_store(faked) == {(False, False)}
    assert faked.value("select count(*) from hold where released_at is not null") == 1
    events = [e["action"] for e in faked.events() if e["action"].startswith(("blocker.", "legal_hold."))]
    assert sorted(events) == sorted([
        "blocker.drafted", "blocker.placed", "blocker.effective", "blocker.change_asked", "blocker.ended",
        *["legal_hold.placed"] * 2, *["legal_hold.lifted"] * 2,
    ])  # fmt: skip


def test_a_hold_placed_while_another_is_being_lifted_ends_under_a_legal_hold(faked):
    """The lifter has looked, and its call to the store is on its way: the second hold waits for it and sets it right."""
    case_ref = placed(faked)
    act(faked, "release", case_ref, "officer")
    mine = recording(faked)
    real, again = faked.app.holder, []

    class Slow:
        hold, is_held = real.hold, real.is_held

        def release(self, key, version_id):
            if not again:
                again.append(faked.block(recordings=(mine,)))
            return real.release(key, version_id)

    vars(faked.app)["holder"] = Slow()
    act(faked, "release", case_ref, "deputy")
    settle(faked)

    assert {r for r, stands in in_store(faked).items() if stands} == {mine}
    assert faked.rows("select recording from recording where legal_hold") == [(mine,)]


def test_what_waits_in_quarantine_or_for_its_deletion_is_held_too(office):
    deliver(
        office.linna,
        DAY,
        [Call(id="a", start=at(8), caller=CALLER, ms=3100),
         Call(id="b", start=at(9), caller=CALLER, ms=3100)],
    )  # fmt: skip
    office.run("import")
    assert office.value("select count(*) from quarantine where version_id is not null") == 2
    rejected = office.value("select recording from quarantine order by started_at limit 1")
    with office.connect() as conn:
        quarantining.reject(conn, recording=rejected, account="officer", actor=ACTOR)

    done = act(office, "place", draft(office))

    assert (done.held, done.effective) == (2, True)
    assert set(in_store(office).values()) == {True}
    assert office.value("select legal_hold from deletion") is True
    assert office.value("select legal_hold from quarantine") is True


def test_a_call_that_leaves_quarantine_while_its_legal_hold_is_being_placed_is_set_right(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER, ms=3100)])
    office.run("import")
    placed(office)
    # the store has not been asked yet
    waiting = office.row("select object_key, version_id from quarantine")
    office.app.holder.release(waiting.object_key, waiting.version_id)
    office.sql.execute("update quarantine set legal_hold = null")
    with office.connect() as conn:
        call = office.value("select recording from quarantine")
        quarantining.release(conn, recording=call, account="officer", actor=ACTOR)

    office.run("next", DAY + timedelta(days=1))
    settle(office)

    assert office.rows("select recording, legal_hold from recording") == [(call, True)]
    assert in_store(office) == {call: True}


CORRECTED = [
    Call(id="a", start=at(8), caller=OTHER),
    Call(id="b", start=at(9), caller=CALLER, line=PHM),
    Call(id="c", start=at(10), caller=CALLER),
]
"""What the vendor says of the three calls a day later: a was the other caller's, c was this one's."""


def test_what_a_hold_has_covered_stays_held_when_the_vendor_corrects_it_out_of_the_hold(due):
    case_ref = placed(due)
    mine = recording(due)
    deliver(due.linna, DAY, CORRECTED, seq=2)

    due.run("corrected")
    settle(due)
    balance = due.sweep("night")

    assert in_store(due)[mine] is True
    assert (balance.total("done"), balance.total("blocked")) == (0, 3)
    assert [e["recording"] for e in due.events("blocker.kept")] == [str(mine)]
    assert cases(due)[0].corrected == 1
    with due.connect() as conn:
        (told,) = [a.text for a in holding.alarms(conn) if "corrected" in a.text]
    assert told.startswith(f"{case_ref}: the vendor corrected 1 of its recordings out of what it names")
    due.set_clock(LATER + timedelta(days=8))
    with due.connect() as conn:
        assert not [a.text for a in holding.alarms(conn) if "corrected" in a.text], "it has been said for a week"


def test_what_was_corrected_out_of_a_hold_goes_once_people_narrow_it_to_what_it_names(kept):
    case_ref = placed(kept)
    mine = recording(kept)
    deliver(kept.linna, DAY, CORRECTED, seq=2)
    kept.run("corrected")

    narrower(kept, case_ref)
    for account in ("officer", "deputy"):
        act(kept, "narrow", case_ref, account)

    stands = in_store(kept)
    assert stands.pop(mine) is False
    assert list(stands.values()) == [True, True]
    assert cases(kept)[0].corrected == 0


def test_what_waits_in_quarantine_under_a_hold_stays_held_when_it_is_corrected(office):
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=CALLER, ms=3100)])
    office.run("import")
    placed(office)
    (call,) = in_store(office)
    assert in_store(office) == {call: True}
    deliver(office.linna, DAY, [Call(id="a", start=at(8), caller=OTHER, ms=3100)], seq=2)

    office.run("corrected")
    settle(office)

    assert in_store(office) == {call: True}
    assert [e["recording"] for e in office.events("blocker.kept")] == [str(call)]


def test_what_is_held_at_the_vendor_only_stays_held_there_when_the_hold_is_narrowed(due):
    mine = recording(due)
    case_ref = draft(due, controller="punavaara", from_at=at(7))
    gone_too_late(due, case_ref)
    assert due.value("select state from deletion where recording = %s", mine) == "store_gone"

    narrower(due, case_ref, line="+358207001234")
    for account in ("officer", "deputy"):
        act(due, "narrow", case_ref, account)
    due.sweep("next")

    assert due.value("select state from deletion where recording = %s", mine) == "store_gone"


def gone_too_late(office, case_ref) -> None:
    """A night in whose middle the case is placed: everything has been sent, and the vendor is asked when it is placed."""
    with office.connect() as conn:
        night = office.armed(conn, "night")
        rules = office.app.deleting_rules()

        class Late:
            def __getattr__(self, name):
                return getattr(office.app.destroyer, name)

            def delete(self, versions):
                act_once()
                return office.app.destroyer.delete(versions)

        def act_once():
            if office.value("select placed_at from hold") is None:
                with office.connect() as other:
                    holding.place(other, case_ref, "officer", ACTOR, Silent(), wait_seconds=0)

        for lane in (1, 2):
            deleting.send(conn, night, Late(), lane=lane, rules=rules, actor=ACTOR)
        settle(office)


class Silent:
    """A store that does not answer."""

    def hold(self, key, version_id):
        raise StoreUnavailable("It does not answer.")

    release = is_held = hold


def test_what_a_holds_window_covers_at_a_vendor_only_is_said_and_told_before_it_goes_there(kept):
    case_ref = draft(kept, line="+358207001234", from_at=at(0, day=DAY - timedelta(days=2)))

    done = act(kept, "place", case_ref)

    said = "linna, 3 (22.11.2026 to 25.11.2026, the first kept there until 22.12.2026)"
    assert f"Days of its window that are not imported yet: {said}." in done.text
    assert cases(kept)[0].not_imported == (said,)
    kept.set_clock(NOW + timedelta(days=24))
    with kept.connect() as conn:
        assert [a.text for a in holding.alarms(conn) if "imported" in a.text] == []
    kept.set_clock(NOW + timedelta(days=25))
    with kept.connect() as conn:
        (told,) = [a.text for a in holding.alarms(conn) if "imported" in a.text]
    assert told.startswith(
        f"{case_ref}: of its window days are not imported, and the vendor deletes the first soon: linna, 28 ("
    )


def test_days_that_a_vendor_keeps_no_longer_are_said_and_days_that_are_here_are_not(kept):
    absent = DAY - timedelta(days=1)
    kept.sql.execute("insert into delivery_day (vendor, day, state) values ('linna', %s, 'absent')", (absent,))
    placed(kept, line="+358207001234", from_at=at(0, day=absent), to_at=at(0, day=DAY + timedelta(days=1)))
    kept.set_clock(NOW + timedelta(days=60))

    assert cases(kept)[0].not_imported == ("linna, 1 that it keeps no longer",)
    kept.sql.execute("update delivery_day set state = 'complete'")
    assert cases(kept)[0].not_imported == ()


def test_a_hold_of_recordings_waits_for_no_day(kept):
    assert "imported" not in act(kept, "place", draft(kept, recordings=(recording(kept),))).text


def test_a_hold_of_one_number_is_found_by_the_index_among_many(office):
    office.sql.execute(
        "insert into recording (recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym,"
        " pseudonym_key, identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels,"
        " sample_rate_hz, legal_hold, delivery, retention_months)"
        " select gen_random_uuid(), 'phm', 'linna', '+358102708001', 'inbound', %s, 1, 'known', int4send(n), 'k', int4send(n), 'x', 'x',"
        " 'rec/' || n, 'v', 'x', 1, 1, 'pcm_s16le', 1, 8000, false, 1, 6 from generate_series(1, 30000) n",
        (at(9),),
    )
    office.sql.execute("analyze recording")
    hold = office.block(pseudonyms=((7).to_bytes(4, "big"), (8).to_bytes(4, "big")))
    scans = "select seq_scan from pg_stat_user_tables where relname = 'recording'"

    def after_flush() -> int:
        office.sql.execute("select pg_stat_force_next_flush()")
        return office.value(scans)

    with office.connect() as conn:
        blockers.cover(conn, hold)  # the connection's caches
        conn.execute("select pg_stat_force_next_flush()")
        conn.commit()
        before = after_flush()
        office.sql.execute("delete from blocker_cover")
        assert blockers.cover(conn, hold) == 2
        conn.execute("select pg_stat_force_next_flush()")
        conn.commit()
        assert after_flush() == before


# --- too late ---------------------------------------------------------------------------------------------------------


def sending(office, monkeypatch):
    """Everything armed and moved to ``sending``; then the worker dies before it asks the store."""

    def dies(step):
        if step == "send.sending":
            raise _KilledError

    with office.connect() as conn, monkeypatch.context() as patch:
        night = office.armed(conn, "night")
        patch.setattr(deleting, "reach", dies)
        with pytest.raises(_KilledError):
            deleting.send(conn, night, office.app.destroyer, lane=1, rules=office.app.deleting_rules(), actor=ACTOR)
    assert office.value("select count(*) from deletion where state = 'sending'") == 3
    return night


def test_a_deletion_that_was_sent_by_a_dead_worker_is_stopped_by_the_store(faked_due, monkeypatch):
    night = sending(faked_due, monkeypatch)
    case_ref = draft(faked_due)
    with faked_due.connect() as conn:
        done = holding.place(conn, case_ref, "officer", ACTOR, faked_due.app.holder, wait_seconds=1)
    assert (done.effective, done.held, done.too_late) == (True, 2, 0)

    # the worker was not dead: it wakes up, and what it does no longer counts
    late = [
        SimpleNamespace(key=r.object_key, version_id=r.version_id)
        for r in faked_due.rows("select object_key, version_id from recording")
    ]
    refused = faked_due.app.destroyer.delete(late)
    assert sorted(refused.values()) == ["denied", "denied"]
    with faked_due.connect() as conn:
        deleting.send(conn, night, faked_due.app.destroyer, lane=1, rules=faked_due.app.deleting_rules(), actor=ACTOR)
    assert sorted(r.state for r in faked_due.rows("select state from deletion")) == ["blocked", "blocked", "store_gone"]
    assert in_store(faked_due) == {recording(faked_due): True, recording(faked_due, line="+358102708001"): True}


def test_a_hold_waits_for_the_worker_that_is_at_it(faked_due, monkeypatch):
    night = sending(faked_due, monkeypatch)
    case_ref = draft(faked_due)
    polls = []

    def worker_ends(seconds):
        polls.append(seconds)
        if len(polls) == 3:
            with faked_due.connect() as conn:
                deleting.send(
                    conn, night, faked_due.app.destroyer, lane=1, rules=faked_due.app.deleting_rules(), actor=ACTOR
                )

    monkeypatch.setattr(holding.time, "sleep", worker_ends)
    done = act(faked_due, "place", case_ref)

    assert done.effective
    assert polls == [holding.POLL_SECONDS] * 3
    assert faked_due.value("select count(*) from deletion where state = 'blocked'") == 2


def test_what_was_already_gone_is_listed_and_said(faked_due, monkeypatch):
    sending(faked_due, monkeypatch)
    gone, other = recording(faked_due), recording(faked_due, line="+358102708001")
    row = faked_due.row("select object_key as key, version_id from recording where recording = %s", gone)
    faked_due.app.destroyer.delete([row])
    case_ref = draft(faked_due)

    with faked_due.connect() as conn:
        done = holding.place(conn, case_ref, "officer", ACTOR, faked_due.app.holder, wait_seconds=1)
        _, _, _, late = holding.show(conn, case_ref, None)

    assert (done.effective, done.held, done.too_late) == (True, 1, 1)
    assert "For 1 it was too late" in done.text
    assert late == [gone]
    assert [e["recording"] for e in faked_due.events("blocker.too_late")] == [str(gone)]
    assert faked_due.events("blocker.effective")[0]["too_late"] == 1
    assert in_store(faked_due)[other] is True


def test_what_was_proven_gone_while_the_hold_was_being_placed_is_listed_though_no_row_tells_any_more(
    faked_due, monkeypatch
):
    night = sending(faked_due, monkeypatch)
    case_ref = draft(faked_due)
    gone = {recording(faked_due), recording(faked_due, line="+358102708001")}

    def worker(step):
        if step == "hold.placed":
            # it had asked the store before the hold was there, and proves it now
            with faked_due.connect() as conn, monkeypatch.context() as patch:
                patch.setattr(deleting, "_destroy", real_destroy)
                rows = faked_due.rows("select object_key as key, version_id from recording")
                faked_due.app.destroyer.delete(rows)
                deleting.send(
                    conn, night, faked_due.app.destroyer, lane=1, rules=faked_due.app.deleting_rules(), actor=ACTOR
                )

    real_destroy = deleting._destroy
    monkeypatch.setattr(holding, "reach", worker)
    done = act(faked_due, "place", case_ref)

    assert faked_due.value("select count(*) from recording") == 0
    assert (done.held, done.too_late, done.effective) == (0, 2, True)
    with faked_due.connect() as conn:
        assert set(holding.show(conn, case_ref, None)[3]) == gone


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def say(kept, monkeypatch):
    """The command line, signed in as whoever is named by --as."""

    def sign_in(app, account, roles):
        with app.connect() as conn:
            if controllers.duties(conn, app.config, account).isdisjoint(roles):
                raise NotAllowed("This account may not do this.")
        return account

    monkeypatch.setattr("callkeeper.wiring.build", lambda settings: kept.app)
    monkeypatch.setattr("callkeeper.commands.signin.sign_in", sign_in)

    def run(*words, typed=None, group=command.group):
        done = CliRunner(env={"COLUMNS": "200"}).invoke(group, [str(w) for w in words], input=typed)
        return done.output if done.exception is None else done.exception

    return run


@pytest.fixture
def why(tmp_path):
    """Why a case holds, from a file."""
    (tmp_path / "why").write_text("authority: Helsingin poliisilaitos\nreference: 5530/R/1/26\n")
    return "--kind", "investigation", "--facts", tmp_path / "why"


@pytest.mark.parametrize("how", ["asked", "file", "standard input"])
def test_why_a_case_holds_is_no_argument(kept, say, tmp_path, how):
    facts = {"kind": "other", "authority": "Helsingin poliisilaitos", "reference": "5530/R/1/26", "ground": "a threat"}
    lines = "".join(f"{name}: {value}\n" for name, value in facts.items())
    (tmp_path / "facts").write_text(lines)
    words, typed = {
        "asked": ((), "".join(f"{value}\n" for value in facts.values())),
        "file": (("--facts", tmp_path / "facts"), None),
        "standard input": (("--facts", "-"), lines),
    }[how]

    said = say("draft", *words, "--recording", recording(kept), "--wide", "--as", "officer", typed=typed)

    assert "H-2026-0001" in said
    with kept.connect() as conn:
        case, sealed, _, _ = holding.show(conn, "H-2026-0001", kept.app.keyring)
    assert (case.ground, sealed) == (
        "other", Facts(authority=facts["authority"], reference=facts["reference"], ground=facts["ground"]),
    )  # fmt: skip


def test_a_fact_that_is_none_is_refused_and_not_repeated(kept, say, tmp_path):
    (tmp_path / "facts").write_text("kind: investigation\nMatti Meikäläinen\n")
    wrong = say("draft", "--facts", tmp_path / "facts", "--recording", recording(kept), "--as", "officer")
    assert str(wrong).startswith("Line 2 of the facts is none that is known.")
    assert "Matti" not in str(wrong)


class Mailbox:
    """A relay that takes mails, or is away."""

    def __init__(self):
        self.mails, self.away = [], False

    def send(self, message, *, to=""):
        if self.away:
            raise MailUnavailable("It does not answer.")
        self.mails.append((to, message.subject, message.text))


@pytest.fixture
def box(kept):
    kept.change_settings(smtp_host="relay", mail_privacy="officer@x")
    vars(kept.app)["notifier"] = box = Mailbox()
    return box


def test_the_officers_get_one_mail_of_a_hold_that_is_placed_in_the_same_words_for_every_kind(kept, box, say):
    for kind in KINDS:
        draft(kept, kind)
    box.away = True
    say("place", "H-2026-0001", "--as", "officer")
    assert box.mails == []
    box.away = False

    for n in range(2, len(KINDS) + 1):
        say("place", f"H-2026-000{n}", "--as", "officer")
        say("place", f"H-2026-000{n}", "--as", "officer")

    assert [to for to, *_ in box.mails] == ["officer@x"] * len(KINDS)
    words = {
        re.sub(r"at 02:1\d", "at 02:15", re.sub(r"H-2026-000\d", "CASE", f"{subject}\n{text}"))
        for _, subject, text in box.mails
    }
    assert words == {
        "callkeeper: CASE was placed\nCASE was placed on 25.11.2026 at 02:15, and is in force.\n\n"
        "A second person ratifies it by 28.11.2026: `callkeeper hold ratify CASE`, or the DAG legal_hold.\n"
        "Its first review is on 25.12.2026. What it is about: `callkeeper hold show CASE --as` you.\n"
    }


def test_a_case_is_drafted_with_an_unseen_number_placed_and_shown(kept, say, why):
    drafted = say("draft", *why, "--number", "--wide", "--as", "officer", typed="040 123 4501\n")

    assert "H-2026-0001" in drafted
    assert re.search(r"punavaara +1 of 2 \(50\.0 %\)", drafted)
    assert not re.search(r"123.?4501", drafted)
    assert "placed and effective" in say("place", "H-2026-0001", "--as", "officer")
    assert "5530/R/1/26" in say("show", "H-2026-0001", "--as", "deputy")
    to_others = say("show", "H-2026-0001")
    assert "legal ground" in to_others
    assert not re.search("5530|poliisi|investigation", to_others)


def test_numbers_come_from_a_file_too_and_one_that_is_none_is_not_repeated(kept, say, why, tmp_path):
    (tmp_path / "numbers").write_text("040 123 4501\n\n+358 40 123 4502\n")
    (tmp_path / "faulty").write_text("040 123 4501\nMatti 7\n")

    assert re.search(
        "punavaara +2 of 2", say("draft", *why, "--numbers", tmp_path / "numbers", "--wide", "--as", "officer")
    )
    assert str(say("draft", *why, "--numbers", tmp_path / "faulty", "--as", "officer")).startswith(
        "Number 2 of 2 is none"
    )


def test_a_callers_number_is_no_line(kept, say, why):
    wrong = say("draft", *why, "--line", CALLER, "--from", "2026-11-24", "--as", "officer")
    assert isinstance(wrong, NotAllowed)
    assert "4501" not in str(wrong)


def test_days_are_helsinkis_and_the_last_one_is_included(kept, say, why):
    said = say(
        "draft", *why, "--line", "020 700 1234", "--from", "2026-11-24", "--to", "2026-11-24", "--wide", "--as", "officer"
    )  # fmt: skip
    assert re.search("punavaara +2 of 2", said)
    assert kept.row("select from_at, to_at from hold_predicate") == (at(0), at(0) + timedelta(days=1))


def test_a_case_is_narrowed_and_released_on_the_command_line_by_two(kept, say, why):
    say("draft", *why, "--number", "--wide", "--as", "officer", typed="0401234501\n")
    say("place", "H-2026-0001", "--as", "officer")

    assert "covers 2 recordings now, and 1" in say(
        "draft", "--case", "H-2026-0001", "--controller", "phm", "--as", "deputy"
    )
    assert "waits for a second person" in say("narrow", "H-2026-0001", "--as", "deputy")
    assert "is narrowed, by two people. It holds 1" in say("narrow", "H-2026-0001", "--as", "approver")
    say("release", "H-2026-0001", "--as", "deputy")
    assert "waits for a second person" in say(group=command.register)
    assert "is released, by two people." in say("release", "H-2026-0001", "--as", "officer")
    assert json.loads(say("--json", group=command.register))[0]["state"] == "released"


def test_the_data_team_places_nothing_and_sees_no_kind(kept, say):
    case_ref = draft(kept)
    assert isinstance(say("place", case_ref, "--as", "data"), NotAllowed)
    assert isinstance(say("--as", "approver", group=command.register), NotAllowed)
    assert "legal ground" in say(group=command.register)
