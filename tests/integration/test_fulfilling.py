"""A request is taken in, and from that moment nothing that it is about is destroyed."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from asking import (
    CALLER,
    LINE,
    OTHER,
    agreed,
    approve,
    carry_out,
    close,
    delivered,
    left,
    opened,
    preview,
    proven,
    refuse,
    second,
    three_calls,
)  # fmt: skip
from callkeeper import blockers, controllers, db, letters
from callkeeper.clock import helsinki_day
from callkeeper.commands import ticket as ticket_command
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import answering, explaining, fulfilling, watching
from callkeeper.jobs.approving import ScopeChanged
from callkeeper.jobs.fulfilling import Searched
from callkeeper.tickets import FREEZES, Call, Right
from deliver import Call as Delivered
from deliver import deliver
from installation import DAY, EXCHANGE, OFFICER, Installation, at

TODAY = date(2026, 11, 25)
LATER = datetime(2027, 5, 26, 0, 30, tzinfo=UTC)
"""The night in which the calls of DAY are past their term."""


@pytest.fixture
def kept(office: Installation) -> Installation:
    return three_calls(office)


@pytest.fixture
def due(kept: Installation) -> Installation:
    """The same, their term over, deletion live, the last forecast an evening old."""
    kept.go_live()
    kept.set_clock(LATER - timedelta(days=1))
    kept.forecast()
    kept.set_clock(LATER)
    return kept


# --- intake -----------------------------------------------------------------------------------------------------------


def test_a_ticket_is_numbered_in_its_year_and_has_its_due_day(kept):
    first, second = opened(kept), opened(kept, numbers=[OTHER])
    kept.set_clock(datetime(2026, 12, 31, 22, 30, tzinfo=UTC))  # half past midnight in Helsinki
    third = opened(kept)

    assert (first, second, third) == ("DSR-2026-0001", "DSR-2026-0002", "DSR-2027-0001")
    with kept.connect() as conn:
        found = fulfilling.show(conn, first)
    assert (found.due_on, found.state, found.identity, found.account) == (
        date(2026, 12, 28),
        "open",
        "unproven",
        "officer",
    )


@pytest.mark.parametrize("right", Right)
def test_what_a_right_freezes_is_frozen_with_its_intake(kept, right):
    ticket = opened(kept, right)

    found = kept.rows("select kind, case_ref, placed_by, review_on, cardinality(pseudonyms) as n from blocker")
    wanted = [(FREEZES[right], ticket, "officer", TODAY + timedelta(30), 1)] if right in FREEZES else []
    assert [tuple(row) for row in found] == wanted


def test_a_freeze_covers_both_companies_and_what_is_still_to_come(kept):
    ticket = opened(kept)

    deliver(kept.linna, DAY + timedelta(1), [Delivered(id="d", start=at(8, day=DAY + timedelta(1)), caller=CALLER)])
    kept.later(days=1)
    kept.run("tomorrow", DAY + timedelta(1))

    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).frozen == 3


def test_the_night_destroys_nothing_that_a_person_waits_for(due):
    opened(due)

    night = due.sweep()

    assert (night.total("done"), night.total("blocked"), left(due)) == (1, 2, 2)


def test_without_a_freeze_the_schedule_goes_on(due):
    opened(due, Right.erasure)

    assert due.sweep().total("done") == 3


def test_a_freeze_in_the_middle_of_a_night_wins_over_what_is_armed(due):
    with due.connect() as conn:
        due.armed(conn, "night")
    opened(due)

    due.sweep("night")

    assert left(due) == 2


def test_intake_waits_for_whoever_decides_on_deletions(kept):
    with kept.connect() as night, kept.connect() as intake:
        db.lock_blockers(night, exclusive=False)
        intake.execute("set lock_timeout = '300ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            fulfilling.open_ticket(
                intake, kept.app.keyring, right=Right.access, received_on=TODAY, channel="letter", language="fi",
                numbers=[CALLER], account="officer", actor=OFFICER,
            )  # fmt: skip


def test_without_its_freeze_there_is_no_ticket_and_no_event(kept, monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(blockers, "add", fails)
    with pytest.raises(RuntimeError):
        opened(kept)

    assert kept.value("select count(*) from ticket") == 0
    assert kept.events("ticket.opened") == []


def test_a_withheld_call_is_frozen_by_its_line_and_time(kept):
    call = Call(line=LINE, from_at=at(7, 50), to_at=at(8, 10))
    ticket = opened(kept, numbers=[], times=[call])

    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).frozen == 1
        (found,) = fulfilling.look(conn, ticket, kept.app.keyring, OFFICER)
    assert found == Searched(call=call)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"numbers": []}, "needs what is searched"),
        ({"numbers": [LINE]}, "whole switchboard"),
        ({"times": [Call(line=LINE, from_at=at(0), to_at=at(0) + timedelta(days=30))]}, "whole switchboard"),
        ({"times": [Call(line=CALLER, from_at=at(8), to_at=at(9))]}, "none of ours"),
        ({"received_on": TODAY + timedelta(1)}, "still to come"),
    ],
)
def test_a_request_that_cannot_be_one_persons_is_refused_in_words(kept, facts, said):
    with pytest.raises(NotAllowed, match=said):
        opened(kept, **facts)
    assert kept.value("select count(*) from ticket") == 0


def test_the_same_person_again_is_linked_and_never_merged(kept):
    first = opened(kept)
    opened(kept, numbers=[OTHER])
    again = opened(kept, Right.erasure, numbers=[OTHER, CALLER])

    with kept.connect() as conn:
        assert fulfilling.show(conn, first).linked_to is None
        assert fulfilling.show(conn, again).linked_to == "DSR-2026-0002"


def test_one_number_in_five_spellings_is_searched_once(kept):
    from callkeeper.phone import normalise

    spelled = [
        normalise(text).e164
        for text in ("0409990001", "040 999 0001", "+358409990001", "00358409990001", "+358 (0)40-999 0001")
    ]

    ticket = opened(kept, numbers=spelled)

    with kept.connect() as conn:
        assert fulfilling.look(conn, ticket, kept.app.keyring, OFFICER) == [Searched(number=CALLER)]


def test_a_keyring_that_does_not_know_the_newest_key_takes_nothing_in(kept):
    kept.sql.execute("insert into key (key_id, purpose, created_at) values ('00000000', 'pseudonym', callkeeper_now())")

    try:
        with pytest.raises(NotAllowed, match="rotated"):
            opened(kept)
    finally:
        kept.sql.execute("delete from key where key_id = '00000000'")


# --- on its way -------------------------------------------------------------------------------------------------------


def test_a_search_finds_both_companies_recordings_and_hashes_exactly_these(kept):
    seen = preview(kept, proven(kept, opened(kept)))

    mine = kept.rows("select recording from recording where pseudonym = %s order by started_at", kept.pseudonym(CALLER))
    assert [f.recording for f in seen.found] == [row.recording for row in mine]
    assert seen.counts == {"phm": 1, "punavaara": 1}
    assert {(f.place, f.state, f.open_elsewhere) for f in seen.found} == {("catalogue", "found", 0)}
    (event,) = kept.events("ticket.previewed")
    assert (event["scope"], event["counts"], event["recordings"]) == (seen.scope.hex(), seen.counts, 2)
    assert kept.value("select scope from ticket") == seen.scope


def test_before_identity_is_proven_nothing_is_searched(kept):
    with pytest.raises(NotAllowed, match="Nobody has proven who asks"):
        preview(kept, opened(kept))


def test_the_search_keeps_to_the_period_in_which_the_number_was_theirs(kept):
    ticket = proven(kept, opened(kept), from_at=at(8, 30), to_at=at(12))

    assert preview(kept, ticket).counts == {"phm": 1}


def test_the_search_keeps_to_the_company_that_the_officer_named(kept):
    assert preview(kept, proven(kept, opened(kept, controller="phm"))).counts == {"phm": 1}


def test_a_search_follows_a_number_under_every_live_key(kept):
    old = kept.app.keyring
    try:
        vars(kept.app)["keyring"] = old.rotate("pseudonym")
        deliver(kept.linna, DAY + timedelta(1), [Delivered(id="n", start=at(8, day=DAY + timedelta(1)), caller=CALLER)])
        kept.later(days=1)
        kept.run("tomorrow", DAY + timedelta(1))

        ticket = proven(kept, opened(kept), to_at=at(0) + timedelta(days=2))

        assert sum(preview(kept, ticket).counts.values()) == 3
    finally:
        vars(kept.app)["keyring"] = old


def test_a_changed_scope_is_another_hash_and_what_the_officer_left_out_stays_out(kept):
    ticket = proven(kept, opened(kept), to_at=at(0) + timedelta(days=3))
    first = preview(kept, ticket)
    kept.sql.execute(
        "update ticket_recording set state = 'excluded', reason = 'others_voice' where recording = %s",
        (first.found[0].recording,),
    )
    deliver(kept.linna, DAY + timedelta(1), [Delivered(id="d", start=at(8, day=DAY + timedelta(1)), caller=CALLER)])
    kept.later(days=1)
    kept.run("tomorrow", DAY + timedelta(1))

    again = preview(kept, ticket)

    assert again.scope != first.scope
    assert [f.state for f in again.found] == ["excluded", "found", "found"]
    assert preview(kept, ticket).scope == again.scope


def test_what_an_earlier_search_had_found_and_a_later_one_does_not_is_left_out(kept):
    ticket = proven(kept, opened(kept))
    preview(kept, ticket)
    with kept.connect() as conn:
        fulfilling.ask(conn, ticket, "identity", OFFICER)
    proven(kept, ticket, from_at=at(8, 30), to_at=at(12))

    seen = preview(kept, ticket)

    assert [(f.state, f.reason) for f in seen.found] == [("excluded", "no_longer_found"), ("found", None)]
    assert seen.counts == {"phm": 1}


def test_two_people_who_claim_one_recording_each_learn_that_the_other_exists(kept):
    opened(kept, numbers=[], times=[Call(line=LINE, from_at=at(7, 50), to_at=at(8, 10))])

    seen = preview(kept, proven(kept, opened(kept)))

    assert [f.open_elsewhere for f in seen.found] == [1, 0]


def test_days_that_are_not_imported_are_said_with_what_was_found(kept):
    (missing,) = preview(kept, proven(kept, opened(kept), days=3)).not_imported

    assert (missing.vendor, missing.n, str(missing.first)) == ("linna", 3, "2026-11-21")


def test_a_note_of_other_evidence_is_kept_sealed(kept):
    ticket = opened(kept)
    with pytest.raises(NotAllowed, match="needs a note"):
        proven(kept, ticket, evidence="other")
    proven(kept, ticket, evidence="other", note="an old letter of Matti's")

    sealed = kept.value("select sealed_facts from ticket")
    assert b"Matti" not in sealed
    assert "Matti" in kept.app.keyring.unseal("reference", sealed, ticket.encode()).decode()
    assert "Matti" not in json.dumps(kept.events())


def test_with_identity_the_freeze_is_looked_at_again_by_the_due_day(kept):
    ticket = proven(kept, opened(kept))
    due = kept.value("select review_on from blocker")
    with kept.connect() as conn:
        extended = fulfilling.extend(conn, ticket, "complexity", OFFICER)

    assert (due, extended) == (date(2026, 12, 28), date(2027, 2, 25))
    assert kept.value("select review_on from blocker") == extended
    with kept.connect() as conn, pytest.raises(NotAllowed, match="extended already"):
        fulfilling.extend(conn, ticket, "complexity", OFFICER)


def test_an_extension_after_the_first_due_day_is_refused(kept):
    ticket = opened(kept)
    kept.later(days=34)

    with kept.connect() as conn, pytest.raises(NotAllowed, match="can no longer be extended"):
        fulfilling.extend(conn, ticket, "complexity", OFFICER)
    assert kept.value("select extended_to from ticket") is None


def test_what_the_person_is_asked_pauses_no_clock(kept):
    ticket = opened(kept)
    with kept.connect() as conn:
        before = fulfilling.show(conn, ticket)
        fulfilling.ask(conn, ticket, "clarification", OFFICER)
        asked = fulfilling.show(conn, ticket)
        fulfilling.answered(conn, ticket, OFFICER)
        after = fulfilling.show(conn, ticket)

    assert (before.state, asked.state, after.state) == ("open", "clarification_asked", "open")
    assert before.due_on == asked.due_on == after.due_on
    with pytest.raises(NotAllowed, match="open cannot become open"), kept.connect() as conn:
        fulfilling.answered(conn, ticket, OFFICER)


# --- two people's yes, or an officer's no -----------------------------------------------------------------------------


def told(office: Installation) -> list[str]:
    """What the morning's mail says of requests of which the deferred rest has gone."""
    with office.connect() as conn:
        return [m.text for m in watching.look(conn).matters if "had kept has gone" in m.text]


def ready(office: Installation) -> list[str]:
    """What it says of requests of which a night has done what was approved."""
    with office.connect() as conn:
        return [m.text for m in watching.look(conn).matters if "what was approved is done" in m.text]


def outcomes(office: Installation) -> list[str | None]:
    return [row.outcome for row in office.rows("select outcome from ticket_recording order by recording")]


@pytest.mark.parametrize(
    ("right", "evidence", "two"),
    [(Right.erasure, "strong", True), (Right.access, "callback", True), (Right.access, "strong", False)],
)
def test_a_second_person_is_needed_for_erasure_and_for_audio_on_weak_evidence(kept, right, evidence, two):
    ticket = proven(kept, opened(kept, right), evidence=evidence)
    preview(kept, ticket)

    assert approve(kept, ticket) is two
    if not two:
        with pytest.raises(NotAllowed, match="one person's yes only"):
            second(kept, ticket)


def test_the_second_person_is_never_the_first(kept):
    ticket = proven(kept, opened(kept, Right.erasure))
    preview(kept, ticket)
    approve(kept, ticket)

    with pytest.raises(NotAllowed, match="another person's"):
        second(kept, ticket, account="officer")
    with pytest.raises(ScopeChanged):
        second(kept, ticket, scope=b"another")
    assert kept.value("select state from ticket") == "approved"


def test_a_yes_is_said_to_exactly_what_was_seen(kept):
    ticket = proven(kept, opened(kept, Right.erasure), to_at=at(0) + timedelta(days=3))
    first = preview(kept, ticket)
    deliver(kept.linna, DAY + timedelta(1), [Delivered(id="d", start=at(8, day=DAY + timedelta(1)), caller=CALLER)])
    kept.later(days=1)
    kept.run("tomorrow", DAY + timedelta(1))

    for scope in (first.scope, b"", b"another"):
        with pytest.raises(ScopeChanged):
            approve(kept, ticket, scope)
    preview(kept, ticket)
    assert approve(kept, ticket)
    with pytest.raises(NotAllowed, match="approved cannot become approved"):
        approve(kept, ticket)


def test_an_erasure_takes_two_yeses_as_rows_and_no_state_stands_for_them(kept):
    ticket = proven(kept, opened(kept, Right.erasure))
    preview(kept, ticket)
    with pytest.raises(NotAllowed, match="takes two people's yes first"):
        carry_out(kept, ticket)
    approve(kept, ticket)
    kept.sql.execute("update ticket set state = 'seconded'")

    with pytest.raises(NotAllowed, match="dsr_second"):
        carry_out(kept, ticket)
    assert kept.value("select count(*) from deletion") == 0


def test_what_two_people_approved_goes_in_the_next_night_and_nothing_else(kept):
    kept.go_live()
    ticket = agreed(kept)

    assert carry_out(kept, ticket) == 2
    with pytest.raises(NotAllowed, match="still on their way out"):
        delivered(kept, ticket)
    assert ready(kept) == []
    night = kept.sweep()

    assert (night.total("done"), left(kept)) == (2, 1)
    assert [ticket in text for text in ready(kept)] == [True]
    assert delivered(kept, ticket) == "fulfilled"
    assert ready(kept) == []
    assert outcomes(kept) == ["erased", "erased"]
    assert {(e["trigger"], e["reason"]) for e in kept.events("deletion.planned")} == {
        ("erasure_approved", "subject_request")
    }
    assert tuple(kept.row("select state, outcome from ticket")) == ("closed", "fulfilled")
    assert kept.value("select kind from ticket_delivery") == "fulfilled"


def unanswered(office: Installation) -> Call:
    """The one call of an exchange that import refused until its term, found by its time."""
    # A copy: the night deletes at the vendor, too.
    corpus = shutil.copytree(Path(__file__).parents[1] / "corpus" / "asterisk" / "broken", office.folder / "exchange")
    office.configure(more=EXCHANGE.replace("{corpus}", str(corpus)))
    office.run(vendor="vaihde")
    office.go_live()
    call = office.row("select * from deletion")
    return Call(line=call.line, from_at=call.started_at, to_at=call.started_at + timedelta(seconds=1))


def test_what_import_refused_until_its_term_goes_now(office):
    """A call that nobody answered: the journal alone knows of it, and would leave its file with the vendor for half a year."""
    call = unanswered(office)
    ticket = agreed(office, numbers=[], times=[call], language="en")

    assert carry_out(office, ticket) == 1
    assert office.events("deletion.planned")[-1]["state_before"] == "planned"
    with pytest.raises(NotAllowed, match="still on their way out"):
        delivered(office, ticket)
    office.sweep()

    with office.connect() as conn:
        told = answering.facts(conn, office.app, ticket, "completed_erasure").recordings
        text = answering.write(conn, office.app, ticket, "completed_erasure", actor=OFFICER).text
    assert [(r.started_at, r.duration_s, r.outcome) for r in told] == [(call.from_at, None, "erased")]
    assert letters.time_in_words(call.from_at, "en") in text
    assert delivered(office, ticket) == "fulfilled"
    assert outcomes(office) == ["erased"]


def test_an_access_to_what_import_refused_until_its_term_is_answered(office):
    call = unanswered(office)
    ticket = agreed(office, Right.access, numbers=[], times=[call], language="en")

    carry_out(office, ticket)

    with office.connect() as conn:
        (told,) = answering.facts(conn, office.app, ticket, answering.final(conn, ticket)).recordings
    due_at = office.value("select due_at from deletion")
    assert (told.started_at, told.line, told.deletes) == (call.from_at, "020 7001234", helsinki_day(due_at))
    assert (told.outcome, outcomes(office)) == ("none", ["none"])


def test_a_held_recording_is_deferred_and_goes_by_itself_when_the_hold_ends(kept):
    kept.go_live()
    ticket = agreed(kept)
    held = kept.block(line=LINE, from_at=at(0))
    carry_out(kept, ticket)

    kept.sweep("first")
    kept.later(hours=1)
    assert left(kept) == 2
    assert delivered(kept, ticket) == "deferred"
    assert told(kept) == []
    with pytest.raises(NotAllowed, match="closed cannot become"):
        delivered(kept, ticket)
    kept.sql.execute("update blocker set ended_at = callkeeper_now() where blocker = %s", (held,))
    kept.later(days=1)
    kept.sweep("second")

    assert left(kept) == 1
    assert [ticket in text for text in told(kept)] == [True]
    assert delivered(kept, ticket) == "fulfilled"
    assert told(kept) == []
    assert outcomes(kept) == ["erased", "erased"]
    assert [row.kind for row in kept.rows("select kind from ticket_delivery order by at")] == ["deferred", "resumed"]
    assert [e["ticket"] for e in kept.events("ticket.resumed")] == [ticket]


def test_a_copy_comes_before_the_erasure(kept):
    kept.go_live()
    access, ticket = opened(kept), agreed(kept)
    carry_out(kept, ticket)

    kept.sweep("first")
    assert left(kept) == 3
    close(kept, access, "answered_by_hand")
    kept.later(days=1)
    kept.sweep("second")

    assert left(kept) == 1


def test_what_came_after_the_yes_needs_a_new_preview(kept):
    ticket = agreed(kept)
    kept.sql.execute("update ticket_subject set from_at = %s", (at(8, 30),))

    with pytest.raises(ScopeChanged):
        carry_out(kept, ticket)
    preview(kept, ticket)
    with pytest.raises(NotAllowed, match="previewed"):
        carry_out(kept, ticket)


def test_what_the_officer_leaves_out_is_not_erased(kept):
    kept.go_live()
    ticket = proven(kept, opened(kept, Right.erasure))
    first = preview(kept, ticket)
    with kept.connect() as conn:
        rest = fulfilling.leave_out(
            conn, kept.app.keyring, ticket, {first.found[0].recording: "not_the_person"}, OFFICER
        )
    approve(kept, ticket, rest.scope)
    second(kept, ticket)

    assert carry_out(kept, ticket) == 1
    kept.sweep()

    assert left(kept) == 2
    assert kept.value("select count(*) from recording where recording = %s", first.found[0].recording) == 1
    with kept.connect() as conn, pytest.raises(NotAllowed):
        fulfilling.leave_out(conn, kept.app.keyring, ticket, {first.found[1].recording: "not_the_person"}, OFFICER)


def test_a_refusal_is_on_a_listed_ground_and_frees_nothing_before_it_is_delivered(kept):
    ticket = opened(kept)
    with pytest.raises(NotAllowed, match="no ground to refuse access"):
        refuse(kept, ticket, "legal_obligation")
    with pytest.raises(NotAllowed, match="needs its reasons"):
        refuse(kept, ticket, "excessive", " ")
    refuse(kept, ticket, "excessive")

    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).freezes
    with pytest.raises(NotAllowed, match="refused cannot become closed"):
        close(kept, ticket)
    assert delivered(kept, ticket) == "refused"
    with kept.connect() as conn:
        assert not fulfilling.show(conn, ticket).freezes
    assert "Matti" not in json.dumps(kept.events())
    sealed = kept.app.keyring.unseal("reference", kept.value("select sealed_facts from ticket"), ticket.encode())
    assert json.loads(sealed)["reasons"] == "as Matti was told"


def test_a_portability_request_is_answered_that_it_does_not_apply(kept):
    ticket = opened(kept, Right.portability)

    refuse(kept, ticket, "not_applicable")

    assert delivered(kept, ticket) == "refused"


def test_a_portability_request_has_no_yes(kept):
    ticket = proven(kept, opened(kept, Right.portability))
    preview(kept, ticket)

    with pytest.raises(NotAllowed, match="there is no yes to it"):
        approve(kept, ticket)


def test_what_is_approved_and_not_carried_out_stays_frozen(kept):
    ticket = proven(kept, opened(kept, Right.restriction))
    preview(kept, ticket)
    assert not approve(kept, ticket)

    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).freezes


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_closed_ticket_frees_what_it_froze_and_the_clock_goes_on(due):
    ticket = opened(due)
    due.sweep("first")

    assert close(due, ticket) == 1
    assert left(due) == 2
    due.forecast()
    due.sweep("second")

    assert left(due) == 0
    row = due.row("select state, outcome, erase_on from ticket")
    assert tuple(row) == ("closed", "withdrawn", date(2030, 5, 26))


def test_another_persons_freeze_on_the_same_calls_stays(due):
    first, _ = opened(due), opened(due, Right.restriction)

    close(due, first)
    due.sweep()

    assert left(due) == 2


def test_a_ticket_ends_once_and_only_if_there_is_one(kept):
    ticket = opened(kept)
    close(kept, ticket)

    with pytest.raises(NotAllowed, match="closed cannot become closed"):
        close(kept, ticket)
    with pytest.raises(NotFound, match="DSR-2026-0099"):
        close(kept, "DSR-2026-0099")


def test_a_number_in_the_place_of_a_reference_is_not_said_again(kept):
    with kept.connect() as conn, pytest.raises(NotFound, match="no ticket's reference") as wrong:
        fulfilling.show(conn, CALLER)
    assert "999" not in str(wrong.value)


def test_a_ticket_past_its_term_is_forgotten_and_its_story_stays(kept, fresh_office):
    ticket = proven(
        kept, opened(kept, times=[Call(line=LINE, from_at=at(8), to_at=at(9))]), evidence="other", note="Matti"
    )
    running = opened(kept, numbers=[OTHER])
    close(kept, ticket)

    def forget() -> int:
        with kept.connect() as conn:
            return fulfilling.forget_past_term(conn, OFFICER)

    kept.set_clock(datetime(2029, 11, 24, 12, tzinfo=UTC))
    before = forget()
    kept.set_clock(datetime(2029, 11, 25, 12, tzinfo=UTC))
    after, again = forget(), forget()

    assert (before, after, again) == (0, 1, 0)
    left_of_it = kept.rows(
        "select pseudonyms, sealed_number, from_at, to_at, line, controller from ticket_subject where ticket = %s",
        ticket,
    )
    assert [tuple(row) for row in left_of_it] == [(None,) * 6] * 2
    assert kept.value("select sealed_facts from ticket where ticket = %s", ticket) is None
    assert kept.value("select salt from subject_salt where ticket = %s", ticket) is None
    assert kept.value("select salt from subject_salt where ticket = %s", running) is not None
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).outcome == "withdrawn"
        with pytest.raises(NotFound, match="its term is over"):
            fulfilling.look(conn, ticket, kept.app.keyring, OFFICER)
    assert [e["ticket"] for e in kept.events("ticket.forgotten")] == [ticket]


# --- what others see --------------------------------------------------------------------------------------------------


def test_the_register_shows_the_most_urgent_first_and_what_can_no_longer_be_told(due):
    due.sweep("before")
    late = opened(due, received_on=TODAY + timedelta(100))
    soon = opened(due)
    close(due, opened(due, Right.portability))

    with due.connect() as conn:
        tickets, everything = fulfilling.register(conn), fulfilling.register(conn, closed=True)

    assert [t.ticket for t in tickets] == [late, soon]
    assert [t.days_left is None for t in everything] == [False, False, True]
    assert tickets[0].days_left is not None
    assert tickets[0].days_left < 0
    assert (tickets[0].gone_before, tickets[0].frozen) == (3, 0)


def test_every_step_is_an_event_and_the_timeline_tells_them(kept, fresh_office):
    ticket = opened(kept)
    with kept.connect() as conn:
        fulfilling.look(conn, ticket, kept.app.keyring, replace(OFFICER, account="deputy"))
    close(kept, ticket)

    with kept.connect() as conn:
        steps = [(step.who, step.event.action) for step in fulfilling.timeline(conn, ticket)]

    assert steps == [("officer", "ticket.opened"), ("deputy", "ticket.seen"), ("officer", "ticket.moved")]
    (lapsed,) = kept.events("blocker.lapsed")
    (begun,) = kept.events("ticket.opened")
    assert begun["blockers"] == [lapsed["blocker"]]
    assert lapsed["ticket"] == ticket


@pytest.mark.parametrize("asked", [{}, {"numbers": [], "times": [Call(line=LINE, from_at=at(8), to_at=at(9))]}])
def test_an_erasure_that_is_asked_for_closes_the_recording_to_staff(kept, asked):
    recording = kept.value(
        "select recording from recording where pseudonym = %s and line = %s", kept.pseudonym(CALLER), LINE
    )

    def staff() -> str:
        with kept.connect() as conn:
            return explaining.explain(conn, recording, months=6, officer=False).outcome.staff

    before, ticket = staff(), opened(kept, Right.erasure, **asked)
    during, _ = staff(), close(kept, ticket)

    assert (before, during, staff()) == ("listener", "nobody", "listener")


def test_to_others_a_freeze_is_a_legal_ground(kept):
    ticket = opened(kept)
    recording = kept.value("select recording from recording where pseudonym = %s limit 1", kept.pseudonym(CALLER))

    with kept.connect() as conn:
        told = repr(explaining.explain(conn, recording, months=6, officer=False))

    assert ticket not in told


@pytest.fixture
def command(kept, monkeypatch):
    """`callkeeper ticket` as an account of Airflow's types it; the words are its last output."""
    monkeypatch.setattr("callkeeper.settings.load", lambda: kept.settings)
    monkeypatch.setattr("callkeeper.wiring.build", lambda _: kept.app)

    def sign_in(app: Any, account: str | None, roles: Any) -> str:
        with app.connect() as conn:
            if not controllers.duties(conn, app.config, account).intersection(roles):
                raise NotAllowed(f"{account} may not do this.")
        return str(account)

    monkeypatch.setattr("callkeeper.commands.signin.sign_in", sign_in)

    def run(*words: str, typed: str = "", account: str = "officer") -> Result:
        return CliRunner(env={"COLUMNS": "200"}).invoke(ticket_command.group, [*words, "--as", account], input=typed)

    return run


OPEN = ("open", "--right", "access", "--received", "2026-11-24", "--channel", "letter")


def test_an_officer_types_a_request_in_and_never_a_number(command, kept):
    kept.later(seconds=30)
    done = command(*OPEN, "--number", typed="040 999 0001\n")

    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[1:] == [
        "DSR-2026-0001",
        "right          access",
        "state          open",
        "received       2026-11-24 (letter), opened 2026-11-25 02:15 by officer",
        "due            2026-12-24, 29 days left",
        "identity       unproven",
        "companies      all",
        "searched for   1 number",
        "frozen         2 recordings",
        "linked to      -",
        "Days that are not imported yet: linna, 30 (26.10.2026 to 25.11.2026, the first kept there until 25.11.2026).",
    ]
    assert "999" not in done.output


def test_numbers_come_from_a_file_and_one_that_cannot_be_read_opens_nothing(command, kept, tmp_path):
    file = tmp_path / "numbers"
    file.write_text("+358 40 999 0001\n\nabc\n")
    wrong = command(*OPEN, "--numbers", str(file))
    file.write_text("+358 40 999 0001\n0409990002\n")
    right = command(*OPEN, "--numbers", str(file))

    assert str(wrong.exception) == "Number 2 of 2 is none that can be read. Nothing was done."
    assert "searched for   2 numbers" in right.output
    assert kept.value("select count(*) from ticket") == 1


def test_a_withheld_caller_is_asked_for_by_line_and_time(command):
    done = command(*OPEN, "--call", "020 700 1234", "2026-11-24T07:50", "2026-11-24T08:10")

    assert "searched for   1 time of calls" in done.output
    assert "frozen         1 recording\n" in done.output


def test_what_is_due_is_listed_and_a_ticket_tells_its_story(command):
    command(*OPEN, "--number", typed="0409990001\n")
    listed, shown = command("list"), command("show", "DSR-2026-0001", account="approver")
    clear = command("show", "DSR-2026-0001", "--clear")
    closed = command("close", "DSR-2026-0001", "--outcome", "answered_by_hand")
    after = command("list"), command("list", "--all"), command("list", "--all", "--json")

    assert re.search(r"DSR-2026-0001 +access +open +2026-11-24 +2026-12-24 +29 +unproven +2 +officer", listed.output)
    assert "999" not in shown.output
    assert "searched       +358409990001" in clear.output
    assert closed.output == "DSR-2026-0001 is closed, and freezes nothing any more.\n"
    assert after[0].output == "There is no open ticket.\n"
    assert "answered_by_hand" in after[1].output
    assert json.loads(after[2].output)[0]["outcome"] == "answered_by_hand"


def test_an_officer_leads_a_ticket_to_its_preview_by_hand(command):
    command(*OPEN, "--number", typed="0409990001\n")
    said = [
        command("ask", "DSR-2026-0001", "identity").output,
        command(
            "identity",
            "DSR-2026-0001",
            "--evidence",
            "other",
            "--from",
            "2026-11-01",
            "--to",
            "2026-11-24",
            typed="a letter\n",
        ).output,
        command("extend", "DSR-2026-0001", "--reason", "complexity").output,
    ]
    shown = command("preview", "DSR-2026-0001").output

    assert said[0] == "DSR-2026-0001 waits for the person's answer; its due day stays.\n"
    assert said[1].endswith("DSR-2026-0001: identity proven. What there is: callkeeper ticket preview DSR-2026-0001\n")
    assert said[2] == "DSR-2026-0001 is due on 2027-02-24. Tell the person by 2026-12-24, with the reason.\n"
    assert re.search(r"2026-11-24 08:00 .* \+358207001234  inbound  punavaara  catalogue", shown)
    assert re.search(r"DSR-2026-0001: 1 of phm, 1 of punavaara\. Scope [0-9a-f]{12}\.", shown)
    assert "nobody can say that there is nothing" in shown
    assert "999" not in shown


def test_an_erasure_is_led_by_two_people_at_the_command_line(command, kept):
    kept.go_live()
    command(
        "open", "--right", "erasure", "--received", "2026-11-24", "--channel", "email", "--number", typed="0409990001\n"
    )
    command("identity", "DSR-2026-0001", "--evidence", "strong", "--from", "2026-11-01", "--to", "2026-11-24")
    scope = re.search(r"Scope ([0-9a-f]{12})", command("preview", "DSR-2026-0001").output)
    wrong = command("approve", "DSR-2026-0001", "--scope", "0" * 12)
    short = command("approve", "DSR-2026-0001", "--scope", scope[1][:4])
    groundless = command("approve", "DSR-2026-0001", "--scope", scope[1])
    said = [
        command("approve", "DSR-2026-0001", "--scope", scope[1], "--ground", "no_longer_needed").output,
        command("second", "DSR-2026-0001", typed="y\n", account="approver").output,
        command("carry-out", "DSR-2026-0001").output,
    ]
    kept.sweep()
    last = command("delivered", "DSR-2026-0001", "--channel", "email").output

    assert isinstance(wrong.exception, ScopeChanged)
    assert isinstance(short.exception, ScopeChanged)
    assert isinstance(groundless.exception, NotAllowed)
    assert (
        said[0] == "DSR-2026-0001 is approved, and waits for a second person: callkeeper ticket second DSR-2026-0001\n"
    )
    assert said[1].startswith("erasure of 1 of phm, 1 of punavaara, identity strong, because: no longer needed: yes?")
    assert said[2] == "DSR-2026-0001: 2 recordings to go, by the next night.\n"
    assert last == "DSR-2026-0001 is closed: fulfilled.\n"
    assert left(kept) == 1


def test_a_refusals_reasons_are_asked_for_and_never_an_argument(command):
    command(*OPEN, "--number", typed="0409990001\n")

    done = command("refuse", "DSR-2026-0001", "--ground", "manifestly_unfounded", typed="said so to Matti\n")

    assert done.output.endswith("Once its letter is handed over: callkeeper ticket delivered DSR-2026-0001\n")


def test_whoever_has_no_duty_here_is_refused(command):
    command(*OPEN, "--number", typed="0409990001\n")

    for words, account in [
        ((*OPEN, "--number"), "approver"),
        (("show", "DSR-2026-0001", "--clear"), "approver"),
        (("close", "DSR-2026-0001", "--outcome", "withdrawn"), "approver"),
        (("preview", "DSR-2026-0001"), "approver"),
        (("approve", "DSR-2026-0001", "--scope", "0" * 12), "approver"),
        (("refuse", "DSR-2026-0001", "--ground", "manifestly_unfounded"), "approver"),
        (("carry-out", "DSR-2026-0001"), "approver"),
        (("release", "DSR-2026-0001"), "approver"),
        (("take-back", "DSR-2026-0001"), "approver"),
        (("reasons", "DSR-2026-0001"), "approver"),
        (("lift", "DSR-2026-0001"), "approver"),
        (("suppressed", "DSR-2026-0001", "--end"), "approver"),
        (("reject", "DSR-2026-0001"), "data"),
        (("second", "DSR-2026-0001"), "data"),
        (("list",), "data"),
        (("show", "DSR-2026-0001"), "data"),
    ]:
        assert "may not do this" in str(command(*words, typed="0409990001\n", account=account).exception)


def test_no_canary_leaves_the_ticket(kept, caplog):
    caplog.set_level(logging.DEBUG)
    ticket = opened(kept, times=[Call(line=LINE, from_at=at(8), to_at=at(9))])
    with kept.connect() as conn:
        seen = fulfilling.look(conn, ticket, kept.app.keyring, OFFICER)
        shown = [fulfilling.show(conn, ticket), *fulfilling.register(conn), *fulfilling.timeline(conn, ticket), *seen]
    close(kept, ticket)

    stored = [
        str(row)
        for table in ("ticket", "ticket_subject", "blocker", "subject_salt")
        for row in kept.rows(f"select t::text from {table} t")
    ]
    for text in (*stored, json.dumps(kept.events()), *map(repr, shown), caplog.text):
        assert "40999000" not in text
        assert b"40999000".hex() not in text
    assert kept.pseudonym(CALLER).hex() not in json.dumps(kept.events())
