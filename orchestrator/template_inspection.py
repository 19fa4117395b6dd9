"""Looking at workflows: what is shipped, what is in one, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import templates
from orchestrator.clients import client_for
from orchestrator.comfyui.capabilities import Capabilities
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, DiskFull, UsageError, located
from orchestrator.formatting import in_lines
from orchestrator.node_classes import kept_classes
from orchestrator.settings import Overrides, Settings, load_settings
from orchestrator.ui_workflows import Conversion
from orchestrator.wording import named
from state.disk import Disk
from templates import Bindings, Finding, Workflow
from templates.catalogue import Catalogue, read_catalogue

if TYPE_CHECKING:
    from orchestrator.documents.others import (
        TemplateCheckDocument,
        TemplateDocument,
        TemplateExportDocument,
        TemplateListDocument,
    )

_RETRY_SECONDS = 3.0
_TEXT_SHOWN = 60

PURPOSES = {
    "img2img": "image to image: an image and a prompt; SD 1.5 checkpoint",
    "smoke": "a little noise, no model at all: does the server work?",
    "smoke-image": "an image with its colors inverted, no model at all: for directories of images",
    "txt2img-sd15": "text to image, 512 x 512; SD 1.5 checkpoint",
    "txt2img-sdxl": "text to image, 1024 x 1024; SDXL checkpoint",
    "upscale": "an image at twice its size, no model at all: for a stage, or directories of images",
    "upscale-model": "an image at four times its size, or what its upscale model makes: for a stage, or directories",
}
"""What each shipped workflow is for."""


@dataclass(frozen=True)
class TemplateList:
    """The shipped workflows."""

    names: tuple[str, ...]

    def as_json(self) -> TemplateListDocument:
        return {
            "schema": "burst.template-list/1",
            "templates": [{"name": name, "purpose": PURPOSES.get(name, "")} for name in self.names],
        }

    def as_text(self) -> str:
        """One line each."""
        width = max(map(len, self.names), default=0)
        lines = [f"{name:<{width}}  {PURPOSES.get(name, '')}" for name in self.names]
        return in_lines([*lines, "Next: burst template show NAME, or burst init DIR --template NAME"])


def list_templates() -> TemplateList:
    """The workflows that come with burst."""
    return TemplateList(tuple(templates.shipped_workflows()))


@dataclass(frozen=True)
class Node:
    """One node of a graph."""

    node_id: str
    class_type: str
    title: str | None


@dataclass(frozen=True)
class Bound:
    """One input that a name sets, and what stands there now."""

    name: str
    address: str
    value: Any


@dataclass(frozen=True)
class TemplateView:
    """What is in a workflow."""

    name: str
    path: Path | None
    nodes: tuple[Node, ...]
    bindings: tuple[Bound, ...]
    saves: tuple[templates.SaveNode, ...]
    ways: tuple[tuple[str, str], ...] = ()
    """From what a name sets to what is saved."""
    candidates: tuple[Bound, ...] = ()
    """What a name may be meant to set that is not bound, because that is not certain."""

    def as_json(self) -> TemplateDocument:
        return {
            "schema": "burst.template/1",
            "name": self.name,
            "path": str(self.path) if self.path else None,
            "purpose": PURPOSES.get(self.name) if self.path is None else None,
            "nodes": [{"id": node.node_id, "class": node.class_type, "title": node.title} for node in self.nodes],
            "bindings": [{"name": one.name, "address": one.address, "value": one.value} for one in self.bindings],
            "ways": [{"name": name, "way": way} for name, way in self.ways],
            "candidates": [{"name": one.name, "address": one.address, "value": one.value} for one in self.candidates],
            "save_nodes": [
                {
                    "id": save.node_id,
                    "class": save.class_type,
                    "prefix_input": save.prefix_input,
                    "extension": save.extension,
                    "files": save.count,
                    "temporary": save.temporary,
                }
                for save in self.saves
            ],
        }

    def as_text(self) -> str:
        """A few small tables."""
        lines = [f"{self.name}: {self.path or PURPOSES.get(self.name, 'shipped')}", "", "Nodes:"]
        lines += _table([(node.node_id, node.class_type, node.title or "") for node in self.nodes])
        lines += ["", "Bindings (name → input = value now):"]
        lines += _table([(one.name, f"→ {one.address}", f"= {_short(one.value)}") for one in self.bindings])
        if not self.bindings:
            lines.append(f"  none found; add one with {named('bindings', 'NODE.INPUT', key='NAME')}")
        if self.candidates:
            choice = named("bindings", "ADDRESS", key="NAME")
            lines += ["", f"Not bound, because it is not certain (choose one of a name with {choice}):"]
            lines += _table([(one.name, f"→ {one.address}", f"= {_short(one.value)}") for one in self.candidates])
        if self.ways:
            lines += ["", "Path to what is saved:"]
            lines += _table([(name, way, "") for name, way in self.ways])
        lines += ["", "Saved by, in the order of the files:" if len(self.saves) > 1 else "Saved by:"]
        lines += _table([(save.node_id, save.class_type, _saving(save)) for save in self.saves])
        if not self.saves:
            lines.append("  nothing is saved; add a SaveImage node")
        return in_lines(lines)


def show_template(name: str | None = None, *, state: Path, overrides: Overrides | None = None) -> TemplateView:
    """The nodes, bindings and save nodes of a workflow: a shipped one, a file, or (without a name) the state's.

    Errors: TemplateError, SettingsError, UsageError.
    """
    chosen = _chosen(name, state, overrides or Overrides())
    graph = chosen.workflow.graph
    candidates = templates.find_candidates(graph, catalogue=chosen.catalogue)
    ends = templates.loose_ends(graph, chosen.catalogue)
    found = {name: targets for name, targets in candidates.items() if not chosen.bindings.get(name)}
    return TemplateView(
        name=chosen.workflow.name,
        path=chosen.workflow.path,
        nodes=tuple(Node(node_id, node["class_type"], _title(node)) for node_id, node in graph.items()),
        bindings=tuple(_bound(graph, chosen.bindings)),
        saves=tuple(templates.saves_in_order(templates.without(graph, ends))),
        ways=tuple(templates.draw(graph, chosen.bindings, found)),
        candidates=tuple(replace(one, address=address) for one, address in _spelled(graph, found)),
    )


@dataclass(frozen=True)
class TemplateExport:
    """A workflow written in API format."""

    name: str
    path: Path
    node_count: int

    def as_json(self) -> TemplateExportDocument:
        return {
            "schema": "burst.template-export/1",
            "name": self.name,
            "path": str(self.path),
            "nodes": self.node_count,
        }

    def as_text(self) -> str:
        return in_lines([f"{self.path}: {_count(self.node_count, 'node')} in API format"])


def export_template(
    name: str, output: Path, *, state: Path, overrides: Overrides | None = None, overwrite: bool = False
) -> TemplateExport:
    """Write a workflow's API graph, converted if need be, to a file that appears whole or not at all.

    A file that is there is replaced only with `overwrite`; repeated, it is left as it is.
    Errors: TemplateError, SettingsError, UsageError.
    """
    chosen = _chosen(name, state, overrides or Overrides())
    text = json.dumps(chosen.workflow.graph, indent=2, ensure_ascii=False) + "\n"
    with located(f"{output}: cannot be written", OSError, DiskFull, into=UsageError):
        if not output.exists() or (overwrite and output.is_file()):
            Disk().write_whole(output, text.encode())
        elif not output.is_file() or output.read_bytes() != text.encode():
            raise UsageError(
                f"{output} already exists; choose another name, or replace it with {named('overwrite', True)}"
            )
    return TemplateExport(chosen.workflow.name, output, len(chosen.workflow.graph))


@dataclass(frozen=True)
class _Chosen:
    workflow: Workflow
    bindings: Bindings
    settings: Settings
    catalogue: Catalogue
    """What is kept of the servers' node classes."""


def _chosen(name: str | None, state: Path, overrides: Overrides) -> _Chosen:
    """As a run takes it: a file that is there wins over a shipped workflow of that name."""
    settings = load_settings(state, replace(overrides, template=name or overrides.template))
    if settings.template is None:
        raise UsageError(f"name a workflow: a file, or one of {', '.join(templates.shipped_workflows())}")
    workflow = templates.load_workflow(settings.template, convert=Conversion(settings))
    told = settings.bindings if name is None else overrides.bindings
    catalogue = kept_classes(workflow.graph, settings)
    return _Chosen(workflow, templates.find_bindings(workflow.graph, told, catalogue=catalogue), settings, catalogue)


@dataclass(frozen=True)
class TemplateFindings:
    """What is wrong with a workflow. `server` is None when none was asked."""

    name: str
    server: str | None
    node_count: int
    bound: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def error_count(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 when the server would refuse it."""
        return EXIT_ITEMS_FAILED if self.error_count else EXIT_DONE

    def as_json(self) -> TemplateCheckDocument:
        return {
            "schema": "burst.template-check/1",
            "name": self.name,
            "server": self.server,
            "ok": not self.error_count,
            "bindings": list(self.bound),
            "findings": [
                {"severity": finding.severity, "node": finding.node_id, "message": finding.message}
                for finding in self.findings
            ],
        }

    def as_text(self) -> str:
        """One line each, and the sum."""
        against = (
            f"compared with {self.server}"
            if self.server
            else f"without a server ({named('ask_server', True)} asks one)"
        )
        lines = [f"{finding.severity + ':':<8} {finding.message}" for finding in self.findings]
        warnings = len(self.findings) - self.error_count
        verdict = "fine" if not self.findings else f"{_count(self.error_count, 'error')}, {_count(warnings, 'warning')}"
        lines.append(f"{self.name}: {verdict}; {self.node_count} nodes, {against}")
        lines.append(f"Bound: {', '.join(self.bound) or 'nothing'}")
        return in_lines(lines)


def check_template(
    name: str | None = None, *, state: Path, overrides: Overrides | None = None, ask_server: bool = False
) -> TemplateFindings:
    """Hold a workflow (without a name the state's) against the rules; with `ask_server` against what the server offers.

    Nothing is sent to be rendered. Errors: TemplateError where it cannot be read; SettingsError; UsageError;
    ServerUnreachable, ServerBusy, UnexpectedAnswer.
    """
    chosen = _chosen(name, state, overrides or Overrides())
    graph, settings = chosen.workflow.graph, chosen.settings
    findings: Sequence[Finding] = templates.check_offline(
        chosen.workflow, chosen.bindings, loose_ends=templates.loose_ends(graph, chosen.catalogue)
    )
    server = None
    if ask_server:
        asked = settings.the_one_server()
        with client_for(asked, settings, retry_seconds=_RETRY_SECONDS) as client:
            server = client.url
            object_info = client.object_info()
            refused = templates.check_against(graph, object_info, folders=Capabilities(client).folder)
            disagreeing = templates.check_names(graph, chosen.bindings, read_catalogue(object_info))
            findings = merged(findings, refused, disagreeing)
    return TemplateFindings(chosen.workflow.name, server, len(graph), tuple(chosen.bindings), tuple(findings))


def merged(*findings: Sequence[Finding]) -> list[Finding]:
    """All of them once, errors first."""
    everything = dict.fromkeys(finding for some in findings for finding in some)
    return sorted(everything, key=lambda finding: finding.severity != "error")


def _bound(graph: templates.Graph, bindings: Bindings) -> list[Bound]:
    return [
        Bound(name, target.address, graph[target.node_id]["inputs"].get(target.input_name))
        for name, targets in bindings.items()
        for target in targets
    ]


def _spelled(graph: templates.Graph, candidates: Bindings) -> Iterator[tuple[Bound, str]]:
    spellings = (templates.spelled(graph, target) for targets in candidates.values() for target in targets)
    return zip(_bound(graph, candidates), spellings, strict=True)


def _title(node: Mapping[str, Any]) -> str | None:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title if isinstance(title, str) else None


def _saving(save: templates.SaveNode) -> str:
    if save.temporary:
        return f"shown: kept only where nothing is saved, or with {named('outputs')}"
    what = (
        f"{save.extension or 'files'}, {_count(save.count, 'file') if save.count else 'any number of files'} a prompt"
    )
    return what if save.prefix_input else f"{what}; takes no prefix, so prompts run one at a time"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"(linked to {value[0]})"
    text = " ".join(str(value).split()) if isinstance(value, str) else str(value)
    return text if len(text) <= _TEXT_SHOWN else text[: _TEXT_SHOWN - 1] + "…"


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return [f"  {first:<{widths[0]}}  {second:<{widths[1]}}  {third}".rstrip() for first, second, third in rows]
