"""A body that is still on its way: how much of it there is, and where it starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import requests

from orchestrator.errors import ServerUnreachable

CHUNK_BYTES = 1 << 16
"""What a break loses at most: urllib3 gives a piece whole or not at all."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class Download:
    """A body that is still on its way. `offset` is where it starts: 0 where the server does not resume."""

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
        """Another server gave it, after a redirect."""
        self._response = response
        self._broken = broken
        length = _count(self.headers.get("Content-Length")) if self._is_plain else None
        found = _CONTENT_RANGE.fullmatch(self.headers.get("Content-Range", ""))
        self.offset = int(found[1]) if found and self.status == 206 else 0
        self.total_bytes = length if self.status != 206 else _count(found[2]) if found else None
        """The whole file's size, the part before `offset` included; None where the server does not say."""

    @property
    def accepts_resume(self) -> bool:
        return self._is_plain and self.headers.get("Accept-Ranges", "bytes") != "none"

    def iter_chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most `CHUNK_BYTES`. Errors: ServerUnreachable when it breaks off."""
        try:
            yield from self._response.iter_content(CHUNK_BYTES)
        except requests.RequestException as error:
            raise self._broken(error) from error

    def first_bytes(self) -> bytes:
        """The start of a body that is no file, for a message; nothing where it cannot be read."""
        return first_bytes(self._response)

    @property
    def _is_plain(self) -> bool:
        return self.headers.get("Content-Encoding", "identity") == "identity"


def first_bytes(response: requests.Response) -> bytes:
    """The start of a body for a message; nothing where it cannot be read."""
    try:
        return next(response.iter_content(4096), b"")
    except requests.RequestException:
        return b""


def _count(digits: str | None) -> int | None:
    return int(digits) if digits and re.fullmatch(r"\d{1,18}", digits) else None
