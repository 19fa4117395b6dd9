"""What the converter refuses, in words of what to do; and what it reads although the file is odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.ui_files import INNER, MUTED, OUTER, Subgraph, UiFile, text_to_image

from orchestrator.errors import TemplateError
from templates.catalogue import read_catalogue
from templates.ui import classes_in, convert, is_ui_workflow

_DATA = Path(__file__).parent.parent / "data/ui_format"
_CLASSES = json.loads((_DATA / "0.33.0.json").read_text())["classes"]
_OLD = json.loads((_DATA / "0.3.64.json").read_text())["classes"]


def own(name: str, required: dict[str, Any], *, module: str = "custom_nodes.pack", **more: Any) -> dict[str, Any]:
    """A class of a custom node that gives an image."""
    return {name: {"input": {"required": required}, "output": ["IMAGE"], "python_module": module, **more}}


def converted(document: dict[str, Any], extra: dict[str, Any] | None = None) -> dict[str, Any]:
    return convert(document, read_catalogue({**_CLASSES, **(extra or {})}), where="w.json")


def inputs_of(kind: str, *values: Any, extra: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The inputs of one node in the graph."""
    f = UiFile()
    f.save(f.node(kind, *values, outputs=["IMAGE"], **more))
    found: dict[str, Any] = converted(f.document(), extra)["1"]["inputs"]
    return found


def refusal(document: dict[str, Any], extra: dict[str, Any] | None = None) -> str:
    with pytest.raises(TemplateError) as caught:
        converted(document, extra)
    return str(caught.value)


def refused(kind: str, *values: Any, extra: dict[str, Any] | None = None, **more: Any) -> str:
    f = UiFile()
    f.save(f.node(kind, *values, outputs=["IMAGE"], **more))
    return refusal(f.document(), extra)


def test_a_class_that_the_server_lacks_is_named_with_title_and_custom_node() -> None:
    f = UiFile()
    f.save(f.node("FaceDetailer", 1, outputs=["IMAGE"], title="Faces", properties={"cnr_id": "comfyui-impact-pack"}))
    f.node("Other")
    assert refusal(f.document()) == (
        'w.json: node 1 (FaceDetailer "Faces"): the server has no such node class; install the custom node'
        " 'comfyui-impact-pack' and restart ComfyUI; neither has it Other"
    )
    assert classes_in(f.document(), where="w.json") == ["FaceDetailer", "SaveImage", "Other"]


def test_one_of_comfyuis_own_that_the_server_lacks_needs_an_update() -> None:
    said = refused("Future", properties={"cnr_id": "comfy-core", "ver": "9.9"})
    assert "update ComfyUI (the file was saved with 9.9)" in said


def test_a_muted_node_of_a_missing_class_costs_nothing() -> None:
    f = UiFile()
    f.save(f.picture())
    f.node("FaceDetailer", mode=MUTED)
    assert sorted(converted(f.document())) == ["1", "2"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("3f2b8a52-7a1c-4d53-9f6a-0123456789ab", "the file has no subgraph of this id"),
        ("workflow>upscale", "group nodes are not supported; in ComfyUI convert it to a subgraph"),
        ("Anything Everywhere", "it links other nodes without links in the file; export the API format"),
    ],
)
def test_nodes_that_are_no_class_of_any_server(kind: str, said: str) -> None:
    assert said in refused(kind)


def test_a_subgraph_that_holds_itself() -> None:
    s = Subgraph(OUTER, inputs=[], outputs=[])
    s.node(INNER)
    t = Subgraph(INNER, inputs=[], outputs=[])
    t.node(OUTER)
    f = UiFile()
    f.node(OUTER)
    assert "this subgraph holds itself; take it out" in refusal(f.document(s, t))


def test_the_place_of_a_node_in_a_subgraph_is_its_path() -> None:
    s = Subgraph(OUTER, inputs=[], outputs=[])
    s.node("Gone", id=41)
    f = UiFile()
    f.node(OUTER, id=7)
    assert refusal(f.document(s)).startswith("w.json: node 7:41 (Gone): ")


def test_links_in_a_circle_of_reroutes() -> None:
    f = UiFile()
    first, second = f.node("Reroute", outputs=["IMAGE"]), f.node("Reroute", outputs=["IMAGE"])
    f.link(first, 0, second, "", "*")
    f.link(second, 0, first, "", "*")
    f.save(first)
    assert "its links run in a circle" in refusal(f.document())


@pytest.mark.parametrize("lost", ["link", "node"])
def test_a_link_that_leads_nowhere(lost: str) -> None:
    document = text_to_image()
    if lost == "link":
        document["links"] = [link for link in document["links"] if link[1] != 4]
    else:
        document["nodes"] = [node for node in document["nodes"] if node["id"] != 4]
    assert "node 5 (KSampler): its input 'latent_image' has a link that leads nowhere" in refusal(document)


@pytest.mark.parametrize(("names", "said"), [((), "no Set node has the name 'x'"), (("x", "x"), "2 Set nodes have")])
def test_a_get_node_without_its_own_set_node(names: tuple[str, ...], said: str) -> None:
    f = UiFile()
    for name in names:
        f.link(f.picture(), 0, f.node("SetNode", name, outputs=["IMAGE"]), "IMAGE", "IMAGE")
    f.save(f.node("GetNode", "x", outputs=["IMAGE"]))
    assert said in refusal(f.document())


def test_values_that_stand_at_widgets_of_another_kind() -> None:
    assert "node 1 (EmptyImage): 'wide' stands where 'height' (INT) is" in refused("EmptyImage", 64, "wide", 1, 0)
    assert "another version of this class; open the file in this server's ComfyUI" in refused("EmptyImage", True)


def test_more_values_than_a_custom_nodes_class_has_widgets() -> None:
    extra = own("Loras", {"image": ["IMAGE"], "strength": ["FLOAT", {}]})
    said = refused("Loras", 0.5, {"on": True, "lora": "a.safetensors"}, {}, extra=extra)
    assert "it has 2 more values than the class has widgets" in said
    assert inputs_of("Loras", 0.5, "", None, extra=extra) == {"strength": 0.5}


def test_values_by_name_say_that_the_places_have_moved() -> None:
    extra = own("Grown", {"added": ["INT", {}], "steps": ["INT", {}], "more": ["INT", {}]})
    said = refused("Grown", 20, extra=extra, widgets_values_named={"steps": 20, "added": 1})
    assert "'added' would be 20 by place and is 1 by name" in said


def test_an_option_that_a_dynamic_choice_does_not_have() -> None:
    assert "'resize_type' has no option 'by hand'" in refused("ResizeImageMaskNode", "by hand", 3, "area")


def test_what_the_editor_makes_in_a_viewer_is_refused_only_where_it_is_used() -> None:
    extra = own("Camera", {"image": ["WEBCAM", {}]})
    assert "the editor makes 'image' in a viewer of its own; export the API format" in refused(
        "Camera", "", extra=extra
    )
    f = UiFile()
    f.save(f.picture())
    f.node("Camera", "", outputs=["IMAGE"])
    assert converted(f.document(), extra)["3"]["inputs"] == {"image": ""}


def test_values_as_an_object() -> None:
    extra = own("Video", {"rate": ["FLOAT", {"default": 8}], "name": ["STRING", {}], "loops": ["INT", {"default": 1}]})
    values = {"name": "clip", "rate": 24, "videopreview": {"hidden": False}}
    assert inputs_of("Video", extra=extra, widgets_values=values) == {"rate": 24, "name": "clip", "loops": 1}


def test_a_file_without_the_words_that_follow_a_seed() -> None:
    extra = own("Seeded", {"seed": ["INT", {}], "steps": ["INT", {}]}, module="nodes")
    for values in ((7, "fixed", 20), (7, False, 20), (7, 20)):
        assert inputs_of("Seeded", *values, extra=extra) == {"seed": 7, "steps": 20}, values


def test_words_after_an_input_that_has_none_on_this_server() -> None:
    extra = own("Plain", {"number": ["INT", {}], "steps": ["INT", {}]})
    assert inputs_of("Plain", 7, "randomize", 20, extra=extra) == {"number": 7, "steps": 20}


def test_a_control_that_is_named_by_the_server() -> None:
    extra = own("Named", {"n": ["INT", {"control_after_generate": "fixed"}], "steps": ["INT", {}]})
    assert inputs_of("Named", 7, "fixed", 20, extra=extra) == {"n": 7, "steps": 20}


def test_the_button_for_uploads_has_a_value_too() -> None:
    for kind in ("image", "video"):
        extra = own("Upload", {"file": [["a.png"], {f"{kind}_upload": True}]})
        assert inputs_of("Upload", "b.png", "image", extra=extra) == {"file": "b.png"}


def test_an_input_that_only_the_file_has_is_kept_if_it_is_linked() -> None:
    extra = own("Growing", {"image": ["IMAGE"]})
    f = UiFile()
    growing = f.node("Growing", outputs=["IMAGE"])
    f.link(f.picture(), 0, growing, "image_2", "IMAGE")
    assert converted(f.document(), extra)["1"]["inputs"] == {"image_2": ["2", 0]}


def test_a_value_kept_aside_for_an_input_of_a_subgraph_counts() -> None:
    s = Subgraph(OUTER, inputs=[("sigma", "FLOAT")], outputs=[("IMAGE", "IMAGE")])
    s.enter("sigma", s.node("ImageBlur", 3, 1.5, outputs=["IMAGE"]), "sigma")
    s.leave(10, 0, "IMAGE")
    aside = [{"originalEntry": ["-1", "sigma"], "reason": "missingSourceNode", "hostValue": 0.25}]
    f = UiFile()
    f.save(f.node(OUTER, 9.0, outputs=["IMAGE"], properties={"proxyWidgetErrorQuarantine": aside}))
    assert converted(f.document(s))["1:10"]["inputs"] == {"blur_radius": 3, "sigma": 0.25}


def test_what_goes_through_a_subgraph_untouched() -> None:
    s = Subgraph(OUTER, inputs=[("image", "IMAGE")], outputs=[("same", "IMAGE")])
    s.enter("image", -20, "same")
    f = UiFile()
    host = f.node(OUTER, outputs=["IMAGE"])
    f.link(f.picture(), 0, host, "image", "IMAGE")
    f.save(host)
    assert converted(f.document(s))["3"]["inputs"]["images"] == ["2", 0]


def test_ids_are_kept_for_a_server_whose_editor_keeps_them() -> None:
    s = Subgraph(OUTER, inputs=[], outputs=[("IMAGE", "IMAGE")], first=1)
    s.leave(s.picture(), 0, "IMAGE")
    f = UiFile()
    f.save(f.node(OUTER, outputs=["IMAGE"]))
    assert sorted(converted(f.document(s))) == ["1:3", "2"]
    assert sorted(convert(f.document(s), read_catalogue(_OLD), where="w.json")) == ["1:1", "2"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": [3]}, 'w.json: "nodes": expected a list of objects'),
        ({"nodes": [{"id": 1}]}, 'w.json: a node has no "id" or no "type"'),
        ({"nodes": [{"id": True, "type": "A"}]}, 'a node has no "id"'),
        ({"nodes": [{"id": 1, "type": "A"}, {"id": "1", "type": "B"}]}, "w.json: two nodes have the id 1"),
        ({"nodes": [{"id": 1, "type": "A", "inputs": {}}]}, 'node 1 (A): "inputs": expected a list of objects'),
        (
            {"nodes": [{"id": 1, "type": "A", "widgets_values": "x"}]},
            '"widgets_values" is neither a list nor an object',
        ),
        ({"links": [[1, 2]]}, "w.json: a link cannot be read: [1, 2]"),
        ({"links": [[1, 1, "x", 2, 0, "IMAGE"]]}, "a link cannot be read"),
        ({"links": [[1, 1, -1, 2, 0, "IMAGE"]]}, "a link cannot be read"),
        ({"links": ["x"]}, "a link cannot be read"),
        ({"definitions": {"subgraphs": {}}}, 'w.json: "definitions.subgraphs": expected a list of objects'),
        ({"definitions": {"subgraphs": [{"name": "Blur", "nodes": []}]}}, "subgraph 'Blur' has no \"id\""),
        ({"definitions": {"subgraphs": [{"id": "a", "nodes": [1]}]}}, "w.json, subgraph 'a': \"nodes\""),
    ],
)
def test_a_damaged_file_is_one_error(change: dict[str, Any], said: str) -> None:
    message = refusal({**text_to_image(), **change})
    assert said in message
    assert "ComfyUI" in message or "list of objects" in message


def test_odd_but_harmless_parts() -> None:
    document = text_to_image()
    document["links"] = [*document["links"], None, [99, 404, 0, 405, 0, "IMAGE"]]
    document["nodes"][6]["properties"] = None
    document["nodes"][6]["inputs"][0]["type"] = ["a", "b"]
    document["nodes"][3]["outputs"] = None
    del document["last_node_id"]
    document["definitions"] = None
    assert converted(document).keys() == {"1", "2", "3", "4", "5", "6", "7"}


def test_which_documents_are_ui_files() -> None:
    assert is_ui_workflow(text_to_image())
    assert not is_ui_workflow({"3": {"class_type": "KSampler", "inputs": {}}})
    assert not is_ui_workflow([])


def test_the_file_itself_is_not_changed() -> None:
    document = text_to_image()
    before = json.dumps(document)
    converted(document)
    assert json.dumps(document) == before
