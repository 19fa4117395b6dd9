"""What a browser shows of the start page, and how soon: a headless Chromium on this machine."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from state.batch import BatchRecord
from state.contents import Contents
from state.item import Item, OutputRecord, Status
from state.location import Location
from state.open_store import create_from
from state.store import LOGS, LogName
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.project import STATE
from tests.benchmarks.setting import Setting
from tests.benchmarks.web_rows import front_end

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.chromium import chromium_path, running_chromium

_EACH = 20
_LINKS = 2_000
"""Batches whose files are one: ext4 lets a file have 65,000 names."""
_AT = datetime(2026, 11, 21, 5, tzinfo=UTC)
MEASURE = """
document.addEventListener('load', ({target}) => {
  if (target.matches?.('.thumbnail')) window.firstImage ??= performance.now();
}, true);
window.slowest = 0;
new PerformanceObserver(list => {
  for (const one of list.getEntries()) if (one.interactionId) window.slowest = Math.max(window.slowest, one.duration);
}).observe({type: 'event', durationThreshold: 16, buffered: true});
"""


def workspace(setting: Setting) -> list[Figure]:
    """The start page over a state of many images: from the navigation to the first image, its thumbnail made then; and
    the slowest of some interactions (typing, an image opened, the next one, closed, a batch opened and left), as Event
    Timing has them: to the frame that shows what they did. No row without a Chromium."""
    path = chromium_path()
    if path is None:
        return []
    first, slowest = [], []
    for _, place in setting.each_round("workspace"):
        fill(place, setting.scale.workspace_images)
        with front_end(place, "--output", "output") as server, running_chromium(path) as browser:
            server.get("/api/queue")
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.add_init_script(MEASURE)
            page.goto(server.url)
            page.locator(".feed-tile .thumbnail").first.wait_for()
            page.wait_for_function("() => window.firstImage")
            first.append(page.evaluate("window.firstImage") / 1000.0)
            for act in _acts(page):
                act()
                page.wait_for_timeout(150)
            slowest.append(page.evaluate("window.slowest"))
    about = f"the start page, {setting.scale.workspace_images:,} images"
    return [
        Figure(f"{about}: the first one is there after", tuple(first), Target("at most", 0.6), unit="s"),
        Figure(f"{about}: the slowest interaction", tuple(slowest), Target("at most", 100.0), unit="ms"),
    ]


def _acts(page: Any) -> Iterator[Any]:
    prompt = page.get_by_label("Prompt", exact=True)
    yield lambda: prompt.press_sequentially("an owl in the snow")
    yield lambda: page.locator(".feed-tile").nth(2).click()
    yield lambda: page.keyboard.press("ArrowRight")
    yield lambda: page.keyboard.press("ArrowRight")
    yield lambda: page.keyboard.press("Escape")
    for _ in range(5):
        yield lambda: page.keyboard.press("End")
    yield lambda: page.locator(".feed-title").last.click()
    yield lambda: page.locator("#all-batches").click()


def fill(place: Path, count: int) -> None:
    """So many completed images in batches of 20, each with its file, of which all have the bytes of one."""
    data = _png()
    records = [_record(number) for number in range(max(1, count // _EACH))]
    for number, record in enumerate(records):
        if number % _LINKS == 0:
            source = place / f"source_{number}.png"
            source.write_bytes(data)
        folder = place / "output" / str(record.directory)
        folder.mkdir(parents=True)
        for index in range(1, _EACH + 1):
            os.link(source, folder / f"{index}.png")
    digest = sha256(data).hexdigest()
    lines: dict[LogName, tuple[bytes, ...]] = dict.fromkeys(LOGS, ())
    lines["batch"] = tuple(map(msgspec.json.encode, records))
    items = partial(_completed, records, digest, len(data))
    create_from(Location.of(place / STATE), Contents(settings=None, recipes={}, logs=lines, items=items))


def _record(number: int) -> BatchRecord:
    name = f"20261121_{number:06d}"
    return BatchRecord(
        batch=name,
        created_at=_AT + timedelta(hours=number),
        total=_EACH,
        layout="gallery",
        directory=f"batches/{name}",
        prompts=(f"an owl {number}",),
    )


def _completed(records: list[BatchRecord], digest: str, size: int) -> Iterator[Item]:
    for record in records:
        for index in range(1, _EACH + 1):
            yield Item(
                key=f"{record.batch}/{index}",
                status=Status.COMPLETED,
                batch=record.batch,
                index=index,
                prompt_text=record.prompts[0],
                prompt_id=f"{record.batch}/{index}",
                inputs={"seed": index},
                outputs=(OutputRecord(path=f"{record.directory}/{index}.png", bytes=size, sha256=digest),),
                seconds=2.0,
                completed_at=record.created_at + timedelta(seconds=2 * index),
            )


def _png() -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.linear_gradient("L").resize((1024, 1024)).save(target, "PNG")
    return target.getvalue()
