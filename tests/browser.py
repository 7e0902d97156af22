"""Debian's Chromium, where there is one: the pages as people see them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def _found() -> str | None:
    named = (os.environ.get("CALLKEEPER_CHROMIUM"), "/usr/bin/chromium", shutil.which("chromium"))
    return next((path for path in named if path and os.access(path, os.X_OK)), None)


CHROMIUM = _found()
MISSING = "There is no Chromium here, so no page was tried in a browser (Debian: apt-get install -y chromium)."
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)


@contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Where root runs the tests there is no sandbox to be had.
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        try:
            yield running
        finally:
            running.close()


def faults(page: Any) -> list[str]:
    """What axe finds, and whether the page is wider than its window."""
    from axe_playwright_python.sync_playwright import Axe

    found = [
        f"{page.url.rpartition('/')[2]}: {v['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for v in Axe().run(page).response["violations"]
        for node in v["nodes"]
    ]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [*found, f"{page.url}: {wide} px too wide"] if wide > 0 else found
