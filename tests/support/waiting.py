"""Wait for a condition with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

GENEROUS_SECONDS = 30.0
_LOOK_SECONDS = 0.005
_T = TypeVar("_T")


def wait_until(condition: Callable[[], _T], *, seconds: float = GENEROUS_SECONDS, what: str = "the condition") -> _T:
    """Call until the result is true and return it. AssertionError after `seconds`."""
    until = time.monotonic() + seconds
    never = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < until, f"{what} did not come true in {seconds:g} s"
        never.wait(_LOOK_SECONDS)
    return found
