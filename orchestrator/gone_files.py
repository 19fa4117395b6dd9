"""Items whose own files, prompt text or images, are not on the disk any more."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.formatting import counted, first_of
from orchestrator.preparation import is_text_of_a_file, prompt_file
from state.item import DUE, Item, Status
from state.store import Store

_SHOWN = 3


def gone_items(store: Store) -> Iterator[Item]:
    """The items that belong to no batch and miss a file of theirs, in order; not the cancelled ones.

    Asks the file system about each, and reads no file.
    """
    wanted = [status for status in Status if status is not Status.CANCELLED]
    return (item for item in store.items(*wanted) if item.batch is None and _is_gone(item, store.location.home))


def gone_notes(items: Sequence[Item]) -> Iterator[str]:
    """What to report of these, if there are any."""
    if not items:
        return
    shown = first_of((item.key for item in items), _SHOWN)
    counts = Counter(_standing(item) for item in items)
    standing = ", ".join(f"{count} {what}" for what, count in counts.items())
    what = "the file of 1 item is" if len(items) == 1 else f"the files of {counted(len(items))} are"
    yield f"{what} gone ({shown}; {standing}): restore {_them(items)}, or `burst forget --gone`, which keeps images"


def _them(items: Sequence[Item]) -> str:
    return "it" if len(items) == 1 else "them"


def _standing(item: Item) -> str:
    return "due" if item.status in DUE else str(item.status)


def _is_gone(item: Item, home: Path) -> bool:
    taken = item.taken_in
    files = [one for one in item.upload_paths.values() if one not in taken]
    if is_text_of_a_file(item):
        files.append(prompt_file(item))
    return not all(os.path.lexists(home / name) for name in files)
