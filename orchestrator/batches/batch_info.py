"""batch_info.json: a batch of the `batch` layout as its own directory tells it.

`template`, `recipe`, `parameters` and `axes` are those of the request; `recipes` and each image's `recipe` are what
items are made with, also after `burst update`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from orchestrator.batches.batch_parameters import (
    TemplateValues,
    asked_parameters,
    effective_parameters,
    template_values,
)
from orchestrator.outputs.placement import Placement, path_at
from orchestrator.places import ObjectPath, Place
from orchestrator.statistics import pictures_of
from state.batch import BatchRecord
from state.counts import Counts
from state.disk import Disk
from state.item import Item, Status

SCHEMA = "burst.batch-info/1"
NAME = "batch_info.json"


def batch_info(
    record: BatchRecord,
    items: Sequence[Item],
    *,
    ended_at: datetime | None,
    template_of: Callable[[str], str | None],
    values_of: TemplateValues = lambda recipe: {},
    path_of: Callable[[Item, str], str] = lambda item, path: path,
) -> dict[str, Any]:
    """`ended_at`: None while items are left to do. `template_of`: where a recipe's workflow came from, by its id;
    `values_of`: what that workflow itself says.

    `path_of`: what a file is called here.

    `images_a_minute`: of the time that servers spent on them.
    """
    timed = [item for item in items if item.status is Status.COMPLETED and item.seconds]
    seconds = sum(item.seconds or 0.0 for item in timed)
    pictures = sum(len(pictures_of(item)) for item in timed)
    return {
        "schema": SCHEMA,
        "batch": record.batch,
        "name": record.name,
        "created_at": record.created_at,
        "ended_at": ended_at,
        "template": record.template,
        "recipe": record.recipe,
        "recipes": _recipes(record, items, template_of),
        "priority": record.priority,
        "prompts": list(dict.fromkeys(item.prompt_text for item in items if item.prompt_text is not None)),
        "seeds": list(dict.fromkeys(item.inputs["seed"] for item in items if "seed" in item.inputs)),
        "parameters": asked_parameters(record),
        "effective_parameters": effective_parameters(record, items, values_of),
        "axes": record.axes,
        "totals": {
            "items": len(items),
            **Counts.of(items).as_json(),
            "images": sum(len(pictures_of(item)) for item in items),
        },
        "images_a_minute": round(60 * pictures / seconds, 2) if seconds else None,
        "images": [image for item in items for image in _images(item, path_of)],
    }


def write_batch_info(path: Place, info: dict[str, Any], *, disk: Disk) -> None:
    """Whole and durable on return; nothing is written where it says already like that. Errors: DiskFull."""
    data = msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n"
    if isinstance(path, ObjectPath):
        if not path.is_file() or path.read_bytes() != data:
            path.write_whole(data)
        return
    if disk.stamp(path) is not None and disk.read(path) == data:
        return
    disk.make_directory(path.parent)
    disk.write_whole(path, data)


def infos_of(
    placement: Placement, record: BatchRecord, items: Sequence[Item], *, ended_at: datetime | None
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Where a batch_info.json is, and what it says: one under each output root of the batch's items.

    Errors: OutputRefused, RecipeUnusable.
    """
    for root in placement.roots_of_batch(record, (item.recipe for item in items)):
        yield (
            info_path(root, record),
            batch_info(
                record,
                items,
                ended_at=ended_at,
                template_of=placement.recipes.workflow_name,
                values_of=template_values(placement.recipes),
                path_of=partial(placement.path_from, root),
            ),
        )


def info_path(root: Place, record: BatchRecord) -> Place:
    """Where it is under an output root. Errors: OutputRefused."""
    return path_at(root, f"{record.directory}/{NAME}")


def _recipes(
    record: BatchRecord, items: Sequence[Item], template_of: Callable[[str], str | None]
) -> dict[str, dict[str, Any]]:
    """By id, those that items are made with, the request's own first."""
    counts = Counter(item.recipe for item in items)
    ids = dict.fromkeys(recipe for recipe in (record.recipe, *counts) if recipe is not None)
    return {recipe: {"template": template_of(recipe), "items": counts[recipe]} for recipe in ids}


def _images(item: Item, path_of: Callable[[Item, str], str]) -> list[dict[str, Any]]:
    """One for each picture; one without a file for an item that has none yet, or never will."""
    said = {
        "index": item.index,
        "seed": item.inputs.get("seed"),
        "recipe": item.recipe,
        "status": str(item.status),
        "seconds": item.seconds,
    }
    if item.error is not None:
        said["error"] = item.error.message
    files = [path_of(item, picture.path) for picture in pictures_of(item)] if item.status is Status.COMPLETED else []
    return [{"file": file, **said} for file in files] or [{"file": None, **said}]
