"""The servers of a run: a client and a lane each, and what earlier bursts left with them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.address import parse_address
from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.downloads import DOWNLOADS_AT_ONCE
from orchestrator.cycle.routing import Routing
from orchestrator.cycle.thread_pool import ThreadPool
from orchestrator.cycle.uploads import UPLOADS_AT_ONCE
from orchestrator.cycle.worker import Worker
from orchestrator.formatting import counted
from orchestrator.outputs import Outputs
from orchestrator.preparation import Preparation
from orchestrator.settings import Settings
from state.item import Item, Status
from state.store import Store, change_all


@dataclass(frozen=True)
class SharedContext:
    """What all lanes of a run have in common."""

    store: Store
    outputs: Outputs
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
) -> Iterator[list[Worker]]:
    """One lane for each server. `abandon`: a server whose items are given up first. Errors: SettingsError."""
    with contextlib.ExitStack() as held:
        contexts = []
        for server in settings.servers:
            halt = threading.Event()
            headers = settings.resolved_headers(server)
            client = ComfyUI(server, headers=headers, deadline=deadline, stop=halt, clock=shared.clock)
            held.enter_context(client)
            contexts.append(
                WorkerContext(
                    store=shared.store,
                    client=client,
                    outputs=shared.outputs,
                    preparation=shared.preparation,
                    dispatch=shared.dispatch,
                    options=shared.options,
                    clock=shared.clock,
                    halt=halt,
                )
            )
        if abandon is not None:
            _abandon(shared, parse_address(abandon).url)
        left = _left_on(shared, [context.client.url for context in contexts])
        downloads = _pool(held, "download", DOWNLOADS_AT_ONCE)
        yield [
            Worker(
                context,
                downloads,
                _pool(held, "upload", UPLOADS_AT_ONCE),
                left=left[context.client.url],
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

    elsewhere = frozenset(other.client.url for other in contexts if other is not context)
    return Routing(Capabilities(context.client), context.preparation, elsewhere=elsewhere)


def _abandon(shared: SharedContext, url: str) -> None:
    """Give up what is submitted to a server: due again, and possibly rendered twice."""
    items = [item for item in shared.store.items(Status.SUBMITTED) if item.server == url]
    given_up = change_all(shared.store, items, lambda now: now.put_back(charge=False))
    shared.note(
        f"{counted(len(given_up))} submitted to {url} given up; what it still renders of them is rendered twice."
    )


def _left_on(shared: SharedContext, urls: Sequence[str]) -> dict[str, list[Item]]:
    """What is submitted, by server; an item whose record names none is looked for on the first."""
    left: dict[str, list[Item]] = {url: [] for url in urls}
    elsewhere: dict[str, int] = {}
    for item in shared.store.items(Status.SUBMITTED):
        url = item.server or urls[0]
        if item.prompt_id is None:
            change_all(shared.store, [item], lambda now: now.put_back(charge=False))
        elif url in left:
            left[url].append(item)
        else:
            elsewhere[url] = elsewhere.get(url, 0) + 1
    for url, count in elsewhere.items():
        shared.note(
            f"{counted(count)} submitted to {url}, which this run does not use, stay there. "
            f"Run with --server {url}; where it has a new address, with --server-moved {url}=NEW; or give them up with "
            f"--abandon-server {url}."
        )
    return left
