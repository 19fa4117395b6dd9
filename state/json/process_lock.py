"""A lock for threads that raises an error in a forked process."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from orchestrator.errors import StateError


class ProcessLock:
    """A reentrant lock for the threads of the process that created it.

    A forked child has a copy of the guarded data, possibly half changed, and would wait forever if another thread held
    the lock at the fork. So every use in a child raises StateError.
    """

    def __init__(self, path: Path) -> None:
        """`path`: the guarded file, for the message."""
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
        """As `threading.Lock.acquire`; to be released with `release`."""
        self._refuse_fork()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()

    def _refuse_fork(self) -> None:
        if self._pid != os.getpid():
            raise StateError(
                self._path,
                f"opened by process {self._pid}, from which this one was forked; open it again in this process.",
            )
