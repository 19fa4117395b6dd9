"""Workers of a state whose runs are paused: what waits is taken back, what runs is collected, nothing is submitted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_faults import Fault, Page, during
from support.fake_transport import FakeServer
from support.hand_clock import BEGINNING, HandClock
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from state.change import Change
from state.facts import Pause
from state.item import Item, Status

PAUSE = Pause(paused=True, at=BEGINNING)
COMPLETED, PENDING, SUBMITTED, CANCELLED = Status.COMPLETED, Status.PENDING, Status.SUBMITTED, Status.CANCELLED
POST, FREE = "POST /api/prompt", "POST /api/free"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def server(clock: HandClock) -> FakeServer:
    """It takes ten seconds for a prompt."""
    return FakeServer("http://gpu:8188", clock, lambda _: 10.0)


def under_way(folder: Path, *servers: FakeServer, items: int = 4, seconds: float = 15.0) -> Simulation:
    """A burst of all items, after so many seconds."""
    simulation = Simulation(folder, servers[0].clock, servers, items=items, options=Options(in_doubt_seconds=10.0))
    simulation.work.begin(items)
    simulation.work_for(seconds)
    return simulation


def items_of(simulation: Simulation) -> list[Item]:
    return list(simulation.store.items())


def asked(server: FakeServer, what: str, *, since: float = 0.0) -> list[float]:
    return [at for at, said in server.requests if what in said and at >= since]


def test_what_waits_is_taken_back_uncharged_and_what_runs_is_collected(tmp_path: Path, server: FakeServer) -> None:
    simulation = under_way(tmp_path, server)
    assert simulation.statuses() == [COMPLETED, SUBMITTED, SUBMITTED, SUBMITTED]
    began = server.clock.seconds
    end = simulation.rest(PAUSE)
    assert simulation.statuses() == [COMPLETED, COMPLETED, PENDING, PENDING]
    assert [(item.attempts, item.crashes) for item in items_of(simulation)] == [(0, 0)] * 4
    assert not asked(server, POST, since=began)
    assert asked(server, "POST /api/queue", since=began)[0] - began < 1.0, "at once, not when the next poll is due"
    assert end < 21.0 + 5.0
    assert server.begun == 2
    assert not server.queue


def test_when_it_is_lifted_the_same_run_goes_on_and_nothing_is_rendered_twice(
    tmp_path: Path, server: FakeServer
) -> None:
    simulation = under_way(tmp_path, server)
    simulation.work.pause = PAUSE
    simulation.work_for(2.0)
    simulation.work.pause = None
    simulation.burst(4)
    assert simulation.statuses() == [COMPLETED] * 4
    assert server.begun == 4
    assert simulation.tally.rendered_twice == 0


def test_a_pause_in_the_middle_of_many_posts_sends_no_further_one(tmp_path: Path, server: FakeServer) -> None:
    simulation = Simulation(tmp_path, server.clock, [server], items=50)

    def pause_at_the_third(said: str) -> None:
        if said == POST and len(asked(server, POST)) == 3:
            simulation.work.pause = PAUSE

    server.fault = pause_at_the_third
    simulation.work.begin(50)
    simulation.workers[0].turn()
    assert len(asked(server, POST)) == 3
    simulation.rest(PAUSE)
    assert len(asked(server, POST)) == 3
    assert simulation.store.counts()[COMPLETED] == 1, "the one that the server had begun"
    assert simulation.store.counts()[PENDING] == 49
    assert {item.previous_prompt_ids for item in items_of(simulation)[3:]} == {()}, "they were never sent"


@pytest.mark.parametrize("met", ["lost", Page(502)], ids=["arrived", "not arrived"])
def test_a_post_without_an_answer_is_taken_back_when_its_doubt_has_ended(
    tmp_path: Path, server: FakeServer, met: Fault
) -> None:
    simulation = Simulation(tmp_path, server.clock, [server], items=2)
    answers: Iterator[Fault] = iter([None, met])
    server.fault = lambda said: next(answers, None) if said == POST else None
    simulation.work.begin(2)
    simulation.workers[0].turn()
    simulation.rest(PAUSE)
    counts = simulation.store.counts()
    assert counts[SUBMITTED] == 0
    assert counts[COMPLETED] + counts[PENDING] == 2
    assert [item.attempts for item in items_of(simulation)] == [0, 0]


def test_one_that_begins_between_the_look_and_the_deletion_is_collected(tmp_path: Path, server: FakeServer) -> None:
    simulation = under_way(tmp_path, server, items=2, seconds=5.0)

    def overtake(said: str) -> None:
        if said == "POST /api/queue":
            server.clock.seconds = 12.0
            server.tick()

    server.fault = overtake
    simulation.rest(PAUSE)
    assert simulation.statuses() == [COMPLETED, COMPLETED]


def test_models_are_unloaded_once_and_when_nothing_runs_any_more(tmp_path: Path, server: FakeServer) -> None:
    simulation = under_way(tmp_path, server)
    simulation.rest(Pause(paused=True, at=BEGINNING, free=True))
    simulation.work_for(5.0)
    (freed,) = asked(server, FREE)
    assert freed >= 20.0
    assert not server.queue


def test_without_free_they_stay_loaded(tmp_path: Path, server: FakeServer) -> None:
    under_way(tmp_path, server).rest(PAUSE)
    assert not asked(server, FREE)


def test_several_servers_rest_each_by_itself(tmp_path: Path, clock: HandClock) -> None:
    fast, slow = (FakeServer(f"http://gpu{pace:g}:8188", clock, lambda _, pace=pace: pace) for pace in (2.0, 30.0))
    simulation = under_way(tmp_path, fast, slow, items=40, seconds=20.0)
    began = clock.seconds
    end = simulation.rest(PAUSE)
    assert simulation.store.counts()[SUBMITTED] == 0
    assert not [at for server in (fast, slow) for at in asked(server, POST, since=began)]
    assert end < 30.0 + 6.0
    assert fast.begun + slow.begun == simulation.store.counts()[COMPLETED]


def test_a_server_that_does_not_answer_keeps_its_items_and_holds_nobody_up(tmp_path: Path, clock: HandClock) -> None:
    good = FakeServer("http://good:8188", clock, lambda _: 2.0)
    away = FakeServer("http://away:8188", clock, lambda _: 5.0, fault=during("refused", clock, 6.0, 1e6))
    simulation = under_way(tmp_path, good, away, items=40, seconds=60.0)
    theirs = [item.key for item in simulation.store.items(SUBMITTED) if item.server == away.url]
    assert theirs
    simulation.rest(PAUSE)
    assert [item.key for item in simulation.store.items(SUBMITTED)] == theirs


def test_an_item_that_is_to_be_cancelled_is_cancelled_not_due_again(tmp_path: Path, server: FakeServer) -> None:
    simulation = under_way(tmp_path, server)
    simulation.store.apply([Change("0003.txt", SUBMITTED, lambda item: item.request_cancel())])
    simulation.rest(PAUSE)
    assert simulation.statuses() == [COMPLETED, COMPLETED, PENDING, CANCELLED]


def test_a_run_that_begins_while_paused_collects_and_takes_back_what_a_killed_one_left(
    tmp_path: Path, server: FakeServer
) -> None:
    """Killed in the middle of taking back: the flag is still set."""
    first = under_way(tmp_path, server)
    first.close()
    server.clock.seconds += 0.2
    second = Simulation(tmp_path, server.clock, [server], items=0)
    second.work.pause = PAUSE
    second.work.begin(15)
    second.rest(PAUSE)
    assert second.statuses() == [COMPLETED, COMPLETED, PENDING, PENDING]
    assert len(server.accepted) == 4
    second.close()
    third = Simulation(tmp_path, server.clock, [server], items=0)
    third.burst(15)
    assert third.statuses() == [COMPLETED] * 4
    assert server.begun == 4
