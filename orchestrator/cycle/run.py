"""A run: the lock, recovery of what is submitted, the workers, and the bursts."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.abandonment import Silence
from orchestrator.clock import Clock
from orchestrator.cycle import pacing
from orchestrator.cycle.bursts import Age, Bursts, is_any_left, is_any_out
from orchestrator.cycle.context import log
from orchestrator.cycle.crash_record import crashed_under_lease, crashed_without_lease, record_of
from orchestrator.cycle.dispatch import Dispatch, Progress
from orchestrator.cycle.kept_recipes import check_default, contradiction
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.report import BurstReport, not_started
from orchestrator.cycle.request import Request
from orchestrator.cycle.storage_patience import StoragePatience
from orchestrator.cycle.strays import hosts_seen
from orchestrator.cycle.tally import Tally
from orchestrator.cycle.time_limit import TimeLimit, closed_until
from orchestrator.cycle.unrecorded import record_remembered, remember
from orchestrator.cycle.workers import SharedContext, WorkerPool
from orchestrator.errors import BurstError, LockHeld
from orchestrator.host_config import has_host_config
from orchestrator.log_lines import local_time
from orchestrator.migration import open_for_writing
from orchestrator.model_order import ModelsOfItems
from orchestrator.outputs.placement import Placement
from orchestrator.pause_text import text_of_pause
from orchestrator.places import root_named
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.settings import DEFAULT_STATE, Overrides, Settings, kept_settings, load_settings
from orchestrator.time_left import pace_of, recipe_seconds
from orchestrator.waiting import end_stuck
from state.burst_record import BurstRecord, recent_records
from state.disk import OutOfSpace
from state.facts import Pause
from state.item import Status
from state.lease import Lease
from state.location import Location, state_path
from state.open_store import parts_of
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.restarts import Restarts


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
    until: str | None = None,
    between: str | None = None,
    until_done: bool = False,
    ahead: int = 0,
    wait_lock_seconds: float = 0.0,
    wait_server_seconds: float | None = None,
    free_every: int | None = None,
    stall_seconds: float | None = None,
    max_attempts: int = 3,
    allow_spend: int | None = None,
    on_error: Literal["stop", "continue"] = "continue",
    overwrite: bool = False,
    server_moved: tuple[str, str] | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> BurstReport:
    """One burst over a state file, as `burst run` does it. Defaults come from `init` and the environment.

    `server_moved`: the old address of a server and its new one. `until`: a time of day, such as `07:00`, and `between`:
    hours, such as `22:00-07:00`, by this host's clock on the wall. `wait_server_seconds`: how long a server is waited
    for that does not answer; by default 20, and without end with `until_done`. `free_every`: after how many prompts
    each server unloads its models. `stall_seconds`: after how long without a sign of life one that answers is
    called stalled; by default far beyond what the recipe has taken, infinite: never. `allow_spend`: how many prompts
    servers that cost money may get in 24 hours; by default as the settings say, and none where they say nothing.
    Safe to repeat and to kill at any time. Set `stop` from another thread to end it after its next checkpoint.
    Errors: LockHeld if another burst is running on this state; ConfigurationError and its kinds if something must be
    fixed first; Crashed for an unexpected exception, which is recorded. What stops a burst in the middle (server down,
    disk full) is in the report's `reason`.
    """
    overrides = Overrides(
        template=template,
        output_dir=root_named(str(output_dir)) if output_dir is not None else None,
        servers=(server,) if isinstance(server, str) else tuple(server or ()),
        bindings=bindings or {},
        headers=headers or {},
    )
    request = Request(
        state=state_path(state),
        size=size,
        poll_seconds=poll_seconds,
        max_seconds=max_seconds,
        until=until,
        between=between,
        until_done=until_done,
        ahead=ahead,
        wait_lock_seconds=wait_lock_seconds,
        wait_server_seconds=wait_server_seconds,
        free_every=free_every,
        stall_seconds=stall_seconds,
        max_attempts=max_attempts,
        allow_spend=allow_spend,
        on_error=on_error,
        overwrite=overwrite,
        server_moved=server_moved,
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
        self._age = Age.of_now(self._clock)
        self._signal: str | None = None
        self._notes = Tally()
        self._store: Store | None = None
        self._placement: Placement | None = None
        self._dispatch: Dispatch | None = None

    def execute(self) -> BurstReport:
        """Take the lock, work, record, report.

        Errors before any work: ConfigurationError, LockHeld. What stops a burst in the middle is in the report; an
        unexpected exception is recorded and raised as Crashed.
        """
        try:
            return self._executed(self._request.state)
        except OutOfSpace as full:
            self._remember(full)
            raise
        except BurstError:
            raise
        except Exception as error:
            raise crashed_without_lease(error, self._request.state, self._age) from error

    def _remember(self, full: OutOfSpace) -> None:
        """This run could record nothing; and those who are told of full disks are told of that of the state."""
        from orchestrator.notifications.disk_alarm import DiskAlarm

        remember(Location.of(self._request.state), record_of(self._age, ended="error", reason=str(full)))
        alarm = DiskAlarm(parts_of(self._request.state, clock=self._clock), clock=self._clock)
        alarm.sound(str(full), note=log.warning)

    def _executed(self, state: Path) -> BurstReport:
        settings = load_settings(state, self._request.overrides)
        settings.check_servers()
        opens_at = closed_until(self._request.between, now=self._clock.now())
        if opens_at is not None:
            reason = f"outside of {self._request.between}, which begins at {local_time(opens_at)}"
            return not_started(self._request, settings, ended="deadline", reason=reason)
        parts = parts_of(state, clock=self._clock)
        if (pause := parts.pause()) is not None and not self._has_orders() and not is_any_out(state):
            return self._paused(pause, settings)
        patience = self._request.wait_lock_seconds
        try:
            with open_for_writing(state, wait_seconds=patience, clock=self._clock) as store:
                self._store = store
                return self._work(store, settings)
        except LockHeld:
            if (pause := parts.pause()) is None:
                raise
            return self._paused(pause, settings)

    def _has_orders(self) -> bool:
        """Whether it was told to do something beside its items, which it does while runs are paused too."""
        return self._request.server_moved is not None or self._request.abandon_server is not None

    def _paused(self, pause: Pause, settings: Settings) -> BurstReport:
        """Nothing is submitted; what other runs have out is theirs."""
        return not_started(self._request, settings, ended="paused", reason=text_of_pause(pause))

    def _work(self, store: Store, settings: Settings) -> BurstReport:
        recipes = Recipes(store.recipes, store.location.home)
        preparation = Preparation(recipes, settings, store.location.home, items=store)
        check_default(preparation, store, self._request.overrides)
        try:
            with store.lease(wait_seconds=self._request.wait_lock_seconds) as lease:
                try:
                    return self._work_leased(store, lease, settings, recipes, preparation)
                except BurstError:
                    raise
                except Exception as error:
                    raise crashed_under_lease(error, store, lease, self._age) from error
        finally:
            if self._placement is not None:
                self._placement.abandon()

    def _work_leased(
        self, store: Store, lease: Lease, settings: Settings, recipes: Recipes, preparation: Preparation
    ) -> BurstReport:
        record_remembered(store)
        lease.record_killed()
        self._end_stuck(store, lease)
        settings = self._moved(settings, store)
        if kept := contradiction(store, recipes, settings, self._request.overrides):
            self._notes.note(kept)
        self._note_images_elsewhere(store, settings, recipes)
        records = recent_records(store.bursts)
        limit = TimeLimit.of(self._request, records, began_at=self._age.started_at)
        earlier = functools.cache(lambda server: recipe_seconds(store, records, server=server))
        left = limit.seconds_left(age_seconds=self._age.seconds(), now=self._clock.now())
        deadline = None if left is None else self._clock.monotonic() + left
        patience = StoragePatience(self._clock, deadline=deadline, stop=self._stop)
        preparation.patience = patience
        store.wait_with(
            StoragePatience(
                self._clock, deadline=deadline, stop=self._stop, pause_before=pacing.pause_before_reconnection
            )
        )
        shared = self._shared(settings, recipes, preparation, store, lease, earlier, patience, records)
        self._placement, self._dispatch = shared.placement, shared.dispatch
        with WorkerPool(settings, shared, deadline=deadline, seen=hosts_seen(records)) as pool:
            if self._request.abandon_server is not None or is_any_left(store):
                pool.open(abandon=self._request.abandon_server)
                self._tell_what_comes_first(store, records)
            bursts = Bursts(
                self._request,
                pool,
                shared,
                records=records,
                age=self._age,
                limit=limit,
                notes=self._notes,
                stop=self._stop,
                signal=lambda: self._signal,
            )
            return bursts.run()

    def _tell_what_comes_first(self, store: Store, records: Sequence[BurstRecord]) -> None:
        """What is submitted already is rendered before the batch that this run is for."""
        batch = self._request.batch
        if batch is None:
            return
        count = store.counts().submitted - store.counts(batch=batch).submitted
        if count:
            pace = pace_of(store, records)
            self._progress.comes_after(count, seconds=None if pace is None else pace * count)

    def request_stop(self, signal: str | None = None) -> None:
        """End after the next checkpoint. `signal`: the name of the signal that requested it."""
        self._signal = signal
        self._stop.set()
        if self._dispatch is not None:
            self._dispatch.changed.set()

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now: finish an append that has begun, leave no temporary file."""
        if self._store is not None:
            self._store.stop_writing(timeout_seconds=timeout_seconds)
        if self._placement is not None:
            self._placement.abandon()

    def _note_images_elsewhere(self, store: Store, settings: Settings, recipes: Recipes) -> None:
        """For who names an output directory, and looks for all images there."""
        if self._request.overrides.output_dir is None:
            return
        from orchestrator.outputs.elsewhere import images_elsewhere

        before = Placement(recipes, kept_settings(self._request.state).output_dir)
        for note in images_elsewhere(store, before, root=settings.output_dir):
            self._notes.note(note)

    def _end_stuck(self, store: Store, lease: Lease) -> None:
        for item in end_stuck(store, lease):
            if item.status is Status.FAILED:
                self._notes.failed += 1
                self._notes.failures.append((item.key, item.error.message if item.error is not None else ""))
            else:
                self._notes.cancelled += 1

    def _moved(self, settings: Settings, store: Store) -> Settings:
        """The settings to run with, after a server's address has changed. Errors: UsageError, DiskFull."""
        if self._request.server_moved is None:
            return settings
        from orchestrator.server_moved import ServerMove, move_server

        move = ServerMove.between(*self._request.server_moved)
        return move_server(self._request.state, store, settings, move, note=self._notes.note)

    def _shared(
        self,
        settings: Settings,
        recipes: Recipes,
        preparation: Preparation,
        store: Store,
        lease: Lease,
        earlier_seconds: Callable[[str], Mapping[str | None, float]],
        patience: StoragePatience,
        records: Sequence[BurstRecord],
    ) -> SharedContext:
        request = self._request
        dispatch = Dispatch(
            store,
            lease,
            progress=self._progress,
            ahead=request.ahead,
            until_done=request.until_done,
            on_error=request.on_error,
            batch=request.batch,
            models_of=ModelsOfItems(preparation.recipe_of).of,
        )
        placement = Placement(recipes, settings.output_dir, overwrite=request.overwrite, patience=patience)
        if request.overwrite:
            placement.spare(store.items())
        return SharedContext(
            store=store,
            lease=lease,
            placement=placement,
            preparation=preparation,
            dispatch=dispatch,
            options=request.options(settings),
            clock=self._clock,
            earlier_seconds=earlier_seconds,
            note=self._notes.note,
            silence=Silence(settings.registered, records),
            restarts=_restarts_of_this_host(self._clock),
        )


def _restarts_of_this_host(clock: Clock) -> Restarts | None:
    """None, and nothing loaded, where this host has no configuration. Errors: SettingsError."""
    if not has_host_config():
        return None
    from orchestrator.restarts import Restarts

    return Restarts.of_this_host(clock)
