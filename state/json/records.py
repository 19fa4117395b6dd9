"""Every record of a state, with what is asked of all of them often: how many stand where, and which is due next."""

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
    """Places in a file, in their order. To add, to remove and to find the first one costs the same however many."""

    def __init__(self, places: Sequence[int] = ()) -> None:
        """`places` are sorted."""
        count = places[-1] // _BUCKET_PLACES + 1 if places else 0
        ends = [bisect_left(places, bucket * _BUCKET_PLACES) for bucket in range(count + 1)]
        self._buckets = [list(places[start:end]) for start, end in pairwise(ends)]
        """The n-th holds those of the n-th `_BUCKET_PLACES` places that are in, sorted."""

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
    """Places by rank, those of one rank in their order. The cost of each operation hardly grows with their number."""

    def __init__(self, pairs: Sequence[tuple[float, int]] = ()) -> None:
        """`pairs` of rank and place are sorted."""
        self._runs = [list(pairs[start : start + _RUN_PAIRS]) for start in range(0, len(pairs), _RUN_PAIRS)]
        """Sorted, and none is empty."""

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
        """Which run holds this pair, or would."""
        return bisect_left(self._runs, pair, key=lambda run: run[-1])


class Order(NamedTuple):
    """What decides when a pending item is due."""

    priority: Priority = "normal"
    rank: float = 0.0
    waits: bool = False
    """For an output of another item: not due at all."""


PLAIN = Order()
"""Of nearly every record."""


def order_of(record: Record) -> Order:
    waits = bool(record.uploads and record.awaits)
    if record.priority == "normal" and not record.rank and not waits:
        return PLAIN
    return Order(record.priority, record.rank, waits)


class Pending:
    """The places of the pending items of one priority: by rank, where most have none, which is 0; then in order."""

    def __init__(self, plain: Sequence[int] = (), ranked: Sequence[tuple[float, int]] = ()) -> None:
        """Both sorted."""
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
    """Records by key, as JSON text, in the order in which their keys came."""

    def __init__(self) -> None:
        self.raws: dict[str, Raw] = {}
        self.statuses: dict[str, Status] = {}
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self.waiting: dict[str, None] = {}
        """The keys of pending items that wait for an output of another one."""
        self._orders: dict[str, Order] = {}
        """Only those that are not plain."""
        self._keys: list[str] = []
        """By place. A removed one leaves its place behind, which nothing refers to any more."""
        self._places: dict[str, int] = {}
        """Each key's index in `_keys`."""
        self._pending = {priority: Pending() for priority in PRIORITIES}
        self._one_line_each = True
        """Whether no record is known to be laid out over several lines; those that are put never are."""

    @classmethod
    def of(cls, raws: Mapping[str, Raw], statuses: dict[str, Status], orders: dict[str, Order]) -> Records:
        """All at once; what is handed over is taken over. `orders` holds only those that are not plain."""
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
        """Add a record of one line behind the others, or replace the one of this key in its place."""
        before = self.statuses.get(key)
        if before is None:
            self._places[key] = len(self._keys)
            self._keys.append(key)
        else:
            self._take_off(key, before)
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
        """Take a record out, if it is there. Added again it stands behind the others."""
        status = self.statuses.get(key)
        if status is None:
            return
        self._take_off(key, status)
        del self._places[key], self.statuses[key], self.raws[key]

    def pending(self) -> Iterator[str]:
        """The pending keys that wait for nothing: by priority, then by rank, then in their order.

        Nothing may be put or removed meanwhile.
        """
        return (self._keys[place] for priority in PRIORITIES for place in self._pending[priority])

    def _take_off(self, key: str, status: Status) -> None:
        """Leave this record out of the count and of what is due."""
        self.counts[status] -= 1
        order = self._orders.pop(key, PLAIN)
        if status is not Status.PENDING:
            return
        if order.waits:
            del self.waiting[key]
        else:
            self._pending[order.priority].remove(self._places[key], order.rank)

    def one_line_each(self) -> Mapping[str, Raw]:
        """`raws`, where the records that were read as several lines are now one line each."""
        if not self._one_line_each:
            for key, raw in self.raws.items():
                if b"\n" in (record := bytes(raw)):
                    self.raws[key] = msgspec.json.format(record, indent=0)
            self._one_line_each = True
        return self.raws

    def differences(self, other: Records) -> list[str]:
        """The keys whose record is not the same in both, however it is laid out."""
        if not self.raws:
            return list(other.raws)
        keys = {**self.raws, **other.raws}
        return [key for key in keys if not _same(self.raws.get(key), other.raws.get(key))]


def _same(one: Raw | None, other: Raw | None) -> bool:
    if one is None or other is None:
        return False
    one, other = bytes(one), bytes(other)
    return one == other or msgspec.json.format(one, indent=-1) == msgspec.json.format(other, indent=-1)
