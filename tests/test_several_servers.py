"""Several servers with a simulated clock: who gets what, and what becomes of one that stops answering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.simulated import HandClock, SimulatedServer, Simulation, best_seconds

from orchestrator.pacing import DEFAULT_POLL_SECONDS
from state.item import Status


def steadily(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def simulate(folder: Path, paces: Sequence[float], *, items: int, **asked: object) -> Simulation:
    clock = HandClock()
    servers = [SimulatedServer(f"http://gpu{at}:8188", clock, steadily(pace)) for at, pace in enumerate(paces)]
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


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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
