"""Waiting for a database without end, for who watches and changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator.clock import Clock

_LOOK_SECONDS = 2.0


class UntilBack:
    """See `state.patience.Patience`. `tell` gets a line for a person, once for each time that it is away."""

    def __init__(self, clock: Clock, tell: Callable[[str], None] | None) -> None:
        self._clock = clock
        self._tell = tell
        self._never = threading.Event()

    def begin(self, reason: str) -> Callable[[], bool]:
        if self._tell is not None:
            self._tell(f"{reason}; waiting for it")

        def pause() -> bool:
            self._clock.wait(self._never, _LOOK_SECONDS)
            return True

        return pause
