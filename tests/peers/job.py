"""The job that every client gets: 60 images, told apart by their color, and how rendered ones are counted.

The color survives: it is in the server's files, in the client's files and in no file name, so that an image under a
wrong name is seen.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ITEMS = 60
_PIXELS = 256
_RENDER_SECONDS = 0.2
_STEP = 4
_OTHER_CHANNELS = 0x4080
"""Green and blue of every image."""
_END_OF_PNG = b"IEND\xaeB`\x82"
"""Pillow forgives a file that lacks it."""


def color_of(item: int) -> int:
    """The RGB number of an item, 1 to ITEMS. Red tells them apart."""
    return (item * _STEP) << 16 | _OTHER_CHANNELS


def item_of(path: Path) -> int | None:
    """The item whose image a file holds; None if it is incomplete or none of ours."""
    try:
        if not path.read_bytes().endswith(_END_OF_PNG):
            return None
        with Image.open(path) as image:
            image.load()
            red, green, blue = image.convert("RGB").getpixel((0, 0))
    except (OSError, SyntaxError):
        return None
    item = round(red / _STEP)
    return item if 1 <= item <= ITEMS and abs((green << 8 | blue) - _OTHER_CHANNELS) <= 0x101 else None


def name_of(item: int) -> str:
    return f"image_{item:03}.png"


def write(folder: Path) -> None:
    """`workflow_api.json`, in ComfyUI's API format, and `jobs.csv`: a name and a color a row."""
    (folder / "images").mkdir(parents=True)
    (folder / "workflow_api.json").write_text(json.dumps(_workflow(), indent=1))
    with (folder / "jobs.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["name", "1.color"])
        rows.writerows([name_of(item), color_of(item)] for item in range(1, ITEMS + 1))


def _workflow() -> dict[str, object]:
    def node(kind: str, title: str, **inputs: object) -> dict[str, object]:
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    return {
        "1": node("EmptyImage", "$color.color", width=_PIXELS, height=_PIXELS, batch_size=1, color=0),
        "2": node("BurstPeersWait", "Wait", image=["1", 0], seconds=_RENDER_SECONDS),
        "3": node("SaveImage", "Save Image", images=["2", 0], filename_prefix="job"),
    }


@dataclass(frozen=True)
class Counts:
    """What became of the 60."""

    on_disk: int
    """Items whose complete image the client has under its name."""
    misnamed: int
    """Files of the client that hold another item's image."""
    torn: int
    """Files of the client that are no complete image."""
    rendered: int
    """Items that the server has rendered at least once."""
    renders: int
    """Images that the server has rendered."""

    @property
    def twice(self) -> int:
        """Renders that were one too many."""
        return self.renders - self.rendered


def count(client_files: Iterable[Path], server_files: Iterable[Path]) -> Counts:
    held = [(path.name, item_of(path)) for path in client_files]
    rendered = Counter(item for path in server_files if (item := item_of(path)) is not None)
    return Counts(
        on_disk=len({item for name, item in held if item is not None and name == name_of(item)}),
        misnamed=sum(item is not None and name != name_of(item) for name, item in held),
        torn=sum(item is None for _, item in held),
        rendered=len(rendered),
        renders=rendered.total(),
    )
