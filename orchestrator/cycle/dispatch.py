"""What is to be done, shared out among the servers of a run.

A burst is N items that end. Every lane (one server's watcher) asks here for more items, says which it let go of, and
reports what ended; nothing here talks to a server.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from orchestrator.cycle import pacing
from orchestrator.cycle.set_aside import SetAsideRecipes
from state.item import Item, Status
from state.store import Store

OnError = Literal["stop", "continue"]


class Progress(Protocol):
    """Told of each item as it ends; see `orchestrator.cycle.progress`."""

    def began(self, item: Item) -> None:
        """It is the oldest that a server has not finished, so it renders now, or others' prompts stand before it."""

    def ended(self, item: Item, *, number: int, size: int) -> None:
        """`number` of `size` in this burst."""

    def waits(self, who: str) -> None:
        """Another burst is at work, and nothing can be done before it ends; may be said again."""


class DispatchTarget(Protocol):
    """A lane, as far as sharing out concerns it."""

    def load(self) -> pacing.Load:
        """How many prompts are out on its server, and how long one takes."""

    def window(self, size: int) -> int:
        """How many of `size` may be out so that it is never without work, and hoards none."""

    def takes(self, item: Item) -> bool:
        """Whether this item may go to its server."""

    @property
    def refused(self) -> set[str]:
        """Keys of items that it will not take."""

    @property
    def is_lost(self) -> bool:
        """Its server does not answer, and is left alone for a while."""

    @property
    def is_waited_for(self) -> bool:
        """Its server does not answer just now."""


class Dispatch:
    """The items of the bursts of one run. Every method may be called from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        progress: Progress,
        ahead: int = 0,
        until_done: bool = False,
        on_error: OnError,
        batch: str | None = None,
    ) -> None:
        """`batch`: all is done when its items have ended, and its failures alone count for `on_error`."""
        self.changed = threading.Event()
        """Set whenever something ended, failed or came to rest: the run should look."""
        self.set_aside = SetAsideRecipes()
        """Recipes that this run does not use; their items are not shared out."""
        self._store = store
        self._progress = progress
        self._ahead = ahead
        self._until_done = until_done
        self._stops_on_failure = on_error == "stop"
        self._batch = batch
        self._awaited = [item.key for item in store.items() if item.batch == batch] if batch is not None else []
        self._lock = threading.RLock()
        self._workers: list[DispatchTarget] = []
        self._held: dict[str, DispatchTarget] = {}
        self._overtakers: set[str] = set()
        """Urgent items that are out beyond what the burst had room for."""
        self._resting: set[int] = set()
        self._yielding: set[int] = set()
        """Lanes that left what is due to faster ones."""
        self._ended = self._begun_at = self._size = self._planned = 0
        self._failed = False

    def join(self, worker: DispatchTarget) -> None:
        """One more server takes part."""
        self._workers.append(worker)

    def begin(self, size: int) -> None:
        """A burst of `size` items; the lanes go on where they are."""
        with self._lock:
            self._begun_at, self._size = self._ended, size
            self._planned = min(size, self._store.counts().remaining)
        self.stir()

    @property
    def ended_in_burst(self) -> int:
        return self._ended - self._begun_at

    @property
    def left_in_burst(self) -> int:
        """How many more items this burst is to end."""
        return max(0, self._size - self.ended_in_burst)

    @property
    def is_full(self) -> bool:
        """As many items have ended as this burst was to end."""
        return not self.left_in_burst

    @property
    def is_batch_over(self) -> bool:
        """Every item of the batch that this run is for has ended; False where it is for none."""
        while self._awaited and not self._is_any(self._awaited[-1:], Status.PENDING, Status.SUBMITTED):
            self._awaited.pop()
        return self._batch is not None and not self._awaited

    @property
    def is_failed(self) -> bool:
        """An item failed, and that ends the run."""
        return self._failed and self._stops_on_failure

    # Sharing out

    def take(self, worker: DispatchTarget) -> list[Item]:
        """The next due items for this lane; they are its own until it lets go of them."""
        with self._lock:
            due = self._due(worker, room) if (room := self._room(worker)) > 0 else self._overtaking(worker)
            self._held |= dict.fromkeys((item.key for item in due), worker)
            if due:
                self._resting.discard(id(worker))
            return due

    def hold(self, worker: DispatchTarget, key: str) -> None:
        """This item is out on the lane's server already."""
        with self._lock:
            self._held[key] = worker

    def let_go(self, key: str) -> None:
        """The lane has nothing more to do with this item."""
        with self._lock:
            self._held.pop(key, None)
            self._overtakers.discard(key)

    def holder(self, key: str) -> DispatchTarget | None:
        """The lane that has this item out."""
        return self._held.get(key)

    def refused_everywhere(self, key: str) -> bool:
        """No server of this run takes this item."""
        return all(key in worker.refused for worker in self._workers)

    def held_by(self, worker: DispatchTarget) -> list[str]:
        """Keys of the items that this lane has out."""
        with self._lock:
            return [key for key, holder in self._held.items() if holder is worker]

    def _due(self, worker: DispatchTarget, room: int) -> list[Item]:
        """What this lane can run; what no server can goes to the first, whose answer then says why."""
        skip = self._held.keys() | self.set_aside.passed_over if self.set_aside else self._held.keys()
        if len(self._workers) == 1:
            return self._store.due(room, skip=skip, accept=self._is_usable if self.set_aside else None)
        hopeless = self._hopeless() if worker is self._workers[0] else set()
        return self._store.due(
            room,
            skip=skip | (worker.refused - hopeless),
            accept=lambda item: self._is_usable(item) and (item.key in hopeless or worker.takes(item)),
        )

    def _is_usable(self, item: Item) -> bool:
        return not self.set_aside.passes_over(item)

    def _overtaking(self, worker: DispatchTarget) -> list[Item]:
        """Urgent items that came while the burst has all that it takes: they are sent all the same, a few at a time."""
        room = worker.window(self._size) - len(self._overtakers)
        if room <= 0 or not any(item.priority == "urgent" for item in self._store.due(1, skip=self._held.keys())):
            return []
        urgent = [item for item in self._due(worker, room) if item.priority == "urgent"]
        self._overtakers |= {item.key for item in urgent}
        return urgent

    def _hopeless(self) -> set[str]:
        """Keys of items that no server takes, as far as is known; none while one of them does not answer."""
        if len(self._workers) == 1 or any(one.is_lost for one in self._workers):
            return set()
        return set.intersection(*(one.refused for one in self._workers)) - self.set_aside.passed_over

    def _room(self, worker: DispatchTarget) -> int:
        """How many more items this lane may have out.

        One server gets the whole burst at once, so that it goes on rendering whatever becomes of this process. Among
        several each gets what its window holds, and less towards the end, where a faster one would be done sooner.
        """
        lost = {id(one) for one in self._workers if one.is_lost}
        held = Counter(id(holder) for holder in self._held.values() if id(holder) not in lost)
        ahead = sum(self._ahead_of(one) for one in self._workers if id(one) not in lost)
        room = self.left_in_burst + ahead - held.total()
        if len(self._workers) == 1 or room <= 0:
            return room
        own = worker.load()
        room = min(room, worker.window(self._size) + self._ahead - own.out)
        # One that rests has looked, and cannot run what is due.
        others = [
            one.load()
            for one in self._workers
            if not (one is worker or one.is_lost or one.is_waited_for or id(one) in self._resting)
        ]
        pending = self._pending()
        if not self._until_done:
            pending = min(pending, max(0, self.left_in_burst - held.total()) + self._ahead)
        taken = 0
        while taken < min(room, pending) and pacing.takes_another(own, [own, *others], pending - taken):
            own = msgspec.structs.replace(own, out=own.out + 1)
            taken += 1
        self._yielding.discard(id(worker))
        if taken < min(room, pending):
            self._yielding.add(id(worker))
        return taken

    def _ahead_of(self, worker: DispatchTarget) -> int:
        """Prompts beyond the burst's own: those asked for, and between two bursts enough to leave no gap."""
        return max(self._ahead, worker.window(self._size)) if self._until_done else self._ahead

    # What became of it

    def began(self, item: Item) -> None:
        """It is the oldest of its server now."""
        with self._lock:
            self._progress.began(item)

    def ended(self, item: Item) -> None:
        """An item is completed, failed or cancelled."""
        with self._lock:
            self._ended += 1
            counts = self._batch is None or item.batch == self._batch
            self._failed = self._failed or (counts and item.status is Status.FAILED)
            number = self.ended_in_burst
            self._progress.ended(item, number=number, size=max(self._planned, number))
        self.changed.set()

    def rest(self, worker: DispatchTarget) -> None:
        """This lane has nothing out, and found nothing to take."""
        with self._lock:
            self._resting.add(id(worker))
            if id(worker) not in self._yielding:
                # It cannot run what is due: those who left that to it look again.
                self._resting -= self._yielding
        self.changed.set()

    def stir(self) -> None:
        """Something may be due again: nobody rests until it has looked."""
        with self._lock:
            self._resting.clear()

    @property
    def is_at_rest(self) -> bool:
        """No server that answers has anything out or anything to take."""
        with self._lock:
            if self._resting and not self.has_more():
                return True
            if not all(id(worker) in self._resting or worker.is_lost for worker in self._workers):
                return False
            return not self._is_any(self._hopeless(), Status.PENDING)

    def has_more(self) -> bool:
        """Something is due, or out on a server of this run."""
        with self._lock:
            return bool(self._held) or self._pending() > 0

    def _pending(self) -> int:
        """How many items are due, as far as is known without those whose recipe is set aside."""
        return self._store.due_count() - len(self.set_aside)

    def _is_any(self, keys: Iterable[str], *statuses: Status) -> bool:
        return any(item.status in statuses for item in self._store.get_many(keys))
