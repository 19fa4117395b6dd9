"""Any workflow file, damaged or in the wrong format, gives a result or a TemplateError, never another exception."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.damaged_json import HUGE, JSON, LONE_SURROGATE, damaged, damaged_bytes, nested, part, places

from orchestrator.errors import TemplateError
from templates import (
    NAMES,
    Graph,
    Workflow,
    bind,
    check_against,
    check_offline,
    find_bindings,
    fingerprint,
    load_workflow,
    needs_exclusive_run,
    numbered_files,
    parse_graph,
    resolve,
    save_nodes,
    set_prefixes,
    shipped_workflows,
    splice_lora,
    touched_nodes,
)
from templates.graph import find_cycle

DATA = Path(__file__).parents[1] / "data" / "templates"
OBJECT_INFO: dict[str, Any] = json.loads((DATA / "object_info.json").read_text())
GRAPHS: dict[str, Graph] = {name: load_workflow(name).graph for name in shipped_workflows()}
GRAPHS |= {name: load_workflow(DATA / f"{name}.json").graph for name in ("controlnet", "flux", "hires", "refiner")}
EDITOR_FORMAT = {
    "last_node_id": 2,
    "last_link_id": 1,
    "nodes": [{"id": 1, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 1}], "outputs": []}],
    "links": [[1, 2, 0, 1, 0, "MODEL"]],
    "version": 0.4,
}
LARGEST_LISTED = 10_000
VALUES = JSON | st.sampled_from(
    [nested(400), nested(800), "9" * 400, "9" * 5000, "1e999", "nan", "-inf", " 7 ", "7.0", "٣"]
)


def attempt(what: Callable[[], Any]) -> Any:
    """The result, or None after a TemplateError, whose message must be printable."""
    try:
        return what()
    except TemplateError as error:
        message = str(error)
        assert message.encode()
        return None


def loaded(folder: Path, content: bytes) -> Graph | None:
    path = folder / "flow.json"
    path.write_bytes(content)
    workflow = attempt(lambda: load_workflow(path))
    return workflow and workflow.graph


def check_graph(graph: Graph, object_info: dict[str, Any], address: str) -> None:
    """Every function that is called with a graph before it is submitted."""
    posted = json.dumps(graph)
    bindings = find_bindings(graph)
    assert touched_nodes(graph, bindings, bindings) <= set(graph)
    found = [*check_offline(Workflow("w", None, graph), bindings), *check_against(graph, object_info)]
    assert all(finding.message.encode() for finding in found)
    assert set(needs_exclusive_run(graph)) <= {save.node_id for save in save_nodes(graph)}
    files = numbered_files(set_prefixes(graph, "ab"), "ab")
    assert files is None or len({(one.subfolder, one.name) for one in files}) == len(files)
    assert all((one.count or 0) <= LARGEST_LISTED for one in files or ())
    attempt(lambda: fingerprint(graph))
    attempt(lambda: splice_lora(graph, "a.pt"))
    attempt(lambda: resolve(graph, address))
    attempt(lambda: find_bindings(graph, {"mine": address}))
    assert json.dumps(graph) == posted


ADDRESSES = st.sampled_from(["3.seed", "title=Noise.seed", "class=KSampler.seed", "", ".", "=.", "a,b", "3.seed,3.x"])


@settings(suppress_health_check=[HealthCheck.data_too_large, HealthCheck.function_scoped_fixture])
@given(document=st.sampled_from(sorted(GRAPHS)).flatmap(lambda name: damaged(GRAPHS[name])), address=ADDRESSES)
@example(document=GRAPHS["smoke"] | {"9": {"class_type": "SaveImage", "inputs": {"images": ["2", 1e999]}}}, address="")
@example(document=GRAPHS["smoke"] | {"9": {"class_type": "A", "inputs": {"images": ["2", HUGE[-1]]}}}, address="")
@example(document={f"{LONE_SURROGATE}1": GRAPHS["smoke"]["3"]}, address="3.seed")
@example(document=GRAPHS["smoke"] | {"1": {"class_type": "EmptyImage", "inputs": {"batch_size": 2**63}}}, address="")
def test_damaged_templates(tmp_path: Path, document: Any, address: str) -> None:
    graph = loaded(tmp_path, json.dumps(document).encode())
    if graph is not None:
        check_graph(graph, OBJECT_INFO, address)
    graph = attempt(lambda: parse_graph(document, where="flow.json"))
    if graph is not None:
        find_bindings(graph)
        find_cycle(graph)


@given(name=st.sampled_from(sorted(GRAPHS)), data=st.data())
def test_object_info_may_be_damaged_too(name: str, data: st.DataObject) -> None:
    graph = GRAPHS[name]
    classes = {node["class_type"] for node in graph.values()}
    info = {class_type: OBJECT_INFO[class_type] for class_type in classes & set(OBJECT_INFO)}
    found = check_against(graph, data.draw(damaged(info)), folders=lambda folder: data.draw(st.none() | st.just(["a"])))
    assert all(finding.message.encode() for finding in found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from(sorted(GRAPHS)).flatmap(lambda name: damaged_bytes(json.dumps(GRAPHS[name]).encode()))
    | JSON.map(json.dumps).map(str.encode)
)
@example(content=json.dumps(EDITOR_FORMAT).encode())
@example(content=b'{"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 1e999]}}}')
@example(content=b'{"prompt": ' * 500 + b"{}" + b"}" * 500)
@example(content=b'{"1": {"class_type": "A", "inputs": {"x": ' + b"7" * 5000 + b"}}}")
def test_any_file(tmp_path: Path, content: bytes) -> None:
    graph = loaded(tmp_path, content)
    if graph is not None:
        check_graph(graph, OBJECT_INFO, "3.seed")


@given(document=damaged(EDITOR_FORMAT))
def test_the_editor_format_is_never_taken_for_a_graph(document: Any) -> None:
    graph = attempt(lambda: parse_graph(document, where="flow.json"))
    assert graph is None or "nodes" not in graph or not isinstance(graph["nodes"], list)


@given(name=st.sampled_from(sorted(GRAPHS)), values=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1))
@example(name="txt2img-sd15", values={"cfg": "9" * 400})
@example(name="txt2img-sd15", values={"cfg": HUGE[-1]})
@example(name="txt2img-sd15", values={"cfg": 10**5000})
def test_any_value_is_bound_as_valid_json_or_refused(name: str, values: dict[str, Any]) -> None:
    graph = GRAPHS[name]
    bindings = find_bindings(graph)
    bound = attempt(lambda: bind(graph, bindings, values))
    if bound is None:
        return
    assert json.loads(json.dumps(bound)) == bound
    numbers = [part(bound, place) for place in places(bound)]
    assert all(math.isfinite(number) for number in numbers if isinstance(number, float))
    touched = {(target.node_id, target.input_name) for key in values for target in bindings[key]}
    for node_id, node in bound.items():
        for input_name, value in node["inputs"].items():
            before = graph[node_id]["inputs"].get(input_name)
            assert value == before or (node_id, input_name) in touched
    assert attempt(lambda: fingerprint(bound)) is not None
    numbered_files(set_prefixes(bound, "ab"), "ab")


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_the_undamaged_graphs_are_accepted(name: str) -> None:
    """Otherwise the tests above would only see refusals."""
    check_graph(GRAPHS[name], OBJECT_INFO, "3.seed")
    assert attempt(lambda: fingerprint(GRAPHS[name])) is not None
