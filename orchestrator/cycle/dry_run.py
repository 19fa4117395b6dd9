"""`burst run --dry-run`: what the next burst would submit."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import templates
from orchestrator.cycle.request import Request
from orchestrator.documents.lists import shortened
from orchestrator.errors import ItemError
from orchestrator.formatting import in_lines
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.settings import load_settings
from state.burst_record import recent_records
from state.item import Item
from state.open_store import open_store

if TYPE_CHECKING:
    from orchestrator.documents.runs import DryRunDocument
    from orchestrator.input_files import UploadedFile


@dataclass(frozen=True)
class DryRun:
    """The result of `burst run --dry-run`."""

    keys: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    """Items that would fail before they are submitted, and why."""
    graph: dict[str, Any] | None
    """The graph of the first one, as it would be posted."""
    submitted: int
    """How many submitted items would be looked up first."""

    def as_json(self, *, everything: bool = False) -> DryRunDocument:
        """As `burst run --dry-run --json` prints it; `everything`: with all entries of its lists."""
        document: DryRunDocument = {
            "schema": "burst.dry-run/2",
            "items": list(self.keys),
            "items_total": len(self.keys),
            "problems": [{"item": key, "message": message} for key, message in self.problems],
            "problems_total": len(self.problems),
            "graph": self.graph,
            "submitted": self.submitted,
        }
        return shortened(document, "items", "problems", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person."""
        lines = [f"Would look up {self.submitted} submitted items and submit {len(self.keys)}:"]
        lines += [f"  {key}" for key in self.keys]
        lines += [f"  would fail: {key}: {message}" for key, message in self.problems]
        if self.graph is not None:
            lines += ["First graph:", *json.dumps(self.graph, indent=2, ensure_ascii=False).split("\n")]
        return in_lines(lines)


def dry_run(request: Request) -> DryRun:
    """Prepare what the next burst would submit, without sending it. Takes no lock. Errors: ConfigurationError."""
    request.checked()
    settings = load_settings(request.state, request.overrides)
    with open_store(request.state, read_only=True) as store:
        preparation = Preparation(
            Recipes(store.recipes, store.location.home), settings, store.location.home, items=store
        )
        size = request.burst_size(recent_records(store.bursts), seconds=request.max_seconds or None)
        submitted = store.counts().submitted
        keys, problems, graph = [], [], None
        for item in store.due(max(0, size + request.ahead - submitted)):
            try:
                prepared = preparation.prepare(item, _given(preparation, item) if item.uploads else {})
            except ItemError as error:
                problems.append((item.key, str(error)))
                continue
            keys.append(item.key)
            graph = graph or templates.set_prefixes(prepared.graph, str(uuid.uuid4()), saves=prepared.saves)
        return DryRun(keys=tuple(keys), problems=tuple(problems), graph=graph, submitted=submitted)


def _given(preparation: Preparation, item: Item) -> dict[str, UploadedFile]:
    """As if its images were uploaded. Errors: UploadError."""
    from orchestrator.input_files import names_of

    return names_of(preparation.pictures(item))
