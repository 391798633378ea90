"""Headless Chromium, and what a player plays in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


def skip_or_fail(missing: str) -> None:
    """Skip the test, unless WAVEUNET_TEST_BROWSER insists."""
    (pytest.fail if os.environ.get("WAVEUNET_TEST_BROWSER") else pytest.skip)(missing)


@contextlib.contextmanager
def chromium() -> Iterator:
    """Launch Chromium; without one see `skip_or_fail`."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        skip_or_fail(f"needs playwright, and one of {', '.join(CHROMIUM)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


def new_page(browser):
    """Open a page, of a browser or context, that waits for as long as a busy machine takes."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    return page


# Gains are ramped and a level is measured over 50 ms: the state must persist for some frames.
AUDIBLE_ROWS = """([player, expected]) => {
    const audible = player.player.rows.filter(row => row.level() > 0.001);
    const names = audible.map(row => row.element.dataset.name).join();
    player.matching = names === expected ? (player.matching ?? 0) + 1 : 0;
    return player.matching > 5;
}"""


def wait_for_audible(player, *names: str) -> None:
    """Wait until exactly these rows are audible, as measured at the output."""
    player.evaluate("player => { player.matching = 0; }")
    player.page.wait_for_function(AUDIBLE_ROWS, arg=[player.element_handle(), ",".join(names)])


def position(player) -> float:
    return player.evaluate("player => player.player.position()")
