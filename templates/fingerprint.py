"""A fingerprint of the part of a graph that determines the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from orchestrator.errors import TemplateError
from templates.graph import Graph, describe, inputs_of, link_of, upstream
from templates.saving import SaveNode, save_nodes


def fingerprint(graph: Graph) -> str:
    """SHA-256, in hex, of everything that the save nodes depend on.

    Ignored are node ids, titles, filename prefixes, nodes that no save node depends on, and every PreviewImage node in
    a graph that also saves files. 7 and 7.0 are equal. Errors: TemplateError for a cycle, or if the graph has no save
    node.
    """
    saves = _relevant_saves(graph)
    if not saves:
        raise TemplateError("the workflow has no save node; add one (SaveImage) and export it again")
    prefixes = {save.node_id: save.prefix_input for save in saves}
    try:
        digests = _digests(graph, prefixes)
    except RecursionError as error:
        raise TemplateError("an input of the workflow is nested too deeply; export it again") from error
    return _sha256(sorted(digests[node_id] for node_id in prefixes))


def _relevant_saves(graph: Graph) -> list[SaveNode]:
    saves = save_nodes(graph)
    permanent = [save for save in saves if not save.temporary]
    return [save for save in saves if not permanent or save.class_type != "PreviewImage"]


def _digests(graph: Graph, prefixes: Mapping[str, str | None]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for node_id in upstream(graph, prefixes):
        digests[node_id] = _digest(graph, node_id, digests, ignored=prefixes.get(node_id))
    return digests


def _digest(graph: Graph, node_id: str, digests: Mapping[str, str], *, ignored: str | None) -> str:
    described: list[object] = [graph[node_id]["class_type"]]
    for name, value in sorted(inputs_of(graph, node_id).items()):
        link = link_of(value)
        if name == ignored:
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
