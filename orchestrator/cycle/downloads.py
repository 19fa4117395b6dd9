"""Downloads: a few threads fetch while the worker watches; the worker places and checkpoints what has arrived."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.cycle.settlement import FinishedPrompt, Settlement
from orchestrator.errors import BurstError
from orchestrator.outputs import Fetched
from state.item import Item

DOWNLOADS_AT_ONCE = 4
GROUP = 8
"""The most items that share one checkpoint."""
GROUP_SECONDS = 0.05
"""How long an arrived item waits at most for others that are being downloaded."""


class Executor(Protocol):
    """Runs jobs in other threads."""

    def start(self, job: Callable[[], None]) -> None:
        """Run it soon. The job must not raise."""


@dataclass(frozen=True)
class _Arrival:
    finished: FinishedPrompt
    outcome: Fetched | BaseException
    at: float


@dataclass
class Downloads:
    """The finished prompts of one worker, until their items are checkpointed. Called by the worker's thread alone."""

    settlement: Settlement
    fetcher: Executor
    clock: Clock
    wake: threading.Event
    """Set when something has arrived."""
    _in_progress: dict[str, FinishedPrompt] = field(default_factory=dict)
    _arrived: queue.SimpleQueue[_Arrival] = field(default_factory=queue.SimpleQueue)
    _ready: dict[str, _Arrival] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self._in_progress

    def __len__(self) -> int:
        return len(self._in_progress)

    def items(self) -> list[Item]:
        """The items that are not checkpointed yet."""
        return [finished.item for finished in self._in_progress.values()]

    def start(self, finished: FinishedPrompt) -> None:
        """Have its outputs fetched."""
        self._in_progress[finished.item.key] = finished

        def job() -> None:
            outcome: Fetched | BaseException
            try:
                outcome = self.settlement.fetch(finished)
            except BaseException as error:  # noqa: BLE001 — raised again in the worker's thread
                outcome = error
            self._arrived.put(_Arrival(finished, outcome, self.clock.monotonic()))
            self.wake.set()

        self.fetcher.start(job)

    def settle(self, *, most: int = GROUP, at_once: bool = False) -> list[Item]:
        """Place and checkpoint what has arrived, at most `most` items; the items that this is done with.

        While others are being downloaded, arrived ones wait a moment for them, so that many small images share a sync.
        Errors: those of `Settlement.not_fetched` and `place`.
        """
        while not self._arrived.empty():
            arrival = self._arrived.get()
            self._ready[arrival.finished.item.key] = arrival
        group = min(GROUP, most, len(self._in_progress))
        if not (at_once or len(self._ready) >= group or self.seconds_left() == 0.0):
            return []
        keys = [key for key in self._in_progress if key in self._ready][:group]
        ready = [self._ready.pop(key) for key in keys]
        for arrival in ready:
            del self._in_progress[arrival.finished.item.key]
        fetched = [(one.finished, one.outcome) for one in ready if isinstance(one.outcome, Fetched)]
        if fetched:
            self.settlement.place(fetched)
        for arrival in ready:
            if isinstance(arrival.outcome, BurstError):
                self.settlement.not_fetched(arrival.finished.item, arrival.outcome)
            elif isinstance(arrival.outcome, BaseException):
                raise arrival.outcome
        return [arrival.finished.item for arrival in ready]

    def seconds_left(self) -> float | None:
        """Until what has arrived should be settled; None where nothing has."""
        if not self._ready:
            return None
        longest = min(arrival.at for arrival in self._ready.values())
        return max(0.0, longest + GROUP_SECONDS - self.clock.monotonic())
