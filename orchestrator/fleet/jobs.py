"""The jobs of the engine: a look at what is due, a burst of one server, and the rescue of what killed workers left.

A burst has two locks. `lock`: no two jobs of a server run at a time. `queueing_lock`: no two of them wait. Both name
the server alone, for the engine's tables are in the database of the one state that they are about.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from procrastinate import App, JobContext
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status

from orchestrator.errors import BurstError
from orchestrator.fleet.burst_process import BurstResult, Bursts
from orchestrator.fleet.due_servers import due_servers, queue_of
from state.server import RegisteredServer
from state.store import Store

_log = logging.getLogger(__name__)

TICKS = "fleet"
"""The queue of what is about no server; every worker looks at it."""
_TICK, _RESCUE, _BURST = "tick", "rescue", "burst"
_PAUSES_SECONDS = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Before the next burst of a server, after bursts in a row that could do nothing. Meanwhile that job waits in the
queue, so that no look at what is due starts another one."""


@dataclass(frozen=True)
class Timing:
    """How often what is done. Seconds."""

    tick: int = 5
    """Between looks at what is due: a divisor of 60."""
    rescue: int = 10
    """Between looks at what killed workers left: a divisor of 60."""
    poll: float = 0.5
    """Between looks for jobs."""
    heartbeat: float = 3.0
    stalled: float = 15.0
    """A worker without a heartbeat for so long is taken for dead."""
    patience: float = 10.0
    """How long a database that does not answer is waited for."""


class Jobs:
    """What a worker does for the engine, and what it asks of the state."""

    def __init__(self, store: Store, bursts: Bursts, *, stalled_seconds: float, say: Callable[[str], None]) -> None:
        self._store = store
        self._bursts = bursts
        self._stalled_seconds = stalled_seconds
        self._say = say
        self._troubles: dict[str, str] = {}
        self.running = 0
        """How many bursts are at work."""
        self.is_stopping = False
        """Whether bursts that end now were stopped, and are another worker's to start again."""

    def add_to(self, app: App, *, timing: Timing | None = None) -> None:
        """Make them known to the engine; with a timing, the periodic ones are started by its workers."""
        tick = app.task(name=_TICK, queue=TICKS, queueing_lock=_TICK, pass_context=True)(self.tick)
        rescue = app.task(name=_RESCUE, queue=TICKS, queueing_lock=_RESCUE, pass_context=True)(self.rescue)
        app.task(name=_BURST, pass_context=True)(self.burst)
        if timing is not None:
            # Of six fields of croniter the last one is that of the seconds.
            app.periodic(cron=f"* * * * * */{timing.tick}", periodic_id=_TICK)(tick)
            app.periodic(cron=f"* * * * * */{timing.rescue}", periodic_id=_RESCUE)(rescue)

    async def tick(self, context: JobContext, timestamp: int) -> None:
        """Defer one burst for each server that has something to do and no burst, running or waiting."""
        with self._reported("the look at what is due"):
            jobs = list(await context.app.job_manager.list_jobs_async(task=_BURST))
            registered = await asyncio.to_thread(self._store.servers)
            due = await asyncio.to_thread(due_servers, self._store, registered.values())
            await _forget_removed(context, jobs, [queue_of(name) for name in registered])
            busy = {job.queue for job in jobs}
            for server in due:
                if queue_of(server.name) not in busy:
                    await _defer(context, server.name)

    async def rescue(self, context: JobContext, timestamp: int) -> None:
        """Put back the jobs of workers that were killed or cannot reach the database any more."""
        manager = context.app.job_manager
        with self._reported("the look for jobs of dead workers"):
            for job in await manager.get_stalled_jobs(seconds_since_heartbeat=self._stalled_seconds):
                if job.task_name != _BURST:
                    await manager.finish_job(job, Status.FAILED, delete_job=True)
                    continue
                try:
                    await manager.retry_job(job, retry_at=await _now(context))
                except UniqueViolation:
                    # Another one of its server waits already: for the end of this one, which never comes by itself.
                    await manager.finish_job(job, Status.FAILED, delete_job=True)
                self._say(f"{job.task_kwargs['server']}: its burst is started again; the worker that had it is gone")

    async def burst(self, context: JobContext, server: str, fruitless: int = 0) -> None:
        """One burst, and where more is due, the next one waits before this one ends."""
        self.running += 1
        try:
            with self._reported(server):
                await self._burst(context, server, fruitless)
        finally:
            self.running -= 1

    async def _burst(self, context: JobContext, server: str, fruitless: int) -> None:
        found = await self._due(server)
        if found is None:
            self._troubles.pop(server, None)
            return
        result = await self._bursts.run(found)
        self._tell(server, result)
        if self.is_stopping:
            await _defer(context, server)
        elif await self._due(server) is not None:
            await _defer(context, server, fruitless=0 if result.has_progress else fruitless + 1)

    async def _due(self, name: str) -> RegisteredServer | None:
        """The server, if it is registered still and has something to do."""
        registered = await asyncio.to_thread(self._store.servers)
        wanted = [registered[name]] if name in registered else []
        return next(iter(await asyncio.to_thread(due_servers, self._store, wanted)), None)

    def _tell(self, server: str, result: BurstResult) -> None:
        """A line for each burst that did something, and for each new trouble."""
        if result.completed or result.failed:
            failed = f", {result.failed} failed" if result.failed else ""
            self._say(f"{server}: {result.completed} completed{failed} in {result.seconds:.0f} s")
        if self.is_stopping:
            return
        if result.reason is None or result.has_progress:
            self._troubles.pop(server, None)
        elif self._troubles.get(server) != result.reason:
            self._troubles[server] = result.reason
            (_log.error if result.is_trouble else _log.warning)("%s: %s", server, result.reason)

    @contextlib.contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """One line instead of a traceback; the next look finds what this one could not do."""
        try:
            yield
        except BurstError as error:
            _log.warning("%s: %s", what, error)
        except ConnectorException as error:
            _log.warning("%s: PostgreSQL does not answer (%s)", what, error.__cause__ or error)


async def _defer(context: JobContext, server: str, *, fruitless: int = 0) -> None:
    """One more burst, unless one of this server waits already."""
    app = context.app
    pause = _PAUSES_SECONDS[min(fruitless, len(_PAUSES_SECONDS)) - 1] if fruitless else 0.0
    later = await _now(context) + datetime.timedelta(seconds=pause) if pause else None
    job = app.configure_task(
        _BURST,
        lock=f"server:{server}",
        queueing_lock=f"server:{server}",
        queue=queue_of(server),
        schedule_at=later,
    )
    with contextlib.suppress(AlreadyEnqueued):
        await job.defer_async(server=server, fruitless=fruitless)


async def _now(context: JobContext) -> datetime.datetime:
    """By the database's clock: one host's may be an hour fast, and a job for then would keep others away till then."""
    row = await context.app.connector.execute_query_one_async("SELECT clock_timestamp() AS now")
    now: datetime.datetime = row["now"]
    return now


async def _forget_removed(context: JobContext, jobs: Iterable[Job], queues: Sequence[str]) -> None:
    """Nobody looks at the queue of a server that is not registered any more."""
    for job in jobs:
        if job.status == Status.TODO.value and job.queue not in queues and job.id is not None:
            await context.app.job_manager.cancel_job_by_id_async(job.id, delete_job=True)
