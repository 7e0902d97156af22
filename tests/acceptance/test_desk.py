"""The officer's and the approver's way in a browser, from the login to a delivered copy and to an erasure, by real runs of Airflow."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import browser
from callkeeper import settings as settings_module
from callkeeper import wiring
from callkeeper.clock import HELSINKI
from callkeeper.demo.requests import callers
from callkeeper.embedded.stack import Stack
from callkeeper.jobs import fulfilling
from callkeeper.wiring import App
from demonstration import night

pytestmark = browser.needs_browser
PATIENCE_MS = 180_000
"""A machine that does much else at the same time takes a minute for a run."""
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def app(home: Path) -> App:
    return wiring.build(settings_module.load(home=home))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.browser() as running:
        yield running


class Person:
    """Somebody at her browser, logged in to Airflow; everything that axe finds on a page she sees is kept."""

    def __init__(self, chromium: Any, stack: Stack, account: str, size: dict[str, int]) -> None:
        self.url, self.faults, self.said = stack.url, list[str](), list[str]()
        self.context = chromium.new_context(viewport=size, accept_downloads=True)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.go("/")
        password = next(login.password for login in stack.logins if login.account == account)
        self.page.fill("input[name=username]", account)
        self.page.fill("input[name=password]", password)
        self.page.press("input[name=password]", "Enter")
        self.page.get_by_role("heading", name="Requests").wait_for()
        # The login's own page is Airflow's: what it says in the console is not ours.
        self.page.on("console", lambda message: self.said.append(message.text))

    def go(self, path: str) -> None:
        from playwright.sync_api import Error

        try:
            self.page.goto(f"{self.url}/callkeeper{path}")
        except Error:  # it was loading itself anew at that moment
            self.page.wait_for_timeout(1000)
            self.page.goto(f"{self.url}/callkeeper{path}")

    def press(self, button: str, *, exact: bool = False) -> None:
        self.page.get_by_role("button", name=button, exact=exact).first.click()

    def unfold(self, summary: str) -> None:
        self.page.locator("summary", has_text=summary).first.click()

    def wait(self, words: str) -> None:
        self.page.get_by_text(words).first.wait_for()

    def until(self, ticket: str, words: str) -> None:
        """Looks at the ticket until it says so: a run goes on by itself."""
        for _ in range(PATIENCE_MS // 2000):
            self.go(f"/tickets/{ticket}")
            if self.page.get_by_text(words).count():
                return
            self.page.wait_for_timeout(2000)
        raise AssertionError(f"{ticket} never said: {words}. {self.page.inner_text('main')[:600]}")

    def say(self, ticket: str, button: str, then: str, **chosen: str) -> None:
        """Presses the ticket's button until the ticket says that it is done: on a busy machine the page may say that Airflow is slow."""
        ends = time.monotonic() + 3 * PATIENCE_MS / 1000
        while time.monotonic() < ends:
            self.go(f"/tickets/{ticket}")
            if self.page.get_by_text(then).count():
                return
            if self.page.get_by_role("button", name=button).count():
                for label, value in chosen.items():
                    self.page.get_by_label(label.replace("_", " ")).select_option(value)
                self.press(button)
            else:
                self.page.wait_for_timeout(2000)
        raise AssertionError(f"{ticket} never said: {then}. {self.page.inner_text('main')[:600]}")

    def look(self) -> None:
        self.faults += browser.faults(self.page)


@pytest.fixture
def people(chromium: Any, stack: Stack) -> Iterator[Any]:
    """Makes people; in the end nothing was wrong on any page that they have looked at."""
    made: list[Person] = []

    def sit_down(account: str, size: dict[str, int]) -> Person:
        made.append(Person(chromium, stack, account, size))
        return made[-1]

    yield sit_down
    for person in made:
        person.context.close()
    assert [fault for person in made for fault in person.faults] == []
    assert [line for person in made for line in person.said if "503" not in line] == []


def _caller(app: App) -> str:
    """Somebody who rang on the days that were imported, whose recordings are all here to be heard; not the demonstration's own."""
    today = datetime.now(HELSINKI).date()
    found = callers(app, [today - timedelta(days=n) for n in range(1, 5)])
    with app.connect() as conn:
        asked = {bytes(row[0]) for row in conn.execute("select unnest(pseudonyms) from ticket_subject")}
        for number, n in found.most_common():
            hashes = list(app.keyring.pseudonyms(number).values())
            here = conn.execute("select count(*) from recording where pseudonym = any (%s)", (hashes,)).fetchone()
            if here[0] == n and asked.isdisjoint(hashes):
                return str(number)
    raise AssertionError("Nobody's recordings are all here.")


def _taken_in(officer: Person, number: str, right: str) -> str:
    """A request, taken in on the page, its identity proven and searched; its reference."""
    officer.press("Take in a request") if officer.page.get_by_role(
        "button", name="Take in a request"
    ).count() else officer.go("/new")
    officer.look()
    officer.page.get_by_role("radio", name=right).check()
    officer.page.get_by_label("It came").select_option("letter")
    officer.page.get_by_label("The person’s phone numbers").fill(number)
    officer.press("Take it in")
    officer.wait("The request is taken in")
    officer.look()
    ticket = re.search(r"DSR-\d{4}-\d{4}", officer.page.url)
    assert ticket
    assert number.removeprefix("+358") not in officer.page.content()

    today = datetime.now(HELSINKI).date()
    officer.page.get_by_label("How they proved who they are").select_option("callback")
    officer.page.get_by_label("The number is theirs from").fill((today - timedelta(days=20)).isoformat())
    officer.page.get_by_label("until").fill(today.isoformat())
    officer.press("Note it", exact=True)
    officer.wait("Now callkeeper can search")
    officer.press("Search", exact=True)
    officer.wait("Searched. Below is what there is.")
    officer.look()
    return ticket[0]


def test_a_copy_from_the_letter_to_its_delivery(people, app: App):
    number = _caller(app)
    officer, approver = people("officer", WIDE), people("approver", NARROW)
    ticket = _taken_in(officer, number, "Access")

    officer.press("Listen to the call")
    officer.page.locator("audio").wait_for()
    officer.say(ticket, "Say yes to", "Yours was the first")
    officer.look()

    approver.go("/")
    approver.look()
    approver.page.get_by_role("link", name=ticket).click()
    approver.look()
    assert number.removeprefix("+358") not in approver.page.content()
    approver.say(ticket, "Say the second yes", "Nothing waits for you here")

    officer.until(ticket, "Read the letter, and look into the package")
    officer.look()
    officer.unfold("Answer: the copies")
    with officer.page.expect_download() as letter:
        officer.press("Print it (PDF)")
    assert letter.value.suggested_filename == f"{ticket}-completed_access.pdf"
    with officer.page.expect_download() as package:
        officer.press("Opens itself in a browser")
    assert b"<html" in Path(package.value.path()).read_bytes()[:400]
    officer.press("Show the passphrase")
    officer.wait("Passphrase:")
    officer.look()

    officer.say(ticket, "Release it", "Hand it over, then say how")
    officer.look()
    officer.say(ticket, "Record the delivery", "Closed on", It_was_handed_over="letter")
    officer.look()
    with app.connect() as conn:
        over = fulfilling.show(conn, ticket)
        opened = conn.execute("select count(*) from opening where ticket = %s", (ticket,)).fetchone()
    assert (over.state, over.outcome, opened[0]) == ("closed", "fulfilled", 1)


def test_an_erasure_at_the_size_of_a_telephone(people, app: App, airflow: httpx.Client):
    number = _caller(app)
    officer, approver = people("officer", NARROW), people("approver", WIDE)
    ticket = _taken_in(officer, number, "Erasure")

    officer.say(ticket, "Say yes to", "Yours was the first", Why_it_is_to_be_erased="no_longer_needed")
    approver.go(f"/tickets/{ticket}")
    approver.look()
    approver.say(ticket, "Say the second yes", "Nothing waits for you here")

    officer.until(ticket, "goes with the next night")
    officer.look()
    with app.connect() as conn:
        planned = conn.execute(
            "select count(*) from deletion d join ticket_recording r using (recording) where r.ticket = %s and d.trigger = 'erasure_approved'",
            (ticket,),
        ).fetchone()
    assert planned[0] >= 1

    night(airflow, f"night-of-{ticket}")
    officer.until(ticket, "Read the letter")
    officer.look()
    officer.unfold("Answer: erased")
    with officer.page.expect_download() as letter:
        officer.press("Print it (PDF)")
    assert letter.value.suggested_filename == f"{ticket}-completed_erasure.pdf"
    officer.say(ticket, "Release it", "Hand it over, then say how")
    officer.say(ticket, "Record the delivery", "Closed on", It_was_handed_over="letter")
    officer.look()
    with app.connect() as conn:
        over = fulfilling.show(conn, ticket)
        left = conn.execute(
            "select count(*) from ticket_recording f join recording r using (recording) where f.ticket = %s", (ticket,)
        ).fetchone()
    assert (over.state, over.outcome, left[0]) == ("closed", "fulfilled", 0)


def test_the_page_stands_in_airflows_menu_for_those_it_is_for(chromium, stack: Stack):
    for account, there in (("officer", 1), ("data", 0)):
        person = chromium.new_context(viewport=WIDE).new_page()
        person.set_default_timeout(PATIENCE_MS)
        password = next(login.password for login in stack.logins if login.account == account)
        person.goto(f"{stack.url}/auth/login/")
        person.fill("input[name=username]", account)
        person.fill("input[name=password]", password)
        person.press("input[name=password]", "Enter")
        person.get_by_text("Dags").first.wait_for()
        person.wait_for_timeout(2000)
        assert person.get_by_text("Privacy", exact=True).count() == there, account
        if there:
            person.get_by_text("Privacy", exact=True).click()
            person.frame_locator("iframe").get_by_role("heading", name="Requests").wait_for()
        else:
            assert "may not open this page" in person.goto(f"{stack.url}/callkeeper/").text()


def test_airflows_own_door_is_the_pages(stack: Stack):
    with httpx.Client(base_url=stack.url, trust_env=False) as nobody:
        for cookie in (None, "forged", "a.b.c"):
            cookies = {"_token": cookie} if cookie else {}
            answer = nobody.get("/callkeeper/", cookies=cookies)
            assert (answer.status_code, "/auth/login" in answer.headers.get("location", "")) == (303, True), cookie
            assert nobody.post("/callkeeper/new", cookies=cookies).status_code in (401, 403)
