"""A lock for threads that says so when another process asks for it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from orchestrator.errors import StateError


class ProcessLock:
    """Reentrant, for the threads of the process that made it.

    A forked child has a copy of what it guards, as another thread may have left it in the middle of a change, and
    would wait for ever where that thread held it. Errors: StateError there, at every use.
    """

    def __init__(self, path: Path) -> None:
        """`path`: what it guards, for the message."""
        self._path = path
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def __enter__(self) -> None:
        self._refuse_fork()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def acquire(self, *, timeout: float) -> bool:
        """As `threading.Lock.acquire`; `release` by hand then."""
        self._refuse_fork()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()

    def _refuse_fork(self) -> None:
        if self._pid != os.getpid():
            raise StateError(
                self._path, f"opened by process {self._pid}, which this one was forked from; open it anew in this one."
            )
