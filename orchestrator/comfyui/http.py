"""HTTP for one server: requests, retries, and credentials that are sent to that server only.

Independent of ComfyUI: every status below 500 except 429 is returned, and interpreted by `client.py`.
"""

from __future__ import annotations

import contextlib
import email.utils
import io
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urljoin

import requests
from urllib3 import encode_multipart_formdata
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ReadTimeoutError

from orchestrator.clock import Clock
from orchestrator.comfyui.address import DEFAULT_PORTS, Secrets, checked_headers, origin, parse_address, shown_origin
from orchestrator.comfyui.download import Download, first_bytes
from orchestrator.comfyui.retrying import RetryPolicy
from orchestrator.comfyui.session import Session
from orchestrator.errors import ServerBusy, ServerUnreachable, UnexpectedAnswer

MAX_REDIRECTS = 5
_HELD_BACK_BYTES = 4 << 20
"""Upper limit for the part of a body that is still in this machine's buffers after the last write."""
_SLOWEST_BYTES_PER_SECOND = 100_000
"""The slowest link on which a form can be sent without a timeout."""

Form = Mapping[str, str | tuple[str, bytes]]
"""Fields of a form; a file is its name and bytes."""


@dataclass(frozen=True)
class Answer:
    """A complete response. `path` is the requested one, without the server's address."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Transport:
    """Requests to one server. Thread-safe; up to ten threads reuse connections.

    A `Download` belongs to the thread that opened it. `close` does not end requests in progress.
    """

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
        """Number of requests without a response; after one, the server may have restarted."""
        self.pushbacks = 0
        """Number of 429 responses and of timeouts (connecting, response, body chunk): a reason to poll less often."""
        self._headers = checked_headers(headers, address)
        self.secrets = Secrets(self._headers, address.password)
        self._timeouts = (connect_timeout_seconds, read_timeout_seconds)
        self._clock = clock
        self._counting = threading.Lock()
        self._patience = RetryPolicy(self.url, retry_seconds=retry_seconds, deadline=deadline, stop=stop, clock=clock)
        self._session = Session(self._headers)
        self._stranger_session = Session({})

    @property
    def trouble(self) -> str | None:
        """Why requests are being retried, or why retrying failed; None after the next response."""
        return self._patience.trouble

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
        form: Form | None = None,
        patient: bool,
    ) -> Answer:
        """One complete response; redirects are not followed. `patient` retries, so the request must be safe to repeat.

        Errors: ServerUnreachable, ServerBusy (429 and 5xx).
        """
        parts: dict[str, Any] = {"params": query, "data": body, "timeout": self._timeouts}
        if body is not None:
            parts["headers"] = {"Content-Type": "application/json"}
        if form is not None:
            body, content_type = encode_multipart_formdata(form)
            parts["headers"] = {"Content-Type": content_type}
            held_seconds = min(len(body), _HELD_BACK_BYTES) / _SLOWEST_BYTES_PER_SECOND
            parts["timeout"] = (self._timeouts[0], self._timeouts[1] + held_seconds)

        def once() -> Answer:
            if form is not None:
                # As a stream: the connect timeout would apply to sending all of the bytes.
                parts["data"] = io.BytesIO(body or b"")
            with self._send(method, path, self.url + path, self._session, **parts) as response:
                self._refuse_busy(method, path, response)
                return Answer(method, path, response.status_code, response.headers, response.content)

        return self._patience.keep_trying(once) if patient else once()

    @contextlib.contextmanager
    def stream(self, path: str, *, query: Mapping[str, str], offset: int) -> Iterator[Download]:
        """An open GET, starting at byte `offset` if the server can. Redirects are followed without the user's headers.

        Opening is retried, reading is not. Errors: as `ask`; UnexpectedAnswer for a redirect that cannot be followed.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        response, elsewhere = self._patience.keep_trying(lambda: self._open(path, query, headers))
        with contextlib.closing(response):
            yield Download(response, elsewhere=elsewhere, broken=lambda error: self._broken_off(path, error))

    def unreachable(self, method: str, path: str, error: BaseException) -> ServerUnreachable:
        """An exception of requests as one of ours."""
        reason = self.secrets.hidden(reason_of(error, self._timeouts))
        arrived = not _never_connected(error)
        advice = "its answer is unknown" if arrived else _advice(error)
        return ServerUnreachable(f"{self.url}: {method} {path}: {reason}; {advice}", may_have_arrived=arrived)

    def _open(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[requests.Response, bool]:
        url, session, params = self.url + path, self._session, query
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(
                "GET", path, url, session, params=params, headers=headers, timeout=self._timeouts, stream=True
            )
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
            return session.request(method, url, allow_redirects=False, stream=stream, **parts)
        except requests.RequestException as error:
            with self._counting:
                self.failures += 1
                self.pushbacks += _timed_out(error)
            if url == self.url + path:
                raise self.unreachable(method, path, error) from error
            # The text of the cause would show the whole URL, which may be signed.
            raise self.unreachable(method, f"{path}, redirected to {shown_origin(url)}", error) from None

    def _broken_off(self, path: str, error: requests.RequestException) -> ServerUnreachable:
        with self._counting:
            self.pushbacks += _timed_out(error)
        return self.unreachable("GET", path, error)

    def _refuse_busy(self, method: str, path: str, response: requests.Response) -> None:
        status = response.status_code
        if status != 429 and status < 500:
            return
        if status == 429:
            with self._counting:
                self.pushbacks += 1
        said = self.secrets.snippet(first_bytes(response)) or "no text"
        wait_seconds = _retry_after(response.headers, self._clock)
        asks = "" if wait_seconds is None else f" and asks to wait {wait_seconds:g} s"
        advice = "see what limits the requests to it" if status == 429 else "see the server's log"
        raise ServerBusy(
            f"{self.url}: {method} {path} answered {status} ({said}){asks}; if it goes on, {advice}",
            status=status,
            retry_after_seconds=wait_seconds,
        )


@contextlib.contextmanager
def _closed_on_error(response: requests.Response) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        undo.callback(response.close)
        yield
        undo.pop_all()


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


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes. Not `__context__`, which may be an error of an earlier request."""
    yield error
    inner = [*error.args, getattr(error, "reason", None), getattr(error, "original_error", None), error.__cause__]
    for other in inner:
        if isinstance(other, BaseException):
            yield from _causes(other)


def _never_connected(error: BaseException) -> bool:
    never = (NewConnectionError, ConnectTimeoutError, requests.ConnectTimeout)
    if _is_unverified(error):
        return True
    unsent = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.InvalidHeader)
    return any(isinstance(cause, never + unsent) for cause in _causes(error))


def _is_unverified(error: BaseException) -> bool:
    import ssl

    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def _advice(error: BaseException) -> str:
    """Advice for a connection that could not be established."""
    if _is_unverified(error):
        return (
            "its certificate does not verify and nothing was sent; if it is signed by an authority of your own, "
            "name that authority's file in REQUESTS_CA_BUNDLE"
        )
    if any(isinstance(cause, NameResolutionError) for cause in _causes(error)):
        return "its name has no address here; check its spelling and this machine's network"
    return "check that the server runs and the address is right"


def _timed_out(error: BaseException) -> bool:
    late = (requests.Timeout, ReadTimeoutError, ConnectTimeoutError)
    # urllib3 counts a refused connection as a connect timeout.
    return any(isinstance(cause, late) and not isinstance(cause, NewConnectionError) for cause in _causes(error))


def reason_of(error: BaseException, timeouts: tuple[float, float]) -> str:
    """Why a request with these timeouts (connect, read) failed, without its address."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {timeouts[0]:g} s"
    for cause in _causes(error):
        if type(cause).__name__ == "ReadTimeoutError" or isinstance(cause, requests.ReadTimeout):
            return f"no answer within {timeouts[1]:g} s"
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException) and cause.strerror:
            return cause.strerror
        if isinstance(cause, TimeoutError):
            return f"nothing went through within {timeouts[0]:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer broke off"
    return (
        "the connection was closed without an answer" if "RemoteDisconnected" in repr(error) else type(error).__name__
    )
