"""The items of a batch that is planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.batches.layouts import place_of
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.row_identity import row_digest
from orchestrator.batches.variation import Variation
from orchestrator.prompt_directories import key_of
from orchestrator.recipes import LoadedRecipe
from state.batch import BatchRecord
from state.item import Item, ItemOutput, Status


def planned_items(
    record: BatchRecord,
    variations: Sequence[Variation],
    *,
    home: Path,
    recipe_of: Callable[[str, str], LoadedRecipe],
    automatic: Mapping[str, Any],
) -> Iterator[Item]:
    """`automatic`: the batch size, where `auto` chose it, of those whose row says none. `recipe_of`: of a row's
    template and output directory.

    Only a batch with a name can follow its list, so only its items remember their rows.
    """
    width = max(3, len(str(record.total)))
    for variation in variations:
        entry, own, recipe = variation.entry, automatic, record.recipe
        if entry is not None and (entry.template or entry.output):
            recipe = recipe_of(entry.template, entry.output).recipe.id
            own = {} if entry.template else automatic
        place = place_of(record.layout, variation, directory=record.directory, total=record.total, stem=record.stem)
        uploads = _uploads(entry.uploads, home) if entry is not None and entry.uploads else {}
        digest = ""
        if record.name is not None:
            digest = row_digest(variation.asked, uploads=uploads, **_names(entry, home))
        yield Item(
            key=f"{record.batch}/{variation.index:0{width}d}",
            status=Status.PENDING,
            prompt_text=variation.prompt or None,
            inputs={**own, **variation.inputs},
            uploads=uploads,
            dynamic=dict(variation.dynamic),
            batch_size_auto=bool(own) and "batch_size" not in variation.inputs,
            recipe=recipe,
            batch=record.batch,
            index=variation.index,
            row_id=entry.id if entry is not None and record.name is not None else "",
            row_digest=digest,
            priority=(entry.priority if entry is not None else None) or record.priority,
            subfolder=place.subfolder,
            filename=place.filename,
            sidecar=place.sidecar,
        )


def _uploads(uploads: Mapping[str, str | ItemOutput], home: Path) -> dict[str, str | ItemOutput]:
    return {name: key_of(Path(source), home) if isinstance(source, str) else source for name, source in uploads.items()}


def _names(entry: PromptEntry | None, home: Path) -> dict[str, str]:
    if entry is None:
        return {}
    named = {"template": entry.template, "output": entry.output}
    return {name: key_of(Path(one), home) if one.startswith("/") else one for name, one in named.items()}
