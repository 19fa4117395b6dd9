"""Stages in a run: an item that is made from another's output is rendered after it, from its file, or ends with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.fake_faults import Fault
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.image_project import INVERT
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from orchestrator.recipes import Recipes
from orchestrator.settings import Settings
from orchestrator.waiting import end_stuck, waiting_notes
from state.change import change_all
from state.facts import Pause
from state.item import Item, ItemOutput, Priority, Status
from state.open_store import open_store

PENDING, SUBMITTED, COMPLETED, FAILED, CANCELLED = Status
UPLOAD, POST = "POST /api/upload/image", "POST /api/prompt"
DRAFT, FINAL, LAST = "draft.png", "final.png", "last.png"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def server(clock: HandClock) -> FakeServer:
    return FakeServer("http://one.test", clock, lambda number: 3.0)


@pytest.fixture
def begin(tmp_path: Path, clock: HandClock) -> Iterator[Callable[..., Simulation]]:
    """Makes simulations of one state, whose items load an image. Begins with a draft of `cat.png`."""
    Image.new("RGB", (8, 8), "red").save(tmp_path / "cat.png")
    (tmp_path / "invert.json").write_text(json.dumps(INVERT))
    made: list[Simulation] = []

    def begin(*servers: FakeServer, stages: int = 1, **asked: object) -> Simulation:
        options = Options(in_doubt_seconds=1.0, max_attempts=1)
        there = (tmp_path / "state.json").exists()
        simulation = Simulation(
            tmp_path, clock, servers, items=0, options=options, template=tmp_path / "invert.json", **asked
        )
        made.append(simulation)
        if not there:
            chain = [item(DRAFT, "cat.png"), item(FINAL, output_of(DRAFT)), item(LAST, output_of(FINAL))]
            simulation.store.add(chain[: stages + 1])
        return simulation

    yield begin
    for simulation in made:
        simulation.close()


def output_of(key: str, number: int = 1) -> ItemOutput:
    return ItemOutput(item=key, output=number)


def item(key: str, source: str | ItemOutput, *, priority: Priority = "normal", recipe: str | None = None) -> Item:
    return Item(key=key, status=PENDING, filename=key, uploads={"image": source}, priority=priority, recipe=recipe)


def other_process(simulation: Simulation, key: str, edit: Callable[[Item], Item | None]) -> None:
    """Another process changes an item; the run hears of it as in `WorkerPool.follow`."""
    with open_store(simulation.folder / "state.json") as store:
        change_all(store, store.get_many([key]), edit)
    simulation.store.refresh()
    for changed in [one.key for one in simulation.store.items()]:
        simulation.work.changed_by_others(changed)


def image_of(server: FakeServer, prompt: int) -> str:
    """The image that the nth prompt loaded."""
    return str(list(server.accepted.values())[prompt].graph["1"]["inputs"]["image"])


def name_of(file: Path) -> str:
    """What its bytes are called on a server."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"burst/{digest[:2]}/{digest}.png"


def items_sent(server: FakeServer) -> list[str]:
    return [prompt.item for prompt in server.accepted.values()]


def error_of(simulation: Simulation, key: str) -> str:
    error = simulation.store.get(key).error
    assert error is not None
    return error.message


def test_a_chain_is_rendered_in_order_each_from_the_file_of_the_one_before(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server, stages=2)
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED] * 3
    assert items_sent(server) == [DRAFT, FINAL, LAST]
    for prompt, source in enumerate(["cat.png", f"output/{DRAFT}", f"output/{FINAL}"]):
        assert image_of(server, prompt) == name_of(simulation.folder / source)
        assert server.files[image_of(server, prompt)] == (simulation.folder / source).read_bytes()


def test_a_burst_ends_at_its_size_and_the_next_goes_on_with_the_stages(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server, stages=2)
    simulation.burst(1)
    assert simulation.statuses() == [COMPLETED, PENDING, PENDING]
    assert list(waiting_notes(simulation.store)) == [
        f"1 item waits for outputs of others ({LAST} for {FINAL}, which is pending)"
    ]
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED] * 3


def test_an_output_of_several_is_the_one_of_that_number(begin: Callable[..., Simulation], server: FakeServer) -> None:
    """Numbers stay when an output is removed."""
    simulation = begin(server)
    simulation.burst(1)
    second = simulation.folder / "output" / "draft_002.png"
    Image.new("RGB", (4, 4), "blue").save(second)
    record = simulation.store.get(DRAFT).outputs[0]

    def without_first(now: Item) -> Item:
        two = type(record)(path=second.name, bytes=second.stat().st_size, sha256="ab" * 32)
        return now.complete(outputs=(two,), at=simulation.clock.now(), seconds=1.0)

    other_process(simulation, DRAFT, without_first)
    simulation.store.add([item("second.png", output_of(DRAFT, 2)), item("third.png", output_of(DRAFT, 3))])
    simulation.burst(9)
    assert image_of(server, 1) == name_of(second)
    assert items_sent(server) == [DRAFT, "second.png"]
    assert [simulation.store.get(key).status for key in (FINAL, "third.png")] == [FAILED, FAILED]
    assert error_of(simulation, FINAL) == f"output 1 of {DRAFT} was removed; `burst retry {DRAFT}` makes it again"
    assert error_of(simulation, "third.png").startswith(f"{DRAFT} has no output 3, only 1 output: it was removed")


def test_a_file_that_was_removed_fails_the_stage_with_that_word(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server, stages=2)
    simulation.burst(1)
    (simulation.folder / "output" / DRAFT).unlink()
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED, FAILED, FAILED]
    assert f"output 1 of {DRAFT} was removed" in error_of(simulation, FINAL)
    assert items_sent(server) == [DRAFT]
    other_process(simulation, DRAFT, lambda now: now.start_over())
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED] * 3


def test_outputs_that_were_cleaned_away_fail_the_stage_with_that_word(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    """The item stays completed, as after `batches clean`."""
    simulation = begin(server)
    simulation.burst(1)
    other_process(simulation, DRAFT, lambda now: now.complete(outputs=(), at=simulation.clock.now(), seconds=1.0))
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED, FAILED]
    assert error_of(simulation, FINAL) == f"output 1 of {DRAFT} was removed; `burst retry {DRAFT}` makes it again"


def test_a_pause_holds_the_stages_of_what_is_collected_meanwhile(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server)
    simulation.work.begin(9)
    while items_sent(server) != [DRAFT]:
        simulation.work_for(0.5)
    simulation.rest(Pause(paused=True, at=simulation.clock.now()))
    assert (simulation.statuses(), items_sent(server)) == ([COMPLETED, PENDING], [DRAFT])
    simulation.work.pause = None
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED, COMPLETED]


def test_all_that_is_made_from_an_item_fails_with_it_and_is_not_sent(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server, stages=2)
    server.prompts_to_fail = 1
    simulation.burst(9)
    assert simulation.statuses() == [FAILED] * 3
    assert (items_sent(server), simulation.tally.failed) == ([DRAFT], 1)
    assert f"2 items made from {DRAFT} failed with it" in simulation.tally.notes
    assert simulation.work.is_at_rest
    other_process(simulation, DRAFT, lambda now: now.start_over())
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED] * 3


def test_another_server_takes_the_stage_that_only_it_may_have(
    begin: Callable[..., Simulation], server: FakeServer, clock: HandClock
) -> None:
    """It has been at rest since the beginning, and the one that made the source is at rest after it."""
    second = FakeServer("http://two.test", clock, lambda number: 3.0)
    simulation = begin(server, second)
    recipes = Recipes(simulation.store.recipes, simulation.folder)
    settings = Settings(output_dir=simulation.folder / "output", template=str(simulation.folder / "invert.json"))
    ids = [recipes.keep(recipes.from_settings(settings, servers=[one.url])).id for one in (server, second)]
    for key, recipe in zip((DRAFT, FINAL), ids, strict=True):
        other_process(
            simulation,
            key,
            lambda now, recipe=recipe: type(now)(  # type: ignore[misc]
                key=now.key, status=PENDING, filename=now.filename, uploads=now.uploads, recipe=recipe
            ),
        )
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED, COMPLETED]
    assert (items_sent(server), items_sent(second)) == ([DRAFT], [FINAL])
    assert image_of(second, 0) == name_of(simulation.folder / "output" / DRAFT)


def test_a_source_of_low_priority_goes_before_its_urgent_stage(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server)
    simulation.store.add(
        [item("z.png", "cat.png", priority="high"), item("u.png", output_of(DRAFT), priority="urgent")]
    )
    simulation.burst(9)
    assert items_sent(server) == ["z.png", DRAFT, "u.png", FINAL]


def test_a_source_that_is_redone_while_its_stage_is_out_redoes_it_too(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server)
    simulation.work.begin(9)
    while items_sent(server) != [DRAFT, FINAL]:
        simulation.work_for(0.5)
    first = image_of(server, 1)
    other_process(simulation, DRAFT, lambda now: now.start_over())
    assert [one.status for one in simulation.store.items()] == [PENDING, SUBMITTED]
    simulation.burst(9)
    assert simulation.statuses() == [COMPLETED, COMPLETED]
    assert items_sent(server) == [DRAFT, FINAL, DRAFT, FINAL]
    assert first != image_of(server, 3) == name_of(simulation.folder / "output" / DRAFT)
    assert (simulation.tally.completed, simulation.tally.put_back, simulation.tally.rendered_twice) == (3, 1, 0)


def test_a_source_that_is_redone_while_it_is_uploaded_is_not_used(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    """What was read is what its source was before: nothing is sent with it."""
    simulation = begin(server)
    redone: list[str] = []

    def fault(asked: str) -> Fault:
        if asked == UPLOAD and items_sent(server) == [DRAFT] and not redone:
            redone.append(asked)
            with open_store(simulation.folder / "state.json") as store:
                change_all(store, store.get_many([DRAFT]), lambda now: now.start_over())
        return None

    server.fault = fault
    simulation.burst(9)
    assert redone
    assert simulation.statuses() == [COMPLETED, COMPLETED]
    assert items_sent(server) == [DRAFT, DRAFT, FINAL]
    assert image_of(server, 2) == name_of(simulation.folder / "output" / DRAFT)


def test_a_source_that_is_cancelled_beside_a_run_takes_its_stages_with_it(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server, stages=2)
    simulation.work.begin(9)
    while items_sent(server) != [DRAFT]:
        simulation.work_for(0.5)
    other_process(simulation, DRAFT, lambda now: now.request_cancel())
    simulation.burst(9)
    assert simulation.statuses() == [CANCELLED] * 3
    assert items_sent(server) == [DRAFT]
    assert error_of(simulation, FINAL) == f"it is made from an output of {DRAFT}, which was cancelled"


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("at", [UPLOAD, POST])
def test_a_kill_between_the_source_and_the_post_of_its_stage_loses_nothing_and_doubles_nothing(
    begin: Callable[..., Simulation], server: FakeServer, at: str
) -> None:
    simulation = begin(server)

    def fault(asked: str) -> Fault:
        if asked == at and items_sent(server) == [DRAFT]:
            raise Killed
        return None

    server.fault = fault
    with pytest.raises(Killed):
        simulation.burst(9)
    simulation.close()
    server.fault = lambda asked: None
    again = begin(server)
    again.burst(9)
    assert again.statuses() == [COMPLETED, COMPLETED]
    assert items_sent(server) == [DRAFT, FINAL]


def test_what_was_edited_by_hand_to_wait_in_vain_ends_when_a_run_begins(
    begin: Callable[..., Simulation], server: FakeServer
) -> None:
    simulation = begin(server, stages=2)
    state = simulation.folder / "state.json"
    simulation.store.settle(at_end=True)
    records = json.loads(state.read_text())
    records[FINAL]["uploads"]["image"]["item"] = "nobody"
    records["x"] = {"status": "pending", "uploads": {"image": {"item": "y", "output": 1}}}
    records["y"] = {"status": "pending", "uploads": {"image": {"item": "x", "output": 1}}}
    state.write_text(json.dumps(records))
    simulation.store.refresh()
    simulation.store.settle(at_end=True)
    assert simulation.store.stuck() == [FINAL, "x", "y"]
    ended = end_stuck(simulation.store, simulation.lease)
    assert [one.key for one in ended] == [FINAL, "x", "y", LAST]
    assert error_of(simulation, FINAL) == "it is made from an output of nobody, which was removed"
    assert error_of(simulation, "x") == "it waits for itself: x → y → x"
    assert (simulation.store.stuck(), simulation.store.waiting()) == ([], [])
