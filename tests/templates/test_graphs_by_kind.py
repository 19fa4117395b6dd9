"""The frozen list of graphs: each name sets the inputs that are right, none else; what is not certain is listed."""

from __future__ import annotations

from typing import Any

import pytest
from support.built_graphs import node, object_info
from support.graphs_by_kind import CASES, files, masks, pipes, settings, sides, sizes, strays, texts

from templates import check_names, find_bindings, find_candidates
from templates.catalogue import Catalogue, read_catalogue

CATALOGUE = read_catalogue(
    object_info(
        {
            name: line
            for kind in (sides, masks, pipes, settings, strays, texts, sizes, files)
            for name, line in kind.CLASSES.items()
        }
    )
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
        found[0].message == f"by names alone 'image' sets nothing, {server}; settle it with --bind image=file.picture"
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
