"""Places of records in a state file, in the order in which pending items are due."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import chain, dropwhile, pairwise, takewhile
from typing import NamedTuple

from state.item import Priority, Record

_BUCKET_PLACES = 1024
_RUN_PAIRS = 512


class Places:
    """Sorted places in a file. Adding, removing and finding the first cost the same however many there are."""

    def __init__(self, places: Sequence[int] = ()) -> None:
        """`places` must be sorted."""
        count = places[-1] // _BUCKET_PLACES + 1 if places else 0
        ends = [bisect_left(places, bucket * _BUCKET_PLACES) for bucket in range(count + 1)]
        self._buckets = [list(places[start:end]) for start, end in pairwise(ends)]
        """The n-th bucket holds the members among the n-th `_BUCKET_PLACES` places, sorted."""

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._buckets)

    def add(self, place: int) -> None:
        bucket = place // _BUCKET_PLACES
        while len(self._buckets) <= bucket:
            self._buckets.append([])
        insort(self._buckets[bucket], place)

    def remove(self, place: int) -> None:
        bucket = self._buckets[place // _BUCKET_PLACES]
        del bucket[bisect_left(bucket, place)]

    def last(self) -> int | None:
        return next((bucket[-1] for bucket in reversed(self._buckets) if bucket), None)

    def count_up_to(self, place: float) -> int:
        """How many places there are up to this one, itself included."""
        whole = len(self._buckets) if place == math.inf else min(int(place) // _BUCKET_PLACES, len(self._buckets))
        partly = self._buckets[whole : whole + 1]
        return sum(map(len, self._buckets[:whole])) + sum(bisect_right(bucket, place) for bucket in partly)


class RankedPlaces:
    """Places sorted by rank, then by place. The cost of an operation hardly grows with their number."""

    def __init__(self, pairs: Sequence[tuple[float, int]] = ()) -> None:
        """`pairs` of rank and place must be sorted."""
        self._runs = [list(pairs[start : start + _RUN_PAIRS]) for start in range(0, len(pairs), _RUN_PAIRS)]
        """Each is sorted and not empty."""

    def __iter__(self) -> Iterator[tuple[float, int]]:
        return chain.from_iterable(self._runs)

    def add(self, rank: float, place: int) -> None:
        if not self._runs:
            self._runs.append([(rank, place)])
            return
        at = min(self._run_of((rank, place)), len(self._runs) - 1)
        run = self._runs[at]
        insort(run, (rank, place))
        if len(run) > 2 * _RUN_PAIRS:
            self._runs[at : at + 1] = [run[:_RUN_PAIRS], run[_RUN_PAIRS:]]

    def remove(self, rank: float, place: int) -> None:
        at = self._run_of((rank, place))
        run = self._runs[at]
        del run[bisect_left(run, (rank, place))]
        if not run:
            del self._runs[at]

    def last(self) -> tuple[float, int] | None:
        return self._runs[-1][-1] if self._runs else None

    def count_up_to(self, rank: float, place: float) -> int:
        """How many pairs there are up to this one, itself included."""
        at = self._run_of((rank, place))
        partly = self._runs[at : at + 1]
        return sum(map(len, self._runs[:at])) + sum(bisect_right(run, (rank, place)) for run in partly)

    def _run_of(self, pair: tuple[float, float]) -> int:
        """Index of the run that holds this pair or would hold it."""
        return bisect_left(self._runs, pair, key=lambda run: run[-1])


class Order(NamedTuple):
    """The fields that decide when a pending item is due."""

    priority: Priority = "normal"
    rank: float = 0.0
    sources: tuple[str, ...] = ()
    """Keys of the items that it is made from: it is not due before these are completed."""


PLAIN = Order()
"""The order of nearly every record."""


def order_of(record: Record) -> Order:
    sources = record.sources
    if record.priority == "normal" and not record.rank and not sources:
        return PLAIN
    return Order(record.priority, record.rank, sources)


class Pending:
    """Places of the pending items of one priority, by rank (0 for most), then by place."""

    def __init__(self, plain: Sequence[int] = (), ranked: Sequence[tuple[float, int]] = ()) -> None:
        """Both must be sorted."""
        self._plain = Places(plain)
        self._ranked = RankedPlaces(ranked)

    def __iter__(self) -> Iterator[int]:
        yield from (place for _, place in takewhile(_comes_first, self._ranked))
        yield from self._plain
        yield from (place for _, place in dropwhile(_comes_first, self._ranked))

    def add(self, place: int, rank: float) -> None:
        if rank:
            self._ranked.add(rank, place)
        else:
            self._plain.add(place)

    def remove(self, place: int, rank: float) -> None:
        if rank:
            self._ranked.remove(rank, place)
        else:
            self._plain.remove(place)

    def last(self) -> tuple[float, int] | None:
        """Rank and place of the one that is due last; None if there is none."""
        ranked, plain = self._ranked.last(), self._plain.last()
        if plain is None or (ranked is not None and ranked[0] > 0):
            return ranked
        return 0.0, plain

    def count_up_to(self, rank: float, place: float) -> int:
        """How many are due up to this one, itself included."""
        if rank < 0:
            return self._ranked.count_up_to(rank, place)
        if not rank:
            return self._ranked.count_up_to(0.0, -1) + self._plain.count_up_to(place)
        return self._ranked.count_up_to(rank, place) + self._plain.count_up_to(math.inf)

    def __len__(self) -> int:
        return self.count_up_to(math.inf, math.inf)


def _comes_first(ranked: tuple[float, int]) -> bool:
    return ranked[0] < 0
