"""What one prompt can leave behind, and workflows that take a picture."""

from __future__ import annotations

import io

import pytest
import requests
from PIL import Image
from support.real_graphs import Graph, new_seeds, node, noise, quick
from support.real_scene import Scene, get, renders
from support.real_server import RealServer

import templates
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.capabilities import Capabilities
from state.item import Status


def several() -> Graph:
    """Four pictures of one node, four inverted ones of another, a text and a preview."""
    return noise(batch=4) | {
        "3": node("ImageInvert", image=["2", 0]),
        "8": node("SaveImage", images=["2", 0], filename_prefix="a"),
        "9": node("SaveImage", images=["3", 0], filename_prefix="a"),
        "10": node("PreviewAny", source="a red house"),
        "11": node("PreviewImage", images=["2", 0]),
    }


def test_every_output_of_a_prompt_arrives_and_previews_do_not(scene: Scene, server_url: str) -> None:
    keys = scene.write(several(), new_seeds(2))

    said = scene.run(server_url)

    assert said.code == 0, said.words
    assert renders(server_url, scene) == dict.fromkeys(keys, 1)
    for key, item in scene.items().items():
        stem = f"shots/{key[9:]}"
        pictures = [f"{stem}.png", *(f"{stem}_{number:03}.png" for number in range(2, 9))]
        assert [output.path for output in item.outputs] == pictures
        sums = {output.sha256 for output in item.outputs}
        assert len(sums) == 8, "eight different files"
    assert len(scene.pictures()) == 16


def test_the_nodes_that_are_named_are_all_that_is_fetched(scene: Scene, server_url: str) -> None:
    """Also what is otherwise left out: a text that is shown, and a preview."""
    scene.write(several(), new_seeds(1))

    said = scene.run(server_url, "--outputs", "8,10,11")

    assert said.code == 0, said.words
    (item,) = scene.items().values()
    names = [output.path.removeprefix("shots/item_01") for output in item.outputs]
    assert names == [".png", *(f"_{number:03}.png" for number in range(2, 9)), "_009.txt"]
    assert (scene.output / item.outputs[-1].path).read_text() == "a red house"


SIZES = {"26": 16, "33": 32, "40": 48}


def test_the_order_is_the_same_whatever_the_server_process(scene: Scene, mortal_server: RealServer) -> None:
    """ComfyUI lists outputs in an order that comes from a set: of these seeds, in more than one."""
    graph = {f"1{size}": node("EmptyImage", width=size, height=size, batch_size=1, color=0) for size in SIZES.values()}
    graph |= {at: node("SaveImage", images=[f"1{size}", 0], filename_prefix="x") for at, size in SIZES.items()}
    graph |= {
        "50": node("ImageInvert", image=["132", 0]),
        "51": node("SaveImage", images=["50", 0], filename_prefix="x"),
    }
    keys = scene.write(graph, [{"116.color": number} for number in range(4)])
    listed = set()
    for hash_seed, key in enumerate(keys):
        mortal_server.kill()
        mortal_server.start(hash_seed=hash_seed)
        said = scene.run(mortal_server.url, "-n", "1")
        assert said.code == 0, said.words
        item = scene.items()[key]
        listed.add(tuple(get(mortal_server.url, f"/history/{item.prompt_id}")[item.prompt_id]["outputs"]))
        sizes = []
        for output in item.outputs:
            with Image.open(scene.output / output.path) as image:
                sizes.append(image.width)
        assert sizes == [32, 16, 32, 48], "the inverted one is furthest down; the others by their ids"
    assert len(listed) > 1, listed


def test_a_preview_is_kept_where_there_is_nothing_else(scene: Scene, server_url: str) -> None:
    graph = noise() | {"11": node("PreviewImage", images=["2", 0])}
    scene.write(graph, new_seeds(2))

    said = scene.run(server_url)

    assert said.code == 0, said.words
    assert [path.name for path in scene.pictures()] == ["item_01.png", "item_02.png"]


def test_items_of_equal_inputs_each_get_a_file_of_their_own(scene: Scene, server_url: str) -> None:
    """ComfyUI answers an equal graph from its cache, with the file name of the earlier prompt."""
    graph = several()
    (same,) = new_seeds(1)
    scene.write(graph, [same, same])

    said = scene.run(server_url)

    assert said.code == 0, said.words
    first, second = scene.items().values()
    assert first.prompt_id != second.prompt_id
    assert len(first.outputs) == len(second.outputs) == 8
    (entry,) = get(server_url, f"/history/{second.prompt_id}").values()
    assert all(second.prompt_id in image["filename"] for image in entry["outputs"]["9"]["images"])
    for mine, theirs in zip(first.outputs, second.outputs, strict=True):
        assert mine.path != theirs.path
        if mine.path.endswith(".png"):
            assert pixels(scene, mine.path) == pixels(scene, theirs.path)


def test_a_picture_is_uploaded_and_inverted(scene: Scene, server_url: str) -> None:
    given = Image.effect_noise((48, 32), 80).convert("RGB")
    data = io.BytesIO()
    given.save(data, "PNG")
    with ComfyUI(server_url) as client:
        uploaded = client.upload_image(f"{scene.tag}.png", data.getvalue(), subfolder="burst-test")
        again = client.upload_image(f"{scene.tag}.png", data.getvalue(), subfolder="burst-test")
    assert uploaded == again
    graph = {
        "1": node("LoadImage", image="example.png"),
        "2": node("ImageInvert", image=["1", 0]),
        "9": node("SaveImage", images=["2", 0], filename_prefix="p"),
    }
    scene.write(graph, [{"image": uploaded.as_input}, {"image": f"no-such-{scene.tag}.png"}])

    said = scene.run(server_url)

    assert said.code == 1, said.words
    good, bad = scene.items().values()
    assert bad.status is Status.FAILED
    assert bad.error is not None
    assert (bad.error.kind, bad.error.node_id) == ("rejected", "1")
    with Image.open(scene.output / good.outputs[0].path) as picture:
        inverted = picture.convert("RGB").tobytes()
    pairs = zip(inverted, given.tobytes(), strict=True)
    assert all(abs(255 - before - after) <= 1 for after, before in pairs), "ComfyUI cuts where it should round"


@pytest.mark.parametrize("name", templates.shipped_workflows())
def test_shipped_workflows_fit_the_server(server_url: str, name: str) -> None:
    """But for the models: every node is there with these inputs, and every value is in its range."""
    with ComfyUI(server_url) as client:
        info = client.object_info()
    graph = templates.load_workflow(name).graph
    findings = templates.check_against(graph, info)
    about_files = [finding for finding in findings if "is not on the server" in finding.message]
    assert [finding for finding in findings if finding not in about_files] == []
    if name == "smoke":
        assert about_files == []
    wants_model = any(one["class_type"] == "CheckpointLoaderSimple" for one in graph.values())
    has_models = bool(info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0])
    assert any("safetensors" in finding.message for finding in about_files) == (wants_model and not has_models)


def test_check_against_finds_what_the_server_would_refuse(scene: Scene, server_url: str) -> None:
    graph = quick() | {
        "7": node("SaveImag", images=["2", 0], filename_prefix="p"),
        "8": node("ImageBlur", image=["2", 0], blur_radius=99, sigma=3.0),
        "10": node("ImageBlur", image=["2", 0], sigma=3.0),
        "11": node("PreviewImage", images=["8", 0]),
        "12": node("PreviewImage", images=["10", 0]),
        "13": node("ImageBlur", image=["2", 0], sigma=3.0),
    }
    with ComfyUI(server_url) as client:
        info = client.object_info()
    found = {(one.severity, one.node_id) for one in templates.check_against(graph, info)}
    assert found == {("error", "7"), ("error", "8"), ("error", "10"), ("warning", "13")}


@pytest.mark.parametrize(
    ("nodes", "can_run"),
    [
        ({}, True),
        ({"7": node("SaveImag", images=["2", 0], filename_prefix="p")}, False),
        ({"7": node("CheckpointLoaderSimple", ckpt_name="gone.safetensors")}, True),
        ({"7": node("ImageScale", upscale_method="magic", crop="center", width=8, height=8, image=["2", 0])}, True),
        (
            {
                "7": node("ImageScale", upscale_method="magic", crop="center", width=8, height=8, image=["2", 0]),
                "8": node("PreviewImage", images=["7", 0]),
            },
            False,
        ),
    ],
)
def test_an_offer_says_beforehand_what_the_server_takes(
    server_url: str, nodes: dict[str, dict[str, object]], can_run: bool
) -> None:
    graph = quick() | nodes
    with ComfyUI(server_url) as client:
        assert (Capabilities(client).missing(graph) == ()) == can_run
    answer = requests.post(f"{server_url}/prompt", json={"prompt": graph}, timeout=30)
    assert (answer.status_code == 200 and not answer.json()["node_errors"]) == can_run


def test_template_check_asks_the_server(scene: Scene, server_url: str) -> None:
    good = scene.say_plain("template", "check", "smoke", "--server", server_url, "--json")
    assert good.code == 0, good.words
    scene.write(quick() | {"7": node("SaveImag", images=["2", 0], filename_prefix="p")}, [{"seed": 1}])
    bad = scene.say_plain("template", "check", str(scene.template), "--server", server_url, "--json")
    assert bad.code != 0
    assert "SaveImag" in str(bad.report)


def pixels(scene: Scene, path: str) -> bytes:
    with Image.open(scene.output / path) as picture:
        return picture.tobytes()
