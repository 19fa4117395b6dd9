"""An object as the answer to a request: streamed in pieces, whole or the range that was requested."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import IO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from orchestrator.places import ObjectPath

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_PIECE_BYTES = 1 << 20


def object_response(
    request: Request, path: ObjectPath, *, size_bytes: int, media_type: str, headers: Mapping[str, str]
) -> Response:
    """200, 206 for a range, or 416 for one that it does not have. Errors: FileNotFoundError, OutputRootUnusable."""
    start, end, status = 0, size_bytes, 200
    wanted = _RANGE.match(request.headers.get("range", ""))
    tag = request.headers.get("if-range")
    if wanted and wanted[0] != "bytes=-" and tag in (None, headers.get("ETag")):
        start, end = _ends(wanted[1], wanted[2], size_bytes)
        if start >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size_bytes}"})
        status = 206
    answered = {**headers, "Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if status == 206:
        answered["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    return StreamingResponse(
        _pieces(path.open(), start, end), status_code=status, media_type=media_type, headers=answered
    )


def _ends(first: str, last: str, size_bytes: int) -> tuple[int, int]:
    if not first:
        return max(0, size_bytes - int(last)), size_bytes
    return int(first), min(size_bytes, int(last) + 1) if last else size_bytes


def _pieces(stream: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    with stream:
        stream.seek(start)
        while start < end and (piece := stream.read(min(_PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece
