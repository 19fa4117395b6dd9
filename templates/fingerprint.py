"""A fingerprint of the part of a graph that determines the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence

from orchestrator.errors import TemplateError
from templates.graph import Graph, describe, inputs_of, link_of, linked_nodes, upstream
from templates.loose_ends import without
from templates.saving import SaveNode, save_nodes


def fingerprint(
    graph: Graph,
    *,
    loose_ends: Collection[str] = (),
    chosen: Collection[str] = (),
    saves: Sequence[SaveNode] | None = None,
) -> str:
    """SHA-256, in hex, of everything that the save nodes depend on.

    Ignored are node ids, titles, filename prefixes, nodes that no save node depends on, and in a graph that also saves
    files every PreviewImage node and what stands in other viewers themselves, such as a text that is kept there. 7 and
    7.0 are equal. `loose_ends`: nodes that are no save nodes; `chosen`: nodes whose outputs are fetched, which count
    whatever they are; `saves`: the save nodes without the loose ends, where they are known. Errors: TemplateError for a
    cycle, or if the graph has no save node.
    """
    saves = save_nodes(without(graph, loose_ends)) if saves is None else saves
    viewers = [save for save in saves if save.temporary and save.node_id not in chosen]
    if len(viewers) == len(saves):
        return _of_saves(graph, saves)
    ignored = {save.node_id for save in viewers if save.class_type == "PreviewImage"}
    shown = {save.node_id for save in viewers} - linked_nodes(graph) if viewers else set()
    return _of_saves(graph, [save for save in saves if save.node_id not in ignored], shown=shown)


def former_fingerprint(graph: Graph) -> str:
    """By the rule of bursts that knew no loose ends and counted what stands in viewers. Errors: as above."""
    saves = save_nodes(graph)
    permanent = [save for save in saves if not save.temporary]
    return _of_saves(graph, [save for save in saves if not permanent or save.class_type != "PreviewImage"])


def _of_saves(graph: Graph, saves: Sequence[SaveNode], *, shown: Collection[str] = ()) -> str:
    """`shown`: of these only what they are linked to counts."""
    if not saves:
        raise TemplateError("the workflow has no save node; add one (SaveImage) and export it again")
    prefixes = {save.node_id: save.prefix_input for save in saves}
    try:
        digests = _digests(graph, prefixes, shown)
    except RecursionError as error:
        raise TemplateError("an input of the workflow is nested too deeply; export it again") from error
    return _sha256(sorted(digests[node_id] for node_id in prefixes))


def _digests(graph: Graph, prefixes: Mapping[str, str | None], shown: Collection[str]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for node_id in upstream(graph, prefixes):
        ignored = _literals(graph, node_id) if node_id in shown else {prefixes.get(node_id)}
        digests[node_id] = _digest(graph, node_id, digests, ignored=ignored)
    return digests


def _literals(graph: Graph, node_id: str) -> set[str | None]:
    """The names of the inputs that are not linked."""
    return {name for name, value in inputs_of(graph, node_id).items() if link_of(value) is None}


def _digest(graph: Graph, node_id: str, digests: Mapping[str, str], *, ignored: Collection[str | None]) -> str:
    described: list[object] = [graph[node_id]["class_type"]]
    for name, value in sorted(inputs_of(graph, node_id).items()):
        link = link_of(value)
        if name in ignored:
            continue
        if link is None:
            described.append([name, _canonical(value)])
        elif link[0] in graph and link[0] not in digests:
            raise TemplateError(
                f"node {describe(graph, node_id)} depends on itself through its input {name!r}; break the cycle"
            )
        else:
            described.append([name, digests.get(link[0], "missing"), link[1]])
    return _sha256(described)


def _canonical(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    return value


def _sha256(value: object) -> str:
    encoded = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(encoded.encode()).hexdigest()
