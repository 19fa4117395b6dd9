"""Detection of bindings, and setting values through them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import TemplateError
from templates import (
    NAMES,
    Target,
    bind,
    find_bindings,
    find_candidates,
    load_workflow,
    shipped_workflows,
    touched_nodes,
)

DATA = Path(__file__).parents[1] / "data" / "templates"
RECORDED: dict[str, Any] = json.loads((DATA / "recorded_graphs.json").read_text())
FILES = {
    name: load_workflow(DATA / f"{name}.json").graph for name in ("hires", "controlnet", "flux", "refiner", "inpaint")
}
SHIPPED = {name: load_workflow(name).graph for name in shipped_workflows()}
ALL = {**SHIPPED, **FILES, **RECORDED}


def addresses(graph: dict[str, Any], **overrides: str) -> dict[str, list[str]]:
    found = find_bindings(graph, overrides)
    return {name: [f"{target.node_id}.{target.input_name}" for target in targets] for name, targets in found.items()}


TEXT_TO_IMAGE = {
    "prompt": ["6.text"],
    "negative": ["7.text"],
    "seed": ["3.seed"],
    "steps": ["3.steps"],
    "cfg": ["3.cfg"],
    "sampler": ["3.sampler_name"],
    "scheduler": ["3.scheduler"],
    "denoise": ["3.denoise"],
    "model": ["4.ckpt_name"],
    "width": ["5.width"],
    "height": ["5.height"],
    "batch_size": ["5.batch_size"],
    "prefix": ["9.filename_prefix"],
}
SIZES = {"width", "height", "batch_size"}

EXPECTED: dict[str, dict[str, list[str]]] = {
    "txt2img-sd15": TEXT_TO_IMAGE,
    "txt2img-sdxl": TEXT_TO_IMAGE,
    "img2img": {k: v for k, v in TEXT_TO_IMAGE.items() if k not in SIZES} | {"image": ["10.image"]},
    "smoke": {
        "prompt": ["4.string"],
        "seed": ["2.seed"],
        "width": ["1.width"],
        "height": ["1.height"],
        "batch_size": ["1.batch_size"],
        "prefix": ["3.filename_prefix"],
    },
    "smoke-image": {"image": ["1.image"], "prefix": ["3.filename_prefix"]},
    "upscale": {"image": ["1.image"], "prefix": ["3.filename_prefix"]},
    "upscale-model": {"model": ["2.model_name"], "image": ["1.image"], "prefix": ["4.filename_prefix"]},
    # Two passes: both seeds; the second pass keeps its own steps and size; the LoRA nearest to the sampler.
    "hires": {
        "prompt": ["98:6.text"],
        "negative": ["98:7.text"],
        "seed": ["3.seed", "18.seed"],
        "steps": ["3.steps"],
        "cfg": ["3.cfg", "18.cfg"],
        "sampler": ["3.sampler_name", "18.sampler_name"],
        "scheduler": ["3.scheduler", "18.scheduler"],
        "denoise": ["3.denoise"],
        "model": ["4.ckpt_name"],
        "lora": ["12.lora_name"],
        "lora_strength": ["12.strength_model", "12.strength_clip"],
        "width": ["5.width"],
        "height": ["5.height"],
        "batch_size": ["5.batch_size"],
        "prefix": ["20.filename_prefix"],
    },
    # Primitives hold the text, seed and width; both conditionings go through one ControlNet node.
    "controlnet": {
        "prompt": ["2.value"],
        "negative": ["5.text"],
        "seed": ["12.value"],
        "steps": ["11.steps"],
        "cfg": ["11.cfg"],
        "sampler": ["11.sampler_name"],
        "scheduler": ["11.scheduler"],
        "denoise": ["11.denoise"],
        "model": ["1.ckpt_name"],
        "width": ["9.value"],
        "height": ["10.height"],
        "batch_size": ["10.batch_size"],
        "image": ["6.image"],
        "prefix": ["14.filename_prefix"],
    },
    # The settings are in the nodes around SamplerCustomAdvanced; a basic guider has neither cfg nor negative.
    "flux": {
        "prompt": ["3.clip_l", "3.t5xxl"],
        "seed": ["6.noise_seed"],
        "steps": ["8.steps"],
        "guidance": ["4.guidance"],
        "sampler": ["7.sampler_name"],
        "scheduler": ["8.scheduler"],
        "denoise": ["8.denoise"],
        "model": ["1.unet_name"],
        "lora": ["13.lora_name"],
        "lora_strength": ["13.strength_model"],
        "width": ["9.width"],
        "height": ["9.height"],
        "batch_size": ["9.batch_size"],
        "prefix": ["14.filename_prefix"],
    },
    # Base and refiner share texts, steps and cfg, and have a model each.
    "refiner": {
        "prompt": ["3.text_g", "3.text_l"],
        "negative": ["4.text_g", "4.text_l"],
        "seed": ["8.noise_seed", "9.noise_seed"],
        "steps": ["8.steps", "9.steps"],
        "cfg": ["8.cfg", "9.cfg"],
        "sampler": ["8.sampler_name", "9.sampler_name"],
        "scheduler": ["8.scheduler", "9.scheduler"],
        "model": ["1.ckpt_name"],
        "width": ["7.width"],
        "height": ["7.height"],
        "batch_size": ["7.batch_size"],
        "prefix": ["11.filename_prefix"],
    },
    # Image and mask have the same file name in the template, but are separate.
    "inpaint": {k: v for k, v in TEXT_TO_IMAGE.items() if k not in SIZES}
    | {"image": ["10.image"], "mask": ["11.image"]},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_bindings_are_detected(name: str) -> None:
    assert addresses(ALL[name]) == EXPECTED[name]


def test_the_recorded_text_to_image_graph() -> None:
    found = addresses(RECORDED["submit model not on the server"])
    assert found == TEXT_TO_IMAGE | {"prompt": ["98:6.text"]}


def test_the_recorded_text_graph() -> None:
    found = addresses(RECORDED["history success, text output"])
    assert list(found) == ["prompt"]


def test_the_recorded_image_to_image_graph() -> None:
    found = addresses(RECORDED["submit image to image with the uploaded file"])
    assert found == {"image": ["1.image"], "prefix": ["3.filename_prefix"]}


def loading(*extra: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    """An image composited onto another with a mask, without a sampler; `extra` nodes are added or replace others."""
    nodes = [
        ("1", "LoadImage", {"image": "a.png"}),
        ("2", "ImageInvert", {"image": ["1", 0]}),
        ("4", "ImageCompositeMasked", {"destination": ["1", 0], "source": ["2", 0], "mask": ["3", 0], "x": 0, "y": 0}),
        ("9", "SaveImage", {"images": ["4", 0], "filename_prefix": "p"}),
        *extra,
    ]
    return {node_id: {"class_type": name, "inputs": inputs} for node_id, name, inputs in nodes}


MASKED: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "a mask loaded by LoadImageMask": (
        loading(("3", "LoadImageMask", {"image": "a.png", "channel": "red"})),
        {"image": ["1.image"], "mask": ["3.image"]},
    ),
    "an image converted to a mask": (
        loading(("3", "ImageToMask", {"image": ["0", 0], "channel": "red"}), ("0", "LoadImage", {"image": "a.png"})),
        {"image": ["1.image"], "mask": ["0.image"]},
    ),
    "the alpha channel of another image": (
        loading(
            ("4", "ImageCompositeMasked", {"mask": ["3", 1], "destination": ["1", 0], "source": ["2", 0]}),
            ("3", "LoadImage", {"image": "m.png"}),
        ),
        {"image": ["1.image"], "mask": ["3.image"]},
    ),
    "the alpha channel of the image itself": (
        loading(("3", "InvertMask", {"mask": ["1", 1]})),
        {"image": ["1.image"]},
    ),
    "several masks": (
        loading(
            ("3", "GrowMask", {"mask": ["5", 0], "expand": 4}),
            ("5", "LoadImageMask", {"image": "a.png", "channel": "red"}),
            ("6", "SetLatentNoiseMask", {"samples": ["7", 0], "mask": ["8", 0]}),
            ("8", "LoadImageMask", {"image": "b.png", "channel": "red"}),
        ),
        {"image": ["1.image"], "mask": ["5.image"]},
    ),
}


@pytest.mark.parametrize("name", MASKED)
def test_image_and_mask_are_distinguished_by_their_use(name: str) -> None:
    graph, expected = MASKED[name]
    assert addresses(graph) == expected | {"prefix": ["9.filename_prefix"]}


def changed(graph: dict[str, Any], node_id: str, **inputs: Any) -> dict[str, Any]:
    result = copy.deepcopy(graph)
    result[node_id]["inputs"] |= inputs
    return result


def test_a_text_used_for_both_sides_is_only_the_prompt() -> None:
    graph = changed(SHIPPED["txt2img-sd15"], "3", negative=["20", 0])
    graph["20"] = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}}
    found = addresses(graph)
    assert found["prompt"] == ["6.text"]
    assert "negative" not in found


def test_zeroing_a_controlnet_output_follows_the_slot_not_the_side() -> None:
    graph = changed(FILES["controlnet"], "11", negative=["20", 0])
    graph["20"] = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["8", 0]}}
    assert "negative" not in addresses(graph)


def combined() -> dict[str, Any]:
    graph = changed(SHIPPED["txt2img-sd15"], "3", positive=["20", 0])
    graph["20"] = {
        "class_type": "ConditioningCombine",
        "inputs": {"conditioning_1": ["6", 0], "conditioning_2": ["21", 0]},
    }
    graph["21"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "another", "clip": ["4", 1]}}
    return graph


def test_combined_texts_are_candidates_unless_they_are_equal() -> None:
    graph = combined()
    graph["6"]["_meta"] = {"title": "One"}
    assert "prompt" not in addresses(graph)
    assert [target.address for target in find_candidates(graph)["prompt"]] == ["6.text", "21.text"]
    graph["21"]["inputs"]["text"] = graph["6"]["inputs"]["text"]
    assert addresses(graph)["prompt"] == ["6.text", "21.text"]
    assert "prompt" not in find_candidates(graph)


def test_of_combined_texts_the_one_titled_so_is_the_prompt() -> None:
    graph = combined()
    graph["6"]["_meta"] = {"title": "CLIP Text Encode (Prompt)"}
    graph["21"]["_meta"] = {"title": "Positive Prompt"}
    assert addresses(graph)["prompt"] == ["21.text"]


def test_of_combined_texts_the_one_for_the_whole_image_is_the_prompt() -> None:
    graph = combined()
    graph["6"]["_meta"] = {"title": "One"}
    graph["20"]["inputs"]["conditioning_1"] = ["22", 0]
    graph["22"] = {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["6", 0], "width": 64}}
    assert addresses(graph)["prompt"] == ["21.text"]


def test_a_refiner_with_one_text_input_follows_a_base_of_the_same_kind() -> None:
    graph = copy.deepcopy(FILES["refiner"])
    for node_id in ("3", "4"):
        graph[node_id] = {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": graph[node_id]["inputs"]["text_g"], "clip": ["1", 1]},
        }
    assert addresses(graph)["prompt"] == ["3.text", "5.text"]
    assert addresses(graph)["negative"] == ["4.text", "6.text"]


def test_samplers_that_lead_to_no_save_node_do_not_count() -> None:
    graph = copy.deepcopy(SHIPPED["txt2img-sd15"])
    stray = copy.deepcopy(graph["3"])
    assert addresses({"0": stray, **graph}) == TEXT_TO_IMAGE


def test_several_free_texts_without_a_sampler_are_not_guessed() -> None:
    graph = copy.deepcopy(SHIPPED["smoke"])
    graph["20"] = copy.deepcopy(graph["4"])
    graph["21"] = {"class_type": "PreviewAny", "inputs": {"source": ["20", 0]}}
    assert "prompt" not in addresses(graph)
    assert addresses(graph, prompt="20.string")["prompt"] == ["20.string"]


def test_a_resized_image_sets_the_size_and_a_repeated_latent_the_batch() -> None:
    graph = changed(SHIPPED["img2img"], "5", pixels=["20", 0])
    graph["20"] = {"class_type": "ImageScale", "inputs": {"image": ["10", 0], "width": 640, "height": 480, "crop": "x"}}
    graph["21"] = {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["5", 0], "amount": 2}}
    found = addresses(changed(graph, "3", latent_image=["21", 0]))
    assert [found[name] for name in ("width", "height", "batch_size")] == [["20.width"], ["20.height"], ["21.amount"]]
    assert found["image"] == ["10.image"]


def test_overrides_replace_add_and_take_several_addresses() -> None:
    found = addresses(
        FILES["hires"], steps="3.steps, 18.steps", denoise="18.denoise", prompt="title=Negative Prompt.text"
    )
    assert found["steps"] == ["3.steps", "18.steps"]
    assert found["denoise"] == ["18.denoise"]
    assert found["prompt"] == ["98:7.text"]
    assert found["seed"] == ["3.seed", "18.seed"]


def test_an_address_with_a_comma_in_its_title_is_one_address() -> None:
    graph = copy.deepcopy(SHIPPED["smoke"])
    graph["4"]["_meta"]["title"] = "Prompt, first"
    assert addresses(graph, prompt="title=Prompt, first.string")["prompt"] == ["4.string"]


def test_a_wrong_override_names_the_binding() -> None:
    with pytest.raises(TemplateError, match=r"binding 'seed'.*no input 'sead'.*'seed'"):
        find_bindings(SHIPPED["smoke"], {"seed": "2.sead"})


def renumbered(graph: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    def moved(value: Any) -> Any:
        return [ids.get(value[0], value[0]), value[1]] if isinstance(value, list) else value

    return {
        ids[node_id]: node | {"inputs": {name: moved(value) for name, value in node["inputs"].items()}}
        for node_id, node in graph.items()
    }


@settings(deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(ALL)))
def test_renumbering_the_nodes_only_renumbers_the_bindings(data: st.DataObject, name: str) -> None:
    graph = ALL[name]
    fresh = data.draw(
        st.lists(st.text("0123456789:abZ_.", min_size=1), min_size=len(graph), max_size=len(graph), unique=True)
    )
    ids = dict(zip(graph, fresh, strict=True))
    moved = renumbered(graph, ids)
    before, after = find_bindings(graph), find_bindings(moved)
    assert after == {
        name: tuple(Target(ids[target.node_id], target.input_name) for target in targets)
        for name, targets in before.items()
    }
    values = dict.fromkeys(before, 7)
    assert bind(moved, after, values) == renumbered(bind(graph, before, values), ids)


@pytest.mark.parametrize("name", sorted(SHIPPED | FILES))
def test_binding_sets_its_targets_and_nothing_else(name: str) -> None:
    graph = ALL[name]
    original = copy.deepcopy(graph)
    bindings = find_bindings(graph)
    bound = bind(graph, bindings, dict.fromkeys(bindings, 11))
    assert graph == original
    targets = {target for found in bindings.values() for target in found}
    for node_id, node in bound.items():
        for input_name, value in node["inputs"].items():
            if Target(node_id, input_name) in targets:
                existing = graph[node_id]["inputs"][input_name]
                assert value == ("11" if isinstance(existing, str) else 11)
                assert type(value) is type(existing)
            else:
                assert value == graph[node_id]["inputs"][input_name]


@pytest.mark.parametrize(
    ("existing", "given_value", "bound"),
    [
        (20, "7", 7),
        (20, 7.0, 7),
        (20, 2**64 - 1, 2**64 - 1),
        (7.5, 8, 8.0),
        (7.5, "6.25", 6.25),
        ("a", 7, "7"),
        (True, "false", False),
        (["2", 0], "text", "text"),
        (["2", 0], 5, 5),
    ],
)
def test_a_value_is_converted_to_the_type_that_it_replaces(existing: Any, given_value: Any, bound: Any) -> None:
    graph = {"1": {"class_type": "A", "inputs": {"steps_or_so": existing}}}
    result = bind(graph, {"x": (Target("1", "steps_or_so"),)}, {"x": given_value})
    value = result["1"]["inputs"]["steps_or_so"]
    assert value == bound
    assert type(value) is type(bound)


def test_only_integer_inputs_refuse_a_fraction() -> None:
    graph = changed(SHIPPED["txt2img-sd15"], "3", cfg=7)
    bindings = find_bindings(graph)
    assert bind(graph, bindings, {"cfg": 7.5})["3"]["inputs"]["cfg"] == 7.5
    with pytest.raises(
        TemplateError, match=r"'steps': input \"steps\" of node 3 \(KSampler \"Sampler\"\): expected a whole number"
    ):
        bind(graph, bindings, {"steps": 7.5})


@pytest.mark.parametrize(
    ("existing", "given_value"),
    [(20, "many"), (20, True), (7.5, "inf"), (7.5, float("nan")), ("a", None), ("a", ["4", 0]), ("a", True), (True, 2)],
)
def test_a_value_of_the_wrong_type_is_refused(existing: Any, given_value: Any) -> None:
    graph = {"1": {"class_type": "A", "inputs": {"x": existing}}}
    with pytest.raises(TemplateError, match="'name': input \"x\" of node 1"):
        bind(graph, {"name": (Target("1", "x"),)}, {"name": given_value})


def test_an_unknown_name_lists_the_available_ones() -> None:
    graph = SHIPPED["smoke"]
    with pytest.raises(
        TemplateError, match=r"no binding 'cfg' \(available: prompt, seed.*bindings={'cfg': 'NODE.INPUT'}"
    ):
        bind(graph, find_bindings(graph), {"cfg": 7})


def test_touched_nodes_are_those_of_the_names_given() -> None:
    graph = FILES["hires"]
    bindings = find_bindings(graph)
    assert touched_nodes(graph, bindings, ["seed", "prompt", "unknown"]) == {"3", "18", "98:6"}
    assert touched_nodes(graph, bindings, ["prompt", "17.width", "class=VAEDecode.vae"]) == {"98:6", "17", "19"}


@pytest.mark.parametrize("address", ["18.steps", "title=Second Pass.steps", "18.steps, 3.steps"])
def test_an_address_is_a_name_too(address: str) -> None:
    graph = changed(FILES["hires"], "18")
    graph["18"]["_meta"] = {"title": "Second Pass"}
    bound = bind(graph, find_bindings(graph), {address: "7", "cfg": 3})
    assert bound["18"]["inputs"]["steps"] == 7
    assert bound["3"]["inputs"]["steps"] == (7 if "," in address else 20)
    assert bound["18"]["inputs"]["cfg"] == 3


@pytest.mark.parametrize("values", [{"3.steps": 9, "steps": 5}, {"steps": 5, "3.steps": 9}])
def test_an_address_takes_precedence_over_a_name(values: dict[str, int]) -> None:
    graph = SHIPPED["txt2img-sd15"]
    assert bind(graph, find_bindings(graph), values)["3"]["inputs"]["steps"] == 9


def test_a_bound_name_with_a_dot_is_not_an_address() -> None:
    graph = SHIPPED["txt2img-sd15"]
    bindings = {"3.steps": (Target("3", "cfg"),)}
    bound = bind(graph, bindings, {"3.steps": 4})
    assert (bound["3"]["inputs"]["cfg"], bound["3"]["inputs"]["steps"]) == (4.0, graph["3"]["inputs"]["steps"])


def test_a_wrong_address_suggests_the_closest_input() -> None:
    graph = SHIPPED["txt2img-sd15"]
    with pytest.raises(TemplateError, match=r"'3.stepz'.*did you mean 'steps'"):
        bind(graph, find_bindings(graph), {"3.stepz": 9})


def test_the_strengths_of_every_bound_lora_are_bound() -> None:
    """Both strengths of the face LoRA, not those of the style LoRA; also those of a second node with the same LoRA."""
    graph = copy.deepcopy(FILES["hires"])
    assert addresses(graph)["lora_strength"] == ["12.strength_model", "12.strength_clip"]
    graph["11"]["inputs"]["lora_name"] = graph["12"]["inputs"]["lora_name"]
    assert addresses(graph)["lora_strength"] == [
        f"{node_id}.{name}" for node_id in ("12", "11") for name in ("strength_model", "strength_clip")
    ]


def test_all_detected_names_are_known() -> None:
    found = {name for graph in ALL.values() for name in find_bindings(graph)}
    assert found == set(NAMES) - {"video", "audio"}
