"""A person's request in real Airflow runs, from the officer's question to its end; answers come through Airflow's REST API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from callkeeper import db, settings, wiring
from callkeeper.demo import requests as demonstrated
from callkeeper.embedded.stack import Stack
from callkeeper.errors import NotAllowed
from callkeeper.jobs import answering, carrying_out, fulfilling, leading, packaging
from callkeeper.jobs.fulfilling import Ticket
from callkeeper.phone import E164
from callkeeper.tickets import Evidence, Language, Right
from callkeeper.trail.events import Actor, RunEnded, RunStarted, TaskEnded, TaskStarted, read
from callkeeper.wiring import App
from demonstration import leaks_in_databases, leaks_in_files, night, numbers_of_callers

DAG = "subject_request"
REASONS = "Perustelu: kantelu-4711-koskee-vaatimusta"
"""Free text that may stand nowhere but in the letter: looked for as the numbers are."""
NOBODYS, PUT_RIGHT = E164("+358409990007"), E164("+358409990008")
"""Two numbers from which nobody rang: one is asked for, the other is what a rectification writes."""
FIELDS = {
    "decide": ("scope", "erasure_ground", "ground", "extension_reason"),
    "second": ("scope",),
    "release": (),
    "deliver": ("channel",),
}
"""What an answer to each question has, all of it always."""
PATIENCE_SECONDS = 240
ACTOR = Actor(account="officer", rule="test")


@dataclass(frozen=True)
class Person:
    """An account in Airflow, and what it does there."""

    name: str
    http: httpx.Client

    def trigger(self, ticket: str, right: str, *, run: str | None = None, **conf: str) -> str:
        body = {"logical_date": None, "conf": {"ticket": ticket, "right": right, "action": "advance"} | conf}
        answer = self.http.post(f"/api/v2/dags/{DAG}/dagRuns", json=body | ({"dag_run_id": run} if run else {}))
        answer.raise_for_status()
        return str(answer.json()["dag_run_id"])

    def get(self, run: str, *path: str) -> Any:
        answer = self.http.get("/".join((f"/api/v2/dags/{DAG}/dagRuns", run, *path)))
        answer.raise_for_status()
        return answer.json()

    def ends(self, run: str) -> str:
        """The state in which the run has ended."""
        return str(_until(lambda: self._state(run) in ("success", "failed") and self._state(run), f"{run} ends"))

    def _state(self, run: str) -> str | None:
        answer = self.http.get(f"/api/v2/dags/{DAG}/dagRuns/{run}")
        return None if answer.status_code == 404 else str(answer.json()["state"])

    def note(self, run: str) -> str:
        return str(self.get(run)["note"] or "")

    def asked(self, run: str) -> str:
        """What the run asks, once it waits for the answer."""

        def waits() -> str | None:
            if self._state(run) is None:
                before = self._state(_before(run))
                assert before != "failed", f"{run} is not triggered: the run before it failed"
                return None
            tasks = self.get(run, "taskInstances")["task_instances"]
            failed = [t["task_id"] for t in tasks if t["state"] == "failed"]
            assert not failed, f"{run}: {failed} failed"
            return next((t["task_id"] for t in tasks if t["state"] == "awaiting_input"), None)

        found = _until(waits, f"{run} asks something")
        # An answer within about a second meets a process that has not ended yet.
        time.sleep(2)
        return str(found)

    def question(self, run: str, task: str) -> Any:
        return self.get(run, "taskInstances", task, "-1", "hitlDetails")

    def says(self, run: str, task: str, chosen: str, **fields: str | None) -> httpx.Response:
        """The answer, with all of the question's fields."""
        every: dict[str, str | None] = dict.fromkeys(FIELDS[task])
        return self.http.patch(
            f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances/{task}/-1/hitlDetails",
            json={"chosen_options": [chosen], "params_input": every | fields},
        )

    def answers(self, run: str, chosen: str, *, scope: Callable[[], str] | None = None, **fields: str | None) -> None:
        """Waits for the run's question, and answers it; ``scope``: what it shows by then. On a busy machine the process that asked may
        not have ended after two seconds: then Airflow fails the task, which asks again by itself, and is answered again."""
        for _ in range(3):
            task = self.asked(run)
            answer = self.says(run, task, chosen, **fields, **({"scope": scope()} if scope else {}))
            assert answer.status_code == 200, answer.text
            if _until(lambda task=task: self._taken(run, task), f"{task} of {run} is taken") == "success":
                return
        raise AssertionError(f"{run}: its question was answered too soon, three times")

    def _taken(self, run: str, task: str) -> str | None:
        """Whether an answer has reached its task; ``again``: it asks once more."""
        state = str(self.get(run, "taskInstances", task)["state"])
        if state == "awaiting_input" and not self.question(run, task)["response_received"]:
            return "again"
        return state if state in ("success", "failed") else None

    def log(self, run: str, task: str, attempt: int = 1) -> str:
        answer = self.http.get(f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}")
        answer.raise_for_status()
        return answer.text


def _before(run: str) -> str:
    ticket, _, number = run.partition("--")
    return f"{ticket}--{int(number or 1) - 1}"


def _until(found: Any, what: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (it := found()):
        assert time.monotonic() < end, f"not in {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.3)
    return it


@dataclass(frozen=True)
class Desk:
    """The installation, as its command line has it, and its callers, each asked about once, whoever asks."""

    app: App
    numbers: list[E164]

    def opened(
        self,
        right: Right,
        *,
        language: Language = "fi",
        evidence: Evidence | None = "callback",
        number: E164 | None = None,
        few: bool = False,
    ) -> str:
        """A request of somebody who rang and whom nobody has asked about, identity proven for the days of the calls unless there is no evidence."""
        who = number or self.numbers.pop(0 if few else -1)
        with self.app.connect() as conn:
            today = conn.execute("select helsinki_day(callkeeper_now())").fetchone()[0]  # type: ignore[index]  # one row
            ticket = fulfilling.open_ticket(
                conn, self.app.keyring, right=right, received_on=today, channel="email", language=language, numbers=[who],
                account="officer", actor=ACTOR,
            )  # fmt: skip
            if evidence:
                now = db.now(conn)
                fulfilling.prove_identity(
                    conn, self.app.keyring, ticket, evidence=evidence, from_at=now - timedelta(days=40), to_at=now, note="",
                    account="officer", actor=ACTOR,
                )  # fmt: skip
        return ticket

    def show(self, ticket: str) -> Ticket:
        with self.app.connect() as conn:
            return fulfilling.show(conn, ticket)

    def scope(self, ticket: str) -> Callable[[], str]:
        """The beginning of what the ticket is about, when it is asked for."""

        def seen() -> str:
            with self.app.connect() as conn:
                return fulfilling.seen(conn, ticket).scope.hex()[: leading.SCOPE_CHARACTERS]

        return seen

    def found(self, ticket: str) -> list[fulfilling.Found]:
        with self.app.connect() as conn:
            return list(fulfilling.seen(conn, ticket).chosen)

    def letter(self, ticket: str, kind: str | None = None) -> str:
        """The letter of that kind, else the answer itself, is printed in the ticket's language; which one it is."""
        with self.app.connect() as conn:
            which = kind or str(answering.final(conn, ticket))
            answering.write(conn, self.app, ticket, which, actor=ACTOR)
        return which

    def lift(self, ticket: str) -> int:
        with self.app.connect() as conn:
            return carrying_out.lift(conn, ticket, account="officer", actor=ACTOR)

    def value(self, query: str, *parameters: Any) -> Any:
        with self.app.connect() as conn:
            row = conn.execute(query, parameters).fetchone()  # type: ignore[call-overload]  # the tests' own SQL
            return row[0] if row else None

    def decisions(self, ticket: str) -> list[tuple[str, str]]:
        with self.app.connect() as conn:
            rows = conn.execute("select action, account from decision where subject = %s order by decision", (ticket,))
            return [(row.action, row.account) for row in rows]

    def events(self, run: str) -> list[Any]:
        with self.app.connect() as conn:
            rows = conn.execute("select body from event where class = 'run' order by id").fetchall()
        found = [read(bytes(row.body)) for row in rows]
        return [r for r in found if r.actor.run == run]


@pytest.fixture(scope="module")
def desk(home: Path) -> Desk:
    app = wiring.build(settings.load(home=home))
    first = app.settings.import_first_day
    assert first is not None
    found = demonstrated.callers(app, [first + timedelta(days=n) for n in range(2)])
    ranked = sorted(found, key=lambda number: (found[number], number))
    with app.connect() as conn:
        asked = {bytes(row[0]) for row in conn.execute("select unnest(pseudonyms) from ticket_subject")}
    return Desk(app=app, numbers=[n for n in ranked if asked.isdisjoint(app.keyring.pseudonyms(n).values())])


@pytest.fixture(scope="module")
def people(stack: Stack) -> Iterator[dict[str, Person]]:
    found = {}
    for login in stack.logins:
        http = httpx.Client(base_url=stack.url, timeout=60, trust_env=False)
        token = http.post("/auth/token", json={"username": login.account, "password": login.password})
        http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        found[login.account] = Person(login.account, http)
    yield found
    for person in found.values():
        person.http.close()


@pytest.fixture
def officer(people: dict[str, Person]) -> Person:
    return people["officer"]


@pytest.fixture
def deputy(people: dict[str, Person]) -> Person:
    return people["deputy"]


@pytest.fixture
def approver(people: dict[str, Person]) -> Person:
    return people["approver"]


@pytest.fixture
def admin(people: dict[str, Person]) -> Person:
    return people["admin"]


def _runs(ticket: str, *numbers: int) -> Sequence[str]:
    return [f"{ticket}--{n}" for n in numbers]


# --- to the end ---------------------------------------------------------------------------------------------------------


def test_the_demonstrations_requests_wait_for_the_officer(desk, officer):
    noted = (desk.app.settings.home / demonstrated.OPENED).read_text()
    tickets = re.findall(r"DSR-\d{4}-\d{4,}", noted)

    assert [desk.show(ticket).right for ticket in tickets] == ["access", "erasure"]
    for ticket in tickets:
        assert officer.asked(f"{ticket}--1") == "decide"


def test_an_erasure_goes_from_the_question_over_two_people_and_a_night_to_its_delivery(desk, officer, approver, people):
    ticket = desk.opened(Right.erasure, language="sv")
    one, two, three, four, five = _runs(ticket, 1, 2, 3, 4, 5)

    officer.trigger(ticket, "erasure", run=one)
    officer.answers(one, "Approve", erasure_ground="objected", scope=desk.scope(ticket))
    approver.answers(two, "Approve", scope=desk.scope(ticket))
    assert officer.ends(three) == "success"
    assert "next night" in officer.note(three)
    night(people["data"].http, f"night-of-{ticket}")
    officer.trigger(ticket, "erasure", run=four)
    officer.answers(four, "Release")
    officer.answers(five, "Delivered", channel="letter")
    assert [officer.ends(run) for run in (one, two, four, five)] == ["success"] * 4

    assert (desk.show(ticket).state, desk.show(ticket).outcome) == ("closed", "fulfilled")
    assert desk.decisions(ticket) == [
        ("dsr_approve:objected", "officer"),
        ("dsr_second", "approver"),
        ("dsr_release", "officer"),
    ]
    with desk.app.connect() as conn:
        left = conn.execute(
            "select count(*) from ticket_recording f join recording r using (recording) where f.ticket = %s", (ticket,)
        ).fetchone()
    assert left == (0,)


def test_a_copy_goes_from_the_question_over_its_package_to_its_delivery(desk, officer, approver):
    ticket = desk.opened(Right.access, language="en")
    one, two, three, four = _runs(ticket, 1, 2, 3, 4)

    officer.trigger(ticket, "access", run=one)
    officer.answers(one, "Approve", scope=desk.scope(ticket))
    approver.answers(two, "Approve", scope=desk.scope(ticket))
    assert officer.asked(three) == "release"
    with desk.app.connect() as conn:
        package = packaging.show(conn, ticket)
    assert package is not None
    officer.answers(three, "Release")
    officer.answers(four, "Delivered", channel="visit")
    assert officer.ends(four) == "success"

    assert (desk.show(ticket).state, desk.show(ticket).outcome) == ("closed", "fulfilled")
    assert desk.decisions(ticket) == [
        ("dsr_approve", "officer"),
        ("dsr_second", "approver"),
        ("dsr_release", "officer"),
    ]


def test_a_refusal_is_answered_by_its_letter(desk, officer, deputy):
    ticket = desk.opened(Right.erasure, language="fi", few=True)
    one, two, three = _runs(ticket, 1, 2, 3)
    with desk.app.connect() as conn:
        fulfilling.note_reasons(conn, desk.app.keyring, ticket, REASONS, account="officer", actor=ACTOR)

    officer.trigger(ticket, "erasure", run=one)
    officer.answers(one, "Refuse", ground="legal_claims")
    deputy.answers(two, "Release")
    officer.answers(three, "Delivered", channel="email")
    assert officer.ends(three) == "success"

    assert desk.show(ticket).outcome == "refused"
    assert desk.decisions(ticket) == [("dsr_refuse:legal_claims", "officer"), ("dsr_release", "deputy")]


def test_a_rectification_puts_right_what_was_drafted_and_nothing_before(desk, officer):
    ticket = desk.opened(Right.rectification, language="fi")
    one, two, three, four, five = _runs(ticket, 1, 2, 3, 4, 5)

    officer.trigger(ticket, "rectification", run=one)
    officer.answers(one, "Approve", scope=desk.scope(ticket))
    assert officer.ends(one) == "success"
    assert "Nothing is put right by this yet" in officer.note(one)
    assert officer.asked(two) == "decide"
    wrong = next(f for f in desk.found(ticket) if f.place == "catalogue")
    earlier = wrong.started_at - timedelta(minutes=1)
    with desk.app.connect() as conn:
        for what, value in (("number", PUT_RIGHT), ("time", earlier), ("statement", REASONS)):
            fulfilling.correct(conn, desk.app.keyring, ticket, wrong.recording, what, value, ACTOR)
    officer.answers(two, "Narrow")
    officer.answers(three, "Approve", scope=desk.scope(ticket))
    assert officer.asked(four) == "release"
    assert desk.letter(ticket) == "completed_rectification"
    officer.answers(four, "Release")
    officer.answers(five, "Delivered", channel="letter")
    assert officer.ends(five) == "success"

    assert desk.show(ticket).outcome == "fulfilled"
    assert desk.decisions(ticket) == [("dsr_approve", "officer"), ("dsr_release", "officer")]
    with desk.app.connect() as conn:
        row = conn.execute(
            "select started_at, pseudonym from recording where recording = %s", (wrong.recording,)
        ).fetchone()
    assert row == (earlier, desk.app.keyring.pseudonym(PUT_RIGHT))


def test_a_restriction_outlasts_its_ticket_until_the_person_was_told_of_its_end(desk, officer):
    ticket = desk.opened(Right.restriction, language="sv")
    one, two, three = _runs(ticket, 1, 2, 3)

    officer.trigger(ticket, "restriction", run=one)
    officer.answers(one, "Approve", scope=desk.scope(ticket))
    assert officer.asked(two) == "release"
    assert desk.letter(ticket) == "completed_restriction"
    officer.answers(two, "Release")
    officer.answers(three, "Delivered", channel="letter")
    assert officer.ends(three) == "success"

    assert desk.show(ticket).outcome == "fulfilled"
    standing = "select array_agg(recordings) from blocker where case_ref = %s and ended_at is null"
    (restricted,) = desk.value(standing, ticket)
    assert set(restricted) == {f.recording for f in desk.found(ticket)}
    tomorrow = desk.value("select helsinki_day(callkeeper_now()) + 1")
    with desk.app.connect() as conn:
        carrying_out.announce_lifting(conn, ticket, tomorrow, "not_needed", account="officer", actor=ACTOR)
    with pytest.raises(NotAllowed, match="has not been told"):
        desk.lift(ticket)
    desk.letter(ticket, "restriction_lifting")
    with desk.app.connect() as conn:
        answering.sent(conn, ticket, "restriction_lifting", "letter", account="officer", actor=ACTOR)
    with pytest.raises(NotAllowed, match="not before"):
        desk.lift(ticket)
    # The day comes; the stack's clock is everybody's, and stays.
    with desk.app.connect() as conn:
        conn.execute("update ticket set lifts_on = lifts_on - 1 where ticket = %s", (ticket,))
        conn.commit()
    assert desk.lift(ticket) == len(restricted)
    assert desk.value(standing, ticket) is None


def test_an_objection_that_is_upheld_keeps_nothing_of_the_caller_after_a_night(desk, officer, approver, people):
    number = desk.numbers.pop()
    ticket = desk.opened(Right.objection, language="en", number=number)
    one, two, three, four, five = _runs(ticket, 1, 2, 3, 4, 5)
    suppressed = "select count(*) from suppression where kind = 'caller' and ticket = %s"

    officer.trigger(ticket, "objection", run=one)
    officer.answers(one, "Approve", scope=desk.scope(ticket))
    assert approver.asked(two) == "second"
    assert desk.value(suppressed, ticket) == 0
    approver.answers(two, "Approve", scope=desk.scope(ticket))
    assert officer.ends(three) == "success"
    assert desk.value(suppressed, ticket) == len(desk.app.keyring.pseudonyms(number))
    assert desk.show(ticket).freezes is False
    night(people["data"].http, f"night-of-{ticket}")
    officer.trigger(ticket, "objection", run=four)
    assert officer.asked(four) == "release"
    assert desk.letter(ticket) == "completed_objection"
    officer.answers(four, "Release")
    officer.answers(five, "Delivered", channel="email")
    assert officer.ends(five) == "success"

    assert desk.show(ticket).outcome == "fulfilled"
    assert {f.outcome for f in desk.found(ticket)} == {"erased"}
    with desk.app.connect() as conn:
        assert fulfilling.would_find(conn, desk.app.keyring, ticket) == {}


def test_portability_knows_no_yes_and_its_no_needs_no_other_reason(desk, officer):
    ticket = desk.opened(Right.portability, language="sv", few=True)
    one, two, three, four = _runs(ticket, 1, 2, 3, 4)

    officer.trigger(ticket, "portability", run=one)
    officer.answers(one, "Approve", scope=desk.scope(ticket))
    assert officer.ends(one) == "success"
    assert "Portability does not apply" in officer.note(one)
    officer.answers(two, "Refuse", ground="not_applicable")
    assert officer.asked(three) == "release"
    assert desk.letter(ticket) == "portability"
    officer.answers(three, "Release")
    officer.answers(four, "Delivered", channel="web")
    assert officer.ends(four) == "success"

    assert desk.show(ticket).outcome == "refused"
    assert desk.decisions(ticket) == [("dsr_refuse:not_applicable", "officer"), ("dsr_release", "officer")]


def test_a_run_extends_asks_the_person_and_goes_on_where_it_was(desk, officer):
    ticket = desk.opened(Right.restriction, few=True)
    one, two, three = _runs(ticket, 1, 2, 3)

    officer.trigger(ticket, "restriction", run=one)
    officer.answers(one, "Extend", extension_reason="number_of_requests")
    officer.answers(two, "Ask for clarification")
    assert officer.ends(two) == "success"
    assert desk.show(ticket).state == "clarification_asked"
    with desk.app.connect() as conn:
        fulfilling.answered(conn, ticket, ACTOR)
    officer.trigger(ticket, "restriction", run=three)

    assert officer.asked(three) == "decide"
    assert desk.show(ticket).extended_to is not None


def test_an_unproven_person_is_searched_for_by_nobody(desk, officer):
    ticket = desk.opened(Right.access, evidence=None, few=True)

    run = officer.trigger(ticket, "access")

    assert officer.ends(run) == "success"
    assert "Nobody has noted yet who asks" in officer.note(run)
    assert desk.show(ticket).state == "open"


def test_nothing_found_is_no_answer_while_days_are_missing(desk, officer):
    ticket = desk.opened(Right.access, language="en", number=NOBODYS)
    one, two = _runs(ticket, 1, 2)

    officer.trigger(ticket, "access", run=one)
    officer.answers(one, "Approve", scope=desk.scope(ticket))
    assert officer.asked(two) == "release"

    assert desk.letter(ticket) == "days_missing"


# --- what has no effect -------------------------------------------------------------------------------------------------


def test_a_question_is_for_the_people_in_force_and_the_second_never_for_the_first(
    desk, officer, deputy, approver, people
):
    ticket = desk.opened(Right.erasure, few=True)
    one, two, three = _runs(ticket, 1, 2, 3)
    officer.trigger(ticket, "erasure", run=one)
    assert officer.asked(one) == "decide"
    names = {user["name"] for user in officer.question(one, "decide")["assigned_users"]}

    assert names == {"officer", "deputy"}
    assert approver.says(one, "decide", "Approve", scope=desk.scope(ticket)()).status_code == 403
    assert people["data"].says(one, "decide", "Approve", scope=desk.scope(ticket)()).status_code == 403
    deputy.answers(one, "Approve", erasure_ground="objected", scope=desk.scope(ticket))
    assert officer.asked(two) == "second"
    assert {user["name"] for user in officer.question(two, "second")["assigned_users"]} == {"officer", "approver"}
    assert deputy.says(two, "second", "Approve", scope=desk.scope(ticket)()).status_code == 403
    approver.answers(two, "Reject")

    assert officer.asked(three) == "decide"
    assert [action for action, _ in desk.decisions(ticket) if action == "dsr_second"] == []


def test_a_question_that_was_marked_as_done_by_hand_is_not_answered(desk, officer, deputy, admin):
    ticket = desk.opened(Right.erasure, few=True)
    one, two = _runs(ticket, 1, 2)
    officer.trigger(ticket, "erasure", run=one)
    assert officer.asked(one) == "decide"

    marked = admin.http.patch(f"/api/v2/dags/{DAG}/dagRuns/{one}/taskInstances/decide", json={"new_state": "success"})

    assert marked.status_code == 200, marked.text
    assert officer.ends(one) == "failed"
    assert "Nobody has answered" in officer.log(one, "record")
    assert (desk.decisions(ticket), desk.show(ticket).state) == ([], "previewed")
    # A failed run has the ticket no more.
    deputy.trigger(ticket, "erasure", run=two)
    assert deputy.asked(two) == "decide"


def test_a_second_run_says_which_one_has_the_ticket(desk, officer, deputy):
    ticket = desk.opened(Right.erasure, few=True)
    one = f"{ticket}--1"
    officer.trigger(ticket, "erasure", run=one)
    assert officer.asked(one) == "decide"

    assert officer.http.post(
        f"/api/v2/dags/{DAG}/dagRuns",
        json={"dag_run_id": one, "logical_date": None, "conf": {"ticket": ticket, "right": "erasure"}},
    ).status_code == 409  # fmt: skip
    again = deputy.trigger(ticket, "erasure")

    assert deputy.ends(again) == "failed"
    assert f"The run {one} carries {ticket}, and waits for an answer (decide)." in deputy.log(again, "begin")
    assert officer.asked(one) == "decide"


def test_a_deputy_takes_a_waiting_ticket_over_and_the_first_run_has_no_say(desk, officer, deputy):
    ticket = desk.opened(Right.erasure, few=True)
    one = f"{ticket}--1"
    officer.trigger(ticket, "erasure", run=one)
    assert officer.asked(one) == "decide"

    taken = deputy.trigger(ticket, "erasure", action="take_over")
    assert deputy.asked(taken) == "decide"
    officer.answers(one, "Approve", erasure_ground="objected", scope=desk.scope(ticket))

    assert officer.ends(one) == "failed"
    assert "does not carry" in officer.log(one, "record")
    assert desk.decisions(ticket) == []
    deputy.answers(taken, "Approve", erasure_ground="objected", scope=desk.scope(ticket))
    assert deputy.ends(taken) == "success"
    assert desk.decisions(ticket) == [("dsr_approve:objected", "deputy")]


def test_a_ticket_whose_run_was_ended_or_deleted_goes_on_with_the_next(desk, officer, deputy, admin):
    ticket = desk.opened(Right.erasure, few=True)
    one, two, three = _runs(ticket, 1, 2, 3)

    def end(run: str) -> None:
        assert admin.http.patch(f"/api/v2/dags/{DAG}/dagRuns/{run}", json={"state": "failed"}).status_code == 200
        # Its teardown still runs, and says whether the run is over, whatever its colour.
        _until(lambda: admin.get(run, "taskInstances", "seal")["state"] == "success", f"{run} is sealed")
        admin.ends(run)

    officer.trigger(ticket, "erasure", run=one)
    assert officer.asked(one) == "decide"
    end(one)
    deputy.trigger(ticket, "erasure", run=two)
    assert deputy.asked(two) == "decide"
    # Airflow deletes no run that waits: it is ended first.
    end(two)
    assert admin.http.delete(f"/api/v2/dags/{DAG}/dagRuns/{two}").status_code == 204
    officer.trigger(ticket, "erasure", run=three)

    assert officer.asked(three) == "decide"


@pytest.mark.parametrize(
    ("ticket", "right", "said"),
    [("DSR-2026-9999", "access", "There is no ticket DSR-2026-9999."), (None, "access", "asks for erasure, not for access")],
)  # fmt: skip
def test_a_run_that_names_the_wrong_thing_is_red_and_says_so(desk, officer, ticket, right, said):
    which = ticket or desk.opened(Right.erasure, few=True)

    run = officer.trigger(which, right)

    assert officer.ends(run) == "failed"
    assert said in officer.log(run, "begin")


@pytest.mark.parametrize(
    "conf",
    [
        {"ticket": "+358401234501", "right": "access"},
        {"ticket": "DSR-2026-0001", "right": "everything"},
        {"ticket": "DSR-2026-0001", "right": "access", "action": "approve"},
    ],
)
def test_a_parameter_that_is_none_is_refused_at_the_trigger(officer, conf):
    answer = officer.http.post(f"/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None, "conf": conf})

    assert answer.status_code == 400, answer.text


def test_the_data_team_and_the_auditor_trigger_no_request(people):
    body = {"logical_date": None, "conf": {"ticket": "DSR-2026-0001", "right": "access"}}

    for name in ("data", "auditor"):
        assert people[name].http.post(f"/api/v2/dags/{DAG}/dagRuns", json=body).status_code == 403


# --- weeks ----------------------------------------------------------------------------------------------------------------


def test_a_question_outlives_a_restart_of_airflow(desk, officer, stack):
    ticket = desk.opened(Right.erasure, few=True)
    one, two = _runs(ticket, 1, 2)
    officer.trigger(ticket, "erasure", run=one)
    assert officer.asked(one) == "decide"

    programs = {"airflow-scheduler", "airflow-triggerer", "airflow-dag-processor"}
    stack.supervisor.halt(programs)
    stack.supervisor.run(programs)
    _until(stack.is_healthy, "Airflow is healthy again")

    officer.answers(one, "Approve", erasure_ground="objected", scope=desk.scope(ticket))
    assert officer.ends(one) == "success"
    assert officer.asked(two) == "second"
    assert desk.decisions(ticket) == [("dsr_approve:objected", "officer")]


def test_every_run_and_task_was_witnessed(desk, officer):
    ticket = desk.opened(Right.erasure, few=True)
    one = f"{ticket}--1"
    officer.trigger(ticket, "erasure", run=one)
    officer.answers(one, "Ask for identity")
    assert officer.ends(one) == "success"
    # A run's end is seen by the scheduler, which waits for no writing.
    _until(lambda: any(isinstance(r.event, RunEnded) for r in desk.events(one)), "the run's end is witnessed")

    seen = [(type(r.event), r.actor.task) for r in desk.events(one)]
    assert [kind for kind, task in seen if task is None] == [RunStarted, RunEnded]
    for task in ("begin", "decide", "record", "seal"):
        assert {(TaskStarted, task), (TaskEnded, task)} <= set(seen)
    assert {r.event.triggered_by for r in desk.events(one) if isinstance(r.event, RunStarted)} == {"officer"}


# --- nothing of the person ------------------------------------------------------------------------------------------------


def test_nothing_that_airflow_keeps_or_writes_has_a_number_or_a_reason_in_it(home: Path, stack: Stack, desk, officer):
    """Conf, XCom, rendered fields, questions and answers, the log table, notes; task and service logs, mails, object keys, URLs."""
    ticket = desk.opened(Right.erasure, few=True)
    one, two = _runs(ticket, 1, 2)
    officer.trigger(ticket, "erasure", run=one)
    officer.answers(one, "Refuse", ground="0401234501")
    assert officer.asked(two) == "decide"
    needles = numbers_of_callers(home) | {NOBODYS[4:].encode(), PUT_RIGHT[4:].encode(), REASONS.encode()}

    assert leaks_in_files(home, needles) == []
    # What a person types into Airflow's own form is the answer that Airflow keeps, and nowhere else.
    assert set(leaks_in_databases(stack, needles)) <= {"hitl_detail"}


def test_what_an_answer_asks_for_is_counts_and_codes(desk, officer):
    ticket = desk.opened(Right.erasure)
    one = f"{ticket}--1"
    officer.trigger(ticket, "erasure", run=one)
    task = officer.asked(one)

    shown = officer.question(one, task)
    assert sorted(shown["params"]) == ["erasure_ground", "extension_reason", "ground", "scope"]
    assert re.search(r"Recordings: \d+ of ", shown["body"])
    assert desk.scope(ticket)() in shown["body"]
