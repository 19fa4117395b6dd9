"""A graph in ComfyUI's API format, and its links.

`{"3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0]}, "_meta": {"title": "Sampler"}}}`: an input
holds either a literal value or a link `[node id, output slot]`. Node ids are strings and may contain a colon (`98:6`: a
node inside a subgraph).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from orchestrator.errors import TemplateError

Graph = dict[str, dict[str, Any]]
"""Node id -> `{"class_type", "inputs", "_meta"?}`."""

Link = tuple[str, int]
"""The node id and output slot that an input takes its value from."""


class Target(msgspec.Struct, frozen=True):
    """One input of one node."""

    node_id: str
    input_name: str

    @property
    def address(self) -> str:
        """`NODE.INPUT`."""
        return f"{self.node_id}.{self.input_name}"

    @classmethod
    def at(cls, graph: Graph, address: str) -> Target:
        """The input of this `address`, and no other spelling of it. Errors: TemplateError."""
        parts = address.split(".")
        splits = [cls(".".join(parts[:at]), ".".join(parts[at:])) for at in range(1, len(parts))]
        there = [target for target in splits if target.node_id in graph]
        exact = [target for target in there if target.input_name in inputs_of(graph, target.node_id)]
        if not there:
            raise TemplateError(f"address {address!r} matches no node")
        return (exact or there)[0]


def link_of(value: object) -> Link | None:
    """The link in an input's value, or None if the value is a literal."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    source, slot = value
    if not isinstance(source, str) or isinstance(slot, bool) or not isinstance(slot, int | float):
        return None
    if isinstance(slot, float) and not math.isfinite(slot):
        return None
    return source, int(slot)


def inputs_of(graph: Graph, node_id: str) -> dict[str, Any]:
    """The inputs of a node; empty for a node that is not in the graph."""
    node = graph.get(node_id)
    inputs: dict[str, Any] = node["inputs"] if node else {}
    return inputs


def class_of(graph: Graph, node_id: str) -> str:
    """The class of a node; empty for a node that is not in the graph."""
    node = graph.get(node_id)
    return str(node["class_type"]) if node else ""


def title_of(graph: Graph, node_id: str) -> str | None:
    """The title that the user gave the node in ComfyUI."""
    meta = graph[node_id].get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title if isinstance(title, str) else None


def describe(graph: Graph, node_id: str) -> str:
    """A node as shown in messages: `98:6 (CLIPTextEncode "Positive Prompt")`."""
    title = title_of(graph, node_id) if node_id in graph else None
    return f'{node_id} ({class_of(graph, node_id)} "{title}")' if title else f"{node_id} ({class_of(graph, node_id)})"


def links(graph: Graph, node_id: str) -> Iterator[tuple[str, Link]]:
    """The linked inputs of a node in their order, including links to nodes that do not exist."""
    for name, value in inputs_of(graph, node_id).items():
        if isinstance(value, list) and (link := link_of(value)):
            yield name, link


def linked_nodes(graph: Graph) -> set[str]:
    """Ids of the nodes whose output another node uses."""
    return {source for node_id in graph for _, (source, _) in links(graph, node_id)}


def upstream(graph: Graph, roots: Iterable[str]) -> list[str]:
    """The roots and all their dependencies, in topological order (dependencies first); a cycle is entered once."""
    order: list[str] = []
    seen: set[str] = set()
    for root in roots:
        if root in graph and root not in seen:
            _walk(graph, root, order=order, seen=seen)
    return order


def _walk(graph: Graph, root: str, *, order: list[str], seen: set[str]) -> None:
    seen.add(root)
    path = [(root, links(graph, root))]
    while path:
        node_id, rest = path[-1]
        for _, (source, _) in rest:
            if source in graph and source not in seen:
                seen.add(source)
                path.append((source, links(graph, source)))
                break
        else:
            order.append(node_id)
            path.pop()


def needed_nodes(graph: Graph, outputs: Collection[str]) -> set[str]:
    """Ids of the nodes that the server validates: output nodes and all their dependencies; all nodes if no output.

    Of every other node it checks only that the class exists.
    """
    return set(upstream(graph, outputs) if outputs else graph)


def find_cycle(graph: Graph) -> list[str] | None:
    """The nodes of one cycle in link order, or None."""
    position = {node_id: index for index, node_id in enumerate(upstream(graph, graph))}
    for node_id in graph:
        for _, (source, _) in links(graph, node_id):
            if source in graph and position[source] >= position[node_id]:
                return [node_id, *_path(graph, source, node_id)[:-1]]
    return None


def _path(graph: Graph, start: str, end: str) -> list[str]:
    """The nodes from `start` along links to `end`, both included; [end] if they are the same node."""
    came_from = {start: start}
    waiting = [start]
    while waiting and end not in came_from:
        node_id = waiting.pop()
        for _, (source, _) in links(graph, node_id):
            if source in graph and source not in came_from:
                came_from[source] = node_id
                waiting.append(source)
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]
