"""Retries: the only retry layer, with growing pauses and a time limit, and the counts of what went wrong."""

from __future__ import annotations

import contextlib
import email.utils
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from orchestrator.clock import Clock
from orchestrator.comfyui import advice
from orchestrator.comfyui.address import Secrets
from orchestrator.comfyui.download import Download, first_bytes
from orchestrator.comfyui.transport import Answer, Form, Stream, Transport
from orchestrator.errors import ServerBusy, ServerUnreachable, TransientError

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from orchestrator.comfyui.events import EventSocket

logger = logging.getLogger(__name__)

_PATIENT_SECONDS = 10.0
_SAID_AT_TRY = 3
"""The attempt from which on retries are logged for the user."""
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_T = TypeVar("_T")


class RetryingTransport:
    """Requests to one server, repeated where that is safe; 429 and 5xx are ServerBusy. Thread-safe."""

    def __init__(
        self,
        connect: Callable[[], Transport],
        url: str,
        *,
        secrets: Secrets,
        retry_seconds: float,
        deadline: float | None,
        stop: threading.Event,
        clock: Clock,
    ) -> None:
        """`connect` gives the transport, before the first request. The limits are those of `RetryPolicy`."""
        self.failures = 0
        """Number of requests without a response; after one, the server may have restarted."""
        self.pushbacks = 0
        """Number of 429 responses and of timeouts (connecting, response, body chunk): a reason to poll less often."""
        self.before_request: Callable[[], None] = _nothing
        """Called before each request that may be repeated, by the thread that makes it."""
        self._connect = connect
        self._connecting = threading.Lock()
        self._connected: Transport | None = None
        self._url = url
        self._secrets = secrets
        self._clock = clock
        self._counting = threading.Lock()
        self._policy = RetryPolicy(url, retry_seconds=retry_seconds, deadline=deadline, stop=stop, clock=clock)

    @property
    def requests_made(self) -> int:
        return 0 if self._connected is None else self._connected.requests_made

    @property
    def met(self) -> TransientError | None:
        return self._policy.met

    def close(self) -> None:
        if self._connected is not None:
            self._connected.close()

    @property
    def _transport(self) -> Transport:
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
        patient: bool,
    ) -> Answer:
        """One complete response. `patient` retries, so the request must be safe to repeat.

        Errors: ServerUnreachable, ServerBusy (429 and 5xx).
        """

        def once() -> Answer:
            with self._failures_counted():
                answer = self._transport.exchange(method, path, body=body, form=form, headers=headers)
            if _is_busy(answer.status):
                raise self._busy(answer)
            return answer

        if not patient:
            return once()
        self.before_request()
        return self._policy.keep_trying(once)

    @contextlib.contextmanager
    def stream(self, path: str, *, params: Mapping[str, str], offset: int) -> Iterator[Download]:
        """An open GET. Opening is retried, reading is not. Errors: as `ask` and `Transport.stream`."""

        def once() -> Stream:
            with self._failures_counted():
                stream = self._transport.stream(path, params=params, offset=offset)
            if _is_busy(stream.status):
                with contextlib.closing(stream):
                    raise self._busy(Answer("GET", path, stream.status, stream.headers, first_bytes(stream)))
            return stream

        self.before_request()
        with contextlib.closing(self._policy.keep_trying(once)) as stream:
            yield Download(stream, note_break=self._count_timeout)

    def open_events(self, path: str) -> EventSocket:
        """An open websocket. Never repeated, and no failure of it counts: nothing depends on it.

        Errors: ServerUnreachable.
        """
        return self._transport.open_events(path)

    @contextlib.contextmanager
    def _failures_counted(self) -> Iterator[None]:
        try:
            yield
        except ServerUnreachable as error:
            with self._counting:
                self.failures += 1
            self._count_timeout(error)
            raise

    def _count_timeout(self, error: ServerUnreachable) -> None:
        with self._counting:
            self.pushbacks += error.timed_out

    def _busy(self, answer: Answer) -> ServerBusy:
        if answer.status == 429:
            with self._counting:
                self.pushbacks += 1
        said = self._secrets.snippet(answer.body) or "no text"
        wait_seconds = _retry_after(answer.headers, self._clock)
        asks = "" if wait_seconds is None else f" and asks to wait {wait_seconds:g} s"
        return ServerBusy(
            f"{self._url}: {answer.method} {answer.path} answered {answer.status} ({said}){asks}; "
            f"if it goes on, {advice.of_pushback(answer)}",
            status=answer.status,
            retry_after_seconds=wait_seconds,
        )


class RetryPolicy:
    """Retries for `retry_seconds`, but not past `deadline` (on the monotonic clock) or after `stop` is set.

    From 10 s on they are counted from the first failure, so that a silence is asked again, however long it was. Fewer
    are counted from the beginning: who waits for so few wants an answer.

    Thread-safe.
    """

    def __init__(
        self, url: str, *, retry_seconds: float, deadline: float | None, stop: threading.Event, clock: Clock
    ) -> None:
        self.met: TransientError | None = None
        """Why requests are being retried, or why retrying failed; None after the next response."""
        self._url = url
        self._retry_seconds = retry_seconds
        self._deadline = deadline
        self._stop = stop
        self._clock = clock

    def keep_trying(self, once: Callable[[], _T]) -> _T:
        """The result of `once`. Errors: the last ServerUnreachable or ServerBusy, and others that `once` raises."""
        began = self._clock.monotonic()
        try:
            answer = once()
        except (ServerUnreachable, ServerBusy) as error:
            self.met = error
            # A silence may have lasted longer than all patience already.
            since = self._clock.monotonic() if self._retry_seconds >= _PATIENT_SECONDS else began
            end = since + self._retry_seconds
            if self._deadline is not None:
                end = min(end, self._deadline)
            answer = self._try_again(error, once, end)
        self.met = None
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
                raise ServerUnreachable(f"{self._url}: stopped while waiting for it", may_have_arrived=True)

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


def _nothing() -> None:
    pass


def _asked_to_wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after_seconds or 0.0) if isinstance(error, ServerBusy) else 0.0


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    level = logging.WARNING if state.attempt_number == _SAID_AT_TRY else logging.INFO
    logger.log(level, "%s; asking again in %.1f s", error, state.upcoming_sleep)


def _is_busy(status: int) -> bool:
    return status == 429 or status >= 500


def _retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds, from either format of RFC 9110 §10.2.3. A date is relative to the server's clock, which may differ."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", value):
        return float(value)
    due = _time(value)
    return None if due is None else max(0.0, (due - (_time(headers.get("Date", "")) or clock.now())).total_seconds())


def _time(value: str) -> datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
