"""Run work in a background thread, such as a burst while the test acts as the server's other users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from orchestrator.comfyui import ComfyUI
from orchestrator.sandbox import Sandbox
from support.waiting import GENEROUS_SECONDS, wait_until

_T = TypeVar("_T")


@contextmanager
def in_background(work: Callable[..., _T], /, *arguments: object, **named: object) -> Iterator[Callable[[], _T]]:
    """`with in_background(burst, project) as end: …; report = end()`. Leaving the block waits for the end."""
    with ThreadPoolExecutor(max_workers=1) as threads:
        running: Future[_T] = threads.submit(work, *arguments, **named)
        yield lambda: running.result(GENEROUS_SECONDS)


def wait_for_renders(sandbox: Sandbox, count: int) -> None:
    """Wait until the server has rendered this many prompts and is idle."""
    with ComfyUI(sandbox.url) as client:
        wait_until(
            lambda: len(sandbox.counts()["rendered"]) == count and client.queue_remaining() == 0,
            what=f"{count} rendered",
        )
