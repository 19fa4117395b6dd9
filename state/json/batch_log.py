"""batches.jsonl: the batches of a state and what was noted about them since.

The line of a new batch is part of the journal's change set of its items and is moved here before that journal is
replaced. So a batch exists exactly when its items do, and notes about it may precede its own line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from state.batch import Batch, BatchChange, BatchNote, batches_of
from state.disk import Disk, Stamp
from state.json.line_log import LineLog
from state.write_lock import WriteLock


class JsonBatchLog:
    """See `state.batch.BatchLog`. Each append is made under write.lock."""

    def __init__(
        self, folder: Path, *, disk: Disk | None = None, in_journal: Callable[[], Sequence[bytes]] = tuple
    ) -> None:
        """`in_journal` returns the lines that the journal holds; a line may be in both files."""
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
        with WriteLock(self._folder, disk=self._disk):  # a new one each time: several threads may append
            self._log.append(*notes)

    def take_over(self, in_journal: Sequence[bytes]) -> None:
        """Append lines of a journal that is about to be replaced. Hold write.lock. Errors: DiskFull, SyncFailed."""
        self._log.append(*map(msgspec.Raw, in_journal))

    def read(self) -> dict[str, Batch]:
        # The journal is read first: a line that a hand-over has removed from it by then is already in the file.
        in_journal = self._log.decoded(self._in_journal())
        return batches_of([*self._log.read(), *in_journal])
