"""batches.jsonl: the batches of a state, and what was noted of them since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from state.batch import (
    Batch,
    BatchLine,
    BatchRecord,
    DeliveredRecord,
    EndRecord,
    GoneRecord,
    GrownRecord,
    JoinedRecord,
    ToldRecord,
)
from state.disk import Disk, Stamp
from state.json.line_log import LineLog
from state.write_lock import WriteLock


class JsonBatchLog:
    """Append-only, by any process; each append is made under write.lock."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self._log: LineLog[Any] = LineLog(folder / "batches.jsonl", BatchLine, disk=self._disk)  # type: ignore[arg-type]

    @property
    def path(self) -> Path:
        return self._log.path

    def stamp(self) -> Stamp | None:
        """Another one after each append; None where there is no record yet."""
        return self._log.stamp()

    def append(self, *records: BatchLine) -> None:
        """Durable on return. Errors: DiskFull, LockHeld, StateError."""
        with WriteLock(self._folder, disk=self._disk):  # one each: several threads may append
            self._log.append(*records)

    def read(self) -> dict[str, Batch]:
        """Every batch by its id, oldest first, those that are gone too."""
        batches: dict[str, Batch] = {}
        by_event: dict[str, Batch] = {}
        for line in self._log.read():
            match line:
                case BatchRecord():
                    batches.setdefault(line.batch, Batch(line))
                case GrownRecord() if line.batch in batches:
                    record = batches[line.batch].record
                    total = max(record.total, line.total)
                    batches[line.batch].record = msgspec.structs.replace(record, total=total)
                case EndRecord() if line.batch in batches:
                    by_event[line.event] = batches[line.batch]
                    batches[line.batch].ends.append(line)
                case ToldRecord() if line.event in by_event:
                    by_event[line.event].told.append(line)
                case JoinedRecord() if line.batch in batches:
                    batches[line.batch].unanswered.append(line.call)
                case DeliveredRecord() if line.batch in batches:
                    batches[line.batch].delivered(line.call)
                case GoneRecord() if line.batch in batches:
                    batches[line.batch].gone = True
        return batches
