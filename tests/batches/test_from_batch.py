"""`burst generate --from-batch`: a batch of stages, made from the images of another batch, there or still to come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.drafts import DRAFTS, Drafts

from orchestrator.errors import TemplateError, UsageError
from orchestrator.marks import star
from state.item import Item, ItemOutput, Status
from state.open_store import open_store


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drafts:
    monkeypatch.chdir(tmp_path)
    return Drafts(tmp_path)


def sources(stages: Sequence[Item]) -> list[tuple[str, int]]:
    """By its number in the drafts, and the number of the output."""
    found = [stage.uploads["image"] for stage in stages]
    return [(source.item.rpartition("/")[2], source.output) for source in found if isinstance(source, ItemOutput)]


def test_all_of_a_batch_that_is_not_rendered_yet_are_stages_of_what_is_to_come(scene: Drafts) -> None:
    stages = scene.stages()
    assert sources(stages) == [(f"00{number}", output) for number in (1, 2, 3) for output in (1, 2)]
    assert {stage.prompt_text for stage in stages} == {None}
    assert scene.due() == scene.keys
    scene.complete(2)
    assert scene.due() == [scene.keys[0], scene.keys[2], stages[2].key, stages[3].key]


def test_favourites_are_items_and_single_images(scene: Drafts) -> None:
    scene.complete(1)
    second = scene.complete(2)[1]
    star(scene.state, [scene.keys[0], str(second)])
    assert sources(scene.stages(pick="favorites")) == [("001", 1), ("001", 2), ("002", 2)]
    assert sources(scene.stages(pick="favourites")) == [("001", 1), ("001", 2), ("002", 2)], "as it was spelled before"


def test_a_file_names_items_and_images(scene: Drafts) -> None:
    second = scene.complete(3)[1]
    (scene.home / "picked.txt").write_text(f"# kept\n\n{second.relative_to(scene.home)}\n{scene.keys[0]}\r\n")
    stages = scene.stages(pick="picked.txt")
    assert sources(stages) == [("001", 1), ("001", 2), ("003", 2)], "in the batch's order"


def test_what_failed_or_was_cancelled_is_left_out(scene: Drafts) -> None:
    scene.change(scene.keys[0], lambda now: now.cancel())
    assert [item for item, _ in sources(scene.stages())] == ["002", "002", "003", "003"]


def test_an_output_that_was_removed_is_left_out_and_the_other_keeps_its_number(scene: Drafts) -> None:
    scene.complete(1)
    scene.change(scene.keys[0], lambda now: msgspec.structs.replace(now, outputs=now.outputs[1:]))
    star(scene.state, [scene.keys[0]])
    assert sources(scene.stages(pick="favorites")) == [("001", 2)]


def test_the_text_of_its_item_or_one_for_all_is_given_where_the_template_takes_one(scene: Drafts) -> None:
    own = scene.stages("repaint.json")
    assert [stage.prompt_text for stage in own[::2]] == ["a fox", "a cat", "an owl"]
    assert {stage.prompt_text for stage in scene.stages("repaint.json", prompt="a frog")} == {"a frog"}


def test_sweeps_and_seeds_apply_as_to_prompts(scene: Drafts) -> None:
    star(scene.state, [scene.keys[1]])
    stages = scene.stages("repaint.json", pick="favorites", sweeps={"steps": (2, 4)}, seed=5)
    assert [(stage.inputs["steps"], stage.inputs["seed"]) for stage in stages] == [(2, 5), (4, 5)] * 2


def test_the_same_request_is_one_batch_while_its_sources_are_rendered(scene: Drafts) -> None:
    first = scene.stages()
    scene.complete(1)
    assert [stage.key for stage in scene.stages()] == [stage.key for stage in first]
    assert scene.batches() == 2
    star(scene.state, [scene.keys[0]])
    one = scene.stages(pick="favorites")
    star(scene.state, [scene.keys[1]])
    assert len(scene.stages(pick="favorites")) == len(one) + 2
    assert scene.batches() == 4


def test_every_item_of_the_state_may_be_meant(scene: Drafts) -> None:
    with open_store(scene.state) as store:
        store.add([Item(key="alone.txt", status=Status.PENDING, filename="alone.txt", prompt_text="a bird")])
    stages = scene.add(str(scene.home / "invert.json"), from_batch=".")
    assert len(stages) == 7


def test_a_chain_of_batches(scene: Drafts) -> None:
    first = scene.stages(name="second")
    third = scene.add(str(scene.home / "invert.json"), from_batch="second")
    assert len(third) == len(first)
    with open_store(scene.state, read_only=True) as store:
        assert [store.get(key).sources for key in third] == [(stage.key,) for stage in first]


def test_a_video_is_given_to_what_takes_videos(scene: Drafts) -> None:
    scene.complete(1, extension="mp4")
    star(scene.state, [scene.keys[0]])
    assert [list(stage.uploads) for stage in scene.stages("video.json", pick="favorites")] == [["video"]] * 2
    with pytest.raises(UsageError, match=r"no binding .*video"):
        scene.stages(pick="favorites")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"from_batch": "nobody"}, "no batch 'nobody'"),
        ({"from_batch": DRAFTS, "pick": "favorites"}, "none of its items is a favorite; `burst star"),
        ({"from_batch": DRAFTS, "pick": "nowhere.txt"}, "pick='nowhere.txt': cannot be read"),
        ({"from_batch": DRAFTS, "pick": "empty.txt"}, "it names no item and no image"),
        ({"from_batch": DRAFTS, "pick": "unknown.txt"}, "has no item and no batch 'nothing'"),
        ({"from_batch": DRAFTS, "pick": "stranger.txt"}, "alone.txt is not of from_batch='drafts'"),
        ({"from_batch": DRAFTS, "pick": "ended.txt"}, "was cancelled; `burst retry` it first"),
        ({"from_batch": DRAFTS, "prompt": "x"}, "has no binding 'prompt'"),
        ({"from_batch": DRAFTS, "jsonl": "x"}, "choose one source of prompts"),
        ({"prompt": "x", "pick": "all"}, "pick: give from_batch='BATCH' too"),
        ({"from_batch": DRAFTS, "pick": {}}, "pick: say all, favorites"),
        (
            {"from_batch": DRAFTS, "pick": {"alone.txt": frozenset({1})}},
            "pick: alone.txt is not of from_batch='drafts'",
        ),
        ({"from_batch": DRAFTS, "pick": " "}, "pick: say all, favorites, or the name of a file"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_added(scene: Drafts, asked: dict[str, Any], said: str) -> None:
    with open_store(scene.state) as store:
        store.add([Item(key="alone.txt", status=Status.PENDING, prompt_text="a bird")])
    scene.change(scene.keys[2], lambda now: now.cancel())
    files = {"empty": "# \n", "unknown": "nothing", "stranger": "alone.txt", "ended": scene.keys[2]}
    for name, text in files.items():
        (scene.home / f"{name}.txt").write_text(text)
    with pytest.raises((UsageError, TemplateError)) as refused:
        scene.add(str(scene.home / "invert.json"), **asked)
    assert said in str(refused.value)
    assert scene.batches() == 1


def test_a_template_that_takes_no_image_is_refused(scene: Drafts) -> None:
    with pytest.raises(UsageError, match=r"output 1 of .*/001: .*no binding 'image'"):
        scene.add("txt2img-sd15", from_batch=DRAFTS)
    assert scene.batches() == 1
