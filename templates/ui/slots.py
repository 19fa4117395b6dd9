"""The sockets of a node as the editor has them once a file is loaded: those of its class, with the file's links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from templates.catalogue import AUTOGROW, MATCH_TYPE, NodeClass, NodeInput
from templates.ui.document import Socket, Subgraph, UiNode
from templates.ui.widgets import has_widget


def inputs_of(node: UiNode, cls: NodeClass | None, subgraph: Subgraph | None) -> list[Socket]:
    """Those of the class or subgraph, sockets before those of widgets; then what only the file has."""
    saved = {each.name: each for each in node.inputs}
    if subgraph is not None:
        declared = [Socket(port.name, port.type, None) for port in subgraph.inputs]
        return [replace(each, link=saved[each.name].link) if each.name in saved else each for each in declared]
    declared = list(_declared(cls.inputs)) if cls is not None else []
    names = {each.name for each in declared}
    live = [replace(saved[each.name], name=each.name) if each.name in saved else each for each in declared]
    return [*live, *(each for each in node.inputs if each.name not in names)]


def _declared(inputs: tuple[NodeInput, ...]) -> Iterator[Socket]:
    plain = [each for each in inputs if each.type != AUTOGROW]
    yield from (Socket(each.name, _type(each), None) for each in plain if not has_widget(each))
    yield from (Socket(each.name, _type(each), None, widget=True) for each in plain if has_widget(each))


def _type(each: NodeInput) -> str:
    return "*" if each.type == MATCH_TYPE else each.type


def outputs_of(node: UiNode, subgraph: Subgraph | None) -> Sequence[str]:
    """The type of each output."""
    return [port.type for port in subgraph.outputs] if subgraph is not None else node.outputs


def passed_on(sockets: Sequence[Socket], output: str, slot: int, wanted: str) -> int | None:
    """Which input a bypassed node passes on at its output `slot` of type `output`, to an input of type `wanted`."""
    if wanted == "*":
        return slot if slot < len(sockets) else 0 if sockets else None
    fits = [_fits(each.type, output) and _fits(each.type, wanted) for each in sockets]
    if slot < len(sockets) and fits[slot]:
        return slot
    same = next((at for at, each in enumerate(sockets) if each.type == wanted), None)
    return same if same is not None else next((at for at, fit in enumerate(fits) if fit), None)


def _fits(one: str, other: str) -> bool:
    if "*" in (one, other):
        return True
    return not _types(one).isdisjoint(_types(other))


def _types(listed: str) -> set[str]:
    return {each.strip().lower() for each in listed.split(",")}
