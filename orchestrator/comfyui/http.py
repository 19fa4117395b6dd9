"""One server's HTTP: one `Session`, one retry layer, and credentials that reach that server and nobody else.

Nothing here knows ComfyUI: any status below 500 but 429 is handed on, and `comfyui.py` says what it means.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from orchestrator.clock import Clock
from orchestrator.comfyui.address import DEFAULT_PORTS, Secrets, checked_headers, origin, parse_address, shown_origin
from orchestrator.comfyui.download import Download, first_bytes
from orchestrator.errors import ServerBusy, ServerUnreachable, UnexpectedAnswer

if TYPE_CHECKING:
    from tenacity import RetryCallState

logger = logging.getLogger(__name__)

MAX_REDIRECTS = 5
_SAID_AT_TRY = 3
"""The try from which on a person should know that the server is being waited for."""
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_T = TypeVar("_T")


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An auth that adds nothing: otherwise requests would put ~/.netrc in the place of the user's header."""
    return request


@dataclass(frozen=True)
class Answer:
    """A whole answer. `path` is what was asked for, without the server's address."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Transport:
    """Requests to one server. One watching and one downloading thread may share it."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        retry_seconds: float,
        deadline: float | None,
        stop: threading.Event,
        clock: Clock,
    ) -> None:
        address = parse_address(url)
        self.url = address.url
        self.requests_made = 0
        self.failures = 0
        """Requests that got no answer: after one, a server may have been restarted."""
        self._headers = checked_headers(headers, address)
        self.secrets = Secrets(self._headers, address.password)
        self._timeouts = (connect_timeout_seconds, read_timeout_seconds)
        self._retry_seconds = retry_seconds
        self._deadline = deadline
        self._stop = stop
        self._clock = clock
        self._counting = threading.Lock()
        self._session = _session(self._headers)
        self._stranger_session = _session({})

    def __repr__(self) -> str:
        return f"Transport({self.url!r})"

    def close(self) -> None:
        self._session.close()
        self._stranger_session.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        form: tuple[Mapping[str, str], Mapping[str, Any]] | None = None,
        patient: bool,
    ) -> Answer:
        """One whole answer; redirects are not followed. `patient` repeats it, so it must be safe to repeat.

        Errors: ServerUnreachable, ServerBusy (429 and 5xx).
        """
        parts: dict[str, Any] = {"params": query, "data": body}
        if body is not None:
            parts["headers"] = {"Content-Type": "application/json"}
        if form is not None:
            parts["data"], parts["files"] = form

        def once() -> Answer:
            with self._send(method, path, self.url + path, self._session, **parts) as response:
                self._refuse_busy(method, path, response)
                return Answer(method, path, response.status_code, response.headers, response.content)

        return self._patiently(once) if patient else once()

    @contextlib.contextmanager
    def stream(self, path: str, *, query: Mapping[str, str], offset: int) -> Iterator[Download]:
        """An open GET, from byte `offset` on where the server can. Redirects are followed, without the user's headers.

        Opening is repeated, reading is not. Errors: as `ask`; UnexpectedAnswer for a redirect that cannot be followed.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        response, elsewhere = self._patiently(lambda: self._open(path, query, headers))
        with contextlib.closing(response):
            yield Download(response, elsewhere=elsewhere, broken=lambda error: self.unreachable("GET", path, error))

    def unreachable(self, method: str, path: str, error: BaseException) -> ServerUnreachable:
        """What requests raised, as ours."""
        reason = self.secrets.hidden(_reason(error, self._timeouts))
        arrived = not _never_connected(error)
        advice = "its answer is unknown" if arrived else "check that the server runs and the address is right"
        return ServerUnreachable(f"{self.url}: {method} {path}: {reason}; {advice}", may_have_arrived=arrived)

    def _open(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[requests.Response, bool]:
        url, session, params = self.url + path, self._session, query
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send("GET", path, url, session, params=params, headers=headers, stream=True)
            if not response.is_redirect:
                with _closed_on_error(response):
                    self._refuse_busy("GET", path, response)
                return response, session is self._stranger_session
            with response:
                url, params = self._redirected_to(path, response), {}
            if origin(url) != origin(self.url):
                session = self._stranger_session
        raise UnexpectedAnswer(f"{self.url}: GET {path} was redirected more than {MAX_REDIRECTS} times", status=302)

    def _redirected_to(self, path: str, response: requests.Response) -> str:
        try:
            url = urljoin(response.url, response.headers["Location"])
            if origin(url)[0] in DEFAULT_PORTS:
                return url
        except ValueError:
            pass
        status = response.status_code
        raise UnexpectedAnswer(f"{self.url}: GET {path} answered {status} and points to no web address", status=status)

    def _send(
        self, method: str, path: str, url: str, session: requests.Session, *, stream: bool = False, **parts: Any
    ) -> requests.Response:
        with self._counting:
            self.requests_made += 1
        try:
            return session.request(method, url, timeout=self._timeouts, allow_redirects=False, stream=stream, **parts)
        except requests.RequestException as error:
            self.failures += 1
            if url == self.url + path:
                raise self.unreachable(method, path, error) from error
            # The text of the cause would show the whole address, which may be a signed one.
            raise self.unreachable(method, f"{path}, redirected to {shown_origin(url)}", error) from None

    def _refuse_busy(self, method: str, path: str, response: requests.Response) -> None:
        status = response.status_code
        if status != 429 and status < 500:
            return
        said = self.secrets.snippet(first_bytes(response)) or "no text"
        raise ServerBusy(
            f"{self.url}: {method} {path} answered {status} ({said}); if it goes on, see the server's log",
            status=status,
            retry_after_seconds=_retry_after(response.headers.get("Retry-After"), self._clock),
        )

    def _patiently(self, once: Callable[[], _T]) -> _T:
        from tenacity import Retrying, retry_if_exception_type, wait_exponential, wait_random

        growing = wait_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)
        backoff = growing + wait_random(0, _FIRST_PAUSE_SECONDS)
        deadline = self._clock.monotonic() + self._retry_seconds
        if self._deadline is not None:
            deadline = min(deadline, self._deadline)

        def pause_seconds(state: RetryCallState) -> float:
            return max(backoff(state), _asked_to_wait(state))

        def pause(seconds: float) -> None:
            self._clock.wait(self._stop, seconds)

        def is_over(state: RetryCallState) -> bool:
            return self._stop.is_set() or self._clock.monotonic() + state.upcoming_sleep > deadline

        def unless_stopped(state: RetryCallState) -> None:
            if state.attempt_number > 1 and self._stop.is_set():
                raise ServerUnreachable(f"{self.url}: told to stop while waiting for it", may_have_arrived=True)

        retrying = Retrying(
            retry=retry_if_exception_type((ServerUnreachable, ServerBusy)),
            wait=pause_seconds,
            stop=is_over,
            sleep=pause,
            before=unless_stopped,
            before_sleep=_log_pause,
            reraise=True,
        )
        return retrying(once)


class _Session(requests.Session):
    """Leaves redirects alone: requests prepares the next request in any case, and fails on a bad Location."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def _session(headers: Mapping[str, str]) -> requests.Session:
    session = _Session()
    session.auth = _as_given
    session.headers["User-Agent"] = "comfyui-burst"
    session.headers.update(headers)
    return session


@contextlib.contextmanager
def _closed_on_error(response: requests.Response) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        undo.callback(response.close)
        yield
        undo.pop_all()


def _retry_after(value: str | None, clock: Clock) -> float | None:
    """Seconds, from either form of RFC 9110 §10.2.3."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    try:
        due = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return None if due.tzinfo is None else max(0.0, (due - clock.now()).total_seconds())


def _asked_to_wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after_seconds or 0.0) if isinstance(error, ServerBusy) else 0.0


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    level = logging.WARNING if state.attempt_number == _SAID_AT_TRY else logging.INFO
    logger.log(level, "%s; asking again in %.1f s", error, state.upcoming_sleep)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps. Not `__context__`: that may be an older request's error."""
    yield error
    inner = [*error.args, getattr(error, "reason", None), getattr(error, "original_error", None), error.__cause__]
    for other in inner:
        if isinstance(other, BaseException):
            yield from _causes(other)


def _never_connected(error: BaseException) -> bool:
    import ssl

    never = (NewConnectionError, ConnectTimeoutError, requests.ConnectTimeout, ssl.SSLCertVerificationError)
    unsent = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.InvalidHeader)
    return any(isinstance(cause, never + unsent) for cause in _causes(error))


def _reason(error: BaseException, timeouts: tuple[float, float]) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {timeouts[0]:g} s"
    for cause in _causes(error):
        if type(cause).__name__ == "ReadTimeoutError" or isinstance(cause, requests.ReadTimeout):
            return f"no answer within {timeouts[1]:g} s"
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException) and cause.strerror:
            return cause.strerror
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer broke off"
    return (
        "the connection was closed without an answer" if "RemoteDisconnected" in repr(error) else type(error).__name__
    )
