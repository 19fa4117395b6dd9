"""What is read from `/object_info`, in the shapes of ComfyUI 0.3.64 and 0.33.0."""

from __future__ import annotations

from typing import Any

import pytest

from templates.catalogue import ANY, COMBO, DYNAMIC_COMBO, MATCH_TYPE, NodeClass, NodeInput, NodeOutput, read_catalogue

OLD: dict[str, Any] = {
    "input": {
        "required": {
            "cfg": ["FLOAT", {"default": 8.0}],
            "model": ["MODEL"],
            "sampler_name": [["euler", "heun"], {"tooltip": "…"}],
            "seed": ["INT", {"control_after_generate": True, "default": 0}],
        },
        "optional": {"image": [["a.png"], {"image_upload": True}], "text": ["STRING", {"dynamicPrompts": True}]},
        "hidden": {"prompt": "PROMPT"},
    },
    "input_order": {"required": ["model", "seed", "cfg", "sampler_name"], "optional": ["image", "text"]},
    "output": ["LATENT", ["euler", "heun"]],
    "output_is_list": [False, True],
    "output_name": ["LATENT", "sampler"],
    "name": "Old",
    "display_name": "An old one",
    "python_module": "custom_nodes.some-pack.nodes",
    "output_node": True,
    "deprecated": True,
}
NEW: dict[str, Any] = {
    "input": {
        "required": {
            "style": [
                "COMFY_DYNAMICCOMBO_V3",
                {
                    "options": [
                        {"key": "none", "inputs": {"required": {}}},
                        {
                            "key": "photo",
                            "inputs": {
                                "required": {"lens": ["STRING", {"default": "35mm"}]},
                                "optional": {"look": ["COMBO", {"options": ["warm", "cold"]}]},
                            },
                        },
                    ]
                },
            ],
            "images": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"required": {"image": ["IMAGE", {}]}}, "min": 1, "max": 3, "prefix": "image"}},
            ],
            "values": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"required": {"value": ["FLOAT,INT", {}]}}, "min": 0, "names": ["a", "b"]}},
            ],
            "file": ["COMBO", {"multiselect": False, "options": [], "video_upload": True}],
            "remote": ["COMBO", {"remote": {"route": "/models/loras"}}],
        }
    },
    "output": ["COMFY_MATCHTYPE_V3"],
    "output_name": [None],
    "python_module": "comfy_extras.nodes_logic",
    "output_node": False,
    "api_node": False,
    "is_input_list": True,
}


def read(info: dict[str, Any]) -> NodeClass:
    return read_catalogue({"Any": info})["Any"]


def inputs(info: dict[str, Any]) -> dict[str, NodeInput]:
    return {each.name: each for each in read(info).all_inputs()}


def named(info: dict[str, Any]) -> list[str]:
    return [each.name for each in read(info).inputs]


def test_the_inputs_are_in_the_order_of_the_class_although_the_answer_sorts_them() -> None:
    assert named(OLD) == ["model", "seed", "cfg", "sampler_name", "image", "text"]
    assert named({**OLD, "input_order": None}) == ["cfg", "model", "sampler_name", "seed", "image", "text"]
    assert named({**OLD, "input_order": {"required": ["seed", "gone"]}})[:2] == ["seed", "cfg"]


def test_flags_of_inputs() -> None:
    found = inputs(OLD)
    assert [name for name, each in found.items() if each.control_after_generate] == ["seed"]
    assert [name for name, each in found.items() if each.dynamic_prompts] == ["text"]
    assert [(name, each.upload) for name, each in found.items() if each.upload] == [("image", "image")]
    assert [name for name, each in found.items() if not each.required] == ["image", "text"]
    assert (found["seed"].default, found["model"].default) == (0, None)
    assert (found["sampler_name"].type, found["sampler_name"].values) == (COMBO, ("euler", "heun"))


def test_what_a_class_says_of_itself() -> None:
    found = read(OLD)
    assert found.outputs == (NodeOutput("LATENT", "LATENT"), NodeOutput("sampler", COMBO, is_list=True))
    assert (found.display_name, found.output_node, found.custom_node) == ("An old one", True, "some-pack")
    assert (found.flags, found.input_is_list, found.newer) == ({"deprecated"}, False, False)
    assert read({**OLD, "has_intermediate_output": False}).newer


def test_the_newer_schema_with_sub_inputs_named_as_the_graph_names_them() -> None:
    found = inputs(NEW)
    assert list(found) == [
        "style", "style.lens", "style.look",
        "images", "images.image0", "images.image1", "images.image2",
        "values", "values.a", "values.b",
        "file", "remote",
    ]  # fmt: skip
    assert (found["style"].type, set(found["style"].branches)) == (DYNAMIC_COMBO, {"none", "photo"})
    look = NodeInput("style.look", COMBO, False, {"options": ["warm", "cold"]}, values=("warm", "cold"))
    assert found["style.look"] == read(NEW).input("style.look") == look
    assert found["values.b"].types == {"FLOAT", "INT"}
    assert read(NEW).input("style.gone") is None


def test_a_class_of_the_newer_schema() -> None:
    found = read(NEW)
    assert (found.input_is_list, found.custom_node, found.flags) == (True, None, frozenset())
    assert found.outputs == (NodeOutput(MATCH_TYPE, MATCH_TYPE),)


def test_the_first_of_a_group_are_required_as_its_template_says() -> None:
    found = inputs(NEW)
    assert [each.required for each in found["images"].members] == [True, False, False]
    assert [each.required for each in found["values"].members] == [False, False]


def test_choices_that_the_server_does_not_list_are_unknown_and_an_empty_list_is_empty() -> None:
    found = inputs(NEW)
    assert (found["file"].values, found["file"].upload) == ((), "video")
    assert found["remote"].values is None


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"input": None, "output": None},
        {"input": {"required": ["a"], "optional": {"x": [], "y": "INT", "z": [{}], "w": [["a"], 3]}}},
        {"input": {"required": {"g": ["COMFY_AUTOGROW_V3", {}], "d": ["COMFY_DYNAMICCOMBO_V3", {"options": [1]}]}}},
        {"input": {"required": {"g": ["COMFY_AUTOGROW_V3", {"template": {"prefix": "i", "max": "many"}}]}}},
        {"output": [ANY, 3, None], "output_name": "x", "output_is_list": [True]},
    ],
)
def test_an_entry_of_an_unknown_shape_costs_nothing_but_itself(info: dict[str, Any]) -> None:
    assert read_catalogue({"Odd": info, "None": None, "Old": OLD}).keys() == {"Odd", "Old"}
