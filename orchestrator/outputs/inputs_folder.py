"""The folder below an output root where a state keeps copies of what its items are made from, each once.

`.burst-inputs/ID/ab/abcd….png`: named after what a file holds, so that equal ones are one and none is ever changed. ID
is the state's own, since several may save below one root.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.places import ObjectPath, Place, root_at_home
from state.disk import Disk, refusals

FOLDER = ".burst-inputs"
SPARED = timedelta(days=1)
"""A file that nothing names is not removed before: an item that names it may be about to be added."""
_FRESH = SPARED / 2


@dataclass(frozen=True)
class StoredInput:
    """A file in the folder."""

    inside: str
    """From the output root on."""
    place: Place
    bytes: int
    modified_at: datetime


def kept_copy(root: str, inside: str) -> str:
    """A file of the folder as a state names it. `root`: the output root, so named."""
    return f"{root}/{inside}"


def kept_place(kept: str, home: Path) -> tuple[Place, str] | None:
    """The root and what follows it of a path in such a folder, as a state names it; None for other paths."""
    root, found, inside = kept.rpartition(f"/{FOLDER}/")
    return (root_at_home(root, home), f"{FOLDER}/{inside}") if found else None


class InputsFolder:
    """Of one output root and one state."""

    def __init__(self, root: Place, name: str, *, disk: Disk | None = None, clock: Clock | None = None) -> None:
        """`name`: the state's id."""
        self._root = root
        self._name = name
        self._disk = disk or Disk()
        self._clock = clock or Clock()

    def put(self, filename: str, data: bytes) -> str:
        """Keep a file named after its contents; where it is, from the root on. Durable on return, or not there.

        Any number may put the same one at once. One that is there counts as new again: see `SPARED`.
        Errors: DiskFull, OutputRootUnusable.
        """
        inside = f"{FOLDER}/{self._name}/{filename[:2]}/{filename}"
        place = self._root / inside
        if isinstance(place, ObjectPath):
            self._put_object(place, data)
        else:
            self._put_file(place, data)
        return inside

    def files(self) -> Iterator[StoredInput]:
        """All that is there, whole or left by a kill. Errors: OutputRootUnusable, OSError."""
        if isinstance(self._root, ObjectPath):
            folder = self._root / FOLDER / self._name
            for found in folder.bucket.every(folder.key):
                place = ObjectPath(folder.bucket, found.key)
                inside = place.relative_to(self._root).as_posix()
                yield StoredInput(inside, place, found.size_bytes, _at(found.modified_ns))
            return
        for path in sorted((self._root / FOLDER / self._name).glob("*/*")):
            with contextlib.suppress(FileNotFoundError):
                stat = path.lstat()
                yield StoredInput(path.relative_to(self._root).as_posix(), path, stat.st_size, _at(stat.st_mtime_ns))

    def remove(self, one: StoredInput) -> bool:
        """Unless it was put again meanwhile; whether it is gone now. Errors: OutputRootUnusable, DiskFull."""
        try:
            if _at(one.place.stat().st_mtime_ns) != one.modified_at:
                return False
        except FileNotFoundError:
            return True
        if isinstance(one.place, ObjectPath):
            one.place.unlink()
        else:
            self._disk.remove(one.place)
        return True

    def _put_file(self, path: Path, data: bytes) -> None:
        with refusals(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.utime(path)
            if path.stat().st_size == len(data):
                return
        self._disk.make_directory(path.parent)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with self._disk.create(temporary) as handle:
                handle.write(data)
                handle.sync()
            self._disk.rename(temporary, path)
        except BaseException:
            self._disk.remove(temporary)
            raise
        self._disk.sync_directory(path.parent)

    def _put_object(self, place: ObjectPath, data: bytes) -> None:
        found = place.bucket.look(place.key)
        is_whole = found is not None and found.size_bytes == len(data)
        if found is not None and is_whole and self._clock.now() - _at(found.modified_ns) < _FRESH:
            return
        with contextlib.suppress(FileExistsError):  # somebody else put the same bytes at this moment
            place.bucket.put(place.key, data, replace=found is not None)


def _at(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
