"""The offline checks of `burst doctor` on the workflows that due items use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import templates
from orchestrator.changed_workflows import ChangedWorkflow
from orchestrator.cycle.set_aside import SetAside
from orchestrator.doctor.diagnosis import Check, Verdict, command
from orchestrator.doctor.survey import DueItems
from orchestrator.errors import BurstError, RecipeUnusable
from orchestrator.formatting import counted
from orchestrator.preparation import Preparation
from orchestrator.recipes import LoadedRecipe
from orchestrator.settings import DEFAULT_STATE, Settings
from state.item import Item, Status
from templates import Finding, Workflow

_FINDINGS_SHOWN = 6


@dataclass(frozen=True)
class Loaded:
    """A workflow that due items use, or the reason why it cannot be loaded."""

    name: str
    """As accepted by `template check`; empty if no template is set."""
    items: int
    workflow: Workflow | None
    findings: tuple[Finding, ...]
    error: BurstError | None = None
    loading: frozenset[str] = frozenset()
    """Ids of the nodes whose image every due item uploads."""
    recipe: str = ""
    """The id of a recipe with this workflow: distinguishes it from another one of the same name."""
    servers: tuple[str, ...] = ()
    """The names of the only servers that may run it; empty if any server of a run may."""


def load_workflows(
    preparation: Preparation, settings: Settings, due: Sequence[DueItems], *, home: Path
) -> list[Loaded]:
    """The distinct workflows of due items, and the default one.

    `home`: the state file's directory.
    """
    groups: dict[tuple[str | None, object], tuple[LoadedRecipe, list[DueItems]]] = {}
    failed: dict[str, Loaded] = {}
    for group in (DueItems(Item(key="", status=Status.PENDING), 0, frozenset()), *due):
        try:
            recipe = preparation.recipe_of(group.example)
        except BurstError as error:
            name = "" if isinstance(error, RecipeUnusable) else group.example.template or settings.template or ""
            before = failed.get(str(error))
            count = group.count + (before.items if before is not None else 0)
            if count or name:
                failed[str(error)] = Loaded(name, count, None, (), error)
            continue
        made_with = recipe.recipe.workflow, (frozenset(recipe.recipe.bindings.items()), recipe.recipe.servers)
        groups.setdefault(made_with, (recipe, []))[1].append(group)
    return [_checked(recipe, found, home) for recipe, found in groups.values()] + list(failed.values())


def _checked(recipe: LoadedRecipe, due: Sequence[DueItems], home: Path) -> Loaded:
    name = recipe.name
    # Without a name it comes from a server's queue: it was accepted there, and its items set inputs by address.
    is_queued = not recipe.recipe.workflow_name
    path = None if is_queued or name in templates.shipped_workflows() else home / name
    workflow = Workflow(name if path is None else path.stem, path, recipe.graph)
    findings = (
        ()
        if is_queued
        else tuple(templates.check_offline(workflow, recipe.bindings, loose_ends=recipe.recipe.loose_ends))
    )
    brought = [group.uploaded for group in due if group.count]
    own = frozenset.intersection(*brought) if brought else frozenset()
    loading = frozenset(target.node_id for binding in own for target in recipe.bindings.get(binding, ()))
    count = sum(group.count for group in due)
    return Loaded(
        name if path is None else str(path),
        count,
        workflow,
        findings,
        loading=loading,
        recipe=recipe.recipe.id,
        servers=recipe.recipe.servers,
    )


def check_workflows(state: Path, workflows: Sequence[Loaded]) -> Iterator[Check]:
    """Problems that can be found without a server."""
    for loaded in workflows:
        if loaded.workflow is None:
            yield _unloadable(state, loaded)
        elif loaded.findings:
            yield from findings_checks(loaded, loaded.findings, command("template check", state, loaded.name))
        else:
            yield Check("template", "ok", f"{loaded.workflow.name}: {len(loaded.workflow.graph)} nodes, nothing wrong")


def _unloadable(state: Path, loaded: Loaded) -> Check:
    if loaded.name:
        return Check("template", "problem", str(loaded.error), command("template check", state, loaded.name))
    if isinstance(loaded.error, RecipeUnusable):
        message = f"{loaded.error} ({counted(loaded.items, 'item')})"
        return Check("template", "problem", message, command("update", state))
    message = f"none is set for {counted(loaded.items, 'item')}; shipped: {', '.join(templates.shipped_workflows())}"
    return Check("template", "problem", message, command("run", state, "--template", "NAME"))


def check_changed(state: Path, changed: Sequence[ChangedWorkflow]) -> Iterator[Check]:
    """Files that pending items are not made with any more."""
    for one in changed:
        yield Check(
            "template",
            "warning",
            one.as_text(),
            command("update", state, "--made-with", one.path, "--template", one.path),
        )


def check_set_aside(state: Path, found: Sequence[SetAside]) -> Iterator[Check]:
    """Recipes that the last burst could not use."""
    for one in found:
        remedy = one.command(state if state != Path(DEFAULT_STATE) else None)
        yield Check("recipe", "problem", one.as_text(), remedy)


def findings_checks(
    loaded: Loaded, findings: Sequence[Finding], remedy: str, *, name: str = "template"
) -> Iterator[Check]:
    """One check per finding; beyond the first few they are only counted."""
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
