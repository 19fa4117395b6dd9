"""`burst stage`: a chain of batches, each made from the images of the one before it; rendered by runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.batches.generate_report import Generated
from orchestrator.batches.planning import requested_recipe
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.errors import UsageError
from orchestrator.file_kinds import FILES
from orchestrator.formatting import counted, in_lines
from orchestrator.generation import Generation
from orchestrator.recipes import Recipes
from orchestrator.settings import Overrides, load_settings
from orchestrator.wording import named
from state.batch import BatchRecord
from state.item import Priority
from state.open_store import open_store

if TYPE_CHECKING:
    from orchestrator.documents.batches import StageDocument


@dataclass(frozen=True)
class Stage:
    """One batch of a chain."""

    record: BatchRecord
    source: str
    """What it is made from: a batch, by its id or as it was named, or `.`, all items."""
    continued: bool
    """Whether it was there already."""


@dataclass(frozen=True)
class Staged:
    """The batches of a chain, in its order."""

    stages: tuple[Stage, ...]
    waiting: int
    """How many of their items wait for others."""

    def as_json(self, *, everything: bool = False) -> StageDocument:
        """As `burst stage --json` prints it."""
        return {
            "schema": "burst.stage/1",
            "batches": [
                {
                    "batch": stage.record.batch,
                    "name": stage.record.name,
                    "source": stage.source,
                    "template": stage.record.template,
                    "total": stage.record.total,
                    "continued": stage.continued,
                }
                for stage in self.stages
            ],
            "waiting": self.waiting,
        }

    def as_text(self, *, everything: bool = False) -> str:
        """A line each, and what to type."""
        lines = [
            f"{stage.record.label}: {counted(stage.record.total)} made from "
            f"{'all items' if stage.source == '.' else stage.source} with {stage.record.template}"
            + (" (there already)" if stage.continued else "")
            for stage in self.stages
        ]
        if self.waiting:
            lines.append(f"{self.waiting} of them {'waits' if self.waiting == 1 else 'wait'} for others.")
        return in_lines([*lines, "Next: burst run --until-done"])


def stage(
    state: Path,
    source: str,
    templates: Sequence[str],
    *,
    pick: str | None = None,
    name: str | None = None,
    priority: Priority = "normal",
    then: str | None = None,
    overrides: Overrides | None = None,
) -> Staged:
    """Add a batch for each template: of the images of `source`, then of the one before it. Nothing is rendered.

    `source`, `pick`: as `from_batch` and `pick` of a `BatchSpec`. `name`: of the batch; of several, with -1, -2 …
    behind it. `then`: the name of the command that is run once the last one is done.
    It can be repeated, also after a kill.
    Errors: UsageError, TemplateError, with nothing added where a template takes no image; StateError.
    """
    overrides = overrides or Overrides()
    if not templates:
        raise UsageError("name a workflow for each stage")
    each = [replace(overrides, template=template) for template in templates]
    for one in each:
        _refuse_without_input(state, one)
    found: list[Stage] = []
    made_from = source
    for number, one in enumerate(each, 1):
        spec = BatchSpec(
            from_batch=made_from,
            pick=pick if number == 1 else None,
            name=name if name is None or len(each) == 1 else f"{name}-{number}",
            priority=priority,
            on_error="continue",
        )
        request = Request(state=state, overrides=one)
        outcome = Generation(spec, request, queue_only=True, then=then if number == len(each) else None).execute()
        assert isinstance(outcome, Generated)
        found.append(Stage(outcome.record, made_from, outcome.continued))
        made_from = outcome.record.batch
    with open_store(state, read_only=True) as store:
        waiting = sum(store.batch_figures(one.record.batch).counts.pending for one in found)
        waiting -= sum(store.batch_figures(one.record.batch).due for one in found)
    return Staged(tuple(found), waiting)


def _refuse_without_input(state: Path, overrides: Overrides) -> None:
    """Before anything of the chain is added. Errors: UsageError, TemplateError."""
    with open_store(state, read_only=True) as store:
        recipes = Recipes(store.recipes, store.location.home)
        recipe = requested_recipe(recipes, load_settings(state, overrides), overrides)
    if not any(recipe.bindings.get(kind) for kind in FILES):
        raise UsageError(
            f"{overrides.template}: it takes no image, video or audio; add one with "
            f"{named('bindings', 'NODE.INPUT', key='image')} (see `burst template show`)"
        )
