"""Sums over all bursts of a state. They only grow, and what is new costs what is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from state.burst_record import BurstLog, BurstRecord, Ending
from state.holder import Holder
from state.item import UtcTime

_FIRST_READ = 64
_ONE_START = timedelta(seconds=1)
_RUNS_KNOWN = 1000
"""More runs do not take turns in one state."""


class LastBurst(msgspec.Struct, frozen=True):
    """The last burst of a run."""

    ended: Ending
    run_started_at: UtcTime | None


class Sums(msgspec.Struct):
    """What was counted."""

    bursts: dict[str, int] = {}
    """By ending."""
    runs: dict[str, int] = {}
    """By how the last burst ended, those at work too."""
    latest: dict[str, LastBurst] = {}
    """By host and process, of the runs that wrote last."""
    completed: int = 0
    failed: int = 0
    recovered: int = 0
    retries: int = 0
    rendered_twice: int = 0
    possibly_twice: int = 0
    bytes: int = 0
    checkpoints: int = 0
    timed: int = 0
    """Completed items whose seconds on the server are known."""
    burst_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    server_seconds: dict[str, float] = {}
    """By server: time in which it rendered."""
    last_completed_at: UtcTime | None = None
    """The end of the last burst in which any item was completed."""


class Totals:
    """Call `follow` with the log of the state; used by one thread at a time."""

    def __init__(self, sums: Sums | None = None, *, known: BurstRecord | None = None) -> None:
        """`sums`: what was counted up to the record `known`."""
        self.sums = sums or Sums()
        self.known = known
        """The last one that is counted."""
        self._stamp: Hashable = None

    def follow(self, log: BurstLog) -> None:
        """Count the bursts that have ended since. Errors: StateError."""
        stamp = log.stamp()
        if stamp == self._stamp:
            return
        for record in self._new(log):
            self._count(record)
            self.known = record
        self._stamp = stamp

    def runs(self, at_work: Collection[Holder]) -> Counter[str]:
        """Runs that have ended, by ending: how the last burst of each did. `at_work`: those that go on."""
        found = Counter(self.sums.runs)
        for holder in at_work:
            last = self.sums.latest.get(_place(holder.host, holder.pid))
            if last is not None and _began_together(last.run_started_at, holder.run_started_at):
                found[last.ended] -= 1
        return found

    def _new(self, log: BurstLog) -> Sequence[BurstRecord]:
        """Those behind the last one that is counted; all, counted from the beginning, where that is gone."""
        count, before = _FIRST_READ, -1
        while True:
            records = log.read(last=count)
            if self.known is not None and self.known in records:
                last = len(records) - 1 - records[::-1].index(self.known)
                return records[last + 1 :]
            if len(records) == before:
                self.sums = Sums()
                return records
            count, before = count * 8, len(records)

    def _count(self, record: BurstRecord) -> None:
        sums = self.sums
        _add(sums.bursts, record.ended, 1)
        place = _place(record.host, record.pid)
        before = sums.latest.pop(place, None)
        if before is not None and _began_together(before.run_started_at, record.run_started_at):
            _add(sums.runs, before.ended, -1)
        _add(sums.runs, record.ended, 1)
        sums.latest[place] = LastBurst(record.ended, record.run_started_at)
        if len(sums.latest) > _RUNS_KNOWN:
            del sums.latest[next(iter(sums.latest))]
        completed = record.rendered or record.completed
        sums.completed += completed
        sums.failed += record.failed
        sums.recovered += record.recovered
        sums.retries += record.put_back
        sums.rendered_twice += record.rendered_twice
        sums.possibly_twice += record.possibly_twice
        sums.bytes += record.bytes
        sums.checkpoints += record.checkpoints
        sums.checkpoint_seconds += record.checkpoint_seconds
        sums.burst_seconds += record.seconds
        sums.timed += completed if record.server_seconds else 0
        for server, seconds in record.server_seconds.items():
            _add(sums.server_seconds, server, seconds)
        if completed:
            sums.last_completed_at = record.ended_at


_N = TypeVar("_N", int, float)


def _add(counter: dict[str, _N], name: str, more: _N) -> None:
    counter[name] = counter.get(name, 0) + more


def _place(host: str | None, pid: int | None) -> str:
    return f"{host or ''} {pid or ''}"


def _began_together(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and abs(one - other) < _ONE_START
