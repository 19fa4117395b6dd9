"""A server of which nothing can be read: no item is to blame, and no burst sends more than its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_faults import Fault, Page, first
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from orchestrator.errors import UnexpectedAnswer
from state.item import Item, Status

URL = "http://gpu:8188"
SUBMITTED, PENDING, COMPLETED, FAILED = Status.SUBMITTED, Status.PENDING, Status.COMPLETED, Status.FAILED
POST, HISTORY, VIEW = "POST /api/prompt", "GET /api/history", "GET /api/view"
FILTERED = Page(403, b"<html>blocked</html>")
HOSTED = Page(200, b'{"id": "1", "status": "done"}')


class Scene:
    """Thirty items and a server; each run is one burst."""

    def __init__(self, folder: Path, *, items: int = 30) -> None:
        self.folder, self.to_add = folder, items
        self.clock = HandClock()
        self.server = FakeServer(URL, self.clock, lambda _: 0.01)
        self.notes: list[str] = []

    def run(self, size: int, **options: int) -> list[Item]:
        simulation = Simulation(
            self.folder,
            self.clock,
            [self.server],
            items=self.to_add,
            options=Options(**options),
            template="smoke",
        )
        self.to_add = 0
        try:
            simulation.burst(size)
        finally:
            self.notes = simulation.tally.notes
            simulation.close()
        return list(simulation.store.items())

    def refused(self, size: int, **options: int) -> str:
        with pytest.raises(UnexpectedAnswer) as caught:
            self.run(size, **options)
        return str(caught.value)

    def items(self) -> list[Item]:
        simulation = Simulation(self.folder, self.clock, [], items=0)
        simulation.close()
        return list(simulation.store.items())

    def posts(self) -> int:
        return sum(asked == POST for _, asked in self.server.requests)

    def of(self, *items: Item) -> Callable[[str], bool]:
        ids = [item.prompt_id for item in items]
        return lambda asked: HISTORY in asked and asked.rpartition("/")[2] in ids


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("page", [FILTERED, HOSTED, Page(404)], ids=["filtered", "hosted", "404"])
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_history_that_is_unreadable_for_every_prompt_charges_nobody(
    scene: Scene, page: Page, max_attempts: int
) -> None:
    scene.server.fault = first(10**6, HISTORY, page)
    for _ in range(4):
        told = scene.refused(5, max_attempts=max_attempts)
        assert "the history of no item could be read, so no attempt is charged" in told
        assert f"answered {page.status}" in told
        assert scene.posts() == 5, "bounded by its size, and nothing more while these are unread"
    items = scene.items()
    assert [item.status for item in items] == [SUBMITTED] * 5 + [PENDING] * 25
    assert {item.attempts for item in items} == {0}
    scene.server.fault = lambda asked: None
    items = scene.run(30)
    assert {(item.status, item.attempts) for item in items} == {(COMPLETED, 0)}
    assert scene.posts() == len(scene.server.accepted) == 30


@pytest.mark.parametrize("endpoint", [HISTORY, VIEW])
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_bursts_of_one_item_charge_nobody_either(scene: Scene, endpoint: str, max_attempts: int) -> None:
    """The second burst sends one more, to see whether the first item is to blame; then no other is sent."""
    scene.server.fault = first(10**6, endpoint, FILTERED)
    for posts in (1, 2, 2, 2):
        try:
            scene.run(1, max_attempts=max_attempts)
            assert (endpoint, posts) == (VIEW, 1), "one file alone is no reason to stop"
        except UnexpectedAnswer:
            pass
        assert scene.posts() == posts
    assert {item.attempts for item in scene.items()} == {0}
    assert {item.status for item in scene.items()} == {SUBMITTED, PENDING}


def test_of_files_that_never_come_no_more_are_rendered_than_the_burst_has_items(scene: Scene) -> None:
    scene.server.fault = first(10**6, VIEW, Page(429))
    scene.run(5)
    assert scene.posts() == 5
    assert len(scene.notes) == 5


@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_entry_that_cannot_be_read_among_others_is_its_item_s_own_fault(scene: Scene, place: int) -> None:
    """Charged a burst at a time and failed at last, wherever it stands; once more than the others is sent for it."""
    spoiled: set[str] = set()

    def fault(asked: str) -> Fault:
        if asked == POST:
            return None
        prompts = list(scene.server.accepted)
        if len(prompts) > place:
            spoiled.add(prompts[place]) if not spoiled else None
        return HOSTED if HISTORY in asked and asked.rpartition("/")[2] in spoiled else None

    scene.server.fault = fault
    for attempts in (1, 2):
        items = scene.run(5)
        assert (items[place].status, items[place].attempts) == (SUBMITTED, attempts)
        assert any("left for a later burst" in note for note in scene.notes)
    items = scene.run(5)
    assert (items[place].status, items[place].attempts) == (FAILED, 3)
    assert {item.attempts for number, item in enumerate(items) if number != place} == {0}
    assert [item.status for item in items].count(COMPLETED) == 12, "four of five bursts' places, and one of the first"


def test_the_last_entry_that_cannot_be_read_fails_where_others_can_be(tmp_path: Path) -> None:
    """Nothing else is left that could show it but what is completed: its history is asked for."""
    scene = Scene(tmp_path, items=3)
    scene.run(2)
    (last,) = [item for item in scene.items() if item.status is PENDING]
    scene.server.fault = lambda asked: (
        HOSTED
        if any(
            prompt.extra_data["burst"]["item"] == last.key and prompt_id in asked and HISTORY in asked
            for prompt_id, prompt in scene.server.accepted.items()
        )
        else None
    )
    for _ in range(3):
        items = scene.run(5)
    assert [item.status for item in items] == [COMPLETED, COMPLETED, FAILED]
    assert items[-1].error is not None
    assert items[-1].error.kind == "unanswered"
    # Where the server has forgotten those, nobody knows.
    scene = Scene(tmp_path / "other", items=1)
    (tmp_path / "other").mkdir()
    scene.server.fault = first(10**6, HISTORY, HOSTED)
    for _ in range(3):
        assert "the history of no item" in scene.refused(5)
    assert [(item.status, item.attempts) for item in scene.items()] == [(SUBMITTED, 0)]


def test_an_endpoint_that_breaks_in_mid_burst_charges_nobody(scene: Scene) -> None:
    scene.server.seconds = lambda _: 1.0
    scene.server.fault = lambda asked: FILTERED if HISTORY in asked and scene.clock.seconds > 2.5 else None
    scene.refused(5)
    items = scene.items()
    assert [item.status for item in items[:5]] == [COMPLETED] * 2 + [SUBMITTED] * 3
    assert {item.attempts for item in items} == {0}
    assert scene.posts() == 5


def test_one_of_two_servers_whose_history_cannot_be_read_is_not_fed_for_ever(tmp_path: Path) -> None:
    """The other does the rest; what the first has stays there, and no burst ends for that."""
    clock = HandClock()
    blind, well = (FakeServer(f"http://{name}:8188", clock, lambda _: 2.0) for name in ("blind", "well"))
    blind.fault = first(10**6, HISTORY, FILTERED)
    simulation = Simulation(tmp_path, clock, [blind, well], items=60)
    simulation.burst(60)
    simulation.close()
    items = list(simulation.store.items())
    assert len(blind.accepted) <= 2
    assert [item.status for item in items].count(COMPLETED) == 60 - len(blind.accepted)
    assert {item.attempts for item in items} == {0}
    assert "the history of no item could be read" in str(simulation.workers[0].lost)
