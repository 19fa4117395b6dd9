"""The servers of a run: a client and a lane each, and what earlier bursts left with them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.downloads import DOWNLOADS_AT_ONCE
from orchestrator.cycle.routing import Routing
from orchestrator.cycle.thread_pool import ThreadPool
from orchestrator.cycle.uploads import UPLOADS_AT_ONCE
from orchestrator.cycle.worker import Worker
from orchestrator.formatting import counted
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from orchestrator.servers import at_home, canonical_name, is_given_name, other_host, same_server
from orchestrator.settings import Settings
from state.item import Item, Status
from state.store import Store, change_all


@dataclass(frozen=True)
class SharedContext:
    """What all lanes of a run have in common."""

    store: Store
    placement: Placement
    preparation: Preparation
    dispatch: Dispatch
    options: Options
    clock: Clock
    note: Callable[[str], None]
    """Says something in the report."""


@contextlib.contextmanager
def open_workers(
    settings: Settings,
    shared: SharedContext,
    *,
    deadline: float | None,
    abandon: str | None,
    seen: Mapping[str, datetime],
) -> Iterator[list[Worker]]:
    """One lane for each server. `abandon`: a server whose items are given up first. `seen`: other hosts and when each
    was last alive. Errors: SettingsError.
    """
    with contextlib.ExitStack() as held:
        contexts = []
        for server in settings.servers:
            halt = threading.Event()
            headers = settings.resolved_headers(server)
            client = ComfyUI(server.full, headers=headers, deadline=deadline, stop=halt, clock=shared.clock)
            held.enter_context(client)
            contexts.append(
                WorkerContext(
                    store=shared.store,
                    server=server,
                    client=client,
                    placement=shared.placement,
                    preparation=shared.preparation,
                    dispatch=shared.dispatch,
                    options=shared.options,
                    clock=shared.clock,
                    halt=halt,
                )
            )
        if abandon is not None:
            contexts[0].tally.possibly_twice += _abandon(shared, settings, abandon)
        left, strays = _left_on(shared, settings)
        downloads = _pool(held, "download", DOWNLOADS_AT_ONCE)
        yield [
            Worker(
                context,
                downloads,
                _pool(held, "upload", UPLOADS_AT_ONCE),
                left=left[context.server.name],
                strays=strays[context.server.name],
                seen=seen,
                routing=_routing(context, contexts),
            )
            for context in contexts
        ]


def _pool(held: contextlib.ExitStack, name: str, threads: int) -> ThreadPool:
    pool = ThreadPool(name, threads=threads)
    held.callback(pool.close)
    return pool


def _routing(context: WorkerContext, contexts: Sequence[WorkerContext]) -> Routing | None:
    """Among several servers each takes what it can run; a single one is simply sent everything."""
    if len(contexts) == 1:
        return None
    from orchestrator.comfyui.capabilities import Capabilities

    elsewhere = frozenset(other.server.name for other in contexts if other is not context)
    return Routing(Capabilities(context.client), context.preparation, elsewhere=elsewhere)


def _abandon(shared: SharedContext, settings: Settings, text: str) -> int:
    """Give up what is submitted to a server, meant by name or address; how many are due again, to be rendered twice."""
    meant = settings.find_server(text)

    def is_there(item: Item) -> bool:
        if item.server is None:
            return False
        return same_server(item.server, text) or (meant is not None and settings.find_server(item.server) == meant)

    items = [item for item in shared.store.items(Status.SUBMITTED) if is_there(item)]
    given_up = change_all(shared.store, items, lambda now: now.put_back(charge=False))
    shared.note(
        f"{counted(len(given_up))} submitted to {meant.shown if meant else canonical_name(text)} given up; "
        "what it still renders of them is rendered twice."
    )
    return len(given_up)


_ByServer = dict[str, list[Item]]


def _left_on(shared: SharedContext, settings: Settings) -> tuple[_ByServer, _ByServer]:
    """What is submitted, by name of a server; an item whose record names none is looked for on the first. And strays,
    by that server of ours which has the address that theirs has on their host.

    A record that means a server by its address, or in another spelling, gets its name.
    """
    left: _ByServer = {server.name: [] for server in settings.servers}
    strays: _ByServer = {server.name: [] for server in settings.servers}
    elsewhere: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    for item in shared.store.items(Status.SUBMITTED):
        if item.prompt_id is None:
            change_all(shared.store, [item], lambda now: now.put_back(charge=False))
            continue
        server = settings.servers[0] if item.server is None else settings.find_server(item.server)
        if server is None or server not in settings.servers:
            name = canonical_name(str(item.server))
            twin = settings.find_server(at_home(name)) if other_host(name) is not None else None
            if twin is not None and twin in settings.servers:
                strays[twin.name].append(item)
            else:
                elsewhere[name] += 1
        elif item.server == server.name:
            left[server.name].append(item)
        else:
            renamed[item.key] = server.name
    for item in change_all(shared.store, shared.store.get_many(renamed), lambda now: now.move(server=renamed[now.key])):
        left[renamed[item.key]].append(item)
    for name, count in elsewhere.items():
        shared.note(
            f"{counted(count)} submitted to {name}, which this run does not use, stay there. "
            f"{_how_to_reach(settings, name)}; or give them up with --abandon-server {name}."
        )
    return left, strays


def _how_to_reach(settings: Settings, name: str) -> str:
    known = settings.find_server(name)
    if known is not None and known.has_given_name:
        return f"Run with --server {known.name}"
    if is_given_name(name):
        return f"Run with --server {name}=URL"
    if (host := other_host(name)) is not None:
        return f"Run burst on {host}; where that server can be reached from here, with --server-moved {name}=URL"
    return f"Run with --server {name}; where it has a new address, with --server-moved {name}=NEW"
