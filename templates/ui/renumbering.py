"""Nodes of subgraphs whose id is used elsewhere in the file: the editor gives them a new one when it loads it.

Ids are those of the whole file: first come the workflow's own nodes, then the subgraphs in order. A node whose id is
taken by then gets the next one after the largest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from templates.ui.document import Subgraph, UiNode, UiWorkflow

_Renamed = Mapping[str, Mapping[str, str]]
"""Subgraph -> old id -> new id."""


def renumbered(workflow: UiWorkflow) -> UiWorkflow:
    """The same with ids that are unique in the file."""
    taken = {node_id for node_id in workflow.top.nodes if node_id.lstrip("-").isdigit()}
    last = max([workflow.last_node_id, *map(int, taken)])
    renamed: dict[str, dict[str, str]] = {}
    for subgraph in workflow.subgraphs.values():
        new: dict[str, str] = {}
        for node_id in subgraph.nodes:
            if not node_id.lstrip("-").isdigit():
                continue
            if node_id in taken:
                last += 1
                while str(last) in taken:
                    last += 1
                new[node_id] = str(last)
                taken.add(str(last))
            else:
                taken.add(node_id)
                last = max(last, int(node_id))
        if new:
            renamed[subgraph.id] = new
    if not renamed:
        return workflow
    top = replace(workflow.top, nodes={key: _host(node, renamed) for key, node in workflow.top.nodes.items()})
    return replace(workflow, top=top, subgraphs={key: _subgraph(s, renamed) for key, s in workflow.subgraphs.items()})


def _subgraph(subgraph: Subgraph, renamed: _Renamed) -> Subgraph:
    new = renamed.get(subgraph.id, {})
    nodes = (replace(_host(node, renamed), id=new.get(node.id, node.id)) for node in subgraph.nodes.values())
    wires = {
        key: replace(w, origin=new.get(w.origin, w.origin), target=new.get(w.target, w.target))
        for key, w in subgraph.wires.items()
    }
    return replace(subgraph, nodes={node.id: node for node in nodes}, wires=wires)


def _host(node: UiNode, renamed: _Renamed) -> UiNode:
    """The node of a subgraph, whose promoted widgets name nodes inside."""
    new, listed = renamed.get(node.type), node.properties.get("proxyWidgets")
    if new is None or not isinstance(listed, list):
        return node
    proxies: list[Any] = [
        [new.get(str(each[0]), each[0]), *each[1:]] if isinstance(each, list) and each else each for each in listed
    ]
    return replace(node, properties={**node.properties, "proxyWidgets": proxies})
