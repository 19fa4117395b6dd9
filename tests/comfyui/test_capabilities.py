"""What a server can run: against sandboxes, recorded answers, and the shapes of newer servers."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.capabilities import Capabilities
from orchestrator.errors import ServerBusy
from orchestrator.sandbox import Sandbox, SandboxSettings
from templates import Graph, load_workflow, shipped_workflows

URL = "http://comfy.test:8188"
RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "exchanges.json").read_text())["cases"]
SDXL = load_workflow("txt2img-sdxl").graph


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


def offer(sandbox: Sandbox) -> Capabilities:
    return Capabilities(ComfyUI(sandbox.url, retry_seconds=0))


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def changed(graph: Graph, node_id: str, **inputs: Any) -> Graph:
    graph = copy.deepcopy(graph)
    graph[node_id]["inputs"] |= inputs
    return graph


def asked(sandbox: Sandbox) -> int:
    requests_made: dict[str, int] = sandbox.counts()["requests"]
    return sum(count for path, count in requests_made.items() if "object_info" in path or "models" in path)


def takes(sandbox: Sandbox, graph: Graph) -> bool:
    """Whether the server queues it."""
    answer = requests.post(f"{sandbox.url}/prompt", json={"prompt": graph}, timeout=10)
    return answer.status_code == 200 and not answer.json()["node_errors"]


@pytest.mark.parametrize("name", shipped_workflows())
def test_a_server_with_everything_lacks_nothing(sandbox: Sandbox, name: str) -> None:
    assert offer(sandbox).missing(load_workflow(name).graph) == ()


LORA = node("LoraLoader", model=["4", 0], clip=["4", 1], lora_name="no.pt", strength_model=1, strength_clip=1)


@pytest.mark.parametrize(
    ("graph", "missing"),
    [
        (SDXL, ()),
        (changed(SDXL, "4", ckpt_name="no.ckpt"), ('checkpoint "no.ckpt" is not there',)),
        (changed(SDXL, "3", sampler_name="eular"), ('KSampler has no sampler_name "eular"',)),
        (changed(SDXL, "3", sampler_name=None), ('KSampler has no sampler_name "None"',)),
        (changed(SDXL, "3", sampler_name={"__value__": "euler"}), ()),
        (changed(SDXL, "3", sampler_name={"__value__": "eular"}), ('KSampler has no sampler_name "eular"',)),
        (SDXL | {"8": node("VAEDecod", **SDXL["8"]["inputs"])}, ('node class "VAEDecod" is not there',)),
        # What nothing that is saved hangs on must be of a class that is there, and may hold anything.
        (SDXL | {"10": LORA}, ()),
        (SDXL | {"10": node("LoraLoade")}, ('node class "LoraLoade" is not there',)),
        (SDXL | {"10": LORA, "3": changed(SDXL, "3", model=["10", 0])["3"]}, ('LoRA "no.pt" is not there',)),
    ],
)
def test_what_is_missing_is_what_the_server_refuses(sandbox: Sandbox, graph: Graph, missing: tuple[str, ...]) -> None:
    assert offer(sandbox).missing(graph) == missing
    assert takes(sandbox, graph) == (not missing)


def test_everything_that_is_missing_is_said_once() -> None:
    with Sandbox(SandboxSettings(checkpoints=(), missing_nodes=("CLIPTextEncode",))) as sandbox:
        assert offer(sandbox).missing(SDXL) == (
            'checkpoint "sd_xl_base_1.0.safetensors" is not there',
            'node class "CLIPTextEncode" is not there',
        )


def test_a_picture_may_still_be_uploaded(sandbox: Sandbox) -> None:
    graph = load_workflow("img2img").graph
    loader = next(node_id for node_id in graph if graph[node_id]["class_type"] == "LoadImage")
    assert offer(sandbox).missing(changed(graph, loader, image="not yet there.png")) == ()


def test_each_class_is_asked_for_once(sandbox: Sandbox) -> None:
    server = offer(sandbox)
    for seed in range(5):
        assert server.missing(changed(SDXL, "3", seed=seed)) == ()
        assert server.missing(changed(SDXL, "4", ckpt_name=f"{seed}.ckpt")) != ()
    assert asked(sandbox) == len({node["class_type"] for node in SDXL.values()})


def test_after_a_restart_it_is_asked_again(sandbox: Sandbox) -> None:
    server = offer(sandbox)
    assert server.missing(SDXL) == ()
    sandbox.change(checkpoints=[], missing_nodes=["SaveImage"])
    assert server.missing(SDXL) == ()
    server.forget()
    assert len(server.missing(SDXL)) == 2
    sandbox.change(checkpoints=["sd_xl_base_1.0.safetensors"], missing_nodes=[])
    server.forget()
    assert server.missing(SDXL) == ()


def test_no_answer_is_no_verdict_and_is_not_remembered(sandbox: Sandbox) -> None:
    server = offer(sandbox)
    sandbox.change(unavailable_next=1)
    with pytest.raises(ServerBusy):
        server.missing(SDXL)
    assert server.missing(SDXL) == ()


@pytest.fixture
def untraced() -> Iterator[None]:
    """Where covered lines are counted, that costs more than the lines do."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("lacking", [False, True])
def test_an_item_costs_little_more_than_its_graph_as_text(lacking: bool) -> None:
    """Both for a server that can and for one that cannot: `json.dumps` of the same graph, in turn, is the measure."""
    with Sandbox(SandboxSettings(checkpoints=()) if lacking else SandboxSettings()) as sandbox:
        server = offer(sandbox)
        graphs = [changed(changed(SDXL, "3", seed=number), "6", text=f"text {number}") for number in range(500)]
        server.missing(SDXL)
        looks, texts = [], []
        for _ in range(5):
            started = time.process_time()
            assert all(bool(server.missing(graph)) == lacking for graph in graphs)
            looked = time.process_time()
            assert all(map(json.dumps, graphs))
            looks.append(looked - started)
            texts.append(time.process_time() - looked)
    assert min(looks) < 3 * min(texts)


def answering(infos: dict[str, Any], **folders: list[str]) -> Capabilities:
    """A server of these node classes, each with one input `name` -> its entry; a folder that is not named is a 404."""
    for class_type, spec in infos.items():
        info = {class_type: {"input": {"required": {"image": ["IMAGE"]}, "optional": spec}, "output_node": True}}
        responses.add("GET", f"{URL}/api/object_info/{class_type}", json=info)
    for folder, names in folders.items():
        responses.add("GET", f"{URL}/api/models/{folder}", json=names)
    return Capabilities(ComfyUI(URL, retry_seconds=0))


def one(class_type: str, **inputs: Any) -> Graph:
    return {"1": node(class_type, image=["2", 0], **inputs)}


@responses.activate
@pytest.mark.parametrize(
    ("value", "is_there"),
    [("a", True), ("b", False), (2, True), (3, False), ("2", False), ({"__value__": "a"}, True), (["9", 0], True)],
)
def test_a_combo_of_newer_nodes(value: object, is_there: bool) -> None:
    server = answering({"X": {"mode": ["COMBO", {"multiselect": False, "options": ["a", 2]}]}})
    assert (server.missing(one("X", mode=value)) == ()) == is_there
    assert server.missing(one("X")) == ()


@responses.activate
def test_a_combo_that_takes_several() -> None:
    server = answering({"X": {"tags": ["COMBO", {"multiselect": True, "options": ["a", "b"]}]}})
    assert server.missing(one("X", tags={"__value__": ["a", "b"]})) == ()
    assert server.missing(one("X", tags={"__value__": ["a", "c"]})) == ('X has no tags "c"',)


@responses.activate
def test_models_that_object_info_leaves_out_are_in_their_folder() -> None:
    specs = {
        "ByRoute": {"file": ["COMBO", {"remote": {"route": "/api/models/loras", "refresh_button": True}}]},
        "ByEmptyList": {"file": ["COMBO", {"options": [], "remote": {"route": "/models/loras"}}]},
        "ByName": {"lora_name": ["COMBO", {}]},
    }
    server = answering(specs, loras=["here.safetensors"])
    for class_type, name in (("ByRoute", "file"), ("ByEmptyList", "file"), ("ByName", "lora_name")):
        assert server.missing(one(class_type, **{name: "here.safetensors"})) == ()
        assert server.missing(one(class_type, **{name: "a word of the loader's own"})) == ()
        assert len(server.missing(one(class_type, **{name: "gone.safetensors"}))) == 1
    assert server.missing(one("ByName", lora_name="gone.pt")) == ('LoRA "gone.pt" is not there',)
    assert sum(call.request.url == f"{URL}/api/models/loras" for call in responses.calls) == 1


@responses.activate
@pytest.mark.parametrize(
    "options",
    [
        {"remote": {"route": "/models/nowhere"}},
        {"remote": {"route": "/internal/files/output"}},
        {"remote_combo": {"route": "/voices", "item_schema": {}}},
        {"options": [], "remote_combo": {"route": "/voices", "item_schema": {}}},
        {},
    ],
)
def test_where_nobody_says_what_there_is_the_server_decides(options: dict[str, Any]) -> None:
    responses.add("GET", f"{URL}/api/models/nowhere", status=404)
    server = answering({"X": {"file": ["COMBO", options]}}, checkpoints=[])
    assert server.missing(one("X", file="any.safetensors")) == ()


@responses.activate
def test_a_server_without_the_endpoint_for_one_class_is_asked_for_all_once() -> None:
    everything = {name: {"input": {"required": {}}, "output_node": True} for name in "AB"}
    responses.add("GET", f"{URL}/api/object_info", json=everything)
    for path in ("/api/object_info/A", "/object_info/A"):
        responses.add("GET", URL + path, status=404)
    server = Capabilities(ComfyUI(URL, retry_seconds=0))
    assert server.missing({"1": node("A"), "2": node("B")}) == ()
    assert server.missing({"1": node("C")}) == ('node class "C" is not there',)
    assert sum(call.request.url == f"{URL}/api/object_info" for call in responses.calls) == 1


@responses.activate
@pytest.mark.parametrize(
    ("case", "missing"),
    [
        ("submit model not on the server", ('checkpoint "absent.safetensors" is not there',)),
        ("submit unknown node", ('node class "Nope" is not there',)),
        ("submit bad input value", ()),
    ],
)
def test_what_a_real_server_answered(case: str, missing: tuple[str, ...]) -> None:
    """A number out of range is left to the server."""
    infos = dict(recorded_infos())
    graph = RECORDED[case]["request"]["json"]["prompt"]
    for class_type in {entry["class_type"] for entry in graph.values()}:
        known = (
            {class_type: {"input": {}, "output_node": False}} if class_type in ("VAEDecode", "EmptyLatentImage") else {}
        )
        responses.add("GET", f"{URL}/api/object_info/{class_type}", json=infos.get(class_type, known))
    assert Capabilities(ComfyUI(URL)).missing(graph) == missing


def recorded_infos() -> Iterator[tuple[str, Any]]:
    for name, case in RECORDED.items():
        if name.startswith("object_info "):
            yield case["request"]["path"].rpartition("/")[2], case["response"]["body"]
