"""holder.json: who holds run.lock, told anew each second by a touch."""

from __future__ import annotations

import contextlib
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import DiskFull
from state.disk import Disk, refusals
from state.item import UtcTime
from state.json.burst_log import BurstRecord

TOUCH_SECONDS = 1.0
_CLOCK_WAS_SET = timedelta(seconds=1)
_EPOCH = datetime.fromtimestamp(0, UTC)


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

    def retold(self, jump: timedelta) -> Holder:
        """The same beginnings by a clock that was set by so much."""
        run = self.run_started_at
        return msgspec.structs.replace(
            self, started_at=self.started_at + jump, run_started_at=None if run is None else run + jump
        )

    def describe(self) -> str:
        return f"pid {self.pid} on {self.host} (burst {self.burst}, begun {self.started_at:%Y-%m-%d %H:%M:%S} UTC)"


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class HolderFile:
    """Keeps holder.json: touches it each second, and says its times by the clock as it is set now.

    Where another burst wrote itself into it, it is left alone from then on.
    """

    def __init__(self, path: Path, holder: Holder, *, disk: Disk, clock: Clock) -> None:
        self.ousted_by: Holder | None = None
        """Who wrote itself into holder.json although we hold the lock."""
        self._path = path
        self._disk = disk
        self._clock = clock
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._pid = os.getpid()
        self._write(holder)

    def start(self) -> None:
        """Begin to touch it."""
        threading.Thread(target=self._keep, name="holder", daemon=True).start()

    def tell(self, holder: Holder) -> None:
        """Write another burst of ours into it, whole or not at all. Errors: DiskFull."""
        with self._guard:
            if self._is_ours():
                self._write(holder)

    def end(self) -> None:
        """Remove it, where it is ours still. In a forked child nothing happens."""
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
        """A damaged one, or none, may be ours."""
        found = read_holder(self._disk, self._path)
        if found is not None and found != self._holder:
            self.ousted_by = found
        return self.ousted_by is None

    def _touch(self) -> None:
        jump = self._seconds_ahead() - self._ahead
        if abs(jump) > _CLOCK_WAS_SET:
            self._write(self._holder.retold(jump))
        else:
            os.utime(self._path)

    def _write(self, holder: Holder) -> None:
        temporary = self._path.with_name("holder.json.tmp")
        try:
            with self._disk.create(temporary) as handle:
                handle.write(msgspec.json.encode(holder) + b"\n")
            with refusals(self._path):
                os.replace(temporary, self._path)
        except BaseException:
            self._disk.remove(temporary)
            raise
        self._holder, self._ahead = holder, self._seconds_ahead()

    def _seconds_ahead(self) -> timedelta:
        """The wall clock before the monotonic one: changes when the clock is set, and when the machine slept."""
        return self._clock.now() - _EPOCH - timedelta(seconds=self._clock.monotonic())


def read_holder(disk: Disk, path: Path) -> Holder | None:
    """None where there is none or it is damaged."""
    try:
        return msgspec.json.decode(disk.read(path), type=Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
