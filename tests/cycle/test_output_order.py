"""Several save nodes: which image is `a.png` and which `a_002.png` is the template's to say, not the server's."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.served_outputs import png
from support.simulated import Simulation

from state.item import Status

TWO_SAVES: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["3", 0]}},
    "3": {"class_type": "CLIPLoader", "inputs": {"clip_name": "c"}},
    "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
    "26": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "first"}},
    "33": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "final"}},
}
IMAGES = {"26": png(26), "33": png(33)}


class Shuffled(FakeServer):
    """Lists outputs in the other order."""

    backwards = False

    def finish(self, prompt: Prompt, how: str) -> None:
        super().finish(prompt, how)
        for node_id in IMAGES:
            for made in prompt.outputs()[node_id]["images"]:
                self.files[f"{made['subfolder']}/{made['filename']}"] = png(int(node_id), graph=prompt.graph)

    def respond(self, asked: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        status, found = super().respond(asked, body)
        for entry in found.values() if asked[2] == "history" and found else ():
            if self.backwards:
                entry["outputs"] = dict(reversed(entry["outputs"].items()))
        return status, found


def of_node(folder: Path, name: str) -> str:
    """The node that saved this file."""
    with Image.open(folder / "output" / name) as found:
        pixels = found.tobytes()
    return next(node_id for node_id, image in IMAGES.items() if Image.open(io.BytesIO(image)).tobytes() == pixels)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "two.json"
    path.write_text(json.dumps(TWO_SAVES))
    return path


def test_two_servers_give_one_order(tmp_path: Path, clock: HandClock, template: Path) -> None:
    """The second lists them backwards, as ComfyUI does in another process; previews' texts are no files."""
    servers = [Shuffled(f"http://{name}:8188", clock, lambda number: 1.0) for name in ("one", "two")]
    servers[1].backwards = True
    simulation = Simulation(tmp_path, clock, servers, items=6, template=template)
    simulation.burst(6)
    assert all(server.history for server in servers)
    items = list(simulation.store.items())
    assert [item.status for item in items] == [Status.COMPLETED] * 6
    for item in items:
        stem = item.name.removesuffix(".txt")
        assert [output.path for output in item.outputs] == [f"{stem}.png", f"{stem}_002.png"]
        assert [of_node(tmp_path, output.path) for output in item.outputs] == ["33", "26"]
    simulation.close()


def test_what_is_rescued_by_name_has_the_same_order(tmp_path: Path, clock: HandClock, template: Path) -> None:
    server = Shuffled("http://one:8188", clock, lambda number: 1.0)
    killed = Simulation(tmp_path, clock, [server], items=1, template=template)
    killed.work.begin(1)
    killed.workers[0].turn()
    killed.close()
    clock.seconds += 60.0
    server.tick()
    server.restart()
    simulation = Simulation(tmp_path, clock, [server], items=0, template=template)
    simulation.burst(2)
    (item,) = simulation.store.items()
    assert (simulation.tally.rescued, len(server.accepted)) == (1, 1)
    assert [of_node(tmp_path, output.path) for output in item.outputs] == ["33", "26"]
    simulation.close()


def test_a_completed_item_keeps_its_names(tmp_path: Path, clock: HandClock, template: Path) -> None:
    """Of a state whose images were placed in the order of a server: nothing is renamed, nothing is placed again."""
    server = Shuffled("http://one:8188", clock, lambda number: 1.0)
    data = {"a.png": IMAGES["26"], "a_002.png": IMAGES["33"]}
    (tmp_path / "output").mkdir()
    for name, image in data.items():
        (tmp_path / "output" / name).write_bytes(image)
    outputs = [
        {"path": name, "bytes": len(image), "sha256": hashlib.sha256(image).hexdigest()} for name, image in data.items()
    ]
    record = {"status": "completed", "filename": "a.txt", "prompt_id": "x", "outputs": outputs}
    (tmp_path / "state.json").write_text(json.dumps({"a": record}))
    simulation = Simulation(tmp_path, clock, [server], items=1, template=template)
    simulation.burst(1)
    found = simulation.store.get("a")
    assert [output.path for output in found.outputs] == ["a.png", "a_002.png"]
    assert [of_node(tmp_path, name) for name in data] == ["26", "33"]
    assert len(server.accepted) == 1
    simulation.close()
