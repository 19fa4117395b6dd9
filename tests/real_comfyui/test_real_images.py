"""Directories of pictures from outside, over a real ComfyUI: given once, rendered once, with their own names."""

from __future__ import annotations

import hashlib
import json
import random
from ctypes import c_float
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image, ImageChops, ImageStat
from support.real_graphs import Graph, node
from support.real_scene import Scene, get, renders
from support.real_server import RealServer
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.item import Status

COUNT = 25
SLOWED: Graph = {
    "1": node("LoadImage", image="example.png"),
    "2": node("ImageInvert", image=["1", 0]),
    "3": node("SaveImage", images=["2", 0], filename_prefix="p"),
    "4": node("ImageBlur", image=["1", 0], blur_radius=15, sigma=3.0),
    "5": node("PreviewImage", images=["4", 0]),
}
"""Inverted, and blurred beside it, so that a kill finds something at work."""
COMPOSED: Graph = {
    "1": node("LoadImage", image="example.png"),
    "2": node("ImageInvert", image=["1", 0]),
    "3": node("LoadImageMask", image="example.png", channel="red"),
    "4": node(
        "ImageCompositeMasked", destination=["1", 0], source=["2", 0], mask=["3", 0], x=0, y=0, resize_source=False
    ),
    "5": node("SaveImage", images=["4", 0], filename_prefix="p"),
}
"""The inverted picture where the mask is white, the picture itself elsewhere."""


def _seen(value: int, *, inverted: bool) -> int:
    """What a byte of a picture comes out as: ComfyUI reckons with single floats between 0 and 1, and cuts off."""
    unit = c_float(value / 255).value
    return int(c_float(255 * c_float(1.0 - unit).value).value if inverted else c_float(255 * unit).value)


NEGATIVE = [_seen(value, inverted=True) for value in range(256)] * 3
PLAIN = [_seen(value, inverted=False) for value in range(256)] * 3


def noise(path: Path, *, side: int = 48) -> Path:
    """A picture that no server has seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("RGB", (side, side), random.randbytes(side * side * 3))
    picture.save(path, format="PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


def gallery(scene: Scene, *, count: int = COUNT, side: int = 48) -> list[Path]:
    """Names that a person would give, in two directories."""
    names = [f"photo {number}.png" for number in range(1, count - 1)] + ["Füllhorn 狐.PNG", "a.b (1).jpg"]
    folder = scene.directory / f"photos-{scene.tag}"
    return [noise(folder / f"EP0{1 + at % 2}" / name, side=side) for at, name in enumerate(names)]


def begin(scene: Scene, url: str, *more: str, template: Graph | str = "smoke-image") -> dict[str, Any]:
    named = template if isinstance(template, str) else str(scene.template)
    if not isinstance(template, str):
        scene.template.write_text(json.dumps(template))
    told = ("--template", named, "--server", url, "--output", str(scene.output))
    said = scene.say("init", "--images", f"photos-{scene.tag}", *told, *more)
    assert said.code == 0, said.words
    return said.report


def wanted(path: Path) -> str:
    """What the server has it under."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"burst/{digest[:2]}/{digest}{path.suffix.lower()}"


def inputs_of(server: RealServer) -> list[str]:
    root = server.output.parent / "input"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def check_alike(expected: Image.Image, found: Image.Image, name: str) -> None:
    """Newer servers decode and round otherwise: by one level, and a JPEG's colours by more. Noise differs by 85."""
    assert expected.size == found.size, name
    assert max(ImageStat.Stat(ImageChops.difference(expected, found)).mean) < 20, name


def check_inverted(scene: Scene, originals: list[Path]) -> None:
    """Each result is called after its original and is its negative."""
    expected = {f"{path.parent.name}/{path.name.rpartition('.')[0]}.png": path for path in originals}
    assert {path.relative_to(scene.output).as_posix() for path in scene.pictures()} == set(expected)
    for name, original in expected.items():
        with Image.open(scene.output / name) as result, Image.open(original) as before:
            check_alike(before.convert("RGB").point(NEGATIVE), result.convert("RGB"), name)


def test_a_directory_is_given_and_rendered_once_with_its_own_names(scene: Scene, server_url: str) -> None:
    originals = gallery(scene)
    assert begin(scene, server_url)["found"] == COUNT

    said = scene.run(server_url, "-n", str(COUNT))

    assert (said.code, said.report["completed"]) == (0, COUNT), said.words
    check_inverted(scene, originals)
    assert renders(server_url, scene) == dict.fromkeys(scene.items(), 1)
    for path in originals:
        folder, _, name = wanted(path).rpartition("/")
        query = {"filename": name, "subfolder": folder, "type": "input"}
        assert requests.get(f"{server_url}/view", params=query, timeout=30).content == path.read_bytes()
    assert begin(scene, server_url, "--rescan")["put_back"] == []
    assert scene.say("verify").report["problems"] == []


def test_killed_again_and_again_each_is_given_once_and_rendered_once(scene: Scene, own_server: RealServer) -> None:
    """The server's own directories tell: one file for each picture, one result for each item."""
    before, results = set(inputs_of(own_server)), set(own_server.output.rglob("*.png"))
    originals = gallery(scene, side=256)
    begin(scene, own_server.url, template=SLOWED)
    chance = random.Random(3)
    for _ in range(6):
        done = scene.counts()[Status.COMPLETED]
        if done == COUNT:
            break
        with scene.running(own_server.url, "-n", "8") as process:
            least = done + chance.randint(1, 3)
            wait_until(
                lambda least=least, process=process: (
                    scene.counts()[Status.COMPLETED] >= least or process.poll() is not None
                ),
                what="some more are done",
            )
            process.kill()
            process.wait()

    said = scene.run(own_server.url, "-n", str(COUNT))

    assert said.code == 0, said.words
    assert scene.counts() == {Status.COMPLETED: COUNT}
    check_inverted(scene, originals)
    assert renders(own_server.url, scene) == dict.fromkeys(scene.items(), 1)
    assert set(inputs_of(own_server)) - before == {wanted(path) for path in originals}
    assert len(set(own_server.output.rglob("*.png")) - results) == COUNT


def test_masks_are_laid_where_they_belong(scene: Scene, server_url: str) -> None:
    originals = gallery(scene, count=4)
    for number, path in enumerate(originals):
        mask = Image.new("RGB", (48, 48))
        mask.paste((255, 255, 255), (0, 0, 12 * (number + 1), 48))
        target = path.parent / "masks" / f"{path.name.rpartition('.')[0]}.png"
        target.parent.mkdir(exist_ok=True)
        mask.save(target)
    report = begin(scene, server_url, "--masks", "masks/{stem}.png", template=COMPOSED)
    assert (report["found"], report["masks"]) == (4, 4)

    said = scene.run(server_url)

    assert said.code == 0, said.words
    for number, path in enumerate(originals):
        edge = 12 * (number + 1)
        result = scene.output / path.parent.name / f"{path.name.rpartition('.')[0]}.png"
        with Image.open(result) as made, Image.open(path) as before:
            expected = before.convert("RGB").point(PLAIN)
            expected.paste(before.convert("RGB").point(NEGATIVE).crop((0, 0, edge, 48)), (0, 0))
            check_alike(expected, made.convert("RGB"), path.name)


def test_a_picture_that_the_server_lost_is_given_again(scene: Scene, own_server: RealServer) -> None:
    originals = gallery(scene, count=3)
    begin(scene, own_server.url)
    assert scene.run(own_server.url).code == 0
    (own_server.output.parent / "input" / wanted(originals[0])).unlink()
    half = own_server.output.parent / "input" / wanted(originals[1])
    half.write_bytes(half.read_bytes()[:100])

    assert scene.say("reset", "--yes").code == 0
    said = scene.run(own_server.url)

    assert said.code == 0, said.words
    check_inverted(scene, originals)
    root = own_server.output.parent / "input"
    assert [(root / wanted(path)).read_bytes() for path in originals] == [path.read_bytes() for path in originals]
    assert not [name for name in inputs_of(own_server) if "(1)" in name]


REFUSED: dict[str, Graph] = {
    "a picture that is not there": {**COMPOSED, "1": node("LoadImage", image="burst/00/gone.png")},
    "a mask that is not there": {**COMPOSED, "3": node("LoadImageMask", image="burst/00/gone.png", channel="red")},
    "a channel that there is not": {**COMPOSED, "3": node("LoadImageMask", image="example.png", channel="x")},
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_sandbox_refuses_in_the_same_words(server_url: str, name: str) -> None:
    """What makes burst give a picture again is what a server says when it is gone."""
    said = []
    # The sandbox knows no ImageCompositeMasked; what is wrong is wrong without it, too.
    graph = {key: REFUSED[name][key] for key in ("1", "2", "3")} | {
        "5": node("SaveImage", images=["2", 0], filename_prefix="p"),
        "6": node("MaskToImage", mask=["3", 0]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="p"),
    }
    kept = ("5",) if name.startswith("a picture") else ("6", "7")
    only = {key: one for key, one in graph.items() if key in ("1", "2", "3", *kept)}
    with Sandbox() as sandbox:
        for url in (server_url, sandbox.url):
            answer = requests.post(f"{url}/prompt", json={"prompt": only}, timeout=30)
            assert answer.status_code == 400
            said.append(answer.json()["node_errors"])
            for error in (one for errors in said[-1].values() for one in errors["errors"]):
                error["extra_info"].pop("input_config", None)
    assert said[0] == said[1]


@pytest.mark.parametrize("class_type", ["LoadImageMask", "MaskToImage"])
def test_the_sandbox_offers_the_same_nodes_for_masks(server_url: str, class_type: str) -> None:
    with Sandbox() as sandbox:
        theirs, ours = (get(url, f"/object_info/{class_type}")[class_type] for url in (server_url, sandbox.url))
    for offered in (theirs, ours):
        if class_type == "LoadImageMask":
            offered["input"]["required"]["image"][0] = ["what is there"]
    assert interface_of(ours) == interface_of(theirs)


def interface_of(offered: dict[str, Any]) -> dict[str, Any]:
    """What a workflow depends on: newer servers put nodes elsewhere in their menus and say more of each."""
    inputs = {
        group: {name: kind[0] for name, kind in named.items()} for group, named in offered["input"].items() if named
    }
    return {"input": inputs, **{name: offered[name] for name in ("name", "output", "output_is_list", "output_node")}}


@pytest.mark.parametrize("name", ["text.png", "cut.png"])
def test_what_is_no_whole_picture_fails_alone_and_is_never_given(scene: Scene, server_url: str, name: str) -> None:
    originals = gallery(scene, count=3)
    bad = originals[0].parent / name
    bad.write_bytes(b"a fox in the snow" if name == "text.png" else originals[0].read_bytes()[:-700])
    begin(scene, server_url)

    said = scene.run(server_url)

    assert (said.code, said.report["completed"], said.report["failed"]) == (1, 3, 1)
    assert name in said.report["failures"][0]["item"]
    check_inverted(scene, originals)
    assert len(renders(server_url, scene)) == 3
