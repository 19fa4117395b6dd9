"""Loading workflows, and addressing their inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import TemplateError
from templates import (
    check_against,
    check_offline,
    find_bindings,
    fingerprint,
    load_workflow,
    needs_exclusive_run,
    numbered_files,
    resolve,
    save_nodes,
    set_prefixes,
    shipped_workflows,
    touched_nodes,
)

DATA = Path(__file__).parents[1] / "data" / "templates"


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "flow.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_shipped_workflows_load_by_name() -> None:
    assert shipped_workflows() == [
        "img2img",
        "smoke",
        "smoke-image",
        "txt2img-sd15",
        "txt2img-sdxl",
        "upscale",
        "upscale-model",
    ]
    for name in shipped_workflows():
        workflow = load_workflow(name)
        assert (workflow.name, workflow.path) == (name, None)
        assert workflow.graph


def test_a_relative_path_starts_at_relative_to(tmp_path: Path) -> None:
    path = written(tmp_path, '{"1": {"class_type": "SaveImage", "inputs": {}}}')
    workflow = load_workflow("flow.json", relative_to=tmp_path)
    assert (workflow.name, workflow.path) == ("flow", path)
    assert load_workflow(path, relative_to=Path("/nowhere")).graph == workflow.graph


@pytest.mark.parametrize("body", ['{"prompt": %s, "client_id": "x"}', "\ufeff%s"])
def test_a_request_body_and_a_byte_order_mark_are_accepted(tmp_path: Path, body: str) -> None:
    graph = {"prompt": {"class_type": "SaveImage", "inputs": {}}}
    assert load_workflow(written(tmp_path, body % json.dumps(graph))).graph == graph


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1": {\n  oops', "not JSON at line 2, column 3"),
        (b"\x89PNG\r\n", "no workflow of ComfyUI is in this file"),
        (b"\xff\xd8\xff\xe0 JFIF", "not UTF-8 at byte 0; a workflow is a JSON file, or a PNG, WebP or video"),
        ("[]", "expected an object of nodes, got a list"),
        ('"text"', "got a string"),
        ("null", "got null"),
        ("{}", "the graph is empty"),
        ('{"prompt": {}}', 'in "prompt": the graph is empty'),
        ('{"nodes": [], "links": []}', r"Workflow → Export \(API\).*Dev mode"),
        ('{"prompt": {"nodes": [], "links": []}}', r"Workflow → Export \(API\)"),
        ('{"1": 7}', "node '1': expected an object, got a number"),
        ('{"1": {"inputs": {}}}', "node '1' has no \"class_type\""),
        ('{"1": {"class_type": 3, "inputs": {}}}', "node '1' has no \"class_type\""),
        ('{"1": {"class_type": "A"}}', "node '1' \\(A\\): expected an object for \"inputs\", got nothing"),
        ('{"1": {"class_type": "A", "inputs": []}}', "node '1' \\(A\\): expected an object for \"inputs\", got a list"),
        ('{"1": {"class_type": "A", "inputs": {"x": NaN}}}', "NaN is not a JSON number"),
        ('{"1": {"class_type": "A", "inputs": {}}, "1": {}}', "duplicate key '1'"),
        ("[" * 100_000, "nested too deeply"),
        ('{"1": ' + "9" * 5000 + "}", "flow.json"),
    ],
)
def test_each_kind_of_bad_file_has_its_message(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(TemplateError, match=message) as caught:
        load_workflow(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"smokee: No such file.*did you mean 'smoke'.*txt2img-sdxl"):
        load_workflow("smokee", relative_to=tmp_path)
    with pytest.raises(TemplateError, match="directory"):
        load_workflow(tmp_path)
    with pytest.raises(TemplateError, match="null"):
        load_workflow("a\0b")


GRAPH: dict[str, dict[str, Any]] = {
    "98:6": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a", "clip": ["4", 1]},
        "_meta": {"title": "Positive Prompt"},
    },
    "98:7": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "b", "clip": ["4", 1]},
        "_meta": {"title": "v1.5, old"},
    },
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "lora.name": "x", "name": "y"}},
    "3.lora": {"class_type": "Odd.Node", "inputs": {"strength": 1}, "_meta": "no object"},
}


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("98:6.text", ("98:6", "text")),
        ("title=Positive Prompt.text", ("98:6", "text")),
        ("title=v1.5, old.text", ("98:7", "text")),
        ("class=KSampler.seed", ("3", "seed")),
        ("class=Odd.Node.strength", ("3.lora", "strength")),
        ("3.lora.name", ("3", "lora.name")),
        ("3.lora.strength", ("3.lora", "strength")),
    ],
)
def test_an_address_finds_its_input(address: str, target: tuple[str, str]) -> None:
    assert resolve(GRAPH, address) == target


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("class=CLIPTextEncode.text", r"matches 2 inputs; use one of: 98:6.text \(Positive Prompt\), 98:7.text"),
        (
            "98:6.txt",
            r"98:6 \(CLIPTextEncode \"Positive Prompt\"\) has no input 'txt'; did you mean 'text'\? "
            r"available: text, clip",
        ),
        ("title=Positive Promt.text", r"matches no node; available: 98:6.text \(Positive Prompt\)"),
        ("class=KSamplr.seed", r"matches no node; available: 3.seed \(KSampler\)"),
        ("98:6", "matches no node .an address is NODE.INPUT"),
        ("", "matches no node"),
    ],
)
def test_an_address_that_matches_no_or_several_inputs_lists_them(address: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        resolve(GRAPH, address)


def test_a_long_list_is_truncated() -> None:
    graph = {str(n): {"class_type": "A", "inputs": {"x": 1}} for n in range(50)}
    with pytest.raises(TemplateError, match="and 38 more"):
        resolve(graph, "zzz.y")


names = st.sampled_from(
    [
        "seed",
        "noise_seed",
        "model",
        "positive",
        "negative",
        "latent_image",
        "images",
        "image",
        "filename_prefix",
        "text",
        "batch_size",
        "width",
        "samples",
        "guider",
        "sigmas",
        "noise",
        "lora_name",
        "amount",
        "format",
        "value",
    ]
)
classes = st.sampled_from(
    [
        "KSampler",
        "SaveImage",
        "EmptyLatentImage",
        "VAEDecode",
        "CLIPTextEncode",
        "LoraLoader",
        "RepeatLatentBatch",
        "PreviewAny",
        "LoadImage",
        "SaveVideo",
        "SamplerCustomAdvanced",
        "PrimitiveString",
        "Odd",
    ]
)
ids = st.sampled_from(["1", "2", "3", "98:6", "a_1", "nowhere"])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
link = st.tuples(ids, st.integers(-1, 3)).map(list)
nodes = st.fixed_dictionaries(
    {"class_type": classes, "inputs": st.dictionaries(names, link | link | junk, max_size=8)},
    optional={"_meta": st.fixed_dictionaries({"title": st.text(max_size=5)}) | junk},
)
documents = junk | st.dictionaries(ids, nodes, max_size=5) | st.dictionaries(ids, nodes | junk, max_size=4)
object_infos = st.dictionaries(
    classes,
    junk
    | st.fixed_dictionaries(
        {
            "input": junk
            | st.dictionaries(
                st.sampled_from(["required", "optional"]),
                st.dictionaries(names, junk | st.lists(st.sampled_from(["INT", "COMBO", "FLOAT", {"min": 1}, ["a"]]))),
            ),
            "output": junk,
        }
    ),
)


@settings(
    max_examples=settings.default.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(document=documents, object_info=object_infos, address=st.text(max_size=8))
def test_no_document_raises_anything_but_a_template_error(
    tmp_path: Path, document: Any, object_info: dict[str, Any], address: str
) -> None:
    path = written(tmp_path, json.dumps(document))
    try:
        workflow = load_workflow(path)
    except TemplateError:
        return
    graph = workflow.graph
    bindings = find_bindings(graph)
    assert touched_nodes(graph, bindings, bindings) <= set(graph)
    check_offline(workflow, bindings)
    check_against(graph, object_info)
    assert set(needs_exclusive_run(graph)) <= {save.node_id for save in save_nodes(graph)}
    numbered_files(set_prefixes(graph, "ab"), "ab")
    for attempt in (lambda: fingerprint(graph), lambda: resolve(graph, address)):
        try:
            attempt()
        except TemplateError:
            continue


@settings(
    max_examples=settings.default.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_raise_anything_but_a_template_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TemplateError):
        load_workflow(written(tmp_path, content))
