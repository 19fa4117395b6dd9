"""`burst worker`: starts bursts on this host's servers until a signal ends it, or its database is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker as EngineWorker

from orchestrator.errors import EXIT_DONE, EXIT_SIGTERM, BurstError, StateAway
from orchestrator.fleet.burst_process import BurstOptions, BurstProcesses, Bursts
from orchestrator.fleet.due_servers import Selection, queues_of
from orchestrator.fleet.engine import Connector, check_schema, fleet_location, lost
from orchestrator.fleet.jobs import TICKS, Jobs, Timing
from orchestrator.servers import same_server, this_host
from state.location import Location
from state.open_store import open_store
from state.server import RegisteredServer
from state.store import Store

_LOOK_SECONDS = 2.0
"""Between looks at which servers are registered."""
_TICKS_AT_ONCE = 2
_END_SECONDS = 8.0
"""A worker that is to stop has ended so long after, whatever it waits for."""


@dataclass(frozen=True)
class WorkerOptions:
    """The options of a worker."""

    selection: Selection = field(default_factory=Selection)
    at_once: int = 16
    """How many bursts at a time."""
    burst: BurstOptions = field(default_factory=BurstOptions)
    timing: Timing = field(default_factory=Timing)


def work(
    state: Path | str,
    options: WorkerOptions,
    *,
    say: Callable[[str], None],
    announce: Callable[[Location], None] = lambda location: None,
) -> int:
    """Start bursts until SIGTERM, SIGINT or the loss of the database; the exit code of the process.

    At the first signal its bursts stop, as on a signal of their own, and other workers may start them at once; at a
    second one it ends without waiting for anything. `say`: called with a line for each burst that did something.
    Errors: UsageError, StateError; StateAway where PostgreSQL does not answer, or does no more.
    """
    location = fleet_location(state)
    check_schema(location)
    # Their errors are reported once, when the worker ends because of them.
    for name in ("procrastinate", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with open_store(location, read_only=True) as store:
        announce(location)
        return asyncio.run(Worker(location, store, BurstProcesses(location, options.burst), options, say=say).run())


class Worker:
    """One worker, with the engine's own one in it. `run` may be called once; `stop` in the thread of its loop."""

    def __init__(
        self,
        location: Location,
        store: Store,
        bursts: Bursts,
        options: WorkerOptions,
        *,
        say: Callable[[str], None],
        leave: Callable[[int], Any] = os._exit,
    ) -> None:
        """`leave`: ends the process, whatever else it waits for."""
        self._location = location
        self._store = store
        self._bursts = bursts
        self._options = options
        self._say = say
        self._leave = leave
        timing = options.timing
        self._app = App(connector=Connector(location, patience_seconds=timing.patience, lost=self._lose))
        self._jobs = Jobs(store, bursts, stalled_seconds=timing.stalled, say=say)
        self._jobs.add_to(self._app, timing=timing)
        self._engine = _Engine(self._app, self._jobs, options, stopping=self._rest)
        self._signals = 0
        self._served: str | None = None

    async def run(self) -> int:
        """To its end; the exit code of the process. Errors: StateAway, StateError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        following = asyncio.create_task(self._follow_servers())
        try:
            async with self._app.open_async():
                if not self._signals:
                    await self._engine.run()  # type: ignore[no-untyped-call]
        except (ConnectorException, psycopg.Error) as error:
            raise lost(self._location, error) from error
        finally:
            following.cancel()
            await asyncio.wait([following])
        if not self._signals:
            raise self._lost()
        return EXIT_DONE

    def stop(self) -> None:
        """As a signal does."""
        self._signals += 1
        if self._signals == 1:
            self._say("stopping: its bursts stop, and other workers may start them")
            self._engine.stop()
        else:
            self._bursts.stop()
            self._leave(EXIT_SIGTERM)

    def _lose(self) -> None:
        self._engine.stop()

    def _rest(self) -> None:
        """The engine's worker stops, by a signal or because it cannot reach the database."""
        self._jobs.is_stopping = True
        self._bursts.stop()
        asyncio.get_running_loop().call_later(_END_SECONDS, self._give_up)

    def _give_up(self) -> None:
        error = self._lost()
        logging.getLogger(__name__).error("%s", error)
        self._leave(error.exit_code)

    def _lost(self) -> StateAway:
        reason = f"{self._location.shown()}: PostgreSQL does not answer any more"
        return StateAway(reason, advice="start the worker again", was_connected=True)

    async def _follow_servers(self) -> None:
        """What is registered meanwhile is served too."""
        while True:
            with contextlib.suppress(BurstError):  # a database that is away ends the engine's worker
                self._serve(await asyncio.to_thread(self._store.servers))
            await asyncio.sleep(_LOOK_SECONDS)

    def _serve(self, registered: Mapping[str, RegisteredServer]) -> None:
        selection = self._options.selection
        servers = [one for one in registered.values() if selection.takes(one)]
        self._engine.served = queues_of(servers)
        if (served := _served(servers, selection, registered)) != self._served:
            self._served = served
            self._say(f"worker on {this_host()}, {served}")


class _Engine(EngineWorker):
    """The engine's worker, with queues that change, and telling when it stops."""

    def __init__(self, app: App, jobs: Jobs, options: WorkerOptions, *, stopping: Callable[[], None]) -> None:
        self.served: Sequence[str] = ()
        """The queues of the servers."""
        self._jobs = jobs
        self._at_once = options.at_once
        self._stopping = stopping
        self._is_told = False
        timing = options.timing
        super().__init__(
            app,
            name=this_host(),
            concurrency=options.at_once + _TICKS_AT_ONCE,
            fetch_job_polling_interval=timing.poll,
            shutdown_graceful_timeout=_END_SECONDS / 2,
            listen_notify=False,  # it hears nothing behind pgbouncer, and of no queue that comes later
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=timing.heartbeat,
            stalled_worker_timeout=timing.stalled,
        )

    @property
    def queues(self) -> Sequence[str]:
        """Asked before each look for a job; some room is left for those that are about no server."""
        return [TICKS, *(self.served if self._jobs.running < self._at_once else ())]

    @queues.setter
    def queues(self, _given: Any) -> None:
        """The engine's own, which are fixed."""

    def stop(self) -> None:
        if not self._is_told:
            self._is_told = True
            self._stopping()
        super().stop()  # type: ignore[no-untyped-call]


def _served(
    servers: Sequence[RegisteredServer], selection: Selection, registered: Mapping[str, RegisteredServer]
) -> str:
    """For a line of the log."""
    text = f"serves {', '.join(one.name for one in servers)}" if servers else "serves no server yet"
    if missing := [name for name in selection.names if not any(same_server(name, one) for one in registered)]:
        return f"{text}; not registered: {', '.join(missing)}"
    if not servers:
        return f"{text}; register one that this host reaches with `burst servers add NAME=URL`"
    return text
