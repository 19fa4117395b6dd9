"""Clocks that stand still until a test or a wait moves them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from orchestrator.clock import Clock

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class HandClock(Clock):
    """A clock that stands still until it is moved. Workers never wait: they return when their next step is due."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        raise AssertionError("a worker waited instead of returning when its next step is due")


class PassingClock(Clock):
    """The same time for a client, whose waits between retries move the clock."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._clock.seconds += seconds
        return event.is_set()
