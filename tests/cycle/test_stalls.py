"""When a server that answers is called stalled: no sign of life, and far beyond what the recipe has ever taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.comfyui.events import Event
from orchestrator.cycle import pacing
from orchestrator.cycle.context import Options
from orchestrator.cycle.request import Request
from orchestrator.errors import ServerStalled, UsageError
from state.item import Item, Status

URL = "http://gpu:8188"
HOUR = 3600.0
PENDING, COMPLETED = Status.PENDING, Status.COMPLETED


class Scene:
    """A server whose prompts take these seconds, one after the other, then those of the last."""

    def __init__(self, folder: Path, *seconds: float) -> None:
        self.folder, self.clock = folder, HandClock()
        self.server = FakeServer(URL, self.clock, lambda number: seconds[min(number, len(seconds) - 1)])
        self.to_add = len(seconds)
        self.simulation: Simulation

    def run(self, size: int = 15, *, stall_seconds: float | None = None, hears: bool = False) -> str | None:
        """One burst; returns why the server is called stalled."""
        options = Options(stall_seconds=stall_seconds)
        self.simulation = simulation = Simulation(
            self.folder, self.clock, [self.server], items=self.to_add, options=options
        )
        self.to_add = 0
        worker = simulation.workers[0]
        if hears:
            self.server.fault = lambda asked: worker.hearing.hear(Event("step", None, "3", 1, 20))
        try:
            simulation.burst(size)
        except ServerStalled as stalled:
            return str(stalled)
        finally:
            self.server.fault = lambda asked: None
            simulation.close()
        return None

    def items(self) -> list[Item]:
        return list(self.simulation.store.items())


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Scene]:
    return lambda *seconds: Scene(tmp_path, *seconds)


Make = Callable[..., Scene]


def test_a_first_prompt_of_hours_is_no_stall(make: Make) -> None:
    """Nothing is known of its recipe yet."""
    scene = make(2 * HOUR, 2 * HOUR)
    assert scene.run() is None
    assert [item.status for item in scene.items()] == [COMPLETED] * 2
    assert scene.simulation.store.facts.read().health == {}


def test_a_prompt_that_takes_a_few_times_what_its_recipe_took_is_no_stall(make: Make) -> None:
    scene = make(1200.0, 2.9 * HOUR)
    assert scene.run() is None
    assert [item.status for item in scene.items()] == [COMPLETED] * 2


@pytest.mark.parametrize(("longest", "limit"), [(60.0, pacing.STALL_SECONDS), (1200.0, 12_000.0)])
def test_one_far_beyond_that_is_and_the_advice_says_how_to_tell(make: Make, longest: float, limit: float) -> None:
    scene = make(longest, math.inf)
    told = scene.run()
    assert told is not None
    assert limit <= scene.clock.seconds - longest <= 1.1 * limit
    for words in (
        URL,
        "0001.txt",
        "answers, but",
        "the longest of its recipe took",
        "nvidia-smi",
        "stall_seconds=inf",
    ):
        assert words in told
    assert {item.attempts for item in scene.items()} == {0}


def test_following_the_advice_often_fails_no_item_and_lets_the_others_go_first(make: Make) -> None:
    scene = make(60.0, math.inf)
    scene.to_add = 4
    scene.run(2)
    for _ in range(3):
        scene.server.restart()
        assert scene.run() is not None
        assert {(item.crashes, item.attempts) for item in scene.items()} == {(0, 0)}
    hung = max(scene.items(), key=lambda item: item.rank)
    assert hung.rank > 0
    scene.server.restart()
    scene.server.seconds = lambda _: 60.0
    assert scene.run() is None
    assert [item.status for item in scene.items()] == [COMPLETED] * 4
    health = scene.simulation.store.facts.read().health[URL]
    assert (health.health, health.reason) == ("well", None)


@dataclass
class Dead(FakeServer):
    """Its worker died: it takes prompts, and runs none."""

    def tick(self) -> None:
        pass

    def respond(self, asked: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        if asked == ["GET", "api", "queue"]:
            return 200, {"queue_running": [], "queue_pending": [prompt.queued() for prompt in self.queue]}
        return super().respond(asked, body)


def test_a_server_that_runs_nothing_of_its_queue_is_stalled_whatever_the_recipe(make: Make) -> None:
    scene = make(1.0)
    scene.server = Dead(URL, scene.clock, lambda _: 1.0)
    told = scene.run()
    assert told is not None
    assert "of which nothing is running" in told
    assert pacing.STALL_SECONDS <= scene.clock.seconds < 1.1 * pacing.STALL_SECONDS


def test_a_limit_of_one_s_own_counts_alone(make: Make) -> None:
    scene = make(1.0, math.inf)
    assert scene.run(stall_seconds=120.0) is not None
    assert 120.0 <= scene.clock.seconds < 160.0


def test_off_never_calls_it_so(make: Make) -> None:
    scene = make(1.0, 3 * HOUR)
    assert scene.run(stall_seconds=math.inf) is None
    assert [item.status for item in scene.items()] == [COMPLETED] * 2


def test_one_whose_events_are_heard_is_at_work(make: Make) -> None:
    scene = make(1.0, 3 * HOUR)
    assert scene.run(hears=True) is None
    assert scene.run(stall_seconds=120.0, hears=True) is None
    assert [item.status for item in scene.items()] == [COMPLETED] * 2


def test_limits_that_are_none_are_refused() -> None:
    for seconds in (0.0, -1.0, math.nan):
        with pytest.raises(UsageError, match="stall_seconds"):
            Request(stall_seconds=seconds).checked()
    assert Request(stall_seconds=math.inf).checked().stall_seconds == math.inf
