"""What a browser needs for very many images: how soon the first is there, and its memory once all were passed by."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import SHOWN, Figure, Target
from tests.benchmarks.page_rows import MEASURE, fill
from tests.benchmarks.setting import Setting
from tests.benchmarks.web_rows import front_end

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.chromium import chromium_path, running_chromium

_JUMPS = 40
_MB = 1_000_000
_MOST = Target("at most", 80.0)
_KIB = 1024
_AFTER_MILLISECONDS = 250
_PURGED_MILLISECONDS = 1_500


def scrolling(setting: Setting) -> list[Figure]:
    """Start page and gallery over a state of very many images, each scrolled through in 40 jumps.

    Memory: what the processes of pages have written and have to themselves (Private_Dirty of /proc/PID/smaps_rollup)
    after a garbage collection, less the same of an empty page before it. What files hold (program code, fonts) is not
    in it: that counts as private, 46 MB of it, exactly while no other Chromium runs. Nor is the browser's own process.
    The second figure is what remains after the browser is told that memory is short. Without Chromium there is no row.
    """
    path = chromium_path()
    if path is None:
        return []
    count = setting.scale.scrolled_images
    first: dict[str, list[float]] = {"start page": [], "gallery": []}
    held: dict[str, list[float]] = {name: [] for name in first}
    needed: dict[str, list[float]] = {name: [] for name in first}
    for _, place in setting.each_round("scrolling"):
        fill(place, count)
        with front_end(place, "--output", "output") as server:
            server.get("/api/queue")
            for name, address in (("start page", server.url), ("gallery", f"{server.url}/gallery")):
                with running_chromium(path) as browser:
                    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
                    empty = _private_bytes(browser)
                    page.add_init_script(MEASURE)
                    page.goto(address)
                    page.wait_for_function("() => window.firstImage")
                    first[name].append(page.evaluate("window.firstImage") / 1000.0)
                    _scroll_through(page)
                    _collect_garbage(page)
                    held[name].append((_private_bytes(browser) - empty) / _MB)
                    _tell_that_memory_is_short(page)
                    needed[name].append((_private_bytes(browser) - empty) / _MB)
    return [
        figure
        for name in first
        for figure in (
            Figure(f"the {name}, {count:,} images: the first one is there after", tuple(first[name]), SHOWN, unit="s"),
            Figure(f"the {name}, {count:,} images: memory, scrolled through", tuple(held[name]), _MOST, unit="MB"),
            Figure(
                f"the {name}, {count:,} images: the same when memory is short", tuple(needed[name]), SHOWN, unit="MB"
            ),
        )
    ]


def _scroll_through(page: Any) -> None:
    for number in range(1, _JUMPS + 1):
        page.evaluate("share => scrollTo(0, document.documentElement.scrollHeight * share)", number / _JUMPS)
        page.wait_for_timeout(_AFTER_MILLISECONDS)


def _collect_garbage(page: Any) -> None:
    page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
    page.wait_for_timeout(_PURGED_MILLISECONDS)


def _tell_that_memory_is_short(page: Any) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Memory.simulatePressureNotification", {"level": "critical"})
    page.wait_for_timeout(_PURGED_MILLISECONDS)


def _private_bytes(browser: Any) -> int:
    """Of all processes that show pages: which of them shows this one is not told."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return sum(_private_of(one["id"]) for one in processes if one["type"] == "renderer")


def _private_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return _KIB * sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
