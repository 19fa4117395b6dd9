"""Downloads: a few threads fetch while the worker watches; the worker places and checkpoints what has arrived."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

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


class _Arrival(msgspec.Struct, frozen=True):
    finished: FinishedPrompt
    outcome: Fetched | BaseException
    at: float


class Downloads:
    """The finished prompts of one worker, until their items are checkpointed. Called by the worker's thread alone."""

    def __init__(self, settlement: Settlement, fetcher: Executor, clock: Clock, wake: threading.Event) -> None:
        """`wake` is set when something has arrived."""
        self._settlement = settlement
        self._fetcher = fetcher
        self._clock = clock
        self._wake = wake
        self._in_progress: dict[str, FinishedPrompt] = {}
        self._arrived: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()
        self._ready: dict[str, _Arrival] = {}

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
                outcome = self._settlement.fetch(finished)
            except BaseException as error:  # noqa: BLE001 — raised again in the worker's thread
                outcome = error
            self._arrived.put(_Arrival(finished, outcome, self._clock.monotonic()))
            self._wake.set()

        self._fetcher.start(job)

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
            self._settlement.place(fetched)
        for arrival in ready:
            if isinstance(arrival.outcome, BurstError):
                self._settlement.not_fetched(arrival.finished.item, arrival.outcome)
            elif isinstance(arrival.outcome, BaseException):
                raise arrival.outcome
        return [arrival.finished.item for arrival in ready]

    def seconds_left(self) -> float | None:
        """Until what has arrived should be settled; None where nothing has."""
        if not self._ready:
            return None
        longest = min(arrival.at for arrival in self._ready.values())
        return max(0.0, longest + GROUP_SECONDS - self._clock.monotonic())
