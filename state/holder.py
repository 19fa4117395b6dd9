"""The process that works on a state, and what remains known about it after a kill."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from state.burst_record import BurstRecord
from state.item import UtcTime

TOUCH_SECONDS = 1.0
"""Interval at which a holder shows that it is alive."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that holds run.lock, as it describes itself."""

    host: str
    boot_id: str
    pid: int
    burst: str
    started_at: UtcTime
    size: int
    run_started_at: UtcTime | None = None
    """Start of the process, which with --until-done may do several bursts."""
    waits_for: str | None = None
    """Why nothing goes on at the moment: a server that does not answer."""
    is_recorded: bool = False
    """The burst has ended, and has a record."""
    servers: tuple[str, ...] = ()
    """The names of the servers that it uses."""

    def lived_seconds(self, last_alive: datetime) -> float:
        """Time from the start of the burst until it was last alive."""
        return max(0.0, (last_alive - self.started_at).total_seconds())

    def alive_seconds(self, last_alive: datetime) -> float:
        """Age of the run when it was last alive, counted from the start of the burst if that of the run is unknown."""
        return max(0.0, (last_alive - (self.run_started_at or self.started_at)).total_seconds())

    def killed_record(self, last_alive: datetime) -> BurstRecord:
        """The record of this burst, which was killed before it could write one."""
        return BurstRecord(
            burst=self.burst,
            started_at=self.started_at,
            ended_at=last_alive,
            ended="killed",
            size=self.size,
            seconds=self.lived_seconds(last_alive),
            alive_seconds=self.alive_seconds(last_alive),
            host=self.host,
            pid=self.pid,
        )

    def shifted(self, jump: timedelta) -> Holder:
        """The same start times after the clock was set forward by `jump`."""
        run = self.run_started_at
        return msgspec.structs.replace(
            self, started_at=self.started_at + jump, run_started_at=None if run is None else run + jump
        )

    def describe(self) -> str:
        return f"pid {self.pid} on {self.host} (burst {self.burst}, started {self.started_at:%Y-%m-%d %H:%M:%S} UTC)"
