"""Bursts on a server of Comfy API v2, which chooses its prompts' ids: an answer that is lost costs no second prompt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from support.fake_api_v2 import HOSTED, FakeApiV2
from support.fake_faults import Page, first
from support.fake_queue import Prompt
from support.hand_clock import BEGINNING, HandClock
from support.served_outputs import png
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from orchestrator.errors import BurstError, SpendLimitReached, SpendNotAllowed
from state.change import change_all
from state.item import Item, Status

URL = "http://cloud:8188"
PAID = msgspec.structs.replace(HOSTED, is_paid=True)
POST = "POST /api/v2/jobs"
PENDING, SUBMITTED, COMPLETED, FAILED = Status.PENDING, Status.SUBMITTED, Status.COMPLETED, Status.FAILED


class Scene:
    """Some items and a server; each run is one burst."""

    def __init__(self, folder: Path, *, items: int = 3) -> None:
        self.folder, self.to_add = folder, items
        self.clock = HandClock()
        self.server = FakeApiV2(URL, self.clock, lambda _: 1.0)
        self.notes: list[str] = []
        self.options = Options(allow_spend=100)

    def open(self) -> Simulation:
        options, count = self.options, self.to_add
        found = Simulation(self.folder, self.clock, [self.server], items=count, options=options, template="smoke")
        self.to_add = 0
        return found

    def run(self, size: int = 15) -> list[Item]:
        simulation = self.open()
        try:
            simulation.burst(size)
        finally:
            self.notes = simulation.tally.notes
            simulation.close()
        return list(simulation.store.items())

    def refused(self, error: type[BurstError], size: int = 15) -> str:
        with pytest.raises(error) as caught:
            self.run(size)
        return str(caught.value)

    def items(self) -> list[Item]:
        simulation = self.open()
        simulation.close()
        return list(simulation.store.items())

    def posts(self) -> int:
        return sum(asked == POST for _, asked in self.server.requests)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def once_each(count: int) -> Counter[str]:
    return Counter({f"{number:04}.txt": 1 for number in range(count)})


def test_a_burst_takes_the_ids_of_the_server(scene: Scene) -> None:
    items = scene.run()
    assert {item.status for item in items} == {COMPLETED}
    assert {item.prompt_id for item in items} == set(scene.server.jobs)
    assert scene.server.made() == once_each(3)
    assert {job["metadata"] for job in scene.server.jobs.values()} == {item.previous_prompt_ids[0] for item in items}
    assert len(list((scene.folder / "output").rglob("*.png"))) == 3


@pytest.mark.parametrize("lists", [True, False], ids=["lists jobs", "lists none"])
def test_no_request_is_spent_on_ids_that_were_only_keys(scene: Scene, lists: bool) -> None:
    scene.server.lists = lists
    items = scene.run()
    keys = {one for item in items for one in item.previous_prompt_ids}
    assert not [asked for _, asked in scene.server.requests if asked.rpartition("/")[2] in keys]


def test_what_ends_before_the_oldest_is_collected_before_it(scene: Scene) -> None:
    """By one list of all jobs: no sweep comes in between."""
    scene.server.newest_first = True
    scene.server.seconds = lambda _: 60.0
    scene.options = Options(allow_spend=100, sweep_seconds=1e6)
    items = scene.run()
    first, *others = (item.completed_at - BEGINNING for item in items if item.completed_at is not None)
    assert [round(after.total_seconds() / 60) for after in (first, *others)] == [1, 3, 2]


def test_a_lost_answer_is_found_by_its_label(scene: Scene) -> None:
    scene.server.fault = first(1, POST, "lost")
    items = scene.run()
    assert {item.status for item in items} == {COMPLETED}
    assert scene.server.made() == once_each(3)
    assert scene.posts() == 3


@pytest.mark.parametrize("lists", [True, False], ids=["lists jobs", "lists none"])
def test_a_request_that_never_arrived_is_repeated_under_its_key(scene: Scene, lists: bool) -> None:
    scene.server.lists = lists
    scene.server.fault = first(1, POST, Page(502))
    items = scene.run()
    assert {item.status for item in items} == {COMPLETED}
    assert scene.server.made() == once_each(3)
    assert scene.posts() == 4


def test_without_a_list_what_was_lost_waits_for_a_person(scene: Scene) -> None:
    scene.server.lists = False
    scene.server.fault = first(1, POST, "lost")
    items = scene.run()
    assert [item.status for item in items] == [FAILED, COMPLETED, COMPLETED]
    assert items[0].error is not None
    assert items[0].error.kind == "in_doubt"
    assert "burst retry 0000.txt" in items[0].error.message
    assert items[0].attempts == 0
    assert scene.server.made() == once_each(3)
    for _ in range(2):
        scene.run()
    assert scene.server.made() == once_each(3)


def test_a_person_may_send_it_again(scene: Scene) -> None:
    scene.server.lists = False
    scene.server.fault = first(1, POST, "lost")
    scene.run()
    simulation = scene.open()
    change_all(simulation.lease, list(simulation.store.items(FAILED)), lambda item: item.start_over())
    simulation.close()
    assert {item.status for item in scene.run()} == {COMPLETED}
    assert scene.server.made()["0000.txt"] == 2


def test_keys_that_the_server_forgets_by_now_are_not_trusted(scene: Scene) -> None:
    scene.server.lists = False
    scene.server.fault = first(1, POST, Page(502))
    simulation = scene.open()
    simulation.work.begin(15)
    simulation.workers[0].step()
    simulation.close()
    assert scene.server.made() == once_each(3) - Counter(["0000.txt"])
    scene.clock.seconds += 25 * 3600.0
    items = scene.run()
    assert [item.status for item in items] == [FAILED, COMPLETED, COMPLETED]
    assert items[0].error is not None
    assert items[0].error.kind == "in_doubt"


def test_a_full_queue_keeps_the_key(scene: Scene) -> None:
    scene.server.lists = False
    scene.server.fault = first(1, POST, Page(502))
    simulation = scene.open()
    simulation.work.begin(15)
    simulation.workers[0].step()
    key = simulation.store.get("0000.txt").prompt_id
    scene.server.refuses = {"status": 429, "code": "queue_full"}
    simulation.work_for(30.0)
    assert simulation.store.get("0000.txt").prompt_id == key
    assert simulation.store.get("0000.txt").status is PENDING
    scene.server.refuses = None
    simulation.close()
    assert {item.status for item in scene.run()} == {COMPLETED}
    assert scene.server.made() == once_each(3)


def test_a_server_that_never_takes_it_stops_the_run_and_keeps_the_key(scene: Scene) -> None:
    scene.server.fault = lambda asked: Page(503) if asked == POST else None
    message = scene.refused(BurstError)
    assert "was sent" in message
    assert {item.status for item in scene.items()} <= {PENDING, SUBMITTED}
    scene.server.fault = lambda asked: None
    assert {item.status for item in scene.run()} == {COMPLETED}
    assert scene.server.made() == once_each(3)


def test_an_item_in_doubt_that_is_cancelled_ends(scene: Scene) -> None:
    scene.server.fault = first(1, POST, Page(502))
    simulation = scene.open()
    simulation.work.begin(15)
    simulation.workers[0].step()
    change_all(simulation.lease, [simulation.store.get("0000.txt")], lambda item: item.request_cancel())
    simulation.close()
    items = scene.run()
    assert [item.status for item in items] == [Status.CANCELLED, COMPLETED, COMPLETED]
    assert scene.server.made() == once_each(3) - Counter(["0000.txt"])


def test_only_so_many_are_out_at_a_time(scene: Scene) -> None:
    scene.server.terms = msgspec.structs.replace(HOSTED, most_out=2)
    scene.to_add = 6
    most = 0
    simulation = scene.open()
    simulation.work.begin(6)
    while not simulation.work.is_full:
        scene.clock.seconds += max(simulation.workers[0].turn(), 0.002)
        most = max(most, len(scene.server.queue))
    simulation.close()
    assert most == 2


def test_priorities_say_nothing_about_the_order(tmp_path: Path) -> None:
    clock = HandClock()
    server = FakeApiV2(URL, clock, lambda _: 10.0)
    simulation = Simulation(tmp_path, clock, [server], items=2, priorities=["low", "normal"], template="smoke")
    simulation.work.begin(2)
    simulation.workers[0].step()
    simulation.add(["urgent.txt"], priorities=["urgent"])
    simulation.work.begin(3)
    simulation.work_for(1.0)
    current = simulation.workers[0].current()
    assert current is not None
    assert current[0].prompt_id == next(iter(server.jobs))
    simulation.close()


# Money


def test_nothing_is_sent_for_money_before_that_is_allowed(scene: Scene) -> None:
    scene.server.terms, scene.options = PAID, Options()
    message = scene.refused(SpendNotAllowed)
    assert "http://cloud:8188 costs money" in message
    assert "allow_spend" in message
    assert scene.posts() == 0
    assert {item.status for item in scene.items()} == {PENDING}


def test_what_was_sent_before_is_collected_without_it(scene: Scene) -> None:
    scene.server.terms = PAID
    simulation = scene.open()
    simulation.work.begin(2)
    simulation.workers[0].step()
    simulation.close()
    scene.options = Options()
    scene.refused(SpendNotAllowed)
    assert [item.status for item in scene.items()] == [COMPLETED, COMPLETED, PENDING]


def test_a_limit_of_24_hours_is_counted_in_the_store(scene: Scene) -> None:
    scene.server.terms, scene.options, scene.to_add = PAID, Options(allow_spend=4), 7
    assert [item.status for item in scene.run(3)] == [COMPLETED] * 3 + [PENDING] * 4
    message = scene.refused(SpendLimitReached, 3)
    assert "the 4 prompts allowed in 24 h are used up" in message
    assert scene.posts() == 4
    scene.refused(SpendLimitReached, 3)
    assert scene.posts() == 4
    scene.clock.seconds += 24 * 3600.0 + 60.0
    assert {item.status for item in scene.run(3)} == {COMPLETED}
    assert scene.posts() == 7


def test_a_limit_that_is_met_with_the_end_of_a_burst_is_no_error(scene: Scene) -> None:
    scene.server.terms, scene.options = PAID, Options(allow_spend=2)
    assert [item.status for item in scene.run(2)] == [COMPLETED, COMPLETED, PENDING]
    scene.refused(SpendLimitReached)


def test_what_the_server_refuses_is_not_counted(scene: Scene) -> None:
    scene.server.terms, scene.options = PAID, Options(allow_spend=3)
    scene.server.fault = first(2, POST, Page(402, b'{"error": {"code": "insufficient_credits"}}'))
    for _ in range(2):
        scene.refused(BurstError)
    assert {item.status for item in scene.run()} == {COMPLETED}
    assert scene.server.made() == once_each(3)


def test_a_free_server_is_not_counted(scene: Scene) -> None:
    scene.options = Options(allow_spend=0)
    assert {item.status for item in scene.run()} == {COMPLETED}
    assert (
        not (scene.folder / "state.burst" / "facts.jsonl").exists()
        or b"spend" not in (scene.folder / "state.burst" / "facts.jsonl").read_bytes()
    )


def test_a_failure_is_not_paid_for_twice(scene: Scene) -> None:
    scene.server.terms, scene.to_add = PAID, 6
    scene.server.prompts_to_fail = 4
    items = scene.run()
    assert [item.status for item in items] == [FAILED] * 4 + [COMPLETED] * 2
    assert {item.attempts for item in items} == {1, 0}
    assert scene.server.made() == once_each(6)


def test_a_want_of_memory_is_not_paid_for_twice(scene: Scene) -> None:
    scene.server.terms = PAID
    scene.server.sickness = lambda prompt: "RuntimeError: CUDA out of memory"
    assert {item.status for item in scene.run()} == {FAILED}
    assert scene.server.made() == once_each(3)


def test_what_the_server_forgot_is_not_paid_for_twice(scene: Scene) -> None:
    scene.server.terms = PAID
    scene.server.seconds = lambda _: 100.0
    simulation = scene.open()
    simulation.work.begin(15)
    simulation.workers[0].step()
    simulation.close()
    scene.server.restart()
    items = scene.run()
    assert {item.status for item in items} == {FAILED}
    assert {item.error.kind for item in items if item.error} == {"gone"}
    assert scene.server.made() == once_each(3)


def test_a_free_server_that_forgot_it_gets_it_again(scene: Scene) -> None:
    scene.server.seconds = lambda _: 100.0
    simulation = scene.open()
    simulation.work.begin(15)
    simulation.workers[0].step()
    simulation.close()
    scene.server.restart()
    assert {item.status for item in scene.run()} == {COMPLETED}


class Spoiling(FakeApiV2):
    """Its first files do not decode."""

    spoiled = 1

    def finish(self, prompt: Prompt, how: str) -> None:
        super().finish(prompt, how)
        if self.spoiled and prompt.paths():
            self.spoiled -= 1
            self.files[prompt.paths()[0]] = b"no image"


def test_what_was_paid_for_and_cannot_be_read_is_fetched_again(scene: Scene) -> None:
    scene.server = Spoiling(URL, scene.clock, lambda _: 1.0, terms=PAID)
    items = scene.run()
    assert sorted(item.status for item in items) == [COMPLETED, COMPLETED, SUBMITTED]
    (spoiled,) = [item for item in items if item.status is SUBMITTED]
    for path in scene.server.accepted[str(spoiled.prompt_id)].paths():
        scene.server.files[path] = png(graph=scene.server.accepted[str(spoiled.prompt_id)].graph)
    assert {item.status for item in scene.run()} == {COMPLETED}
    assert scene.server.made() == once_each(3)


def test_what_never_can_be_read_fails_in_the_end(scene: Scene) -> None:
    scene.server = Spoiling(URL, scene.clock, lambda _: 1.0, terms=PAID)
    for _ in range(4):
        items = scene.run()
    assert sorted(item.status for item in items) == [COMPLETED, COMPLETED, FAILED]
    assert scene.server.made() == once_each(3)


def test_where_every_server_costs_money_the_run_says_so(tmp_path: Path) -> None:
    clock = HandClock()
    servers = [FakeApiV2(f"http://cloud{number}:8188", clock, lambda _: 1.0, terms=PAID) for number in range(2)]
    simulation = Simulation(tmp_path, clock, servers, items=5, template="smoke", options=Options(allow_spend=3))
    with pytest.raises(SpendLimitReached):
        simulation.burst(5)
    assert sum(len(server.jobs) for server in servers) == 3
    assert Counter(simulation.statuses()) == {COMPLETED: 3, PENDING: 2}
    simulation.close()


def test_another_server_goes_on_without_money(tmp_path: Path) -> None:
    clock = HandClock()
    paid = FakeApiV2(URL, clock, lambda _: 1.0, terms=PAID)
    free = FakeApiV2("http://own:8188", clock, lambda _: 1.0)
    simulation = Simulation(tmp_path, clock, [paid, free], items=5, template="smoke")
    simulation.burst(5)
    assert set(simulation.statuses()) == {COMPLETED}
    assert (len(paid.jobs), len(free.jobs)) == (0, 5)
    simulation.close()
