"""An append-only file of JSON lines, of which a crash can damage only the last one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from state.disk import Disk, Stamp

_T = TypeVar("_T", bound=msgspec.Struct)


class LineLog(Generic[_T]):
    """Records of one type. The caller must ensure that only one process appends at a time."""

    def __init__(self, path: Path, kind: type[_T], *, disk: Disk | None = None) -> None:
        self.path = path
        self._decode = msgspec.json.Decoder(kind).decode
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

    def decoded(self, lines: Iterable[bytes]) -> Iterator[_T]:
        """The records of these lines; others are skipped, as in `read`."""
        for line in lines:
            try:
                yield self._decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
