"""Retries: the only retry layer, with growing pauses and a time limit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from orchestrator.clock import Clock
from orchestrator.errors import ServerBusy, ServerUnreachable, TransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState

logger = logging.getLogger(__name__)

_SAID_AT_TRY = 3
"""The attempt from which on retries are logged for the user."""
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_T = TypeVar("_T")


class RetryPolicy:
    """Retries for `retry_seconds`, but not past `deadline` (on the monotonic clock) or after `stop` is set.

    Thread-safe.
    """

    def __init__(
        self, url: str, *, retry_seconds: float, deadline: float | None, stop: threading.Event, clock: Clock
    ) -> None:
        self.trouble: str | None = None
        """Why requests are being retried, or why retrying failed; None after the next response."""
        self._url = url
        self._retry_seconds = retry_seconds
        self._deadline = deadline
        self._stop = stop
        self._clock = clock

    def keep_trying(self, once: Callable[[], _T]) -> _T:
        """The result of `once`. Errors: the last ServerUnreachable or ServerBusy, and others that `once` raises."""
        end = self._clock.monotonic() + self._retry_seconds
        if self._deadline is not None:
            end = min(end, self._deadline)
        try:
            answer = once()
        except (ServerUnreachable, ServerBusy) as error:
            self.trouble = str(error)
            answer = self._try_again(error, once, end)
        self.trouble = None
        return answer

    def _try_again(self, first: TransientError, once: Callable[[], _T], end: float) -> _T:
        # Imported and built here because few requests need it; it gets the first error as its first attempt.
        from tenacity import Retrying, retry_if_exception_type, wait_exponential, wait_random

        growing = wait_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)
        backoff = growing + wait_random(0, _FIRST_PAUSE_SECONDS)
        failed = [first]

        def attempt() -> _T:
            if failed:
                raise failed.pop()
            return once()

        def pause_seconds(state: RetryCallState) -> float:
            return max(backoff(state), _asked_to_wait(state))

        def pause(seconds: float) -> None:
            self._clock.wait(self._stop, seconds)

        def is_over(state: RetryCallState) -> bool:
            return self._stop.is_set() or self._clock.monotonic() + state.upcoming_sleep > end

        def unless_stopped(state: RetryCallState) -> None:
            if state.attempt_number > 1 and self._stop.is_set():
                raise ServerUnreachable(f"{self._url}: told to stop while waiting for it", may_have_arrived=True)

        retrying = Retrying(
            retry=retry_if_exception_type((ServerUnreachable, ServerBusy)),
            wait=pause_seconds,
            stop=is_over,
            sleep=pause,
            before=unless_stopped,
            before_sleep=_log_pause,
            reraise=True,
        )
        return retrying(attempt)


def _asked_to_wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after_seconds or 0.0) if isinstance(error, ServerBusy) else 0.0


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    level = logging.WARNING if state.attempt_number == _SAID_AT_TRY else logging.INFO
    logger.log(level, "%s; asking again in %.1f s", error, state.upcoming_sleep)
