"""The thread that runs prompts one after another, and how to hold, interrupt, stall and kill it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import get_args

from orchestrator.errors import SettingsError
from orchestrator.sandbox.execution import Cache, Ended, Execution, Surroundings
from orchestrator.sandbox.queue import PromptQueue, QueueEntry, Result
from orchestrator.sandbox.settings import HoldPoint


@dataclass
class Gate:
    """Where the worker waits until it is released; survives a restart."""

    held_at: HoldPoint | None = None


def hold_point(name: object) -> HoldPoint:
    """Errors: SettingsError for a name that is not a hold point."""
    for point in get_args(HoldPoint):
        if name == point:
            return point  # type: ignore[no-any-return]
    raise SettingsError(f"hold at {name!r}: choose one of {', '.join(get_args(HoldPoint))}")


class Worker:
    """Runs prompts from a queue in its own thread. All flags are changed under the queue's lock."""

    def __init__(self, queue: PromptQueue, *, gate: Gate, around: Surroundings) -> None:
        self.interrupted = False
        self.cut_short = False
        self._ended = False
        self._free = False
        self._queue = queue
        self._changed = queue.changed
        self._gate = gate
        self._around = around
        self._cache: Cache = {}
        self._completed = 0
        self._thread = threading.Thread(target=self._work, name="burst sandbox worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def interrupt(self) -> None:
        """Stop the running prompt; without one, or if it is just starting, nothing happens."""
        with self._changed:
            self.interrupted = True
            self._changed.notify_all()

    def free(self) -> None:
        """Clear the cache before the next prompt."""
        with self._changed:
            self._free = True

    def end(self, *, cut_short: bool = False) -> None:
        """Stop permanently and abandon the running prompt; with `cut_short` it also leaves half a file."""
        with self._changed:
            self.cut_short = cut_short and not self._ended
            self._ended = True
            self._changed.notify_all()

    def join(self) -> None:
        self._thread.join()

    def pause(self, seconds: float) -> None:
        """Wait for a node's render time. Errors: Ended."""
        clock = self._around.clock
        until = clock.monotonic() + seconds
        with self._changed:
            while not (self._ended or self.interrupted):
                left = until - clock.monotonic()
                held = self._gate.held_at == "render"
                if left <= 0.0 and not held:
                    break
                self._changed.wait(None if held else left)
            if self._ended and not self.cut_short:
                raise Ended

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            self._around.counts.busy()
            try:
                execution = Execution(
                    entry, cache=self._cache, around=self._around, interrupts=self, is_sick=self._is_sick
                )
                result = execution.run()
                self._completed += result.success
                self._finish(entry, result)
            except Ended:
                return
            finally:
                self._around.counts.idle()

    @property
    def _is_sick(self) -> bool:
        """Until it ends: a restart begins another one."""
        most = self._around.faults.settings.cuda_error_after
        return 0 < most <= self._completed

    def _next(self) -> QueueEntry | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or (self._gate.held_at != "next" and self._queue.has_waiting()),
            )
            if self._ended:
                return None
            if self._free:
                self._cache.clear()
                self._free = False
            self.interrupted = False
            return self._queue.take()

    def _finish(self, entry: QueueEntry, result: Result) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._gate.held_at != "finish")
            if self._ended:
                raise Ended
            self._queue.finish(entry, result, history_limit=self._around.faults.settings.history_limit)
        client_id = entry.extra_data.get("client_id")
        if isinstance(client_id, str):
            self._around.events.send("executing", {"node": None, "prompt_id": entry.prompt_id}, client_id)
