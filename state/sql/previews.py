"""The images of what is being made. They stay on the host of the run that shows them, and in no database."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from orchestrator.errors import DiskFull
from state.disk import Disk
from state.location import Location

_PREFIX = "preview-"


class Previews:
    """Of the runs of one state on this host."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._disk = Disk()

    def write(self, lease: int, image: bytes) -> None:
        """Never synced; what cannot be written is not shown."""
        path = self._path(lease)
        with contextlib.suppress(OSError, DiskFull):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._disk.write_whole(path, image, sync=False)

    def read(self, lease: int) -> bytes | None:
        """None where there is none, such as of a run on another host."""
        try:
            return self._path(lease).read_bytes()
        except OSError:
            return None

    def is_here(self, lease: int) -> bool:
        return self._path(lease).exists()

    def remove(self, lease: int) -> None:
        with contextlib.suppress(OSError):
            self._path(lease).unlink(missing_ok=True)

    def remove_others(self, living: Collection[int]) -> None:
        """Those that killed runs left behind."""
        names = {self._path(lease).name for lease in living}
        with contextlib.suppress(OSError):
            for path in self._path(0).parent.glob(f"{_PREFIX}*"):
                if path.name not in names:
                    path.unlink(missing_ok=True)

    def _path(self, lease: int) -> Path:
        return self._location.auxiliary(f"{_PREFIX}{lease}")
