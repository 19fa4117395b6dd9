"""What changes a fingerprint, and what does not."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import TemplateError
from templates import fingerprint, former_fingerprint, load_workflow, save_nodes, set_prefixes, shipped_workflows

DATA = Path(__file__).parents[1] / "data" / "templates"
RECORDED: dict[str, Any] = json.loads((DATA / "recorded_graphs.json").read_text())
FILES = {name: load_workflow(DATA / f"{name}.json").graph for name in ("hires", "controlnet", "flux", "refiner")}
GRAPHS = {name: load_workflow(name).graph for name in shipped_workflows()} | FILES | RECORDED
SAVING = {name: graph for name, graph in GRAPHS.items() if save_nodes(graph)}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def renamed(graph: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    def moved(value: Any) -> Any:
        return [ids[value[0]], value[1]] if isinstance(value, list) else value

    return {
        ids[node_id]: {
            "class_type": one["class_type"],
            "inputs": {name: moved(value) for name, value in reversed(one["inputs"].items())},
            "_meta": {"title": f"title {node_id}"},
        }
        for node_id, one in graph.items()
    }


@settings(deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(SAVING)))
def test_ids_titles_order_and_prefixes_do_not_count(data: st.DataObject, name: str) -> None:
    graph = SAVING[name]
    fresh = data.draw(
        st.lists(st.text("0123456789:abc", min_size=1), min_size=len(graph), max_size=len(graph), unique=True)
    )
    shuffled = dict(data.draw(st.permutations(list(graph.items()))))
    other = renamed(shuffled, dict(zip(shuffled, fresh, strict=True)))
    assert fingerprint(other) == fingerprint(graph)
    assert fingerprint(set_prefixes(other, "some-prompt-id")) == fingerprint(graph)


def places(graph: dict[str, Any]) -> list[tuple[str, str]]:
    """Every input but prefixes, and what stands in viewers beside what is saved."""
    saves = save_nodes(graph)
    ignored = {(save.node_id, save.prefix_input) for save in saves}
    shown = {save.node_id for save in saves if save.temporary and not all(each.temporary for each in saves)}
    ignored |= {(n, i) for n in shown for i, value in graph[n]["inputs"].items() if not isinstance(value, list)}
    return [(n, i) for n, one in graph.items() for i in one["inputs"] if (n, i) not in ignored]


def altered(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [value[0], value[1] + 1]
    return value + 1 if isinstance(value, int | float) else f"{value}!"


@pytest.mark.parametrize("name", sorted(SAVING.keys() - {"submit missing input"}))
def test_every_other_input_counts(name: str) -> None:
    graph = SAVING[name]
    before = {fingerprint(graph)}
    for node_id, input_name in places(graph):
        changed = copy.deepcopy(graph)
        inputs = changed[node_id]["inputs"]
        inputs[input_name] = altered(inputs[input_name])
        before.add(fingerprint(changed))
    assert len(before) == len(places(graph)) + 1


def test_class_and_input_names_count() -> None:
    graph = {"1": node("SaveImage", images=["2", 0]), "2": node("A", x=1)}
    prints = {
        fingerprint(graph | {"2": other}) for other in (node("A", x=1), node("B", x=1), node("A", y=1), node("A"))
    }
    assert len(prints) == 4


def test_a_link_is_not_the_text_that_looks_like_one() -> None:
    linked = {"1": node("SaveImage", images=["2", 0]), "2": node("A", x=1)}
    texts = {"1": node("SaveImage", images="2"), "2": node("A", x=1)}
    numbers = {"1": node("SaveImage", images=["2", 0], x=True), "2": node("A", x=1)}
    others = {"1": node("SaveImage", images=["2", 0], x=1), "2": node("A", x=1)}
    assert len({fingerprint(graph) for graph in (linked, texts, numbers, others)}) == 4


def test_7_and_7_0_are_equal() -> None:
    assert fingerprint({"1": node("SaveImage", x=7)}) == fingerprint({"1": node("SaveImage", x=7.0)})
    assert fingerprint({"1": node("SaveImage", x={"y": [7]})}) == fingerprint({"1": node("SaveImage", x={"y": [7.0]})})
    assert fingerprint({"1": node("SaveImage", x=7)}) != fingerprint({"1": node("SaveImage", x=7.5)})


def test_two_equal_branches_count_twice_and_order_does_not_matter() -> None:
    one = {"1": node("EmptyImage", color=1), "2": node("SaveImage", images=["1", 0])}
    twice = one | {"3": node("EmptyImage", color=1), "4": node("SaveImage", images=["3", 0])}
    shared = one | {"4": node("SaveImage", images=["1", 0])}
    assert fingerprint(one) != fingerprint(twice)
    assert fingerprint(shared) == fingerprint(twice)


def test_nodes_that_no_save_node_depends_on_do_not_count() -> None:
    graph = GRAPHS["txt2img-sd15"]
    stray = {"50": node("CLIPTextEncode", text="note"), "51": node("ConditioningZeroOut", conditioning=["50", 0])}
    assert fingerprint(graph | stray) == fingerprint(graph)
    assert fingerprint(graph | {"52": node("PreviewImage", images=["8", 0])}) == fingerprint(graph)


SAVED: dict[str, Any] = {
    "1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
}
RECORDED_BEFORE = {
    "b7c529066037e0374ef60af1eceb6693ac59321dc490c2d95a3cee6ed4800ec4": {},
    "967b90b91725c537a15fcd7135e62df66025ab4d19b1e338b87113d4f603f6a0": {"10": node("PreviewAny", source=["1", 0])},
    "81ff72f85f0be49d6e36b5ed9496abf6e806f1574016758ef3884339c7445545": {
        "10": node("ShowText|pysssss", text=["1", 0], text_0="kept")
    },
    "3d4e511c0c75a20be9843970b4cc0f962c5a5327bdd903566dde52278cd42668": {"10": node("Note Plus (mtb)", text="first")},
}
"""Fingerprints in states of bursts that counted viewers and loose ends, and what stood beside the save node."""


@pytest.mark.parametrize("recorded", RECORDED_BEFORE)
def test_recorded_fingerprints_stay_valid(recorded: str) -> None:
    assert former_fingerprint(SAVED | RECORDED_BEFORE[recorded]) == recorded


def test_a_note_does_not_count_where_it_is_known_to_be_one() -> None:
    first, second = (SAVED | {"10": node("Note Plus (mtb)", text=text)} for text in ("first", "second"))
    assert fingerprint(first, loose_ends=["10"]) == fingerprint(second, loose_ends=["10"]) == fingerprint(SAVED)
    assert fingerprint(first) != fingerprint(second), "nothing says that it is one"


def test_what_stands_in_a_viewer_does_not_count_but_what_it_shows_does() -> None:
    def shown(kept: str, source: str = "1") -> dict[str, Any]:
        return SAVED | {"10": node("ShowText|pysssss", text=[source, 0], text_0=kept), "2": node("Text", text="a")}

    assert fingerprint(shown("a")) == fingerprint(shown("b"))
    assert fingerprint(shown("a")) != fingerprint(shown("a", source="2"))
    assert fingerprint(shown("a"), chosen=["10"]) != fingerprint(shown("b"), chosen=["10"]), "its text is an output"
    passed_on = SAVED | {"9": node("SaveImage", images=["1", 0], caption=["10", 0], filename_prefix="x")}
    kept = [passed_on | {"10": node("ShowText|pysssss", text=text)} for text in ("a", "b")]
    assert fingerprint(kept[0]) != fingerprint(kept[1]), "another node uses it"


def test_previews_count_if_nothing_else_is_saved() -> None:
    graph = {"1": node("EmptyImage", color=1), "2": node("PreviewImage", images=["1", 0])}
    assert fingerprint(graph) != fingerprint(graph | {"1": node("EmptyImage", color=2)})


def test_a_cycle_and_a_graph_without_save_nodes_are_refused() -> None:
    cycle = {"1": node("SaveImage", images=["2", 0]), "2": node("A", x=["3", 0]), "3": node("B", x=["2", 0])}
    with pytest.raises(TemplateError, match=r"node 3 \(B\) depends on itself through its input 'x'"):
        fingerprint(cycle)
    with pytest.raises(TemplateError, match="node 1 "):
        fingerprint({"1": node("SaveImage", images=["1", 0])})
    with pytest.raises(TemplateError, match="no save node"):
        fingerprint({"1": node("EmptyImage")})


def test_a_diamond_of_many_layers_is_walked_once() -> None:
    graph = {str(n): node("Mix", a=[str(n - 1), 0], b=[str(n - 1), 1]) for n in range(1, 5000)}
    graph |= {"0": node("A", x=1), "end": node("SaveImage", images=["4999", 0])}
    started = time.thread_time()
    fingerprint(graph)
    assert time.thread_time() - started < 5
