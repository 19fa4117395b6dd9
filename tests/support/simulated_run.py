"""A run of burst that is opened from disk, stepped one worker at a time and killed at any moment."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.worker import Worker
from orchestrator.errors import BurstError
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.servers import parse_server
from state.open_store import open_store
from state.store import Follower
from support.fuzzed_server import FuzzedServer
from support.hand_clock import HandClock
from support.killable_disk import Fuse, KillableDisk, Killed
from support.preparing import preparation_of
from support.simulated import AtOnce, TakesAll, left_on


class SimulatedRun:
    """Call `turn` until `is_over`. `error` is the error of ours that ended it early, if any."""

    def __init__(
        self,
        home: Path,
        clock: HandClock,
        servers: Sequence[FuzzedServer],
        *,
        size: int,
        ahead: int = 0,
        options: Options | None = None,
    ) -> None:
        self.fuse = Fuse()
        self.is_over = False
        self.error: BurstError | None = None
        for server in servers:
            server.fuse = self.fuse
        self._clock = clock
        self._options = options or Options()
        disk = self.disk()
        self._store = open_store(home / "state.json", disk=disk, clock=clock)
        self._others = Follower(self._store)
        self._lease = self._store.lease()
        self._dispatch = Dispatch(self._store, self._lease, progress=Silent(), ahead=ahead, on_error="continue")
        placement = Placement(Recipes(self._store.recipes, home), home / "output", disk=disk)
        prompts = preparation_of(home, "smoke", book=self._store.recipes)
        self._workers = [self._worker(server, placement, prompts) for server in servers]
        self._due = [(clock.seconds, at) for at in range(len(servers))]
        self._dispatch.begin(size)

    def _worker(self, server: FuzzedServer, placement: Placement, prompts: Preparation) -> Worker:
        context = WorkerContext(
            store=self._store,
            lease=self._lease,
            server=parse_server(server.url),
            client=server.client(),
            placement=placement,
            preparation=prompts,
            dispatch=self._dispatch,
            options=self._options,
            clock=self._clock,
            halt=threading.Event(),
        )
        return Worker(context, AtOnce(), AtOnce(), left=left_on(self._lease, server.url), routing=TakesAll())

    def disk(self) -> KillableDisk:
        return KillableDisk(self.fuse)

    def turn(self) -> None:
        """Step the next worker and then what follows it, or end the burst."""
        try:
            if self._dispatch.is_full or self._dispatch.is_at_rest:
                for worker in self._workers:
                    worker.finish(fill=True)
                self._end()
            else:
                self._step()
        except Killed:
            self.kill()
        except BurstError as error:
            self.error = error
            self._end()

    def kill(self) -> None:
        """Kill it: nothing more is written; open files are closed as by the system."""
        self.fuse.blow()
        self._lease.end()
        self._store.close()
        self.is_over = True

    def _step(self) -> None:
        due, at = heapq.heappop(self._due)
        self._clock.seconds = max(self._clock.seconds, due)
        wait = self._workers[at].turn()
        heapq.heappush(self._due, (self._clock.seconds + max(wait, 0.002), at))
        for key in self._others.news():
            self._dispatch.changed_by_others(key)
        self._store.settle()

    def _end(self) -> None:
        try:
            self._store.settle(at_end=True)
        except Killed:
            pass
        finally:
            self._lease.end()
            self._store.close()
            self.is_over = True
