"""Splicing LoRAs into graphs: relinked nodes, refused graphs, and the `lora` of an item."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.preparing import preparation_of

from orchestrator.errors import TemplateError
from orchestrator.preparation import InputsError
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.item import Item, Status
from templates import (
    Graph,
    check_against,
    find_bindings,
    fingerprint,
    load_workflow,
    parse_lora,
    splice_lora,
    with_loras,
)

DATA = Path(__file__).parents[1] / "data" / "templates"
FILES = {name: load_workflow(DATA / f"{name}.json").graph for name in ("hires", "controlnet", "flux", "refiner")}
SD15 = load_workflow("txt2img-sd15").graph
LORA = "tiny-lora.safetensors"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    settings = SandboxSettings(checkpoints=("v1-5-pruned-emaonly-fp16.safetensors", "sd_xl_base_1.0.safetensors"))
    with Sandbox(settings) as running:
        yield running


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def linked_to(graph: Graph, node_id: str) -> set[str]:
    """`node.input<slot` of every input linked to a node."""
    return {
        f"{other}.{name}<{value[1]}"
        for other, found in graph.items()
        for name, value in found["inputs"].items()
        if isinstance(value, list) and value[0] == node_id
    }


@pytest.mark.parametrize("name", ["txt2img-sd15", "txt2img-sdxl", "img2img"])
def test_a_lora_spliced_into_a_shipped_template_is_valid(sandbox: Sandbox, name: str) -> None:
    graph = load_workflow(name).graph
    original = copy.deepcopy(graph)
    spliced = splice_lora(graph, LORA, strength=0.75)
    assert graph == original
    (new,) = set(spliced) - set(graph)
    inputs = {"model": ["4", 0], "clip": ["4", 1], "lora_name": LORA, "strength_model": 0.75, "strength_clip": 0.75}
    assert spliced[new] == node("LoraLoader", **inputs)
    assert linked_to(spliced, new) == {"3.model<0", "6.clip<1", "7.clip<1"}
    vae = {"8.vae<2", "5.vae<2"} if name == "img2img" else {"8.vae<2"}
    assert linked_to(spliced, "4") == {f"{new}.model<0", f"{new}.clip<1"} | vae
    object_info = requests.get(f"{sandbox.url}/object_info", timeout=10).json()
    assert [finding for finding in check_against(spliced, object_info) if finding.severity == "error"] == []
    assert find_bindings(spliced)["lora"][0].node_id == new


def test_several_loras_make_one_chain() -> None:
    graph = SD15
    for name in ("a.pt", "b.pt", "c.pt"):
        graph = splice_lora(graph, name)
    new = sorted(set(graph) - set(SD15), key=int)
    names, node_id = [], graph["3"]["inputs"]["model"][0]
    while node_id in new:
        names.append(graph[node_id]["inputs"]["lora_name"])
        assert graph[node_id]["inputs"]["clip"][0] == graph[node_id]["inputs"]["model"][0]
        node_id = graph[node_id]["inputs"]["model"][0]
    assert (sorted(names), node_id) == (["a.pt", "b.pt", "c.pt"], "4")
    assert graph["6"]["inputs"]["clip"] == graph["7"]["inputs"]["clip"] == [graph["3"]["inputs"]["model"][0], 1]


def test_nodes_between_loader_and_sampler_come_after_the_lora() -> None:
    """A clip skip, a patched model and reroutes; a scheduler that uses the model as well as the sampler."""
    graph = copy.deepcopy(SD15)
    graph["20"] = node("CLIPSetLastLayer", clip=["24", 0], stop_at_clip_layer=-2)
    graph["21"] = node("ModelSamplingDiscrete", model=["23", 0], sampling="v_prediction", zsnr=False)
    graph["22"] = node("AlignYourStepsScheduler", model=["4", 0], steps=3)
    graph["23"] = {"class_type": "Reroute", "inputs": {"": ["4", 0]}}
    graph["24"] = {"class_type": "Reroute", "inputs": {"": ["4", 1]}}
    graph["3"]["inputs"]["model"] = ["21", 0]
    for encoder in ("6", "7"):
        graph[encoder]["inputs"]["clip"] = ["20", 0]
    spliced = splice_lora(graph, LORA)
    (new,) = set(spliced) - set(graph)
    assert linked_to(spliced, new) == {"23.<0", "24.<1", "22.model<0"}


def test_a_loader_with_a_linked_file_name_is_still_the_loader() -> None:
    graph = copy.deepcopy(SD15)
    graph["4"]["inputs"]["ckpt_name"] = ["20", 0]
    graph["20"] = node("PickCheckpoint", folder="a", recursive=True)
    spliced = splice_lora(graph, LORA)
    (new,) = set(spliced) - set(graph)
    assert linked_to(spliced, new) == {"3.model<0", "6.clip<1", "7.clip<1"}
    assert spliced["4"] == graph["4"]


def without_its_lora(graph: Graph) -> Graph:
    """flux without its LoRA loader: the model is linked directly to guider and scheduler."""
    graph = {node_id: copy.deepcopy(found) for node_id, found in graph.items() if node_id != "13"}
    for node_id in ("5", "8"):
        graph[node_id]["inputs"]["model"] = ["1", 0]
    return graph


def test_model_and_text_encoder_of_two_loaders_share_one_lora() -> None:
    graph = without_its_lora(FILES["flux"])
    spliced = splice_lora(graph, LORA, strength=0.5)
    (new,) = set(spliced) - set(graph)
    assert spliced[new]["class_type"] == "LoraLoader"
    assert (spliced[new]["inputs"]["model"], spliced[new]["inputs"]["clip"]) == (["1", 0], ["2", 0])
    assert linked_to(spliced, new) == {"5.model<0", "8.model<0", "3.clip<1"}


def test_without_a_text_encoder_only_the_model_is_changed() -> None:
    graph = without_its_lora(FILES["flux"])
    graph["3"] = node("LoadConditioning", file="fox.pt")
    spliced = splice_lora(graph, LORA, strength=-0.5)
    (new,) = set(spliced) - set(graph)
    inputs = {"model": ["1", 0], "lora_name": LORA, "strength_model": -0.5}
    assert spliced[new] == node("LoraLoaderModelOnly", **inputs)
    assert linked_to(spliced, new) == {"5.model<0", "8.model<0"}


def test_the_new_id_is_not_used_even_as_part_of_another() -> None:
    ids = {"3": "8", "4": "9:4", "5": "10:5", "6": "11", "7": "12:7", "8": "x", "9": "9"}
    graph = {
        ids[node_id]: found
        | {"inputs": {k: [ids[v[0]], v[1]] if isinstance(v, list) else v for k, v in found["inputs"].items()}}
        for node_id, found in SD15.items()
    }
    spliced = splice_lora(graph, LORA)
    assert set(spliced) - set(graph) == {"13"}
    assert fingerprint(spliced) == fingerprint(splice_lora(SD15, LORA))


@pytest.mark.parametrize("graph", [load_workflow("smoke").graph, {**SD15, "4": node("Nothing")} | {"3": node("A")}])
def test_a_graph_without_a_sampler_is_refused(graph: Graph) -> None:
    with pytest.raises(TemplateError, match=r"cannot add the LoRA 'a\.pt'.*use a template where one does"):
        splice_lora(graph, "a.pt")


def test_a_broken_model_link_is_refused() -> None:
    with pytest.raises(TemplateError, match="cannot add the LoRA"):
        splice_lora({node_id: found for node_id, found in SD15.items() if node_id != "4"}, "a.pt")


def test_several_loaders_are_refused_by_name() -> None:
    with pytest.raises(TemplateError, match=r"1 \(Check\w+\), 2 \(Check\w+\).*bindings={'lora': 'NODE"):
        splice_lora(FILES["refiner"], LORA)
    merged = copy.deepcopy(SD15)
    merged["20"] = node("CheckpointLoaderSimple", ckpt_name="other.pt")
    merged["21"] = node("ModelMergeSimple", model1=["4", 0], model2=["20", 0], ratio=0.5)
    merged["3"]["inputs"]["model"] = ["21", 0]
    with pytest.raises(TemplateError, match=r"several models \(4 .*, 20 \(CheckpointLoaderSimple\)"):
        splice_lora(merged, LORA)
    two_encoders = copy.deepcopy(SD15)
    two_encoders["20"] = node("CLIPLoader", clip_name="other.pt")
    two_encoders["7"]["inputs"]["clip"] = ["20", 0]
    with pytest.raises(TemplateError, match=r"several text encoders \(4 .*, 20 \(CLIPLoader\)"):
        splice_lora(two_encoders, LORA)


def test_models_of_unsaved_images_do_not_count() -> None:
    graph = copy.deepcopy(SD15) | {
        "20": node("CheckpointLoaderSimple", ckpt_name="other.pt"),
        "21": SD15["3"] | {"inputs": SD15["3"]["inputs"] | {"model": ["20", 0]}},
    }
    spliced = splice_lora(graph, LORA)
    (new,) = set(spliced) - set(graph)
    assert spliced[new]["inputs"]["model"] == ["4", 0]


def test_a_cycle_of_links_terminates() -> None:
    graph = copy.deepcopy(SD15)
    graph["20"] = node("ModelMergeSimple", model1=["21", 0], model2=["4", 0], ratio=0.5)
    graph["21"] = node("ModelSamplingDiscrete", model=["20", 0])
    graph["3"]["inputs"]["model"] = ["21", 0]
    (new,) = set(splice_lora(graph, LORA)) - set(graph)
    assert linked_to(splice_lora(graph, LORA), new) == {"20.model2<0", "6.clip<1", "7.clip<1"}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("style.safetensors", ("style.safetensors", None)),
        ("style.safetensors:0.8", ("style.safetensors", 0.8)),
        ("style:2", ("style", 2.0)),
        ("style:v2:-.5", ("style:v2", -0.5)),
        ("style:v2", ("style:v2", None)),
        ("style:1:0", ("style:1", 0.0)),
        ("style:", ("style:", None)),
        ("style:nan", ("style:nan", None)),
        ("style:٣", ("style:٣", None)),
        (" pixel art/a b.pt :1.", ("pixel art/a b.pt", 1.0)),
    ],
)
def test_the_last_colon_before_a_number_is_the_strength(text: str, parsed: tuple[str, float | None]) -> None:
    assert parse_lora(text) == parsed


@pytest.mark.parametrize("text", ["", " ", ":0.8", ":", " :1", "a:" + "9" * 400])
def test_an_empty_name_or_an_infinite_strength_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="LoRA"):
        parse_lora(text)


def strengths(graph: Graph) -> dict[str, list[float]]:
    return {
        found["inputs"]["lora_name"]: [v for k, v in found["inputs"].items() if k.startswith("strength_")]
        for found in graph.values()
        if "lora_name" in found["inputs"]
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lora": "a.pt"}, {"a.pt": [1.0, 1.0]}),
        ({"lora": "a.pt:0.6"}, {"a.pt": [0.6, 0.6]}),
        ({"lora": "a.pt", "lora_strength": "0.6"}, {"a.pt": [0.6, 0.6]}),
        ({"lora": ["a.pt:0.6", "b.pt"]}, {"a.pt": [0.6, 0.6], "b.pt": [1.0, 1.0]}),
        ({"lora": ["a.pt:0.6", "b.pt"], "lora_strength": 2}, {"a.pt": [0.6, 0.6], "b.pt": [2.0, 2.0]}),
        ({"lora": []}, {}),
        ({"steps": 5}, {}),
    ],
)
def test_the_loras_of_an_item_are_spliced_in(values: dict[str, Any], expected: dict[str, list[float]]) -> None:
    graph, left = with_loras(SD15, find_bindings(SD15), values | {"seed": 1})
    assert strengths(graph) == expected
    assert left == {"seed": 1} | ({"steps": 5} if "steps" in values else {})


FACE, STYLE = "face.safetensors", "style.safetensors"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lora": "a.pt"}, {STYLE: [1.0, 1.0], "a.pt": [1.0, 1.0]}),
        ({"lora": "a.pt:0.6"}, {STYLE: [1.0, 1.0], "a.pt": [0.6, 0.6]}),
        ({"lora_strength": 0.3}, {STYLE: [1.0, 1.0], FACE: [0.3, 0.3]}),
        ({"lora": "a.pt", "lora_strength": "0.3"}, {STYLE: [1.0, 1.0], "a.pt": [0.3, 0.3]}),
        (
            {"lora": ["a.pt:0.6", "b.pt:0.1"]},
            {STYLE: [1.0, 1.0], "a.pt": [0.6, 0.6], "b.pt": [0.1, 0.1]},
        ),
    ],
)
def test_an_existing_lora_node_is_set_and_the_others_are_spliced_in(
    tmp_path: Path, values: dict[str, Any], expected: dict[str, list[float]]
) -> None:
    (tmp_path / "hires.json").write_text(json.dumps(FILES["hires"]))
    prompts = preparation_of(tmp_path, "hires.json")
    prepared = prompts.prepare(Item(key="a", status=Status.PENDING, prompt_text="a cat", inputs=values))
    assert strengths(prepared.graph) == expected
    assert prepared.graph["3"]["inputs"]["model"] == ["12", 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora": 7}, "'lora': expected NAME, NAME:STRENGTH or a list"),
        ({"lora": ["a.pt", None]}, "'lora': expected NAME"),
        ({"lora": ":1"}, "has no LoRA name"),
        ({"lora": "a.pt:1", "lora_strength": 0.5}, "'lora_strength' applies only to a LoRA without"),
        ({"lora": "a.pt", "lora_strength": "much"}, "a finite number"),
        ({"lora": "a.pt", "lora_strength": True}, "a finite number"),
        ({"lora": "a.pt", "lora_strength": float("inf")}, "a finite number"),
        ({"lora_strength": 0.5}, "no binding 'lora_strength'"),
        ({"3.stepz": 5}, "did you mean 'steps'"),
    ],
)
def test_invalid_values_fail_only_the_item(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    prompts = preparation_of(tmp_path, "txt2img-sd15")
    with pytest.raises(InputsError, match=message):
        prompts.prepare(Item(key="a", status=Status.PENDING, prompt_text="a cat", inputs=values))


def test_an_item_touches_its_spliced_lora_nodes_and_the_nodes_it_names(tmp_path: Path) -> None:
    """A LoRA that the server does not have then fails its item, not the burst."""
    prompts = preparation_of(tmp_path, "txt2img-sd15")
    plain = prompts.prepare(Item(key="a", status=Status.PENDING, prompt_text="a cat"))
    prepared = prompts.prepare(
        Item(key="b", status=Status.PENDING, prompt_text="a cat", inputs={"lora": "a.pt", "5.width": 640})
    )
    assert plain.touched == {"6"}
    assert prepared.touched == {"6", "5"} | (prepared.graph.keys() - SD15.keys())
    assert len(prepared.touched) == 3
    assert prepared.graph["5"]["inputs"]["width"] == 640
    assert prepared.fingerprint != plain.fingerprint


@pytest.mark.parametrize(("lora", "status"), [(f"{LORA}:0.5", 200), ("no.pt", 400)])
def test_a_server_accepts_it_or_names_the_spliced_node(
    sandbox: Sandbox, tmp_path: Path, lora: str, status: int
) -> None:
    prompts = preparation_of(tmp_path, "txt2img-sd15")
    prepared = prompts.prepare(
        Item(key="a", status=Status.PENDING, prompt_text="a cat", inputs={"lora": lora, "width": 64, "height": 64})
    )
    answer = requests.post(f"{sandbox.url}/prompt", json={"prompt": prepared.graph}, timeout=10)
    assert answer.status_code == status
    assert set(answer.json()["node_errors"]) == (prepared.graph.keys() - SD15.keys() if status == 400 else set())
