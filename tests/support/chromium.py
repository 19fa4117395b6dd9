"""Headless Chromium for tests and screenshots."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any


def chromium_path() -> str | None:
    """Path of Chromium: the variable CHROMIUM, or the system's; None if there is none."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def running_chromium(path: str) -> Iterator[Any]:
    """Playwright's browser. Errors: ImportError if Playwright is not installed."""
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox refuses to run as root; containers have little shared memory. Without a graphics card, a
    # process that imitates one costs as much as all the rest of the first page.
    graphics = ["--disable-gpu", "--disable-software-rasterizer", "--in-process-gpu"]
    # Pages share one process: to start another one is a sixth of what opening a page costs.
    together = ["--renderer-process-limit=1", "--disable-site-isolation-trials"]
    arguments = ["--disable-dev-shm-usage", *graphics, *together, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()
