"""Workflow files that were saved over since items were asked for: those items are rendered as the file was then."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import templates
from orchestrator.errors import TemplateError
from orchestrator.formatting import counted
from orchestrator.places import root_at_home
from orchestrator.settings import load_settings
from orchestrator.ui_workflows import Conversion
from state.item import Status
from state.recipe import Recipe, workflow_bytes, workflow_digest
from state.store import Store
from templates import Convert, Graph

if TYPE_CHECKING:
    from orchestrator.documents.parts import ChangedWorkflowDocument


class ChangedWorkflow(msgspec.Struct, frozen=True):
    """One file, and the pending items that it was changed after."""

    path: str
    """As the recipes name it."""
    items: int

    def as_json(self) -> ChangedWorkflowDocument:
        return {"path": self.path, "items": self.items}

    def as_text(self) -> str:
        path = shlex.quote(self.path)
        return (
            f"{self.path} was changed since: {counted(self.items)} will be rendered as it was; "
            f"`burst update --made-with {path} --template {path}` takes the file as it is now"
        )


class _Pending(msgspec.Struct, gc=False):
    """What of an item's record is counted."""

    status: Status
    recipe: str | None = None


def changed_workflows(store: Store) -> tuple[ChangedWorkflow, ...]:
    """Files that differ from what pending items are made with. Items are read only where a file does."""
    home = store.location.home
    now: dict[str, str | None] = {}

    def convert(document: Mapping[str, Any], where: str) -> Graph:
        return Conversion(load_settings(store.location.path), ask=False)(document, where)

    outdated = {
        recipe_id: recipe
        for recipe_id, recipe in store.recipes.all().items()
        if recipe.workflow is not None and _digest_now(recipe, home, now, convert) not in (None, recipe.workflow)
    }
    if not outdated:
        return ()
    items: Counter[str] = Counter()
    for _, one in store.parts(_Pending):
        if one.status is Status.PENDING and one.recipe in outdated:
            items[outdated[one.recipe].workflow_name or ""] += 1
    return tuple(ChangedWorkflow(path, count) for path, count in items.items())


def _digest_now(recipe: Recipe, home: Path, known: dict[str, str | None], convert: Convert) -> str | None:
    """Of the file that a recipe's workflow came from; None where it came from none, or none is there to be read."""
    name = recipe.workflow_name or ""
    if not name.endswith(".json"):
        return None
    if name not in known:
        try:
            graph = templates.load_workflow(str(root_at_home(name, home)), convert=convert).graph
            known[name] = workflow_digest(workflow_bytes(graph))
        except TemplateError:
            known[name] = None
    return known[name]
