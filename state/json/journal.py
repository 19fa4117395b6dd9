"""The journal file: reading and appending."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from state import operating_system
from state.disk import Disk, Handle, Stamp
from state.json.journal_lines import Line, UnknownLine, carried_line, header_line, header_of, read_lines, snapshot_line

_log = logging.getLogger(__name__)


class Journal:
    """An open journal file, with the position up to which it was read.

    A journal is never truncated to nothing: a new one is renamed over it, so that a reader of the old one can finish.
    """

    def __init__(self, path: Path, handle: Handle, lines: Sequence[Line], end: int) -> None:
        header = header_of(path, lines)
        self.path = path
        self.version = header.version
        self.extends = header.extends or ""
        """Hash of the JSON that the lines apply to."""
        self.stamp = Stamp(*header.stamp) if header.stamp else None
        """Stamp of that JSON when it was written."""
        self.merged = header.merged
        self.marker: str | None = None
        """Hash in the last hand-over line, until the new journal is in place."""
        self.seq = header.seq
        self.unknown_lines: list[UnknownLine] = []
        self.batch_lines: list[bytes] = []
        """Lines for batches.jsonl that came with items."""
        self._handle = handle
        self._inode = handle.stamp().inode
        self._end = end
        self._note(lines)

    @classmethod
    def open(cls, disk: Disk, path: Path, *, read_only: bool) -> tuple[Journal, list[Line]] | None:
        """The journal and its lines after the first; None if there is no journal. Errors: StateError."""
        try:
            handle = disk.open_to_read(path) if read_only else disk.append_to(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            tail = read_lines(path, handle.read_from(0))
            return cls(path, handle, tail.lines, tail.end), list(tail.lines[1:])
        except BaseException:
            handle.close()
            raise

    @classmethod
    def begin(
        cls, disk: Disk, path: Path, *, extends: str, stamp: Stamp, merged: bool, replaces: Journal | None
    ) -> Journal:
        """Write a new journal, durably, in place of any old one, of which only the unknown lines are copied.

        Errors: DiskFull.
        """
        seq, carried = (replaces.seq, replaces.unknown_lines) if replaces is not None else (0, [])
        data = header_line(seq=seq, extends=extends, stamp=stamp, merged=merged)
        data += b"".join(carried_line(line, seq=number) for number, line in enumerate(carried, seq + 1))
        with contextlib.nullcontext() if replaces is None else replaces.out_of_the_way(disk):
            disk.write_whole(path, data)
        return cls(path, disk.append_to(path), read_lines(path, data).lines, len(data))

    def make_writable(self, disk: Disk) -> None:
        """After it was opened for reading. One that was replaced since stays as it is: it is to be followed first."""
        with contextlib.suppress(FileNotFoundError):
            handle = disk.append_to(self.path)
            if handle.stamp().inode == self._inode:
                self._handle, handle = handle, self._handle
            handle.close()

    @contextlib.contextmanager
    def out_of_the_way(self, disk: Disk) -> Iterator[None]:
        """Closed for the time in which another journal takes its place, on a system that asks for it.

        Open again after an error, since the file is still there then.
        """
        if not operating_system.REPLACES_OPEN:
            self._handle.close()
        try:
            yield
        except BaseException:
            if not operating_system.REPLACES_OPEN:
                self._handle = disk.append_to(self.path)
            raise

    def news(self, disk: Disk) -> str | None:
        """How the file has changed since it was read: None (not), "grown", "replaced" or "rewound" (truncated)."""
        stamp = disk.stamp(self.path)
        if stamp is None or stamp.inode != self._inode:
            return "replaced"
        if stamp.size_bytes < self._end:
            return "rewound"
        return None if stamp.size_bytes == self._end else "grown"

    def read_on(self) -> list[Line]:
        """The complete lines appended since. Errors: StateError."""
        tail = read_lines(self.path, self._handle.read_from(self._end), offset=self._end, after_seq=self.seq)
        self._end = tail.end
        self._note(tail.lines)
        return list(tail.lines)

    def cut_torn_tail(self) -> None:
        """Drop what a crash left after the last complete line. Hold write.lock and call `read_on` first."""
        torn_bytes = self._handle.stamp().size_bytes - self._end
        if torn_bytes > 0:
            _log.warning(
                "%s: dropped %d bytes at byte %d, left incomplete by a crash", self.path, torn_bytes, self._end
            )
            self._handle.truncate(self._end)

    def append(self, line: bytes, *, sync: bool) -> None:
        """Append one line, durable on return (with `sync`). Errors: DiskFull, SyncFailed.

        A partly written line is removed after an error. A complete one never is: others may have read it already.
        """
        try:
            self._handle.write(line)
        except Exception:
            self._handle.truncate(self._end)
            raise
        if sync:
            self._handle.sync()
        self._end += len(line)
        self.seq += 1

    def mark_snapshot(self, digest: str) -> None:
        """First step of a hand-over: the JSON with this hash is about to be renamed into place."""
        self.append(snapshot_line(seq=self.seq + 1, snapshot=digest), sync=True)
        self.marker = digest

    def close(self) -> None:
        self._handle.close()

    def _note(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self.seq = line.seq
            self.marker = line.snapshot or self.marker
            if isinstance(line, UnknownLine):
                self.unknown_lines.append(line)
            if line.batch:
                self.batch_lines.append(bytes(line.batch))


def read_batch_lines(disk: Disk, path: Path) -> list[bytes]:
    """The `batch_lines` of the journal at `path`, without opening the state. Errors: StateError."""
    try:
        data = disk.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    if b',"batch":{' not in data:  # the usual case, at a fraction of the cost of decoding
        return []
    lines = read_lines(path, data).lines
    header_of(path, lines)
    return [bytes(line.batch) for line in lines if line.batch]
