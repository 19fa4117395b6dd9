"""`burst generate`: a batch is planned, added to the state, and worked off by bursts until it is done."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.batches.generate_report import Generated, Planned, resuming
from orchestrator.batches.planning import Plan, Planner, requested_recipe
from orchestrator.batches.sidecars import read_reproduction
from orchestrator.batches.sources import LARGEST_LIST_BYTES, STANDARD_INPUT
from orchestrator.batches.spec import SOURCES, BatchSpec
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.dispatch import Progress
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import DiskFull, LockHeld, StopBurst, UsageError
from orchestrator.migration import open_for_writing
from orchestrator.preparation import Preparation
from orchestrator.prompt_directories import refuse_collisions
from orchestrator.recipes import Recipes
from orchestrator.settings import Settings, kept_settings, load_settings, refuse_secrets, save_settings
from state.batch import BatchRecord
from state.item import Status
from state.open_store import open_store, parts_of

_DUE = (Status.PENDING, Status.SUBMITTED)
_LOOK_SECONDS = 0.5
"""How often a batch that another process works off is looked at."""


class Generation:
    """One call of `burst generate`. `execute` may be called once; the others from another thread, as of a `Run`.

    `recipe`: the id of one of this state's, whose workflow and bindings are used where the request names no template.
    `pin_servers`: whether servers that the overrides name are part of the recipe, as those of a person's own request.
    `ask_servers`: whether names are held against what servers have; without it, unless `queue_only`.
    `patience_seconds`: how long a server that does not answer is asked for them again.
    `request` says how the bursts work; what it says of a batch, `--until-done` and `on_error` is the batch's to say.
    """

    def __init__(
        self,
        spec: BatchSpec,
        request: Request,
        *,
        recipe: str | None = None,
        pin_servers: bool = True,
        queue_only: bool = False,
        ask_servers: bool | None = None,
        dry_run: bool = False,
        secret_env: str | None = None,
        stdin: BinaryIO | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[BatchRecord], Progress] | None = None,
        clock: Clock | None = None,
        patience_seconds: float = 20.0,
    ) -> None:
        self._asked = spec
        self._request = request.checked()
        self._state = request.state.resolve()
        self._parts = parts_of(self._state)
        self._recipe = recipe
        self._pin_servers = pin_servers
        self._queue_only = queue_only
        self._patience_seconds = patience_seconds
        self._asks = not queue_only if ask_servers is None else ask_servers
        self._dry_run = dry_run
        self._secret_env = secret_env
        self._stdin = stdin
        self._stop = stop or threading.Event()
        self._progress_of = progress or (lambda record: Silent())
        self._progress: Progress = Silent()
        self._clock = clock or Clock()
        self._started = self._clock.monotonic()
        self._run: Run | None = None
        self._read: bytes | None = None
        """What standard input said."""
        self._awaited: set[str] = set()
        """Keys of its items that are not known to have ended, while another process works them off."""

    def execute(self) -> Generated | Planned:
        """Plan, add, and run bursts until it is done.

        Errors before anything is added: UsageError, TemplateError, SettingsError, StateError, ServerDown where the
        servers cannot be asked for the names of models, StopBurst when told to stop.
        """
        seen = self._seen()
        settings, plan = self._plan()
        if self._dry_run:
            self._refuse_collisions(plan)
            return Planned(plan)
        with self._parts.adding():
            if self._seen() != seen:
                settings, plan = self._plan()
            self._refuse_collisions(plan)
            if self._stop.is_set():
                raise StopBurst("told to stop before anything was added")
            self._add(plan, settings)
        self._awaited = {item.key for item in plan.items}
        self._progress = self._progress_of(plan.record)
        report = None if self._queue_only else self._work(plan.record)
        return self._generated(plan.record, settings, report)

    def request_stop(self, signal: str | None = None) -> None:
        """End after the next checkpoint; the batch stays and goes on with the next burst."""
        self._stop.set()
        if self._run is not None:
            self._run.request_stop(signal)

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now; see `Run.abandon`."""
        if self._run is not None:
            self._run.abandon(timeout_seconds=timeout_seconds)

    def _seen(self) -> tuple[Hashable, ...]:
        """Another one when a batch was added meanwhile: it may have taken the directory, or made the state."""
        return self._parts.batches.stamp(), self._parts.settings.stamp()

    def _plan(self) -> tuple[Settings, Plan]:
        """May be repeated. Nothing is written."""
        state, reproduction, base = self._state, None, None
        overrides = self._request.overrides
        settings = load_settings(state, overrides)
        recipes = Recipes(self._parts.recipes, state.parent)
        if self._asked.from_file is not None:
            path = Path(self._asked.from_file)
            reproduction = read_reproduction(path, home=state.parent, template=overrides.template, recipes=recipes)
            if overrides.template is None and reproduction.template is not None:
                settings = replace(settings, template=reproduction.template)
            base = reproduction.recipe
            if reproduction.graph is not None:
                base = recipes.from_graph(reproduction.graph, settings, name=recipes.kept(path.absolute()))
        elif self._recipe is not None:
            base = recipes.loaded(self._recipe)
        if not self._parts.settings.exists():
            refuse_secrets(settings)
        pinned = [server.name for server in settings.servers] if overrides.servers and self._pin_servers else ()
        recipe = requested_recipe(recipes, settings, overrides, base=base, servers=pinned)
        directories = {batch.record.directory for batch in self._parts.batches.read().values()}

        def taken(name: str) -> bool:
            return name in directories or (settings.output_dir / name).exists()

        with contextlib.ExitStack() as held:
            clients: Sequence[ComfyUI] = self._clients(settings, held) if self._asks else ()
            planner = Planner(
                recipe=recipe,
                preparation=Preparation(recipes, settings, state.parent),
                home=state.parent,
                servers=clients,
                secret_env=self._secret_env,
            )
            at, stdin = self._clock.now().astimezone(), self._stdin_again()
            plan = planner.plan(self._asked, at=at, taken=taken, reproduction=reproduction, stdin=stdin)
        return settings, plan

    def _refuse_collisions(self, plan: Plan) -> None:
        """Errors: UsageError."""
        if self._state.exists():
            with open_store(self._state, read_only=True) as store:
                refuse_collisions(plan.items, beside=store.items())

    def _stdin_again(self) -> BinaryIO | None:
        """Standard input from its beginning, however often."""
        said = (getattr(self._asked, source) for source in SOURCES)
        if STANDARD_INPUT not in said:
            return None
        if self._read is None:
            try:
                self._read = (self._stdin or sys.stdin.buffer).read(LARGEST_LIST_BYTES + 1)
            except (OSError, ValueError) as error:
                raise UsageError(f"standard input cannot be read: {error}") from error
        return io.BytesIO(self._read)

    def _clients(self, settings: Settings, held: contextlib.ExitStack) -> list[ComfyUI]:
        clients = (
            ComfyUI(
                server.full,
                headers=settings.resolved_headers(server),
                retry_seconds=self._patience_seconds,
                stop=self._stop,
                clock=self._clock,
            )
            for server in settings.servers
        )
        return [held.enter_context(client) for client in clients]

    def _add(self, plan: Plan, settings: Settings) -> None:
        """Recipe and record first: items without them would have no name, they without items do no harm."""
        is_new = not self._parts.settings.exists()
        with open_for_writing(self._state, create=True, clock=self._clock) as store:
            if is_new:
                save_settings(self._state, settings)
            Recipes(store.recipes, self._state.parent).keep(plan.recipe)
            store.batches.append(plan.record)
            store.add(plan.items)
            # The journal has them: who is told of an error now would add them again.
            with contextlib.suppress(DiskFull):
                store.settle(at_end=True)

    def _work(self, record: BatchRecord) -> BurstReport | None:
        """Bursts until it is done. None where another process did the last of it."""
        # What else the request names is in its items' recipe, and for nobody else's items.
        overrides = replace(self._request.overrides, template=None, bindings={})
        request = replace(
            self._request, until_done=True, on_error=record.on_error, batch=record.batch, overrides=overrides
        )
        while not self._stop.is_set():
            self._run = Run(request, stop=self._stop, progress=self._progress, clock=self._clock)
            try:
                return self._run.execute()
            except LockHeld:
                if self._is_over_after_following(record):
                    return None
        return None

    def _is_over_after_following(self, record: BatchRecord) -> bool:
        """Look on while another process holds run.lock. False when it is our turn to try."""
        with open_store(self._state, read_only=True) as store:
            lock, news = store.run_lock(), list(self._awaited)
            holder = lock.living_holder()
            self._progress.waits(holder.describe() if holder else "another process")
            while True:
                self._awaited -= {key for key in news if key not in store}
                ended = store.get_many(key for key in news if key in self._awaited)
                for item in [item for item in ended if item.status not in _DUE]:
                    self._awaited.remove(item.key)
                    self._progress.ended(item, number=record.total - len(self._awaited), size=record.total)
                    if item.status is Status.FAILED and record.on_error == "stop":
                        return True
                if not self._awaited or self._stop.is_set():
                    return not self._awaited
                was_held = lock.is_held()
                self._clock.wait(self._stop, _LOOK_SECONDS)
                news = store.refresh()
                if not was_held and not news:
                    return False

    def _generated(self, record: BatchRecord, settings: Settings, report: BurstReport | None) -> Generated:
        with open_store(self._state, read_only=True) as store:
            items = [item for item in store.items() if item.batch == record.batch]
        return Generated.of(
            record,
            items,
            report,
            ended="queued" if self._queue_only else "stopped" if self._stop.is_set() and self._awaited else "done",
            output_dir=settings.output_dir,
            seconds=self._clock.monotonic() - self._started,
            resume=resuming(self._request.overrides, kept_settings(self._state)),
        )


def generate(
    spec: BatchSpec, *, prompts: Iterable[str] | None = None, request: Request | None = None, **how: Any
) -> Generated | Planned:
    """`burst generate` for scripts: see `Generation` for `how`. Errors: as `Generation.execute`.

    `prompts`: texts, where `spec` names no file of them.
    """
    if prompts is not None:
        spec = replace(spec, jsonl=STANDARD_INPUT)
        how["stdin"] = io.BytesIO("\n".join(map(json.dumps, prompts)).encode())
    return Generation(spec, request or Request(), **how).execute()
