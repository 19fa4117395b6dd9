"""Wait for a condition with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

GENEROUS_SECONDS = 30.0
_LOOK_SECONDS = (0.005, 0.025)
"""The pause between two looks, which may cost a request each, grows with the time that is waited for."""
_SHARE = 0.1
_COST = 4
"""A look that took long is followed by a pause of as many times as long: what is waited for wants the processor too."""
_T = TypeVar("_T")


def wait_until(condition: Callable[[], _T], *, seconds: float = GENEROUS_SECONDS, what: str = "the condition") -> _T:
    """Call until the result is true and return it. AssertionError after `seconds`."""
    started, before = time.monotonic(), time.thread_time()
    shortest, longest = _LOOK_SECONDS
    never = threading.Event()
    while not (found := condition()):
        looked, waited = time.thread_time() - before, time.monotonic() - started
        assert waited < seconds, f"{what} did not come true in {seconds:g} s"
        never.wait(max(min(longest, max(shortest, _SHARE * waited)), _COST * looked))
        before = time.thread_time()
    return found
