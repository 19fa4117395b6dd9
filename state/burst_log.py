"""bursts.jsonl: one record for each burst that was, killed ones included."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from state.disk import Disk

Ending = Literal["done", "deadline", "stopped", "error", "killed"]


class BurstRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a burst went. `killed` ones never wrote their own record: the next burst did, from holder.json."""

    burst: str
    started_at: datetime
    ended_at: datetime
    ended: Ending
    size: int
    completed: int = 0
    failed: int = 0
    recovered: int = 0
    seconds: float = 0.0
    """Length of the burst."""
    seconds_per_item: float | None = None
    """Between two completions on the server, measured in this burst."""
    reason: str | None = None


class BurstLog:
    """Append-only; only the holder of run.lock appends."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self.path = folder / "bursts.jsonl"
        self._disk = disk or Disk()

    def append(self, record: BurstRecord) -> None:
        """Durable on return. Errors: DiskFull."""
        new = self._disk.stamp(self.path) is None
        with self._disk.append_to(self.path, create=True) as handle:
            data = handle.read_from(max(0, handle.stamp().size_bytes - 1))
            handle.write((b"\n" if data not in (b"", b"\n") else b"") + msgspec.json.encode(record) + b"\n")
            handle.sync()
        if new:
            self._disk.sync_directory(self.path.parent)

    def read(self, *, last: int = 100) -> list[BurstRecord]:
        """The last records, oldest first. A torn line is passed over: this is a memory, not the state."""
        try:
            lines = self._disk.read(self.path).splitlines()
        except FileNotFoundError:
            return []
        records = []
        for line in lines[-last:]:
            try:
                records.append(msgspec.json.decode(line, type=BurstRecord))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
        return records
