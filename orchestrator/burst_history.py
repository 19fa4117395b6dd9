"""`burst log`: what the runs of a state did since some time, from the records that they left."""

from __future__ import annotations

import heapq
import itertools
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.batches.cleaning import parse_duration
from orchestrator.burst_endings import text_of
from orchestrator.clock import Clock
from orchestrator.errors import UsageError, located
from orchestrator.failures import Failures, failures_by_kind
from orchestrator.formatting import counted, in_lines, spoken_seconds
from orchestrator.status import StatusReport, status_of
from orchestrator.wording import named
from state.burst_record import BurstRecord, Ending, records_since, runs_of
from state.item import Item, Status, UtcTime
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import EndingDocument, LogDocument

_MOST_STRETCHES = 10
_KINDS_SHOWN = 3
_NOTES_SHOWN = 2
_SLOWEST = 3
_REASON_SHOWN = 160


class _Completed(msgspec.Struct, frozen=True, gc=False):
    """What the record of an item says about its completion."""

    status: Status
    completed_at: UtcTime | None = None
    completed_by: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Run:
    """One process: its bursts, as one."""

    started_at: datetime
    ended_at: datetime
    ended: Ending
    """How its last burst ended."""
    reason: str | None
    bursts: int
    completed: int
    failed: int

    @classmethod
    def of(cls, bursts: Sequence[BurstRecord]) -> Run:
        last = bursts[-1]
        return cls(
            started_at=bursts[0].started_at,
            ended_at=last.ended_at,
            ended=last.ended,
            reason=last.reason or last.signal,
            bursts=len(bursts),
            completed=sum(burst.completed for burst in bursts),
            failed=sum(burst.failed for burst in bursts),
        )


@dataclass(frozen=True)
class Stretch:
    """Runs that ended alike: one after the other, unless `is_scattered`."""

    runs: tuple[Run, ...]
    is_scattered: bool = False
    """Runs that ended otherwise lie between them."""

    @property
    def completed(self) -> int:
        return sum(run.completed for run in self.runs)

    @property
    def failed(self) -> int:
        return sum(run.failed for run in self.runs)

    def as_json(self) -> EndingDocument:
        first, last = self.runs[0], self.runs[-1]
        return {
            "started_at": first.started_at.isoformat(),
            "ended_at": last.ended_at.isoformat(),
            "runs": len(self.runs),
            "bursts": sum(run.bursts for run in self.runs),
            "ended": last.ended,
            "reason": last.reason,
            "completed": self.completed,
            "failed": self.failed,
            "scattered": self.is_scattered,
        }

    def as_text(self, *, dated: bool = False) -> str:
        """`00:10–06:50  37 runs, done: 412 completed`; `dated`: always with the day."""
        first, last = self.runs[0], self.runs[-1]
        failed = f", {self.failed} failed" if self.failed else ""
        reason = f"; {_shortened(last.reason)}" if last.reason is not None else ""
        between = ", others between them" if self.is_scattered else ""
        runs = f"{counted(len(self.runs), 'run')}, {text_of(last.ended, last.reason)}{between}"
        return (
            f"{_span(first.started_at, last.ended_at, dated=dated)}  {runs}: {self.completed} completed{failed}{reason}"
        )


@dataclass(frozen=True)
class History:
    """What happened since `since`. Times in seconds."""

    state: Path
    since: datetime
    until: datetime
    runs: tuple[Run, ...]
    stretches: tuple[Stretch, ...]
    """The runs, oldest first, folded where they ended alike."""
    failures: dict[str, Failures]
    """Kind of error → the items that stand failed; empty where none failed since then."""
    notes: tuple[str, ...]
    slowest: tuple[Item, ...]
    """Completed since then, slowest first."""
    mean_seconds: float | None
    """What an item that was completed since then took on the server."""
    gaps: tuple[tuple[datetime, datetime], ...]
    """Between two runs: no run was at work."""
    status: StatusReport

    @property
    def completed(self) -> int:
        return sum(run.completed for run in self.runs)

    @property
    def failed(self) -> int:
        return sum(run.failed for run in self.runs)

    @property
    def bursts(self) -> int:
        return sum(run.bursts for run in self.runs)

    @property
    def idle_seconds(self) -> float:
        return sum(_length(gap) for gap in self.gaps)

    @property
    def fruitless_seconds(self) -> float:
        """The length of the runs that ended no item."""
        return sum(_length((run.started_at, run.ended_at)) for run in self.runs if not run.completed + run.failed)

    def as_json(self) -> LogDocument:
        longest = self._longest_gap()
        return {
            "schema": "burst.log/1",
            "state": str(self.state),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "runs": len(self.runs),
            "bursts": self.bursts,
            "completed": self.completed,
            "failed": self.failed,
            "endings": [stretch.as_json() for stretch in self.stretches],
            "failures": [
                {"kind": kind, "count": found.count, "item": found.example, "message": found.message}
                for kind, found in self.failures.items()
            ],
            "notes": list(self.notes),
            "slowest": [{"item": item.key, "seconds": item.seconds} for item in self.slowest],
            "mean_seconds": self.mean_seconds,
            "idle_seconds": round(self.idle_seconds, 3),
            "longest_gap": [moment.isoformat() for moment in longest] if longest else None,
            "fruitless_seconds": round(self.fruitless_seconds, 3),
            "running": self.status.holders[0].describe() if self.status.holders else None,
            "remaining": self.status.remaining,
        }

    def as_text(self) -> str:
        """At most 20 lines for a person, times local."""
        lines = [self._headline(), *(f"  {stretch.as_text(dated=self._is_of_days)}" for stretch in self.stretches)]
        lines += self._failure_lines()
        lines += [f"Note: {note}" for note in self.notes[:_NOTES_SHOWN]]
        if self.slowest:
            slowest = ", ".join(f"{item.key} {spoken_seconds(item.seconds or 0.0)}" for item in self.slowest)
            lines.append(f"Slowest: {slowest}; on average {spoken_seconds(self.mean_seconds or 0.0)}")
        lines += self._waiting_lines()
        if self.status.holders:
            lines.append(f"At work: {self.status.holders[0].describe()}")
        return in_lines([*lines, f"Now: {self.status.next_line()}"])

    @property
    def _is_of_days(self) -> bool:
        """A time of day alone would not say when."""
        return self.until - self.since > timedelta(days=1, hours=1)

    def _headline(self) -> str:
        since = f"Since {_minute(self.since)}"
        if not self.runs:
            return f"{since}: no run ended"
        failed = f", {self.failed} failed" if self.failed else ""
        bursts = f" ({self.bursts} bursts)" if self.bursts > len(self.runs) else ""
        return f"{since}: {self.completed} completed{failed} in {counted(len(self.runs), 'run')}{bursts}"

    def _failure_lines(self) -> list[str]:
        kinds = sorted(self.failures.items(), key=lambda entry: -entry[1].count)
        lines = [
            f"Failed: {found.count} × {kind}, such as {found.example}: {_shortened(found.message)}"
            for kind, found in kinds[:_KINDS_SHOWN]
        ]
        others = sum(found.count for _, found in kinds[_KINDS_SHOWN:])
        return lines + ([f"Failed: {others} of other kinds"] if others else [])

    def _waiting_lines(self) -> list[str]:
        parts = []
        if longest := self._longest_gap():
            when = _span(*longest, seconds=True, dated=self._is_of_days)
            parts.append(f"no run at work for {spoken_seconds(self.idle_seconds)} (longest {when})")
        if self.fruitless_seconds >= 1:
            parts.append(f"{spoken_seconds(self.fruitless_seconds)} in runs that finished no item")
        return [f"Waiting: {'; '.join(parts)}"] if parts else []

    def _longest_gap(self) -> tuple[datetime, datetime] | None:
        return max(self.gaps, key=_length, default=None)


def read_history(state: Path, since: datetime, *, clock: Clock | None = None) -> History:
    """What happened since then. Errors: StateError. Takes no lock and writes nothing."""
    clock = clock or Clock()
    with open_store(state, read_only=True, clock=clock) as store:
        return history_of(store, since=since, until=clock.now())


def history_of(store: Store, *, since: datetime, until: datetime) -> History:
    """The history of an open store."""
    status = status_of(store)
    records = records_since(store.bursts, since)
    records += [killed for killed in store.killed_bursts() if killed.ended_at >= since]
    completed = [
        (key, one)
        for key, one in store.parts(_Completed)
        if one.status is Status.COMPLETED and one.completed_at is not None and one.completed_at >= since
    ]
    records = _with_completed(records, [one for _, one in completed])
    runs = tuple(map(Run.of, runs_of(records)))
    timed = [(one.seconds, key) for key, one in completed if one.seconds is not None]
    slowest = [key for _, key in heapq.nlargest(_SLOWEST, timed, key=itemgetter(0))]
    has_failures = any(run.failed for run in runs)
    return History(
        state=store.location.path,
        since=since,
        until=until,
        runs=runs,
        stretches=tuple(folded(runs)),
        failures=failures_by_kind(store.items(Status.FAILED)) if has_failures else {},
        notes=(*_commands(store, since), *_notes(records)),
        slowest=tuple(store.get_many(slowest)),
        mean_seconds=sum(seconds for seconds, _ in timed) / len(timed) if timed else None,
        gaps=tuple(_gaps(runs)),
        status=status,
    )


def _gaps(runs: Iterable[Run]) -> Iterator[tuple[datetime, datetime]]:
    """Times between two runs in which no run was at work; some may have worked side by side."""
    in_order = sorted(runs, key=attrgetter("started_at"))
    ends = itertools.accumulate((run.ended_at for run in in_order), max)
    for ended_at, run in zip(ends, in_order[1:], strict=False):
        if run.started_at > ended_at:
            yield ended_at, run.started_at


def folded(runs: Sequence[Run], *, most: int = _MOST_STRETCHES) -> list[Stretch]:
    """The runs in at most `most` parts: neighbours that ended alike, or, where these are too many, all that did."""
    stretches = [Stretch(tuple(group)) for _, group in itertools.groupby(runs, key=_likeness)]
    likenesses: tuple[Callable[[Run], Hashable], ...] = (_likeness, _ended)
    for likeness in likenesses:
        if len(stretches) <= most:
            break
        stretches = _gathered(runs, likeness)
    return stretches


def _gathered(runs: Iterable[Run], likeness: Callable[[Run], Hashable]) -> list[Stretch]:
    """All runs that are alike as one each, in the order of their first run."""
    found: dict[Hashable, list[tuple[int, Run]]] = {}
    for number, run in enumerate(runs):
        found.setdefault(likeness(run), []).append((number, run))
    return [
        Stretch(tuple(run for _, run in alike), is_scattered=alike[-1][0] - alike[0][0] >= len(alike))
        for alike in found.values()
    ]


def _ended(run: Run) -> str:
    return run.ended


def _likeness(run: Run) -> tuple[str, str]:
    """How it ended, and why: numbers apart, such as those of seconds or ports."""
    return run.ended, re.sub(r"\d+", "#", run.reason or "")


def parse_since(text: str, *, name: str = "since", clock: Clock | None = None) -> datetime:
    """`2h` (ago), `1d`, `2026-11-30` or `2026-11-30T06:00`; local time where it names no zone. `name`: the parameter's.

    Errors: UsageError.
    """
    text = text.strip()
    if re.fullmatch(r"\d+\s*[a-zA-Z]+", text):
        with located(named(name, text), UsageError, OverflowError, into=UsageError):
            return (clock or Clock()).now() - parse_duration(text)
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"{named(name, text)}: expected a duration such as 2h, 1d or 1w, or a time such as "
            "2026-11-30 or 2026-11-30T06:00"
        ) from error


def _with_completed(records: Sequence[BurstRecord], completed: Sequence[_Completed]) -> list[BurstRecord]:
    """The same records; those of killed bursts, which could not count, with the items that were completed in them.

    Of items whose record does not name the burst: those that were completed before the next burst began.
    """
    by_burst = Counter(one.completed_by for one in completed)
    moments = sorted(one.completed_at for one in completed if one.completed_by is None and one.completed_at is not None)
    counted_records = []
    for record, after in itertools.zip_longest(records, records[1:]):
        if record.ended == "killed":
            end = bisect_left(moments, after.started_at) if after is not None else len(moments)
            unnamed = max(0, end - bisect_left(moments, record.started_at))
            record = msgspec.structs.replace(record, completed=by_burst[record.burst] + unnamed)
        counted_records.append(record)
    return counted_records


def _notes(records: Sequence[BurstRecord]) -> Iterable[str]:
    """Recipes that were set aside, each once; the latest reason counts."""
    found = {one.name: one.reason for record in records for one in record.set_aside}
    return (f"items made with {name} were set aside: {reason}" for name, reason in found.items())


def _commands(store: Store, since: datetime) -> Iterable[str]:
    """What became of commands that were to be run once a batch was done."""
    if not store.has_batches() or not any(batch.commands for batch in store.batches.read().values()):
        return ()
    from orchestrator.notifications.then_commands import command_notes

    return command_notes(store, since)


def _length(gap: tuple[datetime, datetime]) -> float:
    return max(0.0, (gap[1] - gap[0]).total_seconds())


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _span(start: datetime, end: datetime, *, seconds: bool = False, dated: bool = False) -> str:
    """`00:10–06:50`; with the day if `dated`, and where the two are on different ones."""
    start, end = start.astimezone(), end.astimezone()
    time = "%H:%M:%S" if seconds and end - start < timedelta(minutes=2) else "%H:%M"
    if dated or start.date() != end.date():
        time = f"%m-%d {time}"
    return f"{start:{time}}–{end:{time}}"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _REASON_SHOWN else f"{flat[: _REASON_SHOWN - 1]}…"
