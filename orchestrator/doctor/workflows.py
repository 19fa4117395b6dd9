"""What `burst doctor` says of the workflows that due items use, before any server is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import templates
from orchestrator.doctor.diagnosis import Check, Verdict, command
from orchestrator.errors import BurstError
from orchestrator.formatting import counted
from orchestrator.settings import Settings
from templates import Finding, Workflow

_FINDINGS_SHOWN = 6


@dataclass(frozen=True)
class Loaded:
    """A workflow that due items use, or why it cannot be loaded."""

    name: str
    """As it was named; empty where no template is set at all."""
    items: int
    workflow: Workflow | None
    findings: tuple[Finding, ...]
    error: str | None = None
    loading: frozenset[str] = frozenset()
    """Ids of the nodes whose picture every due item brings along."""


def load_workflows(
    settings: Settings,
    wanted: Mapping[str | None, int],
    uploaded: Mapping[str | None, frozenset[str]],
    *,
    home: Path,
) -> list[Loaded]:
    """The workflows that the due items need; the default one also when none does. Relative paths start at `home`.

    `uploaded`: by template, the bindings that each due item has a picture of its own for.
    """
    named: dict[str, int] = {}
    brought: dict[str, frozenset[str]] = {}
    for template, count in {None: 0, **wanted}.items():
        name = template or settings.template or ""
        named[name] = named.get(name, 0) + count
        if count:
            own = uploaded.get(template, frozenset())
            brought[name] = brought.get(name, own) & own
    return [
        _load(name, count, brought.get(name, frozenset()), settings, home)
        for name, count in named.items()
        if name or count
    ]


def _load(name: str, items: int, brought: frozenset[str], settings: Settings, home: Path) -> Loaded:
    if not name:
        message = f"none is set for {counted(items, 'item')}; shipped: {', '.join(templates.shipped_workflows())}"
        return Loaded(name, items, None, (), message)
    try:
        workflow = templates.load_workflow(name, relative_to=home)
        bindings = templates.find_bindings(workflow.graph, settings.bindings)
    except BurstError as error:
        return Loaded(name, items, None, (), str(error))
    findings = tuple(templates.check_offline(workflow, bindings))
    loading = frozenset(target.node_id for binding in brought for target in bindings.get(binding, ()))
    return Loaded(name, items, workflow, findings, loading=loading)


def check_workflows(state: Path, workflows: Sequence[Loaded]) -> Iterator[Check]:
    """What can be said of them without a server."""
    for loaded in workflows:
        if loaded.workflow is None:
            remedy = (
                command("template check", state, loaded.name)
                if loaded.name
                else command("run", state, "--template", "NAME")
            )
            yield Check("template", "problem", loaded.error or "cannot be loaded", remedy)
        elif loaded.findings:
            yield from findings_checks(loaded, loaded.findings, command("template check", state, loaded.name))
        else:
            yield Check("template", "ok", f"{loaded.workflow.name}: {len(loaded.workflow.graph)} nodes, nothing wrong")


def findings_checks(
    loaded: Loaded, findings: Sequence[Finding], remedy: str, *, name: str = "template"
) -> Iterator[Check]:
    """One check for each finding; what is beyond a handful is counted."""
    assert loaded.workflow is not None
    for finding in findings[:_FINDINGS_SHOWN]:
        verdict: Verdict = "problem" if finding.severity == "error" else "warning"
        message = f"{loaded.workflow.name}: {finding.message}"
        yield Check(name, verdict, message, remedy if verdict == "problem" else None, {"node": finding.node_id})
    more = findings[_FINDINGS_SHOWN:]
    if more:
        errors = sum(finding.severity == "error" for finding in more)
        rest: Verdict = "problem" if errors else "warning"
        message = f"{loaded.workflow.name}: and {counted(len(more), 'more finding')}"
        yield Check(name, rest, message, remedy)
