"""Custom nodes whose widgets are made in the browser: converted as their editor queues them, or refused, never wrong.

The graphs are ours, in the shapes that people's files have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.ui_files import MUTED, UiFile

from orchestrator.errors import TemplateError
from templates.catalogue import read_catalogue
from templates.ui import convert

_DATA = Path(__file__).parent.parent / "data/ui_format"
_OWN = json.loads((_DATA / "0.33.0.json").read_text())["classes"]
_HEADER = {"type": "PowerLoraLoaderHeaderWidget"}


def _class(name: str, inputs: dict[str, Any], *outputs: str, **more: Any) -> dict[str, Any]:
    return {name: {"input": inputs, "output": list(outputs), "python_module": "custom_nodes.rgthree-comfy", **more}}


CLASSES = (
    _OWN
    | _class("Power Lora Loader (rgthree)", {"required": {}, "optional": {}, "hidden": {}}, "MODEL", "CLIP")
    | _class("Seed (rgthree)", {"required": {"seed": ["INT", {"default": 0, "min": -9, "max": 2**50}]}}, "INT")
    | _class("Any Switch (rgthree)", {"required": {}, "optional": {}}, "*")
    | _class("Image Comparer (rgthree)", {"required": {}, "optional": {"image_a": ["IMAGE"]}}, output_node=True)
    | _class("Power Puter (rgthree)", {"required": {}, "optional": {}}, "*")
    | _class("ShowText", {"required": {"text": ["STRING", {"forceInput": True}]}}, "STRING", output_node=True)
    | _class("Keep", {"required": {"text": ["STRING", {"forceInput": True}]}}, "STRING", output_node=True)
    | _class("ShowMade", {"required": {"text": ["STRING", {"forceInput": True}]}}, "STRING")
)


def converted(f: UiFile) -> dict[str, Any]:
    return convert(f.document(), read_catalogue(CLASSES), where="w.json")


def refusal(f: UiFile) -> str:
    with pytest.raises(TemplateError) as caught:
        converted(f)
    return str(caught.value)


def inputs(kind: str, *values: Any, **more: Any) -> dict[str, Any]:
    f = UiFile()
    f.node(kind, *values, outputs=["MODEL", "CLIP"], **more)
    found: dict[str, Any] = converted(f)["1"]["inputs"]
    return found


def refused(kind: str, *values: Any, **more: Any) -> str:
    f = UiFile()
    f.node(kind, *values, outputs=["MODEL", "CLIP"], **more)
    return refusal(f)


def lora(name: str | None, strength: float = 1, *, on: bool = True, clip: float | None = None) -> dict[str, Any]:
    return {"on": on, "lora": name, "strength": strength, "strengthTwo": clip}


def test_power_loras_are_numbered_as_the_editor_does() -> None:
    f = UiFile()
    loader = f.node("CheckpointLoaderSimple", "m.safetensors", outputs=["MODEL", "CLIP", "VAE"])
    values = [{}, _HEADER, lora("a.safetensors", 0.8), lora("b/c.safetensors", on=False), lora(None), {}, ""]
    loras = f.node("Power Lora Loader (rgthree)", *values, outputs=["MODEL", "CLIP"], title="Styles")
    f.link(loader, 0, loras, "model", "MODEL")
    f.link(loader, 1, loras, "clip", "CLIP")
    text = f.node("CLIPTextEncode", "a cat", outputs=["CONDITIONING"])
    f.link(loras, 1, text, "clip", "CLIP")
    graph = converted(f)
    assert graph["2"]["inputs"] == {
        "PowerLoraLoaderHeaderWidget": _HEADER,
        "lora_1": {"on": True, "lora": "a.safetensors", "strength": 0.8},
        "lora_2": {"on": False, "lora": "b/c.safetensors", "strength": 1},
        "lora_3": {"on": True, "lora": None, "strength": 1},
        "➕ Add Lora": "",
        "model": ["1", 0],
        "clip": ["1", 1],
    }
    assert graph["3"]["inputs"]["clip"] == ["2", 1]


def test_a_strength_for_clip_is_sent_where_the_node_shows_it() -> None:
    values = [None, _HEADER, lora("a.safetensors", 0.8, clip=0.5), lora("b.safetensors"), None, ""]
    both = {"Show Strengths": "Separate Model & Clip"}
    found = inputs("Power Lora Loader (rgthree)", *values, properties=both)
    assert found["lora_1"] == {"on": True, "lora": "a.safetensors", "strength": 0.8, "strengthTwo": 0.5}
    assert found["lora_2"] == {"on": True, "lora": "b.safetensors", "strength": 1, "strengthTwo": 1}
    single = inputs("Power Lora Loader (rgthree)", *values, properties={"Show Strengths": "Single Strength"})
    assert single["lora_1"] == {"on": True, "lora": "a.safetensors", "strength": 0.8}


def test_one_without_loras() -> None:
    found = inputs("Power Lora Loader (rgthree)", {}, _HEADER, {}, "")
    assert found == {"PowerLoraLoaderHeaderWidget": _HEADER, "➕ Add Lora": ""}


@pytest.mark.parametrize(
    "value",
    [
        {"on": True, "lora": "a.safetensors", "strength": "0.8"},
        {"on": "yes", "lora": "a.safetensors", "strength": 1},
        {"on": True, "lora": "a.safetensors"},
        {"on": True, "lora": ["a.safetensors"], "strength": 1},
        {"on": True, "lora": "a.safetensors", "strength": 1, "blocks": "1-3"},
        {"type": "SomethingNewer"},
        "a.safetensors",
        0.8,
    ],
)
def test_a_lora_of_another_shape_is_refused(value: Any) -> None:
    said = refused("Power Lora Loader (rgthree)", {}, _HEADER, value, {}, "", title="Styles")
    assert said.startswith('w.json: node 1 (Power Lora Loader (rgthree) "Styles"): ')
    assert said.endswith("is not what this class is known to keep; export the API format in ComfyUI")


@pytest.mark.parametrize("rest", [["", "", ""], [None, None, None], ["", "", "last: 7"], []])
@pytest.mark.parametrize("seed", [0, 470193541057076, -1])
def test_a_seed_with_buttons(seed: int, rest: list[Any]) -> None:
    """A seed of -1 is one at random: the node draws it on the server, as in the editor."""
    assert inputs("Seed (rgthree)", seed, *rest) == {"seed": seed}


@pytest.mark.parametrize(("seed", "said"), [(-2, "counts up from"), (-3, "counts down from")])
def test_a_seed_that_counts_on_from_the_editors_last_one_is_refused(seed: int, said: str) -> None:
    found = refused("Seed (rgthree)", seed, "", "", "")
    assert f"node 1 (Seed (rgthree)): its seed {seed} {said} the editor's last one, which no file has; set" in found


@pytest.mark.parametrize("values", [["x", "", "", ""], [7, 8], [True], [[7]], [1.5]])
def test_a_seed_of_another_shape_is_refused(values: list[Any]) -> None:
    assert "is not what this class is known to keep" in refused("Seed (rgthree)", *values)


def test_a_switch_has_the_inputs_that_the_file_has_and_no_muted_one() -> None:
    f = UiFile()
    first, second, third = f.picture(mode=MUTED), f.picture(), f.picture()
    switch = f.node("Any Switch (rgthree)", outputs=["IMAGE"])
    for number, picture in enumerate((first, second, third), 1):
        f.link(picture, 0, switch, f"any_0{number}", "IMAGE")
    f.nodes[-1]["inputs"].append({"name": "any_04", "type": "IMAGE", "link": None})
    f.save(switch)
    graph = converted(f)
    assert graph["4"]["inputs"] == {"any_02": ["2", 0], "any_03": ["3", 0]}
    assert graph["5"]["inputs"]["images"] == ["4", 0]


@pytest.mark.parametrize("shown", [[[]], [[{"name": "A", "selected": True, "url": "/view?x"}]], [], [None], [""]])
def test_what_a_comparer_has_shown_is_not_sent(shown: list[Any]) -> None:
    f = UiFile()
    comparer = f.node("Image Comparer (rgthree)", *shown)
    f.link(f.picture(), 0, comparer, "image_a", "IMAGE")
    assert converted(f)["1"]["inputs"] == {"image_a": ["2", 0]}


@pytest.mark.parametrize(
    "kind", ["Fast Groups Muter (rgthree)", "Fast Groups Bypasser (rgthree)", "Fast Muter (rgthree)", "Label (rgthree)"]
)
def test_what_switches_groups_is_not_sent_and_what_it_switched_off_stays_off(kind: str) -> None:
    f = UiFile()
    on, off = f.picture(), f.picture(mode=MUTED)
    switcher = f.node(kind, True, False, outputs=["*"], properties={"matchTitle": "", "toggleRestriction": "default"})
    f.link(on, 0, switcher, "on", "IMAGE")
    f.link(off, 0, switcher, "off", "IMAGE")
    f.save(on)
    assert sorted(converted(f)) == ["1", "4"]


def test_what_a_node_makes_in_the_browser_alone_is_refused_with_what_to_do() -> None:
    said = refused("Power Puter (rgthree)", {"outputs": ["STRING"]}, "a + 1", title="Sum")
    assert said == (
        'w.json: node 1 (Power Puter (rgthree) "Sum"): it has 2 more values than the class has widgets; its custom '
        "node makes some in the browser, which the server does not describe, or the file is of another version of "
        "this class; export the API format in ComfyUI"
    )


@pytest.mark.parametrize("shown", [["a cat"], [["a cat", "two"]], ["a", "", None], [[]]])
def test_a_text_that_a_node_shows_is_not_sent(shown: list[Any]) -> None:
    f = UiFile()
    show = f.node("ShowText", *shown, outputs=["STRING"])
    f.link(f.node("Power Puter (rgthree)", outputs=["STRING"]), 0, show, "text", "STRING", widget=False)
    assert converted(f)["1"]["inputs"] == {"text": ["2", 0]}


@pytest.mark.parametrize(
    ("kind", "values"),
    [("Keep", ["a", "b"]), ("ShowText", ["a", {}, 1]), ("ShowText", [7, 8]), ("ShowMade", ["a", "b"])],
)
def test_values_of_other_nodes_and_kinds_are_not_taken_for_shown_texts(kind: str, values: list[Any]) -> None:
    assert f"it has {len(values)} more values" in refused(kind, *values)


def test_a_class_of_the_same_name_that_is_not_a_custom_nodes_is_read_as_any_other() -> None:
    """The names are known for what rgthree's nodes are."""
    f = UiFile()
    f.node("Seed (rgthree)", 7, "fixed", outputs=["INT"])
    classes = CLASSES | {"Seed (rgthree)": {**CLASSES["Seed (rgthree)"], "python_module": "nodes"}}
    assert convert(f.document(), read_catalogue(classes), where="w.json")["1"]["inputs"] == {"seed": 7}
