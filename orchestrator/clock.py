"""The one module that knows what time it is."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime


class Clock:
    """Wall clock, monotonic clock and waiting; tests pass one that they move by hand."""

    def now(self) -> datetime:
        """The wall clock as aware UTC. For records only: it may jump."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back. For every duration and time-out."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` have passed; True when it is set."""
        return event.wait(max(0.0, seconds))
