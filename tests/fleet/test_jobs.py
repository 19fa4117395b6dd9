"""The jobs of the engine: who gets a burst and who none, what becomes of it, and of what killed workers leave."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued, UniqueViolation
from support.fleet import STALLED_SECONDS, Fleet, run_waiting
from support.state_scenes import item

from orchestrator.fleet.burst_process import BurstResult
from state.facts import Pause
from state.recipe import Recipe
from state.server import RegisteredServer

WAITS_A, WAITS_B = ("server:a", "todo"), ("server:b", "todo")


def pause(fleet: Fleet) -> None:
    fleet.store.facts.append(Pause(paused=True, at=datetime.now(UTC)))


def test_each_server_gets_one_burst_while_work_is_due(fleet: Fleet) -> None:
    fleet.register("a", "b")
    fleet.tick()
    assert fleet.jobs() == [], "nothing is due"
    fleet.add("x")
    for _ in range(3):
        fleet.tick()
    assert fleet.jobs() == [WAITS_A, WAITS_B]
    assert fleet.rows("lock, queueing_lock, args::text") == [
        (f"server:{name}", f"server:{name}", f'{{"server": "{name}", "fruitless": 0}}') for name in "ab"
    ]


def test_a_server_gets_a_burst_for_items_that_may_go_there_alone(fleet: Fleet) -> None:
    """Not for those that need another label, or for which the request named other servers."""
    big = fleet.store.recipes.add(Recipe(needs=("big",), output="one"), None)
    named = fleet.store.recipes.add(Recipe(servers=("b",), output="other"), None)
    fleet.register("a", labels=("small",))
    fleet.register("b")
    fleet.register("c", labels=("small", "big"))
    fleet.store.add([item(f"big{number}", recipe=big.id) for number in range(3)])
    fleet.tick()
    assert fleet.jobs() == [("server:c", "todo")]
    fleet.store.add([item(f"named{number}", recipe=named.id) for number in range(3)])
    fleet.tick()
    assert fleet.jobs() == [("server:c", "todo"), WAITS_B]
    fleet.add("any")
    fleet.tick()
    assert fleet.jobs() == [("server:c", "todo"), WAITS_B, WAITS_A]


def test_nothing_new_is_begun_while_the_state_is_paused(fleet: Fleet) -> None:
    fleet.register("a")
    fleet.add("x")
    pause(fleet)
    fleet.tick()
    assert fleet.jobs() == []


def test_a_draining_server_gets_no_burst(fleet: Fleet) -> None:
    fleet.register("a", draining=True)
    fleet.register("b")
    fleet.add("x")
    fleet.tick()
    assert fleet.jobs() == [WAITS_B]


@pytest.mark.parametrize("rests", ["paused", "draining"])
def test_what_a_killed_burst_left_on_a_server_is_collected_all_the_same(fleet: Fleet, rests: str) -> None:
    fleet.register("a", "b", draining=rests == "draining")
    fleet.add("x", "y")
    fleet.submitted_to("a", "x")
    if rests == "paused":
        pause(fleet)
    fleet.tick()
    assert fleet.jobs() == [WAITS_A]


def test_a_burst_that_leaves_work_is_followed_by_the_next_without_a_tick(fleet: Fleet) -> None:
    """So that work goes on where ticks are missed."""
    fleet.register("a")
    fleet.add("x", "y", "z")
    fleet.tick()
    for left in (2, 1, 0):
        assert fleet.jobs() == [WAITS_A]
        fleet.work_off("a")
        assert fleet.remaining == left
    assert fleet.jobs() == []
    assert fleet.bursts.ran == ["a"] * 3
    assert fleet.lines == ["a: 1 completed in 0 s"] * 3


def test_what_became_due_while_nobody_ticked_is_found_by_the_next_tick(fleet: Fleet) -> None:
    fleet.register("a")
    fleet.add("x")
    fleet.tick()
    fleet.work_off("a")
    fleet.add("y")
    assert fleet.jobs() == []
    fleet.tick()
    fleet.work_off("a")
    assert fleet.remaining == 0


def test_a_job_whose_work_another_did_starts_nothing(fleet: Fleet) -> None:
    fleet.register("a", "b")
    fleet.add("x")
    fleet.tick()
    fleet.work_off("a")
    fleet.work_off("b")
    assert (fleet.bursts.ran, fleet.jobs()) == (["a"], [])


@pytest.mark.parametrize("removed", [True, False])
def test_a_job_of_a_server_that_is_gone_starts_nothing(fleet: Fleet, removed: bool) -> None:
    """Before a tick finds out, and after it: nobody would look at its queue any more."""
    fleet.register("a")
    fleet.add("x")
    fleet.tick()
    fleet.register("a", removed=True)
    if removed:
        fleet.tick()
    else:
        fleet.work_off("a")
    assert (fleet.bursts.ran, fleet.jobs()) == ([], [])


def waits(fleet: Fleet) -> list[float]:
    """For how long jobs are kept back, by the clock of the database."""
    asked = """
        SELECT extract(epoch FROM job.scheduled_at - event.at) FROM procrastinate_jobs job
        JOIN procrastinate_events event ON event.job_id = job.id AND event.type = 'deferred' ORDER BY job.id"""
    return [float(seconds) for (seconds,) in fleet.execute(asked)]


def run_now(fleet: Fleet) -> None:
    fleet.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
    fleet.work_off("a")


def test_a_server_that_can_do_nothing_is_tried_ever_more_seldom(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where this host's clock is an hour fast: a job for then would keep the server idle until then."""
    later = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr("procrastinate.utils.utcnow", lambda: later)
    fleet.register("a")
    fleet.add("x")
    fleet.bursts.work = lambda server: BurstResult(75, remaining=1, reason="http://a:8188 does not answer")
    fleet.tick()
    fleet.work_off("a")
    found = []
    for _ in range(6):
        fleet.tick()
        fleet.work_off("a")
        assert fleet.jobs() == [WAITS_A], "it waits, and no tick starts another one"
        found += waits(fleet)
        run_now(fleet)
    assert found == pytest.approx([2, 5, 10, 20, 30, 30], abs=1.9)
    fleet.bursts.work = fleet.complete_one
    fleet.add("y")
    run_now(fleet)
    assert fleet.rows("scheduled_at") == [(None,)], "it does something again"


@pytest.mark.parametrize(("code", "level"), [(75, "WARNING"), (2, "ERROR"), (70, "ERROR"), (-9, "ERROR")])
def test_a_trouble_is_told_once_until_it_is_over(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, code: int, level: str
) -> None:
    fleet.register("a")
    fleet.add("x", "y")
    for works in (False, False, True, False):
        fleet.bursts.work = fleet.complete_one if works else lambda server: BurstResult(code, reason="no luck")
        fleet.tick()
        run_now(fleet)
    assert fleet.remaining == 1
    told = [(one.levelname, one.message) for one in caplog.records if one.name.startswith("orchestrator")]
    assert told == [(level, "a: no luck")] * 2


def test_the_next_burst_of_a_killed_worker_waits_for_one_that_never_ends(fleet: Fleet) -> None:
    """The trap of lock and queueing_lock: what looks like a retry is refused, and both jobs stand for ever."""
    fleet.register("a")
    fleet.add("x")
    fleet.tick()
    fleet.leave_dead(queue="server:a")
    fleet.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args) "
        "SELECT queue_name, task_name, lock, queueing_lock, args FROM procrastinate_jobs"
    )
    fleet.tick()
    fleet.work_off("a")
    assert fleet.jobs() == [("server:a", "doing"), WAITS_A], "nobody runs it"
    with pytest.raises(UniqueViolation):
        asyncio.run(retry_as_documented(fleet.engine()))
    fleet.rescue()
    assert fleet.jobs() == [WAITS_A]
    fleet.work_off("a")
    assert (fleet.remaining, fleet.jobs()) == (0, [])


async def retry_as_documented(app: App) -> None:
    """What Procrastinate's documentation does with stalled jobs."""
    async with app.open_async():
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            await app.job_manager.retry_job(job)


def test_a_killed_workers_burst_is_run_again_at_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock of the host says that finds it."""
    later = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr("procrastinate.utils.utcnow", lambda: later)
    fleet.register("a")
    fleet.add("x")
    fleet.tick()
    fleet.leave_dead(queue="server:a")
    fleet.tick()
    assert fleet.jobs() == [("server:a", "doing")]
    fleet.rescue()
    fleet.work_off("a")
    assert (fleet.remaining, fleet.jobs()) == (0, [])
    assert fleet.lines[0].startswith("a: its burst is started again")


def test_a_worker_that_was_forgotten_is_dead_too(fleet: Fleet) -> None:
    """A new worker takes the rows of dead ones away."""
    fleet.register("a")
    fleet.add("x")
    fleet.tick()
    fleet.leave_dead(queue="server:a")
    fleet.execute("DELETE FROM procrastinate_workers")
    fleet.rescue()
    assert fleet.jobs() == [WAITS_A]


def test_a_worker_that_gives_signs_of_life_keeps_its_job(fleet: Fleet) -> None:
    fleet.register("a")
    fleet.add("x")
    fleet.tick()
    fleet.leave_dead(queue="server:a")
    fleet.execute("UPDATE procrastinate_workers SET last_heartbeat = now()")
    fleet.rescue()
    assert fleet.jobs() == [("server:a", "doing")]


@pytest.mark.parametrize("task", ["tick", "rescue"])
def test_a_worker_killed_in_a_look_keeps_nobody_from_the_next(fleet: Fleet, task: str) -> None:
    fleet.register("a")
    fleet.add("x")
    fleet.defer(task)
    fleet.leave_dead(queue="fleet")
    fleet.tick()
    fleet.rescue()
    assert fleet.jobs() == [WAITS_A]


def test_two_workers_never_run_two_bursts_of_one_server(fleet: Fleet) -> None:
    fleet.register("a", "b")
    fleet.add(*(f"item{number}" for number in range(12)))

    async def slow(server: RegisteredServer) -> BurstResult:
        await asyncio.sleep(0.01)
        return fleet.complete_one(server)

    async def work(app: App) -> None:
        async with app.open_async():
            while fleet.remaining:
                with contextlib.suppress(AlreadyEnqueued):
                    await app.configure_task("tick").defer_async(timestamp=0)
                await run_waiting(app, None)

    async def both() -> None:
        await asyncio.gather(work(fleet.engine()), work(fleet.engine()))

    fleet.bursts.work = slow
    asyncio.run(both())
    assert fleet.bursts.most == {"a": 1, "b": 1}
    assert fleet.store.counts().completed == 12


def test_a_burst_that_was_stopped_waits_for_the_next_worker(fleet: Fleet) -> None:
    """At once, though it did nothing, and whatever else is due."""
    fleet.register("a")
    fleet.add("x")
    fleet.bursts.work = lambda server: BurstResult(143, reason="stopped by SIGTERM")
    fleet.tick()
    fleet.work.is_stopping = True
    fleet.work_off("a")
    assert fleet.jobs() == [WAITS_A]
    assert fleet.rows("scheduled_at") == [(None,)]


def test_an_unexpected_end_of_a_burst_frees_its_server(fleet: Fleet) -> None:
    def broken(server: RegisteredServer) -> Any:
        raise OSError("no more processes")

    fleet.register("a")
    fleet.add("x")
    fleet.bursts.work = broken
    fleet.tick()
    fleet.work_off("a")
    assert fleet.jobs() == []
    fleet.bursts.work = fleet.complete_one
    fleet.tick()
    fleet.work_off("a")
    assert fleet.remaining == 0
