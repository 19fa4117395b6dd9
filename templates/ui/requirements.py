"""Which classes of a server a UI file needs, and what to say of those that it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.errors import TemplateError
from templates.catalogue import Catalogue
from templates.ui.document import UiNode, UiWorkflow
from templates.ui.refusal import refusal
from templates.ui.scopes import Scope, Scopes
from templates.ui.virtual import IMPLICIT, VIRTUAL

_SUBGRAPH_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_GROUP_NODES = ("workflow>", "workflow/")
_SHOWN = 4


def sent_nodes(workflow: UiWorkflow, scopes: Scopes) -> Iterator[tuple[Scope, UiNode]]:
    """The nodes that become nodes of the graph."""
    for scope in scopes:
        for node in () if scope.dropped else scope.level.nodes.values():
            virtual = node.type in VIRTUAL or node.type in workflow.subgraphs
            if not (virtual or node.muted or node.bypassed):
                yield scope, node


def refuse_what_is_missing(sent: Sequence[tuple[Scope, UiNode]], catalogue: Catalogue) -> None:
    """Errors: TemplateError for a node whose class the catalogue lacks, or whose links are not in the file."""
    for scope, node in sent:
        if node.type in IMPLICIT:
            problem = "it links other nodes without links in the file; export the API format in ComfyUI"
            raise refusal(node, problem, below=scope.path)
    missing = [(scope, node) for scope, node in sent if node.type not in catalogue]
    if missing:
        raise _missing(missing)


def _missing(missing: list[tuple[Scope, UiNode]]) -> TemplateError:
    scope, node = missing[0]
    others = list(dict.fromkeys(each.type for _, each in missing if each.type != node.type))
    if _SUBGRAPH_ID.fullmatch(node.type):
        problem = "the file has no subgraph of this id; open the workflow in ComfyUI and save it again"
    elif node.type.startswith(_GROUP_NODES):
        problem = (
            "group nodes are not supported; in ComfyUI convert it to a subgraph and save, or export the API format"
        )
    else:
        also = f"; neither has it {', '.join(others[:_SHOWN])}{', …' * (len(others) > _SHOWN)}" if others else ""
        problem = f"the server has no such node class; {_what_to_do(node)}{also}"
    return refusal(node, problem, below=scope.path)


def _what_to_do(node: UiNode) -> str:
    pack = next((str(node.properties[key]) for key in ("cnr_id", "aux_id") if node.properties.get(key)), None)
    if pack == "comfy-core":
        version = node.properties.get("ver")
        saved = f" (the file was saved with {version})" if isinstance(version, str) else ""
        return f"it is ComfyUI's own, so update ComfyUI{saved}, or enable its API nodes"
    named = f"the custom node {pack!r}" if pack else "the custom node that brings it"
    return f"install {named} and restart ComfyUI"
