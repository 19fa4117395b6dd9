"""Threads on one store, as a run with several servers has them."""

from __future__ import annotations

import itertools
import random
import threading
import zlib
from collections.abc import Callable
from functools import partial

from orchestrator.errors import StaleChange
from state.change import Change
from state.item import Item
from state.store import Follower, Store
from support.background import Threads
from support.state_scenes import CANCELLED, COMPLETED, complete, item, start_over, submit
from support.writer_processes import marked

_ENOUGH_DUE = 40
_LEAST_ROUNDS = 10


class StoreThreads:
    """Workers, a thread that adds and retries, and one that looks. Each change leaves a mark of its own in the item."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.acknowledged: list[tuple[str, str]] = []
        """Item and mark of each change that was made."""
        self.news: set[str] = set()
        self.rounds = 0
        """How often `coordinate` was called."""
        self._follower = Follower(store)
        self._over = threading.Event()

    def run(self, *, workers: int, rounds: int) -> None:
        """Each worker renders so many items. The other threads, and `coordinate`, go on until all workers have."""
        with Threads(workers + 2) as threads:
            rendering = [
                threads.submit(self._watched, partial(self._render, f"worker{number}", rounds))
                for number in range(workers)
            ]
            beside = [threads.submit(self._watched, task) for task in (self._supply, self._look)]
            try:
                while self.rounds < _LEAST_ROUNDS or not all(worker.done() for worker in rendering):
                    self.coordinate()
                    self.rounds += 1
            finally:
                self._over.set()
        for thread in (*rendering, *beside):
            thread.result()

    def coordinate(self) -> None:
        """Read what others changed, and have it written where a rewrite is due."""
        self.follow()
        self.store.settle(at_end=True)

    def follow(self) -> None:
        self.news.update(self._follower.news())

    def _watched(self, task: Callable[[], None]) -> None:
        """One that fails ends all."""
        try:
            task()
        except BaseException:
            self._over.set()
            raise

    def _render(self, name: str, rounds: int) -> None:
        """Take an item that this worker can render, submit it, complete it."""
        rendered = 0
        while rendered < rounds and not self._over.is_set():
            for found in self.store.due(1, accept=lambda found: zlib.crc32(f"{name} {found.key}".encode()) % 2 == 0):
                if self._change(found, submit(), f"{name}.{rendered}.submit"):
                    self._change(self.store.get(found.key), complete, f"{name}.{rendered}.complete")
                    rendered += 1

    def _supply(self) -> None:
        """Retry what has ended and add more, so that workers never run out of items."""
        for number in itertools.count():
            while self.store.due_count() >= _ENOUGH_DUE and not self._over.is_set():
                self.store.refresh()
            if self._over.is_set():
                return
            ended = list(self.store.items(COMPLETED, CANCELLED))
            for found in random.sample(ended, min(3, len(ended))):
                self._change(found, start_over, f"supply.{number}.{found.key}")
            self.store.add([marked(item(f"new{number}"), f"supply.{number}")])
            self.acknowledged.append((f"new{number}", f"supply.{number}"))

    def _look(self) -> None:
        """Nothing that a look shows is ever taken back, and no look fails."""
        marks: dict[str, list[str]] = {}
        while not self._over.is_set():
            fewest = len(self.store)
            assert self.store.counts().total >= fewest
            for found in itertools.chain(self.store.items(), self.store.due(5)):
                assert found.key in self.store
                seen = self.store.get(found.key).inputs.get("marks", [])
                before = marks.get(found.key, [])
                assert seen[: len(before)] == before, "a checkpoint was taken back"
                marks[found.key] = seen

    def _change(self, found: Item, edit: Callable[[Item], Item], mark: str) -> bool:
        try:
            self.store.apply([Change(found.key, found.status, lambda now: marked(edit(now), mark))])
        except StaleChange:
            return False
        self.acknowledged.append((found.key, mark))
        return True
