"""A disk that writes real files but never syncs, because these tests do not simulate power loss."""

from __future__ import annotations

import os
from pathlib import Path

from state.disk import Disk, Handle


class FastHandle(Handle):
    def sync(self) -> None:
        pass


class FastDisk(Disk):
    def create(self, path: Path, *, like: Path | None = None) -> Handle:
        return self._unsynced(super().create(path, like=like))

    def append_to(self, path: Path, *, create: bool = False) -> Handle:
        return self._unsynced(super().append_to(path, create=create))

    def sync_directory(self, path: Path) -> None:
        pass

    def _unsynced(self, handle: Handle) -> Handle:
        with handle:
            return FastHandle(handle.path, os.dup(handle._descriptor))


def contents(folder: Path) -> dict[Path, bytes]:
    """Contents of every file below a folder, to check that none changes."""
    return {Path(place, name): Path(place, name).read_bytes() for place, _, names in os.walk(folder) for name in names}
