"""The seam below the client: what carries one request to a server and brings its response back.

`http.py` implements it with requests; tests implement it without a network. Nothing here retries, and no status is an
error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.comfyui.events import EventSocket

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


class Stream(Protocol):
    """A response whose body is still being received, by the thread that opened it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def elsewhere(self) -> bool:
        """Received from another server, after a redirect."""

    def chunks(self, most_bytes: int) -> Iterator[bytes]:
        """The body in chunks of at most `most_bytes`. Errors: ServerUnreachable if the connection breaks."""

    def close(self) -> None: ...


class Transport(Protocol):
    """One server. Thread-safe. Errors: ServerUnreachable if there is no response.

    `close` does not end requests in progress.
    """

    @property
    def requests_made(self) -> int:
        """Number of requests sent so far, including redirects."""

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One complete response to a request with a JSON body, a form, or neither. Redirects are not followed.

        `headers`: of this request alone.
        """

    def stream(self, path: str, *, params: Mapping[str, str], offset: int) -> Stream:
        """An open GET, starting at byte `offset` if the server can. Redirects are followed, without credentials.

        Errors: UnexpectedAnswer for a redirect that cannot be followed.
        """

    def open_events(self, path: str) -> EventSocket:
        """An open websocket. Errors: ServerUnreachable."""

    def close(self) -> None: ...
