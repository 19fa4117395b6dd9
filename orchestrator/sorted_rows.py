"""Sorting more rows than should be in memory: pieces of them wait, sorted, in temporary files."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Generic, TypeVar

import msgspec

_Row = TypeVar("_Row", bound=msgspec.Struct)

MOST_ROWS = 50_000
"""So many are in memory."""
_LENGTH_BYTES = 4


class SortedRows(Generic[_Row]):
    """Rows of one class. Equal ones keep their order. Close it."""

    def __init__(self, kind: type[_Row], *, by: Callable[[_Row], Any], most: int = MOST_ROWS) -> None:
        self._by = by
        self._most = most
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._rows: list[_Row] = []
        self._files: list[IO[bytes]] = []

    def extend(self, rows: Iterable[_Row]) -> None:
        """Before they are read. Errors: OSError where there is no room for temporary files."""
        for row in rows:
            self._rows.append(row)
            if len(self._rows) >= self._most:
                self._put_away()

    def __iter__(self) -> Iterator[_Row]:
        """In order, once."""
        parts = [self._read(file) for file in self._files]
        return heapq.merge(*parts, sorted(self._rows, key=self._by), key=self._by)

    def close(self) -> None:
        """Remove the files. Safe to repeat."""
        for file in self._files:
            file.close()

    def _put_away(self) -> None:
        file = tempfile.TemporaryFile()  # noqa: SIM115
        for row in sorted(self._rows, key=self._by):
            data = self._encode(row)
            file.write(len(data).to_bytes(_LENGTH_BYTES))
            file.write(data)
        file.seek(0)
        self._files.append(file)
        self._rows = []

    def _read(self, file: IO[bytes]) -> Iterator[_Row]:
        while length := file.read(_LENGTH_BYTES):
            yield self._decode(file.read(int.from_bytes(length)))
