"""Several servers with a simulated clock: who gets what, and what becomes of one that stops answering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.simulated import HandClock, SimulatedServer, Simulation, best_seconds

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


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.floats(0.2, 20.0), min_size=4, max_size=4))
@example([1.0, 2.0, 4.0, 8.0])
@example([0.2, 1.0, 5.0, 20.0])
@example([3.0, 3.0, 3.0, 3.0])
@example([1.0, 60.0, 60.0, 60.0])
def test_200_items_on_four_unequal_servers_end_within_a_tenth_of_the_best_schedule(
    folders: Callable[[], Path], paces: list[float]
) -> None:
    simulation = simulate(folders(), paces, items=200)
    took = simulation.burst(200)
    simulation.close()
    assert took <= 1.10 * best_seconds(paces, 200)
