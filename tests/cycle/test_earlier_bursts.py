"""The pace of earlier bursts: when the next one first asks, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.cycle.pacing import Pace, recipe_paces, recipe_seconds, rendering_pace
from orchestrator.status import read_status
from orchestrator.time_left import recipe_seconds as recipe_seconds_of
from state.burst_record import BurstRecord, RecipePace
from state.change import Change
from state.item import Item, Status
from state.open_store import open_store, parts_of

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
URL = "http://127.0.0.1:8188"


class TestPace:
    def test_of_a_recipe_is_its_own_else_of_earlier_bursts_else_of_others(self) -> None:
        pace = Pace(lambda: {"a": 30.0})
        assert (pace.expected_seconds("a"), pace.expected_seconds("b")) == (30.0, None)
        pace.note(4.0, recipe="b")
        assert (pace.expected_seconds("a"), pace.expected_seconds("b"), pace.expected_seconds("c")) == (30.0, 4.0, 4.0)
        pace.note(31.0, recipe="a")
        assert pace.expected_seconds("a") == 31.0

    def test_earlier_bursts_are_read_when_they_are_needed(self) -> None:
        read = []
        pace = Pace(lambda: read.append(1) or {})
        assert read == []
        pace.expected_seconds("a")
        pace.expected_seconds("b")
        assert read == [1]

    def test_what_was_rendered_is_taken_once(self) -> None:
        pace = Pace()
        pace.note(1.0, recipe="a")
        assert pace.take_rendered() == {"a": [1.0]}
        assert pace.take_rendered() == {}
        assert pace.expected_seconds("a") == 1.0

    def test_a_record_holds_the_recipes_with_most_items(self) -> None:
        rendered: dict[str | None, Sequence[float]] = {str(number): [1.0] * number for number in range(1, 12)}
        kept = recipe_paces({**rendered, None: [3.0, 1.0, 2.0] * 9})
        assert len(kept) == 8
        assert kept[""] == RecipePace(items=27, median_seconds=2.0)
        assert "11" in kept
        assert "4" not in kept


def record(*, seconds: float = 1.0, per_item: float | None = None, **more: object) -> BurstRecord:
    return BurstRecord(
        burst="b",
        started_at=MOMENT,
        ended_at=MOMENT,
        ended="done",
        size=15,
        seconds=seconds,
        seconds_per_item=per_item,
        **more,  # type: ignore[arg-type]
    )


def paces(**by_recipe: float) -> dict[str, RecipePace]:
    return {name: RecipePace(items=5, median_seconds=seconds) for name, seconds in by_recipe.items()}


def test_the_last_burst_that_rendered_a_recipe_says_its_pace() -> None:
    records = [record(recipe_paces=paces(a=10.0, b=1.0)), record(recipe_paces=paces(a=12.0)), record()]
    assert recipe_seconds(records) == {"a": 12.0, "b": 1.0}


def test_the_pace_of_rendering_is_not_what_a_burst_found_finished_or_waited_for() -> None:
    quick = record(completed=10, seconds=5.0, per_item=35.0)
    slow = record(completed=10, seconds=3600.0, per_item=35.0)
    assert rendering_pace([quick, slow]) == 35.0
    assert rendering_pace([record(completed=3)]) is None


class TestNextBurst:
    """Polling alone, in the second burst of a state."""

    def earlier(self, folder: Path, seconds: float) -> Mapping[str | None, float]:
        """What a first burst learns."""
        clock = HandClock()
        first = Simulation(folder, clock, [FakeServer(URL, clock, lambda number: seconds)], items=1)
        first.burst(1)
        rendered = first.workers[0].context.pace.take_rendered()
        first.close()
        return {recipe: took[0] for recipe, took in rendered.items()}

    @pytest.mark.parametrize("seconds", [0.3, 2.0, 7.0, 10.0, 30.0])
    def test_a_single_item_is_seen_within_half_a_second(self, tmp_path: Path, seconds: float) -> None:
        earlier = self.earlier(tmp_path, seconds)
        assert list(earlier.values()) == [pytest.approx(seconds, abs=0.01)]
        clock = HandClock()
        server = FakeServer(URL, clock, lambda number: seconds * 1.003)
        second = Simulation(tmp_path, clock, [server], items=2, earlier=earlier)
        ended = second.burst(1)
        second.close()
        (prompt,) = server.accepted.values()
        assert ended - prompt.end <= 0.5

    def test_a_pace_that_is_no_more_costs_no_more_than_the_interval(self, tmp_path: Path) -> None:
        earlier = self.earlier(tmp_path, 30.0)
        clock = HandClock()
        server = FakeServer(URL, clock, lambda number: 1.0)
        second = Simulation(tmp_path, clock, [server], items=2, earlier=earlier)
        assert second.burst(1) <= 1.0 + 5.0
        second.close()


class TestEstimate:
    @pytest.fixture
    def state(self, tmp_path: Path) -> Path:
        path = tmp_path / "state.json"
        with open_store(path, create=True) as store:
            slow = [Item(key=f"slow {number}", status=Status.PENDING, recipe="a") for number in range(10)]
            quick = [Item(key=f"quick {number}", status=Status.PENDING, recipe="b") for number in range(4)]
            store.add([*slow, *quick])
        return path

    def seconds_left(self, state: Path, *records: BurstRecord) -> float | None:
        log = parts_of(state).bursts
        for one in records:
            log.append(one)
        return read_status(state).seconds_left

    def test_is_made_of_what_items_of_each_recipe_took(self, state: Path) -> None:
        one = record(completed=10, seconds=50.0, per_item=18.0, recipe_paces=paces(a=35.0, b=2.0))
        assert self.seconds_left(state, one) == pytest.approx(10 * 35.0 + 4 * 2.0)

    def test_a_burst_that_found_ten_finished_makes_nothing_quicker(self, state: Path) -> None:
        one = record(completed=10, seconds=3.0, per_item=35.0, recipe_paces=paces(a=35.0))
        assert self.seconds_left(state, one) == pytest.approx(14 * 35.0)

    def test_several_servers_share_the_work(self, state: Path) -> None:
        one = record(completed=10, seconds=90.0, per_item=17.5, recipe_paces=paces(a=35.0, b=35.0))
        assert self.seconds_left(state, one) == pytest.approx(14 * 17.5)

    def test_without_any_burst_it_is_made_of_the_items(self, state: Path) -> None:
        with open_store(state) as store:
            sent = Change(
                "slow 0",
                Status.PENDING,
                lambda item: item.submit(
                    prompt_id="p", server=URL, at=MOMENT, fingerprint="f", recipe="a", prefix_scheme=2
                ),
            )
            store.apply([sent])
            done = Change("slow 0", Status.SUBMITTED, lambda item: item.complete(outputs=(), at=MOMENT, seconds=35.0))
            store.apply([done])
            assert recipe_seconds_of(store, [], server="s") == {"a": 35.0}
        assert self.seconds_left(state) == pytest.approx(13 * 35.0)
