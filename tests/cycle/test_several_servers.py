"""Several servers with a simulated clock: who gets what, and what becomes of one that stops answering."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.fake_faults import Fault, Page, during
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation, best_seconds, idle_seconds

from orchestrator.cycle.context import Options
from orchestrator.cycle.pacing import DEFAULT_POLL_SECONDS, LONGEST_STRETCH_SECONDS
from orchestrator.errors import ServerStalled
from state.item import PRIORITIES, Status


def steadily(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def simulate(folder: Path, paces: Sequence[float], *, items: int, **asked: Any) -> Simulation:
    clock = HandClock()
    servers = [FakeServer(f"http://gpu{at}:8188", clock, steadily(pace)) for at, pace in enumerate(paces)]
    return Simulation(folder, clock, servers, items=items, **asked)


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("simulated")


UNEQUAL = [[1.0, 2.0, 4.0, 8.0], [0.2, 1.0, 5.0, 20.0], [3.0, 3.0, 3.0, 3.0], [1.0, 60.0, 60.0, 60.0]]


@pytest.mark.parametrize("paces", UNEQUAL, ids=str)
def test_200_items_on_four_unequal_servers_end_within_a_tenth_of_the_best_schedule(
    tmp_path: Path, paces: list[float]
) -> None:
    simulation = simulate(tmp_path, paces, items=200)
    took = simulation.burst(200)
    assert simulation.store.counts()[Status.COMPLETED] == 200
    assert took <= 1.10 * best_seconds(paces, 200)
    assert idle_seconds(fastest(simulation)) <= 0.02 * took


def fastest(simulation: Simulation) -> FakeServer:
    return max(simulation.servers, key=lambda server: len(server.accepted))


@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.floats(0.2, 20.0), min_size=2, max_size=5))
@example([13.0, 0.25, 0.25, 0.21875])
def test_any_servers_are_as_good_but_for_the_one_item_that_measures_a_slow_one(
    folders: Callable[[], Path], paces: list[float]
) -> None:
    simulation = simulate(folders(), paces, items=200)
    took = simulation.burst(200)
    simulation.close()
    probe = max(paces) + DEFAULT_POLL_SECONDS
    assert took <= max(1.10 * best_seconds(paces, 200), probe)


def test_a_slow_server_hoards_nothing(tmp_path: Path) -> None:
    simulation = simulate(tmp_path, [0.5, 30.0], items=40)
    simulation.burst(40)
    assert len(simulation.servers[1].accepted) == 1


def test_no_server_waits_between_bursts_that_run_until_done(tmp_path: Path) -> None:
    simulation = simulate(tmp_path, [0.1], items=90, until_done=True)
    for _ in range(6):
        simulation.burst(15)
        # Records are written and synced before the next burst begins.
        simulation.clock.seconds += 0.15
    assert simulation.store.counts()[Status.COMPLETED] == 90
    assert idle_seconds(simulation.servers[0]) < 0.01 * simulation.clock.seconds


@pytest.mark.parametrize("until_done", [False, True])
def test_without_anything_ahead_the_server_is_given_no_more_than_the_burst(tmp_path: Path, until_done: bool) -> None:
    simulation = simulate(tmp_path, [1.0], items=40, until_done=until_done)
    simulation.burst(10)
    beyond = len(simulation.servers[0].accepted) - 10
    assert (beyond >= 1) if until_done else (beyond == 0)


def test_prompts_ahead_are_on_the_server_when_the_burst_ends(tmp_path: Path) -> None:
    simulation = simulate(tmp_path, [1.0], items=40, ahead=4)
    simulation.burst(10)
    assert len(simulation.servers[0].accepted) == 14


def test_a_server_that_stops_answering_keeps_its_items_and_comes_back(tmp_path: Path) -> None:
    clock = HandClock()
    good = FakeServer("http://good:8188", clock, steadily(1.0))
    flaky = FakeServer("http://flaky:8188", clock, steadily(1.0), fault=during("refused", clock, 3.2, 40.0))
    simulation = Simulation(tmp_path, clock, [good, flaky], items=100)
    simulation.burst(25)
    theirs = [item for item in simulation.store.items(Status.SUBMITTED) if item.server == flaky.url]
    assert simulation.workers[1].is_lost
    assert 1 <= len(theirs) <= 2
    assert all(item.prompt_id in flaky.accepted for item in theirs)
    simulation.burst(75)
    assert not simulation.workers[1].is_lost
    ids = [item.prompt_id for item in simulation.store.items(Status.COMPLETED)]
    assert {item.prompt_id for item in theirs} <= set(ids)
    assert len(ids) == 100 == len(good.accepted) + len(flaky.accepted)


def test_what_only_a_lost_server_holds_ends_the_burst_and_is_said(tmp_path: Path) -> None:
    clock = HandClock()
    good = FakeServer("http://good:8188", clock, steadily(1.0))
    flaky = FakeServer("http://flaky:8188", clock, steadily(5.0), fault=during("refused", clock, 1.0, 1e9))
    simulation = Simulation(tmp_path, clock, [good, flaky], items=10)
    simulation.burst(10)
    assert simulation.work.is_at_rest
    assert simulation.work.has_more()
    assert "flaky" in str(simulation.workers[1].lost)
    assert simulation.store.counts()[Status.COMPLETED] == 9


def test_a_steady_prompt_costs_few_questions(tmp_path: Path) -> None:
    simulation = simulate(tmp_path, [2.0], items=15)
    simulation.burst(15)
    # POST, history and, for a picture, view; the queue is asked once.
    assert simulation.servers[0].requests_made <= 4 * 15


@pytest.mark.parametrize("trouble", [Page(429), "late"], ids=["429", "late"])
def test_429_and_time_outs_stretch_the_looks_and_they_recover(tmp_path: Path, trouble: Fault) -> None:
    """One long prompt: looked at every 5 s, less and less often while the server is in trouble, then as before."""
    clock = HandClock()
    server = FakeServer(
        "http://gpu0:8188", clock, steadily(3000.0), fault=during(trouble, clock, 300.0, 1000.0, every=2)
    )
    Simulation(tmp_path, clock, [server], items=1, options=Options(stall_seconds=1e9)).burst(1)
    looked = [at for at, asked in server.requests if "history" in asked]

    def longest_rest(begin: float, end: float) -> float:
        looks = [look for look in looked if begin <= look < end]
        return max(after - before for before, after in itertools.pairwise(looks))

    assert longest_rest(100.0, 300.0) == pytest.approx(DEFAULT_POLL_SECONDS, abs=0.1)
    assert longest_rest(300.0, 1000.0) >= LONGEST_STRETCH_SECONDS
    assert longest_rest(2500.0, 3000.0) == pytest.approx(DEFAULT_POLL_SECONDS, abs=0.1)
    troubled = sum(300.0 <= look < 1000.0 for look in looked) / 2  # each is repeated
    assert troubled <= 0.5 * 700.0 / DEFAULT_POLL_SECONDS


def test_a_stalled_server_keeps_its_items_and_the_others_go_on(tmp_path: Path) -> None:
    clock = HandClock()
    good = FakeServer("http://good:8188", clock, steadily(10.0))
    stuck = FakeServer("http://stuck:8188", clock, lambda number: 1e9 if number == 3 else 1.0)
    simulation = Simulation(tmp_path, clock, [good, stuck], items=60, options=Options(stall_seconds=60.0))
    simulation.burst(60)
    theirs = list(simulation.store.items(Status.SUBMITTED))
    assert isinstance(simulation.workers[1].lost, ServerStalled)
    assert {item.server for item in theirs} == {stuck.url}
    assert len(stuck.accepted) == 3 + len(theirs)
    assert simulation.store.counts()[Status.COMPLETED] == 60 - len(theirs)


def test_urgent_items_go_first_whatever_server_is_free(tmp_path: Path) -> None:
    mixed = [PRIORITIES[number % 4] for number in range(40)]
    simulation = simulate(tmp_path, [1.0, 1.5, 4.0], items=40, priorities=mixed)
    simulation.burst(15)
    sent_before = set(simulation.sent())
    simulation.add(["late.txt"], priorities=["urgent"])
    simulation.burst(26)
    sent = simulation.sent()
    assert len(sent) == 41
    late = sent.pop("late.txt")
    assert late == min(at for key, at in sent.items() if key not in sent_before)
    rows = [[sent[f"{number:04}.txt"] for number in range(40) if mixed[number] == one] for one in PRIORITIES]
    assert all(max(earlier) <= min(later) for earlier, later in itertools.pairwise(rows))


def test_items_that_an_urgent_one_overtook_are_still_there_for_the_next_burst(tmp_path: Path) -> None:
    clock = HandClock()
    simulation = Simulation(tmp_path, clock, [FakeServer("http://gpu:8188", clock, lambda _: 2.0)], items=6)
    (worker,) = simulation.workers
    simulation.work.begin(2)
    worker.turn()
    simulation.add(["urgent.txt"], priorities=["urgent"])
    worker.turn()
    assert sum(status is Status.SUBMITTED for status in simulation.statuses()) == 3
    assert len(simulation.lease.claim(10)) == 4
    simulation.close()
