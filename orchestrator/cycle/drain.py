"""What a worker does while runs are paused: take back what waits on its server, and collect what that renders."""

from __future__ import annotations

from orchestrator.comfyui.lookup import Absent, Queued, delete_waiting
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.cycle.downloads import Downloads
from orchestrator.cycle.in_flight import InFlight
from orchestrator.cycle.uploads import Uploads
from state.facts import Pause
from state.item import Item


class Drain:
    """Of one worker."""

    def __init__(self, context: WorkerContext, in_flight: InFlight, downloads: Downloads, uploads: Uploads) -> None:
        self._context = context
        self._in_flight = in_flight
        self._downloads = downloads
        self._uploads = uploads
        self._left: set[str] = set()
        """The prompts that do not wait: running, or no longer known to the server. They are watched as ever."""
        self._freed: Pause | None = None

    def take_back(self, pause: Pause) -> None:
        """What waits is due again, with nothing charged. Safe to repeat.

        Items in doubt follow when their doubt has ended. Errors: as `look_up`.
        """
        self._uploads.abandon()
        waiting = [
            item
            for item in self._in_flight.items()
            if not self._in_flight.is_in_doubt(item.key) and item.prompt_id not in self._left
        ]
        for item in self._deleted(waiting) if waiting else ():
            log.info("%s: taken back from %s, because runs are paused", item.key, self._context.server.name)
            self._context.transitions.put_back(item)
            self._in_flight.drop(item.key)
            self._context.dispatch.let_go(item.key)
        if pause.free and pause != self._freed and not (self._in_flight or self._downloads):
            self._context.client.free()
            self._freed = pause

    def end(self) -> None:
        """Runs are not paused any more."""
        self._left.clear()
        self._freed = None

    def _deleted(self, items: list[Item]) -> list[Item]:
        fates = delete_waiting(self._context.client, [item.prompt_id or "" for item in items])
        taken = []
        for item in items:
            fate = fates.get(item.prompt_id or "")
            if isinstance(fate, Absent):
                taken.append(item)
            elif not isinstance(fate, Queued) or fate.running:
                self._left.add(item.prompt_id or "")
        return taken
