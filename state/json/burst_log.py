"""bursts.jsonl: one record for each burst, including killed ones."""

from __future__ import annotations

from pathlib import Path

from state.burst_record import MEMORY_RECORDS, BurstRecord
from state.disk import Disk, Stamp
from state.json.line_log import LineLog

_RECORD_BYTES = 768
_LEAST_BYTES = 64 * 1024


class JsonBurstLog:
    """See `state.burst_record.BurstLog`."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._log = LineLog(folder / "bursts.jsonl", BurstRecord, disk=disk)

    @property
    def path(self) -> Path:
        return self._log.path

    def stamp(self) -> Stamp | None:
        return self._log.stamp()

    def append(self, record: BurstRecord) -> None:
        self._log.append(record)

    def read(self, *, last: int = MEMORY_RECORDS) -> list[BurstRecord]:
        return list(self._log.read(last_bytes=max(last * _RECORD_BYTES, _LEAST_BYTES)))[-last:]
