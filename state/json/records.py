"""All records of a state, indexed for frequent questions: how many have each status, and which is due next."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, dropwhile, pairwise, takewhile
from typing import NamedTuple

import msgspec

from state.item import PRIORITIES, Priority, Record, Status

Raw = msgspec.Raw | bytes

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

    def _run_of(self, pair: tuple[float, int]) -> int:
        """Index of the run that holds this pair or would hold it."""
        return bisect_left(self._runs, pair, key=lambda run: run[-1])


class Order(NamedTuple):
    """The fields that decide when a pending item is due."""

    priority: Priority = "normal"
    rank: float = 0.0
    waits: bool = False
    """Whether it waits for an output of another item and so is not due."""


PLAIN = Order()
"""The order of nearly every record."""


def order_of(record: Record) -> Order:
    waits = bool(record.uploads and record.awaits)
    if record.priority == "normal" and not record.rank and not waits:
        return PLAIN
    return Order(record.priority, record.rank, waits)


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


def _comes_first(ranked: tuple[float, int]) -> bool:
    return ranked[0] < 0


class Records:
    """Records by key, as JSON text, in the order in which the keys were added."""

    def __init__(self) -> None:
        self.raws: dict[str, Raw] = {}
        self.statuses: dict[str, Status] = {}
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self.waiting: dict[str, None] = {}
        """Keys of pending items that wait for an output of another item."""
        self._orders: dict[str, Order] = {}
        """Only those other than `PLAIN`."""
        self._keys: list[str] = []
        """By place. The place of a removed key stays, unused."""
        self._places: dict[str, int] = {}
        """Index in `_keys` of each key."""
        self._pending = {priority: Pending() for priority in PRIORITIES}
        self._one_line_each = True
        """Whether every record is known to be on one line; records passed to `put` always are."""

    @classmethod
    def of(cls, raws: Mapping[str, Raw], statuses: dict[str, Status], orders: dict[str, Order]) -> Records:
        """Build from whole dictionaries, which are taken over. `orders` holds only those other than `PLAIN`."""
        records = cls()
        records.raws, records.statuses, records._orders = dict(raws), statuses, orders
        records._one_line_each = False
        records.counts.update(Counter(statuses.values()))
        records._keys = list(statuses)
        records._places = dict(zip(statuses, range(len(statuses)), strict=True))
        pending = Status.PENDING
        plain: dict[Priority, list[int]] = {priority: [] for priority in PRIORITIES}
        ranked: dict[Priority, list[tuple[float, int]]] = {priority: [] for priority in PRIORITIES}
        plain["normal"] = [place for place, status in enumerate(statuses.values()) if status is pending]
        if orders:
            places, plain["normal"] = plain["normal"], []
            for place in places:
                key = records._keys[place]
                priority, rank, waits = orders.get(key, PLAIN)
                if waits:
                    records.waiting[key] = None
                elif rank:
                    ranked[priority].append((rank, place))
                else:
                    plain[priority].append(place)
        records._pending = {priority: Pending(plain[priority], sorted(ranked[priority])) for priority in PRIORITIES}
        return records

    def put(self, key: str, raw: Raw, record: Record) -> None:
        """Append a record of one line, or replace the record of this key in its place."""
        before = self.statuses.get(key)
        if before is None:
            self._places[key] = len(self._keys)
            self._keys.append(key)
        else:
            self._unindex(key, before)
        order = order_of(record)
        if order is not PLAIN:
            self._orders[key] = order
        if record.status is Status.PENDING:
            if order.waits:
                self.waiting[key] = None
            else:
                self._pending[order.priority].add(self._places[key], order.rank)
        self.counts[record.status] += 1
        self.raws[key] = raw
        self.statuses[key] = record.status

    def remove(self, key: str) -> None:
        """Remove a record, if it exists. If it is added again, it comes last."""
        status = self.statuses.get(key)
        if status is None:
            return
        self._unindex(key, status)
        del self._places[key], self.statuses[key], self.raws[key]

    def pending(self) -> Iterator[str]:
        """The keys of due items, by priority, then rank, then order.

        Do not put or remove a record while iterating.
        """
        return (self._keys[place] for priority in PRIORITIES for place in self._pending[priority])

    def _unindex(self, key: str, status: Status) -> None:
        """Remove this record from the counts and from the due items."""
        self.counts[status] -= 1
        order = self._orders.pop(key, PLAIN)
        if status is not Status.PENDING:
            return
        if order.waits:
            del self.waiting[key]
        else:
            self._pending[order.priority].remove(self._places[key], order.rank)

    def one_line_each(self) -> Mapping[str, Raw]:
        """`raws`, after reformatting records that span several lines to one line each."""
        if not self._one_line_each:
            for key, raw in self.raws.items():
                if b"\n" in (record := bytes(raw)):
                    self.raws[key] = msgspec.json.format(record, indent=0)
            self._one_line_each = True
        return self.raws

    def differences(self, other: Records) -> list[str]:
        """The keys whose records differ in more than formatting."""
        if not self.raws:
            return list(other.raws)
        keys = {**self.raws, **other.raws}
        return [key for key in keys if not _same(self.raws.get(key), other.raws.get(key))]


def _same(one: Raw | None, other: Raw | None) -> bool:
    if one is None or other is None:
        return False
    one, other = bytes(one), bytes(other)
    return one == other or msgspec.json.format(one, indent=-1) == msgspec.json.format(other, indent=-1)
