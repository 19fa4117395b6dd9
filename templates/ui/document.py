"""A workflow as ComfyUI's editor saves it (version 0.4 or 1), read into values; nothing is decided here.

`{"nodes": [{"id", "type", "mode", "inputs": [{"name", "type", "link", "widget"?}], "outputs", "widgets_values", …}],
"links": [[id, origin, slot, target, slot, type], …], "definitions": {"subgraphs": […]}}`. A subgraph is a graph of its
own with ports; inside it, links from its inputs have the origin -10, and links to its outputs the target -20.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import TemplateError

INPUTS_OF_SUBGRAPH = "-10"
OUTPUTS_OF_SUBGRAPH = "-20"
_MUTED, _BYPASSED = 2, 4


@dataclass(frozen=True)
class Socket:
    """One input of a node, as saved."""

    name: str
    type: str
    link: str | None
    """The id of the link that ends here."""
    widget: bool = False
    """It stands for a widget: without a link, the widget's value counts."""


@dataclass(frozen=True)
class UiNode:
    """One node, as saved."""

    id: str
    type: str
    """A class of the server or of the editor, or the id of a subgraph."""
    title: str | None = None
    mode: int = 0
    inputs: tuple[Socket, ...] = ()
    outputs: tuple[str, ...] = ()
    """The type of each output."""
    values: tuple[Any, ...] | Mapping[str, Any] | None = None
    """`widgets_values`: by place, some custom nodes' by name."""
    named: Mapping[str, Any] = field(default_factory=dict)
    """The same by name, as the newest editors add."""
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def muted(self) -> bool:
        return self.mode == _MUTED

    @property
    def bypassed(self) -> bool:
        return self.mode == _BYPASSED

    def __str__(self) -> str:
        return f'{self.id} ({self.type} "{self.title}")' if self.title else f"{self.id} ({self.type})"


@dataclass(frozen=True)
class Wire:
    """A link."""

    origin: str
    slot: int
    target: str
    target_slot: int


@dataclass(frozen=True)
class Level:
    """The nodes and links of a workflow, or of one subgraph."""

    nodes: Mapping[str, UiNode]
    wires: Mapping[str, Wire]

    def uses(self, node: UiNode) -> bool:
        """Whether an output of the node is linked."""
        return any(wire.origin == node.id for wire in self.wires.values())


@dataclass(frozen=True)
class Port:
    """An input or output of a subgraph."""

    name: str
    type: str
    links: tuple[str, ...] = ()
    """Ids of the links inside that begin or end here, as saved."""


@dataclass(frozen=True)
class Subgraph(Level):
    """A definition that any number of nodes may use; their `type` is its id."""

    id: str
    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class UiWorkflow:
    """A whole file."""

    top: Level
    subgraphs: Mapping[str, Subgraph]
    last_node_id: int = 0
    """The largest id that the editor has given."""

    def levels(self) -> Iterator[Level]:
        """The workflow itself and its subgraphs, whether they are used or not."""
        yield self.top
        yield from self.subgraphs.values()


def is_ui_workflow(document: object) -> bool:
    """Whether a decoded JSON document is a workflow of the editor, and not an API graph."""
    return isinstance(document, dict) and isinstance(document.get("nodes"), list)


def read_workflow(document: Mapping[str, Any], *, where: str) -> UiWorkflow:
    """`where` names the file in messages. Errors: TemplateError with the first place that cannot be read."""
    definitions = document.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    read = [_subgraph(each, where) for each in _objects(listed, f'{where}: "definitions.subgraphs"')]
    last = document.get("last_node_id")
    last_id = last if isinstance(last, int) and not isinstance(last, bool) else 0
    return UiWorkflow(_level(document, where), {each.id: each for each in read}, last_id)


def _level(document: Mapping[str, Any], where: str) -> Level:
    nodes = [_node(each, where) for each in _objects(document.get("nodes"), f'{where}: "nodes"')]
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            raise TemplateError(f"{where}: two nodes have the id {node.id}; open the file in ComfyUI and save it again")
        seen.add(node.id)
    return Level({node.id: node for node in nodes}, dict(_wires(document.get("links"), where)))


def _subgraph(document: Mapping[str, Any], where: str) -> Subgraph:
    name = str(document.get("name") or document.get("id"))
    if not isinstance(document.get("id"), str):
        raise TemplateError(f'{where}: subgraph {name!r} has no "id"; open the file in ComfyUI and save it again')
    inside = f"{where}, subgraph {name!r}"
    level = _level(document, inside)
    return Subgraph(
        level.nodes,
        level.wires,
        id=document["id"],
        name=name,
        inputs=tuple(_ports(document.get("inputs"), inside)),
        outputs=tuple(_ports(document.get("outputs"), inside)),
    )


def _ports(listed: object, where: str) -> Iterator[Port]:
    for each in _objects(listed, f"{where}: its inputs and outputs"):
        links = each.get("linkIds")
        ids = tuple(str(link) for link in links) if isinstance(links, list) else ()
        yield Port(str(each.get("name")), _type(each.get("type")), ids)


def _node(document: Mapping[str, Any], where: str) -> UiNode:
    node_id, kind = document.get("id"), document.get("type")
    if isinstance(node_id, bool) or not isinstance(node_id, int | str) or not isinstance(kind, str) or not kind:
        raise TemplateError(f'{where}: a node has no "id" or no "type"; open the file in ComfyUI and save it again')
    at = f"{where}: node {node_id} ({kind})"
    title, mode, properties, named = (
        document.get(key) for key in ("title", "mode", "properties", "widgets_values_named")
    )
    return UiNode(
        id=str(node_id),
        type=kind,
        title=title if isinstance(title, str) else None,
        mode=mode if isinstance(mode, int) else 0,
        inputs=tuple(_socket(each) for each in _objects(document.get("inputs"), f'{at}: "inputs"')),
        outputs=tuple(_type(each.get("type")) for each in _objects(document.get("outputs"), f'{at}: "outputs"')),
        values=_values(document.get("widgets_values"), at),
        named=named if isinstance(named, dict) else {},
        properties=properties if isinstance(properties, dict) else {},
    )


def _socket(document: Mapping[str, Any]) -> Socket:
    link = document.get("link")
    return Socket(
        name=str(document.get("name")),
        type=_type(document.get("type")),
        link=None if link is None else str(link),
        widget=isinstance(document.get("widget"), dict),
    )


def _values(found: object, at: str) -> tuple[Any, ...] | dict[str, Any] | None:
    if isinstance(found, list):
        return tuple(found)
    if isinstance(found, dict) or found is None:
        return found
    raise TemplateError(f'{at}: "widgets_values" is neither a list nor an object; open and save the file in ComfyUI')


def _type(found: object) -> str:
    """Older files write 0 or -1 for any type."""
    return found if isinstance(found, str) and found else "COMBO" if isinstance(found, list) else "*"


def _wires(listed: object, where: str) -> Iterator[tuple[str, Wire]]:
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict):
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            fields: list[Any] = [each.get(key) for key in keys]
        else:
            fields = list(each[:5]) if isinstance(each, list) else []
        if each is None:
            continue
        try:
            link_id, origin, slot, target, target_slot = fields
            wire = Wire(str(origin), int(slot), str(target), int(target_slot))
            if wire.slot < 0:
                raise ValueError("a slot is a number from 0")
            yield str(link_id), wire
        except (TypeError, ValueError) as error:
            raise TemplateError(
                f"{where}: a link cannot be read: {each!r}; open and save the file in ComfyUI"
            ) from error


def _objects(listed: object, where: str) -> Iterable[Mapping[str, Any]]:
    if listed is None:
        return ()
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise TemplateError(f"{where}: expected a list of objects; open the file in ComfyUI and save it again")
    return listed
