"""Behind a custom node, whose number of images nobody knows in advance: what the server forgets is found by name."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import CHECKOUT, INTERPRETER
from support.real_graphs import Graph, new_seeds, node, slow
from support.real_scene import Said, Scene, finish, queued, renders
from support.real_server import RealServer
from support.waiting import wait_until

from state.item import Status

pytestmark = pytest.mark.timeout(300)

ITEMS = 6
EACH = 2
PACKAGE = '''
import os
import folder_paths
import numpy as np
from PIL import Image


class Doubled:
    """Each image twice."""

    CATEGORY = FUNCTION = "twice"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def twice(self, image):
        return (image.repeat(2, 1, 1, 1),)


class FlatSave:
    """Makes no folder, and keeps quiet about what it cannot write."""

    CATEGORY = FUNCTION = "save"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",), "filename_prefix": ("STRING", {})}}

    def save(self, images, filename_prefix):
        found = []
        for number, image in enumerate(images, 1):
            name = f"{filename_prefix}_{number:04}.png"
            pixels = np.clip(255 * image.cpu().numpy(), 0, 255).astype(np.uint8)
            try:
                Image.fromarray(pixels).save(os.path.join(folder_paths.get_output_directory(), name))
            except OSError:
                continue
            found.append({"filename": name, "subfolder": "", "type": "output"})
        return {"ui": {"images": found}}


NODE_CLASS_MAPPINGS = {"TestDoubled": Doubled, "TestFlatSave": FlatSave}
'''


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    """A server with two nodes of somebody's own."""
    if not CHECKOUT:
        pytest.skip("COMFYUI_DIR is not set: this test starts a ComfyUI of its own")
    package = tmp_path / "comfyui" / "custom_nodes" / "somebodys"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    with RealServer(
        Path(CHECKOUT), interpreter=INTERPRETER, directory=tmp_path / "comfyui", nodes=["somebodys"]
    ) as running:
        yield running


def doubled() -> Graph:
    graph = slow(blurs=2)
    last: Any = graph["9"]["inputs"]["images"]
    return graph | {
        "50": node("TestDoubled", image=last),
        "9": node("SaveImage", images=["50", 0], filename_prefix="p"),
    }


def rendered_and_forgotten(scene: Scene, server: RealServer, *, by: str) -> Said:
    """A run stands still while all is rendered; then the server forgets it, and the run goes on to its end."""
    with scene.running(server.url, "-n", str(ITEMS)) as process:
        wait_until(lambda: len(queued(server.url, scene)[1]) == ITEMS - 2, what="all are on the server")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(server.pictures()) == EACH * ITEMS, what="all are rendered")
        wait_until(lambda: queued(server.url, scene) == ([], []), what="the last one has ended")
        if by == "kill -9":
            server.kill()
            server.start()
        else:
            requests.post(f"{server.url}/history", json={"clear": True}, timeout=30)
        process.send_signal(signal.SIGCONT)
        return finish(process)


@pytest.mark.parametrize("by", ["kill -9", "a cleared history"])
def test_as_many_as_a_completed_item_has_are_taken(scene: Scene, server: RealServer, by: str) -> None:
    keys = scene.write(doubled(), new_seeds(ITEMS))
    first = scene.run(server.url, "-n", "1")
    assert (first.code, first.report["completed"]) == (0, 1), first.words

    said = rendered_and_forgotten(scene, server, by=by)

    assert said.code == 0, said.words
    rest = ITEMS - 1
    assert said.report["completed"] == rest
    assert rest - 1 <= said.report["rescued"] <= rest, "one may have been collected before the run stood still"
    assert (said.report["put_back"], said.report["possibly_twice"]) == (0, 0)
    assert renders(server.url, scene) == {}, "nothing is rendered again"
    assert {key: len(item.outputs) for key, item in scene.items().items()} == dict.fromkeys(keys, EACH)
    assert {seed: len(ids) for seed, ids in server.prompts_by_seed().items()} == {
        item.inputs["seed"]: 1 for item in scene.items().values()
    }
    assert scene.say("verify", "--output", str(scene.output)).code == 0


def test_without_one_they_are_rendered_again_and_mentioned(scene: Scene, server: RealServer) -> None:
    """All items differ in more than texts and seed, so nothing tells how many images each has."""
    inputs = [{**one, "2.strength": 0.3 + 0.1 * number} for number, one in enumerate(new_seeds(ITEMS))]
    scene.write(doubled(), inputs)

    said = scene.run(server.url, "-n", "1")
    assert said.code == 0, said.words
    said = rendered_and_forgotten(scene, server, by="kill -9")

    assert said.code == 0, said.words
    assert said.report["rescued"] == 0
    assert said.report["possibly_twice"] == said.report["put_back"] >= ITEMS - 2
    assert any("how many files" in note for note in said.report["notes"])
    assert all(len(item.outputs) == EACH for item in scene.items().values())


def test_a_save_node_that_takes_no_folders_loses_nothing(scene: Scene, server: RealServer) -> None:
    graph = doubled() | {"9": node("TestFlatSave", images=["50", 0], filename_prefix="p")}
    scene.write(graph | {"10": node("PreviewAny", source="a text")}, new_seeds(2))

    said = scene.run(server.url)

    assert said.code == 0, said.words
    assert [item.status for item in scene.items().values()] == [Status.COMPLETED] * 2
    assert [len(item.outputs) for item in scene.items().values()] == [EACH] * 2
