"""The servers of a run: a client and a lane each, and what earlier bursts left with them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.collecting import DOWNLOADS_AT_ONCE
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.address import parse_address
from orchestrator.crew import Crew
from orchestrator.lane import Lane
from orchestrator.outputs import Outputs
from orchestrator.prompts import Prompts
from orchestrator.settings import Settings
from orchestrator.suiting import Suiting
from orchestrator.uploading import UPLOADS_AT_ONCE
from orchestrator.wording import counted
from orchestrator.work import Work
from orchestrator.workbench import Options, Workbench
from state.item import Item, Status
from state.json_store import JsonStore
from state.store import change_all


@dataclass(frozen=True)
class Shared:
    """What all lanes of a run have in common."""

    store: JsonStore
    outputs: Outputs
    prompts: Prompts
    work: Work
    options: Options
    clock: Clock
    note: Callable[[str], None]
    """Says something in the report."""


@contextlib.contextmanager
def open_lanes(
    settings: Settings,
    shared: Shared,
    *,
    deadline: float | None,
    abandon: str | None,
) -> Iterator[list[Lane]]:
    """One lane for each server. `abandon`: a server whose items are given up first. Errors: SettingsError."""
    with contextlib.ExitStack() as held:
        benches = []
        for server in settings.servers:
            halt = threading.Event()
            headers = settings.resolved_headers(server)
            client = ComfyUI(server, headers=headers, deadline=deadline, stop=halt, clock=shared.clock)
            held.enter_context(client)
            benches.append(
                Workbench(
                    store=shared.store,
                    client=client,
                    outputs=shared.outputs,
                    prompts=shared.prompts,
                    work=shared.work,
                    options=shared.options,
                    clock=shared.clock,
                    halt=halt,
                )
            )
        if abandon is not None:
            _abandon(shared, parse_address(abandon).url)
        left = _left_on(shared, [bench.client.url for bench in benches])
        downloads = _crew(held, "download", DOWNLOADS_AT_ONCE)
        yield [
            Lane(
                bench,
                downloads,
                _crew(held, "upload", UPLOADS_AT_ONCE),
                left=left[bench.client.url],
                suiting=_suiting(bench, benches),
            )
            for bench in benches
        ]


def _crew(held: contextlib.ExitStack, name: str, threads: int) -> Crew:
    crew = Crew(name, threads=threads)
    held.callback(crew.close)
    return crew


def _suiting(bench: Workbench, benches: Sequence[Workbench]) -> Suiting | None:
    """Among several servers each takes what it can run; a single one is simply sent everything."""
    if len(benches) == 1:
        return None
    from orchestrator.offers import Offer

    elsewhere = frozenset(other.client.url for other in benches if other is not bench)
    return Suiting(Offer(bench.client), bench.prompts, elsewhere=elsewhere)


def _abandon(shared: Shared, url: str) -> None:
    """Give up what is submitted to a server: due again, and possibly rendered twice."""
    items = [item for item in shared.store.items(Status.SUBMITTED) if item.server == url]
    given_up = change_all(shared.store, items, lambda now: now.put_back(charge=False))
    shared.note(
        f"{counted(len(given_up))} submitted to {url} given up; what it still renders of them is rendered twice."
    )


def _left_on(shared: Shared, urls: Sequence[str]) -> dict[str, list[Item]]:
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
