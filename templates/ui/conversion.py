"""From a workflow of the editor to the graph that the editor would queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import TemplateError
from templates.catalogue import Catalogue, NodeClass
from templates.graph import Graph
from templates.ui.document import UiNode, UiWorkflow, read_workflow
from templates.ui.editor import Widget
from templates.ui.promotion import Promotion
from templates.ui.refusal import refusal
from templates.ui.renumbering import renumbered
from templates.ui.requirements import refuse_what_is_missing, sent_nodes
from templates.ui.scopes import Scope, Scopes
from templates.ui.values import fill, made_in_a_viewer
from templates.ui.virtual import VIRTUAL
from templates.ui.wiring import Given, Linked, Wiring


def convert(document: Mapping[str, Any], catalogue: Catalogue, *, where: str) -> Graph:
    """The API graph of a decoded UI file. `where` names the file in messages. Errors: TemplateError."""
    workflow = read_workflow(document, where=where)
    newer = any(cls.newer for cls in catalogue.values())
    try:
        return _Conversion(renumbered(workflow) if newer else workflow, catalogue, newer=newer).graph()
    except TemplateError as error:
        raise TemplateError(f"{where}: {error}") from error


def classes_in(document: Mapping[str, Any], *, where: str) -> list[str]:
    """The node classes that a UI file needs of a server, in order. Errors: TemplateError."""
    workflow = read_workflow(document, where=where)
    used = (node.type for scope in Scopes(workflow) for node in scope.level.nodes.values())
    return [each for each in dict.fromkeys(used) if each not in VIRTUAL and each not in workflow.subgraphs]


def sent_classes(document: Mapping[str, Any], *, where: str) -> list[str]:
    """Those of the nodes that become nodes of the graph; muted and bypassed ones do not. Errors: TemplateError."""
    workflow = read_workflow(document, where=where)
    return list(dict.fromkeys(node.type for _, node in sent_nodes(workflow, Scopes(workflow))))


class _Conversion:
    def __init__(self, workflow: UiWorkflow, catalogue: Catalogue, *, newer: bool) -> None:
        self._catalogue = catalogue
        self._newer = newer
        self._scopes = Scopes(workflow)
        self._promotion = Promotion(workflow, catalogue, self._scopes)
        self._wiring = Wiring(workflow, catalogue, self._scopes, self._promotion, newer=newer)
        self._sent = list(sent_nodes(workflow, self._scopes))
        self._ids = {scope.id_of(node) for scope, node in self._sent}

    def graph(self) -> Graph:
        refuse_what_is_missing(self._sent, self._catalogue)
        return {scope.id_of(node): self._node(scope, node) for scope, node in self._sent}

    def _node(self, scope: Scope, node: UiNode) -> dict[str, Any]:
        cls = self._catalogue[node.type]
        if (name := made_in_a_viewer(cls)) and (cls.output_node or scope.level.uses(node)):
            problem = f"the editor makes {name!r} in a viewer of its own; export the API format in ComfyUI"
            raise refusal(node, problem, below=scope.path)
        inputs = self._literals(scope, node, cls)
        for slot, socket in enumerate(self._wiring.inputs(node)):
            source = self._wiring.source(scope, node, slot)
            if isinstance(source, Given):
                inputs[socket.name] = _literal(source.value)
            elif isinstance(source, Linked) and source.node_id in self._ids:
                inputs[socket.name] = [source.node_id, source.slot]
            elif source is not None and not self._newer:
                # Of a link to a muted node, older editors drop the widget's value too.
                inputs.pop(socket.name, None)
        return {"inputs": inputs, "class_type": node.type, "_meta": {"title": node.title or cls.display_name}}

    def _literals(self, scope: Scope, node: UiNode, cls: NodeClass) -> dict[str, Any]:
        promoted = self._promotion.into(scope).widgets
        found: dict[str, Any] = {}
        for each in fill(cls, node):
            value = promoted.get((node.id, each.widget.name), each.value)
            if each.widget.sent:
                found[each.widget.name] = _literal(_without_comments(value) if _is_prompt(each.widget) else value)
        return found


def _literal(value: Any) -> Any:
    """A list as it is would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value


_COMMENT = re.compile(r"/\*.*?\*/|//[^\n\r\u2028\u2029]*", re.DOTALL)


def _is_prompt(widget: Widget) -> bool:
    return widget.input is not None and widget.input.dynamic_prompts


def _without_comments(text: Any) -> Any:
    """As the editor does for prompt texts. What it draws at random from `{a|b}` stays as it is."""
    return _COMMENT.sub("", text) if isinstance(text, str) else text
