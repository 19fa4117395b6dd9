"""bursts.jsonl: one record for each burst that was, killed ones included."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from state.disk import Disk
from state.item import UtcTime
from state.json.line_log import LineLog

Ending = Literal["done", "deadline", "stopped", "error", "killed"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""What can be taken from a date; a damaged record may say more, and is passed over then."""
_MEMORY_RECORDS = 500
"""What pacing looks at. A run of many short bursts writes dozens; a watchdog is to be remembered over many runs."""
_RECORD_BYTES = 512
_LEAST_BYTES = 64 * 1024


class BurstRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a burst went. `killed` ones never wrote their own record: the next burst did, from holder.json."""

    burst: str
    started_at: UtcTime
    ended_at: UtcTime
    ended: Ending
    size: int
    completed: int = 0
    failed: int = 0
    recovered: int = 0
    seconds: Seconds = 0.0
    """Length of the burst."""
    alive_seconds: Seconds | None = None
    """Age of the run, one process that may hold several bursts, when this one ended: what a watchdog counts."""
    signal: str | None = None
    """`SIGTERM` or `SIGINT`, where one of them stopped it."""
    seconds_per_item: Seconds | None = None
    """Between two completions on the server, measured in this burst."""
    reason: str | None = None


class BurstLog:
    """Append-only; only the holder of run.lock appends."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._log = LineLog(folder / "bursts.jsonl", BurstRecord, disk=disk)

    @property
    def path(self) -> Path:
        return self._log.path

    def append(self, record: BurstRecord) -> None:
        """Durable on return. Errors: DiskFull."""
        self._log.append(record)

    def read(self, *, last: int = _MEMORY_RECORDS) -> list[BurstRecord]:
        """The last records, oldest first, at most so many; the cost does not grow with the file."""
        return list(self._log.read(last_bytes=max(last * _RECORD_BYTES, _LEAST_BYTES)))[-last:]
