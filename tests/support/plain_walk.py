"""Every query of a store against a walk over all of its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from state.counts import Counts
from state.item import PRIORITIES, Item, Status
from state.store import Store

NOBODY = "nobody's"
"""A batch that no item is in."""

_SINGLY = 50
"""Of many items, about as many are asked for one by one."""


class Part(msgspec.Struct, frozen=True):
    """Some fields of a record."""

    status: Status
    batch: str | None = None
    rank: float = 0.0


def check_queries(store: Store) -> None:
    """For a store that nobody else changes meanwhile."""
    items = list(store.items())
    keys = [item.key for item in items]
    assert len(store) == len(items) == len(set(keys))
    some = items[:: len(items) // _SINGLY + 1]
    assert all(item.key in store for item in some)
    assert NOBODY not in store
    assert records(store.get(item.key) for item in some) == records(some)
    assert records(store.get_many([NOBODY, *reversed(keys)])) == records(reversed(items))
    assert dict(store.parts(Part)) == {item.key: Part(item.status, item.batch, item.rank) for item in items}
    for statuses in ((Status.PENDING,), (Status.SUBMITTED, Status.COMPLETED), tuple(Status)):
        found = [item for item in items if item.status in statuses]
        assert keys_of(store.items(*statuses)) == keys_of(found)
        assert keys_of(store.items(*statuses, limit=2)) == keys_of(found[:2])
        assert store.recipe_counts(*statuses) == Counter(item.recipe for item in found)
    assert store.counts() == Counts.of(items)
    waiting = [item.key for item in items if item.status is Status.PENDING and waits(item, items)]
    assert sorted(store.waiting()) == sorted(waiting)
    stages: dict[str, list[str]] = {key: [] for key in (*keys, NOBODY)}
    for item in items:
        for key in {source.item for source in item.awaits}:
            stages.setdefault(key, []).append(item.key)
    for key in {NOBODY, *keys_of(some), *(key for key, found_stages in stages.items() if found_stages)}:
        assert sorted(store.stages_of(key)) == sorted(stages.get(key, ()))
    due = due_of(items)
    assert store.due_count() == len(due)
    assert keys_of(store.due(len(items) + 1)) == due
    assert keys_of(store.due(2, skip=due[:1])) == due[1:3]
    check_batches(store, items, due)
    assert store.last_completed_at() == max((one.completed_at for one in items if one.completed_at), default=None)
    with store.at_one_moment():
        check_counts(store, items, due)


def check_counts(store: Store, items: Sequence[Item], due: Sequence[str]) -> None:
    """Those that are of one moment."""
    batches = {item.batch for item in items if item.batch is not None}
    assert store.counts() == Counts.of(items)
    left = [item for item in items if item.status in (Status.PENDING, Status.SUBMITTED)]
    assert store.recipe_counts(Status.PENDING, Status.SUBMITTED) == Counter(item.recipe for item in left)
    assert store.counts_by_batch() == {batch: Counts.of(own_of(items, batch)) for batch in batches}
    for batch in (*batches, NOBODY):
        assert store.counts(batch=batch) == Counts.of(own_of(items, batch))
        check_figures(store, batch, own_of(items, batch), due)


def check_batches(store: Store, items: Sequence[Item], due: Sequence[str]) -> None:
    batches = {item.batch for item in items if item.batch is not None}
    urgent = {item.key for item in items if item.priority == "urgent"}
    assert store.counts_by_batch() == {batch: Counts.of(own_of(items, batch)) for batch in batches}
    for batch in (*batches, NOBODY):
        own = own_of(items, batch)
        assert set(keys_of(store.items(batch=batch))) == {item.key for item in own}
        assert set(keys_of(store.items(Status.PENDING, batch=batch))) == {
            item.key for item in own if item.status is Status.PENDING
        }
        assert store.counts(batch=batch) == Counts.of(own)
        check_keys(store, batch, own)
        chosen = urgent.union(keys_of(own))
        first = [key for key in due if key in chosen]
        assert keys_of(store.due(len(first) + 1, batch=batch)) == first
        assert store.due_count(batch=batch) == len(first)
        check_figures(store, batch, own, due)


def check_keys(store: Store, batch: str, own: Sequence[Item]) -> None:
    ordered = sorted(own, key=lambda item: (item.index or 0, item.key))
    assert store.batch_keys(batch) == keys_of(ordered)
    for statuses in ((Status.PENDING,), (Status.COMPLETED, Status.SUBMITTED)):
        later = [item.key for item in ordered if item.status in statuses and (item.index or 0) >= 3]
        assert store.batch_keys(batch, *statuses, first=3) == later
        assert store.batch_keys(batch, *statuses, first=3, limit=2) == later[:2]
        found = keys_of(store.items(*statuses, batch=batch))
        assert keys_of(store.items(*statuses, batch=batch, limit=2)) == found[:2]
    last = [item.key for item in ordered if (item.index or 0) >= 10**20]
    assert store.batch_keys(batch, first=10**20, limit=1) == last[:1]


def check_figures(store: Store, batch: str, own: Sequence[Item], due: Sequence[str]) -> None:
    figures = store.batch_figures(batch)
    timed = [item for item in own if item.status is Status.COMPLETED and item.seconds]
    mean = sum(item.seconds or 0.0 for item in timed) / len(timed) if timed else None
    assert figures.counts == Counts.of(own)
    assert set(figures.recipes) == {item.recipe for item in own}
    assert figures.completed_at == max((item.completed_at for item in own if item.completed_at), default=None)
    assert set(figures.servers) == {item.server for item in timed}
    assert figures.mean_seconds == (pytest.approx(mean) if mean is not None else None)
    own_keys = {item.key for item in own}
    up_to_last = due[: max((place + 1 for place, key in enumerate(due) if key in own_keys), default=0)]
    assert figures.due_up_to == len(up_to_last)
    assert figures.due == len([key for key in due if key in own_keys])
    for without in (set(due[:1]), set(due[1::2]), set(due)):
        found = store.batch_figures(batch, without=without)
        assert found.due_up_to == len([key for key in up_to_last if key not in without])


def due_of(items: Iterable[Item]) -> list[str]:
    """The keys of the due ones of these, in the order in which they are due."""
    items = list(items)
    due = [item for item in items if item.status is Status.PENDING and not waits(item, items)]
    return keys_of(sorted(due, key=lambda item: (PRIORITIES.index(item.priority), item.rank)))


def waits(item: Item, items: Iterable[Item]) -> bool:
    """Whether any of these items that it is made from is not completed, or not there."""
    completed = {other.key for other in items if other.status is Status.COMPLETED} if item.awaits else set()
    return any(source.item not in completed for source in item.awaits)


def own_of(items: Iterable[Item], batch: str) -> list[Item]:
    return [item for item in items if item.batch == batch]


def keys_of(items: Iterable[Item]) -> list[str]:
    return [item.key for item in items]


def records(items: Iterable[Item]) -> list[object]:
    """For comparison, with fields that burst does not know."""
    return [(item.key, msgspec.json.decode(item.to_record())) for item in items]
