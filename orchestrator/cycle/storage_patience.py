"""How long a run waits for object storage or a database that does not answer: within its deadline, and not once it is
to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from orchestrator.clock import Clock
from orchestrator.cycle.pacing import pause_before_retry
from orchestrator.cycle.tally import NOTES_LOGGER

LONGEST_SECONDS = 600.0
"""Of one wait, where the run has no deadline, or one that is further away."""


class StoragePatience:
    """See `state.patience.Patience`. Any thread may use it."""

    def __init__(
        self,
        clock: Clock,
        *,
        deadline: float | None,
        stop: threading.Event,
        pause_before: Callable[[int], float] = pause_before_retry,
    ) -> None:
        """`deadline`: by the monotonic clock. `stop`: the run ends at its next checkpoint. `pause_before`: seconds to
        wait before the next try, after so many."""
        self._pause_before = pause_before
        self._clock = clock
        self._deadline = deadline
        self._stop = stop

    def begin(self, reason: str) -> Callable[[], bool]:
        logging.getLogger(NOTES_LOGGER).warning("%s; waiting for it", reason)
        until = self._clock.monotonic() + LONGEST_SECONDS
        until = until if self._deadline is None else min(until, self._deadline)
        count = 0

        def pause() -> bool:
            nonlocal count
            count += 1
            left = until - self._clock.monotonic()
            return left > 0 and not self._clock.wait(self._stop, min(self._pause_before(count), left))

        return pause
