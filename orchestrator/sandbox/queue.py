"""Queued prompts, the running one, and the history: ComfyUI's PromptQueue as clients see it."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
"""What no answer shows of the extra data: newer servers keep it apart, older ones drop it when the prompt ends."""


class ServerGone(Exception):
    """The server of this queue has been restarted."""


@dataclass(frozen=True, order=True)
class QueueEntry:
    """A submitted prompt. Ordered by number, then by prompt_id, as in ComfyUI's heap."""

    number: float
    prompt_id: str
    sequence: int
    graph: dict[str, Any] = field(compare=False)
    extra_data: dict[str, Any] = field(compare=False)
    outputs: tuple[str, ...] = field(compare=False)

    def as_list(self) -> list[Any]:
        """The five-element list of GET /queue and of a history entry's `prompt`."""
        return [self.number, self.prompt_id, self.graph, self.extra_data, list(self.outputs)]


@dataclass(frozen=True)
class Result:
    """The result of a prompt, as task_done writes it into the history."""

    success: bool
    messages: list[tuple[str, dict[str, Any]]]
    outputs: dict[str, Any]
    meta: dict[str, Any]


class PromptQueue:
    """All methods hold one lock, shared with the worker, so that a prompt is always in exactly one place."""

    def __init__(self, *, changed: threading.Condition, on_update: Callable[[int], None]) -> None:
        self.changed = changed
        self._on_update = on_update
        self._waiting: list[QueueEntry] = []
        self._running: QueueEntry | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._sequence = 0
        self._gone = False

    def put(
        self,
        number: float,
        prompt_id: str,
        *,
        graph: dict[str, Any],
        extra_data: dict[str, Any],
        outputs: tuple[str, ...],
    ) -> None:
        """Queue a prompt; an id that is already queued is queued again. Errors: ServerGone."""
        with self.changed:
            if self._gone:
                raise ServerGone
            self._sequence += 1
            entry = QueueEntry(number, prompt_id, self._sequence, graph, extra_data, outputs)
            heapq.heappush(self._waiting, entry)
            self._updated()

    def has_waiting(self) -> bool:
        with self.changed:
            return bool(self._waiting)

    def take(self) -> QueueEntry:
        """Move the first queued prompt to running."""
        with self.changed:
            self._running = heapq.heappop(self._waiting)
            self._updated()
            return self._running

    def finish(self, entry: QueueEntry, result: Result, *, history_limit: int) -> None:
        """Write the history entry and remove the running prompt in one step, like ComfyUI's task_done."""
        with self.changed:
            self._running = None
            if len(self._history) > history_limit:
                self._history.pop(next(iter(self._history)))
            for name in SECRETS:
                entry.extra_data.pop(name, None)
            self._history[entry.prompt_id] = {
                "prompt": entry.as_list(),
                "outputs": result.outputs,
                "status": {
                    "status_str": "success" if result.success else "error",
                    "completed": result.success,
                    "messages": [list(message) for message in result.messages],
                },
                "meta": result.meta,
            }
            self._updated()

    def current(self) -> tuple[QueueEntry | None, list[QueueEntry]]:
        """The running prompt, and the queued ones in heap order, as listed by GET /queue."""
        with self.changed:
            return self._running, list(self._waiting)

    def everything(self) -> tuple[QueueEntry | None, list[QueueEntry], dict[str, dict[str, Any]]]:
        """A snapshot of running, queued and finished prompts; clients can only request it from newer servers."""
        with self.changed:
            return self._running, list(self._waiting), dict(self._history)

    def remaining(self) -> int:
        with self.changed:
            return len(self._waiting) + (self._running is not None)

    def delete_waiting(self, prompt_id: str) -> bool:
        """Remove the first queued prompt with this id, not a second one with the same id."""
        with self.changed:
            for place, entry in enumerate(self._waiting):
                if entry.prompt_id == prompt_id:
                    del self._waiting[place]
                    heapq.heapify(self._waiting)
                    self._updated()
                    return True
            return False

    def clear_waiting(self) -> None:
        with self.changed:
            self._waiting.clear()
            self._updated()

    def history(self, *, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """The newest `max_items` entries, or those from `offset` on; oldest first."""
        with self.changed:
            if offset < 0 and max_items is not None:
                offset = len(self._history) - max_items
            chosen = list(self._history.items())[max(0, offset) :]
            return dict(chosen if max_items is None else chosen[: max(1, max_items)])

    def history_of(self, prompt_id: str) -> dict[str, Any]:
        """`{prompt_id: entry}`, or `{}` for a queued, running, evicted or unknown id."""
        with self.changed:
            entry = self._history.get(prompt_id)
            return {} if entry is None else {prompt_id: entry}

    def delete_history(self, prompt_id: str) -> None:
        with self.changed:
            self._history.pop(prompt_id, None)

    def clear_history(self) -> None:
        with self.changed:
            self._history.clear()

    def abandon(self) -> int:
        """The server crashes: nothing more can be queued. Returns the number of lost queued and running prompts."""
        with self.changed:
            self._gone = True
            return self.remaining()

    def _updated(self) -> None:
        self._on_update(self.remaining())
        self.changed.notify_all()
