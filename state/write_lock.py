"""Locks that are held for moments: write.lock, which every writer of a state takes, and adding.lock."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from filelock import lock_descriptor, unlock_descriptor

from orchestrator.clock import Clock
from orchestrator.errors import LockHeld, StateError
from state import operating_system
from state.disk import Disk, refusals
from state.owners import give_to_directory_owner

_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.005


class WriteLock:
    """Compatible with `filelock.FileLock` on the same file, at a tenth of its cost.

    For one thread at a time, which the store's mutex ensures. Released by the operating system when the process ends
    in any way.
    """

    def __init__(self, folder: Path, *, disk: Disk, name: str = "write.lock") -> None:
        self.path = folder / name
        self._disk = disk
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        """Errors: LockHeld, DiskFull; StateError where this file system cannot lock."""
        with refusals(self.path if os.path.exists(self.path) else self.path.parent):
            if not self._try():
                self._wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._descriptor is not None
        descriptor, self._descriptor = self._descriptor, None
        try:
            unlock_descriptor(descriptor)  # a forked child may hold a copy: closing alone would not free it
        finally:
            os.close(descriptor)

    def _wait(self) -> None:
        clock, never = Clock(), threading.Event()
        until = clock.monotonic() + _TIMEOUT_SECONDS
        while not self._try():
            if clock.monotonic() >= until:
                raise LockHeld(
                    f"{self.path}: held by another process for over {_TIMEOUT_SECONDS:.0f} s; "
                    "end that process and run again."
                )
            clock.wait(never, _POLL_SECONDS)

    def _try(self) -> bool:
        descriptor = self._open()
        try:
            # A lock on a file that was removed in the meantime excludes nobody.
            if _locked(descriptor, self.path.parent) and os.fstat(descriptor).st_nlink:
                self._descriptor = descriptor
        finally:
            if self._descriptor is None:
                os.close(descriptor)
        return self._descriptor is not None

    def _open(self) -> int:
        flags = os.O_RDWR | operating_system.BINARY
        try:
            return os.open(self.path, flags)
        except FileNotFoundError:
            self._disk.make_directory(self.path.parent)
            descriptor = os.open(self.path, flags | os.O_CREAT, 0o644)
            give_to_directory_owner(self.path)
            return descriptor


def _locked(descriptor: int, folder: Path) -> bool:
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        raise StateError(
            folder, f"this file system cannot lock files ({error}); keep the state on one that can."
        ) from error
