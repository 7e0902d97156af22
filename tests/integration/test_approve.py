"""A person's yes: to exactly what she saw, carried out by the night that follows, by whoever may say it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner

from callkeeper import decisions
from callkeeper.commands import approve as command
from callkeeper.commands.deletions import group as deletions_group
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import approving
from callkeeper.jobs.approving import ScopeChanged, Subject
from deliver import PHM, Call, deliver
from installation import ACTOR, DAY, at

LATER = datetime(2027, 5, 26, 0, 30, tzinfo=UTC)
"""The night in which the calls of DAY are past their term."""
PHM_LATER = ('controller = "phm"\nfrom = 2023-09-12', 'controller = "phm"\nfrom = 2026-12-01')
"""A register in which the line of phm was not designated on DAY."""


@pytest.fixture
def kept(office):
    """Two calls of punavaara and one of phm in the catalogue, in their term."""
    calls = [Call(id="a", start=at(8)), Call(id="b", start=at(9), line=PHM), Call(id="c", start=at(10))]
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


def propose(office, subject, controller=None):
    with office.connect() as conn:
        return approving.propose(conn, subject, controller)


def approve(office, seen, account="officer"):
    with office.connect() as conn:
        return approving.approve(conn, seen, account, ACTOR)


def figures(proposal):
    return [(f.controller, f.what, f.n) for f in proposal.figures]


def orphan(office) -> UUID:
    """An object that no row explains, as the reconciliation plans it."""
    recording = uuid4()
    office.sql.execute(
        "insert into deletion (recording, vendor, trigger, object_key, version_id, waits) values (%s, 'linna', 'orphan', %s, 'v', 'approval')",
        (recording, f"rec/2027-05-25/{recording}"),
    )
    return recording


# --- going live -------------------------------------------------------------------------------------------------------


def test_without_a_rehearsal_nobody_can_say_yes_to_going_live(kept):
    with pytest.raises(NotAllowed, match="No rehearsal has ended"):
        propose(kept, Subject.go_live)


def test_going_live_shows_the_last_rehearsals_figures_and_the_next_night_deletes(kept):
    kept.set_clock(LATER)
    kept.sweep("rehearsal")
    seen = propose(kept, Subject.go_live)

    decision = approve(kept, seen)
    kept.set_clock(LATER + timedelta(days=1))
    night = kept.sweep("live")

    assert seen.n == 3
    assert ("phm", "due", 1) in figures(seen)
    assert ("punavaara", "waiting rehearsal", 2) in figures(seen)
    assert night.night.live
    assert kept.value(
        "select subject || ' ' || action || ' ' || account from decision where decision = %s", decision
    ) == ("go_live approve officer")


def test_a_rehearsal_between_the_look_and_the_yes_is_another_scope(kept):
    kept.set_clock(LATER)
    kept.sweep("rehearsal")
    seen = propose(kept, Subject.go_live)
    kept.sweep("another")

    with pytest.raises(ScopeChanged):
        approve(kept, seen)
    assert kept.value("select count(*) from decision") == 0


def test_nights_that_are_live_need_no_second_yes(kept):
    kept.set_clock(LATER)
    kept.sweep("rehearsal")
    approve(kept, propose(kept, Subject.go_live))

    with pytest.raises(NotAllowed, match="live since 2027-05-26, by officer"):
        propose(kept, Subject.go_live)


def test_a_rehearsal_that_did_not_balance_is_no_ground_for_going_live(kept):
    kept.set_clock(LATER)
    kept.sweep("rehearsal")
    kept.sql.execute("update night set balanced = false")

    with pytest.raises(NotAllowed, match="did not balance"):
        propose(kept, Subject.go_live)


# --- a surplus --------------------------------------------------------------------------------------------------------


@pytest.fixture
def surplus(kept):
    """A live night without a forecast before it: all that is due is a surplus."""
    kept.go_live()
    kept.set_clock(LATER)
    night = kept.sweep("night")
    assert night.reasons("waiting") == {"surplus": 3}
    return kept


def test_a_surplus_goes_in_the_night_after_the_yes(surplus):
    seen = propose(surplus, Subject.surplus)
    decision = approve(surplus, seen, "approver")
    surplus.set_clock(LATER + timedelta(days=1))

    assert surplus.sweep("next").total("done") == 3
    assert figures(seen) == [("phm", "since 2027-05-26", 1), ("punavaara", "since 2027-05-26", 2)]
    assert {r.decision for r in surplus.rows("select decision from deletion")} == {decision}
    (event,) = [e for e in surplus.events("decision.made") if e["subject"] == "surplus"]
    assert (
        event["scope"] == decisions.scope_of(r.recording for r in surplus.rows("select recording from deletion")).hex()
    )


def test_a_yes_for_one_controller_leaves_the_others_waiting(surplus):
    approve(surplus, propose(surplus, Subject.surplus, "phm"))

    assert figures(propose(surplus, Subject.surplus)) == [("punavaara", "since 2027-05-26", 2)]


def test_one_more_that_waits_makes_the_yes_another(surplus):
    seen = propose(surplus, Subject.surplus)
    surplus.sql.execute(
        "insert into deletion (recording, vendor, controller, trigger, waits) values (%s, 'linna', 'phm', 'retention_expired', 'surplus')",
        (uuid4(),),
    )

    with pytest.raises(ScopeChanged):
        approve(surplus, seen)
    assert surplus.value("select count(*) from deletion where decision is not null") == 0
    assert [e for e in surplus.events("decision.made") if e["subject"] == "surplus"] == []


def test_whoever_is_second_between_look_and_change_has_said_nothing(surplus, monkeypatch):
    seen = propose(surplus, Subject.surplus)
    monkeypatch.setattr(approving, "propose", lambda *_: seen)  # both have looked before either changes
    approve(surplus, seen)

    with pytest.raises(ScopeChanged):
        approve(surplus, seen, "approver")
    assert surplus.value("select count(*) from decision where subject = 'surplus'") == 1


def test_there_is_no_yes_to_nothing(kept):
    with pytest.raises(NotAllowed, match="Nothing waits"):
        approve(kept, propose(kept, Subject.surplus))


# --- orphans ----------------------------------------------------------------------------------------------------------


def test_an_orphan_waits_until_a_person_says_yes(kept):
    stray = orphan(kept)
    kept.go_live()
    before = kept.sweep("before")

    approve(kept, propose(kept, Subject.orphans))
    kept.later(days=1)
    after = kept.sweep("after")

    assert (before.reasons("waiting"), after.total("done")) == ({"approval": 1}, 1)
    assert kept.value("select state from deletion where recording = %s", stray) == "done"


def test_an_orphan_stays_after_a_persons_no(kept):
    stray = orphan(kept)
    kept.go_live()

    with kept.connect() as conn:
        decision = approving.keep(conn, approving.propose(conn, Subject.orphans), "officer", ACTOR)
    balance = kept.sweep("night")

    assert balance.balanced
    assert balance.total("done") == 0
    assert kept.row("select state, decision from deletion where recording = %s", stray) == ("withdrawn", decision)
    assert kept.row("select action, account from decision where decision = %s", decision) == ("keep", "officer")
    assert [(e["recording"], e["reason"]) for e in kept.events("deletion.withdrawn")] == [
        (str(stray), "kept_by_person")
    ]
    assert propose(kept, Subject.orphans).n == 0


def test_a_no_is_said_to_exactly_what_was_seen_and_to_orphans_only(kept):
    orphan(kept)
    seen = propose(kept, Subject.orphans)
    orphan(kept)

    with kept.connect() as conn:
        with pytest.raises(ScopeChanged):
            approving.keep(conn, seen, "officer", ACTOR)
        with pytest.raises(NotAllowed):
            approving.keep(conn, approving.propose(conn, Subject.surplus), "officer", ACTOR)
    assert kept.value("select count(*) from decision") == 0


# --- unlawful finds ---------------------------------------------------------------------------------------------------


def test_no_recording_of_a_designated_line_is_a_find(kept):
    assert propose(kept, Subject.unlawful).n == 0


def test_recordings_of_a_line_later_found_undesignated_go_after_a_yes_long_before_their_term(kept):
    kept.go_live()
    kept.configure(PHM_LATER)
    found = kept.value("select recording from recording where controller = 'phm'")
    seen = propose(kept, Subject.unlawful)

    decision = approve(kept, seen)
    row = kept.row("select state, trigger, waits, decision, due_at <= callkeeper_now() as due from deletion")
    kept.later(days=1)
    night = kept.sweep("night")

    assert figures(seen) == [("phm", "+358102708001, 2026-11", 1)]
    assert (row.state, row.trigger, row.waits, row.decision, row.due) == (
        "planned", "unlawful_confirmed", "approval", decision, True,
    )  # fmt: skip
    (event,) = [e for e in kept.events("deletion.planned") if e["recording"] == str(found)]
    assert (event["trigger"], event["state_before"]) == ("unlawful_confirmed", "live")
    assert night.total("done") == 1
    assert kept.value("select count(*) from recording") == 2
    assert propose(kept, Subject.unlawful).n == 0


def test_the_same_line_in_another_companys_hands_is_a_find_too(kept):
    kept.configure(
        ('controller = "punavaara"\nfrom', 'controller = "spare"\nfrom'),
        ('controller = "phm"\nfrom', 'controller = "punavaara"\nfrom'),
        ('controller = "spare"\nfrom', 'controller = "phm"\nfrom'),
    )

    assert propose(kept, Subject.unlawful).n == 3


def test_an_unlawful_find_under_a_hold_stays_and_resumes_when_it_ends(kept):
    kept.go_live()
    kept.configure(PHM_LATER)
    hold = kept.block(controller="phm", from_at=at(0))
    approve(kept, propose(kept, Subject.unlawful))
    kept.later(days=1)
    held = kept.sweep("held")
    kept.sql.execute("update blocker set ended_at = callkeeper_now() where blocker = %s", (hold,))
    kept.later(days=2)

    assert (held.total("blocked"), kept.sweep("free").total("done")) == (1, 1)


def test_what_the_schedule_had_planned_is_taken_over_by_the_yes(surplus):
    """It waited as a surplus, or was blocked: now it goes for another reason, and its due date stays."""
    surplus.configure(PHM_LATER)
    due = surplus.value("select due_at from deletion where controller = 'phm'")
    before = surplus.value("select state from deletion where controller = 'phm'")

    approve(surplus, propose(surplus, Subject.unlawful))

    row = surplus.row("select state, trigger, due_at from deletion where controller = 'phm'")
    assert (row.state, row.trigger, row.due_at) == ("planned", "unlawful_confirmed", due)
    assert [e["state_before"] for e in surplus.events("deletion.planned")][-1] == before
    surplus.set_clock(LATER + timedelta(days=1))
    balance = surplus.sweep("next")
    assert balance.balanced
    assert (balance.total("done", "phm"), balance.total("waiting", "punavaara")) == (1, 2)


def test_what_is_being_deleted_already_is_no_find(kept):
    kept.go_live()
    kept.set_clock(LATER - timedelta(days=1))
    kept.forecast()
    kept.set_clock(LATER)
    with kept.connect() as conn:
        kept.armed(conn, "night")
    kept.configure(PHM_LATER)

    assert propose(kept, Subject.unlawful).n == 0


# --- the vendor's copy, by a person's word ----------------------------------------------------------------------------


def test_a_persons_word_ends_an_open_line_and_stands_as_a_decision(kept):
    recording = kept.value("select recording from recording where controller = 'phm'")
    kept.sql.execute(
        "insert into deletion (recording, vendor, controller, trigger, state, absence_checked_at, store_gone_at, vendor_answer, trouble, versions_removed) "
        "values (%s, 'linna', 'phm', 'retention_expired', 'store_gone', callkeeper_now(), callkeeper_now(), 'refused', 'vendor_refused', 1)",
        (recording,),
    )

    with kept.connect() as conn:
        approving.settle(conn, recording, "vendor_term_passed", "officer", ACTOR)

    assert kept.value("select state || ' ' || vendor_answer from deletion") == "done settled_by_person"
    (event,) = kept.events("decision.made")
    assert (event["subject"], event["decided"]) == ("vendor_copy", "vendor_term_passed")


def test_a_word_about_what_is_not_open_leaves_no_decision(kept):
    with kept.connect() as conn, pytest.raises(NotFound):
        approving.settle(conn, uuid4(), "vendor_term_passed", "officer", ACTOR)

    assert kept.value("select count(*) from decision") == 0


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def run(kept, monkeypatch):
    """Runs `callkeeper approve …`, or another command; whoever signs in, must be of the roles that were asked for."""
    monkeypatch.setattr(command.settings, "load", lambda: kept.settings)

    def sign_in(app, account, roles):
        people = {"officer": "privacy_officers", "approver": "approvers", "data": "data_team"}
        if people[account] not in roles:
            raise NotAllowed(f"{account} may not do this.")
        return account

    monkeypatch.setattr("callkeeper.commands.signin.sign_in", sign_in)

    def invoke(*words, group=command.approve, typed=""):
        return CliRunner(env={"COLUMNS": "200"}).invoke(group, [str(w) for w in words], input=typed)

    return invoke


def test_the_command_lists_everything_that_waits(run, kept):
    nothing = run()
    orphan(kept)
    kept.configure(PHM_LATER)
    kept.set_clock(LATER)
    kept.sweep("rehearsal")

    listed = run()

    assert nothing.output == "Nothing waits for a person's yes.\n"
    assert [line for line in listed.output.splitlines() if not line.startswith(" ")] == [
        "go-live: 4 due in the last rehearsal", "orphans: 1 waiting", "unlawful: 1 waiting",
    ]  # fmt: skip


def test_a_typed_yes_is_recorded_and_a_no_changes_nothing(run, kept):
    orphan(kept)

    no = run("orphans", "--as", "officer", typed="n\n")
    assert kept.value("select count(*) from decision") == 0
    yes = run("orphans", "--as", "officer", typed="y\n")

    assert no.exit_code == 1
    assert "No row explains these objects. Delete all 1?" in yes.output
    assert "Decision 1 is recorded" in yes.output


def test_a_no_to_orphans_is_typed_too_and_what_a_restore_may_mean_is_said_first(run, kept):
    orphan(kept)

    said = run("orphans", "--keep", "--as", "officer", typed="y\n")

    assert "may be the audio of calls whose rows it has lost" in said.output
    assert "Keep all 1 for a month? [y/N]: y" in said.output
    assert kept.value("select state from deletion") == "withdrawn"
    assert run("surplus", "--keep").exit_code == 2


def test_the_number_that_was_seen_must_be_the_number_that_waits(run, kept):
    orphan(kept)

    wrong = run("orphans", "--as", "officer", "--yes", 2)
    assert isinstance(wrong.exception, ScopeChanged)
    assert kept.value("select count(*) from decision") == 0
    assert run("orphans", "--as", "officer", "--yes", 1).exit_code == 0


def test_nothing_is_asked_where_nothing_waits_and_going_live_is_never_one_companys(run):
    assert run("surplus").output == "surplus: 0 waiting\nNothing waits for a person's yes.\n"
    assert run("go-live", "--controller", "phm").exit_code == 2


@pytest.mark.parametrize(
    ("subject", "account", "may"),
    [
        ("orphans", "officer", True), ("orphans", "approver", False), ("orphans", "data", False),
        ("surplus", "officer", True), ("surplus", "approver", True), ("surplus", "data", False),
        ("unlawful", "officer", True), ("unlawful", "approver", False),
        ("go-live", "officer", True), ("go-live", "approver", False),
    ],
)  # fmt: skip
def test_who_may_say_yes_to_what(run, kept, subject, account, may):
    kept.configure(PHM_LATER)
    stray = orphan(kept)
    if subject == "surplus":
        kept.sql.execute("update deletion set waits = 'surplus' where recording = %s", (stray,))
    kept.sweep("rehearsal")

    done = run(subject, "--as", account, "--yes", 1)

    assert (done.exit_code == 0, isinstance(done.exception, NotAllowed)) == (may, not may)


def test_the_list_of_open_deletions_says_what_to_do(run, kept):
    for state, code, n in (
        ("store_gone", "vendor_refused", 2),
        ("needs_human", "key_missing", 1),
        ("blocked", None, 3),
    ):
        for _ in range(n):
            kept.sql.execute(
                "insert into deletion (recording, vendor, controller, trigger, state, trouble, store_gone_at, absence_checked_at) "
                "values (%s, 'linna', 'phm', 'retention_expired', %s, %s, callkeeper_now(), callkeeper_now())",
                (uuid4(), state, code),
            )

    listed = run("list", group=deletions_group)
    blocked = run("list", "--state", "blocked", group=deletions_group)

    assert listed.output.startswith("2 gone here, open at the vendor, 3 blocked, 1 waiting for a person\n")
    assert listed.output.count("vendor_refused") == 2 + 1
    assert "Restore the keys from their escrow" in listed.output
    assert blocked.output.count("blocked") == 3 + 1


def test_a_stopped_deletion_is_sent_on_by_the_data_team(run, kept):
    stopped = uuid4()
    kept.sql.execute(
        "insert into deletion (recording, vendor, trigger, state, trouble) values (%s, 'linna', 'orphan', 'needs_human', 'key_missing')",
        (stopped,),
    )

    done = run("retry", stopped, "--as", "data", group=deletions_group)

    assert (done.exit_code, kept.value("select state from deletion")) == (0, "planned")
    settled = run("settle", stopped, "--as", "data", "--reason", "vendor_closed", group=deletions_group)
    assert isinstance(settled.exception, NotAllowed)


@pytest.mark.parametrize("subject", Subject)
def test_the_yes_is_the_officers_whatever_asks_for_it_and_a_surplus_the_approvers_too(office, subject):
    with office.connect() as conn:
        seen = approving.Proposal(subject=subject, controller=None, n=1, figures=(), scope=b"seen")
        for account in ("data", "nobody", *(() if subject is Subject.surplus else ("approver",))):
            for decide in (approving.approve, approving.keep):
                with pytest.raises(NotAllowed, match="may not say this yes"):
                    decide(conn, seen, account, ACTOR)
        for account in ("officer", *(("approver",) if subject is Subject.surplus else ())):
            with pytest.raises((ScopeChanged, NotAllowed)) as refused:
                approving.approve(conn, seen, account, ACTOR)
            assert "may not say this yes" not in str(refused.value), account
