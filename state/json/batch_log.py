"""batches.jsonl: the batches of a state, and what was noted of them since.

The line of a new batch is part of the journal's change set with its items, and is moved here before that journal is
replaced. So the batch is there exactly when its items are, and notes of it may stand before its own line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from state.batch import (
    Batch,
    BatchChange,
    BatchNote,
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

    def __init__(
        self, folder: Path, *, disk: Disk | None = None, in_journal: Callable[[], Sequence[bytes]] = tuple
    ) -> None:
        """`in_journal`: reads the lines that the journal holds. A line may stand in both."""
        self._folder = folder
        self._disk = disk or Disk()
        self._in_journal = in_journal
        kinds: Any = BatchChange | BatchNote
        self._log: LineLog[Any] = LineLog(folder / "batches.jsonl", kinds, disk=self._disk)

    @property
    def path(self) -> Path:
        return self._log.path

    def stamp(self) -> tuple[Stamp | None, tuple[bytes, ...]] | None:
        in_journal, stamp = tuple(self._in_journal()), self._log.stamp()
        return (stamp, in_journal) if stamp is not None or in_journal else None

    def append(self, *notes: BatchNote) -> None:
        with WriteLock(self._folder, disk=self._disk):  # one each: several threads may append
            self._log.append(*notes)

    def take_over(self, in_journal: Sequence[bytes]) -> None:
        """Append lines of a journal that is about to be replaced. Under write.lock. Errors: DiskFull, SyncFailed."""
        self._log.append(*map(msgspec.Raw, in_journal))

    def read(self) -> dict[str, Batch]:
        # The journal first: what it does not hold any more by then is in the file.
        in_journal = self._log.decoded(self._in_journal())
        lines = [*self._log.read(), *in_journal]
        batches: dict[str, Batch] = {}
        by_event: dict[str, Batch] = {}
        for line in lines:
            if isinstance(line, BatchRecord):
                batches.setdefault(line.batch, Batch(line))
        for line in lines:
            match line:
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
