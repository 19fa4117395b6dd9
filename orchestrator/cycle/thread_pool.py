"""A few threads that do jobs beside the thread that hands them out."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class ThreadPool:
    """Threads begun as they are needed; what is more than they can do at once waits its turn.

    They are daemons, because a process that must end now does not wait for a slow server.
    """

    def __init__(self, name: str, *, threads: int) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._most = threads
        self._begun = self._unfinished = 0
        self._lock = threading.Lock()

    def start(self, job: Callable[[], None]) -> None:
        """Run it soon. It must not raise."""
        with self._lock:
            self._unfinished += 1
            if self._begun < min(self._unfinished, self._most):
                self._begun += 1
                threading.Thread(target=self._dispatch, name=self._name, daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """The threads end after what they are at. Safe to repeat."""
        with self._lock:
            for _ in range(self._begun):
                self._jobs.put(None)

    def _dispatch(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                self._unfinished -= 1
