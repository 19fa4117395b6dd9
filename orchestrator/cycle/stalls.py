"""How long a server may answer without any change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from orchestrator.comfyui import QueuedPrompt
from orchestrator.comfyui.lookup import Fate
from orchestrator.cycle import pacing
from orchestrator.cycle.context import WorkerContext
from orchestrator.errors import ServerStalled
from orchestrator.formatting import spoken_seconds
from orchestrator.wording import named
from state.item import Item


class Stalls:
    """Of one worker's server."""

    def __init__(
        self, context: WorkerContext, *, last_sign: Callable[[], float | None], advise: Callable[[str, str], None]
    ) -> None:
        """`last_sign`: when an event of the server was last heard, on the monotonic clock. `advise`: called before a
        restart is advised, with the server's health and the reason."""
        self._context = context
        self._last_sign = last_sign
        self._advise = advise
        self._since = context.clock.monotonic()
        self._last: object = None
        self._running: tuple[QueuedPrompt, ...] | None = None
        """What runs, since nothing else has changed."""

    def stirred(self) -> None:
        """A prompt ended, or the server came back."""
        self._since = self._context.clock.monotonic()

    def refuse(self, items: Sequence[Item], fates: Mapping[str, Fate]) -> None:
        """Errors: ServerStalled for a server that answers, but whose prompts have not changed for too long.

        `items`: what it has of this state. `fates`: what was just looked up of their prompts.
        """
        most = self._context.options.stall_seconds
        if most is None and not self._context.client.terms.shows_queue:
            return
        self._look(fates)
        seconds = self._seconds_quiet()
        if seconds < (pacing.STALL_SECONDS if most is None else most):
            return
        item = self._running_item(items)
        longest = None if item is None else self._longest(item)
        if most is None and seconds < pacing.stall_limit(longest, runs=bool(self._running)):
            return
        reason = self._reason(seconds, item, longest)
        self._advise("stalled", reason)
        raise ServerStalled(reason)

    def _look(self, fates: Mapping[str, Fate]) -> None:
        client = self._context.client
        sight = (fates, client.queue_remaining())
        if sight != self._last:
            self._last, self._running = sight, None
            self.stirred()
            return
        # While others' prompts come and go ahead of ours, the running prompt shows that the server works.
        before, self._running = self._running, client.queue().running
        if before not in (None, self._running):
            self.stirred()

    def _seconds_quiet(self) -> float:
        sign = self._last_sign()
        if sign is not None:
            self._since = max(self._since, sign)
        return self._context.clock.monotonic() - self._since

    def _running_item(self, items: Sequence[Item]) -> Item | None:
        running = {prompt.prompt_id for prompt in self._running or ()}
        return next((item for item in items if item.prompt_id in running), None)

    def _longest(self, item: Item) -> float | None:
        return self._context.dispatch.completed.longest_seconds(item.recipe)

    def _reason(self, seconds: float, item: Item | None, longest: float | None) -> str:
        what = f"{item.key}, which it runs," if item is not None else "what it runs"
        if not self._running:
            what = "its queue, of which nothing is running,"
        known = f"; the longest of its recipe took {spoken_seconds(longest)}" if longest is not None else ""
        return (
            f"{self._context.client.url} answers, but {what} has not changed for {spoken_seconds(seconds)}{known}. "
            "If ComfyUI's log shows steps, or nvidia-smi a busy GPU, it is at work: run with "
            f"{named('stall_seconds', math.inf)}. Otherwise restart it; the items stay submitted, and "
            "the next burst looks them up without charging an attempt"
        )
