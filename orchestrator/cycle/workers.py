"""The workers of a run: one for each server, with what earlier bursts left there."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from orchestrator.abandonment import Silence, give_up_items, give_up_server, text_of_giving_up
from orchestrator.clients import Manner, client_for
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.events import Hearer, Listener
from orchestrator.cycle.client_ids import client_id_for
from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.downloads import DOWNLOADS_AT_ONCE
from orchestrator.cycle.hearing import Source
from orchestrator.cycle.pacing import Pace
from orchestrator.cycle.routing import Routing
from orchestrator.cycle.thread_pool import ThreadPool
from orchestrator.cycle.uploads import UPLOADS_AT_ONCE
from orchestrator.cycle.worker import Worker
from orchestrator.errors import SettingsError, UsageError, located
from orchestrator.formatting import counted
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from orchestrator.registered_servers import find_registered
from orchestrator.servers import Server, at_home, canonical_name, is_given_name, other_host
from orchestrator.settings import Settings
from orchestrator.wording import named
from state.change import change_all
from state.item import Item, Status
from state.lease import Lease
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.restarts import Restarts


class SharedContext(msgspec.Struct, frozen=True):
    """What all workers of a run share."""

    store: Store
    lease: Lease
    placement: Placement
    preparation: Preparation
    dispatch: Dispatch
    options: Options
    clock: Clock
    earlier_seconds: Callable[[str], Mapping[str | None, float]]
    """What items of each recipe took in earlier bursts, on the server of this name as far as that is known."""
    note: Callable[[str], None]
    """Adds a line to the report."""
    silence: Silence
    restarts: Restarts | None = None
    """The commands of this host, if it has any."""


class _Left(msgspec.Struct):
    """What earlier bursts left submitted, by name of a server."""

    here: dict[str, list[Item]] = msgspec.field(default_factory=lambda: defaultdict(list))
    strays: dict[str, list[Item]] = msgspec.field(default_factory=lambda: defaultdict(list))
    """On a loopback server of another host: by that server of ours which has the same address here."""
    elsewhere: dict[str, list[Item]] = msgspec.field(default_factory=lambda: defaultdict(list))
    """On a server that this run does not use."""


class WorkerPool:
    """A worker for each server that the run itself uses, and for each that recipes of remaining items name.

    Used by one thread, which starts the workers' threads; closed by the `with` that opened it.
    """

    def __init__(
        self, settings: Settings, shared: SharedContext, *, deadline: float | None, seen: Mapping[str, datetime]
    ) -> None:
        """`seen`: other hosts, and when each was last alive."""
        self.workers: list[Worker] = []
        """Those opened so far; the run's own come first."""
        self._own = settings.servers
        self._settings = settings
        self._shared = shared
        self._deadline = deadline
        self._seen = seen
        self._looked_at: set[str | None] = set()
        """Recipes whose servers have a worker, as far as their addresses are known."""
        self._mark = shared.store.changes().mark
        """What others changed before that is known."""
        self._held = contextlib.ExitStack()
        self._downloads = self._threads("download", DOWNLOADS_AT_ONCE)

    def open(self, *, abandon: str | None = None) -> None:
        """Open the workers. `abandon`: a server whose items are given up first. Errors: SettingsError, StateError."""
        if self._shared.preparation.has_named_servers():
            self._add_servers(self._shared.store.recipe_counts(Status.PENDING, Status.SUBMITTED))
        given_up = self._abandon(abandon) if abandon is not None else 0
        left = self._left_on(self._settings.servers)
        for name, items in left.elsewhere.items():
            if (due := self._given_up(name, items)) is not None:
                given_up += due
                continue
            self._shared.note(
                f"{counted(len(items))} submitted to {name}, which this run does not use, stay there. "
                f"{_how_to_reach(self._settings, name)}; or give them up with {named('abandon_server', name)}."
            )
        self._open(self._settings.servers, left)
        self.workers[0].context.tally.possibly_twice += given_up

    def follow(self) -> None:
        """Take in what other processes changed, and open the workers that this needs. Errors: StateError."""
        dispatch = self._shared.dispatch
        news = self._shared.store.news(self._mark, of=dispatch.known())
        self._mark = news.mark
        if news.is_any:
            for key in news.keys:
                dispatch.changed_by_others(key)
            self._serve_recipes(news.recipes)
            dispatch.stir()

    def serve(self) -> None:
        """Open the workers for items that no worker may have. Errors: StateError."""
        for item in self._shared.dispatch.take_unserved():
            self._serve(item)
        self._inherit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()

    def take_back_unclear(self) -> bool:
        """Have what was left for a later burst looked up again, where its server answers or is waited for; False if
        there is nothing of the kind."""
        dispatch = self._shared.dispatch
        kept = {worker.context.server.name for worker in self.workers if worker.is_lost and worker.is_worth_waiting}
        left = list(self._shared.store.get_many(sorted(dispatch.unclear)))
        waited_for = {item.key for item in left if item.server in kept}
        dispatch.unclear.intersection_update(waited_for)
        return self._go_on_with(left) or bool(waited_for)

    def _inherit(self) -> None:
        """Go on with what runs that died meanwhile have left on servers that answer; what they had claimed is due."""
        lease, unclear = self._shared.lease, self._shared.dispatch.unclear
        if lease.is_any_left([worker.context.server.name for worker in self.workers if not worker.is_lost]):
            ours = [key for worker in self.workers for key in worker.undecided]  # first: they come to `unclear`
            ours += unclear
            self._go_on_with(item for item in lease.left_behind() if item.key not in ours)

    def _go_on_with(self, items: Iterable[Item]) -> bool:
        """Whether any of these submitted items are on servers that answer, and nobody else holds them."""
        heirs = {worker.context.server.name: worker for worker in self.workers if not worker.is_lost}
        left = [item for item in items if item.server in heirs and item.prompt_id is not None]
        ours = self._shared.lease.take_over(item.key for item in left)
        for item in ours:
            heirs[str(item.server)].inherit(item)
        self._shared.dispatch.stir()
        return bool(ours)

    def _serve_recipes(self, recipes: Iterable[str | None]) -> None:
        """Open workers for the servers that these recipes name."""
        if servers := self._add_servers(recipes):
            self._open(servers, self._left_on(servers))
            self._shared.dispatch.stir()

    def _serve(self, item: Item) -> None:
        """Open workers for an item that no worker may have; set its recipe aside if no address is known."""
        self._serve_recipes([item.recipe])
        if not any(worker.may_have(item) for worker in self.workers):
            self.workers[0].context.set_recipe_aside(item, self._why_unserved(item))

    def _add_servers(self, recipes: Iterable[str | None]) -> tuple[Server, ...]:
        """The servers that these recipes name and that have no worker yet; the settings include them from now on."""
        names: list[str] = []
        for recipe in recipes:
            if recipe not in self._looked_at:
                self._looked_at.add(recipe)
                names += self._shared.preparation.servers_of(recipe)
        before = len(self._settings.servers)
        self._settings = self._settings.with_servers(names)
        return self._settings.servers[before:]

    def _why_unserved(self, item: Item) -> SettingsError:
        """The reason, and what to do."""
        if needs := self._shared.preparation.needs_of(item.recipe):
            labels = ", ".join(needs)
            return SettingsError(
                f"its items need a server with the label{'s' if len(needs) > 1 else ''} {labels}, which none that this "
                f"run uses has; `burst servers add NAME --label LABEL` gives one, `burst update` with {named('needs')} "
                "other items other needs"
            )
        for name in self._shared.preparation.servers_of(item.recipe):
            try:
                self._settings.server_named(name)
            except SettingsError as error:
                return SettingsError(f"{error} Or give its items other servers with `burst update --server`")
        raise AssertionError(f"{item.key} has a server")

    def _open(self, servers: Sequence[Server], left: _Left) -> None:
        for server in servers:
            context = self._context(server)
            worker = Worker(
                context,
                self._downloads,
                self._threads("upload", UPLOADS_AT_ONCE),
                left=left.here[server.name],
                strays=left.strays[server.name],
                seen=self._seen,
                routing=Routing(context.client, context.preparation),
            )
            self._held.callback(worker.hearing.close)
            self.workers.append(worker)

    def _context(self, server: Server) -> WorkerContext:
        """Errors: SettingsError."""
        shared, halt = self._shared, threading.Event()
        manner: Manner = {
            "client_id": client_id_for(shared.store.facts, server.name, at=shared.clock.now()),
            "deadline": self._deadline,
            "stop": halt,
            "clock": shared.clock,
        }
        if shared.options.patience_seconds is not None:
            manner["retry_seconds"] = shared.options.patience_seconds
        client = client_for(server, self._settings, **manner)
        self._held.enter_context(client)
        return WorkerContext(
            store=shared.store,
            lease=shared.lease,
            server=server,
            client=client,
            placement=shared.placement,
            preparation=shared.preparation,
            dispatch=shared.dispatch,
            options=shared.options,
            clock=shared.clock,
            halt=halt,
            silence=shared.silence,
            labels=self._labels(server),
            restarts=shared.restarts,
            is_own=server in self._own,
            pace=Pace(partial(shared.earlier_seconds, server.name)),
            listen=self._listening(client, server) if client.terms.has_events else None,
            names=tuple(one.name for one in self._settings.all_servers if one.is_at(server.url)),
        )

    def _labels(self, server: Server) -> frozenset[str]:
        entry = find_registered(server, self._settings.registered)
        return frozenset(entry.labels if entry is not None else ())

    def _listening(self, client: ComfyUI, server: Server) -> Callable[[Hearer], Source]:
        return lambda hearer: Listener(client.open_events, hearer, name=server.shown, clock=self._shared.clock)

    def _threads(self, name: str, threads: int) -> ThreadPool:
        pool = ThreadPool(name, threads=threads)
        self._held.callback(pool.close)
        return pool

    def _abandon(self, text: str) -> int:
        """Give up what is submitted to a server; how many items are due again. Errors: as `give_up_server`."""
        with located(named("abandon_server"), UsageError):
            given_up = give_up_server(self._shared.store, self._shared.lease, self._settings, text)
        self._shared.note(
            f"{counted(given_up.due)} submitted to {given_up.server} given up; "
            "what it still renders of them is rendered twice."
        )
        return given_up.due

    def _given_up(self, name: str, items: Sequence[Item]) -> int | None:
        """How many of these items are due again, because their server has been silent for too long; None: it has not.

        A server that no run here can ask: only somebody else's sign of life tells that it is there.
        """
        now, holders = self._shared.lease.now(), self._shared.store.holders()
        silent = self._shared.silence.too_long(name, items, now=now, holders=holders)
        if silent is None:
            return None
        given_up = give_up_items(self._shared.lease, items, name)
        self._shared.note(text_of_giving_up(given_up, silent))
        return given_up.due

    def _left_on(self, servers: Sequence[Server]) -> _Left:
        """Take over what is submitted to these servers; an item whose record names none is looked for on the first.

        A record that means a server by its address, or in another spelling, gets its name.
        """
        settings, lease, left = self._settings, self._shared.lease, _Left()
        here: dict[str, str] = {}
        strays: dict[str, str] = {}
        for item in list(lease.left_behind()):
            if item.prompt_id is None:
                change_all(lease, [item], lambda now: now.put_back(charge=False))
                continue
            server = settings.servers[0] if item.server is None else settings.find_server(item.server)
            if server is None or server not in settings.servers:
                name = canonical_name(server.name if server is not None else str(item.server))
                twin = settings.find_server(at_home(name)) if other_host(name) is not None else None
                if twin is None or twin not in settings.servers:
                    left.elsewhere[name].append(item)
                elif twin in servers:
                    strays[item.key] = twin.name
            elif server in servers:
                here[item.key] = server.name
        renamed = []
        for item in lease.take_over([*here, *strays]):
            if item.key in strays:
                left.strays[strays[item.key]].append(item)
            elif item.server == here[item.key]:
                left.here[item.server].append(item)
            else:
                renamed.append(item)
        named = change_all(lease, renamed, lambda now: now.move(server=here[now.key]))
        for item in named:
            left.here[here[item.key]].append(item)
        lease.release({item.key for item in renamed} - {item.key for item in named})
        return left


def _how_to_reach(settings: Settings, name: str) -> str:
    known = settings.find_server(name)
    if known is not None and known.has_given_name:
        return f"Run with {named('servers', known.name)}"
    if is_given_name(name):
        return f"Run with {named('servers', f'{name}=URL')}"
    if (host := other_host(name)) is not None:
        moved = named("server_moved", "URL", key=name)
        return f"Run burst on {host}; where that server can be reached from here, with {moved}"
    moved = named("server_moved", "NEW", key=name)
    return f"Run with {named('servers', name)}; where it has a new address, with {moved}"
