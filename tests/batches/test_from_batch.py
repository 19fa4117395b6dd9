"""`burst generate --from-batch`: a batch of stages, made from the images of another batch, there or still to come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.image_project import INVERT
from support.state_scenes import NOON

from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.errors import TemplateError, UsageError
from orchestrator.generation import generate
from orchestrator.marks import star
from orchestrator.settings import Overrides
from state.change import change_all
from state.item import Item, ItemOutput, OutputRecord, Status
from state.open_store import open_store

DRAFTS = "drafts"
TEXT_TO_VIDEO: dict[str, Any] = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": "a.mp4"}},
    "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "x", "format": "auto"}},
}
REPAINT: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny-random.safetensors"}},
    "5": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["4", 2]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "sharp", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 7,
            "steps": 2,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 0.5,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
}


class Scene:
    """A state with a batch `drafts` of three prompts, two images each, of which none is rendered yet."""

    def __init__(self, home: Path) -> None:
        self.home, self.state = home, home / "state.json"
        for name, graph in (("invert", INVERT), ("repaint", REPAINT), ("video", TEXT_TO_VIDEO)):
            (home / f"{name}.json").write_text(json.dumps(graph))
        (home / "prompts.txt").write_text("a fox\na cat\nan owl\n")
        made = self.add(
            "txt2img-sd15", prompts_file=str(home / "prompts.txt"), name=DRAFTS, batch_size=2, layout="batch"
        )
        self.keys = made
        with open_store(self.state, read_only=True) as store:
            self.batch = str(store.get(made[0]).batch)

    def add(self, template: str, **asked: Any) -> list[str]:
        """The keys of a batch that is added."""
        overrides = Overrides(template=template, output_dir=self.home / "out")
        outcome = generate(BatchSpec(**asked), request=Request(state=self.state, overrides=overrides), queue_only=True)
        assert isinstance(outcome, Generated)
        with open_store(self.state, read_only=True) as store:
            return store.batch_keys(outcome.record.batch)

    def stages(self, template: str = "invert.json", **asked: Any) -> list[Item]:
        """Those of a batch from the drafts."""
        keys = self.add(str(self.home / template), from_batch=DRAFTS, **asked)
        with open_store(self.state, read_only=True) as store:
            return store.get_many(keys)

    def complete(self, number: int, *, extension: str = "png") -> list[Path]:
        """A draft has both of its images; their files."""
        key, paths = self.keys[number - 1], []

        def done(item: Item) -> Item:
            stem = item.filename.rpartition(".")[0] or item.filename
            for name in (f"{stem}.{extension}", f"{stem}_002.{extension}"):
                paths.append(self.home / "out" / item.subfolder / name)
                paths[-1].parent.mkdir(parents=True, exist_ok=True)
                paths[-1].write_bytes(b"x")
            outputs = tuple(
                OutputRecord(path=path.relative_to(self.home / "out").as_posix(), bytes=1, sha256="ab")
                for path in paths
            )
            return item.complete(outputs=outputs, at=NOON, seconds=1.0)

        self.change(key, lambda now: now.submit(prompt_id="id", server="s", at=NOON, fingerprint="f"))
        self.change(key, done)
        return paths

    def change(self, key: str, edit: Callable[[Item], Item]) -> None:
        with open_store(self.state) as store:
            change_all(store, store.get_many([key]), edit)

    def due(self) -> list[str]:
        with open_store(self.state, read_only=True) as store:
            return [item.key for item in store.due(99)]

    def batches(self) -> int:
        with open_store(self.state, read_only=True) as store:
            return len(store.batches.read())


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.chdir(tmp_path)
    return Scene(tmp_path)


def sources(stages: Sequence[Item]) -> list[tuple[str, int]]:
    """By its number in the drafts, and the number of the output."""
    found = [stage.uploads["image"] for stage in stages]
    return [(source.item.rpartition("/")[2], source.output) for source in found if isinstance(source, ItemOutput)]


def test_all_of_a_batch_that_is_not_rendered_yet_are_stages_of_what_is_to_come(scene: Scene) -> None:
    stages = scene.stages()
    assert sources(stages) == [(f"00{number}", output) for number in (1, 2, 3) for output in (1, 2)]
    assert {stage.prompt_text for stage in stages} == {None}
    assert scene.due() == scene.keys
    scene.complete(2)
    assert scene.due() == [scene.keys[0], scene.keys[2], stages[2].key, stages[3].key]


def test_favourites_are_items_and_single_images(scene: Scene) -> None:
    scene.complete(1)
    second = scene.complete(2)[1]
    star(scene.state, [scene.keys[0], str(second)])
    assert sources(scene.stages(pick="favourites")) == [("001", 1), ("001", 2), ("002", 2)]


def test_a_file_names_items_and_images(scene: Scene) -> None:
    second = scene.complete(3)[1]
    (scene.home / "picked.txt").write_text(f"# kept\n\n{second.relative_to(scene.home)}\n{scene.keys[0]}\r\n")
    stages = scene.stages(pick="picked.txt")
    assert sources(stages) == [("001", 1), ("001", 2), ("003", 2)], "in the batch's order"


def test_what_failed_or_was_cancelled_is_left_out(scene: Scene) -> None:
    scene.change(scene.keys[0], lambda now: now.cancel())
    assert [item for item, _ in sources(scene.stages())] == ["002", "002", "003", "003"]


def test_an_output_that_was_removed_is_left_out_and_the_other_keeps_its_number(scene: Scene) -> None:
    scene.complete(1)
    scene.change(scene.keys[0], lambda now: msgspec.structs.replace(now, outputs=now.outputs[1:]))
    star(scene.state, [scene.keys[0]])
    assert sources(scene.stages(pick="favourites")) == [("001", 2)]


def test_the_text_of_its_item_or_one_for_all_is_given_where_the_template_takes_one(scene: Scene) -> None:
    own = scene.stages("repaint.json")
    assert [stage.prompt_text for stage in own[::2]] == ["a fox", "a cat", "an owl"]
    assert {stage.prompt_text for stage in scene.stages("repaint.json", prompt="a frog")} == {"a frog"}


def test_sweeps_and_seeds_apply_as_to_prompts(scene: Scene) -> None:
    star(scene.state, [scene.keys[1]])
    stages = scene.stages("repaint.json", pick="favourites", sweeps={"steps": (2, 4)}, seed=5)
    assert [(stage.inputs["steps"], stage.inputs["seed"]) for stage in stages] == [(2, 5), (4, 5)] * 2


def test_the_same_request_is_one_batch_while_its_sources_are_rendered(scene: Scene) -> None:
    first = scene.stages()
    scene.complete(1)
    assert [stage.key for stage in scene.stages()] == [stage.key for stage in first]
    assert scene.batches() == 2
    star(scene.state, [scene.keys[0]])
    one = scene.stages(pick="favourites")
    star(scene.state, [scene.keys[1]])
    assert len(scene.stages(pick="favourites")) == len(one) + 2
    assert scene.batches() == 4


def test_every_item_of_the_state_may_be_meant(scene: Scene) -> None:
    with open_store(scene.state) as store:
        store.add([Item(key="alone.txt", status=Status.PENDING, filename="alone.txt", prompt_text="a bird")])
    stages = scene.add(str(scene.home / "invert.json"), from_batch=".")
    assert len(stages) == 7


def test_a_chain_of_batches(scene: Scene) -> None:
    first = scene.stages(name="second")
    third = scene.add(str(scene.home / "invert.json"), from_batch="second")
    assert len(third) == len(first)
    with open_store(scene.state, read_only=True) as store:
        assert [store.get(key).sources for key in third] == [(stage.key,) for stage in first]


def test_a_video_is_given_to_what_takes_videos(scene: Scene) -> None:
    scene.complete(1, extension="mp4")
    star(scene.state, [scene.keys[0]])
    assert [list(stage.uploads) for stage in scene.stages("video.json", pick="favourites")] == [["video"]] * 2
    with pytest.raises(UsageError, match=r"no binding .*video"):
        scene.stages(pick="favourites")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"from_batch": "nobody"}, "no batch 'nobody'"),
        ({"from_batch": DRAFTS, "pick": "favourites"}, "none of its items is a favourite; `burst star"),
        ({"from_batch": DRAFTS, "pick": "nowhere.txt"}, "pick='nowhere.txt': cannot be read"),
        ({"from_batch": DRAFTS, "pick": "empty.txt"}, "it names no item and no image"),
        ({"from_batch": DRAFTS, "pick": "unknown.txt"}, "has no item and no batch 'nothing'"),
        ({"from_batch": DRAFTS, "pick": "stranger.txt"}, "alone.txt is not of from_batch='drafts'"),
        ({"from_batch": DRAFTS, "pick": "ended.txt"}, "was cancelled; `burst retry` it first"),
        ({"from_batch": DRAFTS, "prompt": "x"}, "has no binding 'prompt'"),
        ({"from_batch": DRAFTS, "jsonl": "x"}, "choose one source of prompts"),
        ({"prompt": "x", "pick": "all"}, "pick: give from_batch='BATCH' too"),
        ({"from_batch": DRAFTS, "pick": " "}, "pick: say all, favourites, or the name of a file"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_added(scene: Scene, asked: dict[str, Any], said: str) -> None:
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


def test_a_template_that_takes_no_image_is_refused(scene: Scene) -> None:
    with pytest.raises(UsageError, match=r"output 1 of .*/001: .*no binding 'image'"):
        scene.add("txt2img-sd15", from_batch=DRAFTS)
    assert scene.batches() == 1
