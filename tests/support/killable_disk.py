"""A process that can be killed between any two operations on its disk or its server."""

from __future__ import annotations

import os
from pathlib import Path

from state.disk import Handle, Stamp
from support.fast_disk import FastDisk, FastHandle


class Killed(BaseException):
    """The process was killed: none of its handlers does anything any more."""


class Fuse:
    """Once lit, counts down with every operation of the process."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._dead = False

    def light(self, steps: int) -> None:
        """Kill the process after this many more steps."""
        self._left = steps

    def blow(self) -> None:
        self._dead = True

    def step(self) -> None:
        """Errors: Killed, then at every later step as well."""
        if self._left is not None:
            self._left -= 1
            self._dead = self._dead or self._left < 0
        if self._dead:
            raise Killed


class KillableHandle(FastHandle):
    def __init__(self, path: Path, descriptor: int, fuse: Fuse) -> None:
        super().__init__(path, descriptor)
        self._fuse = fuse

    def write(self, data: bytes) -> None:
        """Write in two halves, so that a kill can tear it."""
        for part in (data[: len(data) // 2], data[len(data) // 2 :]):
            self._fuse.step()
            super().write(part)

    def truncate(self, size_bytes: int) -> None:
        self._fuse.step()
        super().truncate(size_bytes)


class KillableDisk(FastDisk):
    """Completed operations persist, as after SIGKILL."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse

    def read(self, path: Path) -> bytes:
        self._fuse.step()
        return super().read(path)

    def stamp(self, path: Path) -> Stamp | None:
        self._fuse.step()
        return super().stamp(path)

    def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
        self._fuse.step()
        super().rename(source, target, replace=replace)

    def remove(self, path: Path) -> None:
        self._fuse.step()
        super().remove(path)

    def make_directory(self, path: Path) -> None:
        self._fuse.step()
        super().make_directory(path)

    def _unsynced(self, handle: Handle) -> Handle:
        self._fuse.step()
        with handle:
            return KillableHandle(handle.path, os.dup(handle._descriptor), self._fuse)
