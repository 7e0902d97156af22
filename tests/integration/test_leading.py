"""A ticket is led from run to run: one run carries it, and only what people said in it counts."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from callkeeper.errors import NotAllowed
from callkeeper.jobs import fulfilling, leading
from callkeeper.jobs.leading import Stretch
from callkeeper.phone import E164
from callkeeper.tickets import Evidence, Right
from deliver import PHM, deliver
from deliver import Call as Delivered
from installation import ACTOR, DAY, OFFICER, Installation, at

CALLER, OTHER = E164("+358409990001"), E164("+358409990002")


@pytest.fixture
def kept(office: Installation) -> Installation:
    """Three calls: a and b of one caller, to two companies, c of another one."""
    calls = [
        Delivered(id="a", start=at(8), caller=CALLER),
        Delivered(id="b", start=at(9), caller=CALLER, line=PHM),
        Delivered(id="c", start=at(10), caller=OTHER),
    ]
    deliver(office.linna, DAY, calls)
    office.run("import")
    return office


@pytest.fixture
def live(kept: Installation) -> Installation:
    """The same, with nights that delete, and that had foreseen it."""
    kept.go_live()
    kept.forecast()
    return kept


def opened(office: Installation, right: Right = Right.erasure, number: E164 = CALLER) -> str:
    """A request of CALLER's that reached the company today."""
    facts = {"numbers": [number], "received_on": DAY, "channel": "letter", "language": "fi", "account": "officer"}
    with office.connect() as conn:
        return fulfilling.open_ticket(conn, office.app.keyring, right=right, actor=OFFICER, **facts)  # type: ignore[arg-type]  # a test's words


def proven(office: Installation, ticket: str, *, evidence: Evidence = "callback", to_at: datetime | None = None) -> str:
    """Identity proven: the number was theirs for 30 days up to then, or to the end of DAY."""
    period = {"from_at": at(0) - timedelta(30), "to_at": to_at or at(0) + timedelta(days=1)}
    with office.connect() as conn:
        fulfilling.prove_identity(
            conn, office.app.keyring, ticket, evidence=evidence, **period, account="officer", actor=OFFICER
        )
    return ticket


def close(office: Installation, ticket: str) -> None:
    with office.connect() as conn:
        fulfilling.close(conn, ticket, "withdrawn", years=3, actor=OFFICER)


def begin(
    office: Installation,
    ticket: str,
    run: str,
    *,
    right: str = "erasure",
    what: str = "advance",
    account: str | None = "officer",
    **more: Any,
) -> Stretch:
    with office.connect() as conn:
        return leading.begin(
            office.app, conn, ticket=ticket, right=right, what=what, run=run, account=account, actor=ACTOR, **more
        )  # type: ignore[arg-type]  # a test's words


def answer(
    office: Installation, ticket: str, run: str, question: str, chosen: str, account: str = "officer", **params: Any
) -> Stretch:
    with office.connect() as conn:
        return leading.record(
            office.app,
            conn,
            ticket=ticket,
            question=question,
            chosen=chosen,
            params=params,
            run=run,
            account=account,
            actor=OFFICER,
        )


def scope(office: Installation, ticket: str) -> str:
    with office.connect() as conn:
        return fulfilling.seen(conn, ticket).scope.hex()[:12]


def decisions(office: Installation, ticket: str) -> list[tuple[str, str]]:
    return [
        tuple(row)
        for row in office.rows("select action, account from decision where subject = %s order by decision", ticket)
    ]


def asked(office: Installation, right: Right = Right.erasure, **more: Any) -> str:
    """A ticket whose first run has asked the officer."""
    ticket = proven(office, opened(office, right), **more)
    assert begin(office, ticket, f"{ticket}--1", right=right).question == "decide"
    return ticket


# --- from run to run --------------------------------------------------------------------------------------------------


def test_an_erasure_is_led_to_its_end_by_four_answers_and_a_night(live):
    ticket = asked(live)
    seen = scope(live, ticket)

    first = answer(live, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)
    assert (first.state, first.waits_for, first.goes_on) == ("approved", "second", f"{ticket}--2")
    second = begin(live, ticket, f"{ticket}--2")
    assert (second.question, "- Ground: unlawful" in second.text) == ("second", True)
    assert answer(live, ticket, f"{ticket}--2", "second", "Approve", "approver", scope=seen).goes_on == f"{ticket}--3"
    night = begin(live, ticket, f"{ticket}--3")
    assert (night.state, night.waits_for, night.question) == ("carried_out", "night", None)
    live.sweep("the night")
    assert begin(live, ticket, f"{ticket}--4").question == "release"
    assert answer(live, ticket, f"{ticket}--4", "release", "Release").goes_on == f"{ticket}--5"
    assert begin(live, ticket, f"{ticket}--5").question == "deliver"
    end = answer(live, ticket, f"{ticket}--5", "deliver", "Delivered", channel="letter")

    assert (end.state, end.waits_for, end.goes_on) == ("closed", "end", None)
    assert decisions(live, ticket) == [
        ("dsr_approve:unlawful", "officer"),
        ("dsr_second", "approver"),
        ("dsr_release", "officer"),
    ]
    assert begin(live, ticket, f"{ticket}--6").waits_for == "end"


def test_a_request_of_an_unproven_person_ends_its_run_and_searches_for_nobody(kept):
    ticket = opened(kept, Right.erasure)

    stretch = begin(kept, ticket, f"{ticket}--1")

    assert (stretch.waits_for, stretch.question, dict(stretch.counts)) == ("identity", None, {})
    proven(kept, ticket)
    assert begin(kept, ticket, f"{ticket}--2").question == "decide"


def test_a_question_shows_counts_and_days_and_nothing_of_the_person(kept):
    ticket = proven(kept, opened(kept, Right.erasure))

    stretch = begin(kept, ticket, f"{ticket}--1")

    assert dict(stretch.counts) == {"phm": 1, "punavaara": 1}
    for shown in ("1 of phm, 1 of punavaara", scope(kept, ticket), "days left", "callback"):
        assert shown in stretch.text
    assert CALLER not in stretch.text
    assert CALLER[4:] not in stretch.text


def test_a_refusal_takes_its_ground_and_the_reasons_that_were_noted_before(kept):
    ticket = asked(kept)

    without = answer(kept, ticket, f"{ticket}--1", "decide", "Refuse", ground="legal_claims")
    assert "reasons" in without.text
    assert without.goes_on == f"{ticket}--2"
    begin(kept, ticket, f"{ticket}--2")
    with kept.connect() as conn:
        fulfilling.note_reasons(
            conn, kept.app.keyring, ticket, "A claim is before the court.", account="officer", actor=OFFICER
        )
    wrong = answer(kept, ticket, f"{ticket}--2", "decide", "Refuse", ground="+358409990001")
    assert "ground" in wrong.text
    assert "358" not in wrong.text
    begin(kept, ticket, f"{ticket}--3")
    refused = answer(kept, ticket, f"{ticket}--3", "decide", "Refuse", ground="legal_claims")

    assert (refused.state, refused.waits_for) == ("refused", "release")
    assert decisions(kept, ticket) == [("dsr_refuse:legal_claims", "officer")]


def test_a_yes_to_an_erasure_takes_its_ground_and_says_nothing_else_again(kept):
    ticket = asked(kept)
    for run, typed in enumerate((None, "", "legal_claims", "+358409990001"), start=1):
        yes = answer(
            kept, ticket, f"{ticket}--{run}", "decide", "Approve", scope=scope(kept, ticket), erasure_ground=typed
        )
        assert "no_longer_needed" in yes.text
        assert "358" not in yes.text
        assert (yes.state, decisions(kept, ticket)) == ("previewed", [])
        begin(kept, ticket, f"{ticket}--{run + 1}")

    answer(kept, ticket, f"{ticket}--5", "decide", "Approve", scope=scope(kept, ticket), erasure_ground="law_orders_it")

    assert decisions(kept, ticket) == [("dsr_approve:law_orders_it", "officer")]


def test_an_extension_is_an_answer_and_the_question_is_asked_again(kept):
    ticket = asked(kept)

    stretch = answer(kept, ticket, f"{ticket}--1", "decide", "Extend", extension_reason="complexity")

    assert (stretch.waits_for, stretch.goes_on) == ("decide", f"{ticket}--2")
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).extended_to is not None


@pytest.mark.parametrize(
    ("chosen", "waits_for"), [("Ask for identity", "identity"), ("Ask for clarification", "person")]
)
def test_what_the_person_is_asked_ends_the_run(kept, chosen, waits_for):
    ticket = asked(kept)

    stretch = answer(kept, ticket, f"{ticket}--1", "decide", chosen)

    assert (stretch.waits_for, stretch.goes_on) == (waits_for, None)
    with kept.connect() as conn:
        assert leading.where(conn, ticket).run is None


def test_what_came_in_after_the_question_is_not_approved_with_it(kept):
    ticket = asked(kept, to_at=at(0) + timedelta(days=5))
    seen = scope(kept, ticket)
    tomorrow = DAY + timedelta(1)
    deliver(kept.linna, tomorrow, [Delivered(id="d", start=at(8, day=tomorrow), caller=CALLER)])
    kept.later(days=1)
    kept.run("tomorrow", tomorrow)

    stretch = answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)

    assert (stretch.state, stretch.goes_on) == ("previewed", f"{ticket}--2")
    assert "changed" in stretch.text
    assert decisions(kept, ticket) == []
    assert begin(kept, ticket, f"{ticket}--2").text.count("2 of punavaara") == 1


@pytest.mark.parametrize("typed", [None, "", "000000000000", "short"])
def test_a_yes_repeats_the_scope_that_was_shown(kept, typed):
    ticket = asked(kept)

    stretch = answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=typed)

    assert stretch.state == "previewed"
    assert stretch.text.startswith("Nothing was recorded")
    assert decisions(kept, ticket) == []


def test_the_second_person_is_never_the_first_whatever_airflow_lets_through(kept):
    ticket = asked(kept)
    seen = scope(kept, ticket)
    answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)
    begin(kept, ticket, f"{ticket}--2")

    with kept.connect() as conn:
        assert leading.asked(kept.app, conn, ticket, "second") == ("approver",)
    same = answer(kept, ticket, f"{ticket}--2", "second", "Approve", "officer", scope=seen)

    assert same.state == "approved"
    assert "another person" in same.text
    assert same.goes_on == f"{ticket}--3"
    assert decisions(kept, ticket) == [("dsr_approve:unlawful", "officer")]


def test_a_second_persons_no_takes_it_back_to_the_officer(kept):
    ticket = asked(kept)
    answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=scope(kept, ticket))
    begin(kept, ticket, f"{ticket}--2")

    answer(kept, ticket, f"{ticket}--2", "second", "Reject", "approver")

    assert begin(kept, ticket, f"{ticket}--3").question == "decide"


def test_an_answer_of_somebody_who_has_no_such_duty_does_not_count(kept):
    ticket = asked(kept)

    stretch = answer(
        kept,
        ticket,
        f"{ticket}--1",
        "decide",
        "Approve",
        "approver",
        erasure_ground="unlawful",
        scope=scope(kept, ticket),
    )

    assert "does not count" in stretch.text
    assert stretch.goes_on == f"{ticket}--2"
    assert decisions(kept, ticket) == []


def test_a_copy_is_made_released_and_delivered_and_one_that_is_taken_back_is_decided_on_anew(live):
    ticket = asked(live, Right.access, evidence="strong")

    first = answer(live, ticket, f"{ticket}--1", "decide", "Approve", scope=scope(live, ticket))
    assert (first.state, first.goes_on) == ("approved", f"{ticket}--2")
    made = begin(live, ticket, f"{ticket}--2", right="access")
    assert (made.state, made.question) == ("carried_out", "release")
    answer(live, ticket, f"{ticket}--2", "release", "Take back")
    assert begin(live, ticket, f"{ticket}--3", right="access").question == "decide"
    answer(live, ticket, f"{ticket}--3", "decide", "Approve", scope=scope(live, ticket))
    begin(live, ticket, f"{ticket}--4", right="access")
    answer(live, ticket, f"{ticket}--4", "release", "Release")
    assert begin(live, ticket, f"{ticket}--5", right="access").question == "deliver"
    waits = answer(live, ticket, f"{ticket}--5", "deliver", "Not yet")
    assert (waits.state, waits.goes_on) == ("released", None)
    begin(live, ticket, f"{ticket}--6", right="access")
    end = answer(live, ticket, f"{ticket}--6", "deliver", "Delivered", channel="visit")

    assert end.state == "closed"
    assert [action for action, _ in decisions(live, ticket)][-1] == "dsr_release"


def test_a_copy_on_weak_evidence_takes_a_second_person_and_nothing_at_all_does_not(kept):
    weak = asked(kept, Right.access)
    answer(kept, weak, f"{weak}--1", "decide", "Approve", scope=scope(kept, weak))
    assert begin(kept, weak, f"{weak}--2", right="access").question == "second"

    nobody = opened(kept, Right.access, number=E164("+358409990009"))
    proven(kept, nobody)
    begin(kept, nobody, f"{nobody}--1", right="access")
    answer(kept, nobody, f"{nobody}--1", "decide", "Approve", scope=scope(kept, nobody))
    assert begin(kept, nobody, f"{nobody}--2", right="access").question == "release"


def test_an_erasure_waits_for_the_copy_of_the_same_person(live):
    copy = asked(live, Right.access, evidence="strong")
    erasure = asked(live)
    answer(live, erasure, f"{erasure}--1", "decide", "Approve", erasure_ground="unlawful", scope=scope(live, erasure))
    begin(live, erasure, f"{erasure}--2")
    answer(live, erasure, f"{erasure}--2", "second", "Approve", "approver", scope=scope(live, erasure))
    begin(live, erasure, f"{erasure}--3")
    live.sweep("first")
    assert begin(live, erasure, f"{erasure}--4").waits_for == "night"

    close(live, copy)
    live.later(days=1)
    live.forecast()
    live.sweep("second")

    assert begin(live, erasure, f"{erasure}--5").question == "release"


def test_which_tickets_wait_for_the_night_is_asked_of_all_at_once_and_changes_nothing(live):
    went, waits, portable = asked(live), asked(live, right=Right.erasure), asked(live, Right.access, evidence="strong")
    for ticket in (went, waits):
        answer(live, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=scope(live, ticket))
        begin(live, ticket, f"{ticket}--2")
        answer(live, ticket, f"{ticket}--2", "second", "Approve", "approver", scope=scope(live, ticket))
        begin(live, ticket, f"{ticket}--3")
    before = live.rows("select * from ticket_recording order by ticket, recording")
    with live.connect() as conn:
        assert leading.on_their_way(conn) == {went, waits}
        assert leading.on_their_way(conn, went) == {went}
        assert leading.on_their_way(conn, portable) == frozenset()
    assert live.rows("select * from ticket_recording order by ticket, recording") == before
    close(live, portable)

    live.sweep("the night")
    with live.connect() as conn:
        assert leading.on_their_way(conn) == frozenset()
        # It says so before the release notes it.
        assert live.value("select count(*) from ticket_recording where outcome is not null") == 0


# --- one run at a time ------------------------------------------------------------------------------------------------


def test_a_second_run_is_told_which_one_has_the_ticket(kept):
    ticket = asked(kept)

    with pytest.raises(NotAllowed, match=rf"{ticket}--1 carries {ticket}, and waits for an answer \(decide\)"):
        begin(kept, ticket, "manual__2")

    with kept.connect() as conn:
        assert (leading.where(conn, ticket).run, leading.where(conn, ticket).question) == (f"{ticket}--1", "decide")


def test_a_refused_run_uses_up_its_number_so_that_the_next_one_has_another(kept):
    ticket = asked(kept)

    with pytest.raises(NotAllowed):
        begin(kept, ticket, f"{ticket}--2")

    with kept.connect() as conn:
        assert leading.where(conn, ticket).next_run == f"{ticket}--3"


def test_a_run_that_airflow_has_no_more_has_the_ticket_no_more(kept):
    ticket = asked(kept)

    assert begin(kept, ticket, f"{ticket}--2", lives=lambda run: run != f"{ticket}--1").question == "decide"


def test_airflow_is_asked_while_nothing_is_locked(kept):
    ticket = asked(kept)

    def lives(run: str) -> bool:
        kept.sql.execute("set lock_timeout = '2s'")
        try:
            kept.sql.execute("update ticket set stretches = stretches")
        finally:
            kept.sql.execute("reset lock_timeout")
        return False

    assert begin(kept, ticket, f"{ticket}--2", lives=lives).question == "decide"


def test_what_airflow_said_of_a_run_does_not_count_for_the_one_that_came_meanwhile(kept):
    ticket = asked(kept)

    def lives(run: str) -> bool:
        begin(kept, ticket, "manual__2", what="take_over")
        return False

    with pytest.raises(NotAllowed, match=rf"manual__2 carries {ticket}"):
        begin(kept, ticket, f"{ticket}--2", lives=lives)


def test_a_run_taken_over_by_a_deputy_has_no_say_any_more(kept):
    ticket = asked(kept)
    seen = scope(kept, ticket)

    assert begin(kept, ticket, "manual__3", what="take_over").question == "decide"
    with pytest.raises(NotAllowed, match="does not carry"):
        answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)

    assert decisions(kept, ticket) == []
    assert (
        answer(kept, ticket, "manual__3", "decide", "Approve", erasure_ground="unlawful", scope=seen).goes_on
        == f"{ticket}--3"
    )


def test_a_run_at_work_is_not_taken_over(kept):
    ticket = asked(kept)
    kept.sql.execute("update ticket set question = null, lease_until = clock_timestamp() + interval '1 hour'")

    with pytest.raises(NotAllowed, match="is at work"):
        begin(kept, ticket, "manual__3", what="take_over")


def test_an_answer_counts_once_however_often_its_task_runs(kept):
    ticket = asked(kept)
    seen = scope(kept, ticket)

    once, again = (
        answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)
        for _ in range(2)
    )

    assert decisions(kept, ticket) == [("dsr_approve:unlawful", "officer")]
    assert (once.goes_on, again.goes_on) == (f"{ticket}--2", f"{ticket}--2")


def test_who_takes_over_while_an_answer_is_recorded_comes_after_it(kept, monkeypatch):
    ticket = asked(kept)
    seen = scope(kept, ticket)
    carry = leading._carry
    taken: list[Stretch] = []
    deputy = threading.Thread(target=lambda: taken.append(begin(kept, ticket, "manual__3", what="take_over")))

    def meanwhile(*arguments: Any) -> None:
        deputy.start()
        while deputy.is_alive() and not kept.value(
            "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
        ):
            time.sleep(0.01)
        carry(*arguments)

    monkeypatch.setattr(leading, "_carry", meanwhile)
    answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)
    deputy.join(30)

    assert [stretch.question for stretch in taken] == ["second"]
    assert decisions(kept, ticket) == [("dsr_approve:unlawful", "officer")]


def test_an_answer_whose_worker_was_killed_before_its_end_is_recorded_all_the_same(kept, monkeypatch):
    ticket = asked(kept)
    seen = scope(kept, ticket)
    carry = leading._carry

    def killed(*arguments: Any) -> None:
        carry(*arguments)
        raise RuntimeError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(leading, "_carry", killed)
        with pytest.raises(RuntimeError, match="killed"):
            answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)
    again = answer(kept, ticket, f"{ticket}--1", "decide", "Approve", erasure_ground="unlawful", scope=seen)

    assert "Nothing was recorded" not in again.text
    assert "was recorded before" in again.text
    assert (again.state, again.goes_on) == ("approved", f"{ticket}--2")
    assert decisions(kept, ticket) == [("dsr_approve:unlawful", "officer")]
    with kept.connect() as conn:
        assert leading.where(conn, ticket).run is None


def test_an_answer_to_what_was_not_asked_is_refused(kept):
    ticket = asked(kept)

    for question, chosen in (("second", "Approve"), ("decide", "Release"), ("decide", "Delete everything")):
        with pytest.raises(NotAllowed, match="has not asked that"):
            answer(kept, ticket, f"{ticket}--1", question, chosen)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"right": "access"}, "asks for erasure, not for access"),
        ({"account": None}, "Nobody's account"),
        ({"account": "data"}, "may not do this"),
        ({"account": "approver", "what": "take_over"}, "may not do this"),
        ({"what": "extend"}, "needs its reason"),
    ],
)
def test_a_run_that_may_not_begin_is_refused_in_words(kept, wrong, said):
    ticket = proven(kept, opened(kept, Right.erasure))

    with pytest.raises(NotAllowed, match=said):
        begin(kept, ticket, f"{ticket}--1", **wrong)

    assert kept.value("select run is null from ticket")


def test_a_dry_run_says_what_there_is_and_changes_nothing(kept):
    ticket = proven(kept, opened(kept, Right.erasure))
    before = kept.rows("select * from ticket"), len(kept.events())

    stretch = begin(kept, ticket, "manual__1", what="dry_run")

    assert dict(stretch.counts) == {"phm": 1, "punavaara": 1}
    assert stretch.question is None
    assert (kept.rows("select * from ticket"), len(kept.events())) == before


def test_an_extension_disturbs_no_run_that_waits(kept):
    ticket = asked(kept)

    stretch = begin(kept, ticket, "manual__2", what="extend", extension_reason="complexity")

    assert stretch.question is None
    assert f"{ticket}--1 carries" in stretch.text
    with kept.connect() as conn:
        assert fulfilling.show(conn, ticket).extended_to is not None
        assert leading.where(conn, ticket).run == f"{ticket}--1"
