"""What the state says, without taking any lock."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator.batches.batch_status import BatchView, check_code_of, view_of, views_of
from orchestrator.burst_endings import nothing_left, text_of
from orchestrator.clock import Clock
from orchestrator.cycle.pacing import LearnedLimit, learned_limit, of_host
from orchestrator.cycle.progress import node_text
from orchestrator.cycle.set_aside import SetAside, next_step, stages_waiting, usable, waiting_for
from orchestrator.documents.lists import FIRST, shortened
from orchestrator.failures import failure_documents
from orchestrator.formatting import in_lines, more_lines, spoken_seconds
from orchestrator.log_lines import local_time
from orchestrator.pause_text import RESUME, pause_as_json, paused_since
from orchestrator.server_health import sick_servers, text_of_health
from orchestrator.servers import canonical_name, this_host
from orchestrator.statistics import Statistics, statistics_of
from orchestrator.stranded import Stranded, stranded
from orchestrator.time_left import Paces, pace_of, seconds_left
from orchestrator.until_back import UntilBack
from orchestrator.waiting import WaitingItem, waiting_items, waiting_line
from orchestrator.wording import named
from state.burst_record import BurstRecord, recent_records, runs_of
from state.counts import Counts
from state.facts import Pause, ServerHealth
from state.holder import Holder
from state.item import DUE, Item, Status
from state.live import Running
from state.open_store import open_store
from state.store import Follower, Store

if TYPE_CHECKING:
    from orchestrator.changed_workflows import ChangedWorkflow
    from orchestrator.documents.states import LastBurstDocument, RunDocument, RunningDocument, StatusDocument

_WATCH_SECONDS = 0.5
_IDLE_SECONDS = 5.0
_View = TypeVar("_View", "StatusReport", BatchView)


@dataclass(frozen=True)
class StatusReport:
    """A state at one moment. Times in seconds."""

    state: Path
    counts: Counts
    pause: Pause | None
    """The one in force."""
    holders: tuple[Holder, ...]
    """The bursts at work, if any: several where the state is in a database."""
    rendering: tuple[Running, ...]
    """What their servers render at the moment, as far as it is known."""
    at: datetime
    """The moment."""
    killed: BurstRecord | None
    """A burst that ended without saying so, and when it was last alive."""
    last_burst: BurstRecord | None
    watchdog: LearnedLimit | None
    """The age at which runs are killed here, as far as that was learned."""
    seconds_per_item: float | None
    seconds_left: float | None
    """Until everything that a burst can render is done; None if that is nothing, or no pace is known."""
    next_items: tuple[str, ...]
    """Keys of the items that are rendered next: none whose recipe is set aside."""
    failed: tuple[Item, ...]
    """The first ten, or all."""
    sick: tuple[ServerHealth, ...]
    """Servers that the last runs found sick or stalled, and that have completed nothing since."""
    hand_edits: tuple[str, ...]
    notes: tuple[str, ...]
    batches: tuple[BatchView, ...] = ()
    """The active ones, or all that were not cleaned away."""
    figures: Statistics | None = None
    submitted_to: Mapping[str, int] = field(default_factory=dict)
    """Name of a server -> items submitted to it."""
    stranded: tuple[Stranded, ...] = ()
    """What waits on servers that do not answer, or that other hosts alone reach."""
    set_aside: tuple[SetAside, ...] = ()
    """Recipes that the last burst could not use, and the items that wait for them."""
    stages: tuple[WaitingItem, ...] = ()
    """Items that wait for outputs of others: the first ten, or all."""
    stages_waiting: int = 0
    """How many."""
    changed_workflows: tuple[ChangedWorkflow, ...] = ()
    errors_in_a_row: int = 0
    """How many of the last runs were ended by an error, one after the other."""
    last_item_ended_at: datetime | None = None
    """When an item was last completed, or the last burst ended in which one failed."""

    @property
    def total(self) -> int:
        return self.counts.total

    @property
    def remaining(self) -> int:
        """Items still due or out on a server."""
        return self.counts.remaining

    @property
    def waiting(self) -> int:
        """How many items wait for a recipe that is set aside."""
        return sum(one.items for one in self.set_aside)

    @property
    def is_stuck(self) -> bool:
        """Items remain, and a burst would render none of them."""
        collectable = self.counts.submitted - sum(one.submitted for one in self.set_aside)
        return self.remaining > 0 and not self.next_items and not collectable

    @property
    def check_code(self) -> int:
        """For `--check`; see `check_code_of`."""
        return check_code_of(self.counts)

    def as_json(self, *, everything: bool = False) -> StatusDocument:
        """As `burst status --json` prints it; `everything`: with all entries of its lists."""
        document: StatusDocument = {
            "schema": "burst.status/2",
            "state": str(self.state),
            "total": self.total,
            "remaining": self.remaining,
            "counts": self.counts.as_json(),
            "submitted_to": dict(self.submitted_to),
            "stranded": [one.as_json() for one in self.stranded],
            "paused": pause_as_json(self.pause),
            "running": self.holders[0].describe() if self.holders else None,
            "runs": [_run_document(holder) for holder in self.holders],
            "rendering": [_running_document(one) for one in self.rendering],
            "waits_for": next((holder.waits_for for holder in self.holders if holder.waits_for is not None), None),
            "last_burst": self._last(),
            "errors_in_a_row": self.errors_in_a_row,
            "last_item_ended_at": self.last_item_ended_at.isoformat() if self.last_item_ended_at else None,
            "watchdog_limit_seconds": self.watchdog.seconds if self.watchdog else None,
            "watchdog_kills": self.watchdog.kills if self.watchdog else 0,
            "seconds_per_item": self.seconds_per_item,
            "seconds_left": self.seconds_left,
            "next": list(self.next_items),
            "failures": failure_documents(self.failed),
            "failures_total": self.counts.failed,
            "hand_edits": list(self.hand_edits),
            "notes": [*self.notes, *map(text_of_health, self.sick)],
            "batches": [batch.describe(everything=everything) for batch in self.batches],
            "waiting": [one.as_json() for one in self.stages],
            "waiting_total": self.stages_waiting,
            "set_aside": [one.as_json(everything=everything) for one in self.set_aside],
            "changed_workflows": [one.as_json() for one in self.changed_workflows],
        }
        if self.figures:
            document["stats"] = self.figures.as_json()
        lists = ("failures", "hand_edits", "notes", "batches", "waiting", "set_aside", "changed_workflows")
        return shortened(document, *lists, everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person."""
        done = self.counts.completed
        percent = f" ({100 * done // self.total} %)" if self.total else ""
        lines = [f"{self.state}: {done}/{self.total} completed{percent}"]
        if others := self.counts.as_text(without={Status.COMPLETED}):
            lines.append(f"Also: {others}")
        lines += [one.as_text() for one in self.stranded]
        lines += [f"Batch {batch.line()}" for batch in self.batches]
        if self.pause is not None:
            lines.append(f"Paused {paused_since(self.pause)}")
        lines += self._burst_lines()
        said = self.last_burst.reason if self.last_burst is not None else None
        lines += [text_of_health(one) for one in self.sick if one.reason != said]
        if self.watchdog is not None:
            lines.append(watchdog_line(self.watchdog))
        if self.figures is not None:
            lines += self.figures.as_text().splitlines()
        lines += [f"Failed: {item.key}: {item.error.message}" for item in self.failed if item.error]
        lines += more_lines(self.counts.failed - len(self.failed), "more failed")
        lines += [one.as_text() for one in self.set_aside]
        lines += [f"Waiting: {waiting_line(self.stages_waiting, self.stages)}"] if self.stages else []
        lines += [f"Note: {note}" for note in (*self.hand_edits, *self.notes)]
        lines += [f"Note: {one.as_text()}" for one in self.changed_workflows]
        return in_lines([*lines, self.next_line()])

    def _burst_lines(self) -> list[str]:
        if self.holders:
            runs = [
                line
                for holder in self.holders
                for line in (
                    f"A burst is at work: {holder.describe()}",
                    *([f"It waits: {holder.waits_for}"] if holder.waits_for is not None else []),
                )
            ]
            return [*runs, *(self._running_line(one) for one in self.rendering)]
        if self.killed is not None:
            who, last_alive = self.killed, self.killed.ended_at
            return [f"The last burst was killed: {who.describe()}, last alive {last_alive:%H:%M:%S} UTC"]
        if self.last_burst is not None:
            last = self.last_burst
            ended = text_of(last.ended, last.reason)
            if last.is_failure:
                row = f", {self.errors_in_a_row} runs in a row" if self.errors_in_a_row > 1 else ""
                return [f"The last run failed ({ended}{row}) at {local_time(last.ended_at)}: {last.reason}"]
            took = spoken_seconds(last.seconds)
            failed = f", {last.failed} failed" if last.failed else ""
            return [f"The last burst ({ended}): {last.completed} completed{failed} in {took}"]
        return []

    def _running_line(self, one: Running) -> str:
        """`Rendering: EP01/shot_07.txt on gpu1: KSampler 12/20 (60 %), 41 s`."""
        seconds = max(0.0, (self.at - one.since).total_seconds())
        percent = f" ({one.percent} %)" if one.percent is not None else ""
        node, _, time = node_text(one, seconds=seconds).rpartition(", ")
        what = f"{node}{percent}, {time}" if node else time
        return f"Rendering: {one.item} on {one.server}: {what}"

    def next_line(self) -> str:
        """What is left, and what to type."""
        if not self.remaining:
            return nothing_left(self.counts)
        left = f"{self.remaining} left"
        if self.stages_waiting:
            left += f", {self.stages_waiting} of them waiting for others"
        if self.waiting:
            left += f", {self.waiting} of them set aside"
        if self.seconds_left is not None:
            left += f", about {spoken_seconds(self.seconds_left)}"
        if self.pause is not None and not self.holders:
            return f"{left}. Next: {RESUME}"
        if self.holders:
            return f"{left}."
        if self.is_stuck and self.set_aside:
            return f"{left}. Next: {next_step(self.set_aside)}"
        is_failed = self.killed is None and self.last_burst is not None and self.last_burst.is_failure
        return f"{left}. Next: {'`burst doctor` finds the cause; then `burst run`' if is_failed else 'burst run'}"

    def _last(self) -> LastBurstDocument | None:
        if self.killed is not None:
            killed = self.killed
            return {
                "burst": killed.burst,
                "ended": "killed",
                "reason": None,
                "at": killed.ended_at.isoformat(),
                "size": killed.size,
            }
        if self.last_burst is None:
            return None
        last = self.last_burst
        return {
            "burst": last.burst,
            "ended": last.ended,
            "reason": last.reason,
            "at": last.ended_at.isoformat(),
            "size": last.size,
            "completed": last.completed,
            "failed": last.failed,
        }


def read_status(state: Path, *, clock: Clock | None = None, stats: bool = False, ended: bool = False) -> StatusReport:
    """Errors: StateError. Takes no lock and writes nothing; safe while a burst runs.

    `stats` adds figures; `ended` lists the batches that have ended too, and every failed item.
    """
    with open_store(state, read_only=True, clock=clock) as store:
        return status_of(store, stats=stats, ended=ended, clock=clock)


def status_of(store: Store, *, stats: bool = False, ended: bool = False, clock: Clock | None = None) -> StatusReport:
    """The status of an open store."""
    with store.at_one_moment():
        return _status_of(store, stats=stats, ended=ended, clock=clock or Clock())


def _status_of(store: Store, *, stats: bool, ended: bool, clock: Clock) -> StatusReport:
    records = recent_records(store.bursts)
    holders = store.holders()
    live, now = store.live() if holders else None, clock.now()
    rendering = live.running if live is not None else ()
    all_killed = store.killed_bursts()
    killed = all_killed[-1] if all_killed and not holders else None
    known = [*records, *all_killed]
    pace = pace_of(store, records, at_work=holders)
    paces = Paces.of(store, records, at_work=holders)
    by_batch = store.counts_by_batch()
    there = [
        batch
        for batch in store.batches.read().values()
        if not batch.gone and (ended or ((of := by_batch.get(batch.id)) is not None and of.remaining))
    ]
    unused = records[-1].set_aside if records else ()
    set_aside = waiting_for(unused, store.items(*DUE) if unused else ())
    waiting = sum(one.items for one in set_aside)
    following = tuple(item.key for item in store.due(3, accept=usable(unused)))
    counts, submitted = store.counts(), list(store.items(Status.SUBMITTED))
    failed = store.items(Status.FAILED, limit=None if ended else FIRST) if counts.failed else ()
    stages = len(store.waiting())
    renderable = counts.remaining - waiting - stages_waiting(unused, store) if following or counts.submitted else 0
    batches = views_of(store, there)
    return StatusReport(
        state=store.location.path,
        counts=counts,
        pause=store.pause(),
        holders=tuple(holders),
        rendering=rendering,
        at=now,
        killed=killed,
        last_burst=records[-1] if records else None,
        watchdog=learned_limit(of_host(known, this_host())),
        seconds_per_item=pace,
        seconds_left=seconds_left(store, paces, renderable=renderable, running=rendering, at=now),
        submitted_to=Counter(canonical_name(item.server) for item in submitted if item.server),
        stranded=stranded(submitted, list(store.servers().values()), records, holders),
        next_items=following,
        failed=tuple(failed),
        sick=tuple(sick_servers(store)),
        hand_edits=tuple(store.hand_edits),
        notes=(),
        stages=waiting_items(store, first=None if ended else FIRST) if stages else (),
        stages_waiting=stages,
        batches=tuple(batches),
        figures=statistics_of(store, seconds_per_item=pace) if stats else None,
        set_aside=set_aside,
        changed_workflows=_changed_workflows(store),
        errors_in_a_row=_errors_in_a_row(known),
        last_item_ended_at=_last_item_ended_at(store, records),
    )


def _run_document(holder: Holder) -> RunDocument:
    return {
        "host": holder.host,
        "pid": holder.pid,
        "burst": holder.burst,
        "started_at": holder.started_at.isoformat(),
        "size": holder.size,
        "waits_for": holder.waits_for,
    }


def _running_document(one: Running) -> RunningDocument:
    return {
        "item": one.item,
        "server": one.server,
        "since": one.since.isoformat(),
        "node": one.node,
        "step": one.step,
        "steps": one.steps,
        "percent": one.percent,
    }


def _last_item_ended_at(store: Store, records: Sequence[BurstRecord]) -> datetime | None:
    completed_at = store.last_completed_at()
    moments = [completed_at] if completed_at is not None else []
    moments += [record.ended_at for record in records if record.failed]
    return max(moments, default=None)


def _errors_in_a_row(records: Sequence[BurstRecord]) -> int:
    last_bursts = (bursts[-1] for bursts in reversed(runs_of(records)))
    return sum(1 for _ in itertools.takewhile(lambda last: last.is_failure, last_bursts))


def _changed_workflows(store: Store) -> tuple[ChangedWorkflow, ...]:
    if not store.counts()[Status.PENDING]:
        return ()
    from orchestrator.changed_workflows import changed_workflows

    return changed_workflows(store)


def watchdog_line(limit: LearnedLimit) -> str:
    """What a person should know of what kills runs here."""
    age, usable = spoken_seconds(limit.seconds), spoken_seconds(limit.usable_seconds)
    return (
        f"Runs are killed here after about {age} (seen {limit.kills} times); they now end by {usable}. "
        f"{named('max_seconds')} overrides that."
    )


def watch_status(
    state: Path,
    *,
    clock: Clock | None = None,
    stats: bool = False,
    ended: bool = False,
    idle: Callable[[str], None] | None = None,
    live: bool = False,
) -> Iterator[StatusReport]:
    """The status now, and again whenever it has changed, until nothing is left. Errors: StateError.

    `live`: also whenever a step of what renders has changed, at most twice a second.

    `idle` is called with a line for a person when the database does not answer, which is waited for, and when no run
    has been at work for 5 s; again after each further one. What runs do with a SQL state shows within 2 s, what people
    do at once.
    """
    return _watched(
        state, lambda store: status_of(store, stats=stats, ended=ended, clock=clock), clock or Clock(), idle, live=live
    )


def watch_batch(
    state: Path,
    wanted: str,
    *,
    clock: Clock | None = None,
    all_failed: bool = False,
    idle: Callable[[str], None] | None = None,
) -> Iterator[BatchView]:
    """As `watch_status`, for one batch. Errors: UsageError for an id that is not there; StateError."""
    return _watched(state, lambda store: view_of(store, wanted, all_failed=all_failed), clock or Clock(), idle)


def _watched(
    state: Path,
    look: Callable[[Store], _View],
    clock: Clock,
    idle: Callable[[str], None] | None,
    *,
    live: bool = False,
) -> Iterator[_View]:
    never = threading.Event()
    with open_store(state, read_only=True, clock=clock) as store:
        store.wait_with(UntilBack(clock, idle))
        holders, others, pause = store.holders(), Follower(store), store.pause()
        running = store.live() if live else None
        report = look(store)
        yield report
        at_work, is_idle = clock.monotonic(), False
        while report.remaining:
            store.watch()
            clock.wait(never, _WATCH_SECONDS)
            if not store.may_have_changed():
                continue
            if store.is_leased():
                at_work, is_idle = clock.monotonic(), False
            elif idle is not None and not is_idle and clock.monotonic() - at_work >= _IDLE_SECONDS:
                is_idle = True
                idle(f"No run is at work, so nothing changes here: {status_of(store).next_line()}")
            before, seen = (holders, pause), running
            running = store.live() if live else None
            holders, pause = store.holders(), store.pause()
            if not others.news() and (holders, pause) == before and running == seen:
                continue
            shown, report = report, look(store)
            if report.counts != shown.counts or (holders, pause) != before or running != seen:
                yield report
