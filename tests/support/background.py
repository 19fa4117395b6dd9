"""Run work in background threads, such as a burst while the test acts as the server's other users.

Nothing here waits for ever: a thread that does not end fails its test, with the place where it stands, and is left
behind.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from orchestrator.comfyui import ComfyUI
from orchestrator.sandbox import Sandbox
from support.waiting import GENEROUS_SECONDS, wait_until

PATIENCE_SECONDS = 4 * GENEROUS_SECONDS
"""How long a thread is waited for at the end of its block, where a busy machine may have much left to do."""
_T = TypeVar("_T")
_V = TypeVar("_V")


class _Bounded(Future[_T]):
    def result(self, timeout: float | None = PATIENCE_SECONDS) -> _T:
        return super().result(timeout)


class Threads:
    """`with Threads(2) as threads: threads.submit(work, …)`: as ThreadPoolExecutor. Leaving the block waits for all."""

    def __init__(self, count: int = 1, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._count = count
        self._patience_seconds = patience_seconds
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._calls.put(None)
        until = time.monotonic() + self._patience_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        standing = [_stack(thread) for thread in self._threads if thread.is_alive()]
        assert not standing, "\n".join(
            [f"{len(standing)} threads did not end in {self._patience_seconds:g} s", *standing]
        )

    def submit(self, work: Callable[..., _T], /, *arguments: object, **named: object) -> Future[_T]:
        running: Future[_T] = _Bounded()
        self._calls.put(partial(_run, running, partial(work, *arguments, **named)))
        if len(self._threads) < self._count:
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        return running

    def map(self, work: Callable[[_V], _T], values: Iterable[_V]) -> Iterator[_T]:
        """The results, in the order of the values."""
        calls = [self.submit(work, value) for value in values]
        return (call.result() for call in calls)

    def _work(self) -> None:
        while call := self._calls.get():
            call()


@contextmanager
def in_background(work: Callable[..., _T], /, *arguments: object, **named: object) -> Iterator[Callable[[], _T]]:
    """`with in_background(burst, project) as end: …; report = end()`. Leaving the block waits for the end."""
    with Threads() as threads:
        running = threads.submit(work, *arguments, **named)
        yield lambda: running.result(GENEROUS_SECONDS)


def _run(running: Future[_T], work: Callable[[], _T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - as a future has it
        running.set_exception(error)
    else:
        running.set_result(result)


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else f"{thread.name} is ending"


def wait_for_renders(sandbox: Sandbox, count: int) -> None:
    """Wait until the server has rendered this many prompts and is idle."""
    with ComfyUI(sandbox.url) as client:
        wait_until(
            lambda: len(sandbox.counts()["rendered"]) == count and client.queue_remaining() == 0,
            what=f"{count} rendered",
        )
