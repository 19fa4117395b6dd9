"""Checks of a graph before it is submitted: on its own, and against a server's object_info."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from orchestrator.wording import named
from templates.address import spelled
from templates.bindings import Bindings, choice_of, find_bindings, find_candidates, no_binding, no_node
from templates.catalogue import Catalogue
from templates.choices import Choices, Folders, choices_of
from templates.graph import Graph, Target, class_of, describe, find_cycle, inputs_of, link_of, links, needed_nodes
from templates.loose_ends import without
from templates.saving import needs_exclusive_run, save_nodes
from templates.workflow import Workflow

_FILES = ("image", "video", "audio")
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """A problem in a graph: an `error` makes the server reject it, a `warning` does not."""

    severity: Severity
    node_id: str | None
    message: str


def check_offline(workflow: Workflow, bindings: Bindings, *, loose_ends: Collection[str] = ()) -> list[Finding]:
    """Problems that can be found without a server, errors first. `loose_ends`: nodes that are known to save nothing."""
    graph = workflow.graph
    saving = _saving(without(graph, loose_ends))
    findings = [*_broken_links(graph), *_cycles(graph), *saving, *_unbound(graph, bindings)]
    return _errors_first(findings)


def _errors_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _broken_links(graph: Graph) -> Iterator[Finding]:
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
                advice = 'write a link as [node id, slot], and a list as a value as {"__value__": […]}'
                yield Finding("error", node_id, f"{where} is a list but not a link; {advice}")


def _cycles(graph: Graph) -> Iterator[Finding]:
    if cycle := find_cycle(graph):
        path = " → ".join(describe(graph, node_id) for node_id in [*cycle, cycle[0]])
        yield Finding("error", cycle[0], f"these nodes depend on each other: {path}; break the cycle")


def _saving(graph: Graph) -> Iterator[Finding]:
    saves = save_nodes(graph)
    if not saves:
        yield Finding("error", None, "nothing is saved; add a save node (SaveImage) and export the workflow again")
    elif all(save.temporary for save in saves):
        yield Finding(
            "warning",
            None,
            "only previews are saved, and the server deletes them when it restarts; add a SaveImage node",
        )
    for node_id in needs_exclusive_run(graph):
        message = f"node {describe(graph, node_id)} has no input for a filename prefix and may overwrite its own files"
        yield Finding(
            "warning", node_id, f"{message}, so prompts run one at a time; use a SaveImage node to avoid that"
        )


def _unbound(graph: Graph, bindings: Bindings) -> Iterator[Finding]:
    candidates = find_candidates(graph)
    for name, targets in candidates.items():
        if not bindings.get(name):
            message = f"it is not certain what {name!r} sets, so it sets nothing; {choice_of(graph, name, targets)}"
            yield Finding("warning", targets[0].node_id, message)
    if not (any(bindings.get(name) for name in ("prompt", *_FILES)) or "prompt" in candidates):
        yield Finding("warning", None, no_binding("prompt", bindings))
    for name, targets in bindings.items():
        for target in targets:
            if target.node_id not in graph:
                yield Finding("error", target.node_id, no_node(name, target))


def check_names(graph: Graph, bindings: Bindings, catalogue: Catalogue) -> list[Finding]:
    """Where a server's node classes say that a name sets other inputs than it does by names alone.

    `bindings`: those that are used. What the user gave is not questioned.
    """
    by_names, by_classes = find_bindings(graph), find_bindings(graph, catalogue=catalogue)
    return [
        _disagreement(graph, name, by_names.get(name, ()), by_classes.get(name, ()), used=bindings.get(name, ()))
        for name in dict.fromkeys([*by_names, *by_classes])
        if by_names.get(name, ()) != by_classes.get(name, ())
        and bindings.get(name, ()) in (by_names.get(name, ()), by_classes.get(name, ()))
    ]


def _disagreement(
    graph: Graph, name: str, by_name: Sequence[Target], typed: Sequence[Target], *, used: Sequence[Target]
) -> Finding:
    now, right = (", ".join(spelled(graph, target) for target in targets) or "nothing" for targets in (by_name, typed))
    chosen = ",".join(spelled(graph, target) for target in typed)
    advice = f"settle it with {named('bindings', chosen or 'NODE.INPUT', key=name)}"
    node_id = next((target.node_id for target in (*by_name, *typed)), None)
    taken = ", which is used" if tuple(used) == tuple(typed) else ""
    message = f"by names alone {name!r} sets {now}, by the server's nodes {right}{taken}; {advice}"
    return Finding("warning", node_id, message)


def check_against(graph: Graph, object_info: Mapping[str, Any], *, folders: Folders | None = None) -> list[Finding]:
    """Problems that make a server with this `GET /object_info` response reject the graph, errors first.

    Entries of an unknown shape are skipped. `folders` provides the model files that object_info does not list.
    """
    findings: list[Finding] = []
    outputs = [node_id for node_id in graph if _is_output(object_info.get(class_of(graph, node_id)))]
    needed = needed_nodes(graph, outputs)
    for node_id in graph:
        class_type = class_of(graph, node_id)
        if not isinstance(object_info.get(class_type), dict):
            message = f"node {describe(graph, node_id)}: the server has no node {class_type!r}"
            findings.append(
                Finding(
                    "error", node_id, f"{message}; {_suggestion(class_type, object_info, 'install the custom node')}"
                )
            )
        elif node_id in needed:
            findings += _check_node(graph, node_id, object_info, folders)
        else:
            findings += map(_as_warning, _check_node(graph, node_id, object_info, folders))
    return _errors_first(findings)


def _is_output(info: object) -> bool:
    return isinstance(info, dict) and info.get("output_node") is True


def _as_warning(finding: Finding) -> Finding:
    return replace(finding, severity="warning", message=f"{finding.message} (no output depends on this node)")


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
            yield Finding("warning", node_id, f"{where}: the server does not know the input {name!r} and ignores it")
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
    """The `required` or `optional` inputs of a node class by name, from its entry in object_info."""
    declared = info.get("input")
    found = declared.get(kind) if isinstance(declared, dict) else None
    return found if isinstance(found, dict) else {}


def _check_link(
    graph: Graph, node_id: str, name: str, expected: object, object_info: Mapping[str, Any]
) -> Iterator[Finding]:
    source, slot = dict(links(graph, node_id))[name]
    info = object_info.get(class_of(graph, source))
    outputs = info.get("output") if isinstance(info, dict) else None
    if not isinstance(outputs, list):
        return
    where = f"node {describe(graph, node_id)}: input {name!r}"
    if not 0 <= slot < len(outputs):
        message = f"{where} is linked to output {slot} of node {describe(graph, source)}, which has {len(outputs)}"
        yield Finding("error", node_id, f"{message}; link it again")
    elif not _compatible(outputs[slot], expected):
        yield Finding(
            "warning",
            node_id,
            f"{where} expects {expected}, but node {describe(graph, source)} outputs {outputs[slot]}",
        )


def _compatible(output: object, expected: object) -> bool:
    if not isinstance(output, str) or not isinstance(expected, str) or "COMBO" in (output, expected):
        return True
    if "*" in (output, expected) or "COMFY_" in output + expected:
        return True
    return not set(output.split(",")).isdisjoint(expected.split(","))


def _check_choice(
    node_id: str, where: str, value: object, choices: Choices, files: Collection[str] | None
) -> Iterator[Finding]:
    available = [str(each) for each in (choices.values if choices.values is not None else files or ())]
    count = f"it has {len(available)} other{'s' * (len(available) > 1)}" if available else "it has none"
    for missing in choices.missing(value, files):
        advice = _suggestion(str(missing), available, "upload it first" if choices.uploadable else count)
        severity: Severity = "warning" if choices.uploadable else "error"
        yield Finding(severity, node_id, f"{where}: {missing!r} is not on the server; {advice}")


def _check_number(node_id: str, where: str, value: object, spec: list[Any]) -> Iterator[Finding]:
    if isinstance(value, dict) and "__value__" in value:
        return
    try:
        number = int(value) if spec[0] == "INT" else float(value)  # type: ignore[call-overload, arg-type]
    except (TypeError, ValueError, OverflowError):
        yield Finding("error", node_id, f"{where}: {value!r} is not a number; use one")
        return
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    minimum, maximum = options.get("min"), options.get("max")
    if isinstance(minimum, int | float) and number < minimum:
        yield Finding("error", node_id, f"{where}: {value!r} is below the server's minimum of {minimum}")
    if isinstance(maximum, int | float) and number > maximum:
        yield Finding("error", node_id, f"{where}: {value!r} is above the server's maximum of {maximum}")


def _suggestion(name: str, available: Collection[str], otherwise: str) -> str:
    close = get_close_matches(name, available, n=3)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else otherwise
