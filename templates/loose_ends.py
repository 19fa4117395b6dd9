"""Nodes at the end of a graph that no server runs, although their names do not show it: notes, parts left over."""

from __future__ import annotations

from collections.abc import Collection

from templates.catalogue import Catalogue
from templates.graph import Graph, linked_nodes
from templates.saving import save_nodes


def loose_ends(graph: Graph, catalogue: Catalogue) -> tuple[str, ...]:
    """Those that might be taken for save nodes and are no output nodes by the server's classes, in graph order.

    Without them others may be last, so these are looked at too. A class that the server lacks is not judged.
    """
    left, found = graph, set[str]()
    while ends := _ends(left, catalogue):
        found |= ends
        left = without(left, ends)
    return tuple(node_id for node_id in graph if node_id in found)


def without(graph: Graph, node_ids: Collection[str]) -> Graph:
    """The graph without these nodes; itself without any."""
    return {node_id: node for node_id, node in graph.items() if node_id not in node_ids} if node_ids else graph


def _ends(graph: Graph, catalogue: Catalogue) -> set[str]:
    used = linked_nodes(graph)
    unused = (save for save in save_nodes(graph) if save.node_id not in used)
    return {save.node_id for save in unused if (known := catalogue.get(save.class_type)) and not known.output_node}
