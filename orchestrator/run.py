"""Running bursts: the lock, the tools, one cycle or several in a row, the record and the report."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import templates
from orchestrator import pacing
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle import Cycle
from orchestrator.errors import BurstError, ItemError, ServerDown, StopBurst, TransientError, UsageError
from orchestrator.outputs import Outputs
from orchestrator.progress import Silent
from orchestrator.prompts import Prompts
from orchestrator.report import BurstReport, exit_code_of
from orchestrator.settings import DEFAULT_STATE, Overrides, Settings, load_settings
from orchestrator.workbench import Options, Progress, Tally, Workbench
from state.burst_log import BurstLog, BurstRecord
from state.burst_log import Ending as RecordedEnding
from state.item import Status
from state.json_store import JsonStore
from state.run_lock import Holder, RunLock

_QUICK_REWRITE_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """Everything that one call of `run` may say."""

    state: Path = Path(DEFAULT_STATE)
    size: int | Literal["auto"] = pacing.DEFAULT_SIZE
    poll_seconds: float = pacing.DEFAULT_POLL_SECONDS
    max_seconds: float | None = None
    until_done: bool = False
    ahead: int = 0
    wait_lock_seconds: float = 0.0
    max_attempts: int = 3
    on_error: Literal["stop", "continue"] = "continue"
    overwrite: bool = False
    abandon_server: str | None = None
    in_doubt_seconds: float = pacing.IN_DOUBT_SECONDS
    overrides: Overrides = field(default_factory=Overrides)

    def checked(self) -> Request:
        """Errors: UsageError that names the flag."""
        for name, value, least in (
            ("size", 1 if self.size == "auto" else self.size, 1),
            ("ahead", self.ahead, 0),
            ("max-attempts", self.max_attempts, 1),
        ):
            if value < least:
                raise UsageError(f"--{name}: {value} is too small; the least is {least}")
        if self.poll_seconds <= 0:
            raise UsageError(f"--poll-interval: {self.poll_seconds} is too small; say more than 0 seconds")
        return self


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
        self._lock: RunLock | None = None
        self._store: JsonStore | None = None
        self._outputs: Outputs | None = None

    def execute(self) -> BurstReport:
        """Take the lock, work, record, report.

        Errors before any work: ConfigurationError, LockHeld. What stops a burst in the middle is in the report.
        """
        settings = load_settings(self._request.state, self._request.overrides)
        (server,) = settings.servers if len(settings.servers) == 1 else (None,)
        if server is None:
            raise UsageError(f"one server at a time: {', '.join(settings.servers)} were named; say one --server")
        self._store = store = JsonStore.open(self._request.state, clock=self._clock)
        self._lock = lock = RunLock(store.folder)
        log = BurstLog(store.folder)
        try:
            killed = lock.acquire(wait_seconds=self._request.wait_lock_seconds)
            if killed is not None:
                log.append(_killed_record(*killed))
            store.refresh()
            with ComfyUI(server, headers=settings.resolved_headers(), stop=self._stop, clock=self._clock) as client:
                return self._work(store, lock, log, settings, client)
        finally:
            lock.release()
            store.close()

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now: let an append that is under way finish, leave no temporary file."""
        if self._store is not None:
            self._store.stop_writing(timeout_seconds=timeout_seconds)
        if self._outputs is not None:
            self._outputs.abandon()

    def _work(self, store: JsonStore, lock: RunLock, log: BurstLog, settings: Settings, client: ComfyUI) -> BurstReport:
        request = self._request
        home = store.path.parent
        prompts = Prompts(template=settings.template, bindings=settings.bindings, home=home)
        prompts.check()
        self._outputs = Outputs(settings.output_dir, overwrite=request.overwrite)
        started = self._clock.monotonic()
        deadline = started + request.max_seconds if request.max_seconds is not None else None
        whole = Tally()
        pace = pacing.Pace()
        bursts = 0
        while True:
            bursts += 1
            bench = Workbench(
                store=store,
                client=client,
                outputs=self._outputs,
                prompts=prompts,
                options=self._options(log),
                clock=self._clock,
                stop=self._stop,
                progress=self._progress,
                pace=pace,
            )
            if request.abandon_server is not None and bursts == 1:
                _abandon(bench, request.abandon_server)
            burst, ended, error = self._one(bench, lock, log, deadline)
            whole.add(bench.tally)
            counts = store.counts()
            left = counts[Status.PENDING] + counts[Status.SUBMITTED]
            if ended != "done" or not request.until_done or not left:
                break
        return self._report(bench, whole, burst, ended, error, bursts=bursts, seconds=self._clock.monotonic() - started)

    def _options(self, log: BurstLog) -> Options:
        request = self._request
        size = request.size if request.size != "auto" else pacing.automatic_size(log.read())
        return Options(
            size=size,
            poll_seconds=request.poll_seconds,
            ahead=request.ahead,
            max_attempts=request.max_attempts,
            on_error=request.on_error,
            in_doubt_seconds=request.in_doubt_seconds,
        )

    def _one(
        self, bench: Workbench, lock: RunLock, log: BurstLog, deadline: float | None
    ) -> tuple[str, str, BurstError | None]:
        """One cycle, recorded. Its id, how it ended, and the error that ended it."""
        burst, started_at, started = uuid.uuid4().hex[:8], self._clock.now(), self._clock.monotonic()
        lock.hold(burst=burst, started_at=started_at, size=bench.options.size)
        ended: str
        error: BurstError | None = None
        try:
            ended = Cycle(bench, deadline=deadline).run()
        except TransientError as transient:
            ended, error = "error", ServerDown(str(transient))
        except BurstError as other:
            ended, error = "error", other
        if self._stop.is_set():
            ended, error = "stopped", None
        error = self._settle(bench, error, stopped=ended == "stopped")
        if error is not None:
            ended = "error"
        seconds = self._clock.monotonic() - started
        record = _record(burst, started_at, self._clock.now(), ended, error, bench, seconds)
        try:
            log.append(record)
        except StopBurst as full:
            error = error or full
        return burst, ended, error

    def _settle(self, bench: Workbench, error: BurstError | None, *, stopped: bool) -> BurstError | None:
        """Bring the state file up to date; when told to stop, only where that is quick."""
        store = self._store
        assert store is not None
        if stopped and store.rewrite_seconds > _QUICK_REWRITE_SECONDS:
            return error
        try:
            store.settle(at_end=True)
        except BurstError as unsettled:
            return error or unsettled
        for edit in store.hand_edits:
            bench.tally.note(edit)
        return error

    def _report(
        self,
        bench: Workbench,
        whole: Tally,
        burst: str,
        ended: str,
        error: BurstError | None,
        *,
        bursts: int,
        seconds: float,
    ) -> BurstReport:
        counts = bench.store.counts()
        following = bench.store.due(bench.options.size)
        per_item = seconds / whole.completed if whole.completed else bench.pace.seconds_per_item
        left = counts[Status.PENDING] + counts[Status.SUBMITTED]
        return BurstReport(
            burst=burst,
            ended=ended,
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
            seconds_left=per_item * left if per_item is not None else None,
            requests=bench.client.requests_made,
            output_dir=str(bench.outputs.output_dir),
            failures=tuple(whole.failures),
            notes=tuple(whole.notes),
        )


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


@dataclass(frozen=True)
class Rehearsal:
    """What a burst would submit: `burst run --dry-run`."""

    keys: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    """Items that would fail before they are sent, and why."""
    graph: dict[str, Any] | None
    """The first one's graph, as it would be posted."""
    submitted: int
    """Items that are out on a server and would be looked up first."""

    def as_json(self) -> dict[str, Any]:
        """Stable keys under the schema name `burst.dry-run/1`."""
        return {
            "schema": "burst.dry-run/1",
            "items": list(self.keys),
            "problems": [{"item": key, "message": message} for key, message in self.problems],
            "graph": self.graph,
            "submitted": self.submitted,
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        lines = [f"Would look up {self.submitted} submitted items and submit {len(self.keys)}:"]
        lines += [f"  {key}" for key in self.keys]
        lines += [f"  would fail: {key}: {message}" for key, message in self.problems]
        if self.graph is not None:
            lines += ["First graph:", json.dumps(self.graph, indent=2, ensure_ascii=False)]
        return "\n".join(lines)


def rehearse(request: Request) -> Rehearsal:
    """Prepare what the next burst would submit, and send nothing. Takes no lock. Errors: ConfigurationError."""
    request.checked()
    settings = load_settings(request.state, request.overrides)
    store = JsonStore.open(request.state, read_only=True)
    try:
        prompts = Prompts(template=settings.template, bindings=settings.bindings, home=store.path.parent)
        size = pacing.automatic_size(BurstLog(store.folder).read()) if request.size == "auto" else request.size
        submitted = store.counts()[Status.SUBMITTED]
        keys, problems, graph = [], [], None
        for item in store.due(max(0, size + request.ahead - submitted)):
            try:
                prepared = prompts.prepare(item)
            except ItemError as error:
                problems.append((item.key, str(error)))
                continue
            keys.append(item.key)
            graph = graph or templates.set_prefixes(prepared.graph, str(uuid.uuid4()))
        return Rehearsal(keys=tuple(keys), problems=tuple(problems), graph=graph, submitted=submitted)
    finally:
        store.close()


def _abandon(bench: Workbench, server: str) -> None:
    """Give up what is submitted to a server: due again, and possibly rendered twice."""
    items = [item for item in bench.store.items(Status.SUBMITTED) if item.server == server.rstrip("/")]
    for item in items:
        bench.put_back(item, charge=False)
    bench.tally.note(
        f"{len(items)} items of {server} were given up; what it still renders of them will have been rendered twice."
    )


def _killed_record(holder: Holder, last_alive: datetime) -> BurstRecord:
    return BurstRecord(
        burst=holder.burst,
        started_at=holder.started_at,
        ended_at=last_alive,
        ended="killed",
        size=holder.size,
        seconds=max(0.0, (last_alive - holder.started_at).total_seconds()),
    )


def _record(
    burst: str,
    started_at: datetime,
    ended_at: datetime,
    ended: str,
    error: BurstError | None,
    bench: Workbench,
    seconds: float,
) -> BurstRecord:
    tally = bench.tally
    how: dict[str, RecordedEnding] = {"done": "done", "deadline": "deadline", "stopped": "stopped"}
    return BurstRecord(
        burst=burst,
        started_at=started_at,
        ended_at=ended_at,
        ended=how.get(ended, "error"),
        size=bench.options.size,
        completed=tally.completed,
        failed=tally.failed,
        recovered=tally.recovered,
        seconds=round(seconds, 3),
        seconds_per_item=bench.pace.seconds_per_item,
        reason=str(error) if error is not None else None,
    )
