"""The journal as a file: what was read of it, and what is appended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from state.disk import Disk, Handle, Stamp
from state.json.journal_lines import Line, UnknownLine, carried_line, header_line, header_of, read_lines, snapshot_line

_log = logging.getLogger(__name__)


class Journal:
    """One journal file, open, with the place up to which it was taken in.

    A journal is never emptied: a new one is renamed in its place, so that a reader of the old one can still end it.
    """

    def __init__(self, path: Path, handle: Handle, lines: Sequence[Line], end: int) -> None:
        header = header_of(path, lines)
        self.path = path
        self.version = header.version
        self.extends = header.extends or ""
        """The hash of the JSON that its lines bring up to date."""
        self.stamp = Stamp(*header.stamp) if header.stamp else None
        """The stamp which that JSON had when it was written."""
        self.merged = header.merged
        self.marker: str | None = None
        """The hash in the last hand-over line, while its new journal is not in yet."""
        self.seq = header.seq
        self.unknown_lines: list[UnknownLine] = []
        self.batch_lines: list[bytes] = []
        """Lines of batches.jsonl that came with items."""
        self._handle = handle
        self._inode = handle.stamp().inode
        self._end = end
        self._note(lines)

    @classmethod
    def open(cls, disk: Disk, path: Path, *, read_only: bool) -> tuple[Journal, list[Line]] | None:
        """The journal and its lines after the first; None where there is none. Errors: StateError."""
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
        """Put a journal in place, durably, whatever stood there; with the unknown lines of the old one alone.

        Errors: DiskFull.
        """
        seq, carried = (replaces.seq, replaces.unknown_lines) if replaces is not None else (0, [])
        data = header_line(seq=seq, extends=extends, stamp=stamp, merged=merged)
        data += b"".join(carried_line(line, seq=number) for number, line in enumerate(carried, seq + 1))
        disk.write_whole(path, data)
        return cls(path, disk.append_to(path), read_lines(path, data).lines, len(data))

    def news(self, disk: Disk) -> str | None:
        """What became of the file since: None (nothing), "grown", "replaced", or "rewound" (somebody cut it)."""
        stamp = disk.stamp(self.path)
        if stamp is None or stamp.inode != self._inode:
            return "replaced"
        if stamp.size_bytes < self._end:
            return "rewound"
        return None if stamp.size_bytes == self._end else "grown"

    def read_on(self) -> list[Line]:
        """The whole lines that came since. Errors: StateError."""
        tail = read_lines(self.path, self._handle.read_from(self._end), offset=self._end, after_seq=self.seq)
        self._end = tail.end
        self._note(tail.lines)
        return list(tail.lines)

    def cut_torn_tail(self) -> None:
        """Drop what a crash left behind the last whole line. Under write.lock, after `read_on`."""
        torn_bytes = self._handle.stamp().size_bytes - self._end
        if torn_bytes > 0:
            _log.warning(
                "%s: %d bytes from byte %d on were torn by a crash and are dropped", self.path, torn_bytes, self._end
            )
            self._handle.truncate(self._end)

    def append(self, line: bytes, *, sync: bool) -> None:
        """Append one line, durable on return (with `sync`). Errors: DiskFull, SyncFailed.

        A line that the disk refused in its middle is cut back. A whole one never is: others may have read it already.
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
        """The first step of a hand-over: the JSON with this hash is about to be renamed in."""
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
    if b',"batch":{' not in data:  # in nearly every one: reading all its lines costs more
        return []
    lines = read_lines(path, data).lines
    header_of(path, lines)
    return [bytes(line.batch) for line in lines if line.batch]
