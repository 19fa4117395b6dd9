"""A response body that is still being received."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import requests

from orchestrator.errors import ServerUnreachable

CHUNK_BYTES = 1 << 16
"""A broken connection loses at most this much: urllib3 returns a chunk complete or not at all."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class Download:
    """A response body that is still being received. `offset` is its first byte: 0 if the server does not resume."""

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
        """Received from another server, after a redirect."""
        self._response = response
        self._broken = broken
        length = _count(self.headers.get("Content-Length")) if self._is_plain else None
        found = _CONTENT_RANGE.fullmatch(self.headers.get("Content-Range", ""))
        self.offset = int(found[1]) if found and self.status == 206 else 0
        self.total_bytes = length if self.status != 206 else _count(found[2]) if found else None
        """Size of the whole file, including the part before `offset`; None if unknown."""

    @property
    def accepts_resume(self) -> bool:
        return self._is_plain and self.headers.get("Accept-Ranges", "bytes") != "none"

    def iter_chunks(self) -> Iterator[bytes]:
        """The body in chunks of at most `CHUNK_BYTES`. Errors: ServerUnreachable if the connection breaks."""
        try:
            yield from self._response.iter_content(CHUNK_BYTES)
        except requests.RequestException as error:
            raise self._broken(error) from error

    def first_bytes(self) -> bytes:
        """The beginning of a body that is not a file, for messages; empty if it cannot be read."""
        return first_bytes(self._response)

    @property
    def _is_plain(self) -> bool:
        return self.headers.get("Content-Encoding", "identity") == "identity"


def first_bytes(response: requests.Response) -> bytes:
    """The beginning of a body for messages; empty if it cannot be read."""
    try:
        return next(response.iter_content(4096), b"")
    except requests.RequestException:
        return b""


def _count(digits: str | None) -> int | None:
    return int(digits) if digits and re.fullmatch(r"\d{1,18}", digits) else None
