"""The execution order of a graph's nodes, and their cache signatures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from orchestrator.sandbox.nodes import Catalogue
from orchestrator.sandbox.validate import is_link

Graph = dict[str, Any]


def sources(graph: Graph, node_id: str) -> list[str]:
    """The nodes that this node's inputs are linked to, in input order."""
    return [value[0] for value in graph[node_id]["inputs"].values() if is_link(value)]


def signatures(graph: Graph, *, fingerprint: Callable[[dict[str, Any]], str]) -> dict[str, str]:
    """One signature per node: equal if two nodes and all their dependencies are equal, regardless of ids and titles.

    `fingerprint` adds what a node depends on besides its inputs, such as the bytes of the file that it loads.
    """
    known: dict[str, str] = {}

    def of(node_id: str) -> str:
        if node_id not in known:
            known[node_id] = f"unknown {node_id}"  # remains for cycles and missing nodes
            if node_id in graph:
                node = graph[node_id]
                inputs = {
                    name: ["node", of(value[0]), value[1]] if is_link(value) else ["value", value]
                    for name, value in node["inputs"].items()
                }
                content = json.dumps([node["class_type"], fingerprint(node), inputs], sort_keys=True)
                known[node_id] = hashlib.sha256(content.encode()).hexdigest()
        return known[node_id]

    return {node_id: of(node_id) for node_id in graph}


def run_order(graph: Graph, *, outputs: tuple[str, ...], cached: set[str], catalogue: Catalogue) -> list[str]:
    """The nodes to run, in ComfyUI's order: ready save nodes first, then nodes that lead to one, then the rest.

    Includes cached save nodes, because they are reported too, but not other cached nodes and what only they need.
    """
    order = []
    waiting = _Waiting(graph, outputs=outputs, cached=cached, catalogue=catalogue)
    while (node := waiting.pop()) is not None:
        order.append(node)
    return order


class _Waiting:
    def __init__(self, graph: Graph, *, outputs: tuple[str, ...], cached: set[str], catalogue: Catalogue) -> None:
        self._graph = graph
        self._catalogue = catalogue
        self._pending = _needed(graph, outputs=outputs, cached=cached)
        self._needs = {node: set(sources(graph, node)) & self._pending.keys() for node in self._pending}

    def pop(self) -> str | None:
        """The next node; None at the end."""
        ready = [node for node in self._pending if not self._needs[node] & self._pending.keys()]
        if not ready:
            return None
        chosen = self._choose(ready)
        del self._pending[chosen]
        return chosen

    def _choose(self, ready: list[str]) -> str:
        for depth in (0, 1, 2):
            for node in ready:
                if any(self._is_output(each) for each in self._after(node, depth)):
                    return node
        return ready[0]

    def _after(self, node_id: str, depth: int) -> set[str]:
        if depth == 0:
            return {node_id}
        followers = {node for node in self._pending if node_id in self._needs[node]}
        return {further for node in followers for further in self._after(node, depth - 1)}

    def _is_output(self, node_id: str) -> bool:
        return self._catalogue[self._graph[node_id]["class_type"]].output_node


def _needed(graph: Graph, *, outputs: tuple[str, ...], cached: set[str]) -> dict[str, None]:
    """The outputs and their dependencies, found by going backwards from the outputs; a dict for its order."""
    needed: dict[str, None] = {}
    for output in outputs:
        stack = [output]
        while stack:
            node = stack.pop()
            if node not in needed:
                needed[node] = None
                if node not in cached:
                    stack += [each for each in sources(graph, node) if each not in cached]
    return needed
