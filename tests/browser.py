"""A real browser for tests, which notes what it fetches and what goes wrong."""

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def browser():
    """The system's Chromium, driven by Playwright; skips aloud where there is none."""
    sync = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def watched(opened, **settings):
    """A page of the browser, with `fetched`, the addresses that it asked for, and `wrong`, its errors."""
    page = opened.new_page(**settings)
    page.fetched, page.wrong = [], []
    page.on("request", lambda request: page.fetched.append(request.url))
    page.on("console", lambda said: said.type == "error" and page.wrong.append(said.text))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    return page


def from_the_network(page):
    """What it asked for beside files and what it holds itself."""
    return [url for url in page.fetched if not url.startswith(("file:", "data:", "blob:"))]
