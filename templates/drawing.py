"""A workflow's path from the prompt text to what is saved, in a few lines, so that a person sees what is bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from templates.bindings import Bindings
from templates.graph import Graph, Target, class_of, links, title_of
from templates.saving import save_nodes

_DRAWN = ("prompt", "negative", "image", "mask", "video", "audio", "model", "lora")
"""What is drawn; a setting sits in a node that is drawn anyway."""
_MOST_NODES = 9
_ARROW = " → "


def draw(graph: Graph, bindings: Bindings, candidates: Mapping[str, tuple[Target, ...]] = {}) -> list[tuple[str, str]]:
    """A name and its way through the graph, for each name that brings something in; the first way ends at a save node,
    the others where they meet a way that is drawn already.

    A name that may set one of several inputs is drawn from each of them, with a question mark.
    """
    saves = save_nodes(graph)
    saved = [save.node_id for save in saves if not save.temporary] or [save.node_id for save in saves]
    users, drawn = _users(graph), set[str]()
    lines: list[tuple[str, str]] = []
    for name in _DRAWN:
        targets, mark = (bindings[name], "") if bindings.get(name) else (candidates.get(name, ()), "?")
        for start in dict.fromkeys(target.node_id for target in targets if target.node_id in graph):
            if start in drawn:
                continue
            first = _users(graph, slot=0) if name == "model" else users
            path = _way(start, users | {start: first[start]}, drawn or saved)
            drawn.update(path)
            lines.append((name + mark, _ARROW.join(_shortened([_shown(graph, node_id) for node_id in path]))))
    return lines


def _users(graph: Graph, slot: int | None = None) -> dict[str, list[str]]:
    """Node id -> the nodes that use its outputs, or the one of this slot: of a checkpoint the model, not the VAE."""
    found: dict[str, list[str]] = {node_id: [] for node_id in graph}
    for node_id in graph:
        for _, (source, used) in links(graph, node_id):
            if source in found and node_id not in found[source] and slot in (None, used):
                found[source].append(node_id)
    return found


def _way(start: str, users: Mapping[str, list[str]], ends: Iterable[str]) -> list[str]:
    """The shortest way to one of these nodes; as far as it goes where none is reached."""
    wanted = set(ends)
    came_from: dict[str, str | None] = {start: None}
    waiting = [start]
    for node_id in waiting:
        if node_id in wanted:
            return _back(node_id, came_from)
        for user in users[node_id]:
            if user not in came_from:
                came_from[user] = node_id
                waiting.append(user)
    return _back(waiting[-1], came_from)


def _back(node_id: str | None, came_from: Mapping[str, str | None]) -> list[str]:
    path: list[str] = []
    while node_id is not None:
        path.append(node_id)
        node_id = came_from[node_id]
    return path[::-1]


def _shown(graph: Graph, node_id: str) -> str:
    title, class_type = title_of(graph, node_id), class_of(graph, node_id)
    return f'{node_id} {class_type} "{title}"' if title and title != class_type else f"{node_id} {class_type}"


def _shortened(path: list[str]) -> list[str]:
    if len(path) <= _MOST_NODES:
        return path
    kept = _MOST_NODES // 2
    return [*path[:kept], f"({len(path) - 2 * kept} more)", *path[-kept:]]
