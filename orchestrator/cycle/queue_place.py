"""How many prompts of others a server renders before the first of ours: for people who watch, never for a decision."""

from __future__ import annotations

import math

from orchestrator.comfyui import Queue
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.cycle.hearing import Hearing
from orchestrator.cycle.in_flight import InFlight
from orchestrator.errors import UnexpectedAnswer

_FIRST_LOOK_SECONDS = 0.5
"""A prompt of ours usually begins within this time, and the server is not asked."""
_LOOK_SECONDS, _SECONDS_EACH, _LONGEST_SECONDS = 2.0, 0.1, 10.0


class QueuePlace:
    """Of one worker. Looks at the server's queue while it is not known that one of ours runs.

    With events, until one of ours is reported to run; without them once, and again while prompts of others come first.
    """

    def __init__(self, context: WorkerContext, in_flight: InFlight, hearing: Hearing) -> None:
        self._context = context
        self._in_flight = in_flight
        self._hearing = hearing
        self._look_at: float | None = None
        self.ahead: int | None = None
        """None while that is not known."""

    def look(self) -> float | None:
        """Ask if that is due; seconds until it is, None where there is nothing to know. Errors: TransientError."""
        now = self._context.clock.monotonic()
        if not self._is_wanted():
            self._look_at = self.ahead = None
            return None
        if self._look_at is None:
            self._look_at = now + _FIRST_LOOK_SECONDS
        if now >= self._look_at:
            self._look_at = self._look(now)
        return None if self._look_at == math.inf else max(0.0, self._look_at - now)

    def _look(self, now: float) -> float:
        """When to look again."""
        try:
            self.ahead = self._before_ours(self._context.client.queue())
        except UnexpectedAnswer as error:
            log.info("the queue of %s cannot be read: %s", self._context.server.name, error)
            self.ahead = None
            return math.inf
        if not self.ahead and not self._hearing.is_sure_of_none:
            return math.inf
        # A long queue is a long answer, and changes less.
        return now + min(_LOOK_SECONDS + _SECONDS_EACH * self.ahead, _LONGEST_SECONDS)

    def _is_wanted(self) -> bool:
        return bool(self._in_flight) and self._hearing.sight is None and not self._hearing.is_connecting

    def _before_ours(self, queue: Queue) -> int:
        in_order = (*queue.running, *sorted(queue.pending, key=lambda prompt: prompt.number))
        ours = [self._in_flight.with_prompt(prompt.prompt_id) is not None for prompt in in_order]
        return ours.index(True) if True in ours else 0
