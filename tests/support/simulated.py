"""Workers over fake servers, stepped on a clock that is moved by hand, without threads and without a network."""

from __future__ import annotations

import heapq
import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.pacing import Pace
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.routing import Routing
from orchestrator.cycle.storage_patience import StoragePatience
from orchestrator.cycle.tally import Tally
from orchestrator.cycle.worker import Worker
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place
from orchestrator.recipes import Recipes
from orchestrator.servers import parse_server
from orchestrator.settings import Settings
from state.facts import Pause
from state.item import Item, Priority, Status
from state.lease import Lease
from state.open_store import open_store
from support.fake_transport import FakeServer
from support.fast_disk import FastDisk
from support.hand_clock import HandClock
from support.preparing import preparation_of

TEXT = {
    "1": {"class_type": "StringConcatenate", "inputs": {"string_a": "", "string_b": "", "delimiter": ""}},
    "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
}
"""A workflow that shows its prompt text and makes no image, which would have to be decoded."""


class TakesAll(Routing):
    """A server that can run everything."""

    def __init__(self) -> None:
        self.refused = set()

    def suits(self, item: Item) -> bool:
        return True

    def learn(self) -> bool:
        return False

    def forget(self) -> None:
        pass


class AtOnce:
    """Downloads in the caller's thread."""

    def start(self, job: Callable[[], None]) -> None:
        job()


class Simulation:
    """Items, fake servers, and real workers and clients between them. `priorities`: those of the first items.

    On a state that is there already it takes over what was left submitted. `template`: by default one without images.
    `earlier`: what items of each recipe took before. `state`: of another kind than JSON, which exists.
    """

    def __init__(
        self,
        folder: Path,
        clock: HandClock,
        servers: Sequence[FakeServer],
        *,
        items: int,
        priorities: Sequence[Priority] = (),
        options: Options | None = None,
        template: str | Path | None = None,
        earlier: Mapping[str | None, float] | None = None,
        output: Place | None = None,
        patience: StoragePatience | None = None,
        state: str | None = None,
        overwrite: bool = False,
        **asked: Any,
    ) -> None:
        self.clock, self.servers = clock, servers
        self.store = open_store(state or _json_state(folder), clock=clock, disk=FastDisk())
        self.add([f"{number:04}.txt" for number in range(items)], priorities=priorities)
        self.folder = folder
        self.lease = self.store.lease()
        self.work = Dispatch(self.store, self.lease, progress=Silent(), on_error="continue", **asked)
        root = output or folder / "output"
        placement = Placement(
            Recipes(self.store.recipes, folder), root, disk=FastDisk(), patience=patience, overwrite=overwrite
        )
        bindings = {}
        if template is None:
            template, bindings = folder / "text.json", {"prompt": "1.string_a"}
            template.write_text(json.dumps(TEXT))
        prompts = preparation_of(
            folder, template, bindings=bindings, book=self.store.recipes, items=self.store, output=root
        )
        prompts.patience = patience
        self.workers = [
            Worker(
                WorkerContext(
                    store=self.store,
                    lease=self.lease,
                    server=parse_server(server.url),
                    client=server.client(),
                    placement=placement,
                    preparation=prompts,
                    dispatch=self.work,
                    options=options or Options(),
                    clock=clock,
                    halt=threading.Event(),
                    pace=Pace(lambda: earlier or {}),
                ),
                AtOnce(),
                AtOnce(),
                left=left_on(self.lease, server.url),
                routing=TakesAll(),
            )
            for server in servers
        ]

    def add(self, names: Sequence[str], *, priorities: Sequence[Priority] = (), recipe: str | None = None) -> None:
        """Add items, by default with normal priority and the default recipe."""
        ranked = itertools.zip_longest(names, priorities, fillvalue="normal")
        self.store.add(
            [
                Item(key=name, status=Status.PENDING, filename=name, prompt_text=name, priority=priority, recipe=recipe)
                for name, priority in ranked
            ]
        )

    def add_recipe(self, name: str) -> str:
        """Another recipe like the default one; its id."""
        graph = {**TEXT, "3": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}}
        bindings = {"prompt": "1.string_a"}
        settings = Settings(output_dir=self.folder / "output", template=name, bindings=bindings)
        recipes = Recipes(self.store.recipes, self.folder)
        return recipes.keep(recipes.from_graph(graph, settings, name=name)).id

    def sent(self) -> dict[str, datetime]:
        """Submission time of each item, by key."""
        return {item.key: item.submitted_at for item in self.store.items() if item.submitted_at is not None}

    @property
    def tally(self) -> Tally:
        """What all workers did."""
        return Tally.of(worker.context.tally for worker in self.workers)

    def statuses(self) -> list[Status]:
        return [item.status for item in self.store.items()]

    def burst(self, size: int) -> float:
        """Step all workers until the burst is full or all are idle; returns the time."""
        self.work.begin(size)
        return self._step_until(lambda: self.work.is_full or self.work.is_at_rest)

    def burst_to_end(self, size: int) -> float:
        """The same, also where a server is waited for."""
        self.work.begin(size)
        return self._step_until(
            lambda: (
                self.work.is_full
                or (self.work.is_at_rest and not any(one.is_lost and one.is_worth_waiting for one in self.workers))
            )
        )

    def work_for(self, seconds: float) -> None:
        """Step all workers for so long, in the burst that was begun."""
        end = self.clock.seconds + seconds
        self._step_until(lambda: self.clock.seconds >= end)

    def rest(self, pause: Pause) -> float:
        """The runs of the state are paused: step all workers until they hold nothing; returns the time."""
        self.work.pause = pause
        self.work.stir()
        return self._step_until(lambda: self.work.is_idle)

    def _step_until(self, is_over: Callable[[], bool]) -> float:
        due = [(self.clock.seconds, at) for at in range(len(self.workers))]
        heapq.heapify(due)
        while not is_over():
            self.clock.seconds, at = heapq.heappop(due)
            wait = self.workers[at].turn()
            heapq.heappush(due, (self.clock.seconds + max(wait, 0.002), at))
        return self.clock.seconds

    def close(self) -> None:
        self.lease.end()
        self.store.close()


def _json_state(folder: Path) -> Path:
    state = folder / "state.json"
    if not state.exists():
        state.write_text("{}")
    return state


def left_on(lease: Lease, url: str) -> list[Item]:
    """What an earlier run left submitted on this server, taken over."""
    return lease.take_over([item.key for item in lease.left_behind() if item.server == url])


def idle_seconds(server: FakeServer) -> float:
    """How long it was idle between its first and last prompt."""
    server.tick()
    spans = sorted((one.begin, one.end) for one in server.accepted.values())
    return sum(max(0.0, after[0] - before[1]) for before, after in itertools.pairwise(spans))


def best_seconds(paces: Sequence[float], items: int) -> float:
    """When the best possible schedule of equal items would end."""
    low, high = 0.0, min(paces) * items
    for _ in range(100):
        middle = (low + high) / 2
        enough = sum(int(middle / pace + 1e-9) for pace in paces) >= items
        low, high = (low, middle) if enough else (middle, high)
    return high
