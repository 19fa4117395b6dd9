"""The due items of a run, divided among its workers.

A burst is N items that end. Every worker (one for each server) takes items here, releases them, and reports which ones
ended; nothing here sends a request.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from orchestrator.cycle import pacing
from orchestrator.cycle.dispatch_target import DispatchTarget
from orchestrator.cycle.loaded_models import LoadedModels
from orchestrator.cycle.set_aside import SetAsideRecipes
from orchestrator.model_order import Models
from state.facts import Pause
from state.item import Item, Status
from state.lease import Lease
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.cycle.progress import RunningItem

_MANY = 10_000
"""So many due items are as good as any number, when they are shared out."""

OnError = Literal["stop", "continue"]
_VAIN_LOOKS = 3


class Progress(Protocol):
    """Receives what happens, item by item; see `orchestrator.cycle.progress`."""

    def began(self, item: Item) -> None:
        """The oldest item that a server has not finished: it renders now, or waits behind prompts of others."""

    def ended(self, item: Item, *, number: int, size: int) -> None:
        """An item ended as `number` of `size` in this burst; in this run, where it goes on until all is done."""

    def running(self, items: Sequence[RunningItem], *, number: int, size: int) -> None:
        """What servers render at the moment; often. The first ends as `number` of `size`, if nothing else does."""

    def waits(self, who: str) -> None:
        """Another burst is running, and nothing can be done before it ends; may be repeated."""

    def comes_after(self, count: int, *, seconds: float | None) -> None:
        """Before the batch that the run is for, its servers render `count` items that were submitted earlier."""


class Dispatch:
    """The items of the bursts of one run. Every method may be called from any thread."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        *,
        progress: Progress,
        ahead: int = 0,
        until_done: bool = False,
        on_error: OnError,
        batch: str | None = None,
        models_of: Callable[[Item], Models] | None = None,
    ) -> None:
        """`batch`: the run submits its items and urgent ones alone and is over when they have ended; only its failures
        count for `on_error`. `models_of`: which models an item needs; None: that does not matter."""
        self.changed = threading.Event()
        """Set whenever an item ended or a worker came to rest."""
        self.set_aside = SetAsideRecipes()
        """Recipes that this run does not use; no worker gets their items."""
        self.completed = store.completed_items()
        """What is completed, for those who look for more of its kind."""
        self.pause: Pause | None = None
        """While runs are paused, nothing is taken."""
        self.draining: frozenset[str] = frozenset()
        """The names of servers that get nothing new."""
        self._store = store
        self._lease = lease
        self._progress = progress
        self._ahead = ahead
        self._until_done = until_done
        self._stops_on_failure = on_error == "stop"
        self._batch = batch
        self._loaded = LoadedModels(store, lease, models_of) if models_of is not None else None
        self._awaited = [item.key for item in store.items(batch=batch)] if batch is not None else []
        self._lock = threading.RLock()
        self._workers: list[DispatchTarget] = []
        self._held: dict[str, DispatchTarget] = {}
        self._not_for: dict[int, set[str]] = {}
        """By worker: the kinds of items that it gets none of, so that they are not read again and again."""
        self._refused_kinds: dict[str, str] = {}
        """The kinds of items that a worker has refused, by key."""
        self._unserved: dict[str | None, Item] = {}
        """By recipe: a due item that no worker may have."""
        self._overtakers: set[str] = set()
        """Urgent items that are submitted beyond the burst's size."""
        self._resting: set[int] = set()
        self._yielding: set[int] = set()
        """Workers that left the due items to faster ones."""
        self._left_over: set[str] = set()
        """Items of this burst that are left for a later one, submitted."""
        self.unclear: set[str] = set()
        """Those of all bursts of the run of which a server said nothing clear, until they are taken back."""
        self._set_aside_in_burst = 0
        self._taken_over: set[str] = set()
        """Items that were submitted before this run."""
        self._ended = self._begun_at = self._size = self._planned = 0
        self._numbered_from = 0
        """How many had ended before the item that is number 1."""
        self._failed = False
        self._is_shared = False
        """Other servers or runs take part in the burst."""
        self._movements = 0
        """Counts what may have made items due, or ended them."""
        self._vain: dict[int, tuple[int, int]] = {}
        """By worker: after which movement nothing was due for it, and how often it does not look again."""
        self._useless: int | None = None
        """After which movement there was nothing for any worker."""
        self._none_urgent: int | None = None
        """After which movement there was nothing urgent to submit beyond the burst's size."""
        self._awaits: int | None = None
        """After which movement something of the batch remained."""

    def may_send(self, server: str) -> bool:
        """Whether the server of this name may be sent anything new."""
        return self.pause is None and server not in self.draining

    def join(self, worker: DispatchTarget) -> None:
        """One more worker takes part."""
        with self._lock:
            self._not_for[id(worker)] = set()
            self._workers.append(worker)

    @property
    def has_one_worker(self) -> bool:
        return len(self._workers) == 1

    def begin(self, size: int) -> None:
        """Start a burst of `size` items; what the workers hold stays with them."""
        with self._lock:
            self._begun_at, self._size = self._ended, size
            self._left_over.clear()
            self._set_aside_in_burst = 0
            self._is_shared = len(self._workers) > 1 or len(self._store.holders()) > 1
            remaining = self._store.counts(batch=self._batch).remaining
            if not self._until_done:
                self._numbered_from, remaining = self._ended, min(size, remaining)
            self._planned = self._ended - self._numbered_from + remaining
        self.stir()

    @property
    def size(self) -> int:
        """How many items this burst is to end."""
        return self._size

    @property
    def ended_in_burst(self) -> int:
        return self._ended - self._begun_at

    @property
    def is_getting_on(self) -> bool:
        """Items ended in this burst, or were set aside: another burst has others."""
        return self.ended_in_burst > 0 or self._set_aside_in_burst > 0

    @property
    def left_in_burst(self) -> int:
        """How many more items may end in this burst; one that is left for a later burst is not replaced.

        While runs are paused: all that are out.
        """
        left = max(0, self._size - self.ended_in_burst - len(self._left_over))
        return left if self.pause is None else max(left, len(self._held))

    @property
    def is_full(self) -> bool:
        """As many items have ended as this burst has room for."""
        return not self.left_in_burst

    @property
    def is_batch_over(self) -> bool:
        """Every item of the batch that this run is for has ended; False where it is for none."""
        movements = self._movements
        if self._awaits == movements:
            return False
        while self._awaited and not self._is_any(self._awaited[-1:], Status.PENDING, Status.SUBMITTED):
            self._awaited.pop()
        if self._awaited:
            self._awaits = movements
        return self._batch is not None and not self._awaited

    @property
    def is_failed(self) -> bool:
        """An item failed, and that ends the run."""
        return self._failed and self._stops_on_failure

    @property
    def movements(self) -> int:
        """Grows with whatever may have made items due, or ended them."""
        return self._movements

    def rest_until_moved(self, movements: int) -> None:
        """Workers need not look for items: what there is was of no use to them when so much had moved."""
        self._useless = movements

    def might_take(self, recipe: str | None) -> bool:
        """Whether any worker would be sent due items of this recipe, as far as is known without them."""
        with self._lock:
            if recipe is not None and recipe in self.set_aside.kinds:
                return False
            return any(self._might(worker, recipe) for worker in self._workers)

    def _might(self, worker: DispatchTarget, recipe: str | None) -> bool:
        if worker.is_lost or worker.is_draining or not worker.may_spend or not worker.may_have_recipe(recipe):
            return False
        refused = (key for key, kind in self._refused_kinds.items() if kind == recipe)
        return recipe is None or not any(key in worker.refused for key in refused)

    # Dividing the items

    def take(self, worker: DispatchTarget, *, again: bool = False) -> list[Item]:
        """The next due items for this worker, which holds them until it releases them. `again`: it takes others now."""
        with self._lock:
            if self._useless == self._movements:
                return []
            allowance = worker.allowance()
            if self.pause is not None or allowance == 0:
                return []
            room = self._room(worker)
            if room > 0 and not again and self._is_known_vain(worker):
                return []
            movements = self._movements
            due = self._due(worker, min(room, allowance or room)) if room > 0 else self._overtaking(worker)
            if not due and room > 0:
                self._vain[id(worker)] = movements, _VAIN_LOOKS
            self._held |= dict.fromkeys((item.key for item in due), worker)
            if self._loaded is not None:
                self._loaded.sent(worker, due)
            if due:
                self._resting.discard(id(worker))
            return due

    def _is_known_vain(self, worker: DispatchTarget) -> bool:
        """Nothing was due for this worker, nothing has moved since, and it has something to wait for meanwhile.

        Only a few times in a row: what a worker accepts may change by itself.
        """
        movements, looks = self._vain.get(id(worker), (None, 0))
        if movements != self._movements or looks <= 0 or worker not in self._held.values():
            return False
        self._vain[id(worker)] = movements, looks - 1
        return True

    def hold(self, worker: DispatchTarget, key: str) -> None:
        """This submitted item, which the run holds, is on the worker's server already."""
        with self._lock:
            self._held[key] = worker
            self._taken_over.add(key)
            if self._loaded is not None:
                self._loaded.sent(worker, self._store.get_many([key]))

    def let_go(self, key: str) -> None:
        """The worker has nothing more to do with this item."""
        with self._lock:
            self._held.pop(key, None)
            self._overtakers.discard(key)
            self._movements += 1
            self._lease.release([key])

    def left_unclear(self, key: str) -> None:
        """The server says nothing clear of this item, which is left for a later burst, submitted."""
        self.unclear.add(key)
        self._leave(key)

    def _leave(self, key: str) -> None:
        with self._lock:
            self._left_over.add(key)
            self._movements += 1
        self.changed.set()

    def set_aside_submitted(self, key: str) -> None:
        """This submitted item's recipe was set aside. One of an earlier burst takes no other item's room."""
        if key not in self._taken_over:
            self._set_aside_in_burst += 1
            self._leave(key)

    def known(self) -> frozenset[str]:
        """The keys of items that workers hold, or of which something is remembered: it counts if others change them."""
        with self._lock:
            refused = (worker.refused for worker in self._workers)
            return self.set_aside.singly.union(self._held, self._refused_kinds, *refused)

    def changed_by_others(self, key: str) -> None:
        """Another process changed this item: its recipe may be another one, or it was cancelled."""
        with self._lock:
            self._movements += 1
            self.set_aside.changed(key)
            for worker in self._workers:
                worker.refused.discard(key)
            self._refused_kinds.pop(key, None)
            holder = self._held.get(key)
        if holder is not None:
            holder.notice(key)

    def take_unserved(self) -> list[Item]:
        """For each recipe whose servers have no worker yet, an item that was found; each is returned once."""
        with self._lock:
            found = list(self._unserved.values())
            self._unserved.clear()
            return found

    def refused_everywhere(self, item: Item) -> bool:
        """Every worker that may have this item has refused it."""
        with self._lock:
            self._refused_kinds[item.key] = item.kind
            return all(item.key in worker.refused for worker in self._able(item))

    def find_due(
        self, worker: DispatchTarget, limit: int, *, skip: Collection[str], accept: Callable[[Item], bool]
    ) -> list[Item]:
        """The next due items that this worker could take and that `accept` accepts; it does not hold them."""
        with self._lock:
            passed_over = {*skip, *self._held, *worker.refused}
            without = self._not_for[id(worker)] | self.set_aside.kinds

        def fits(item: Item) -> bool:
            return (
                accept(item)
                and worker.may_have(item)
                and not (item.may_be_on_a_server or self.set_aside.passes_over(item))
            )

        return self._store.due(limit, batch=self._batch, skip=passed_over, without=without, accept=fits)

    def held_by(self, worker: DispatchTarget) -> list[str]:
        """Keys of the items that this worker holds."""
        with self._lock:
            return [key for key, holder in self._held.items() if holder is worker]

    def _due(self, worker: DispatchTarget, room: int) -> list[Item]:
        """What this worker can run. The first that may have what none can run gets it: its server's answer says why."""
        skip: AbstractSet[str] = frozenset()
        hopeless: set[str] = set()
        without = self._not_for[id(worker)]
        without |= self.set_aside.kinds
        if worker.refused:
            hopeless = self._hopeless() & worker.refused
            for before in itertools.takewhile(lambda one: one is not worker, self._workers):
                hopeless -= before.refused
            skip = worker.refused - hopeless
        accept = partial(self._is_for, worker, hopeless=hopeless)
        due = self._lease.claim(room, batch=self._batch, skip=skip, without=without, accept=accept)
        if self._loaded is None or not due:
            return due
        skip = skip | self._held.keys()
        return self._loaded.chosen(
            worker,
            due,
            batch=self._batch,
            skip=skip,
            without=without,
            accept=accept,
            is_shared=self._is_shared,
        )

    def _is_for(self, worker: DispatchTarget, item: Item, *, hopeless: set[str]) -> bool:
        if self.set_aside.passes_over(item) or not worker.accepts(item):
            return False
        able = self._able(item)
        if worker in able:
            if len(able) == 1 or item.key in hopeless or worker.takes(item):
                return True
            self._refused_kinds[item.key] = item.kind
            return False
        if not able:
            self._unserved.setdefault(item.recipe, item)
            self.changed.set()
        elif not item.may_be_on_a_server:
            self._not_for[id(worker)].add(item.kind)
        return False

    def _able(self, item: Item) -> list[DispatchTarget]:
        """The workers that may have this item: that of the server which it may be on, else those its recipe allows."""
        if item.may_be_on_a_server and (there := [worker for worker in self._workers if worker.has(item)]):
            return there
        return [worker for worker in self._workers if worker.may_have(item)]

    def _overtaking(self, worker: DispatchTarget) -> list[Item]:
        """Urgent items that arrive when the burst is full are submitted all the same, a few at a time."""
        room = worker.window(self._size) - len(self._overtakers)
        if room <= 0 or self._none_urgent == self._movements:
            return []
        movements = self._movements
        if not any(item.priority == "urgent" for item in self._store.due(1, skip=self._held.keys())):
            self._none_urgent = movements
            return []
        due = self._due(worker, room)
        urgent = [item for item in due if item.priority == "urgent"]
        self._lease.release(item.key for item in due[len(urgent) :])
        self._overtakers |= {item.key for item in urgent}
        return urgent

    def _hopeless(self) -> set[str]:
        """Keys of items that no server can run, as far as is known; none while one of them does not answer."""
        if len(self._workers) == 1 or any(one.is_lost for one in self._workers):
            return set()
        aside = self.set_aside.kinds
        keys = {key for key, kind in self._refused_kinds.items() if kind not in aside}
        for one in self._workers:
            others = self._not_for[id(one)]
            if others:
                keys = {key for key in keys if key in one.refused or self._refused_kinds[key] in others}
            else:
                keys &= one.refused
        return keys

    def _room(self, worker: DispatchTarget) -> int:
        """How many more items this worker may take.

        A single worker gets the whole burst at once, so that its server goes on rendering whatever becomes of this
        process. Of several, each gets what fits its window, and less towards the end, where a faster one would be done
        sooner.
        """
        lost = {id(one) for one in self._workers if one.is_lost}
        held = sum(id(holder) not in lost for holder in self._held.values()) if lost else len(self._held)
        at_work = [one for one in self._workers if id(one) not in lost]
        most = self.left_in_burst + len(at_work) * self._ahead
        if self._until_done:
            # Between two bursts enough to leave no gap, bursts of one too. A single server gets not more than that
            # within one: all of it is lost where the server fails whatever it has. What one of several has leaves the
            # others theirs.
            ahead = sum(max(self._ahead, one.window(max(2, self._size))) for one in at_work)
            most = max(most, ahead) if len(at_work) == 1 else self.left_in_burst + ahead
        room = most - held
        if len(self._workers) == 1 or room <= 0:
            return room
        own = worker.load()
        room = min(room, worker.window(self._size) + self._ahead - own.out)
        # A worker that rests has found nothing that it can run.
        others = [
            one.load()
            for one in self._workers
            if not (one is worker or one.is_lost or one.is_waited_for or one.is_draining or id(one) in self._resting)
        ]
        pending = self._pending(limit=_MANY)
        if not self._until_done:
            pending = min(pending, max(0, self.left_in_burst - held) + self._ahead)
        taken = 0
        while taken < min(room, pending) and pacing.takes_another(own, [own, *others], pending - taken):
            own = msgspec.structs.replace(own, out=own.out + 1)
            taken += 1
        self._yielding.discard(id(worker))
        if taken < min(room, pending):
            self._yielding.add(id(worker))
        return taken

    # Results

    def began(self, item: Item) -> None:
        """This item is the oldest of its server now."""
        with self._lock:
            self._progress.began(item)

    def running(self, items: Sequence[RunningItem]) -> None:
        """What all servers render at the moment."""
        with self._lock:
            number = self._ended - self._numbered_from + 1
            self._progress.running(items, number=number, size=max(self._planned, number))

    def ended(self, item: Item) -> None:
        """An item is completed, failed or cancelled."""
        if item.status is Status.COMPLETED:
            self.completed.note(item)
        with self._lock:
            self._ended += 1
            self._movements += 1
            counts = self._batch is None or item.batch == self._batch
            self._failed = self._failed or (counts and item.status is Status.FAILED)
            number = self._ended - self._numbered_from
            self._progress.ended(item, number=number, size=max(self._planned, number))
        self.changed.set()

    def reopened(self, item: Item) -> None:
        """An item that had ended in this run is due again."""
        with self._lock:
            self._ended -= 1
            self._movements += 1

    def rest(self, worker: DispatchTarget) -> None:
        """This worker holds nothing, and found nothing to take."""
        with self._lock:
            self._resting.add(id(worker))
            if id(worker) not in self._yielding:
                # It cannot run what is due, so those that left this to it look again.
                self._resting -= self._yielding
        self.changed.set()

    def others_may_go_on(self, worker: DispatchTarget) -> bool:
        """Whether another worker holds something, or could take something that this one may not send for money."""
        with self._lock:
            others = [one for one in self._workers if one is not worker]
            others = [one for one in others if not one.is_draining]
            return any(one.may_spend or not (id(one) in self._resting or one.is_lost) for one in others)

    def stir(self) -> None:
        """Something may be due again: no worker counts as resting until it has looked."""
        with self._lock:
            self._resting.clear()
            self._movements += 1

    @property
    def is_idle(self) -> bool:
        """No worker whose server answers holds anything."""
        with self._lock:
            return all(id(worker) in self._resting or worker.is_lost for worker in self._workers)

    @property
    def is_at_rest(self) -> bool:
        """No worker whose server answers holds anything or can take anything."""
        with self._lock:
            if self._resting and not self.has_more():
                return True
            if self._unserved:
                return False
            if not self.is_idle:
                return False
            return not self._is_any(self._hopeless(), Status.PENDING)

    def has_more(self) -> bool:
        """Something is due, or held by a worker."""
        with self._lock:
            return bool(self._held) or self._pending(limit=1) > 0

    def has_due(self) -> bool:
        """Something is due that no worker holds, in this burst or a later one."""
        return self._pending(limit=1) > 0

    def _pending(self, *, limit: int) -> int:
        """How many items are due, without those known to have a recipe that is set aside; no more than `limit`."""
        alone = self.set_aside.single_count
        return self._store.due_count(batch=self._batch, without=self.set_aside.kinds, limit=limit + alone) - alone

    def _is_any(self, keys: Iterable[str], *statuses: Status) -> bool:
        return any(item.status in statuses for item in self._store.get_many(keys))
