"""Lines that are read later: each has its time, in a log file and wherever output goes to no terminal."""

from __future__ import annotations

import logging
import os
import re
import threading
from datetime import datetime
from pathlib import Path
from typing import TextIO

from orchestrator.clock import Clock
from orchestrator.errors import BurstError, UsageError, located
from orchestrator.formatting import one_line
from orchestrator.wording import named
from state.disk import Disk

_log = logging.getLogger("burst")

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
"""Local time, as `2026-11-30 00:31:50`."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


def local_time(moment: datetime) -> str:
    """`2026-11-30 00:31:50`, in the time zone of this host."""
    return f"{moment.astimezone():{TIME_FORMAT}}"


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks on. False for a stream that is closed."""
    return stream is not None and not stream.closed and stream.isatty()


def has_size(terminal: TextIO) -> bool:
    """Whether it has rows and columns. Some containers give their terminal none: a bar draws nothing there."""
    try:
        return all(os.get_terminal_size(terminal.fileno()))
    except OSError:
        return False


def timed(text: str, clock: Clock | None = None) -> str:
    """The same lines, each with the time before it."""
    time = local_time((clock or Clock()).now())
    return "\n".join(f"{time} {line}" for line in text.split("\n"))


def for_stream(text: str, stream: TextIO | None) -> str:
    """The same lines, with the time before each unless the stream is a terminal."""
    return text if is_terminal(stream) else timed(text)


def without_time(line: str) -> str:
    """The line as it is on a terminal."""
    return line[found.end() :] if (found := _TIME.match(line)) else line


class LogFile(logging.Handler):
    """`--log-file`: lines are appended, each with its time. Any thread may use it.

    A disk that is full later costs lines, which one warning says, and nothing else.
    Errors: UsageError if it cannot be opened.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        # Opened first: logging closes at exit every handler that exists.
        with located(named("log_file", path), OSError, into=UsageError):
            try:
                self._handle = Disk().append_to(path, create=True)
            except BurstError as error:  # which names the path
                raise UsageError(f"{named('log_file')} {error}") from error
        super().__init__()
        self._refused = False
        self._clock = clock or Clock()
        self._writing = threading.Lock()

    def add(self, text: str) -> None:
        """Append these lines."""
        data = timed(text, self._clock).encode("utf-8", "backslashreplace") + b"\n"
        try:
            with self._writing:
                self._handle.write(data)
        except (BurstError, OSError) as error:
            if not self._refused:
                self._refused = True
                _log.warning("%s: lines are lost: %s", named("log_file"), error)

    def emit(self, record: logging.LogRecord) -> None:
        self.add(f"burst: {one_line(record.getMessage())}")

    def close(self) -> None:
        with self._writing:
            self._handle.close()
        super().close()
