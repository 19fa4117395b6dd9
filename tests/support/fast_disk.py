"""A disk that waits for no platter: files for real, syncs for nothing, because nobody cuts the power here."""

from __future__ import annotations

import os
from pathlib import Path

from state.disk import Disk, Handle


class HastyHandle(Handle):
    def sync(self) -> None:
        pass


class HastyDisk(Disk):
    def create(self, path: Path, *, like: Path | None = None) -> Handle:
        return self._hasty(super().create(path, like=like))

    def append_to(self, path: Path, *, create: bool = False) -> Handle:
        return self._hasty(super().append_to(path, create=create))

    def sync_directory(self, path: Path) -> None:
        pass

    def _hasty(self, handle: Handle) -> Handle:
        with handle:
            return HastyHandle(handle.path, os.dup(handle._descriptor))


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder, to see that none was changed."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
