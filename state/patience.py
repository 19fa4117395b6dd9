"""How long something is waited for that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Patience(Protocol):
    """Of a run, within its deadline."""

    def begin(self, reason: str) -> Callable[[], bool]:
        """It has just not answered. What is returned waits before the next try, or says that it is over: False."""
