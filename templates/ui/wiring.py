"""Where an input of a node gets its value from: through reroutes, bypassed nodes and the borders of subgraphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from templates.catalogue import Catalogue
from templates.ui.document import INPUTS_OF_SUBGRAPH, OUTPUTS_OF_SUBGRAPH, Socket, Subgraph, UiNode, UiWorkflow
from templates.ui.promotion import Promotion
from templates.ui.refusal import refusal
from templates.ui.scopes import Scope, Scopes
from templates.ui.slots import inputs_of, outputs_of, passed_on
from templates.ui.virtual import GETTERS, PRIMITIVE, REROUTES, SETTERS, value_of, variable


@dataclass(frozen=True)
class Linked:
    """An output of a node of the graph."""

    node_id: str
    slot: int


@dataclass(frozen=True)
class Given:
    """A value in place of a link."""

    value: Any


Source = Linked | Given | None
"""None: nothing is linked, or what is linked is not there."""

_Seen = frozenset[tuple[Scope, str, int]]


class Wiring:
    """The links of one workflow."""

    def __init__(
        self, workflow: UiWorkflow, catalogue: Catalogue, scopes: Scopes, promotion: Promotion, *, newer: bool
    ) -> None:
        """`newer`: the editor of the server is newer than that of 0.3.64."""
        self._workflow = workflow
        self._newer = newer
        self._catalogue = catalogue
        self._scopes = scopes
        self._promotion = promotion

    def inputs(self, node: UiNode) -> Sequence[Socket]:
        """The sockets of a node as the editor has them once it is loaded."""
        return inputs_of(node, self._catalogue.get(node.type), self._workflow.subgraphs.get(node.type))

    def source(self, scope: Scope, node: UiNode, slot: int) -> Source:
        """What an input of a node gets. Errors: TemplateError where links run in a circle, or a name is not unique."""
        return self._input(scope, node, slot, wanted=None, seen=frozenset())

    def _input(self, scope: Scope, node: UiNode, slot: int, *, wanted: str | None, seen: _Seen) -> Source:
        """`wanted`: the type of the input where the walk began."""
        if (scope, node.id, slot) in seen:
            raise refusal(node, "its links run in a circle; link it again in ComfyUI", below=scope.path)
        seen |= {(scope, node.id, slot)}
        socket = self.inputs(node)[slot]
        if socket.link is None:
            return None
        wire = scope.level.wires.get(socket.link)
        if wire is not None and wire.origin == INPUTS_OF_SUBGRAPH:
            return self._from_outside(scope, wire.slot, seen)
        origin = scope.level.nodes.get(wire.origin) if wire is not None else None
        if wire is None or origin is None:
            problem = f"its input {socket.name!r} has a link that leads nowhere; link it again in ComfyUI"
            raise refusal(node, problem, below=scope.path)
        if origin.type == PRIMITIVE:
            return self._primitive(scope, origin) if self._takes_primitives(node, seen) else None
        return self._output(scope, origin, wire.slot, wanted=wanted or socket.type, seen=seen)

    def _takes_primitives(self, node: UiNode, seen: _Seen) -> bool:
        """A primitive sets the widgets that it is linked to; behind a reroute it sets nothing."""
        return len(seen) == 1 or (not self._newer and node.type in self._workflow.subgraphs)

    def _from_outside(self, scope: Scope, slot: int, seen: _Seen) -> Source:
        """What comes in through an input of the subgraph: a link outside, or the value of the widget shown for it."""
        if scope.outer is None or scope.host is None:
            return None
        sockets = self.inputs(scope.host)
        if slot < len(sockets) and sockets[slot].link is not None:
            return self._input(scope.outer, scope.host, slot, wanted=None, seen=seen)
        shown = self._promotion.into(scope).inputs
        return Given(shown[slot]) if slot in shown else None

    def _output(self, scope: Scope, node: UiNode, slot: int, *, wanted: str, seen: _Seen) -> Source:
        subgraph = self._workflow.subgraphs.get(node.type)
        if node.bypassed:
            outputs = outputs_of(node, subgraph)
            passed = passed_on(self.inputs(node), outputs[slot] if slot < len(outputs) else "*", slot, wanted)
            return None if passed is None else self._input(scope, node, passed, wanted=None, seen=seen)
        if subgraph is not None:
            return self._from_inside(self._scopes.inside(scope, node), subgraph, slot, wanted=wanted, seen=seen)
        if node.type in REROUTES or node.type in SETTERS:
            return self._input(scope, node, 0, wanted=wanted, seen=seen) if self.inputs(node) else None
        if node.type in GETTERS:
            return self._variable(scope, node, wanted=wanted, seen=seen)
        if node.type == PRIMITIVE:
            return None
        return Linked(scope.id_of(node), slot)

    def _from_inside(self, inner: Scope, subgraph: Subgraph, slot: int, *, wanted: str, seen: _Seen) -> Source:
        """What an output of a subgraph is inside."""
        wires = subgraph.wires.values()
        wire = next((w for w in wires if w.target == OUTPUTS_OF_SUBGRAPH and w.target_slot == slot), None)
        if wire is None:
            return None
        if wire.origin == INPUTS_OF_SUBGRAPH:
            return self._from_outside(inner, wire.slot, seen)
        origin = subgraph.nodes.get(wire.origin)
        return None if origin is None else self._output(inner, origin, wire.slot, wanted=wanted, seen=seen)

    def _variable(self, scope: Scope, node: UiNode, *, wanted: str, seen: _Seen) -> Source:
        """What the Set node of the same name gets: in this level, or the nearest one around it."""
        name = variable(node)
        setters = [each for each in scope.level.nodes.values() if each.type in SETTERS and variable(each) == name]
        if len(setters) > 1:
            raise refusal(node, f"{len(setters)} Set nodes have the name {name!r}; rename them", below=scope.path)
        if setters:
            return self._input(scope, setters[0], 0, wanted=wanted, seen=seen) if self.inputs(setters[0]) else None
        if scope.outer is None:
            raise refusal(node, f"no Set node has the name {name!r}; add it, or link the input", below=scope.path)
        return self._variable(scope.outer, node, wanted=wanted, seen=seen)

    def _primitive(self, scope: Scope, node: UiNode) -> Source:
        promoted = self._promotion.into(scope).widgets
        if (node.id, "value") in promoted:
            return Given(promoted[node.id, "value"])
        found = value_of(node)
        return Given(found[0]) if found else None
