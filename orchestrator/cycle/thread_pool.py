"""A few threads that run jobs for another thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class ThreadPool:
    """Threads are started as they are needed, up to `threads`; further jobs wait in a queue.

    They are daemon threads: a process that must end does not wait for a slow server.
    """

    def __init__(self, name: str, *, threads: int) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._limit = threads
        self._started = self._unfinished = 0
        self._lock = threading.Lock()

    def start(self, job: Callable[[], None]) -> None:
        """Run it soon. The job must not raise."""
        with self._lock:
            self._unfinished += 1
            if self._started < min(self._unfinished, self._limit):
                self._started += 1
                threading.Thread(target=self._run_jobs, name=self._name, daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """The threads end after their current jobs and those queued. Safe to repeat."""
        with self._lock:
            for _ in range(self._started):
                self._jobs.put(None)

    def _run_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                self._unfinished -= 1
