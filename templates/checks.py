"""Checking a graph before anything is sent: on its own, and against what a server offers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from templates.bindings import Bindings
from templates.choices import Choices, Folders, choices_of
from templates.graph import Graph, class_of, describe, find_cycle, inputs_of, link_of, links, needed_nodes
from templates.saving import needs_exclusive_run, save_nodes
from templates.workflow import Workflow

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`: the server would refuse it) or worth knowing (`warning`)."""

    severity: Severity
    node_id: str | None
    message: str


def check_offline(workflow: Workflow, bindings: Bindings) -> list[Finding]:
    """What can be said without a server, errors first."""
    graph = workflow.graph
    found = [*_loose_links(graph), *_cycles(graph), *_saving(graph), *_unbound(graph, bindings)]
    return sorted(found, key=lambda finding: finding.severity != "error")


def _loose_links(graph: Graph) -> Iterator[Finding]:
    for node_id in graph:
        for name, value in inputs_of(graph, node_id).items():
            link = link_of(value)
            where = f"node {describe(graph, node_id)}: input {name!r}"
            if link and link[0] not in graph:
                yield Finding(
                    "error",
                    node_id,
                    f"{where} is linked to node {link[0]!r}, which is not in the workflow; export it again",
                )
            elif link is None and isinstance(value, list):
                advice = 'a link is [node id, slot]; a list as a value is written {"__value__": […]}'
                yield Finding("error", node_id, f"{where} holds a list that is not a link; {advice}")


def _cycles(graph: Graph) -> Iterator[Finding]:
    if cycle := find_cycle(graph):
        way = " → ".join(describe(graph, node_id) for node_id in [*cycle, cycle[0]])
        yield Finding("error", cycle[0], f"these nodes wait for each other: {way}; break the cycle")


def _saving(graph: Graph) -> Iterator[Finding]:
    saves = save_nodes(graph)
    if not saves:
        yield Finding("error", None, "nothing is saved; add a save node (SaveImage) and export the workflow again")
    elif all(save.temporary for save in saves):
        yield Finding(
            "warning", None, "there are only previews, which the server forgets when it restarts; add a SaveImage node"
        )
    for node_id in needs_exclusive_run(graph):
        message = f"node {describe(graph, node_id)} takes no filename prefix and may overwrite its own files"
        yield Finding(
            "warning", node_id, f"{message}, so prompts run one at a time; a SaveImage node in its place avoids that"
        )


def _unbound(graph: Graph, bindings: Bindings) -> Iterator[Finding]:
    if not (bindings.get("prompt") or bindings.get("image")):
        yield Finding("warning", None, "no input was found for the prompt text; name it with --bind prompt=NODE.INPUT")
    for name, targets in bindings.items():
        for target in targets:
            if target.node_id not in graph:
                message = f"binding {name!r} sets node {target.node_id}, which is not in the workflow"
                yield Finding("error", target.node_id, f"{message}; name another one with --bind {name}=NODE.INPUT")


def check_against(graph: Graph, object_info: Mapping[str, Any], *, folders: Folders | None = None) -> list[Finding]:
    """What the server of this `GET /object_info` answer would refuse, errors first. Unknown shapes are passed over.

    `folders` is asked for the models that object_info leaves out.
    """
    found: list[Finding] = []
    outputs = [node_id for node_id in graph if _is_output(object_info.get(class_of(graph, node_id)))]
    needed = needed_nodes(graph, outputs)
    for node_id in graph:
        class_type = class_of(graph, node_id)
        if not isinstance(object_info.get(class_type), dict):
            message = f"node {describe(graph, node_id)}: the server has no node {class_type!r}"
            found.append(
                Finding("error", node_id, f"{message}; {_near(class_type, object_info, 'install the custom node')}")
            )
        elif node_id in needed:
            found += _check_node(graph, node_id, object_info, folders)
        else:
            found += map(_idle, _check_node(graph, node_id, object_info, folders))
    return sorted(found, key=lambda finding: finding.severity != "error")


def _is_output(info: object) -> bool:
    return isinstance(info, dict) and info.get("output_node") is True


def _idle(finding: Finding) -> Finding:
    return replace(finding, severity="warning", message=f"{finding.message} (nothing that is saved needs this node)")


def _check_node(
    graph: Graph, node_id: str, object_info: Mapping[str, Any], folders: Folders | None
) -> Iterator[Finding]:
    info = object_info[class_of(graph, node_id)]
    required, optional = declared_inputs(info, "required"), declared_inputs(info, "optional")
    inputs = inputs_of(graph, node_id)
    where = f"node {describe(graph, node_id)}"
    for name in required:
        if name not in inputs:
            yield Finding(
                "error", node_id, f"{where}: the required input {name!r} is missing; export the workflow again"
            )
    for name, value in inputs.items():
        spec = required.get(name, optional.get(name))
        if name not in required and name not in optional:
            yield Finding("warning", node_id, f"{where}: the server knows no input {name!r} there and ignores it")
        elif not (isinstance(spec, list) and spec):
            continue
        elif link_of(value):
            yield from _check_link(graph, node_id, name, spec[0], object_info)
        elif choices := choices_of(name, spec):
            files = folders(choices.folder) if folders and choices.folder else None
            yield from _check_choice(node_id, f"{where}: input {name!r}", value, choices, files)
        elif spec[0] in ("INT", "FLOAT"):
            yield from _check_number(node_id, f"{where}: input {name!r}", value, spec)


def declared_inputs(info: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The inputs of a node class that are `required` or `optional`, by name, as its entry in object_info gives them."""
    declared = info.get("input")
    found = declared.get(kind) if isinstance(declared, dict) else None
    return found if isinstance(found, dict) else {}


def _check_link(
    graph: Graph, node_id: str, name: str, wanted: object, object_info: Mapping[str, Any]
) -> Iterator[Finding]:
    source, slot = dict(links(graph, node_id))[name]
    info = object_info.get(class_of(graph, source))
    outputs = info.get("output") if isinstance(info, dict) else None
    if not isinstance(outputs, list):
        return
    where = f"node {describe(graph, node_id)}: input {name!r}"
    if not 0 <= slot < len(outputs):
        message = f"{where} takes output {slot} of node {describe(graph, source)}, which has {len(outputs)}"
        yield Finding("error", node_id, f"{message}; link it again")
    elif not _fits(outputs[slot], wanted):
        yield Finding(
            "warning", node_id, f"{where} is {wanted}, but node {describe(graph, source)} gives {outputs[slot]}"
        )


def _fits(given: object, wanted: object) -> bool:
    if not isinstance(given, str) or not isinstance(wanted, str) or "COMBO" in (given, wanted):
        return True
    if "*" in (given, wanted) or "COMFY_" in given + wanted:
        return True
    return not set(given.split(",")).isdisjoint(wanted.split(","))


def _check_choice(
    node_id: str, where: str, value: object, choices: Choices, files: Collection[str] | None
) -> Iterator[Finding]:
    known = [str(one) for one in (choices.values if choices.values is not None else files or ())]
    otherwise = f"it has {len(known)} other{'s' * (len(known) > 1)}" if known else "the server has none"
    for one in choices.lacking(value, files):
        advice = _near(str(one), known, "upload it first" if choices.grows else otherwise)
        severity: Severity = "warning" if choices.grows else "error"
        yield Finding(severity, node_id, f"{where}: {one!r} is not on the server; {advice}")


def _check_number(node_id: str, where: str, value: object, spec: list[Any]) -> Iterator[Finding]:
    if isinstance(value, dict) and "__value__" in value:
        return
    try:
        number = int(value) if spec[0] == "INT" else float(value)  # type: ignore[call-overload, arg-type]
    except (TypeError, ValueError, OverflowError):
        yield Finding("error", node_id, f"{where}: {value!r} is not a number; give one")
        return
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    least, most = options.get("min"), options.get("max")
    if isinstance(least, int | float) and number < least:
        yield Finding("error", node_id, f"{where}: {value!r} is under the least that the server takes, {least}")
    if isinstance(most, int | float) and number > most:
        yield Finding("error", node_id, f"{where}: {value!r} is over the most that the server takes, {most}")


def _near(wanted: str, known: Collection[str], otherwise: str) -> str:
    near = get_close_matches(wanted, known, n=3)
    return f"did you mean {' or '.join(repr(name) for name in near)}?" if near else otherwise
