"""How long a run waits for a server that does not answer, and how often it asks again."""

from __future__ import annotations

from orchestrator.cycle import pacing
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.errors import BurstError, TransientError


class Waiting:
    """For one worker's server. Times are of the monotonic clock."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._error: BurstError | None = None
        self._until = 0.0

    def lost(self, error: BurstError) -> None:
        """It did not answer, at first or once more."""
        if self._error is None:
            self._until = self._context.clock.monotonic() + self._context.options.wait_server_seconds
            self._error = error
            if self.is_worth_it:
                log.warning("%s; waiting for it", error)
        self._error = error

    def returned(self) -> None:
        """It answers again."""
        if self._error is not None:
            log.info("%s answers again", self._context.server.shown)
        self._error = None

    @property
    def is_worth_it(self) -> bool:
        """False where the time is over, and where a person must change something first."""
        error = self._error
        is_away = isinstance(error, TransientError) and not error.needs_a_person
        return is_away and self._context.clock.monotonic() < self._until

    def pause_seconds(self, losses: int) -> float:
        """Until it is asked again, which has failed so many times in a row: 5, 10, 20, 40, 60, 60…"""
        pause = pacing.pause_before_retry(losses)
        left = self._until - self._context.clock.monotonic()
        return min(pause, left) if self.is_worth_it else pause
