"""run.lock and holder.json: one burst a state, who it is, and when a killed one ended."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.clock import Clock
from orchestrator.errors import LockHeld, StateError
from state.disk import Disk, refusals
from state.holder import Holder
from state.json.holder import HolderFile, boot_id, read_holder

FRESH_SECONDS = 10.0
"""A holder on another host that was touched within this time is taken to be alive."""
_GLANCE_SECONDS = 0.3
"""Somebody who only looks whether the lock is held holds it for an instant; that is waited out."""
_WATCH_SECONDS = 3.0
"""How long a silent holder on another host is watched for a touch: clocks may differ, the touching does not lie."""
_LOOK_SECONDS = 0.05


class FileRunLock:
    """Held for the length of a run; freed by the operating system when the process ends, however it ends.

    holder.json is touched each second and removed at a clean end, so one that is there although the lock is free tells
    of a killed burst, and its time when that was. The touching also keeps a second host out where the file system's
    lock is only local. A forked child has no part in it.
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None, clock: Clock | None = None) -> None:
        self.folder = folder
        self.holder_path = folder / "holder.json"
        self._disk = disk or Disk()
        self._clock = clock or Clock()
        self._lock = _file_lock(folder / "run.lock")
        self._left: Holder | None = None
        self._keeper: HolderFile | None = None

    def acquire(self, *, wait_seconds: float = 0.0) -> tuple[Holder, datetime] | None:
        """Take the lock; what a killed burst left behind (who, and when it was last alive), or None.

        Errors: LockHeld, with who holds it; StateError where this file system cannot lock.
        """
        self._disk.make_directory(self.folder)
        try:
            with refusals(self.folder):
                self._lock.acquire(timeout=max(wait_seconds, _GLANCE_SECONDS))
                keeps_out = not _is_free(self.folder / "run.lock")
        except Timeout as error:
            raise LockHeld(self._held_message(self.holder())) from error
        except (NotImplementedError, OSError) as error:
            raise self._no_lock(str(error)) from error
        try:
            if not keeps_out:
                raise self._no_lock("it gives one lock twice")
            return self._left_behind()
        except BaseException:
            self._lock.release()
            raise

    def hold(self, *, burst: str, started_at: datetime, size: int, run_started_at: datetime | None = None) -> None:
        """Say who holds it, and go on saying so each second until `release`. Errors: LockHeld, DiskFull."""
        holder = Holder(
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            burst=burst,
            started_at=started_at,
            size=size,
            run_started_at=run_started_at,
        )
        if self._keeper is not None:
            self._keeper.tell(holder)
            return
        if self.holder() != self._left:
            self._left_behind()  # another host took it since: its lock is a local one
        self._keeper = HolderFile(self.holder_path, holder, disk=self._disk, clock=self._clock)
        self._keeper.start()

    def check(self) -> None:
        """Errors: LockHeld where another burst took it too, as it can where the lock is local to each host."""
        if self._keeper is not None and (other := self._keeper.ousted_by) is not None:
            raise LockHeld(
                f"{other.describe()} works on this state too, although we hold {self._lock.lock_file}: the file was "
                "removed, or its file system locks for one host only. Run the bursts of a state on one host, or keep "
                "it on another file system."
            )

    def release(self) -> None:
        """A clean end: nobody holds it, and nobody was killed. Safe to repeat."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.end()
        self._lock.release()

    def holder(self) -> Holder | None:
        """What holder.json says; None where there is none or it is damaged (it is never the truth about the lock)."""
        return read_holder(self._disk, self.holder_path)

    def is_held(self) -> bool:
        """Whether some process, this one too, holds the lock right now."""
        if self._lock.is_locked:
            return True
        if not (self.folder / "run.lock").exists():
            return False
        try:
            self._lock.acquire(timeout=0)
        except (Timeout, OSError):
            return True
        self._lock.release()
        return False

    def living_holder(self) -> Holder | None:
        """Who is at work, as far as can be told without touching the lock."""
        holder = self.holder()
        try:
            silent_seconds = abs(self._clock.now() - self.last_touch()).total_seconds()
        except FileNotFoundError:
            return None
        if holder is None or silent_seconds > FRESH_SECONDS:
            return None
        if holder.boot_id == boot_id() and holder.host == socket.gethostname():
            try:
                os.kill(holder.pid, 0)
            except ProcessLookupError:
                return None
            except PermissionError:
                return holder
        return holder

    def _held_message(self, holder: Holder | None) -> str:
        who = holder.describe() if holder else "another process"
        return (
            f"{who} holds {self._lock.lock_file}: one burst works on a state at a time. "
            "Wait for it with --wait-lock SECONDS, or end it."
        )

    def _left_behind(self) -> tuple[Holder, datetime] | None:
        """Errors: LockHeld where the holder lives on another host."""
        left = self._left = self.holder()
        if left is None:
            return None
        if self._lives_elsewhere(left):
            raise LockHeld(self._held_message(left))
        with contextlib.suppress(FileNotFoundError):
            return left, self.last_touch()
        return None

    def _lives_elsewhere(self, holder: Holder) -> bool:
        """A burst on another host that is alive although the lock was to be had: the lock is local to each host."""
        if holder.host == socket.gethostname() or holder.boot_id == boot_id():
            return False
        with refusals(self.folder):
            os.utime(self._lock.lock_file)
        here = os.stat(self._lock.lock_file).st_mtime
        try:
            return abs(here - self.last_touch().timestamp()) < FRESH_SECONDS or self._is_touched()
        except FileNotFoundError:
            return False

    def _is_touched(self) -> bool:
        """Whether holder.json is touched while we look. Errors: FileNotFoundError."""
        before, never = self.last_touch(), threading.Event()
        until = self._clock.monotonic() + _WATCH_SECONDS
        while self._clock.monotonic() < until:
            self._clock.wait(never, _LOOK_SECONDS)
            self.holder()  # opening it makes a network file system ask the server
            if self.last_touch() != before:
                return True
        return False

    def _no_lock(self, why: str) -> StateError:
        return StateError(self.folder, f"this file system cannot lock files ({why}); keep the state on one that can.")

    def last_touch(self) -> datetime:
        """When the holder was last alive."""
        return datetime.fromtimestamp(self.holder_path.stat().st_mtime, UTC)


def _file_lock(path: Path) -> FileLock:
    return FileLock(path, thread_local=False, poll_interval=0.05, fallback_to_soft=False)


def _is_free(path: Path) -> bool:
    """Whether a second lock on this file is to be had. Errors: OSError, NotImplementedError."""
    second = _file_lock(path)
    try:
        second.acquire(timeout=0)
    except Timeout:
        return False
    second.release()
    return True


def can_lock(folder: Path) -> bool:
    """Does a lock on a file in this folder keep a second one out? Tried on a file of its own, which is removed."""
    probe = folder / f".lock-probe-{os.getpid()}"
    first = _file_lock(probe)
    try:
        first.acquire(timeout=0)
        return not _is_free(probe)
    except (NotImplementedError, OSError):
        return False
    finally:
        first.release()
        with contextlib.suppress(OSError):
            probe.unlink()
