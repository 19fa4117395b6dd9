"""`burst generate`: a batch is planned, added to the state, and worked off by bursts until it is done.

The same request made again is answered by the batch that it has, if that is not done or its report was never received.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import threading
import uuid
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.batch_work import BatchWork
from orchestrator.batches.generate_report import Generated, Planned, resuming
from orchestrator.batches.picks import picks_of
from orchestrator.batches.planning import Draft, Plan, Planner, requested_recipe
from orchestrator.batches.request_identity import RequestIdentity, Standing, standings_of
from orchestrator.batches.sidecars import read_reproduction
from orchestrator.batches.sources import STANDARD_INPUT, read_source
from orchestrator.batches.spec import BatchSpec
from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.bursts import Age
from orchestrator.cycle.crash_record import crashed_without_lease
from orchestrator.cycle.dispatch import Progress
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.errors import BurstError, DiskFull, NotComfyUI, StopBurst, TransientError
from orchestrator.intake import Intake
from orchestrator.known_servers import judged
from orchestrator.migration import open_for_writing
from orchestrator.model_order import ModelsOfItems, grouped
from orchestrator.node_classes import asked_once, kept_classes, known_classes
from orchestrator.outputs.collisions import refuse_collisions
from orchestrator.outputs.placement import Placement, path_at, placement_of
from orchestrator.pause_text import RESUME
from orchestrator.places import Place, root_named
from orchestrator.preparation import Preparation
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.row_recipes import row_recipes
from orchestrator.settings import (
    Settings,
    kept_settings,
    load_settings,
    refuse_secrets,
    remember_servers,
    save_settings,
)
from orchestrator.ui_workflows import Conversion
from state.batch import BatchRecord, DeliveredRecord, Idempotency, JoinedRecord
from state.item import DUE, Item
from state.open_store import open_store, parts_of
from state.store import Store

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Chosen:
    """The batch that a call works on."""

    record: BatchRecord
    due: Sequence[str]
    """Keys of its items that are to be done."""
    call: str | None
    """By which name its log knows this call; None where that needs no note, for nothing is left and it was reported."""
    continued: bool
    notes: tuple[str, ...] = ()
    """About what was planned."""


@dataclass(frozen=True)
class _Drafted:
    """A request with what it was understood by."""

    settings: Settings
    recipes: Recipes
    planner: Planner
    """Without servers."""
    draft: Draft


class Generation:
    """One call of `burst generate`. `execute` may be called once; the others from another thread, as of a `Run`.

    `recipe`: the id of one of this state's, whose workflow and bindings are used where the request names no template.
    `pin_servers`: whether servers that the overrides name are part of the recipe, as those of a person's own request.
    `ask_servers`: whether names are held against what servers have; without it, unless `queue_only`.
    `patience_seconds`: how long a server that does not answer is asked for them again.
    `request` says how the bursts work; what it says of a batch, `--until-done` and `on_error` is the batch's to say.
    `takes_paths`: whether a list may name files, templates and output directories of this host.
    `always_new`: make another batch, whatever the same request has already. `idempotency`: the caller's key for this
    request; the batch that was made with it answers it.
    `then`: the name of a command in the configuration of hosts, which one of them runs once the batch is done.
    `deliver` hands the report to the caller, and returns whether the caller has it; without it, when `execute` returns.
    """

    _names_are_ids = False
    """Whether a column `name` of a list tells its rows apart in any layout."""

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
        takes_paths: bool = True,
        always_new: bool = False,
        idempotency: Idempotency | None = None,
        deliver: Callable[[Generated | Planned], bool] = lambda outcome: True,
        secret_env: str | None = None,
        then: str | None = None,
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
        self._takes_paths = takes_paths
        self._always_new = always_new
        self._idempotency = idempotency
        self._deliver = deliver
        self._secret_env = secret_env
        self._then = then
        self._stdin = stdin
        self._stop = stop or threading.Event()
        self._progress_of = progress or (lambda record: Silent())
        self._clock = clock or Clock()
        self._age = Age.of_now(self._clock)
        self._work: BatchWork | None = None
        self._queued: tuple[list[Item], tuple[str, ...]] | None = None
        """As `_standing`, once it is known for good."""
        self._classes = asked_once(known_classes if self._asks else kept_classes)
        self._data: bytes | None = None
        """What its source of prompts holds: read once, for a pipe cannot be read again."""

    def execute(self) -> Generated | Planned:
        """Plan and add, or find the batch that this request has already; run bursts until it is done; report.

        Errors before anything is added: UsageError, TemplateError, SettingsError, StateError, ServerDown where the
        servers cannot be asked for the names of models, StopBurst when told to stop.
        """
        if self._state.is_dir():
            open_store(self._state, read_only=True).close()  # refuses it, before servers take their time
        if self._dry_run:
            planned = self._planned()
            self._deliver(planned)
            return planned
        try:
            return self._worked_off(self._choose())
        except BurstError:
            raise
        except Exception as error:
            raise crashed_without_lease(error, self._state, self._age) from error

    def _worked_off(self, chosen: _Chosen) -> Generated:
        report = None
        if not self._queue_only:
            self._work = BatchWork(
                chosen.record,
                chosen.due,
                self._request,
                stop=self._stop,
                progress=self._progress_of(chosen.record),
                clock=self._clock,
            )
            report = self._work.execute()
        generated = self._generated(chosen, report)
        if self._deliver(generated):
            self._note_delivered(chosen, generated)
        return generated

    def request_stop(self, signal: str | None = None) -> None:
        """End after the next checkpoint; the batch stays and goes on with the next burst."""
        self._stop.set()
        if self._work is not None:
            self._work.request_stop(signal)

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now; see `Run.abandon`."""
        if self._work is not None:
            self._work.abandon(timeout_seconds=timeout_seconds)

    def _planned(self) -> Planned:
        drafted = self._draft()
        earlier, plan = self._earlier(drafted), self._plan(drafted)
        if earlier is None and self._parts.exists():
            with open_store(self._state, read_only=True) as store:
                self._refuse_collisions(plan, drafted, store)
        return Planned(plan, continues=earlier.record if earlier is not None else None)

    def _choose(self) -> _Chosen:
        """Add the batch, or join the one that this request has already: decided while nobody else adds one."""
        seen, drafted = self._seen(), self._draft()
        # Planned before the lock, for servers take their time; they need not answer for a batch that is there.
        plan = self._plan(drafted) if self._earlier(drafted) is None else None
        with contextlib.ExitStack() as held:
            # Before the lock, whose file would stay in a new folder beside a state that cannot be read.
            is_by_hand = self._parts.exists() and not self._parts.settings.exists()
            opened = held.enter_context(open_for_writing(self._state, clock=self._clock)) if is_by_hand else None
            held.enter_context(self._parts.adding())
            if self._seen() != seen:
                drafted, plan = self._draft(), None
            earlier = self._earlier(drafted)
            if earlier is None:
                plan = plan or self._plan(drafted)
            if self._stop.is_set():
                raise StopBurst("stopped before anything was added")
            if earlier is not None:
                return _Chosen(earlier.record, earlier.due, self._join(earlier), True)
            assert plan is not None
            self._add(plan, drafted, opened)
            return _Chosen(plan.record, [item.key for item in plan.items], "", False, plan.notes)

    def _seen(self) -> tuple[Hashable, ...]:
        """Another one when a batch was added meanwhile: it may have taken the directory, or made the state."""
        return self._parts.batches.stamp(), self._parts.settings.stamp()

    def _draft(self) -> _Drafted:
        """May be repeated. Nothing is written; a server is asked for node classes that are not kept here."""
        state, reproduction, base = self._state, None, None
        overrides = self._request.overrides
        settings = load_settings(state, overrides)
        recipes = Recipes(self._parts.recipes, state.parent)
        if self._asked.from_batch is not None:
            self._data = self._picked(settings, recipes)
        elif self._data is None:
            self._data = read_source(self._asked, stdin=self._stdin)
        if self._asked.from_file is not None:
            path = Path(self._asked.from_file)
            reproduction = read_reproduction(
                path,
                home=state.parent,
                template=overrides.template,
                recipes=recipes,
                data=self._data,
                convert=Conversion(settings),
            )
            if overrides.template is None and reproduction.template is not None:
                settings = replace(settings, template=reproduction.template, outputs=overrides.outputs or ())
            base = reproduction.recipe
            if reproduction.graph is not None:
                name = recipes.kept(path.absolute())
                settings = replace(settings, outputs=overrides.outputs or ())
                base = recipes.from_graph(reproduction.graph, settings, name=name, classes=self._classes)
        elif self._recipe is not None:
            base = recipes.loaded(self._recipe)
        if not self._parts.settings.exists():
            refuse_secrets(settings)
        pinned = [server.kept_name for server in settings.servers] if overrides.servers and self._pin_servers else ()
        recipe = self._requested(recipes, settings, base, pinned)
        planner = Planner(
            recipe=recipe,
            preparation=Preparation(recipes, settings, state.parent),
            home=state.parent,
            servers=(),
            secret_env=self._secret_env,
            then=self._then,
            row_recipe=row_recipes(recipes, settings, recipe, classes=self._classes),
            names_are_ids=self._names_are_ids,
            takes_paths=self._takes_paths,
        )
        draft = planner.draft(self._asked, reproduction=reproduction, data=self._data)
        return _Drafted(settings, recipes, planner, draft)

    def _picked(self, settings: Settings, recipes: Recipes) -> bytes:
        """What of another batch this one is made from, as it is now. Errors: StateError, UsageError."""
        home = self._state.parent
        with open_store(self._state, read_only=True) as store:
            default = kept_settings(self._state) if self._parts.settings.exists() else settings
            preparation = Preparation(recipes, default, home, items=store)
            placement = placement_of(store, default, recipes=recipes)
            return picks_of(store, self._asked.checked(), placement=placement, preparation=preparation).as_bytes()

    def _requested(
        self, recipes: Recipes, settings: Settings, base: LoadedRecipe | None, servers: Sequence[str]
    ) -> LoadedRecipe:
        overrides = self._request.overrides
        return requested_recipe(recipes, settings, overrides, base=base, servers=servers, classes=self._classes)

    def _plan(self, drafted: _Drafted, *, base_seed: int | None = None) -> Plan:
        """May be repeated. Nothing is written."""
        settings = drafted.settings
        directories = {batch.record.directory for batch in self._parts.batches.read().values()}
        listed = drafted.draft.listed
        roots = {root_named(entry.output) for entry in listed.entries if entry.output} if listed is not None else set()

        def taken(name: str) -> bool:
            return name in directories or any(path_at(root, name).exists() for root in (settings.output_dir, *roots))

        with contextlib.ExitStack() as held:
            servers = self._clients(settings, held) if self._asks else ()
            planner = replace(drafted.planner, servers=servers)
            at = self._clock.now().astimezone()
            try:
                return planner.plan(
                    drafted.draft, at=at, taken=taken, idempotency=self._idempotency, base_seed=base_seed
                )
            except NotComfyUI as error:
                raise self._judged(error, settings) from error

    def _judged(self, error: NotComfyUI, settings: Settings) -> TransientError:
        server = settings.find_server(error.url)
        if server is None or not self._parts.exists():
            return error
        with open_store(self._state, read_only=True) as store:
            return judged(error, store, server)

    def _earlier(self, drafted: _Drafted) -> Standing | None:
        """The batch that this request has already. Errors: RequestConflict."""
        identity = RequestIdentity(
            drafted.draft.parts, self._asked.name, always_new=self._always_new, idempotency=self._idempotency
        )
        candidates = identity.candidates(self._parts.batches.read().values())
        if not candidates or not self._parts.exists():
            return None
        with open_store(self._state, read_only=True) as store:
            return identity.answered_by(standings_of(store, candidates))

    def _refuse_collisions(self, plan: Plan, drafted: _Drafted, store: Store) -> None:
        """Errors: UsageError."""
        refuse_collisions(Placement(drafted.recipes, self._default(drafted.settings)), plan.items, store=store)

    def _default(self, settings: Settings) -> Place:
        """The output root of items without a recipe: what this request names is not for them."""
        return kept_settings(self._state).output_dir if self._parts.settings.exists() else settings.output_dir

    def _clients(self, settings: Settings, held: contextlib.ExitStack) -> list[ComfyUI]:
        clients = (
            client_for(
                server,
                settings,
                retry_seconds=self._patience_seconds,
                stop=self._stop,
                clock=self._clock,
            )
            for server in settings.servers
        )
        return [held.enter_context(client) for client in clients]

    def _add(self, plan: Plan, drafted: _Drafted, opened: Store | None) -> None:
        """The recipe first: items without it could not be made; it does no harm without them. Errors: UsageError.

        `opened`: the state, where it is open already.
        """
        is_new = not self._parts.settings.exists()
        with opened if opened is not None else open_for_writing(self._state, create=True, clock=self._clock) as store:
            if opened is not None:
                store.refresh()
            if len(store):
                self._refuse_collisions(plan, drafted, store)
            if is_new:
                save_settings(self._state, drafted.settings)
            elif plan.recipes[0].recipe.servers:
                remember_servers(self._state, drafted.settings.servers)
            book = Recipes(store.recipes, self._state.parent)
            for recipe in plan.recipes:
                book.keep(recipe)
            # In the order in which they are due, which loads each model once; their numbers stay as they were planned.
            made = {recipe.recipe.id: recipe for recipe in plan.recipes}
            models = ModelsOfItems(lambda item: made[item.recipe or ""])
            intake = Intake(store, book, drafted.planner.preparation, self._default(drafted.settings))
            store.add(intake.all(grouped(plan.items, models.of)), batch=plan.record)
            # The journal has them: who is told of an error now would add them again.
            with contextlib.suppress(DiskFull):
                store.settle(at_end=True)
            if self._queue_only:
                self._queued = self._standing(store, plan.record)

    def _join(self, earlier: Standing) -> str | None:
        """Note that this call waits for a batch too, so that it gets a report even where another call had one."""
        unanswered = earlier.batch.unanswered
        if self._idempotency is not None:
            return "" if "" in unanswered else None  # the call that made it was this one, whose answer was lost
        if not earlier.due:
            return unanswered[-1] if unanswered else None
        call = uuid.uuid4().hex[:12]
        joined = JoinedRecord(batch=earlier.batch.id, call=call, at=self._clock.now())
        self._parts.batches.append(joined)
        return call

    def _generated(self, chosen: _Chosen, report: BurstReport | None) -> Generated:
        if self._queued is None:
            with open_store(self._state, read_only=True) as store:
                self._queued = self._standing(store, chosen.record)
        items, directories = self._queued
        is_left = any(item.status in DUE for item in items)
        pause = self._parts.pause() if is_left else None
        is_queued = self._queue_only and (is_left or not chosen.continued)
        return Generated.of(
            chosen.record,
            items,
            report,
            continued=chosen.continued,
            ended="queued" if is_queued else "stopped" if self._stop.is_set() and is_left else "done",
            directories=directories,
            seconds=self._age.seconds(),
            resume=resuming(self._request.overrides, kept_settings(self._state)) if pause is None else RESUME,
            pause=pause if report is None else None,
            planned_notes=chosen.notes,
        )

    def _standing(self, store: Store, record: BatchRecord) -> tuple[list[Item], tuple[str, ...]]:
        """The items of a batch, and where their images go."""
        items = sorted(store.items(batch=record.batch), key=lambda item: item.index or 0)
        placement = placement_of(store, kept_settings(self._state))
        return items, placement.shown_directories(record, (item.recipe for item in items))

    def _note_delivered(self, chosen: _Chosen, generated: Generated) -> None:
        """The caller has what it asked for. A report with work left is no answer: the same request goes on with it."""
        if chosen.call is None or (generated.remaining and not self._queue_only):
            return
        try:
            self._parts.batches.append(
                DeliveredRecord(batch=chosen.record.batch, call=chosen.call, at=self._clock.now())
            )
        except (BurstError, OSError) as error:
            _logger.warning("that this report was delivered could not be noted, so it may come again: %s", error)


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
