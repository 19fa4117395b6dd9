"""Nodes that end a graph and save nothing, by a server's classes."""

from __future__ import annotations

from support.built_graphs import node, object_info

from templates import loose_ends, needs_exclusive_run, numbered_files, without
from templates.catalogue import read_catalogue

GRAPH = {
    "1": node("EmptyImage", width=8, height=8, batch_size=1, color=0),
    "2": node("Tidy", image=["1", 0]),
    "3": node("SomebodysNote", text="to do", of=["2", 0]),
    "4": node("Exporter", images=["1", 0]),
    "5": node("ShowText|pysssss", text="a"),
    "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
}
CLASSES = {"Tidy": "image:IMAGE -> IMAGE", "SomebodysNote": "text:STRING ->", "Exporter": "images:IMAGE ->*"}
CLASSES |= {"SaveImage": "images:IMAGE ->*", "ShowText|pysssss": "text:STRING ->*"}


def test_what_is_no_output_node_is_one_and_so_is_what_only_it_uses() -> None:
    """A class that writes files stays a save node, and a viewer a viewer."""
    ends = loose_ends(GRAPH, read_catalogue(object_info(CLASSES)))
    assert ends == ("2", "3")
    assert needs_exclusive_run(GRAPH) == ["3", "4"]
    assert needs_exclusive_run(without(GRAPH, ends)) == ["4"]


def test_what_the_server_does_not_have_is_not_judged() -> None:
    some = {name: line for name, line in CLASSES.items() if name != "SomebodysNote"}
    assert loose_ends(GRAPH, read_catalogue(object_info(some))) == ()
    assert loose_ends(GRAPH, {}) == ()


def test_names_of_files_are_known_without_them() -> None:
    graph = {node_id: one for node_id, one in GRAPH.items() if node_id not in "45"}
    ends = loose_ends(graph, read_catalogue(object_info(CLASSES)))
    assert numbered_files(graph, "p") is None
    assert [one.node_id for one in numbered_files(without(graph, ends), "p") or ()] == ["9"]


def test_a_circle_and_no_save_node_are_no_trouble() -> None:
    circle = {"1": node("Tidy", image=["2", 0]), "2": node("Tidy", image=["1", 0])}
    classes = read_catalogue(object_info(CLASSES))
    assert loose_ends(circle, classes) == ()
    assert loose_ends({"1": GRAPH["3"]}, classes) == ("1",)
