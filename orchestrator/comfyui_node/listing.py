"""Which images a directory holds, in natural order. It knows nothing of what became of them."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
CUSTOM = "Custom"
PRESETS = {
    "All Images": tuple(f"*{extension}" for extension in sorted(EXTENSIONS)),
    "PNG Only": ("*.png",),
    "JPG Only": ("*.jpg", "*.jpeg"),
    CUSTOM: (),
}
"""The choices of `filter_preset`, with their patterns."""


def patterns(preset: str, custom_pattern: str) -> tuple[str, ...]:
    """What file names are matched with, regardless of case. Errors: ValueError."""
    if preset != CUSTOM:
        return PRESETS[preset]
    given = tuple(part.strip() for part in custom_pattern.split(",") if part.strip())
    if not given:
        raise ValueError(
            "filter_preset is Custom, and custom_pattern is empty: write patterns such as *.png,shot_*.jpg"
        )
    return given


def resolve(directory: str, *, relative_to: str) -> Path:
    """One path for one directory however it is written: absolute, no `..`, no link, no slash at its end.

    Quotes that a file manager copied along are dropped. Errors: ValueError.
    """
    text = directory.strip().strip("\"'")
    if not text or "\0" in text:
        raise ValueError("directory is empty: write the path of a directory of images")
    path = Path(os.path.realpath(os.path.join(relative_to, os.path.expanduser(text))))
    if not path.is_dir():
        raise ValueError(f"directory: {path} is {'not a directory' if path.exists() else 'not there'}")
    return path


def images(directory: Path, wanted: tuple[str, ...]) -> list[str]:
    """The names of its images, in natural order: `img2` before `img10`. Hidden files and subdirectories are left out.

    Errors: OSError.
    """
    with os.scandir(directory) as entries:
        found = [entry.name for entry in entries if _is_image(entry.name) and entry.is_file()]
    return sorted((name for name in found if _matches(name, wanted)), key=natural)


def natural(name: str) -> tuple[list[str | int], str, str]:
    """A sort key: runs of digits count as numbers, case and the ending count only where all else is equal."""
    stem, extension = os.path.splitext(name)
    parts = re.split("([0-9]+)", stem.casefold())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], extension.casefold(), name


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS


def _matches(name: str, wanted: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in wanted)
