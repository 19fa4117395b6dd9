"""`burst init` over directories that a state has already: what of their files is other than it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.errors import ItemError, RecipeUnusable
from orchestrator.intake import Intake, made_of
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation, prompt_file
from orchestrator.recipes import LoadedRecipe
from state.change import change_all
from state.item import Item, Status
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.replaced_models import ReplacedModels


def renew(
    store: Store, found: Sequence[Item], intake: Intake, preparation: Preparation, *, rescan: bool
) -> Sequence[str]:
    """Items that were there before take the masks of today, and of what a state takes in the texts and images: those
    due, and to be rescanned those that are done. Returns the keys of the others that would come out otherwise now."""
    today = {item.key: item.uploads for item in found if item.uploads or intake.takes_in}
    if not today:
        return ()
    statuses = (Status.PENDING, Status.COMPLETED) if rescan or intake.takes_in else (Status.PENDING,)
    there = [item for item in store.items(*statuses) if item.key in today]
    renewed = {item.key: intake.one(msgspec.structs.replace(item, uploads=today[item.key])) for item in there}
    changed = [item for item in there if made_of(item) != made_of(renewed[item.key])]
    due = [item for item in changed if rescan or item.status is Status.PENDING]

    def edit(now: Item) -> Item:
        new = renewed[now.key]
        return msgspec.structs.replace(now, uploads=new.uploads, file_text=new.file_text, taken_in=new.taken_in)

    change_all(store, due, edit)
    done = (renewed[item.key] for item in changed if item.status is Status.COMPLETED and not rescan)
    return [item.key for item in done if not _still_valid(item, preparation)]


def fix_default(store: Store, keys: Collection[str], recipe: LoadedRecipe) -> None:
    """Due items of these that were added before there was a workflow get this one, which a worker elsewhere must have;
    in a JSON state they follow the settings until they are sent."""
    due = [
        item
        for item in store.items(Status.PENDING)
        if item.recipe is None and item.template is None and item.key in keys
    ]
    change_all(store, due, lambda now: msgspec.structs.replace(now, recipe=now.recipe or recipe.recipe.id))


def put_back_changed(
    store: Store,
    preparation: Preparation,
    placement: Placement,
    keys: Collection[str],
    recipe: LoadedRecipe | None,
    models: ReplacedModels,
) -> tuple[str, ...]:
    """Completed items whose image would come out otherwise today: those of `keys` by the recipe of today, and those
    that were rendered with other model files than their server has now."""
    ids = dict.fromkeys(keys, recipe.recipe.id) if recipe is not None else {}

    def renewed(item: Item) -> Item:
        return placement.with_recipe(item, ids[item.key]) if item.key in ids else item

    def is_valid(item: Item) -> bool:
        is_same = _still_valid(renewed(item), preparation, known=preparation.loose_ends_of(item.recipe))
        return is_same and not models.has_other(item)

    outdated = [item for item in store.items(Status.COMPLETED) if not is_valid(item)]
    return tuple(item.key for item in change_all(store, outdated, lambda now: renewed(now.start_over())))


def edited_items(store: Store, preparation: Preparation, keys: Collection[str]) -> Iterator[str]:
    """Finished items of these whose files were written after they were sent, and that would come out otherwise now."""
    for item in store.items(Status.COMPLETED):
        sent_at = item.submitted_at or item.completed_at
        if item.key not in keys or sent_at is None:
            continue
        files = [preparation.home / name for name in (prompt_file(item), *item.upload_paths.values())]
        is_newer = any(_written_at(file) > sent_at.timestamp() for file in files)
        if is_newer and not _still_valid(item, preparation):
            yield item.key


def _written_at(file: Path) -> float:
    """0 where it cannot be found out."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _still_valid(item: Item, preparation: Preparation, *, known: Collection[str] = ()) -> bool:
    """Items that were completed without a fingerprint, or cannot be prepared again, are left as they are.

    `known`: the loose ends of the recipe that the item was made with.
    """
    if item.fingerprint is None:
        return True
    try:
        return preparation.prepare(item).is_as(item.fingerprint, loose_ends=known)
    except (ItemError, RecipeUnusable):
        return True
