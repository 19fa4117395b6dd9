"""Graphs that differ in literals alone: one of them and, for each, the inputs that make it that one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import templates
from orchestrator.errors import TemplateError
from templates import Graph, Target
from templates.graph import inputs_of, link_of

_Scalar = str | int | float
"""What an item's inputs may set; a bool is an int."""


def skeleton(graph: Graph) -> str:
    """Classes, links and kinds of literals: equal for graphs that differ in the values of literals alone."""
    nodes = []
    for node_id in sorted(graph):
        inputs = inputs_of(graph, node_id)
        nodes.append([node_id, graph[node_id]["class_type"], [[name, _kind(inputs[name])] for name in sorted(inputs)]])
    return json.dumps(nodes, sort_keys=True)


def inputs_for(base: Graph, graph: Graph) -> dict[str, Any] | None:
    """By `NODE.INPUT`, what makes `graph` of `base`: at least one, so that an item has something of its own.

    None where nothing that an item can have does that.
    """
    if skeleton(base) != skeleton(graph):
        return None
    before, wanted = _literals(base), _literals(graph)
    different = {address: value for address, value in wanted.items() if not _same(value, before[address])}
    for inputs in [different] if different else ({address: value} for address, value in wanted.items()):
        if _makes(base, graph, inputs):
            return inputs
    return None


def first_that_makes(bases: Iterable[Graph], graph: Graph) -> tuple[Graph, dict[str, Any]] | None:
    """One of these graphs, and the inputs for it."""
    for base in bases:
        if (inputs := inputs_for(base, graph)) is not None:
            return base, inputs
    return None


def _kind(value: object) -> object:
    if link := link_of(value):
        return ["link", *link]
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, _Scalar):
        return "text" if isinstance(value, str) else "number"
    return ["value", value]


def _literals(graph: Graph) -> dict[str, _Scalar]:
    return {
        Target(node_id, name).address: value
        for node_id in graph
        for name, value in inputs_of(graph, node_id).items()
        if isinstance(value, _Scalar)
    }


def _same(one: _Scalar, other: _Scalar) -> bool:
    return type(one) is type(other) and one == other


def _makes(base: Graph, graph: Graph, inputs: Mapping[str, Any]) -> bool:
    try:
        made = templates.bind(base, {}, inputs)
    except TemplateError:
        return False
    return all(inputs_of(made, node_id) == inputs_of(graph, node_id) for node_id in graph)
