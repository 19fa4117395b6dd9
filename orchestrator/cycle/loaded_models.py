"""What each server has loaded, and which due items of a batch it is to get for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby

from orchestrator.model_order import Models, grouped
from state.item import Item
from state.lease import Lease
from state.store import Store

_LOOK_COUNT = 200
"""How many due items are looked at for some that need what is loaded."""
MOST_AHEAD = 16
"""So many items of other batches, added later, a server may get in a row before an older one that needs a loading."""


class LoadedModels:
    """Of one run. Not thread-safe: called under the dispatch's lock.

    The items of a batch are added in an order that loads each model once. What is tried again, edited or added later
    stands elsewhere in it, and waits here until its batch has nothing more for what is loaded. Order between priorities
    and ranks is never changed. Order between batches is where several servers share the work: each may get up to
    MOST_AHEAD items that need what it has loaded before an older one that does not; with one server nothing waits for
    what is added later.
    """

    def __init__(self, store: Store, lease: Lease, models_of: Callable[[Item], Models]) -> None:
        self._store = store
        self._lease = lease
        self._models_of = models_of
        self._loaded: dict[int, Models] = {}
        """By worker: of what it was sent last."""
        self._ahead: Counter[int] = Counter()
        """By worker: how many items of other batches it got since it last got the oldest."""

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
        is_shared: bool,
    ) -> list[Item]:
        """From the next due items, which the lease holds, those for this worker and their order; it holds these then.

        There is at least one. The arguments are those of `Lease.claim`. `is_shared`: other servers or runs take part.
        """
        loaded, oldest = self._loaded.get(id(worker)), due[0]
        if oldest.batch is None:
            return list(due)
        if loaded is not None and self._models_of(oldest) != loaded:
            may_pass = is_shared and self._ahead[id(worker)] + len(due) <= MOST_AHEAD
            due = self._swapped(due, loaded, may_pass, batch=batch, skip=skip, without=without, accept=accept)
        self._ahead[id(worker)] += sum(item.batch != oldest.batch for item in due)
        if any(item.key == oldest.key for item in due):
            self._ahead[id(worker)] = 0
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
        may_pass: bool,
        *,
        batch: str | None,
        skip: AbstractSet[str],
        without: AbstractSet[str],
        accept: Callable[[Item], bool],
    ) -> list[Item]:
        """With items that need what is loaded, in place of those that do not: of the same batch, else, with `may_pass`,
        of others."""
        held, turn = {item.key for item in due}, _turn(due[0])
        beside = self._store.due(_LOOK_COUNT, batch=batch, skip=skip | held, without=without)
        fit = [one for one in beside if self._models_of(one) == loaded and accept(one)]
        better = [one for one in fit if _turn(one) == turn]
        others = [item for item in due if _turn(item) == turn and self._models_of(item) != loaded]
        if not better and may_pass:
            better = [one for one in fit if one.batch is not None and _turn(one)[1:] == turn[1:]]
            others = [item for item in due if _turn(item)[1:] == turn[1:] and self._models_of(item) != loaded]
        count = min(len(better), len(others))
        taken = self._lease.claim_these((one.key for one in better), limit=count) if count else []
        if not taken:
            return list(due)
        # Another run may have been faster.
        released = {item.key for item in others[-len(taken) :]}
        self._lease.release(released)
        return [*taken, *(item for item in due if item.key not in released)]


def _turn(item: Item) -> tuple[str | None, str, float]:
    """Items for which this is equal may change places."""
    return item.batch, item.priority, item.rank
