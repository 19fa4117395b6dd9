"""Images and tables that a browser brought and that nothing names any more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.clock import Clock
from orchestrator.outputs.inputs_folder import SPARED
from orchestrator.unused_inputs import RemovedInputs
from state.disk import Disk
from state.store import Store

UPLOADS = "uploads"
"""The folder of what is brought, with the state's own files."""
_NAME = re.compile(r"[0-9a-f]{64}\.[a-z]{3,4}")


class _Uploads(msgspec.Struct, frozen=True, gc=False):
    uploads: dict[str, Any] = {}


def remove_unused_uploads(
    store: Store, *, before: datetime, dry_run: bool, clock: Clock, disk: Disk | None = None
) -> RemovedInputs:
    """Remove those that no item and no batch names and that were brought `before`, and at least a day ago.

    An item keeps what it is made from, however it ended: it may be retried. Files of other names are left alone.
    Safe to repeat, and while others add items. Errors: DiskFull, OSError.
    """
    folder = store.location.auxiliary(UPLOADS)
    limit = min(before, clock.now() - SPARED)
    old = [path for path in _brought(folder) if datetime.fromtimestamp(path.stat().st_mtime, UTC) < limit]
    named = _named(store) if old else set()
    unused = [path for path in old if path.name not in named]
    size = sum(path.stat().st_size for path in unused)
    for path in unused:
        if not dry_run:
            (disk or Disk()).remove(path)
    return RemovedInputs(tuple(f"{folder.parent.name}/{UPLOADS}/{path.name}" for path in unused), size)


def _brought(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name) and path.is_file())


def _named(store: Store) -> set[str]:
    """Names of such files in records of items, and wherever a batch's record has one."""
    found = {name for _, one in store.parts(_Uploads) for value in one.uploads.values() for name in _names(str(value))}
    for line in store.log_lines("batch"):
        found.update(_names(line.decode("utf-8", "replace")))
    return found


def _names(text: str) -> list[str]:
    return _NAME.findall(text)
