"""What each server has loaded, and which due items of a batch it is to get for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby

from orchestrator.model_order import Models, grouped
from state.item import Item
from state.lease import Lease
from state.store import Store

_LOOK_COUNT = 200
"""How many due items are looked at for some that need what is loaded."""


class LoadedModels:
    """Of one run. Not thread-safe: called under the dispatch's lock.

    The items of a batch are added in an order that loads each model once. What is tried again, edited or added later
    stands elsewhere in it, and waits here until its batch has nothing more for what is loaded. Order between batches,
    priorities and ranks is never changed, so nothing waits for what is added later.
    """

    def __init__(self, store: Store, lease: Lease, models_of: Callable[[Item], Models]) -> None:
        self._store = store
        self._lease = lease
        self._models_of = models_of
        self._loaded: dict[int, Models] = {}
        """By worker: of what it was sent last."""

    def sent(self, worker: object, items: Sequence[Item]) -> None:
        """The worker has, or is about to submit, these items in this order."""
        if items and items[-1].batch is not None:
            self._loaded[id(worker)] = self._models_of(items[-1])

    def chosen(
        self,
        worker: object,
        due: Sequence[Item],
        *,
        batch: str | None,
        skip: AbstractSet[str],
        without: AbstractSet[str],
        accept: Callable[[Item], bool],
    ) -> list[Item]:
        """From the next due items, which the lease holds, those for this worker and their order; it holds these then.

        There is at least one. The arguments are those of `Lease.claim`.
        """
        loaded = self._loaded.get(id(worker))
        if due[0].batch is None:
            return list(due)
        if loaded is not None and self._models_of(due[0]) != loaded:
            due = self._swapped(due, loaded, batch=batch, skip=skip, without=without, accept=accept)
        return list(self._grouped(due, loaded))

    def _grouped(self, due: Sequence[Item], loaded: Models | None) -> Iterator[Item]:
        for turn, items in groupby(due, key=_turn):
            if turn[0] is None:
                yield from items
                continue
            for item in grouped(items, self._models_of, first=loaded):
                yield item
                loaded = self._models_of(item)

    def _swapped(
        self,
        due: Sequence[Item],
        loaded: Models,
        *,
        batch: str | None,
        skip: AbstractSet[str],
        without: AbstractSet[str],
        accept: Callable[[Item], bool],
    ) -> list[Item]:
        """With items that need what is loaded, in place of those of the same batch that do not."""
        held = {item.key for item in due}
        beside = self._store.due(_LOOK_COUNT, batch=batch, skip=skip | held, without=without)
        turn = _turn(due[0])
        better = [one for one in beside if _turn(one) == turn and self._models_of(one) == loaded and accept(one)]
        others = [item for item in due if _turn(item) == turn and self._models_of(item) != loaded]
        count = min(len(better), len(others))
        if not count:
            return list(due)
        wanted = {item.key for item in better[:count]}
        released = {item.key for item in others[-count:]}
        self._lease.release(released)
        taken = self._lease.claim(
            count, batch=batch, skip=skip | released, without=without, accept=lambda item: item.key in wanted
        )
        return [*taken, *(item for item in due if item.key not in released)]


def _turn(item: Item) -> tuple[str | None, str, float]:
    """Items for which this is equal may change places."""
    return item.batch, item.priority, item.rank
