"""Sums over all bursts of a state. They only grow, and what is new costs what is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from datetime import datetime, timedelta

from state.burst_record import BurstLog, BurstRecord
from state.holder import Holder

_FIRST_READ = 64
_ONE_START = timedelta(seconds=1)


class Totals:
    """Call `follow` with the log of the state; used by one thread at a time."""

    def __init__(self) -> None:
        self._stamp: Hashable = None
        self._known: BurstRecord | None = None
        """The last one that is counted."""
        self._clear()

    def _clear(self) -> None:
        self.bursts: Counter[str] = Counter()
        """By ending."""
        self._runs: Counter[str] = Counter()
        self._latest: dict[tuple[str | None, int | None], BurstRecord] = {}
        """By host and process: the last burst of its run."""
        self.completed = self.failed = self.recovered = self.retries = 0
        self.rendered_twice = self.possibly_twice = self.bytes = self.checkpoints = self.timed = 0
        self.burst_seconds = self.checkpoint_seconds = 0.0
        self.server_seconds: Counter[str] = Counter()
        """By server: time in which it rendered."""
        self.last_completed_at: datetime | None = None
        """The end of the last burst in which any item was completed."""

    def follow(self, log: BurstLog) -> None:
        """Count the bursts that have ended since. Errors: StateError."""
        stamp = log.stamp()
        if stamp == self._stamp:
            return
        for record in self._new(log):
            self._count(record)
            self._known = record
        self._stamp = stamp

    def runs(self, at_work: Collection[Holder]) -> Counter[str]:
        """Runs that have ended, by ending: how the last burst of each did. `at_work`: those that go on."""
        found = Counter(self._runs)
        for holder in at_work:
            last = self._latest.get((holder.host, holder.pid))
            if last is not None and _is_of(last, holder):
                found[last.ended] -= 1
        return found

    def _new(self, log: BurstLog) -> Sequence[BurstRecord]:
        """Those behind the last one that is counted; all, counted from the beginning, where that is gone."""
        count, before = _FIRST_READ, -1
        while True:
            records = log.read(last=count)
            if self._known is not None and self._known in records:
                last = len(records) - 1 - records[::-1].index(self._known)
                return records[last + 1 :]
            if len(records) == before:
                self._clear()
                return records
            count, before = count * 8, len(records)

    def _count(self, record: BurstRecord) -> None:
        self.bursts[record.ended] += 1
        place = record.host, record.pid
        before = self._latest.get(place)
        if before is not None and _began_together(before, record):
            self._runs[before.ended] -= 1
        self._runs[record.ended] += 1
        self._latest[place] = record
        completed = record.rendered or record.completed
        self.completed += completed
        self.failed += record.failed
        self.recovered += record.recovered
        self.retries += record.put_back
        self.rendered_twice += record.rendered_twice
        self.possibly_twice += record.possibly_twice
        self.bytes += record.bytes
        self.checkpoints += record.checkpoints
        self.checkpoint_seconds += record.checkpoint_seconds
        self.burst_seconds += record.seconds
        self.timed += completed if record.server_seconds else 0
        for server, seconds in record.server_seconds.items():
            self.server_seconds[server] += seconds  # type: ignore[assignment]
        if completed:
            self.last_completed_at = record.ended_at


def _began_together(one: BurstRecord, other: BurstRecord) -> bool:
    began = one.run_started_at, other.run_started_at
    return None not in began and abs(began[0] - began[1]) < _ONE_START  # type: ignore[operator]


def _is_of(record: BurstRecord, holder: Holder) -> bool:
    began, started = record.run_started_at, holder.run_started_at
    return began is not None and started is not None and abs(began - started) < _ONE_START
