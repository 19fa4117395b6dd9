"""How long a server may answer without any change."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.comfyui.lookup import Fate
from orchestrator.cycle.context import WorkerContext
from orchestrator.errors import ServerStalled


class Stalls:
    """Of one worker's server."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._since = context.clock.monotonic()
        self._last: object = None
        self._closer: object = None

    def stirred(self) -> None:
        """A prompt ended, or the server came back."""
        self._since = self._context.clock.monotonic()

    def refuse(self, fates: Mapping[str, Fate]) -> None:
        """Errors: ServerStalled for a server that answers, but whose prompts have not changed for too long."""
        client = self._context.client
        sight = (fates, client.queue_remaining())
        if sight != self._last:
            self._last, self._closer = sight, None
            self.stirred()
        else:
            # While others' prompts come and go ahead of ours, the running prompt shows that the server works.
            before, self._closer = self._closer, client.queue().running
            if before not in (None, self._closer):
                self.stirred()
        seconds = self._context.clock.monotonic() - self._since
        if seconds >= self._context.options.stall_seconds:
            raise ServerStalled(
                f"{client.url} answers, but what it runs has not changed for {seconds:.0f} s. "
                "Restart it; the items stay submitted and are looked up by the next burst."
            )
