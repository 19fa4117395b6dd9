"""Findings about a graph, alone and against a server's object_info."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from templates import (
    Finding,
    Target,
    Workflow,
    check_against,
    check_offline,
    find_bindings,
    load_workflow,
    shipped_workflows,
)

DATA = Path(__file__).parents[1] / "data" / "templates"
RECORDED: dict[str, Any] = json.loads((DATA / "recorded_graphs.json").read_text())


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def server(
    models: tuple[str, ...] = ("v1-5-pruned-emaonly-fp16.safetensors", "sd_xl_base_1.0.safetensors"),
) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((DATA / "object_info.json").read_text())
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = list(models)
    info["LoadImage"]["input"]["required"]["image"][0] = ["example.png"]
    return info


def offline(graph: dict[str, Any], **bindings: tuple[Target, ...]) -> list[Finding]:
    return check_offline(Workflow("flow", None, graph), find_bindings(graph) | bindings)


def only(findings: list[Finding]) -> tuple[str, str | None, str]:
    assert len(findings) == 1, findings
    return findings[0].severity, findings[0].node_id, findings[0].message


@pytest.mark.parametrize("name", shipped_workflows())
def test_the_shipped_workflows_pass_on_a_server_with_their_models(name: str) -> None:
    workflow = load_workflow(name)
    assert check_offline(workflow, find_bindings(workflow.graph)) == []
    assert check_against(workflow.graph, server()) == []


@pytest.mark.parametrize("name", ["smoke", "smoke-image", "upscale"])
def test_smoke_needs_no_model(name: str) -> None:
    assert check_against(load_workflow(name).graph, server(models=())) == []


VALID = load_workflow("smoke").graph


@pytest.mark.parametrize(
    ("broken", "severity", "node_id", "message"),
    [
        (
            {"9": node("Odd", x=["8", 0]), "10": node("PreviewAny", source=["9", 0])},
            "error",
            "9",
            "linked to node '8', which is not",
        ),
        ({"9": node("PreviewAny", source=[1, 0])}, "error", "9", "is a list but not a link"),
        ({"9": node("PreviewAny", source=["1", 0, 0])}, "error", "9", "__value__"),
        (
            {"9": node("A", x=["8", 0]), "8": node("B", x=["9", 0])},
            "error",
            "8",
            "8 (B) → 9 (A) → 8 (B); break the cycle",
        ),
        ({"9": node("Exporter", images=["2", 0])}, "warning", "9", "one at a time"),
    ],
)
def test_each_fault_gives_one_finding(broken: dict[str, Any], severity: str, node_id: str, message: str) -> None:
    found = only(offline(VALID | broken))
    assert found[:2] == (severity, node_id)
    assert message in found[2]


def test_a_cycle_is_shown_without_the_path_to_it() -> None:
    graph = VALID | {
        "6": node("PreviewAny", source=["7", 0]),
        "7": node("A", x=["8", 0]),
        "8": node("B", x=["9", 0], y=["1", 0]),
        "9": node("C", x=["7", 0]),
    }
    cycle = only(offline(graph))[2].split(": ", 1)[1].split(";")[0].split(" → ")
    assert len(cycle) == 4
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"7 (A)", "8 (B)", "9 (C)"}


def test_a_node_linked_to_itself_is_a_cycle() -> None:
    found = only(offline(VALID | {"9": node("PreviewAny", source=["9", 0])}))
    assert "9 (PreviewAny) → 9 (PreviewAny);" in found[2]


def test_a_graph_without_save_nodes_and_one_with_only_previews() -> None:
    severities = [finding.severity for finding in offline({"1": node("EmptyImage", batch_size=1)})]
    assert severities == ["error", "warning"]
    found = only(offline({"1": node("PreviewAny", source=["2", 0]), "2": node("RegexReplace", string="x")}))
    assert (found[0], "only previews" in found[2]) == ("warning", True)


def test_a_missing_prompt_binding_and_a_stale_one() -> None:
    assert "bindings={'prompt': " in only(offline(VALID, prompt=()))[2]
    assert only(offline(VALID, cfg=(Target("77", "cfg"),)))[:2] == ("error", "77")


TEXT_TO_IMAGE = load_workflow("txt2img-sd15").graph


def with_inputs(node_id: str, **inputs: Any) -> dict[str, Any]:
    graph = copy.deepcopy(TEXT_TO_IMAGE)
    graph[node_id]["inputs"] |= inputs
    return graph


@pytest.mark.parametrize(
    ("node_id", "inputs", "severity", "message"),
    [
        (
            "4",
            {"ckpt_name": "v1-5-pruned-emaonly.safetensors"},
            "error",
            "did you mean 'v1-5-pruned-emaonly-fp16.safetensors'?",
        ),
        ("3", {"sampler_name": "eular"}, "error", "did you mean 'euler'"),
        ("3", {"scheduler": "???"}, "error", "it has 9 others"),
        ("3", {"steps": 0}, "error", "below the server's minimum of 1"),
        ("3", {"denoise": 1.5}, "error", "above the server's maximum of 1.0"),
        ("3", {"seed": 2**64}, "error", "above the server's maximum"),
        ("3", {"cfg": "high"}, "error", "'high' is not a number"),
        ("3", {"colour": 1}, "warning", "does not know the input 'colour'"),
        ("3", {"positive": ["4", 7]}, "error", "is linked to output 7 of node 4"),
        ("3", {"positive": ["4", 0]}, "warning", "expects CONDITIONING, but node 4"),
    ],
)
def test_inputs_that_the_server_would_reject(node_id: str, inputs: dict[str, Any], severity: str, message: str) -> None:
    found = only(check_against(with_inputs(node_id, **inputs), server()))
    assert found[:2] == (severity, node_id)
    assert message in found[2]
    assert next(iter(inputs)) in found[2]


def test_models_on_a_server_that_has_none() -> None:
    assert "it has none" in only(check_against(TEXT_TO_IMAGE, server(models=())))[2]


def test_an_image_not_yet_uploaded_is_only_a_warning() -> None:
    graph = load_workflow("img2img").graph
    graph["10"]["inputs"]["image"] = "mine.png"
    assert only(check_against(graph, server()))[:2] == ("warning", "10")


def test_missing_nodes_and_inputs_come_before_warnings() -> None:
    graph = with_inputs("3", colour=1)
    del graph["3"]["inputs"]["steps"]
    graph["8"]["class_type"] = "VAEDecod"
    findings = check_against(graph, server())
    assert [(finding.severity, finding.node_id) for finding in findings] == [
        ("error", "3"),
        ("error", "8"),
        ("warning", "3"),
    ]
    assert "required input 'steps' is missing" in findings[0].message
    assert "did you mean 'VAEDecode'" in findings[1].message


@pytest.mark.parametrize("value", ["mp4", "mkv"])
def test_both_formats_of_a_combo_input(value: str) -> None:
    graph = {"1": node("SaveVideo", video=["2", 0], filename_prefix="x", format=value, codec="auto")}
    found = [finding.message for finding in check_against(graph, server()) if finding.severity == "error"]
    assert bool(found) == (value == "mkv")


@pytest.mark.parametrize(("value", "messages"), [(["a", "b"], []), (["a", "c"], ["'c'"]), (["c", "d"], ["'c'", "'d'"])])
def test_a_combo_input_with_several_values(value: list[str], messages: list[str]) -> None:
    tags = ["COMBO", {"multiselect": True, "options": ["a", "b"]}]
    info = {"Tag": {"input": {"required": {"tags": tags}}, "output_node": True}}
    found = [finding.message for finding in check_against({"1": node("Tag", tags={"__value__": value})}, info)]
    assert len(found) == len(messages)
    assert all(message in text for message, text in zip(messages, found, strict=True))


@pytest.mark.parametrize("options", [[], None])
def test_models_listed_only_by_their_folder(options: list[str] | None) -> None:
    spec = {"remote": {"route": "/models/loras"}} | ({} if options is None else {"options": options})
    info = {"Load": {"input": {"required": {"file": ["COMBO", spec]}}, "output_node": True}}
    folders = {"loras": ["here.safetensors"]}
    graph = {"1": node("Load", file="hare.safetensors")}
    assert "did you mean 'here.safetensors'?" in only(check_against(graph, info, folders=folders.get))[2]
    assert check_against(graph, info, folders={}.get) == check_against(graph, info) == []


def test_an_unused_node_gives_only_a_warning() -> None:
    graph = TEXT_TO_IMAGE | {"20": node("CheckpointLoaderSimple", ckpt_name="gone.safetensors")}
    severity, node_id, message = only(check_against(graph, server()))
    assert (severity, node_id) == ("warning", "20")
    assert "no output depends on this node" in message
    assert only(check_against(TEXT_TO_IMAGE | {"20": node("Gone")}, server()))[:2] == ("error", "20")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("submit unknown node", "no node 'Nope'"),
        ("submit bad input value", "'width'"),
        ("submit missing input", "'images' is missing"),
        ("submit model not on the server", "'absent.safetensors'"),
    ],
)
def test_the_rejections_of_a_real_server_are_predicted(case: str, message: str) -> None:
    found = only(check_against(RECORDED[case], server()))
    assert found[0] == "error"
    assert message in found[2]
