"""How long a run waits for a server that does not answer, how often it asks again, and when it has it restarted."""

from __future__ import annotations

from orchestrator.cycle import pacing
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.errors import BurstError, ServerBusy, ServerUnreachable, StopBurst, TransientError


class Waiting:
    """For one worker's server. Times are of the monotonic clock."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._error: BurstError | None = None
        self._until = self._starts_until = 0.0
        self._is_restarted = False

    def lost(self, error: BurstError) -> None:
        """It did not answer, or does no work: at first or once more. It is restarted where this host says how."""
        now = self._context.clock.monotonic()
        is_first, self._error = self._error is None, error
        if is_first:
            self._until, self._is_restarted = now + self._context.options.wait_server_seconds, False
        if not self._is_restarted and _calls_for_restart(error):
            self._restart(error)
        if is_first and self.is_worth_it:
            log.warning("%s; waiting for it", str(error).rstrip("."))

    def returned(self) -> None:
        """It answers again."""
        if self._error is not None:
            log.info("%s answers again", self._context.server.shown)
        self._error = None

    @property
    def is_worth_it(self) -> bool:
        """False where the time is over, and where a person must change something first."""
        now, error = self._context.clock.monotonic(), self._error
        if error is not None and now < self._starts_until:
            return True
        is_away = isinstance(error, TransientError) and not error.needs_a_person
        return is_away and now < self._until

    def pause_seconds(self, losses: int) -> float:
        """Until it is asked again, which has failed so many times in a row: 5, 10, 20, 40, 60, 60…"""
        pause = pacing.pause_before_retry(losses)
        left = max(self._until, self._starts_until) - self._context.clock.monotonic()
        return min(pause, left) if self.is_worth_it else pause

    def _restart(self, error: BurstError) -> None:
        """Once for each time that it is lost; where it was restarted shortly before, when that time is over."""
        restart = self._context.restart(str(error), is_alive=isinstance(error, StopBurst))
        if restart is not None:
            self._is_restarted = restart.is_new
            self._starts_until = self._context.clock.monotonic() + restart.seconds


def _calls_for_restart(error: BurstError) -> bool:
    """It is dead, or it answers and does nothing. What a proxy says of too many requests is neither."""
    if isinstance(error, ServerBusy):
        return error.status != 429
    return isinstance(error, ServerUnreachable | StopBurst)
