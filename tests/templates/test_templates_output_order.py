"""The order of outputs: by the graph, the node furthest down the pipeline first."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from templates import in_order, numbered_files, owner, saves_in_order

PROMPT_ID = "0c2f7e0e-8b0a-4b6e-9a58-6f1b7b9f3c11"


def image(value: str | int) -> dict[str, Any]:
    return {"class_type": "EmptyImage", "inputs": {"width": value, "height": 16, "batch_size": 1, "color": 0}}


def node(class_type: str, *sources: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": {f"in_{at}": [one, 0] for at, one in enumerate(sources)} | inputs}


def save(source: str) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": "x"}}


TWO_PASSES = {
    "1": image(16),
    "2": node("KSampler", "1"),
    "9": save("2"),
    "4": node("LatentUpscale", "2"),
    "5": node("KSampler", "4"),
    "12": save("5"),
}
"""The first pass is saved by node 9, the final image by node 12."""


def test_the_final_image_comes_first() -> None:
    assert in_order(TWO_PASSES, ["9", "12"]) == ["12", "9"]
    assert [one.node_id for one in saves_in_order(TWO_PASSES)] == ["12", "9"]


def test_the_order_of_the_file_and_of_the_server_does_not_matter() -> None:
    for nodes in itertools.permutations(TWO_PASSES):
        graph = {node_id: TWO_PASSES[node_id] for node_id in nodes}
        assert in_order(graph, nodes)[0] == "12"
        assert in_order(graph, reversed(nodes)) == in_order(TWO_PASSES, TWO_PASSES)


def test_equals_come_by_id_as_a_number() -> None:
    graph = {"1": image(16), **{node_id: save("1") for node_id in ("100", "20", "98:6", "98:10", "3", "a")}}
    assert in_order(graph, graph) == ["3", "20", "98:6", "98:10", "100", "a", "1"]


@pytest.mark.parametrize("node_id", ["9" * 5000, "٣", "²", "", ":", "9.9"])
def test_no_id_is_too_strange(node_id: str) -> None:
    graph = {"1": image(16), node_id: save("1")}
    assert sorted(in_order(graph, graph)) == sorted(graph)


def test_the_longest_way_counts_not_the_shortest() -> None:
    """A composite takes the first image too; it is further down all the same."""
    graph = {**TWO_PASSES, "6": node("ImageBlend", "1", "5"), "7": save("6")}
    assert in_order(graph, ["9", "12", "7"]) == ["7", "12", "9"]


def test_a_node_made_while_it_ran_belongs_to_the_one_that_made_it() -> None:
    assert owner(TWO_PASSES, "12.0.0.3") == "12"
    assert in_order(TWO_PASSES, ["9", "12.0.0.10", "12.0.0.9", "unknown"]) == ["12.0.0.9", "12.0.0.10", "9", "unknown"]


def test_a_cycle_and_a_long_chain_are_ordered_too() -> None:
    circle = {"1": node("A", "2"), "2": node("B", "1"), "3": save("2")}
    assert in_order(circle, circle) == in_order(dict(reversed(circle.items())), circle)
    chain = {"0": image(16)} | {str(at): node("ImageInvert", str(at - 1)) for at in range(1, 5000)}
    assert in_order(chain, ["1", "4999", "30"]) == ["4999", "30", "1"]


def test_the_names_to_expect_come_in_the_same_order() -> None:
    """What is rescued by name gets the names that it would have had from the history."""
    graph = {"1": image(16), "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}}
    graph |= {"3": save("1"), "4": save("2")}
    assert [file.node_id for file in numbered_files(graph, PROMPT_ID) or []] == ["4", "3"]
