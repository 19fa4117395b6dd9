"""What `burst generate` makes on a real ComfyUI: pictures, their names, and what says how to make them again."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.comfyui_loopback import Loopback
from support.real_graphs import new_seeds, node, quick, text
from support.real_scene import Scene, entries, renders
from support.real_server import embedded, seed_of

from orchestrator.batches.sidecar_text import from_text
from state.item import Item, Status

STRENGTH = "2.strength"


def smoke(scene: Scene, url: str, *arguments: str) -> list[Item]:
    """The items of a batch that came out well."""
    said = scene.generate(url, "--template", "smoke", *arguments)
    assert said.code == 0, said.words
    items = scene.batch(said.report["batch"])
    assert {item.status for item in items} == {Status.COMPLETED}
    return items


def new_seed() -> int:
    seed: int = new_seeds(1)[0]["seed"]
    return seed


def names(items: Sequence[Item]) -> list[str]:
    """The files of items as they were recorded, without the batch's directory."""
    return [output.path.partition("/")[2] for item in items for output in item.outputs]


def pictures(scene: Scene, item: Item) -> list[Path]:
    return [scene.output / output.path for output in item.outputs if output.path.endswith(".png")]


def graph(scene: Scene, item: Item) -> dict[str, Any]:
    """What the server wrote into the item's first picture."""
    found = embedded(pictures(scene, item)[0].read_bytes())
    assert found is not None
    return found


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.tobytes()


def sidecar(scene: Scene, item: Item) -> tuple[dict[str, Any], dict[str, Any]]:
    """What makes the item again, and how it went."""
    assert item.sidecar is not None
    said = (scene.output / item.sidecar).read_text()
    if item.sidecar.endswith(".json"):
        facts = json.loads(said)
        return facts.pop("inputs"), facts
    inputs, facts = from_text(said)
    return inputs, facts


def assert_told_truly(scene: Scene, items: Sequence[Item], *, seeds: Sequence[int]) -> None:
    """Each picture was made with its seed, and the sidecar says which files came of it."""
    assert [seed_of(graph(scene, item)) for item in items] == list(seeds)
    for item, seed in zip(items, seeds, strict=True):
        inputs, facts = sidecar(scene, item)
        assert (inputs["seed"], facts["prompt_id"], facts["index"]) == (seed, item.prompt_id, item.index)
        files = {output.path for output in item.outputs} - {item.sidecar}
        assert {file["path"] for file in facts["files"]} == files
        for file in facts["files"]:
            data = (scene.output / file["path"]).read_bytes()
            assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_numbered_pictures(scene: Scene, server_url: str) -> None:
    seed = new_seed()

    items = smoke(scene, server_url, "--prompt", "a house", "--count", "3", "--seed", str(seed))

    assert names(items) == [name for n in (1, 2, 3) for name in (f"image_00{n}.png", f"prompt_00{n}.txt")]
    (directory,) = {item.subfolder for item in items}
    assert re.fullmatch(r"\d{8}_\d{6}", directory)
    assert_told_truly(scene, items, seeds=range(seed, seed + 3))
    assert renders(server_url, scene) == {item.key: 1 for item in items}
    assert len({pixels(pictures(scene, item)[0]) for item in items}) == 3


def test_a_single_picture_has_no_number(scene: Scene, server_url: str) -> None:
    items = smoke(scene, server_url, "--prompt", "a house")
    assert names(items) == ["image.png", "prompt.txt"]
    assert_told_truly(scene, items, seeds=[items[0].inputs["seed"]])


def test_the_batch_layout(scene: Scene, server_url: str) -> None:
    seed = new_seed()

    items = smoke(scene, server_url, "--prompt", "a house", "--count", "2", "--seed", str(seed), "--layout", "batch")

    directory = scene.output / f"batch_{items[0].batch}"
    shown = [f"images/sprite_000{n}_{seed + n - 1}.png" for n in (1, 2)]
    assert [name for name in names(items) if name.endswith(".png")] == shown
    assert [name for name in names(items) if name.endswith(".json")] == [f"metadata/sprite_000{n}.json" for n in (1, 2)]
    assert_told_truly(scene, items, seeds=[seed, seed + 1])
    info = json.loads((directory / "batch_info.json").read_text())
    assert (info["seeds"], info["totals"]["completed"], info["totals"]["images"]) == ([seed, seed + 1], 2, 2)
    assert [image["file"] for image in info["images"]] == [f"{directory.name}/{name}" for name in shown]


@pytest.mark.parametrize(("layout", "source"), [("numbered", ".txt"), ("batch", ".json"), ("numbered", ".png")])
def test_made_again_from_what_lies_beside_it(scene: Scene, server_url: str, layout: str, source: str) -> None:
    made = ("--set", f"{STRENGTH}=0.9", "--size", "96x64", "--layout", layout)
    second = smoke(scene, server_url, "--prompt", "two\nlines", "--count", "2", "--seed", str(new_seed()), *made)[1]
    path = pictures(scene, second)[0] if source == ".png" else scene.output / str(second.sidecar)

    said = scene.generate(server_url, "--from", str(path))

    assert said.code == 0, said.words
    (again,) = scene.batch(said.report["batch"])
    assert (again.inputs["seed"], again.prompt_text) == (second.inputs["seed"], "two\nlines")
    assert again.prompt_id != second.prompt_id
    assert pixels(pictures(scene, again)[0]) == pixels(pictures(scene, second)[0])
    assert graph(scene, again)["2"] == graph(scene, second)["2"]


def test_a_sweep_of_two_axes_and_its_page(scene: Scene, server_url: str) -> None:
    axes = ("--sweep", f"{STRENGTH}=0.1,0.6,0.9", "--sweep", "width=64,96")

    items = smoke(scene, server_url, "--prompt", "a house", *axes)

    made = [graph(scene, item) for item in items]
    cells = [(of_one["2"]["inputs"]["strength"], of_one["1"]["inputs"]["width"]) for of_one in made]
    assert cells == [(strength, width) for strength in (0.1, 0.6, 0.9) for width in (64, 96)]
    assert len({seed_of(of_one) for of_one in made}) == 1
    page = scene.say("report", str(items[0].batch), "--html")
    assert (page.code, page.report["images"]) == (0, 6)
    written = Path(page.report["path"]).read_text()
    sources = re.findall(r'<img src="([^"]+)"', written)
    assert sorted((scene.directory / source).resolve() for source in sources) == sorted(
        path.resolve() for item in items for path in pictures(scene, item)
    )
    assert written.count("<tr>") == 4


def test_csv_and_jsonl(scene: Scene, server_url: str) -> None:
    (scene.directory / "l.csv").write_text(f'prompt,seed,width,{STRENGTH}\n"a, cat",7,64,0.25\na dog,8,96,0.75\n')
    rows = [{"prompt": "a fox", "seed": 9, "width": 64, STRENGTH: 0.25}, {"prompt": "a hen", "width": 96}]
    (scene.directory / "l.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    texts_too = ("--outputs", "3,5")
    items = smoke(scene, server_url, "--csv", "l.csv", "--set", "4.replace=_", *texts_too) + smoke(
        scene, server_url, "--jsonl", "l.jsonl", "--set", f"{STRENGTH}=0.5", *texts_too
    )

    made = [graph(scene, item) for item in items]
    assert [of_one["1"]["inputs"]["width"] for of_one in made] == [64, 96, 64, 96]
    assert [of_one["2"]["inputs"]["strength"] for of_one in made] == [0.25, 0.75, 0.25, 0.5]
    assert [seed_of(of_one) for of_one in made[:3]] == [7, 8, 9]
    texts = [(scene.output / output.path).read_text() for item in items for output in item.outputs[1:2]]
    assert texts == ["a,_cat", "a_dog", "a fox", "a hen"]


def test_several_pictures_of_one_prompt(scene: Scene, server_url: str) -> None:
    (item,) = smoke(scene, server_url, "--prompt", "a house", "--batch-size", "3", "--size", "64x32")
    assert names([item]) == ["image.png", "image_002.png", "image_003.png", "prompt.txt"]
    assert graph(scene, item)["1"]["inputs"] | {"color": 0} == {"width": 64, "height": 32, "batch_size": 3, "color": 0}
    assert_told_truly(scene, [item], seeds=[item.inputs["seed"]])


def test_what_the_servers_own_lists_do_not_have_is_refused(scene: Scene, server_url: str) -> None:
    scaled = quick() | text() | {
        "7": node("ImageScale", image=["2", 0], upscale_method="lanczos", width=64, height=64, crop="disabled"),
        "9": node("SaveImage", images=["7", 0], filename_prefix="p"),
    }  # fmt: skip
    scene.template.write_text(json.dumps(scaled))
    refused: list[tuple[str, tuple[str, ...], list[str]]] = [
        (
            "txt2img-sd15",
            ("--sampler", "eulr", "--scheduler", "karas", "--model", "no.safetensors"),
            ["'euler'", "'karras'", "no.safetensors"],
        ),
        (str(scene.template), ("--set", "7.upscale_method=lanczo"), ["'lanczos'"]),
        (str(scene.template), ("--sweep", "7.upscale_method=area,bicubi"), ["'bicubic'"]),
    ]
    for template, said, named in refused:
        answer = scene.generate(server_url, "--template", template, "--prompt", "a house", *said)
        assert answer.code == 2, answer.words
        assert [name for name in named if name not in answer.report["error"]["message"]] == []
    assert not scene.state.exists()
    taken = scene.generate(
        server_url, "--template", str(scene.template), "--prompt", "a house", "--set", "7.upscale_method=area"
    )
    assert taken.code == 0, taken.words


def test_a_prompt_that_fails_stops_the_batch_and_the_rest_goes_on(scene: Scene, server_url: str) -> None:
    """The batch is larger than a burst: with events the others of one may end before the failure is final."""
    others = "".join(f"number {number},e\n" for number in range(23))
    (scene.directory / "l.csv").write_text(f"prompt,4.regex_pattern\none,o\ntwo,(\n{others}")
    said = scene.generate(server_url, "--template", "smoke", "--csv", "l.csv")
    assert said.code == 1, said.words
    items = scene.batch(said.report["batch"])
    bad = f"{items[1].subfolder}/image_002.png"
    assert said.report["reason"] == f"{bad} failed, and --on-error is stop"
    (failure,) = said.report["failures"]
    assert failure["image"] == bad
    assert "RegexReplace" in failure["message"]
    assert (items[0].status, items[1].status) == (Status.COMPLETED, Status.FAILED)
    assert said.report["remaining"] > 0

    assert scene.run(server_url).code == 0

    after = scene.batch(said.report["batch"])
    assert [item.status for item in after] == [Status.COMPLETED, Status.FAILED, *[Status.COMPLETED] * 23]
    assert renders(server_url, scene) == {item.key: 1 for item in after if item.status is Status.COMPLETED}
    assert len([key for key, _ in entries(server_url, scene) if key == items[1].key]) == items[1].attempts


def test_old_batches_are_looked_at_and_cleaned_away(scene: Scene, server_url: str) -> None:
    first = smoke(scene, server_url, "--prompt", "a house", "--count", "2", "--layout", "batch")
    second = smoke(scene, server_url, "--prompt", "a barn", "--priority", "high")
    listed = scene.say("batches", "list").report["batches"]
    assert [(one["batch"], one["standing"], one["percent"], one["remaining"]) for one in listed] == [
        (items[0].batch, "done", 100, 0) for items in (second, first)
    ]
    shown = scene.say("batches", "show", str(second[0].batch)).report
    assert (shown["priority"], shown["prompts"], shown["seconds_left"]) == ("high", ["a barn"], 0.0)
    stats = scene.say("status", "--stats").report["stats"]
    assert (stats["images"], stats["total_completed"], stats["queue_length"]) == (3, 3, 0)
    assert min(stats["images_per_minute"], stats["mean_seconds"]) > 0

    assert scene.say("batches", "clean", "--older-than", "1h").report["removed"] == []
    rehearsed = scene.say("batches", "clean", "--older-than", "0h", "--dry-run").report
    assert sorted(rehearsed["removed"]) == sorted(str(path.relative_to(scene.output)) for path in scene.pictures())
    cleaned = scene.say("batches", "clean", "--older-than", "0h", "--yes").report

    assert cleaned["removed"] == rehearsed["removed"]
    assert list(scene.output.iterdir()) == []
    assert scene.say("verify").report["problems"] == []
    assert scene.run(server_url).report["completed"] == 0
    assert renders(server_url, scene) == {item.key: 1 for item in first + second}


def test_a_receiver_is_told_how_a_batch_ended(scene: Scene, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_KEY", "a key")
    with Loopback(lambda request: request.reply(204)) as receiver:
        hook = ("--notify", f"{receiver.url}/hook", "--notify-secret", "HOOK_KEY")
        items = smoke(scene, server_url, "--prompt", "a house", "--count", "2", *hook)
        said = scene.generate(server_url, "--prompt", "x", "--set", "4.regex_pattern=(", *hook)
        assert said.code == 1, said.words
        assert scene.run(server_url).code == 0
    told = [json.loads(request.body) for request in receiver.requests]
    assert [(event["kind"], event["batch"]) for event in told] == [
        ("batch.done", items[0].batch),
        ("batch.failed", said.report["batch"]),
    ]
    assert told[0]["counts"] == {"completed": 2, "failed": 0, "cancelled": 0}
    for request in receiver.requests:
        signature = hmac.new(b"a key", request.body, "sha256").hexdigest()
        assert request.headers["X-Burst-Signature"] == f"sha256={signature}"
