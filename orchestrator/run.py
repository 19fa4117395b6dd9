"""Running bursts: the lock, the servers, one burst or several in a row, the record and the report."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from orchestrator import pacing
from orchestrator.clock import Clock
from orchestrator.cycle import Cycle, Ending
from orchestrator.errors import BurstError, ServerDown, StopBurst, TransientError
from orchestrator.lane import Lane
from orchestrator.outputs import Outputs
from orchestrator.progress import Silent
from orchestrator.prompts import Prompts
from orchestrator.report import BurstReport, exit_code_of
from orchestrator.request import Request
from orchestrator.servers import Shared, open_lanes
from orchestrator.settings import DEFAULT_STATE, Overrides, Settings, load_settings
from orchestrator.wording import spoken_seconds
from orchestrator.work import Progress, Work
from orchestrator.workbench import Tally
from state.burst_log import BurstLog, BurstRecord
from state.burst_log import Ending as RecordedEnding
from state.item import remaining
from state.json_store import JsonStore
from state.run_lock import Holder, RunLock

_QUICK_REWRITE_SECONDS = 0.2
_RECORDED: dict[str, RecordedEnding] = {"done": "done", "deadline": "deadline", "stopped": "stopped"}


def run_burst(
    state: Path | str = DEFAULT_STATE,
    *,
    size: int | Literal["auto"] = pacing.DEFAULT_SIZE,
    server: str | Sequence[str] | None = None,
    template: str | None = None,
    output_dir: Path | str | None = None,
    bindings: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    poll_seconds: float = pacing.DEFAULT_POLL_SECONDS,
    max_seconds: float | None = None,
    until_done: bool = False,
    ahead: int = 0,
    wait_lock_seconds: float = 0.0,
    max_attempts: int = 3,
    on_error: Literal["stop", "continue"] = "continue",
    overwrite: bool = False,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> BurstReport:
    """One burst over a state file, as `burst run` does it. What is not said comes from `init` and the environment.

    Safe to repeat and to kill at any time. Set `stop` from another thread to end it after its next checkpoint.
    Errors: LockHeld when another burst works on this state; ConfigurationError and its kinds when something must be
    mended first. What stops a burst in the middle (server down, disk full) is in the report's `reason`.
    """
    overrides = Overrides(
        template=template,
        output_dir=Path(output_dir) if output_dir is not None else None,
        servers=(server,) if isinstance(server, str) else tuple(server or ()),
        bindings=bindings or {},
        headers=headers or {},
    )
    request = Request(
        state=Path(state),
        size=size,
        poll_seconds=poll_seconds,
        max_seconds=max_seconds,
        until_done=until_done,
        ahead=ahead,
        wait_lock_seconds=wait_lock_seconds,
        max_attempts=max_attempts,
        on_error=on_error,
        overwrite=overwrite,
        overrides=overrides,
    )
    return Run(request, stop=stop, progress=progress).execute()


class Run:
    """One call of `burst run`. `execute` may be called once; `request_stop` and `abandon` from another thread."""

    def __init__(
        self,
        request: Request,
        *,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._request = request.checked()
        self._stop = stop or threading.Event()
        self._progress = progress or Silent()
        self._clock = clock or Clock()
        self._started, self._started_at = self._clock.monotonic(), self._clock.now()
        self._signal: str | None = None
        self._notes = Tally()
        self._store: JsonStore | None = None
        self._outputs: Outputs | None = None
        self._work: Work | None = None

    def execute(self) -> BurstReport:
        """Take the lock, work, record, report.

        Errors before any work: ConfigurationError, LockHeld. What stops a burst in the middle is in the report.
        """
        settings = load_settings(self._request.state, self._request.overrides)
        self._store = store = JsonStore.open(self._request.state, clock=self._clock)
        lock, log = RunLock(store.folder), BurstLog(store.folder)
        try:
            prompts = Prompts(template=settings.template, bindings=settings.bindings, home=store.path.parent)
            prompts.check()
            killed = lock.acquire(wait_seconds=self._request.wait_lock_seconds)
            if killed is not None:
                _record_killed(log, *killed)
            store.refresh()
            memory = _Memory(log, log.read())
            limit = self._limit(memory.records)
            deadline = None if limit is None else self._started + limit
            with self._lanes(settings, prompts, deadline) as lanes:
                return self._bursts(lanes, lock, memory, deadline)
        finally:
            if self._outputs is not None:
                self._outputs.abandon()
            lock.release()
            store.close()

    def request_stop(self, signal: str | None = None) -> None:
        """End after the next checkpoint. `signal`: the name of the one that asked for it."""
        self._signal = signal
        self._stop.set()
        if self._work is not None:
            self._work.changed.set()

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now: let an append that is under way finish, leave no temporary file."""
        if self._store is not None:
            self._store.stop_writing(timeout_seconds=timeout_seconds)
        if self._outputs is not None:
            self._outputs.abandon()

    def _limit(self, records: Sequence[BurstRecord]) -> float | None:
        """How many seconds this run may live: what was said, or what killed runs have taught; 0 said is no limit."""
        if self._request.max_seconds is not None:
            return self._request.max_seconds or None
        learned = pacing.learned_limit(records)
        return learned.usable_seconds if learned is not None else None

    @contextmanager
    def _lanes(self, settings: Settings, prompts: Prompts, deadline: float | None) -> Iterator[list[Lane]]:
        assert self._store is not None
        request = self._request
        self._outputs = Outputs(settings.output_dir, overwrite=request.overwrite)
        self._work = Work(
            self._store,
            progress=self._progress,
            ahead=request.ahead,
            until_done=request.until_done,
            on_error=request.on_error,
        )
        shared = Shared(
            store=self._store,
            outputs=self._outputs,
            prompts=prompts,
            work=self._work,
            options=request.options(),
            clock=self._clock,
            note=self._notes.note,
        )
        with open_lanes(settings, shared, deadline=deadline, abandon=request.abandon_server) as lanes:
            yield lanes

    def _bursts(self, lanes: Sequence[Lane], lock: RunLock, memory: _Memory, deadline: float | None) -> BurstReport:
        """One burst, or one after the other until nothing is left."""
        assert self._store is not None
        assert self._work is not None
        store, work = self._store, self._work
        cycle = Cycle(lanes, work, store, clock=self._clock, stop=self._stop, deadline=deadline)
        count = 0
        while True:
            left = None if deadline is None else deadline - self._clock.monotonic()
            size = self._request.burst_size(memory.records, seconds=left)
            ended = self._burst(cycle, lanes, lock, memory, size)
            count += 1
            goes_on = self._request.until_done and ended.how == "done" and work.ended_in_burst
            if not (goes_on and remaining(store.counts())):
                break
        cycle.close(None if ended.how == "error" else ended.how)
        error = self._settle(ended)
        if ended.how == "deadline" and self._request.max_seconds is None:
            self._notes.note(_ended_by_habit(memory.records))
        return self._report(lanes, _Ended(ended.burst, ended.how, error), bursts=count, size=size)

    def _burst(self, cycle: Cycle, lanes: Sequence[Lane], lock: RunLock, memory: _Memory, size: int) -> _Ended:
        """One burst, with its record in bursts.jsonl."""
        burst, started_at, started = uuid.uuid4().hex[:8], self._clock.now(), self._clock.monotonic()
        lock.hold(burst=burst, started_at=started_at, size=size, run_started_at=self._started_at)
        before = memory.told
        how, error = self._cycle(cycle, size)
        done = memory.told = Tally.of(lane.bench.tally for lane in lanes)
        record = BurstRecord(
            burst=burst,
            started_at=started_at,
            ended_at=self._clock.now(),
            ended=_RECORDED.get(how, "error"),
            size=size,
            completed=done.completed - before.completed,
            failed=done.failed - before.failed,
            recovered=done.recovered - before.recovered,
            seconds=round(self._clock.monotonic() - started, 3),
            alive_seconds=round(self._age(), 3),
            seconds_per_item=_together(lanes),
            signal=self._signal if how == "stopped" else None,
            reason=str(error) if error is not None else None,
        )
        try:
            memory.add(record)
        except StopBurst as full:
            error = error or full
        return _Ended(burst, how, error)

    def _cycle(self, cycle: Cycle, size: int) -> tuple[Ending | Literal["error"], BurstError | None]:
        """How the burst ended, and what ended it early."""
        error: BurstError | None = None
        how: Ending | Literal["error"] = "error"
        try:
            how = cycle.burst(size)
        except TransientError as transient:
            error = ServerDown(str(transient))
        except BurstError as other:
            error = other
        return ("stopped", None) if self._stop.is_set() else (how, error)

    def _settle(self, ended: _Ended) -> BurstError | None:
        """Bring the state file up to date; when told to stop, only where that is quick. What ended the run early."""
        assert self._store is not None
        error = ended.error
        if not (ended.how == "stopped" and self._store.rewrite_seconds > _QUICK_REWRITE_SECONDS):
            try:
                self._store.settle(at_end=True)
            except BurstError as unsettled:
                error = error or unsettled
        for edit in self._store.hand_edits:
            self._notes.note(edit)
        return error

    def _age(self) -> float:
        """Seconds since this run began."""
        return self._clock.monotonic() - self._started

    def _report(self, lanes: Sequence[Lane], ended: _Ended, *, bursts: int, size: int) -> BurstReport:
        assert self._store is not None
        assert self._outputs is not None
        whole = Tally.of([self._notes, *(lane.bench.tally for lane in lanes)])
        counts = self._store.counts()
        following = self._store.due(size)
        seconds = self._age()
        per_item = seconds / whole.completed if whole.completed else _together(lanes)
        error = ended.error
        return BurstReport(
            burst=ended.burst,
            ended="error" if error is not None else ended.how,
            reason=str(error) if error is not None else None,
            exit_code=error.exit_code if error is not None else exit_code_of(failed=whole.failed),
            bursts=bursts,
            completed=whole.completed,
            failed=whole.failed,
            cancelled=whole.cancelled,
            recovered=whole.recovered,
            rescued=whole.rescued,
            put_back=whole.put_back,
            rendered_twice=whole.rendered_twice,
            counts=counts,
            next_batch=tuple(item.key for item in following),
            next_batch_size=len(following),
            seconds=seconds,
            seconds_per_item=per_item,
            seconds_left=per_item * remaining(counts) if per_item is not None else None,
            requests=sum(lane.bench.client.requests_made for lane in lanes),
            output_dir=str(self._outputs.output_dir),
            servers=tuple(lane.report() for lane in lanes),
            failures=tuple(whole.failures),
            notes=tuple(whole.notes),
        )


@dataclass
class _Memory:
    """The bursts that were, this run's own included."""

    log: BurstLog
    records: list[BurstRecord]
    told: Tally = field(default_factory=Tally)
    """What the records of this run have told so far."""

    def add(self, record: BurstRecord) -> None:
        """Errors: DiskFull."""
        self.records.append(record)
        self.log.append(record)


@dataclass(frozen=True)
class _Ended:
    """How a burst ended."""

    burst: str
    how: Ending | Literal["error"]
    error: BurstError | None


def _together(lanes: Sequence[Lane]) -> float | None:
    """Seconds from one completion to the next, all servers working side by side."""
    paces = [pace for lane in lanes if (pace := lane.bench.pace.seconds_per_item)]
    return 1 / sum(1 / pace for pace in paces) if paces else None


def _ended_by_habit(records: Sequence[BurstRecord]) -> str:
    learned = pacing.learned_limit(records)
    killed = f"after about {spoken_seconds(learned.seconds)}" if learned is not None else "early"
    return f"This run ended by itself, because runs here are killed {killed}; --max-seconds says otherwise (0: no end)."


def _record_killed(log: BurstLog, holder: Holder, last_alive: datetime) -> None:
    """Write the record that a killed burst could not write. Safe to repeat."""
    if not any(record.burst == holder.burst for record in log.read(last=1)):
        log.append(holder.killed_record(last_alive))
