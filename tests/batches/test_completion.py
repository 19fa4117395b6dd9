"""When a batch has ended: noted once for each time, and batch_info.json in step with it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.batch_scene import NOON, Scene, SetClock
from support.documents import checked

from state.batch import GoneRecord
from state.counts import Counts
from state.item import Item, Status

COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.store.close()


def info(scene: Scene) -> dict[str, Any]:
    return checked(json.loads((scene.output / "batch_b1" / "batch_info.json").read_text()))


def test_an_end_is_noted_when_the_last_item_has_ended_and_only_once(scene: Scene) -> None:
    with scene.run() as endings:
        scene.end(2)
        endings.look()
        assert scene.batch().ends == []
        scene.end(1)
        endings.look()
        endings.look()
    scene.run_once()
    (end,) = scene.batch().ends
    assert (end.how, end.completed, end.failed, end.cancelled, end.at) == ("done", 2, 0, 0, NOON)
    assert uuid.UUID(end.event).version == 4


@pytest.mark.parametrize(
    ("ways", "how"),
    [
        ((COMPLETED, COMPLETED), "done"),
        ((COMPLETED, CANCELLED), "cancelled"),
        ((FAILED, CANCELLED), "failed"),
        ((COMPLETED, FAILED), "failed"),
        ((CANCELLED, CANCELLED), "cancelled"),
    ],
)
def test_how_a_batch_ended(scene: Scene, ways: tuple[Status, Status], how: str) -> None:
    for number, status in enumerate(ways, 1):
        scene.end(number, status)
    scene.run_once()
    (end,) = scene.batch().ends
    assert end.how == how
    assert (end.completed, end.failed, end.cancelled) == tuple(map(ways.count, (COMPLETED, FAILED, CANCELLED)))


def test_what_ended_while_no_run_lived_or_in_one_that_was_killed_is_noted_by_the_next(scene: Scene) -> None:
    scene.run_once()
    scene.end_all(CANCELLED)
    scene.run_once()
    assert [end.how for end in scene.batch().ends] == ["cancelled"]


def test_a_batch_begun_again_ends_again_even_as_it_did_before(scene: Scene) -> None:
    scene.end(1)
    scene.end(2, FAILED)
    scene.run_once()
    scene.begin_again(2)
    with scene.run():
        scene.end(2, FAILED)
    ends = scene.batch().ends
    assert [end.how for end in ends] == ["failed", "failed"]
    assert len({end.event for end in ends}) == 2


def test_a_second_end_that_a_killed_run_could_not_note_is_noted(scene: Scene) -> None:
    scene.end(1)
    scene.end(2, FAILED)
    scene.run_once()
    scene.begin_again(2)
    scene.end(2)
    scene.run_once()
    scene.begin_again(1)
    scene.end(1)
    scene.run_once()
    assert [end.how for end in scene.batch().ends] == ["failed", "done", "done"]


def test_a_batch_has_not_ended_when_items_that_had_are_begun_again(scene: Scene) -> None:
    with scene.run() as endings:
        scene.end(2)
        endings.look()
        scene.begin_again(2)
        scene.end(1)
        endings.look()
        assert scene.batch().ends == []


def test_a_batch_begun_again_by_another_process_after_a_look_found_it_ended(scene: Scene) -> None:
    scene.end_all()
    with scene.run() as endings:
        scene.begin_again(2)
        endings.look()
        scene.end(2, CANCELLED)
        endings.look()
    assert [end.how for end in scene.batch().ends] == ["done", "cancelled"]


def test_an_item_that_is_begun_again_between_two_reads_of_a_look_is_no_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = scene.store.counts

    def counted(*, batch: str | None = None) -> Counts:
        found = counts(batch=batch)
        if batch is not None and not found.remaining and not begun_again:
            begun_again.append(batch)
            scene.begin_again(2)
        return found

    begun_again: list[str] = []
    with scene.run() as endings:
        scene.end_all()
        monkeypatch.setattr(scene.store, "counts", counted)
        endings.look()
        assert (begun_again, scene.batch().ends) == (["b1"], [])
        scene.end(2, FAILED)
        endings.look()
        assert [end.how for end in scene.batch().ends] == ["failed"]


def test_a_batch_that_is_added_during_a_run(scene: Scene) -> None:
    with scene.run() as endings:
        scene.add("b2", count=1, layout="numbered", directory="d")
        endings.look()
        assert scene.batch("b2").ends == []
        scene.end(1, name="b2")
        endings.look()
        assert len(scene.batch("b2").ends) == 1
    assert [len(scene.batch(name).ends) for name in ("b1", "b2")] == [0, 1]


def test_a_batch_that_was_cleaned_away_does_not_end(scene: Scene) -> None:
    scene.log.append(GoneRecord(batch="b1", at=NOON))
    scene.end_all()
    scene.run_once()
    assert scene.batch().ends == []


def test_one_that_is_cleaned_away_meanwhile_does_not_end(scene: Scene) -> None:
    with scene.run() as endings:
        scene.log.append(GoneRecord(batch="b1", at=NOON))
        scene.end_all()
        endings.look()
    assert scene.batch().ends == []
    assert scene.notes == []


def test_items_that_are_taken_out_by_hand_end_nothing_and_hinder_nothing(scene: Scene) -> None:
    with scene.run() as endings:
        scene.store.settle(at_end=True)
        scene.store.location.path.write_text("{}")
        scene.add("b2")
        scene.store.settle(at_end=True)
        assert [item.batch for item in scene.store.items()] == ["b2"]
        endings.look()
    assert scene.batch().ends == []
    assert scene.notes == []


def test_the_info_tells_of_every_picture_and_goes_with_the_batch(scene: Scene) -> None:
    with scene.run():
        begun = info(scene)
        assert begun["ended_at"] is None
        assert [image["status"] for image in begun["images"]] == ["pending", "pending"]
        scene.end(1)
        scene.end(2, FAILED)
    told = info(scene)
    assert (told["schema"], told["batch"], told["ended_at"]) == ("burst.batch-info/1", "b1", "2030-01-01T12:00:00Z")
    assert (told["prompts"], told["seeds"], told["parameters"]) == (["a fox"], [41, 42], {"cfg": 7.5})
    assert told["images"] == [
        {"file": "b1/001.png", "index": 1, "seed": 41, "recipe": None, "status": "completed", "seconds": 3.0},
        {
            "file": None,
            "index": 2,
            "seed": 42,
            "recipe": None,
            "status": "failed",
            "seconds": None,
            "error": "out of luck",
        },
    ]
    assert (told["recipe"], told["recipes"]) == (None, {})
    assert told["totals"] == {
        "items": 2,
        "pending": 0,
        "submitted": 0,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
        "images": 1,
    }
    assert told["images_a_minute"] == 20.0
    assert [path.name for path in (scene.output / "batch_b1").iterdir()] == ["batch_info.json"]


def test_the_info_of_a_batch_under_way_is_kept_in_step(scene: Scene) -> None:
    with scene.run():
        pass
    scene.end(1)
    with scene.run():
        assert [image["status"] for image in info(scene)["images"]] == ["completed", "pending"]


class Ticking(SetClock):
    """Every look at it takes a second, as where the info is large."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0.0

    def monotonic(self) -> float:
        self.ticks += 1.0
        return self.ticks


def test_the_info_takes_a_small_share_of_the_time(tmp_path: Path) -> None:
    clock = Ticking()
    scene = Scene(tmp_path, count=4, clock=clock)
    with scene.run() as endings:
        scene.end(1)
        endings.look()
        assert info(scene)["totals"]["completed"] == 0, "it was written a moment ago"
        clock.ticks += 20
        endings.look()
        assert info(scene)["totals"]["completed"] == 1
        scene.end(2)
        clock.ticks += 10
        endings.look()
        assert info(scene)["totals"]["completed"] == 1
        scene.end_all()
        endings.look()
        assert info(scene)["totals"]["completed"] == 4, "a batch that has ended is told of at once"
    scene.store.close()


def test_other_layouts_have_no_info(tmp_path: Path) -> None:
    scene = Scene(tmp_path, layout="numbered")
    scene.end_all()
    scene.run_once()
    assert len(scene.batch().ends) == 1
    assert not scene.output.exists()
    scene.store.close()


def test_an_output_directory_that_refuses_keeps_no_end_from_being_noted(scene: Scene) -> None:
    scene.output.write_text("in the way")
    scene.end_all()
    scene.run_once()
    assert len(scene.batch().ends) == 1
    assert any("batch_info.json of batch b1 could not be written" in note for note in scene.notes)


def test_a_log_that_cannot_be_read_is_said_and_hinders_nothing(scene: Scene) -> None:
    scene.store.batches.path.mkdir()
    scene.run_once()
    assert any("could not be recorded" in note for note in scene.notes)


def test_a_look_at_a_batch_under_way_costs_the_same_however_many_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, count=500, layout="numbered")
    with scene.run() as endings:
        read = Item.from_record
        looked: list[str] = []

        def counting(key: str, raw: bytes) -> Item:
            looked.append(key)
            return read(key, raw)

        scene.end(1)
        monkeypatch.setattr(Item, "from_record", counting)
        monkeypatch.setattr(type(scene.store.batches), "read", lambda log: pytest.fail("nothing was noted since"))
        endings.look()
        assert len(looked) < 5
        monkeypatch.undo()
    scene.store.close()
