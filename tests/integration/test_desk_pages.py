"""The desk's pages in a real browser: nothing that axe finds, no scrolling sideways, light and dark, wide and narrow, by keyboard."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

import browser
from desk import HOLD, PREFIX, SPELLED, Airflow, Desk, found, opened, scope_on, two_callers
from installation import Installation

pytestmark = browser.needs_browser
SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.browser() as running:
        yield running


@pytest.fixture
def kept(office: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    office.airflow = Airflow(office, monkeypatch)  # type: ignore[attr-defined]
    return two_callers(office)


@contextmanager
def served(desk: Desk) -> Iterator[str]:
    """The desk behind a real server, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(desk.outer, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def page_of(chromium: Any, url: str, account: str, *, size: str = "wide", scheme: str = "light") -> Iterator[Any]:
    context = chromium.new_context(viewport=SIZES[size], color_scheme=scheme, accept_downloads=True)
    context.add_cookies([{"name": "_token", "value": f"{account}.signed", "url": url}])
    page = context.new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda wrong: page.said.append(str(wrong)))
    yield page
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_each_page_is_accessible_and_fits(kept, chromium, size, scheme):
    officer, approver = Desk(kept, "officer"), Desk(kept, "approver")
    late = opened(officer, received="2026-10-26", right="restriction")
    asked = opened(officer, right="objection")
    officer.send(f"/tickets/{asked}", f"/tickets/{asked}/ask", question="clarification", about=["numbers"])
    copy = found(officer)
    erasure = found(officer, right="erasure")
    officer.send(
        f"/tickets/{erasure}",
        f"/tickets/{erasure}/decide",
        choice="approve",
        erasure_ground="objected",
        scope=scope_on(officer, erasure),
    )
    officer.send("/drafts", "/hold", **HOLD | {"numbers": SPELLED, "wide": "yes"})
    wrong = []
    with served(officer) as url:
        with page_of(chromium, url, "officer", size=size, scheme=scheme) as page:
            for path in ("/", "/new", "/drafts", "/no/such", *(f"/tickets/{t}" for t in (late, asked, copy, erasure))):
                page.goto(f"{url}{PREFIX}{path}")
                page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
                wrong += browser.faults(page)
            assert [line for line in page.said if "404" not in line] == []
        with page_of(chromium, url, "approver", size=size, scheme=scheme) as page:
            for path in ("/", f"/tickets/{erasure}"):
                page.goto(f"{url}{PREFIX}{path}")
                wrong += browser.faults(page)
            assert page.said == []
    assert wrong == []
    assert approver.get("/").status_code == 200


def test_a_ticket_is_worked_on_with_the_keyboard_alone(kept, chromium):
    ticket = found(Desk(kept, "officer"))
    with served(Desk(kept, "officer")) as url, page_of(chromium, url, "officer") as page:
        page.goto(f"{url}{PREFIX}/tickets/{ticket}")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent.trim()") == "Show what is searched":
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        page.get_by_text("+358409990001").wait_for()
        assert page.said == []


def test_a_recording_is_heard_and_its_form_leaves_the_page_where_it_is(kept, chromium):
    ticket = found(Desk(kept, "officer"))
    with served(Desk(kept, "officer")) as url, page_of(chromium, url, "officer") as page:
        page.goto(f"{url}{PREFIX}/tickets/{ticket}")
        page.get_by_role("button", name="Listen to the call").first.click()
        page.locator("audio").wait_for()
        # Its policy lets no text be run as a script, the test's neither: so it is asked again and again from outside.
        for _ in range(100):
            if page.evaluate("document.querySelector('audio').duration > 0.5"):
                break
            page.wait_for_timeout(100)
        assert page.evaluate(
            "document.querySelector('audio').error === null && document.querySelector('audio').duration > 0.5"
        )
        assert page.url.endswith(ticket)
        assert page.said == []
    assert len(kept.events("recording.opened")) == 1


def test_a_page_needs_no_script(kept, chromium):
    ticket = found(Desk(kept, "officer"))
    with served(Desk(kept, "officer")) as url:
        context = chromium.new_context(java_script_enabled=False)
        context.add_cookies([{"name": "_token", "value": "officer.signed", "url": url}])
        page = context.new_page()
        page.goto(f"{url}{PREFIX}/tickets/{ticket}")
        page.get_by_role("button", name="Show what is searched").click()
        assert page.get_by_text("+358409990001").count() == 1
        page.get_by_role("button", name="Listen to the call").first.click()
        assert page.locator("audio").count() == 1
        context.close()


def test_a_button_that_was_pressed_rests(kept, chromium):
    ticket = found(Desk(kept, "officer"), right="erasure")
    with served(Desk(kept, "officer")) as url, page_of(chromium, url, "officer") as page:
        page.goto(f"{url}{PREFIX}/tickets/{ticket}")
        page.get_by_label("Why it is to be erased").select_option("unlawful")
        page.get_by_role("button", name="Say yes to 2 recordings").dblclick(no_wait_after=True)
        page.get_by_text("Your yes is recorded.").wait_for()
    assert [a[:2] for a in kept.airflow.answers] == [("decide", "Approve")]
