"""A file that is still being received."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from orchestrator.comfyui.transport import Stream
from orchestrator.errors import ServerUnreachable

CHUNK_BYTES = 1 << 16
"""A broken connection loses at most this much: urllib3 returns a chunk complete or not at all."""

_FIRST_BYTES = 4096
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class Download:
    """A file that is still being received. `offset` is its first byte: 0 if the server does not resume."""

    def __init__(self, stream: Stream, *, note_break: Callable[[ServerUnreachable], None]) -> None:
        self.status = stream.status
        self.headers = stream.headers
        self.elsewhere = stream.elsewhere
        self._stream = stream
        self._note_break = note_break
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
            yield from self._stream.chunks(CHUNK_BYTES)
        except ServerUnreachable as error:
            self._note_break(error)
            raise

    def first_bytes(self) -> bytes:
        """The beginning of a body that is not a file, for messages; empty if it cannot be read."""
        return first_bytes(self._stream)

    @property
    def _is_plain(self) -> bool:
        return self.headers.get("Content-Encoding", "identity") == "identity"


def first_bytes(stream: Stream) -> bytes:
    """The beginning of a body for messages; empty if it cannot be read."""
    try:
        return next(stream.chunks(_FIRST_BYTES), b"")
    except ServerUnreachable:
        return b""


def _count(digits: str | None) -> int | None:
    return int(digits) if digits and re.fullmatch(r"\d{1,18}", digits) else None
