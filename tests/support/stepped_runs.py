"""Whole runs side by side on one state in a database: their workers, pools and cycles over fake servers, stepped on one
clock that is moved by hand."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator.abandonment import Silence
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.terms import Terms
from orchestrator.cycle.bursts import is_any_left
from orchestrator.cycle.context import Options
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.loop import Cycle, Ending
from orchestrator.cycle.others_work import OthersWork
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.workers import SharedContext, WorkerPool
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.servers import Server, parse_server
from orchestrator.settings import Settings
from state.open_store import open_store
from state.server import RegisteredServer
from state.sql.change_detector import POLL_SECONDS
from support.fake_transport import FakeServer
from support.hand_clock import HandClock, PassingClock
from support.simulated import TEXT, AtOnce

_LOOK_SECONDS = 0.25
_SIZE = 2
"""Items of a burst."""


class _SteppedCycle(Cycle):
    """Its workers have no threads."""

    def _start(self) -> None:
        pass


class _NoThreads(AtOnce):
    def close(self) -> None:
        pass


class SteppedRun:
    """One run, on one server called `name`, burst after burst until all is done.

    `kill` it, or step it until `ended` says how it ended.
    """

    def __init__(
        self, stage: Stage, name: str, server: FakeServer, *, labels: Sequence[str] = (), seconds: float | None = None
    ) -> None:
        clock = stage.clock
        self.name = name
        self.ended: Ending | None = None
        self.server = server
        self._until = None if seconds is None else clock.seconds + seconds
        self._closing = contextlib.ExitStack()
        self.store = self._closing.enter_context(open_store(stage.address, clock=clock))
        entry = RegisteredServer(name=name, url=server.url, at=datetime.now(UTC), labels=tuple(labels))
        settings = Settings(
            output_dir=stage.folder / "output",
            template=str(stage.template),
            bindings={"prompt": "1.string_a"},
            servers=(parse_server(f"{name}={server.url}"),),
            registered=(entry,),
        )
        self.lease: Any = self._closing.enter_context(self.store.lease())
        self.lease.renew_no_more()  # by its own thread: `step` does it by the clock of the test
        recipes = Recipes(self.store.recipes, stage.folder)
        self.dispatch = Dispatch(self.store, self.lease, progress=Silent(), until_done=True, on_error="continue")
        shared = SharedContext(
            store=self.store,
            lease=self.lease,
            placement=Placement(recipes, settings.output_dir),
            preparation=Preparation(recipes, settings, stage.folder, items=self.store),
            dispatch=self.dispatch,
            options=Options(),
            clock=clock,
            earlier_seconds=lambda server: {},
            note=lambda note: None,
            silence=Silence((), ()),
        )
        self.pool = self._closing.enter_context(WorkerPool(settings, shared, deadline=None, seen={}))
        self.pool.open()
        self.lease.begin_burst(burst=name, size=_SIZE, started_at=clock.now(), run_started_at=clock.now())
        self._cycle = _SteppedCycle(
            self.pool,
            self.dispatch,
            self.store,
            clock=clock,
            stop=threading.Event(),
            check=self.lease.check,
            late=lambda: "deadline" if self._until is not None and clock.seconds >= self._until else None,
            seconds_left=lambda: None,
            publish_wait=self.lease.publish_wait,
            meanwhile=lambda: None,
            show=lambda: None,
            others=OthersWork(self.lease, self.dispatch, clock, is_meant=True),
        )
        self._cycle.begin(_SIZE)
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Callable[[], float]]] = []
        self._plan(clock.seconds, self._look)
        self._plan(clock.seconds + POLL_SECONDS, self._beat)
        for worker in self.pool.workers:
            self._plan(clock.seconds, worker.turn)

    @property
    def due_at(self) -> float:
        """When its next step is due."""
        return self._due[0][0]

    def step(self, now: float) -> None:
        """That step; an error of the run is raised."""
        _, _, work = heapq.heappop(self._due)
        self._plan(now + max(work(), 0.002), work)

    def kill(self) -> None:
        """It does nothing more, and its lease ends by itself."""
        self.ended = "stopped"

    def close(self) -> None:
        self._closing.close()

    def _plan(self, at: float, work: Callable[[], float]) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), work))

    def _look(self) -> float:
        ending = self._cycle.ending()
        if ending == "done" and self.dispatch.is_getting_on and is_any_left(self.store):
            self._cycle.begin(_SIZE)
        elif ending is not None:
            self.ended = ending
            self.lease.end()
        else:
            self._cycle.look()
        return _LOOK_SECONDS

    def _beat(self) -> float:
        self.lease._look()
        return POLL_SECONDS


class Stage:
    """The state, the servers and the clock of all runs of a test."""

    def __init__(self, address: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.address, self.folder, self.clock = address, folder, HandClock()
        self.template = folder / "text.json"
        self.template.write_text(json.dumps(TEXT))
        self.runs: list[SteppedRun] = []
        self._servers: dict[str, FakeServer] = {}
        patch.setattr("orchestrator.cycle.workers.client_for", self._client)
        patch.setattr("orchestrator.cycle.workers.ThreadPool", lambda name, threads: _NoThreads())

    def run(self, name: str, *, item_seconds: float = 2.0, **options: Any) -> SteppedRun:
        """One more run, on a server of its own."""
        url = f"http://{name}:8188"
        server = self._servers.setdefault(url, FakeServer(url, self.clock, lambda _: item_seconds))
        self.runs.append(SteppedRun(self, name, server, **options))
        return self.runs[-1]

    def play(self, *, until: Callable[[], bool] | None = None, seconds: float = 10_000.0) -> float:
        """Step all runs that have not ended, in the order of time; how many seconds passed."""
        began = self.clock.seconds
        while self.clock.seconds < began + seconds and not (until is not None and until()):
            at_work = [run for run in self.runs if run.ended is None]
            if not at_work:
                break
            run = min(at_work, key=lambda one: one.due_at)
            self.clock.seconds = max(self.clock.seconds, run.due_at)
            run.step(self.clock.seconds)
        return self.clock.seconds - began

    def close(self) -> None:
        for run in self.runs:
            run.close()

    def _client(self, server: Server, settings: Settings, **manner: Any) -> ComfyUI:
        fake = self._servers[server.url]
        return ComfyUI(fake.url, transport=fake, clock=PassingClock(self.clock), terms=Terms(has_events=False))
