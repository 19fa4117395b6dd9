"""The items of one batch in the batch's order: by index, then key."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

import msgspec

from state.item import Count, Status

_CODES = {status: number for number, status in enumerate(Status)}


class _Numbered(msgspec.Struct, frozen=True, gc=False):
    index: Count | None = None


_decode = msgspec.json.Decoder(_Numbered).decode


class BatchOrder:
    """Keys in order, with a byte for the status of each. An index is read from the record where it is needed."""

    def __init__(
        self, keys: Iterable[str], raws: Mapping[str, msgspec.Raw | bytes], statuses: Mapping[str, Status]
    ) -> None:
        """`raws`: all records, of which the ones with these keys must be up to date at every call."""
        self._raws = raws
        self._keys = [key for _, key in sorted((self._index_of(key), key) for key in keys)]
        self._statuses = bytearray(_CODES[statuses[key]] for key in self._keys)

    def put(self, index: int | None, key: str, status: Status) -> None:
        """Add a key, or note the status of one that is there with this index."""
        at = self._place(index or 0, key)
        if self._keys[at : at + 1] == [key]:
            self._statuses[at] = _CODES[status]
        else:
            self._keys.insert(at, key)
            self._statuses.insert(at, _CODES[status])

    def remove(self, index: int | None, key: str) -> None:
        """Call it while its record still has this index."""
        at = self._place(index or 0, key)
        del self._keys[at], self._statuses[at]

    def keys(self, *statuses: Status, first: int, limit: int | None) -> list[str]:
        """From this index on, at most so many: all, or those with the given statuses."""
        start = self._place(first, "") if first else 0
        if not statuses:
            return self._keys[start : None if limit is None else start + limit]
        wanted = {_CODES[status] for status in statuses}
        marks = self._statuses[start:].translate(bytes(code in wanted for code in range(256)))
        found: list[str] = []
        at = marks.find(1)
        while at >= 0 and (limit is None or len(found) < limit):
            found.append(self._keys[start + at])
            at = marks.find(1, at + 1)
        return found

    def _place(self, index: int, key: str) -> int:
        """Where this key is or would be."""
        return bisect_left(self._keys, (index, key), key=lambda other: (self._index_of(other), other))

    def _index_of(self, key: str) -> int:
        return _decode(self._raws[key]).index or 0
