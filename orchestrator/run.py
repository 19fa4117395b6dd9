"""Running bursts: the lock, the tools, one cycle or several in a row, the record and the report."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from orchestrator import pacing
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.address import parse_address
from orchestrator.cycle import Cycle
from orchestrator.errors import BurstError, ServerDown, StopBurst, TransientError, UsageError
from orchestrator.outputs import Outputs
from orchestrator.progress import Silent
from orchestrator.prompts import Prompts
from orchestrator.report import BurstReport, exit_code_of
from orchestrator.request import Request
from orchestrator.settings import DEFAULT_STATE, Overrides, Settings, load_settings
from orchestrator.wording import counted
from orchestrator.workbench import Progress, Tally, Workbench
from state.burst_log import BurstLog, BurstRecord
from state.burst_log import Ending as RecordedEnding
from state.item import Status, remaining
from state.json_store import JsonStore
from state.run_lock import Holder, RunLock

_QUICK_REWRITE_SECONDS = 0.2
_RECORDED: dict[str, RecordedEnding] = {"done": "done", "deadline": "deadline", "stopped": "stopped"}


def run_burst(
    state: Path | str = DEFAULT_STATE,
    *,
    size: int | Literal["auto"] = pacing.DEFAULT_SIZE,
    server: str | None = None,
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
        servers=(server,) if server is not None else (),
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
    """One call of `burst run`. `execute` may be called once; `abandon` from another thread at any time."""

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
        self._store: JsonStore | None = None
        self._outputs: Outputs | None = None

    def execute(self) -> BurstReport:
        """Take the lock, work, record, report.

        Errors before any work: ConfigurationError, LockHeld. What stops a burst in the middle is in the report.
        """
        settings = load_settings(self._request.state, self._request.overrides)
        server = _the_one_server(settings)
        self._store = store = JsonStore.open(self._request.state, clock=self._clock)
        lock, log = RunLock(store.folder), BurstLog(store.folder)
        try:
            prompts = Prompts(template=settings.template, bindings=settings.bindings, home=store.path.parent)
            prompts.check()
            headers = settings.resolved_headers()
            killed = lock.acquire(wait_seconds=self._request.wait_lock_seconds)
            if killed is not None:
                _record_killed(log, *killed)
            store.refresh()
            self._outputs = Outputs(settings.output_dir, overwrite=self._request.overwrite)
            started = self._clock.monotonic()
            deadline = None if self._request.max_seconds is None else started + self._request.max_seconds
            with ComfyUI(server, headers=headers, deadline=deadline, stop=self._stop, clock=self._clock) as client:
                tools = _Tools(store, lock, log, client, prompts, self._outputs)
                return self._bursts(tools, started=started, deadline=deadline)
        finally:
            lock.release()
            store.close()

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now: let an append that is under way finish, leave no temporary file."""
        if self._store is not None:
            self._store.stop_writing(timeout_seconds=timeout_seconds)
        if self._outputs is not None:
            self._outputs.abandon()

    def _bursts(self, tools: _Tools, *, started: float, deadline: float | None) -> BurstReport:
        """One burst, or one after the other until nothing is left."""
        request = self._request
        whole, pace, count = Tally(), pacing.Pace(), 0
        while True:
            bench = self._bench(tools, pace)
            if request.abandon_server is not None and count == 0:
                _abandon(bench, request.abandon_server)
            ended = self._burst(tools, bench, deadline)
            whole.add(bench.tally)
            count += 1
            goes_on = request.until_done and ended.how == "done" and bench.tally.ended
            if not (goes_on and remaining(tools.store.counts())):
                return _report(bench, whole, ended, bursts=count, seconds=self._clock.monotonic() - started)

    def _bench(self, tools: _Tools, pace: pacing.Pace) -> Workbench:
        return Workbench(
            store=tools.store,
            client=tools.client,
            outputs=tools.outputs,
            prompts=tools.prompts,
            options=self._request.options(tools.log.read()),
            clock=self._clock,
            stop=self._stop,
            progress=self._progress,
            pace=pace,
        )

    def _burst(self, tools: _Tools, bench: Workbench, deadline: float | None) -> _Ended:
        """One cycle, with its record in bursts.jsonl."""
        burst, started_at, started = uuid.uuid4().hex[:8], self._clock.now(), self._clock.monotonic()
        tools.lock.hold(burst=burst, started_at=started_at, size=bench.options.size)
        how, error = self._cycle(bench, deadline)
        error = self._settle(tools.store, bench.tally, error, stopped=how == "stopped")
        record = BurstRecord(
            burst=burst,
            started_at=started_at,
            ended_at=self._clock.now(),
            ended=_RECORDED.get(how, "error"),
            size=bench.options.size,
            completed=bench.tally.completed,
            failed=bench.tally.failed,
            recovered=bench.tally.recovered,
            seconds=round(self._clock.monotonic() - started, 3),
            seconds_per_item=bench.pace.seconds_per_item,
            reason=str(error) if error is not None else None,
        )
        try:
            tools.log.append(record)
        except StopBurst as full:
            error = error or full
        return _Ended(burst, "error" if error is not None else how, error)

    def _cycle(self, bench: Workbench, deadline: float | None) -> tuple[str, BurstError | None]:
        """How the cycle ended, and what ended it early."""
        error: BurstError | None = None
        how = "error"
        try:
            how = Cycle(bench, deadline=deadline).run()
        except TransientError as transient:
            error = ServerDown(str(transient))
        except BurstError as other:
            error = other
        return ("stopped", None) if self._stop.is_set() else (how, error)

    def _settle(self, store: JsonStore, tally: Tally, error: BurstError | None, *, stopped: bool) -> BurstError | None:
        """Bring the state file up to date; when told to stop, only where that is quick."""
        if not (stopped and store.rewrite_seconds > _QUICK_REWRITE_SECONDS):
            try:
                store.settle(at_end=True)
            except BurstError as unsettled:
                error = error or unsettled
        for edit in store.hand_edits:
            tally.note(edit)
        return error


@dataclass(frozen=True)
class _Tools:
    """What lives as long as the lock is held."""

    store: JsonStore
    lock: RunLock
    log: BurstLog
    client: ComfyUI
    prompts: Prompts
    outputs: Outputs


@dataclass(frozen=True)
class _Ended:
    """How a burst ended."""

    burst: str
    how: str
    error: BurstError | None


def _the_one_server(settings: Settings) -> str:
    if len(settings.servers) != 1:
        raise UsageError(f"one server at a time: {', '.join(settings.servers)} were named; say one --server")
    return settings.servers[0]


def _abandon(bench: Workbench, server: str) -> None:
    """Give up what is submitted to a server: due again, and possibly rendered twice."""
    url = parse_address(server).url
    items = [item for item in bench.store.items(Status.SUBMITTED) if item.server == url]
    for item in items:
        bench.put_back(item, charge=False)
    bench.tally.note(
        f"{counted(len(items))} submitted to {url} given up; what it still renders of them is rendered twice."
    )


def _record_killed(log: BurstLog, holder: Holder, last_alive: datetime) -> None:
    """Write the record that a killed burst could not write. Safe to repeat."""
    if any(record.burst == holder.burst for record in log.read(last=1)):
        return
    record = BurstRecord(
        burst=holder.burst,
        started_at=holder.started_at,
        ended_at=last_alive,
        ended="killed",
        size=holder.size,
        seconds=holder.lived_seconds(last_alive),
    )
    log.append(record)


def _report(bench: Workbench, whole: Tally, ended: _Ended, *, bursts: int, seconds: float) -> BurstReport:
    counts = bench.store.counts()
    following = bench.store.due(bench.options.size)
    per_item = seconds / whole.completed if whole.completed else bench.pace.seconds_per_item
    error = ended.error
    return BurstReport(
        burst=ended.burst,
        ended=ended.how,
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
        requests=bench.client.requests_made,
        output_dir=str(bench.outputs.output_dir),
        failures=tuple(whole.failures),
        notes=tuple(whole.notes),
    )
