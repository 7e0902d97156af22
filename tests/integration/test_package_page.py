"""The file that opens itself, opened in a real browser: with its passphrase, with another, changed, cut off, put in another order."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from browser import CHROMIUM, needs_browser
from callkeeper.package import sealing
from deliver import tone

PASSPHRASE = "kalevo-miruta-hajole-ponesi-turaku"
pytestmark = needs_browser
INDEX = """<h1>Puhelutallenteesi</h1>
<p><button type="button" data-play="audio/001.wav" aria-label="Kuuntele 1">Kuuntele</button>
<button type="button" data-save="letter.txt">Kirje</button></p>"""


def page_of(part: int = 1, parts: int = 1, language: str = "fi", text: bytes = b"Hei") -> str:
    """A small one: a tone, a letter, and three chunks of something."""
    file = io.BytesIO()
    made = sealing.SelfOpening(
        target=sealing.Hashed(file), key=sealing.new_key(PASSPHRASE), package=UUID(int=7), part=part, parts=parts, language=language,
    )  # fmt: skip
    made.begin()
    made.add("letter.txt", "text/plain")
    made.write(text)
    made.add("audio/001.wav", "audio/wav")
    made.write(tone(2.0))
    made.add("long.bin", "application/octet-stream")
    made.write(bytes(2 * sealing.CHUNK_BYTES + 100))
    made.finish(INDEX)
    return file.getvalue().decode()


def chunks(page: str) -> list[str]:
    return re.findall(r'<script type="text/plain" data-is="chunk">[^<]*</script>\n', page)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )  # fmt: skip
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Opens a page's text as a file from the disk; whatever it asked of a network, or said in its console, is noted."""
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.asked, page.said = [], []  # type: ignore[attr-defined]
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))

    def open_(text: str) -> Any:
        file = tmp_path / "part.html"
        file.write_text(text, encoding="utf-8")
        page.goto(file.as_uri())
        return page

    yield open_
    context.close()


def type_in(page: Any, passphrase: str = PASSPHRASE) -> None:
    page.get_by_role("textbox").fill(passphrase)
    page.keyboard.press("Enter")


def until(page: Any, condition: str) -> None:
    """Waits for it from outside: the page's policy lets nobody wait within."""
    ends = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < ends, condition
        time.sleep(0.1)


def said(page: Any, language: str = "fi") -> str:
    """Which of the page's words its alert says."""
    alert = page.locator("#alert:not(:empty)")
    alert.wait_for(timeout=20_000)
    words = {text: name for name, text in sealing.words(language)["page"].items()}
    return words[alert.inner_text()]


def test_with_its_passphrase_it_opens_plays_and_gives_its_files_and_asks_no_network(opened):
    page = opened(page_of())

    type_in(page, "  KALEVO miruta hajole-ponesi turaku ")

    heading = page.get_by_role("heading", name="Puhelutallenteesi")
    heading.wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.get_by_role("button", name="Kuuntele 1").click()
    until(page, "document.querySelector('audio')?.duration > 1.9 && document.querySelector('audio').readyState === 4")
    with page.expect_download() as taken:
        page.get_by_role("button", name="Kirje").press("Enter")
    assert taken.value.suggested_filename == "letter.txt"
    assert Path(taken.value.path()).read_bytes() == b"Hei"
    assert [url for url in page.asked if not url.startswith(("file:", "blob:"))] == []
    assert page.said == []


def test_by_its_policy_it_cannot_reach_a_network_or_run_what_is_not_its_own(opened):
    page = opened(page_of())

    reached = page.evaluate("fetch('https://example.com').then(() => true, () => false)")
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.foreign = 1'; document.body.append(s)"
    )
    page.evaluate("const i = new Image(); i.src = 'https://example.com/x.png'; document.body.append(i)")

    assert reached is False
    assert page.evaluate("window.foreign") is None
    assert any("Content Security Policy" in text for text in page.said)


@pytest.mark.parametrize("language", ["fi", "sv", "en"])
def test_another_passphrase_is_said_in_words_and_can_be_tried_again(opened, language):
    page = opened(page_of(language=language))

    type_in(page, "kalevo-miruta-hajole-ponesi-turaka")
    assert said(page, language) == "wrong"
    assert page.evaluate("document.activeElement.id") == "passphrase"
    assert page.locator("#content").inner_text() == ""
    type_in(page)
    page.get_by_role("heading", name="Puhelutallenteesi").wait_for()


def changed(page: str) -> str:
    last = chunks(page)[-2]
    middle = len(last) // 2
    return page.replace(last, last[:middle] + ("A" if last[middle] != "A" else "B") + last[middle + 1 :])


def in_another_order(page: str) -> str:
    some = chunks(page)
    return page.replace(some[2], "\0").replace(some[3], some[2]).replace("\0", some[3])


def repeated(page: str) -> str:
    some = chunks(page)
    return page.replace(some[3], some[2])


def without_one(page: str) -> str:
    return page.replace(chunks(page)[3], "")


def cut_off(page: str) -> str:
    return page[: page.index(chunks(page)[-2]) + 1000]


def of_another_part(page: str) -> str:
    """A chunk in the place of its like, from another part of the same package."""
    other = page_of(part=2, parts=2)
    return page.replace(chunks(page)[0], chunks(other)[0])


def renumbered(page: str) -> str:
    """A part that says it is another one."""
    return page.replace('"part":1', '"part":2')


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (changed, "damaged"),
        (in_another_order, "damaged"),
        (repeated, "damaged"),
        (without_one, "incomplete"),
        (cut_off, "incomplete"),
        (of_another_part, "damaged"),
        (renumbered, "wrong"),
    ],
)
def test_what_was_changed_cut_or_reordered_does_not_open(opened, harm, what):
    whole = page_of()
    harmed = harm(whole)
    assert harmed != whole
    page = opened(harmed)

    type_in(page)

    assert said(page) == what
    assert page.locator("#content").inner_text() == ""


def test_each_part_opens_by_itself_and_says_which_it_is(opened):
    page = opened(page_of(part=2, parts=3))

    assert "Osa 2/3" in page.locator("form").inner_text()
    assert page.title().endswith("2/3")
    type_in(page)
    page.get_by_role("heading", name="Puhelutallenteesi").wait_for()


def test_a_browser_that_lacks_the_newest_opens_it_too_and_one_that_lacks_all_says_so(opened):
    page = opened("")
    page.add_init_script("delete Uint8Array.fromBase64")
    opened(page_of())
    type_in(page)
    page.get_by_role("heading", name="Puhelutallenteesi").wait_for()

    page.add_init_script("Object.defineProperty(globalThis, 'crypto', { value: undefined })")
    opened(page_of())
    assert said(page) == "old"


def test_it_is_accessible_closed_and_open(opened):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(page_of())
    # axe itself is a script that the page's policy would not let in.
    page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    page.reload()
    closed = Axe().run(page).response["violations"]
    type_in(page)
    page.get_by_role("heading", name="Puhelutallenteesi").wait_for()
    is_open = Axe().run(page).response["violations"]

    assert [v["id"] for v in closed] == []
    assert [v["id"] for v in is_open] == []


def test_what_is_sealed_is_nowhere_in_the_file():
    page = page_of(text=b"Tunniste DSR-2026-0001 +358409990001")

    assert "DSR-2026" not in page
    assert "358409990001" not in page
    assert "Puhelutallenteesi" not in page
    assert PASSPHRASE not in page
    assert 'data-is="chunk"' in page
