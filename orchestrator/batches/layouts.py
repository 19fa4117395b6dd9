"""Where the pictures of a batch and their sidecars go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from orchestrator.batches.variation import Variation
from orchestrator.errors import OutputRefused, UsageError, located
from orchestrator.outputs.names import output_names
from state.batch import Layout

_STEMS: dict[Layout, str] = {"numbered": "image", "batch": "sprite", "mirror": "image", "gallery": "image"}
WITH_INFO: frozenset[Layout] = frozenset({"batch", "gallery"})
"""Layouts whose directories hold a batch_info.json."""
_SIDECAR_STEM = "prompt"
_LONGEST_ENDING = "_1000000_18446744073709551615_4096"
"""What a layout and further pictures of one prompt may add to a stem."""


@dataclass(frozen=True)
class Place:
    """Where one variation goes. Further pictures of the same prompt get `_002`, `_003`, … before their extension."""

    subfolder: str
    """Relative to the output directory."""
    filename: str
    """Of its first picture; the extension is the server's in the end."""
    sidecar: str
    """Relative to the output directory."""


def directory_name(
    layout: Layout, at: datetime, batch_id: str, *, taken: Callable[[str], bool] = lambda name: False
) -> str:
    """The directory of a batch that was asked for `at`, relative to the output directory; `""` is that one itself.

    A numbered directory has no more than the second in its name: one that is `taken` gets `_2`, `_3`, … behind it.
    """
    stamp = f"{at:%Y%m%d_%H%M%S}"
    if layout == "mirror":
        return ""
    if layout == "gallery":
        return f"batches/{batch_id}"
    if layout == "batch":
        return f"batch_{stamp}_{batch_id.removeprefix(f'{stamp}_')}"
    name, number = stamp, 1
    while taken(name):
        number += 1
        name = f"{stamp}_{number}"
    return name


def place_of(layout: Layout, variation: Variation, *, directory: str, total: int, stem: str | None = None) -> Place:
    """The place of one variation among `total`; the same whenever it is asked.

    numbered: `DIRECTORY/image_007.png` and `prompt_007.txt`, without numbers for a total of 1.
    gallery: as numbered, with a number for a total of 1 too.
    batch: `DIRECTORY/images/sprite_0007_<seed>.png` and `metadata/sprite_0007.json`.
    mirror: `DIRECTORY/<subfolder>/<name>.png` and `<name>.json`, as the list of prompts names them; the second of a
    prompt's variations gets `_002` behind its name, and a prompt without a name is called as in a numbered directory.
    """
    stem = stem or _STEMS[layout]
    if layout in ("numbered", "gallery"):
        number = "" if layout == "numbered" and total == 1 else _number(variation.index, total, digits=3)
        return Place(directory, f"{stem}{number}.png", _joined(directory, f"{_SIDECAR_STEM}{number}.txt"))
    if layout == "batch":
        numbered = stem + _number(variation.index, total, digits=4)
        seed = f"_{variation.inputs['seed']}" if "seed" in variation.inputs else ""
        sidecar = _joined(directory, "metadata", f"{numbered}.json")
        return Place(_joined(directory, "images"), f"{numbered}{seed}.png", sidecar)
    name = _mirrored(variation, total, stem)
    subfolder = _joined(directory, variation.subfolder)
    return Place(subfolder, f"{name}.png", _joined(subfolder, f"{name}.json"))


def refuse_unsafe(stem: str, *, layout: Layout, subfolder: str = "", place: str) -> None:
    """Refuse a stem or subfolder with which no picture of any number could be saved. Errors: UsageError."""
    if layout in ("numbered", "gallery") and stem.casefold() == _SIDECAR_STEM:
        raise UsageError(f"{place}: the text files next to the images are called {stem} already; choose another")
    with located(place, OutputRefused, into=UsageError):
        output_names(subfolder, f"{stem}.png", (".png",))
        output_names(subfolder, f"{stem}{_LONGEST_ENDING}.png", (".png",))


def _mirrored(variation: Variation, total: int, stem: str) -> str:
    if variation.name:
        several = variation.of > 1
        return variation.name + (_number(variation.number, variation.of, digits=3) if several else "")
    return stem if total == 1 else stem + _number(variation.index, total, digits=3)


def _number(number: int, total: int, *, digits: int) -> str:
    return f"_{number:0{max(digits, len(str(total)))}d}"


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)
