"""Standard output and standard error of this process, whose troubles are not those of the work.

A full disk, a closed descriptor, a reader that has gone: what they refuse is dropped here, and never raised.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_CLOSED = OSError(errno.EBADF, os.strerror(errno.EBADF))


def guard() -> None:
    """Replace the standard streams by ones that never raise an OSError. Call it once, when the process begins.

    Descriptors that were closed before lead to /dev/null, so that no file of a state gets the number of one.
    """
    closed = _reserve_closed()
    if 0 in closed:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _guarded(sys.stdout, 1, refusal=_CLOSED if 1 in closed else None)
    sys.stderr = _guarded(sys.stderr, 2, refusal=_CLOSED if 2 in closed else None)


def refusal(stream: TextIO) -> OSError | None:
    """Why something written to this stream did not leave the process; None where everything did."""
    stream.flush()
    sink = getattr(getattr(stream, "buffer", None), "raw", None)
    return sink.refusal if isinstance(sink, _Sink) else None


def is_closed(error: OSError) -> bool:
    """Nobody reads this stream, which is somebody's decision and not a failure."""
    return error.errno in (errno.EPIPE, errno.EBADF)


class _Sink(io.RawIOBase):
    """Bytes on their way to a descriptor."""

    def __init__(self, descriptor: int, refusal: OSError | None) -> None:
        self.refusal = refusal
        """The first error; None while everything was written."""
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                # Another process made it non-blocking, as Node.js does with pipes.
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.refusal = self.refusal or error
                return memoryview(data).nbytes


def _reserve_closed() -> list[int]:
    closed = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            closed.append(number)
    return closed


def _guarded(stream: TextIO | None, descriptor: int, *, refusal: OSError | None) -> TextIO:
    sink = _Sink(descriptor, refusal)
    return io.TextIOWrapper(
        io.BufferedWriter(sink),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=descriptor == 2 or sink.isatty(),
    )
