"""The bursts of one run, one after the other: each has a record in `bursts.jsonl`, all share one report."""

from __future__ import annotations

import os
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from orchestrator.burst_endings import Ended, recorded
from orchestrator.clock import Clock
from orchestrator.crashes import TRACEBACK_NAME, as_burst_error, reason_of
from orchestrator.cycle import pacing
from orchestrator.cycle.aftermath import Aftermath
from orchestrator.cycle.context import log
from orchestrator.cycle.live import LiveView
from orchestrator.cycle.loop import Cycle
from orchestrator.cycle.others_work import OthersWork
from orchestrator.cycle.report import BurstReport, exit_code_of
from orchestrator.cycle.request import Request
from orchestrator.cycle.set_aside import SetAside, nothing_else, stages_waiting, usable
from orchestrator.cycle.tally import Tally
from orchestrator.cycle.time_limit import TimeLimit
from orchestrator.cycle.unrecorded import remember
from orchestrator.cycle.workers import SharedContext, WorkerPool
from orchestrator.errors import (
    BurstError,
    ConfigurationError,
    Crashed,
    DiskFull,
    OutputRootAway,
    ServerDown,
    ServerUnreachable,
    StopBurst,
    TransientError,
)
from orchestrator.formatting import counted, spoken_seconds
from orchestrator.literal_texts import literal_notes
from orchestrator.servers import this_host
from orchestrator.time_left import Paces, seconds_left
from orchestrator.waiting import waiting_notes
from orchestrator.wording import named
from state.burst_record import BurstRecord
from state.disk import OutOfSpace
from state.item import Status
from state.open_store import open_store
from state.store import Store

_QUICK_REWRITE_SECONDS = 0.2


class Age(msgspec.Struct, frozen=True):
    """How long ago a run or a burst began."""

    clock: Clock
    started_at: datetime
    started: float

    @classmethod
    def of_now(cls, clock: Clock) -> Age:
        return cls(clock, clock.now(), clock.monotonic())

    def seconds(self) -> float:
        return self.clock.monotonic() - self.started


class _Ended(msgspec.Struct, frozen=True):
    """How a burst ended."""

    burst: str
    how: Ended
    error: BurstError | None


class Bursts:
    """Used once, by one thread. `records`: those of earlier bursts. `signal`: the name of the signal that requested the
    stop, where one did."""

    def __init__(
        self,
        request: Request,
        pool: WorkerPool,
        shared: SharedContext,
        *,
        records: list[BurstRecord],
        age: Age,
        limit: TimeLimit,
        notes: Tally,
        stop: threading.Event,
        signal: Callable[[], str | None],
    ) -> None:
        self._request = request
        self._pool = pool
        self._workers = pool.workers
        self._store = shared.store
        self._dispatch = shared.dispatch
        self._placement = shared.placement
        self._clock = shared.clock
        self._lease = shared.lease
        self._records = records
        self._recorded = Tally()
        """The sum of this run's records."""
        self._rendered_seconds: dict[str, float] = {}
        """By server, as of this run's records."""
        self._age = age
        self._limit = limit
        self._notes = notes
        self._stop = stop
        self._signal = signal
        self._aftermath = Aftermath(self._store, self._placement, clock=self._clock, note=notes.note)
        self._current = ""
        """The id of the burst at work."""
        self._vain_bursts = 0
        """How many of the last bursts only left items about which a server gave no clear answer."""
        view = LiveView(pool.workers, self._dispatch, self._lease, self._clock)
        self._cycle = Cycle(
            pool,
            self._dispatch,
            self._store,
            clock=self._clock,
            stop=stop,
            check=self._lease.check,
            late=lambda: limit.ended(age_seconds=age.seconds(), now=self._clock.now()),
            seconds_left=self._seconds_left,
            publish_wait=self._lease.publish_wait,
            meanwhile=self._look_at_batches,
            show=lambda: view.show(burst=self._current),
            others=OthersWork(
                self._lease,
                self._dispatch,
                self._clock,
                # Of a batch, whoever runs it follows what becomes of it.
                is_meant=request.until_done and request.awaits_others and request.batch is None,
            ),
        )

    def run(self) -> BurstReport:
        """One burst, or one after the other until nothing remains. Errors: Crashed, which its record names."""
        count = 0
        while True:
            self._look_at_batches()
            size = self._request.burst_size(self._records, seconds=self._seconds_left())
            ended = self._burst(size)
            count += 1
            if not self._goes_on(ended):
                break
        self._cycle.close(None if ended.how == "error" else ended.how)
        error = self._settle(ended)
        if isinstance(ended.error, Crashed):
            raise ended.error
        set_aside = self._dispatch.set_aside.report(self._store, batch=self._request.batch)
        if error is None and ended.how == "done":
            batch = self._request.batch
            stages = stages_waiting(self._dispatch.set_aside.records(), self._store, batch=batch) if set_aside else 0
            counts, passes = self._store.counts(batch=batch), self._dispatch.set_aside.passes
            error = nothing_else(set_aside, counts, stages=stages, passes=passes)
        if ended.how == "limit":
            self._notes.note(_stopped_early(self._records))
        if ended.how != "stopped":
            self._look_at_batches(again=bool(self._recorded.ended))
            self._aftermath.end(self._records, disk=self._disk_full(error))
            if ended.how not in ("deadline", "limit"):
                self._aftermath.finish()
        self._note_changed_workflows()
        return self._report(_Ended(ended.burst, ended.how, error), bursts=count, size=size, set_aside=set_aside)

    def _goes_on(self, ended: _Ended) -> bool:
        """Whether another burst follows. When nothing else is left to do, servers are asked again, after a pause, about
        items for which they gave no clear answer."""
        if not self._request.until_done or ended.how != "done":
            return False
        if self._dispatch.is_batch_over or not is_any_left(self._store):
            return False
        if self._dispatch.is_getting_on:
            self._vain_bursts = 0
            return True
        if not self._dispatch.unclear:
            return False
        self._vain_bursts += 1
        pause = pacing.pause_after_vain_burst(self._vain_bursts)
        self._cycle.rest(pause, reason=f"clear answers about {counted(len(self._dispatch.unclear))}")
        return self._pool.take_back_unclear()

    def _seconds_left(self) -> float | None:
        """Until the run ends by itself; None without a limit."""
        return self._limit.seconds_left(age_seconds=self._age.seconds(), now=self._clock.now())

    def _burst(self, size: int) -> _Ended:
        """One burst, and its record."""
        burst, began = new_burst(), Age.of_now(self._clock)
        self._lease.begin_burst(
            burst=burst,
            size=size,
            started_at=began.started_at,
            run_started_at=self._age.started_at,
            servers=[worker.context.server.name for worker in self._workers],
        )
        self._current = burst
        log.info("burst %s begins: at most %s", burst, counted(size))
        before = self._recorded
        how, error = self._cycled(size)
        done = self._recorded = Tally.of(worker.context.tally for worker in self._workers)
        rendered = {worker.context.server.name: worker.context.pace.take_rendered() for worker in self._workers}
        servers, server_paces = pacing.server_paces(rendered)
        record = BurstRecord(
            burst=burst,
            started_at=began.started_at,
            ended_at=self._clock.now(),
            ended="crashed" if isinstance(error, Crashed) else recorded(how),
            size=size,
            completed=done.completed - before.completed,
            failed=done.failed - before.failed,
            recovered=done.recovered - before.recovered,
            seconds=round(began.seconds(), 3),
            alive_seconds=round(self._age.seconds(), 3),
            seconds_per_item=self._seconds_per_item(),
            recipe_paces=pacing.recipe_paces(_by_recipe(rendered.values())),
            servers=servers,
            server_paces=server_paces,
            signal=self._signal() if how == "stopped" else None,
            reason=reason_of(error),
            away=self._away() if isinstance(error, ServerDown) else (),
            host=this_host(),
            pid=os.getpid(),
            set_aside=self._dispatch.set_aside.records(),
            rendered=done.completed - before.completed,
            server_seconds=self._server_seconds(),
            bytes=done.bytes - before.bytes,
            put_back=done.put_back - before.put_back,
            rendered_twice=done.rendered_twice - before.rendered_twice,
            possibly_twice=done.possibly_twice - before.possibly_twice,
            checkpoints=done.checkpoints - before.checkpoints,
            checkpoint_seconds=round(done.checkpoint_seconds - before.checkpoint_seconds, 6),
        )
        took = spoken_seconds(record.seconds)
        log.info("burst %s ends (%s): %d completed, %d failed in %s", burst, how, record.completed, record.failed, took)
        try:
            self._records.append(record)
            self._lease.end_burst(record)
        except StopBurst as full:
            if isinstance(full, OutOfSpace):
                remember(self._store.location, record)
            error = error or full
        return _Ended(burst, how, error)

    def _server_seconds(self) -> dict[str, float]:
        """How long each server rendered what was completed since the last call."""
        found = {}
        for worker in self._workers:
            name, now = worker.context.server.name, worker.context.tally.seconds
            if seconds := round(now - self._rendered_seconds.get(name, 0.0), 3):
                found[name] = seconds
            self._rendered_seconds[name] = now
        return found

    def _cycled(self, size: int) -> tuple[Ended, BurstError | None]:
        """How the burst ended, and the error that ended it. No server is contacted where there is nothing to do."""
        if not is_any_left(self._store):
            return ("stopped" if self._stop.is_set() else "done"), None
        error: BurstError | None = None
        how: Ended = "error"
        try:
            how = self._cycle.burst(size)
        except TransientError as transient:
            error = (ConfigurationError if transient.needs_a_person else ServerDown)(str(transient))
        except Exception as other:  # noqa: BLE001 — recorded, and raised again as Crashed
            error = as_burst_error(other, keep_at=self._store.location.auxiliary(TRACEBACK_NAME))
        return ("stopped", None) if self._stop.is_set() else (how, error)

    def _away(self) -> tuple[str, ...]:
        lost = [worker for worker in self._workers if isinstance(worker.trouble, ServerUnreachable)]
        return tuple(worker.context.server.name for worker in lost)

    def _settle(self, ended: _Ended) -> BurstError | None:
        """Update the state file; after a stop request, only where that is quick. The error that ended the run."""
        error = ended.error
        if not (ended.how == "stopped" and self._store.rewrite_seconds > _QUICK_REWRITE_SECONDS):
            try:
                self._store.settle(at_end=True)
            except BurstError as unsettled:
                error = error or unsettled
        tally = Tally.of(worker.context.tally for worker in self._workers)
        literal = literal_notes(len(tally.literal_texts), len(tally.lora_texts))
        for note in (*self._store.hand_edits, *waiting_notes(self._store), *literal):
            self._notes.note(note)
        return error

    def _look_at_batches(self, *, again: bool = False) -> None:
        """Note which batches have ended, and have others told what is to be told."""
        self._aftermath.look(self._records, again=again)

    def _disk_full(self, error: BurstError | None) -> str | None:
        """Why nothing more can be written, where that is so and does not pass by itself."""
        if isinstance(error, DiskFull) and not isinstance(error, OutputRootAway):
            return str(error)
        return self._dispatch.set_aside.full

    def _note_changed_workflows(self) -> None:
        """Once a run, at its end, so that reading the files does not delay the first prompt."""
        if self._store.counts()[Status.PENDING] and self._signal() is None:
            from orchestrator.changed_workflows import changed_workflows

            for changed in changed_workflows(self._store):
                self._notes.note(changed.as_text())

    def _seconds_per_item(self) -> float | None:
        """Seconds from one completion to the next, with all servers at work."""
        paces = [pace for worker in self._workers if (pace := worker.load().seconds_per_item)]
        return 1 / sum(1 / pace for pace in paces) if paces else None

    def _paces(self, per_item: float | None) -> Paces:
        """For what is left. `per_item`: seconds of the run per item, where no server measured anything better."""
        return Paces.of(self._store, self._records, without=per_item, at_work=self._store.holders())

    def _report(self, ended: _Ended, *, bursts: int, size: int, set_aside: tuple[SetAside, ...]) -> BurstReport:
        whole = Tally.of([self._notes, *(worker.context.tally for worker in self._workers)])
        counts = self._store.counts()
        unused = self._dispatch.set_aside.records()
        following = self._store.due(size, batch=self._request.batch, accept=usable(unused))
        renderable = counts.remaining - sum(one.items for one in set_aside) - stages_waiting(unused, self._store)
        seconds = self._age.seconds()
        per_item = seconds / whole.completed if whole.completed else self._seconds_per_item()
        error = ended.error
        filled = {str(root): count for root, count in self._placement.filled().items()}
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
            possibly_twice=whole.possibly_twice,
            counts=counts,
            next_batch=tuple(item.key for item in following),
            next_batch_size=len(following),
            seconds=seconds,
            seconds_per_item=per_item,
            seconds_left=seconds_left(self._store, self._paces(per_item), renderable=renderable),
            requests=sum(worker.context.client.requests_made for worker in self._workers),
            output_dir=next(iter(filled)) if len(filled) == 1 else str(self._placement.default),
            output_dirs=filled,
            servers=tuple(worker.report() for worker in self._workers),
            failures=tuple(whole.failures),
            notes=tuple(whole.notes),
            set_aside=set_aside,
        )


def _by_recipe(rendered: Iterable[Mapping[str | None, Sequence[float]]]) -> Mapping[str | None, Sequence[float]]:
    """What all servers rendered, by recipe."""
    found: defaultdict[str | None, list[float]] = defaultdict(list)
    for one in rendered:
        for recipe, seconds in one.items():
            found[recipe] += seconds
    return found


def new_burst() -> str:
    """The id of a burst that begins."""
    return uuid.uuid4().hex[:8]


def is_any_left(store: Store) -> bool:
    """Whether a burst may find something to do."""
    return store.counts().remaining > len(store.waiting())


def is_any_out(state: Path) -> bool:
    """Whether anything is submitted, as far as a reader sees. Errors: StateError."""
    with open_store(state, read_only=True) as store:
        return store.counts().submitted > 0


def _stopped_early(records: Sequence[BurstRecord]) -> str:
    learned = pacing.learned_limit(pacing.of_host(records, this_host()))
    killed = f"after about {spoken_seconds(learned.seconds)}" if learned is not None else "early"
    return f"Stopped early: runs here are killed {killed}. Override with {named('max_seconds')} (0 = no limit)."
