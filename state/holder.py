"""Who works on a state, and what is known of it when it was killed."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from state.burst_record import BurstRecord
from state.item import UtcTime

TOUCH_SECONDS = 1.0
"""How often a holder shows that it is alive."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who works on a state: what the holder of run.lock writes of itself."""

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
            host=self.host,
        )

    def retold(self, jump: timedelta) -> Holder:
        """The same beginnings by a clock that was set by so much."""
        run = self.run_started_at
        return msgspec.structs.replace(
            self, started_at=self.started_at + jump, run_started_at=None if run is None else run + jump
        )

    def describe(self) -> str:
        return f"pid {self.pid} on {self.host} (burst {self.burst}, begun {self.started_at:%Y-%m-%d %H:%M:%S} UTC)"
