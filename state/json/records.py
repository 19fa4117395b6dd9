"""Every record of a state, with what is asked of all of them often: how many stand where, and which is due next."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise

import msgspec

from state.item import PRIORITIES, Priority, Record, Status

Raw = msgspec.Raw | bytes

_BUCKET_PLACES = 1024


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


class Records:
    """Records by key, as JSON text, in the order in which their keys came. None is ever taken out."""

    def __init__(self) -> None:
        self.raws: dict[str, Raw] = {}
        self.statuses: dict[str, Status] = {}
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self._priorities: dict[str, Priority] = {}
        """Only those that are not normal."""
        self._keys: list[str] = []
        self._places: dict[str, int] = {}
        """Each key's index in `_keys`."""
        self._pending = {priority: Places() for priority in PRIORITIES}
        self._one_line_each = True
        """Whether no record is known to be laid out over several lines; those that are put never are."""

    @classmethod
    def of(cls, raws: Mapping[str, Raw], statuses: dict[str, Status], priorities: dict[str, Priority]) -> Records:
        """All at once; what is handed over is taken over. `priorities` holds only those that are not normal."""
        records = cls()
        records.raws, records.statuses, records._priorities = dict(raws), statuses, priorities
        records._one_line_each = False
        records.counts.update(Counter(statuses.values()))
        records._keys = list(statuses)
        records._places = dict(zip(statuses, range(len(statuses)), strict=True))
        pending = Status.PENDING
        places: dict[Priority, list[int]] = {priority: [] for priority in PRIORITIES}
        places["normal"] = [place for place, status in enumerate(statuses.values()) if status is pending]
        if priorities:
            waiting, places["normal"] = places["normal"], []
            for place in waiting:
                places[priorities.get(records._keys[place], "normal")].append(place)
        records._pending = {priority: Places(of_priority) for priority, of_priority in places.items()}
        return records

    def put(self, key: str, raw: Raw, record: Record) -> None:
        """Add a record of one line behind the others, or replace the one of this key in its place."""
        before = self.statuses.get(key)
        if before is None:
            self._places[key] = len(self._keys)
            self._keys.append(key)
        else:
            self.counts[before] -= 1
        place = self._places[key]
        if before is Status.PENDING:
            self._pending[self._priorities.get(key, "normal")].remove(place)
        if record.priority != "normal":
            self._priorities[key] = record.priority
        else:
            self._priorities.pop(key, None)
        if record.status is Status.PENDING:
            self._pending[record.priority].add(place)
        self.counts[record.status] += 1
        self.raws[key] = raw
        self.statuses[key] = record.status

    def pending(self) -> Iterator[str]:
        """The pending keys: by priority, then in their order. Nothing may be put meanwhile."""
        return (self._keys[place] for priority in PRIORITIES for place in self._pending[priority])

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
