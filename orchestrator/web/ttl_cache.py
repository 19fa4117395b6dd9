"""Answers that are kept for a few seconds, however many pages ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from orchestrator.clock import Clock

_T = TypeVar("_T")


class TtlCache(Generic[_T]):
    """By what was asked. Who asks the same meanwhile waits for that answer; nobody waits for another one."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._mutexes: dict[Hashable, threading.Lock] = {}
        self._answers: dict[Hashable, tuple[float, _T]] = {}
        """What was said, and until when it holds."""

    def of(self, key: Hashable, ask: Callable[[], _T], *, seconds: Callable[[_T], float]) -> _T:
        """The answer, asked for anew where none holds. `seconds`: how long this one does. Errors: those of `ask`."""
        with self._mutexes.setdefault(key, threading.Lock()):
            known = self._answers.get(key)
            if known is None or self._clock.monotonic() >= known[0]:
                found = ask()
                # From now on, not from before: a server that is away was asked for some seconds.
                known = self._answers[key] = self._clock.monotonic() + seconds(found), found
            return known[1]
