"""The values that the node of a subgraph sets inside it: its own widgets, each shown in place of one inside.

How they are saved has changed. Newest: one value for each input of the subgraph that leads to a widget, in order; so it
was at first, too. From 1.28 to 1.48 of the editor: `properties.proxyWidgets` names the widgets, `[inner node, widget]`
or `["-1", input]`, and the values are in that order; a widget without a value has the one inside. Values that a newer
editor could not assign are kept in `properties.proxyWidgetErrorQuarantine`, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from templates.catalogue import Catalogue
from templates.ui.document import INPUTS_OF_SUBGRAPH, Subgraph, UiNode, UiWorkflow
from templates.ui.scopes import Scope, Scopes
from templates.ui.values import fill

_INPUT = "-1"


@dataclass(frozen=True)
class Promoted:
    """What a node sets in its subgraph."""

    inputs: Mapping[int, Any] = field(default_factory=dict)
    """By input of the subgraph, those that lead to a widget; it counts where the input has no link outside."""
    widgets: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    """(inner node, its widget) -> value, of widgets that no input leads to."""


class Promotion:
    """The promoted values of one workflow."""

    def __init__(self, workflow: UiWorkflow, catalogue: Catalogue, scopes: Scopes) -> None:
        self._subgraphs = workflow.subgraphs
        self._catalogue = catalogue
        self._scopes = scopes
        self._known: dict[tuple[str, ...], Promoted] = {}

    def into(self, scope: Scope) -> Promoted:
        """What the node around a scope sets inside, or one further out on its behalf. Errors: TemplateError."""
        if scope.outer is None or scope.host is None or not isinstance(scope.level, Subgraph):
            return Promoted()
        if scope.path not in self._known:
            own, around = self._own(scope), self.into(scope.outer).widgets
            outer = {
                slot: around[scope.host.id, port.name]
                for slot, port in enumerate(scope.level.inputs)
                if (scope.host.id, port.name) in around
            }
            self._known[scope.path] = Promoted({**own.inputs, **outer}, own.widgets)
        return self._known[scope.path]

    def _own(self, scope: Scope) -> Promoted:
        """What the file has at the node itself."""
        host, subgraph = scope.host, scope.level
        assert host is not None
        assert isinstance(subgraph, Subgraph)
        inside = {slot: value for slot in range(len(subgraph.inputs)) for value in self._inside(scope, subgraph, slot)}
        values = host.values if isinstance(host.values, tuple) else ()
        if proxies := _proxies(host):
            named, widgets = _by_proxy(proxies, subgraph, values)
            return Promoted(inside | {slot: value for slot, value in named.items() if slot in inside}, widgets)
        placed = {slot: value for slot, value in zip(inside, values, strict=False) if value is not None}
        kept = _quarantined(host)
        named = {slot: kept[subgraph.inputs[slot].name] for slot in inside if subgraph.inputs[slot].name in kept}
        return Promoted(inside | placed | named)

    def _inside(self, scope: Scope, subgraph: Subgraph, slot: int) -> Iterator[Any]:
        """The value of the first widget that an input leads to; nothing if it leads to none."""
        for node, name in _targets(subgraph, slot):
            for value in self._widget(scope, node, name):
                yield value
                return

    def _widget(self, scope: Scope, node: UiNode, name: str) -> Iterator[Any]:
        if (subgraph := self._subgraphs.get(node.type)) is not None:
            shown = self._own(self._scopes.inside(scope, node)).inputs
            yield from (shown[at] for at, port in enumerate(subgraph.inputs) if port.name == name and at in shown)
        elif (cls := self._catalogue.get(node.type)) is not None:
            yield from (each.value for each in fill(cls, node) if each.widget.name == name)


def _targets(subgraph: Subgraph, slot: int) -> Iterator[tuple[UiNode, str]]:
    """The inner nodes and their inputs that an input of the subgraph leads to, in the order of its links."""
    every = [key for key, w in subgraph.wires.items() if w.origin == INPUTS_OF_SUBGRAPH and w.slot == slot]
    for key in subgraph.inputs[slot].links or every:
        wire = subgraph.wires.get(key)
        node = subgraph.nodes.get(wire.target) if wire is not None else None
        if node is not None:
            yield from ((node, each.name) for each in node.inputs if each.link == key)


def _proxies(host: UiNode) -> list[tuple[str, str]]:
    listed = host.properties.get("proxyWidgets")
    entries = listed if isinstance(listed, list) else []
    return [(str(each[0]), str(each[1])) if isinstance(each, list) and len(each) > 1 else ("", "") for each in entries]


def _by_proxy(
    proxies: list[tuple[str, str]], subgraph: Subgraph, values: tuple[Any, ...]
) -> tuple[dict[int, Any], dict[tuple[str, str], Any]]:
    """The values by input of the subgraph, and those of widgets that no input leads to."""
    inputs: dict[int, Any] = {}
    widgets: dict[tuple[str, str], Any] = {}
    for (node_id, name), value in zip(proxies, values, strict=False):
        slot = _slot_of(subgraph, node_id, name)
        if value is None:
            continue
        if slot is not None:
            inputs[slot] = value
        elif node_id != _INPUT:
            widgets[node_id, name] = value
    return inputs, widgets


def _slot_of(subgraph: Subgraph, node_id: str, name: str) -> int | None:
    """The input of the subgraph that an entry of `proxyWidgets` means, if any."""
    if node_id == _INPUT:
        return next((slot for slot, port in enumerate(subgraph.inputs) if port.name == name), None)
    for slot in range(len(subgraph.inputs)):
        first = next(_targets(subgraph, slot), None)
        if first is not None and (first[0].id, first[1]) == (node_id, name):
            return slot
    return None


def _quarantined(host: UiNode) -> dict[str, Any]:
    """Input -> the value that a newer editor kept aside for it."""
    listed = host.properties.get("proxyWidgetErrorQuarantine")
    found: dict[str, Any] = {}
    for each in reversed(listed if isinstance(listed, list) else []):
        entry = each.get("originalEntry") if isinstance(each, dict) else None
        if isinstance(entry, list) and len(entry) > 1 and str(entry[0]) == _INPUT and each.get("hostValue") is not None:
            found[str(entry[1])] = each["hostValue"]
    return found
