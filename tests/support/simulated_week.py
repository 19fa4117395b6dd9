"""Cron on a clock moved by hand: a run at each start, killed at any moment, on a disk that fills up, with a server that
is switched off at night; each leaves its record, as runs do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cycle.context import Options
from orchestrator.cycle.tally import Tally
from orchestrator.cycle.unrecorded import record_remembered, remember
from orchestrator.errors import BurstError, DiskFull
from orchestrator.servers import this_host
from state.burst_record import BurstRecord, Ending
from state.disk import refusal
from support.fuzzed_server import FuzzedServer
from support.hand_clock import HandClock
from support.killable_disk import Fuse, KillableDisk, KillableHandle, Killed
from support.simulated_run import SimulatedRun

_SELDOM = Options(poll_seconds=300.0, sweep_seconds=900.0)
"""A week has many polls."""


class Space:
    """Of a disk."""

    is_full = False


class _FillingHandle(KillableHandle):
    def __init__(self, path: Path, descriptor: int, fuse: Fuse, space: Space) -> None:
        super().__init__(path, descriptor, fuse)
        self._space = space

    def write(self, data: bytes) -> None:
        if self._space.is_full:
            raise refusal(OSError(errno.ENOSPC, "No space left on device"), self.path)
        super().write(data)


class FillingDisk(KillableDisk):
    """A disk that has no space left while `space.is_full`."""

    def __init__(self, fuse: Fuse, space: Space) -> None:
        super().__init__(fuse)
        self._space = space

    def _unsynced(self, handle):  # type: ignore[no-untyped-def]
        killable = super()._unsynced(handle)
        with killable:
            return _FillingHandle(killable.path, os.dup(killable._descriptor), self._fuse, self._space)


class CronRun(SimulatedRun):
    """One run: it publishes its burst, and adds its record if it comes to that."""

    def __init__(
        self, home: Path, clock: HandClock, servers: Sequence[FuzzedServer], space: Space, *, number: int, size: int
    ) -> None:
        self._space, self._number, self._size = space, number, size
        super().__init__(home, clock, servers, size=size, options=_SELDOM)
        self._began = clock.now()
        try:
            record_remembered(self._store)
            self._lease.record_killed()
            self._lease.begin_burst(burst=self.burst, size=size, started_at=self._began, run_started_at=self._began)
        except DiskFull as full:
            self.error = full
            self._end()

    @property
    def burst(self) -> str:
        return f"{self._number:08x}"

    def disk(self) -> KillableDisk:
        return FillingDisk(self.fuse, self._space)

    def stop(self) -> None:
        """Its time is over: what is out stays there."""
        self._ended: Ending = "deadline"
        self._end()

    def kill(self) -> None:
        self.fuse.blow()
        with contextlib.suppress(Killed):
            self._lease.end()
        super().kill()
        # It touched the file until now, by the clock of the simulation.
        holder = Path(self._store.location.auxiliary("holder.json"))
        with contextlib.suppress(FileNotFoundError):
            os.utime(holder, times=(self._clock.now().timestamp(),) * 2)

    def _end(self) -> None:
        with contextlib.suppress(Killed):
            record = self._record()
            try:
                self._lease.end_burst(record)
            except DiskFull:
                remember(self._store.location, record)
        super()._end()

    def _record(self) -> BurstRecord:
        away = [worker.trouble for worker in self._workers if worker.trouble is not None]
        error: BurstError | None = self.error or (away[0] if away else None)
        done = Tally.of(worker.context.tally for worker in self._workers)
        seconds = (self._clock.now() - self._began).total_seconds()
        return BurstRecord(
            burst=self.burst,
            started_at=self._began,
            ended_at=self._clock.now(),
            ended="error" if error is not None else getattr(self, "_ended", "done"),
            size=self._size,
            completed=done.completed,
            failed=done.failed,
            recovered=done.recovered,
            seconds=seconds,
            alive_seconds=seconds,
            reason=str(error) if error is not None else None,
            host=this_host(),
            pid=self._number,
            rendered=done.completed,
            bytes=done.bytes,
            checkpoints=done.checkpoints,
        )
