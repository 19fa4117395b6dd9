"""An append-only file of JSON lines, of which a crash can damage only the last one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from state.disk import Disk, Stamp

_T = TypeVar("_T", bound=msgspec.Struct)
_COMPARED_BYTES = 256
"""Of what was read last: another file may get the number of one that was replaced."""


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Making one costs more than reading the few lines that most logs have."""
    return msgspec.json.Decoder(kind)


class LineLog(Generic[_T]):
    """Records of one type. The caller must ensure that only one process appends at a time."""

    def __init__(self, path: Path, kind: type[_T], *, disk: Disk | None = None) -> None:
        self.path = path
        self._decode = _decoder(kind).decode
        self._disk = disk or Disk()
        self._name_is_durable = False

    def append(self, *records: _T | msgspec.Raw) -> None:
        """In one write, durable on return. Errors: DiskFull, SyncFailed."""
        with self._disk.append_to(self.path, create=True) as handle:
            data = handle.read_from(max(0, handle.stamp().size_bytes - 1))
            lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
            handle.write((b"\n" if data not in (b"", b"\n") else b"") + lines)
            handle.sync()
        if not self._name_is_durable:
            # Also if the file existed: the process that created it may have been killed before it synced the name.
            self._disk.sync_directory(self.path.parent)
            self._name_is_durable = True

    def bytes_from(self, offset: int) -> tuple[bytes, Stamp | None]:
        """What the file holds from there on, and which file that is; nothing and None if there is none."""
        try:
            with self._disk.open_to_read(self.path) as handle:
                return handle.read_from(offset), handle.stamp()
        except FileNotFoundError:
            return b"", None

    def stamp(self) -> Stamp | None:
        """None if there is no file yet."""
        return self._disk.stamp(self.path)

    def read(self, *, last_bytes: int | None = None) -> Iterator[_T]:
        """The records, oldest first; with `last_bytes` only those in the last part of the file.

        A torn, damaged or cut line is skipped: this is a history, not the state of items.
        """
        try:
            with self._disk.open_to_read(self.path) as handle:
                size = handle.stamp().size_bytes
                lines = handle.read_from(0 if last_bytes is None else max(0, size - last_bytes)).splitlines()
        except FileNotFoundError:
            return
        yield from self.decoded(lines)

    def lines(self) -> list[bytes]:
        """As they are, oldest first, without those that are no JSON objects."""
        try:
            found = self._disk.read(self.path).splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [line for line in found if _is_object(line)]

    def decoded(self, lines: Iterable[bytes]) -> Iterator[_T]:
        """The records of these lines; others are skipped, as in `read`."""
        for line in lines:
            try:
                yield self._decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue


@dataclass(frozen=True)
class News(Generic[_T]):
    """What a log holds that its follower had not read."""

    records: Sequence[_T]
    unfinished: Sequence[_T]
    """Of a last line without an end, which is read again."""
    is_from_the_beginning: bool
    """There is another file than before: `records` are all of it."""


class LineFollower(Generic[_T]):
    """Reads a log on from where it stopped, also when the file was replaced. Used by one thread at a time."""

    def __init__(self, log: LineLog[_T]) -> None:
        self._log = log
        self._inode: int | None = None
        self._offset = 0
        self._last = b""
        """The bytes before the offset."""

    def read_on(self) -> News[_T]:
        data, stamp = self._log.bytes_from(self._offset - len(self._last))
        is_same = stamp is not None and stamp.inode == self._inode and data.startswith(self._last)
        if is_same:
            data = data[len(self._last) :]
        else:
            self._offset, self._last = 0, b""
            data, stamp = self._log.bytes_from(0)
            self._inode = stamp.inode if stamp is not None else None
        end = data.rfind(b"\n") + 1
        self._offset += end
        self._last = (self._last + data[:end])[-_COMPARED_BYTES:]
        records = tuple(self._log.decoded(data[:end].splitlines()))
        return News(records, tuple(self._log.decoded([data[end:]])) if data[end:] else (), not is_same)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
