"""A clock moved by hand and simulated servers that follow it: workers are stepped without threads."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.comfyui import HistoryEntry, OutputText, Queue, Submitted
from orchestrator.comfyui.responses import QueuedPrompt
from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.routing import Routing
from orchestrator.cycle.worker import Worker
from orchestrator.errors import ServerUnreachable
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from orchestrator.servers import parse_server
from state.item import Item, Priority, Status
from state.open_store import open_store
from support.fast_disk import FastDisk
from support.preparing import preparation_of

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
TIME_OUT_SECONDS = 5.0


class HandClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        raise AssertionError("a lane waited instead of saying when its next step is due")


@dataclass
class SimulatedServer:
    """Renders one prompt after another, each in `seconds(n)`, `n` from 0. Replaces the ComfyUI client."""

    url: str
    clock: HandClock
    seconds: Callable[[int], float]
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)
    """prompt_id → when it starts and ends."""
    away: tuple[float, float] = (0.0, 0.0)
    """Start and end of the time in which it does not respond."""
    busy: tuple[float, float] = (0.0, 0.0)
    """Start and end of the time in which it answers each request once with 429."""
    slow: tuple[float, float] = (0.0, 0.0)
    """Start and end of the time in which each request times out once and succeeds when repeated."""
    looks: list[float] = field(default_factory=list)
    """Times of the requests of `history`."""
    failures: int = 0
    trouble: str | None = None
    pushbacks: int = 0
    requests_made: int = 0
    has_jobs: bool = False

    def _asked(self) -> None:
        self.requests_made += 1
        if self.away[0] <= self.clock.seconds < self.away[1]:
            self.failures += 1
            raise ServerUnreachable(f"{self.url}: refused", may_have_arrived=False)
        if self.busy[0] <= self.clock.seconds < self.busy[1]:
            self.pushbacks += 1
        if self.slow[0] <= self.clock.seconds < self.slow[1]:
            self.clock.seconds += TIME_OUT_SECONDS
            self.failures += 1
            self.pushbacks += 1

    def submit(
        self, graph: Mapping[str, Any], *, prompt_id: str, number: float, extra_data: Mapping[str, Any]
    ) -> Submitted:
        self._asked()
        free_at = max((end for _, end in self.ends.values()), default=0.0)
        begin = max(free_at, self.clock.seconds)
        self.ends[prompt_id] = begin, begin + self.seconds(len(self.ends))
        return Submitted(prompt_id=prompt_id, number=number, node_errors={})

    def history(self, prompt_id: str) -> HistoryEntry | None:
        self.looks.append(self.clock.seconds)
        self._asked()
        begin, end = self.ends.get(prompt_id, (0.0, float("inf")))
        if end > self.clock.seconds:
            return None
        return HistoryEntry(
            prompt_id=prompt_id,
            graph={},
            extra_data={},
            files=(),
            texts=(OutputText(node_id="1", kind="text", text="done"),),
            succeeded=True,
            interrupted=False,
            failure=None,
            cached_nodes=frozenset(),
            started_at=BEGINNING + timedelta(seconds=begin),
            finished_at=BEGINNING + timedelta(seconds=end),
        )

    def queue(self) -> Queue:
        self._asked()
        now = self.clock.seconds
        waiting = [(QueuedPrompt(name, 0.0, {}), begin) for name, (begin, end) in self.ends.items() if end > now]
        return Queue(
            running=tuple(prompt for prompt, begin in waiting if begin <= now),
            pending=tuple(prompt for prompt, begin in waiting if begin > now),
        )

    def queue_remaining(self) -> int:
        self._asked()
        return sum(end > self.clock.seconds for _, end in self.ends.values())

    def delete_from_queue(self, prompt_ids: Sequence[str]) -> None:
        self._asked()

    @property
    def idle_seconds(self) -> float:
        """How long it was idle between its first and last prompt."""
        spans = sorted(self.ends.values())
        return sum(max(0.0, after[0] - before[1]) for before, after in itertools.pairwise(spans))


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
    """Items, simulated servers and real workers between them. `priorities`: those of the first items."""

    def __init__(
        self,
        folder: Path,
        clock: HandClock,
        servers: Sequence[SimulatedServer],
        *,
        items: int,
        priorities: Sequence[Priority] = (),
        options: Options | None = None,
        **asked: Any,
    ) -> None:
        state = folder / "state.json"
        state.write_text("{}")
        self.clock, self.servers = clock, servers
        self.store = open_store(state, clock=clock, disk=FastDisk())
        self.add([f"{number:04}.txt" for number in range(items)], priorities=priorities)
        self.work = Dispatch(self.store, progress=Silent(), on_error="continue", **asked)
        placement = Placement(Recipes(self.store.recipes, folder), folder / "output", disk=FastDisk())
        prompts = preparation_of(folder, "smoke", book=self.store.recipes)
        self.workers = [
            Worker(
                WorkerContext(
                    store=self.store,
                    server=parse_server(server.url),
                    client=server,  # type: ignore[arg-type]
                    placement=placement,
                    preparation=prompts,
                    dispatch=self.work,
                    options=options or Options(),
                    clock=clock,
                    halt=threading.Event(),
                ),
                AtOnce(),
                AtOnce(),
                left=(),
                routing=TakesAll(),
            )
            for server in servers
        ]

    def add(self, names: Sequence[str], *, priorities: Sequence[Priority] = ()) -> None:
        """Add items, by default with normal priority."""
        ranked = itertools.zip_longest(names, priorities, fillvalue="normal")
        self.store.add(
            [
                Item(key=name, status=Status.PENDING, filename=name, prompt_text=name, priority=priority)
                for name, priority in ranked
            ]
        )

    def sent(self) -> dict[str, datetime]:
        """Submission time of each item, by key."""
        return {item.key: item.submitted_at for item in self.store.items() if item.submitted_at is not None}

    def burst(self, size: int) -> float:
        """Step all workers until the burst is full or all are idle; returns the time."""
        self.work.begin(size)
        due = [(self.clock.seconds, at) for at in range(len(self.workers))]
        heapq.heapify(due)
        while not (self.work.is_full or self.work.is_at_rest):
            self.clock.seconds, at = heapq.heappop(due)
            wait = self.workers[at].turn()
            heapq.heappush(due, (self.clock.seconds + max(wait, 0.002), at))
        return self.clock.seconds

    def close(self) -> None:
        self.store.close()


def best_seconds(paces: Sequence[float], items: int) -> float:
    """When the best possible schedule of equal items would end."""
    low, high = 0.0, min(paces) * items
    for _ in range(100):
        middle = (low + high) / 2
        enough = sum(int(middle / pace + 1e-9) for pace in paces) >= items
        low, high = (low, middle) if enough else (middle, high)
    return high
