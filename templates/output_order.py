"""The order of a workflow's outputs, and which of its nodes are chosen for them.

ComfyUI lists outputs in an order that changes from one server process to the next, because it comes from a set. Here
the node furthest down the pipeline comes first: the final image before that of a first pass.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from orchestrator.errors import TemplateError
from orchestrator.wording import named
from templates.address import select
from templates.graph import Graph, describe, inputs_of, link_of, upstream
from templates.loose_ends import without
from templates.saving import SaveNode, gives_nothing, save_nodes

ALL_OUTPUTS = "all"
_MOST_LISTED = 12
_PARTS = re.compile(r"[0-9]+|[^0-9]+")


def in_order(graph: Graph, node_ids: Iterable[str]) -> list[str]:
    """These nodes, each once: the one with the longest way to it first, equals by id (`9` before `10`).

    A node that is not in the graph belongs to the one that made it while it ran (`5.0.0.2`: node 5), else comes last.
    """
    chosen = list(dict.fromkeys(node_ids))
    if len(chosen) < 2:
        return chosen
    depths = _depths(graph)
    return sorted(chosen, key=lambda node_id: (-depths.get(owner(graph, node_id), 0), _natural(node_id)))


def owner(graph: Graph, node_id: str) -> str:
    """The node of the graph that an output belongs to: nodes may be expanded into others while they run."""
    return node_id if node_id in graph else node_id.partition(".")[0]


def output_nodes(graph: Graph, names: Sequence[str], *, loose_ends: Collection[str] = ()) -> tuple[str, ...]:
    """The nodes that these names choose, in the order of their outputs: ids, `title=TITLE` or `class=CLASS`.

    `all` alone: every node that saves or shows something; without names none, which stands for those that save.
    `loose_ends`: nodes that only look so.

    Errors: TemplateError for a name that no node has, and for a node that certainly saves and shows nothing.
    """
    if list(names) == [ALL_OUTPUTS]:
        return tuple(save.node_id for save in saves_in_order(without(graph, loose_ends)))
    found: list[str] = []
    for name in names:
        nodes = select(graph, name)
        if not nodes:
            raise TemplateError(f"{named('outputs', name)}: no node has this id, title or class; {_listed(graph)}")
        idle = [node_id for node_id in nodes if gives_nothing(graph, node_id)]
        if idle:
            raise TemplateError(
                f"{named('outputs', name)}: node {describe(graph, idle[0])} saves and shows nothing; {_listed(graph)}"
            )
        found += nodes
    return tuple(in_order(graph, found))


def _listed(graph: Graph) -> str:
    saves = [describe(graph, save.node_id) for save in saves_in_order(graph)]
    return f"choose from {', '.join(saves[:_MOST_LISTED])}" if saves else "the workflow has no node that saves"


def saves_in_order(graph: Graph, saves: Iterable[SaveNode] | None = None) -> list[SaveNode]:
    """The save nodes of a workflow, in the order of their outputs. `saves`: where they are known."""
    by_id = {save.node_id: save for save in (save_nodes(graph) if saves is None else saves)}
    return [by_id[node_id] for node_id in in_order(graph, by_id)]


def _depths(graph: Graph) -> dict[str, int]:
    """How many nodes the longest way to each node has; a link that closes a cycle does not count."""
    depths: dict[str, int] = {}
    for node_id in upstream(graph, sorted(graph)):
        sources = (link[0] for value in inputs_of(graph, node_id).values() if (link := link_of(value)))
        depths[node_id] = 1 + max((depths.get(source, 0) for source in sources), default=0)
    return depths


def _natural(node_id: str) -> list[tuple[int, int, str]]:
    """Sorts numbers within the id by their value."""
    parts = _PARTS.findall(node_id)
    return [(0, int(part), "") if part[0] in "0123456789" and len(part) < 20 else (1, 0, part) for part in parts]
