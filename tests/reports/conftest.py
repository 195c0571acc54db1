"""A browser for the tests of pages, started once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

FLAGS = (
    "--no-sandbox",  # which root may not have
    "--disable-background-networking",  # and what follows: nothing is fetched but what the page asks for
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--disable-gpu",
)


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """A headless Chromium of this machine: $CHROMIUM, or one on the path. Without one pytest ends and fails."""
    from playwright.sync_api import sync_playwright  # here, so that other tests need no extra

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.exit("no Chromium on this machine; apt install chromium, or set CHROMIUM to its path", returncode=1)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()
