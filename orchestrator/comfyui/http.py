"""The transport over HTTP, with requests: sessions, timeouts, redirects, and what each failure is called."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import requests
from urllib3 import encode_multipart_formdata
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ReadTimeoutError

from orchestrator.comfyui import advice
from orchestrator.comfyui.address import DEFAULT_PORTS, Secrets, origin, shown_origin, with_other_scheme
from orchestrator.comfyui.session import USER_AGENT, Session
from orchestrator.comfyui.transport import Answer, Form, Stream
from orchestrator.errors import NotComfyUI, ServerUnreachable, UnexpectedAnswer

if TYPE_CHECKING:
    from orchestrator.comfyui.events import EventSocket

MAX_REDIRECTS = 5
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"}
"""OpenSSL's reasons, which differ by its version."""
_HELD_BACK_BYTES = 4 << 20
"""Upper limit for the part of a body that is still in this machine's buffers after the last write."""
_SLOWEST_BYTES_PER_SECOND = 100_000
"""The slowest link on which a form can be sent without a timeout."""


class RequestsTransport:
    """Requests to one server; up to ten threads reuse connections. Credentials are sent to that server only."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        secrets: Secrets,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        self.requests_made = 0
        self._url = url
        self._secrets = secrets
        self._timeouts = (connect_timeout_seconds, read_timeout_seconds)
        self._counting = threading.Lock()
        self._own_headers = headers
        self._session = Session(headers)
        self._stranger_session = Session({})

    def __repr__(self) -> str:
        return f"RequestsTransport({self._url!r})"

    def close(self) -> None:
        self._session.close()
        self._stranger_session.close()

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        parts: dict[str, Any] = {"data": body, "timeout": self._timeouts, "headers": dict(headers or {})}
        if body is not None:
            parts["headers"]["Content-Type"] = "application/json"
        if form is not None:
            encoded, content_type = encode_multipart_formdata(form)
            held_seconds = min(len(encoded), _HELD_BACK_BYTES) / _SLOWEST_BYTES_PER_SECOND
            parts = {
                # As a stream: the connect timeout would apply to sending all of the bytes.
                "data": io.BytesIO(encoded),
                "headers": {**parts["headers"], "Content-Type": content_type},
                "timeout": (self._timeouts[0], self._timeouts[1] + held_seconds),
            }
        with self._send(method, path, self._url + path, self._session, **parts) as response:
            return Answer(method, path, response.status_code, response.headers, response.content)

    def stream(self, path: str, *, params: Mapping[str, str], offset: int) -> Stream:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        url, session, query = self._url + path, self._session, params
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(
                "GET", path, url, session, params=query, headers=headers, timeout=self._timeouts, stream=True
            )
            if not response.is_redirect:
                elsewhere = session is self._stranger_session
                return _Body(response, elsewhere=elsewhere, broken=lambda error: self._unreachable("GET", path, error))
            with response:
                url, query = self._redirected_to(path, response), {}
            if origin(url) != origin(self._url):
                session = self._stranger_session
        raise UnexpectedAnswer(f"{self._url}: GET {path} was redirected more than {MAX_REDIRECTS} times", status=302)

    def open_events(self, path: str) -> EventSocket:
        from orchestrator.comfyui.event_socket import open_event_socket

        environment = self._session.merge_environment_settings(self._url, {}, None, None, None)
        return open_event_socket(
            self._url + path,
            headers={**self._own_headers, "User-Agent": USER_AGENT},
            verify=environment["verify"],
            timeout_seconds=self._timeouts[0],
            hide=self._secrets.hidden,
        )

    def _redirected_to(self, path: str, response: requests.Response) -> str:
        try:
            url = urljoin(response.url, response.headers["Location"])
            if origin(url)[0] in DEFAULT_PORTS:
                return url
        except ValueError:
            pass
        status = response.status_code
        raise UnexpectedAnswer(f"{self._url}: GET {path} answered {status} and points to no web address", status=status)

    def _send(
        self, method: str, path: str, url: str, session: requests.Session, *, stream: bool = False, **parts: Any
    ) -> requests.Response:
        with self._counting:
            self.requests_made += 1
        try:
            return session.request(method, url, allow_redirects=False, stream=stream, **parts)
        except requests.RequestException as error:
            if url == self._url + path and _met_no_tls(error):
                raise NotComfyUI(
                    f"{self._url}: {method} {path}: the server there does not speak TLS",
                    url=self._url,
                    url_to_try=with_other_scheme(self._url),
                ) from error
            if url == self._url + path:
                raise self._unreachable(method, path, error) from error
            # The text of the cause would show the whole URL, which may be signed.
            raise self._unreachable(method, f"{path}, redirected to {shown_origin(url)}", error) from None

    def _unreachable(self, method: str, path: str, error: BaseException) -> ServerUnreachable:
        """An exception of requests as one of ours."""
        reason = self._secrets.hidden(reason_of(error, self._timeouts))
        arrived = not _never_connected(error)
        what_to_do = "its answer is unknown" if arrived else _advice(error)
        if (hint := advice.of_silence(self._url)) is not None and not _is_unverified(error):
            what_to_do = f"{what_to_do}; {hint}"
        return ServerUnreachable(
            f"{self._url}: {method} {path}: {reason}; {what_to_do}",
            may_have_arrived=arrived,
            timed_out=_timed_out(error),
        )


class _Body:
    """An open response of requests as a `Stream`."""

    def __init__(
        self,
        response: requests.Response,
        *,
        elsewhere: bool,
        broken: Callable[[requests.RequestException], ServerUnreachable],
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.elsewhere = elsewhere
        self._response = response
        self._broken = broken

    def chunks(self, most_bytes: int) -> Iterator[bytes]:
        try:
            yield from self._response.iter_content(most_bytes)
        except requests.RequestException as error:
            raise self._broken(error) from error

    def close(self) -> None:
        self._response.close()


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


def _met_no_tls(error: BaseException) -> bool:
    """The other side answered the TLS handshake in another protocol, which is plain HTTP then."""
    import ssl

    return any(isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS for cause in _causes(error))


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
