"""The bursts of a state, one row each: those on record, one that was killed and is not on record yet, those at work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from orchestrator.burst_endings import TEXTS, text_of
from orchestrator.formatting import spoken_seconds
from orchestrator.servers import host_name
from state.burst_record import BurstRecord, Ending
from state.holder import Holder
from state.store import StateParts

if TYPE_CHECKING:
    from orchestrator.documents.history import BurstDocument


@dataclass(frozen=True)
class BurstRow:
    """One burst. Times of one at work are None as far as they lie ahead."""

    burst: str
    host: str | None
    started_at: datetime
    ended_at: datetime | None
    ended: Ending | Literal["running"]
    size: int
    completed: int | None
    """None where nobody counted: it is at work, or was killed."""
    failed: int | None
    recovered: int | None
    seconds: float | None
    signal: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, record: BurstRecord) -> BurstRow:
        is_counted = record.ended != "killed"
        return cls(
            burst=record.burst,
            host=host_name(record.host) if record.host is not None else None,
            started_at=record.started_at,
            ended_at=record.ended_at,
            ended=record.ended,
            size=record.size,
            completed=record.completed if is_counted else None,
            failed=record.failed if is_counted else None,
            recovered=record.recovered if is_counted else None,
            seconds=record.seconds,
            signal=record.signal,
            reason=record.reason,
        )

    @classmethod
    def at_work(cls, holder: Holder) -> BurstRow:
        return cls(
            burst=holder.burst,
            host=host_name(holder.host),
            started_at=holder.started_at,
            ended_at=None,
            ended="running",
            size=holder.size,
            completed=None,
            failed=None,
            recovered=None,
            seconds=None,
        )

    @property
    def ended_text(self) -> str:
        """How it ended, for people."""
        return TEXTS["running"] if self.ended == "running" else text_of(self.ended, self.reason)

    def as_json(self) -> BurstDocument:
        return {
            "burst": self.burst,
            "host": self.host,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at is not None else None,
            "seconds": self.seconds,
            "ended": self.ended,
            "signal": self.signal,
            "reason": self.reason,
            "size": self.size,
            "completed": self.completed,
            "failed": self.failed,
            "recovered": self.recovered,
        }

    def as_text(self) -> str:
        """`2026-11-30 06:01:07  4f3a9c21 on render1, 12.0 s: 15 completed, 1 failed; done`."""
        when = (self.ended_at or self.started_at).astimezone()
        where = f" on {self.host}" if self.host is not None else ""
        took = f", {spoken_seconds(self.seconds)}" if self.seconds is not None else ""
        done = f": {self.completed} completed" if self.completed is not None else ""
        done += f", {self.failed} failed" if self.failed else ""
        why = f": {self.reason}" if self.reason is not None else ""
        return f"{when:%Y-%m-%d %H:%M:%S}  {self.burst}{where}{took}{done}; {self.ended_text}{why}"


def burst_rows(parts: StateParts, records: Iterable[BurstRecord]) -> list[BurstRow]:
    """`records`: those to show of the bursts on record, oldest first. Takes no lock."""
    rows = [BurstRow.of(record) for record in records]
    holders = parts.holders()
    return [*rows, *map(BurstRow.of, parts.killed_bursts()), *map(BurstRow.at_work, holders)]
