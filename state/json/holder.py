"""holder.json: the process that holds run.lock, touched every second."""

from __future__ import annotations

import contextlib
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import DiskFull
from state.disk import Disk
from state.holder import TOUCH_SECONDS, Holder

_CLOCK_WAS_SET = timedelta(seconds=1)
_EPOCH = datetime.fromtimestamp(0, UTC)


class HolderFile:
    """Maintains holder.json: touches it every second and corrects its times when the clock is set.

    Once another burst has written itself into the file, it is left alone.
    """

    def __init__(self, path: Path, holder: Holder, *, disk: Disk, clock: Clock) -> None:
        self.ousted_by: Holder | None = None
        """The holder that wrote itself into holder.json although we hold the lock."""
        self._path = path
        self._disk = disk
        self._clock = clock
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._pid = os.getpid()
        self._write(holder)

    def start(self) -> None:
        """Start touching the file."""
        threading.Thread(target=self._keep, name="holder", daemon=True).start()

    def update(self, holder: Holder) -> None:
        """Write our next burst into the file, atomically. Errors: DiskFull."""
        with self._guard:
            if self._is_ours():
                self._write(holder)

    def wait_for(self, reason: str | None) -> None:
        """Write what the burst waits for into the file. Errors: DiskFull."""
        with self._guard:
            if self._is_ours():
                self._write(msgspec.structs.replace(self._holder, waits_for=reason))

    def look(self) -> Holder | None:
        """Read the file: the holder that wrote itself into it, or None while it is ours."""
        with self._guard:
            self._is_ours()
        return self.ousted_by

    def end(self) -> None:
        """Remove the file if it is still ours. Does nothing in a forked child."""
        if self._pid != os.getpid():
            return
        self._ended.set()
        with self._guard:
            if self._is_ours():
                self._disk.remove(self._path)

    def _keep(self) -> None:
        while not self._ended.wait(TOUCH_SECONDS):
            with self._guard, contextlib.suppress(OSError, DiskFull):
                if not self._ended.is_set() and self._is_ours():
                    self._touch()

    def _is_ours(self) -> bool:
        """A damaged or missing file counts as ours."""
        found = read_holder(self._disk, self._path)
        if found is not None and found != self._holder:
            self.ousted_by = found
        return self.ousted_by is None

    def _touch(self) -> None:
        jump = self._seconds_ahead() - self._ahead
        if abs(jump) > _CLOCK_WAS_SET:
            self._write(self._holder.shifted(jump))
        else:
            os.utime(self._path)

    def _write(self, holder: Holder) -> None:
        self._disk.write_whole(self._path, msgspec.json.encode(holder) + b"\n", sync=False)
        self._holder, self._ahead = holder, self._seconds_ahead()

    def _seconds_ahead(self) -> timedelta:
        """Wall clock minus monotonic clock: changes when the clock is set and when the machine was suspended."""
        return self._clock.now() - _EPOCH - timedelta(seconds=self._clock.monotonic())


def read_holder(disk: Disk, path: Path) -> Holder | None:
    """None if the file is missing or damaged."""
    try:
        return msgspec.json.decode(disk.read(path), type=Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
