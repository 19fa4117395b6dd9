"""run.lock and holder.json: one burst per state, which one it is, and when a killed one ended."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.clock import Clock
from orchestrator.errors import LockHeld, StateError
from orchestrator.wording import named
from state.disk import Disk, is_known, refusal, refusals
from state.holder import Holder
from state.json.holder import HolderFile, read_holder
from state.operating_system import ENDED, STOPPED, boot_id, process_state
from state.owners import give_to_directory_owner

FRESH_SECONDS = 10.0
"""A holder on another host that was touched within this time counts as alive."""
_CHECK_SECONDS = 0.3
"""A process that only checks whether the lock is held takes it for an instant; wait at least that long."""
_WATCH_SECONDS = 3.0
"""How long a silent holder on another host is watched for a touch, since clocks may differ."""
_POLL_SECONDS = 0.05


class FileRunLock:
    """One holder at a time; released by the operating system when the process ends in any way.

    holder.json is touched every second and removed at a clean end. If it exists while the lock is free, a burst was
    killed, at the time of the last touch. The touches also keep a second host out where the file system locks only
    locally. A forked child does not hold the lock.
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
        """Take the lock. Returns the holder that a killed burst left behind, with the time it was last alive, or None.

        Errors: LockHeld, which names the holder; StateError where the state cannot be locked.
        """
        self._disk.make_directory(self.folder)
        path = self.folder / "run.lock"
        try:
            self._lock.acquire(timeout=max(wait_seconds, _CHECK_SECONDS))
            give_to_directory_owner(path)
            excludes = not _is_free(path)
        except Timeout as error:
            raise LockHeld(self._held_message(self.holder())) from error
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and is_known(error):
                raise refusal(error, path) from error
            raise self._no_lock(str(error)) from error
        try:
            if not excludes:
                raise self._no_lock("it granted the same lock twice")
            return self._killed_holder()
        except BaseException:
            self._lock.release()
            raise

    def hold(
        self,
        *,
        burst: str,
        started_at: datetime,
        size: int,
        run_started_at: datetime | None = None,
        servers: Collection[str] = (),
    ) -> None:
        """Publish the current burst and show that it is alive until `release`. Errors: LockHeld, DiskFull."""
        holder = Holder(
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            burst=burst,
            started_at=started_at,
            size=size,
            run_started_at=run_started_at,
            servers=tuple(servers),
        )
        if self._keeper is not None:
            self._keeper.update(holder)
            return
        if self.holder() != self._left:
            self._killed_holder()  # another host has taken it since: the lock is local to each host
        self._keeper = HolderFile(self.holder_path, holder, disk=self._disk, clock=self._clock)
        self._keeper.start()

    def publish_wait(self, reason: str | None) -> None:
        """Publish what the burst waits for; None: nothing. Errors: DiskFull."""
        if self._keeper is not None:
            self._keeper.wait_for(reason)

    def check(self, *, reread: bool = False) -> None:
        """Errors: LockHeld where another burst took the lock as well.

        `reread`: read holder.json; otherwise what was seen at the last touch counts.
        """
        if self._keeper is None:
            return
        other = self._keeper.look() if reread else self._keeper.ousted_by
        if other is not None:
            raise LockHeld(
                f"{other.describe()} works on this state too, although we hold {self._lock.lock_file}: the file was "
                "removed, or its file system locks only within one host. Run the bursts of a state on one host, or "
                "keep it on another file system."
            )

    def release(self) -> None:
        """End cleanly. Safe to repeat."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.end()
        self._lock.release()

    def holder(self) -> Holder | None:
        """The content of holder.json, None if it is missing or damaged. It does not prove that the lock is held."""
        return read_holder(self._disk, self.holder_path)

    def is_held(self) -> bool:
        """Whether any process, including this one, holds it at the moment."""
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
        """The holder that is alive, judged without touching the lock; None if there is none."""
        holder = self.holder()
        try:
            silent_seconds = abs(self._clock.now() - self.last_touch()).total_seconds()
        except FileNotFoundError:
            return None
        if holder is None:
            return None
        is_silent = silent_seconds > FRESH_SECONDS
        if holder.boot_id == boot_id() and holder.host == socket.gethostname():
            state = process_state(holder.pid)
            # One that is stopped holds the lock, but does not touch holder.json.
            return holder if state in STOPPED or (state not in ENDED and not is_silent) else None
        return None if is_silent else holder

    def _held_message(self, holder: Holder | None) -> str:
        who = holder.describe() if holder else "another process"
        return (
            f"{who} holds {self._lock.lock_file}: one burst works on a state at a time. "
            f"Wait for it with {named('wait_lock_seconds', 'SECONDS')}, or end it."
        )

    def _killed_holder(self) -> tuple[Holder, datetime] | None:
        """The holder left by a killed burst, if any. Errors: LockHeld where it is alive on another host."""
        left = self._left = self.holder()
        if left is None:
            return None
        if self._is_alive_elsewhere(left):
            raise LockHeld(self._held_message(left))
        with contextlib.suppress(FileNotFoundError):
            return left, self.last_touch()
        return None

    def _is_alive_elsewhere(self, holder: Holder) -> bool:
        """Whether the holder is alive on another host although we got the lock, which is then local to each host."""
        if holder.host == socket.gethostname() or holder.boot_id == boot_id() != "":
            return False
        with refusals(self.folder):
            os.utime(self._lock.lock_file)
        here = os.stat(self._lock.lock_file).st_mtime
        try:
            return abs(here - self.last_touch().timestamp()) < FRESH_SECONDS or self._is_touched()
        except FileNotFoundError:
            return False

    def _is_touched(self) -> bool:
        """Whether holder.json is touched while we watch. Errors: FileNotFoundError."""
        before, never = self.last_touch(), threading.Event()
        until = self._clock.monotonic() + _WATCH_SECONDS
        while self._clock.monotonic() < until:
            self._clock.wait(never, _POLL_SECONDS)
            self.holder()  # opening it makes a network file system query its server
            if self.last_touch() != before:
                return True
        return False

    def _no_lock(self, why: str) -> StateError:
        return StateError(self.folder, f"this file system cannot lock files ({why}); keep the state on one that can.")

    def last_touch(self) -> datetime:
        """When the holder was last alive. Errors: FileNotFoundError where there is none."""
        return datetime.fromtimestamp(self.holder_path.stat().st_mtime, UTC)


def _file_lock(path: Path) -> FileLock:
    return FileLock(path, thread_local=False, poll_interval=0.05, fallback_to_soft=False)


def _is_free(path: Path) -> bool:
    """Whether a second lock on this file can be acquired. Errors: OSError, NotImplementedError."""
    second = _file_lock(path)
    try:
        second.acquire(timeout=0)
    except Timeout:
        return False
    second.release()
    return True


def can_lock(folder: Path) -> bool:
    """Whether a lock on a file in this folder excludes a second one, tried on a temporary file."""
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
