"""The frozen list of graphs: each name sets the inputs that are right, none else; what is not certain is listed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import graphs_by_kind
from support.built_graphs import node, object_info, text_to_image
from support.graphs_by_kind import CASES

from templates import check_names, draw, find_bindings, find_candidates
from templates.catalogue import Catalogue, read_catalogue

CATALOGUE = read_catalogue(
    object_info({name: line for kind in graphs_by_kind.KINDS for name, line in kind.CLASSES.items()})
)


def spelled(found: dict[str, Any]) -> dict[str, str]:
    return {name: " ".join(target.address for target in targets) for name, targets in found.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_right_inputs_are_bound_by_the_servers_classes(name: str) -> None:
    case = CASES[name]
    assert spelled(find_bindings(case.graph, catalogue=CATALOGUE)) == case.right
    check_candidates(name, CATALOGUE)


@pytest.mark.parametrize("name", CASES)
def test_the_right_inputs_are_bound_by_names(name: str) -> None:
    case = CASES[name]
    right = {bound: at for bound, at in (case.right | case.by_names).items() if at is not None}
    assert spelled(find_bindings(case.graph)) == right
    check_candidates(name, None)


def check_candidates(name: str, catalogue: Catalogue | None) -> None:
    found = spelled(find_candidates(CASES[name].graph, catalogue=catalogue))
    for kind, candidates in CASES[name].candidates.items():
        assert sorted(found[kind].split()) == sorted(candidates.split())


def test_there_are_enough_graphs_and_their_classes_are_known() -> None:
    assert len(CASES) >= 100
    used = {node["class_type"] for case in CASES.values() for node in case.graph.values()}
    assert len(used - CATALOGUE.keys()) < 10


def test_where_names_and_the_servers_classes_disagree_is_said() -> None:
    graph = CASES["files: a loader that only the server knows"].graph
    found = check_names(graph, find_bindings(graph), CATALOGUE)
    assert [finding.severity for finding in found] == ["warning", "warning"]
    server = "by the server's nodes file.picture"
    assert (
        found[0].message
        == f"by names alone 'image' sets nothing, {server}; settle it with bindings={{'image': 'file.picture'}}"
    )
    used = check_names(graph, find_bindings(graph, catalogue=CATALOGUE), CATALOGUE)
    assert "file.picture, which is used; settle it" in used[0].message
    given = find_bindings(graph, {"image": "file.clip", "video": "file.picture"})
    assert check_names(graph, given, CATALOGUE) == []
    plain = CASES["settings: the plain one"].graph
    assert check_names(plain, find_bindings(plain), CATALOGUE) == []


def test_a_misleading_name_that_the_server_contradicts() -> None:
    graph = CASES["settings: the plain one"].graph | {
        "pos": node("WordsEncoder", text="x y", words="a house", clip="@ckpt:1")
    }
    line = "text:COMBO words:STRING~ clip:CLIP -> CONDITIONING"
    catalogue = CATALOGUE | read_catalogue(object_info({"WordsEncoder": line}))
    assert spelled(find_bindings(graph))["prompt"] == "pos.text"
    assert spelled(find_bindings(graph, catalogue=catalogue))["prompt"] == "pos.words"
    (finding,) = check_names(graph, find_bindings(graph), catalogue)
    assert "'prompt' sets pos.text, by the server's nodes pos.words" in finding.message


@settings(deadline=None)
@given(data=st.data())
def test_a_graph_wired_at_random_is_no_error(data: st.DataObject) -> None:
    """Links anywhere, also in circles and to nothing, between nodes of the list."""
    parts = [node for case in CASES.values() for node in case.graph.values()]
    chosen = data.draw(st.lists(st.sampled_from(parts), min_size=2, max_size=12))
    ids = [str(number) for number in range(len(chosen) + 1)]
    graph = {}
    for node_id, part in zip(ids, chosen, strict=False):
        inputs = {
            name: [data.draw(st.sampled_from(ids)), data.draw(st.integers(0, 3))] if isinstance(value, list) else value
            for name, value in part["inputs"].items()
        }
        graph[node_id] = {"class_type": part["class_type"], "inputs": inputs}
    for catalogue in (None, CATALOGUE):
        bound = find_bindings(graph, catalogue=catalogue)
        candidates = find_candidates(graph, catalogue=catalogue)
        assert not bound.keys() & candidates.keys()
        assert all(target.input_name in graph[target.node_id]["inputs"] for at in bound.values() for target in at)
        assert draw(graph, bound, candidates) is not None


@pytest.mark.parametrize("length", [50, 1500])
def test_a_long_chain_of_any_kind_is_no_error(length: int) -> None:
    """Every walk along it ends; what lies behind too many nodes is not found."""
    for class_type, name in (("Reroute", "in"), ("StringConcatenate", "string_a"), ("ImageScale", "image")):
        chain = {f"n{at}": node(class_type, **{name: f"@n{at + 1}"}) for at in range(length)}
        graph = text_to_image(
            **chain,
            **{f"n{length}": node("LoadImage", image="a.png")},
            pos=node("CLIPTextEncode", text="@n0", clip="@ckpt:1"),
            mask=node("ImageToMask", image="@n0", channel="red"),
            latent=node("VAEEncodeForInpaint", pixels="@n0", mask="@mask", vae="@ckpt:2"),
        )
        assert "prompt" not in find_bindings(graph)


def test_texts_that_come_by_many_ways_are_looked_up_once() -> None:
    """Forty switches in a row, each of which takes the one before it twice: 2^40 ways."""
    switches = {
        f"s{at}": node("LazySwitch", switch=["choice", 0], on_false=f"@s{at - 1}", on_true=f"@s{at - 1}")
        for at in range(1, 41)
    }
    graph = text_to_image(
        s0=node("PrimitiveStringMultiline", value="a house"),
        choice=node("PrimitiveBoolean", value=True),
        **switches,
        pos=node("CLIPTextEncode", text="@s40", clip="@ckpt:1"),
    )
    assert spelled(find_bindings(graph))["prompt"] == "s0.value"
