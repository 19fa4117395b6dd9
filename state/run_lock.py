"""run.lock and holder.json: one burst a state, who it is, and when a killed one ended."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from orchestrator.errors import LockHeld, StateError
from state.burst_log import BurstRecord
from state.disk import Disk, refusals
from state.item import UtcTime

TOUCH_SECONDS = 1.0
FRESH_SECONDS = 10.0
"""A holder on another host that was touched within this time is taken to be alive."""
_GLANCE_SECONDS = 0.3
"""Somebody who only looks whether the lock is held holds it for an instant; that is waited out."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds run.lock: the content of holder.json."""

    host: str
    boot_id: str
    pid: int
    burst: str
    started_at: UtcTime
    size: int
    run_started_at: UtcTime | None = None
    """When the process began: with --until-done this is not its first burst."""

    def lived_seconds(self, last_alive: datetime) -> float:
        """From the burst's beginning to when it was last alive."""
        return max(0.0, (last_alive - self.started_at).total_seconds())

    def alive_seconds(self, last_alive: datetime) -> float:
        """Age of the run when it was last alive: from its beginning, or the burst's where that is not known."""
        return max(0.0, (last_alive - (self.run_started_at or self.started_at)).total_seconds())

    def killed_record(self, last_alive: datetime) -> BurstRecord:
        """The record that this burst could not write, because it was killed."""
        return BurstRecord(
            burst=self.burst,
            started_at=self.started_at,
            ended_at=last_alive,
            ended="killed",
            size=self.size,
            seconds=self.lived_seconds(last_alive),
            alive_seconds=self.alive_seconds(last_alive),
        )

    def describe(self) -> str:
        return f"pid {self.pid} on {self.host} (burst {self.burst}, begun {self.started_at:%Y-%m-%d %H:%M:%S} UTC)"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class RunLock:
    """Held for the length of a run; freed by the operating system when the process ends, however it ends.

    holder.json is touched each second and removed at a clean end, so one that is there although the lock is free tells
    of a killed burst, and its time when that was. The touching also keeps a second host out where the file system's
    lock is only local.
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self.folder = folder
        self.holder_path = folder / "holder.json"
        self._disk = disk or Disk()
        self._lock = FileLock(folder / "run.lock", thread_local=False, poll_interval=0.05, fallback_to_soft=False)
        self._released: threading.Event | None = None
        """Ends the thread that touches holder.json; None where there is none."""

    def acquire(self, *, wait_seconds: float = 0.0) -> tuple[Holder, datetime] | None:
        """Take the lock; what a killed burst left behind (who, and when it was last alive), or None.

        Errors: LockHeld, with who holds it; StateError where this file system cannot lock.
        """
        self._disk.make_directory(self.folder)
        try:
            with refusals(self.folder):
                self._lock.acquire(timeout=max(wait_seconds, _GLANCE_SECONDS))
        except Timeout as error:
            raise LockHeld(self._held_message(self.holder())) from error
        except (NotImplementedError, OSError) as error:
            raise StateError(
                self.folder, f"this file system cannot lock files ({error}); keep the state on one that can."
            ) from error
        left = self.holder()
        if left is None:
            return None
        if self._lives_elsewhere(left):
            self._lock.release()
            raise LockHeld(self._held_message(left))
        return left, self.last_touch()

    def hold(self, *, burst: str, started_at: datetime, size: int, run_started_at: datetime | None = None) -> None:
        """Say who holds it, and go on saying so each second until `release`."""
        holder = Holder(
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid=os.getpid(),
            burst=burst,
            started_at=started_at,
            size=size,
            run_started_at=run_started_at,
        )
        temporary = self.holder_path.with_name("holder.json.tmp")
        try:
            with self._disk.create(temporary) as handle:
                handle.write(msgspec.json.encode(holder) + b"\n")
            with refusals(self.holder_path):
                os.replace(temporary, self.holder_path)
        except BaseException:
            self._disk.remove(temporary)
            raise
        if self._released is None:
            self._released = threading.Event()
            threading.Thread(target=self._keep_touching, args=(self._released,), name="holder", daemon=True).start()

    def release(self) -> None:
        """A clean end: nobody holds it, and nobody was killed. Safe to repeat."""
        if self._released is not None:
            self._released.set()
            self._released = None
            self._disk.remove(self.holder_path)
        self._lock.release()

    def holder(self) -> Holder | None:
        """What holder.json says; None where there is none or it is damaged (it is never the truth about the lock)."""
        try:
            return msgspec.json.decode(self._disk.read(self.holder_path), type=Holder)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def is_held(self) -> bool:
        """Whether some process, this one too, holds the lock right now."""
        if self._lock.is_locked:
            return True
        if not self.folder.is_dir():
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
            silent_seconds = (datetime.now(UTC) - self.last_touch()).total_seconds()
        except FileNotFoundError:
            return None
        if holder is None or silent_seconds > FRESH_SECONDS:
            return None
        if holder.boot_id == _boot_id() and holder.host == socket.gethostname():
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

    def _lives_elsewhere(self, holder: Holder) -> bool:
        """A burst on another host that is alive although the lock was to be had: the lock is local to each host."""
        if holder.host == socket.gethostname() or holder.boot_id == _boot_id():
            return False
        with refusals(self.folder):
            os.utime(self._lock.lock_file)
        here = os.stat(self._lock.lock_file).st_mtime
        return here - self.last_touch().timestamp() < FRESH_SECONDS

    def last_touch(self) -> datetime:
        """When the holder was last alive."""
        return datetime.fromtimestamp(self.holder_path.stat().st_mtime, UTC)

    def _keep_touching(self, released: threading.Event) -> None:
        while not released.wait(TOUCH_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.holder_path)


def can_lock(folder: Path) -> bool:
    """Does a lock on a file in this folder keep a second one out? Tried on a file of its own, which is removed."""
    probe = folder / f".lock-probe-{os.getpid()}"
    first, second = (FileLock(probe, thread_local=False, poll_interval=0.05, fallback_to_soft=False) for _ in range(2))
    try:
        first.acquire(timeout=0)
        second.acquire(timeout=0)
    except Timeout:
        return True
    except (NotImplementedError, OSError):
        return False
    finally:
        second.release()
        first.release()
        with contextlib.suppress(OSError):
            probe.unlink()
    return False
