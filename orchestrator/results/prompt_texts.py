"""The text that an image was made from, where its record does not have it."""

from __future__ import annotations

from pathlib import Path

from state.item import Item

_LARGEST_FILE_BYTES = 1 << 16


def text_in_file(home: Path, item: Item) -> str:
    """What its prompt file says now; empty where its key names none that is small and text. `home`: of the state."""
    path = home / item.key
    try:
        if path.suffix.lower() != ".txt" or path.stat().st_size > _LARGEST_FILE_BYTES:
            return ""
        return path.read_bytes().decode()
    except (OSError, ValueError):
        return ""
