"""A fleet on a PostgreSQL of the tests, whose bursts are played; jobs are run when a test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from procrastinate import App

from orchestrator.fleet.burst_process import BurstResult
from orchestrator.fleet.engine import Connector, fleet_location
from orchestrator.fleet.fleet_up import fleet_up
from orchestrator.fleet.jobs import TICKS, Jobs
from state.open_store import open_store
from state.server import RegisteredServer
from support.postgres import clear, fresh_database
from support.state_scenes import NOON, change, complete, item

STALLED_SECONDS = 15.0
_used: list[str] = []
"""Databases with the tables of fleets that are over; other tests would wonder at those of the engine."""
Work = Callable[[RegisteredServer], Coroutine[Any, Any, BurstResult] | BurstResult]


class PlayedBursts:
    """Bursts that do what a test says, and are counted."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.ran: list[str] = []
        self.most: Counter[str] = Counter()
        """How many bursts a server ever had at a time."""
        self.stops = 0
        self._running: Counter[str] = Counter()

    async def run(self, server: RegisteredServer) -> BurstResult:
        self.ran.append(server.name)
        self._running[server.name] += 1
        self.most[server.name] = max(self.most[server.name], self._running[server.name])
        try:
            result = self.work(server)
            return await result if isinstance(result, Coroutine) else result
        finally:
            self._running[server.name] -= 1

    def stop(self) -> None:
        self.stops += 1


class Fleet:
    """Items, registered servers and the jobs of the engine for them, in one database."""

    def __init__(self, address: str) -> None:
        self.address = address
        fleet_up(address)
        self.location = fleet_location(address)
        self.store = open_store(address)
        self.lines: list[str] = []
        self.bursts = PlayedBursts(self.complete_one)
        self.work = Jobs(self.store, self.bursts, stalled_seconds=STALLED_SECONDS, say=self.lines.append)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()

    def add(self, *keys: str) -> None:
        self.store.add([item(key) for key in keys])

    def register(self, *names: str, **fields: Any) -> None:
        def edit(_: object) -> list[RegisteredServer]:
            return [
                RegisteredServer(name=name, url=f"http://{name}:8188", at=datetime.now(UTC), **fields) for name in names
            ]

        self.store.facts.change_servers(edit)

    def submitted_to(self, server: str, *keys: str) -> None:
        """Left on this server by a run that was killed."""
        for key in keys:
            change(self.store, key, lambda one: one.submit(prompt_id=one.key, server=server, at=NOON, fingerprint="f"))

    def complete_one(self, server: RegisteredServer) -> BurstResult:
        """A burst that completes the next due item."""
        due = self.store.due(1)
        for one in due:
            self.submitted_to(server.name, one.key)
            change(self.store, one.key, complete)
        return BurstResult(0, completed=len(due), remaining=self.remaining)

    @property
    def remaining(self) -> int:
        return self.store.counts().remaining

    def completed(self) -> int:
        return self.store.counts().completed

    def jobs(self) -> list[tuple[str, str]]:
        """Queue and status of every job, in order."""
        return [(queue, status) for queue, status in self.rows("queue_name, status::text")]

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        return self.execute(f"SELECT {columns} FROM procrastinate_jobs ORDER BY id")

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.address, autocommit=True) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def lock_out(self) -> None:
        """Nobody reaches the database any more, and those who did are cut off."""
        with _elsewhere(self.address) as (connection, name):
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    def let_in(self) -> None:
        with _elsewhere(self.address) as (connection, name):
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

    def engine(self) -> App:
        """A worker's, with its jobs; not opened yet."""
        app = App(connector=Connector(self.location, patience_seconds=5.0))
        self.work.add_to(app)
        return app

    def tick(self) -> None:
        """What every worker does every few seconds: one of them for all."""
        self.run("tick")

    def rescue(self) -> None:
        self.run("rescue")

    def work_off(self, *servers: str) -> None:
        """Run the jobs that wait for these servers, but not those that these jobs defer."""
        asyncio.run(_run(self.engine(), [f"server:{name}" for name in servers]))

    def run(self, task: str) -> None:
        asyncio.run(_defer(self.engine(), task, then_run=True))

    def defer(self, task: str) -> None:
        """As the engine does every few seconds."""
        asyncio.run(_defer(self.engine(), task))

    def leave_dead(self, *, queue: str) -> None:
        """As a killed worker leaves it: the job that waits in this queue runs, and nobody gives a sign of life."""
        self.execute(
            "WITH dead AS (INSERT INTO procrastinate_workers (last_heartbeat) "
            f"VALUES (now() - interval '{STALLED_SECONDS + 1} seconds') RETURNING id) "
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = dead.id FROM dead "
            f"WHERE queue_name = '{queue}' AND status = 'todo'"
        )


@contextmanager
def _elsewhere(address: str) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A connection to another database of the same server, and the name of this one."""
    name = urlsplit(address).path.removeprefix("/")
    with psycopg.connect(address.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
        yield connection, name


async def _defer(app: App, task: str, *, then_run: bool = False) -> None:
    async with app.open_async():
        await app.configure_task(task).defer_async(timestamp=0)
        if then_run:
            await run_waiting(app, [TICKS])


async def _run(app: App, queues: list[str]) -> None:
    async with app.open_async():
        await run_waiting(app, queues)


async def run_waiting(app: App, queues: list[str] | None, *, concurrency: int = 4) -> None:
    """Run what waits in these queues, to its end."""
    await app.run_worker_async(
        wait=False,
        queues=queues,
        concurrency=concurrency,
        listen_notify=False,
        delete_jobs="always",
        install_signal_handlers=False,
    )


@contextmanager
def fleet() -> Iterator[Fleet]:
    """An empty one."""
    address = _used.pop() if _used else fresh_database()
    with Fleet(address) as made:
        yield made
    clear(address)
    _used.append(address)
