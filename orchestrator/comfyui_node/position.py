"""What became of each image of one directory, on disk: a file under ComfyUI's user directory.

Its shape is burst's state file: image path → {"status": "pending" | "submitted" | "completed" | "failed" | "cancelled",
…}. A position is held by file names, so that an image which comes or goes moves no other image's place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_encode = json.JSONEncoder().encode

PENDING, SUBMITTED, COMPLETED, FAILED, CANCELLED = "pending", "submitted", "completed", "failed", "cancelled"
STATUSES = frozenset({PENDING, SUBMITTED, COMPLETED, FAILED, CANCELLED})


class PositionUnreadable(Exception):
    """The file is damaged. Nothing was written: an unreadable position is not an empty one."""


@dataclass(frozen=True)
class Position:
    """The file of one directory. Every change reads it anew: people may edit it meanwhile."""

    directory: Path
    user_directory: Path

    @property
    def path(self) -> Path:
        words = re.sub("[^A-Za-z0-9_-]+", "_", self.directory.name)[:40] or "directory"
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        # Two underscores: newer servers give no such directory away over HTTP.
        return self.user_directory / "__burst" / f"{words}-{digest}.json"

    def read(self) -> dict[str, Record]:
        """Records by image name. Errors: PositionUnreadable, OSError."""
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise self._unreadable(str(error)) from error
        if not isinstance(document, dict):
            raise self._unreadable("not a JSON object")
        for key, record in document.items():
            if not isinstance(record, dict) or record.get("status") not in STATUSES:
                raise self._unreadable(f"the record of {key} has no status that is known")
        return {os.path.basename(key): record for key, record in document.items()}

    @contextlib.contextmanager
    def change(self) -> Iterator[dict[str, Record]]:
        """The records, to be changed in place; on disk, whole and synced, when the block is left without an error."""
        records = self.read()
        before = {name: dict(record) for name, record in records.items()}
        yield records
        if records != before:
            # A line an image, for people to read.
            lines = [f"{_encode(str(self.directory / name))}: {_encode(record)}" for name, record in records.items()]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace(self.path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())

    def _unreadable(self, why: str) -> PositionUnreadable:
        return PositionUnreadable(f"{self.path} cannot be read: {why}. Fix it, or remove it to start over.")


def replace(path: Path, data: bytes) -> None:
    """The file has this content, whole and synced, or is as it was. Errors: OSError."""
    # One name for all attempts: what a kill left is overwritten by the next one.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
