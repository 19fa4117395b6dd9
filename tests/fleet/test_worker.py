"""A worker: which servers it serves, how it ends, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.fleet import Fleet

from orchestrator.errors import StateAway
from orchestrator.fleet.burst_process import BurstResult
from orchestrator.fleet.due_servers import Selection
from orchestrator.fleet.jobs import Timing
from orchestrator.fleet.worker import Worker, WorkerOptions
from orchestrator.servers import this_host
from state.server import RegisteredServer

QUICK = Timing(tick=1, rescue=1, poll=0.02, heartbeat=0.1, stalled=60.0, patience=1.0)
GENEROUS_SECONDS = 120.0


def registered(name: str, *, host: str | None = None, labels: tuple[str, ...] = ()) -> RegisteredServer:
    from support.state_scenes import NOON

    return RegisteredServer(name=name, url="http://x:8188", at=NOON, host=host, labels=labels)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), ["anywhere", "here", "fast"]),
        (Selection(names=("here",)), ["here"]),
        (Selection(labels=("fp8", "xl")), ["fast"]),
        (Selection(names=("here",), labels=("xl",)), ["here", "fast"]),
        (Selection(names=("there",)), []),
    ],
)
def test_a_worker_serves_what_its_host_reaches_and_of_that_what_was_chosen(
    selection: Selection, taken: list[str]
) -> None:
    servers = [
        registered("anywhere"),
        registered("here", host=this_host()),
        registered("there", host=f"not-{this_host()}", labels=("xl",)),
        registered("fast", labels=("xl", "24gb")),
    ]
    assert [one.name for one in servers if selection.takes(one)] == taken


def held_until(event: asyncio.Event) -> Callable[[RegisteredServer], Awaitable[BurstResult]]:
    """The work of a burst that ends as on a signal, once this has happened."""

    async def held(_server: RegisteredServer) -> BurstResult:
        await event.wait()
        return BurstResult(143)

    return held


class Scene:
    """A worker of this process, and what a test does meanwhile."""

    def __init__(self, fleet: Fleet, **options: Any) -> None:
        self.fleet = fleet
        self.left: list[int] = []
        self.worker = Worker(
            fleet.location,
            fleet.store,
            fleet.bursts,
            WorkerOptions(timing=QUICK, **options),
            say=fleet.lines.append,
            leave=self.left.append,
        )

    def play(self, meanwhile: Callable[[], Awaitable[None]]) -> int:
        """The exit code of the worker."""

        async def both() -> int:
            work = asyncio.create_task(self.worker.run())
            await meanwhile()
            return await asyncio.wait_for(work, GENEROUS_SECONDS)

        return asyncio.run(both())

    async def until(self, condition: Callable[[], Any], *, what: str) -> None:
        async def look() -> None:
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.01)

        try:
            await asyncio.wait_for(look(), GENEROUS_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{what} did not come true") from None


def test_a_worker_works_off_what_is_due_and_ends_when_it_is_told(fleet: Fleet) -> None:
    fleet.register("a")
    fleet.register("other", host="not-this-one")
    fleet.add("x", "y")
    scene = Scene(fleet)

    async def meanwhile() -> None:
        await scene.until(lambda: not fleet.remaining, what="all items done")
        fleet.register("b")
        await scene.until(lambda: f"worker on {this_host()}, serves a, b" in fleet.lines, what="the new server served")
        scene.worker.stop()

    assert scene.play(meanwhile) == 0
    assert fleet.lines[0] == f"worker on {this_host()}, serves a"
    assert fleet.lines[-1].startswith("stopping")
    assert (set(fleet.bursts.ran), fleet.bursts.stops, scene.left) == ({"a"}, 1, [])
    assert fleet.execute("SELECT count(*) FROM procrastinate_workers") == [(0,)]


def test_a_worker_tells_what_it_lacks(fleet: Fleet) -> None:
    fleet.register("a")
    scene = Scene(fleet, selection=Selection(names=("gpu9",)))

    async def meanwhile() -> None:
        await scene.until(lambda: fleet.lines, what="a line")
        scene.worker.stop()

    scene.play(meanwhile)
    assert fleet.lines[0] == f"worker on {this_host()}, serves no server yet; not registered: gpu9"


def test_a_worker_has_so_many_bursts_at_a_time_and_looks_on(fleet: Fleet) -> None:
    """A server of another worker gets its job from this one's tick, though all its own places are taken."""
    fleet.register("a", "b")
    fleet.register("other", host="not-this-one")
    fleet.add("x")
    scene = Scene(fleet, at_once=1)
    release = asyncio.Event()

    async def meanwhile() -> None:
        await scene.until(lambda: fleet.bursts.ran, what="a burst")
        fleet.execute("DELETE FROM procrastinate_jobs WHERE queue_name = 'server:other'")
        await scene.until(lambda: ("server:other", "todo") in fleet.jobs(), what="the job of the next tick")
        scene.worker.stop()
        release.set()

    fleet.bursts.work = held_until(release)
    assert scene.play(meanwhile) == 0
    assert len(fleet.bursts.ran) == 1
    assert sorted(fleet.jobs()) == [("server:a", "todo"), ("server:b", "todo"), ("server:other", "todo")]


def test_a_second_signal_waits_for_nothing(fleet: Fleet) -> None:
    fleet.register("a")
    fleet.add("x")
    scene = Scene(fleet)
    release = asyncio.Event()

    async def meanwhile() -> None:
        await scene.until(lambda: fleet.bursts.ran, what="a burst")
        scene.worker.stop()
        assert (fleet.bursts.stops, scene.left) == (1, [])
        scene.worker.stop()
        assert (fleet.bursts.stops, scene.left) == (2, [143])
        release.set()

    fleet.bursts.work = held_until(release)
    scene.play(meanwhile)


def test_a_worker_that_loses_its_database_stops_its_bursts_and_is_to_be_started_again(fleet: Fleet) -> None:
    """Procrastinate's own worker ends with 0 then, as if somebody had stopped it."""
    fleet.register("a")
    fleet.add("x")
    scene = Scene(fleet)
    stopped = asyncio.Event()

    async def meanwhile() -> None:
        await scene.until(lambda: fleet.bursts.ran, what="a burst")
        await asyncio.to_thread(fleet.lock_out)
        await scene.until(lambda: fleet.bursts.stops, what="the bursts stopped")
        stopped.set()

    fleet.bursts.work = held_until(stopped)
    with pytest.raises(StateAway, match="PostgreSQL does not answer") as lost:
        scene.play(meanwhile)
    assert lost.value.exit_code == 75
    fleet.let_in()
    assert fleet.remaining == 1
