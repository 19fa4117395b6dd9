"""Favorites and tags of images, of one or of many."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter

from orchestrator.errors import UsageError
from orchestrator.marks import Edit, Numbers, change_marks, is_favourite, tagging, with_star, without_star
from orchestrator.web.chosen_images import Choice, Chosen, choice_of, chosen_image
from orchestrator.web.chosen_schemas import Marked, MarkFavorites, Marks, MarkTags
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.image_routes import LibraryOf
from orchestrator.web.library import Library
from orchestrator.web.states import WatchedState
from state.item import Item, Status

router = APIRouter(prefix="/api", tags=["marks"])


@router.put("/images/{batchId}/{image}/favorite", operation_id="setFavorite", responses=errors(403, 404, 409, 503, 507))
def set_favorite(batchId: str, image: str, library: LibraryOf) -> Marks:
    """Make an image a favorite, as `burst star` does. Safe to repeat."""
    return _mark_one(library, batchId, image, with_star)


@router.delete(
    "/images/{batchId}/{image}/favorite", operation_id="unsetFavorite", responses=errors(403, 404, 409, 503, 507)
)
def unset_favorite(batchId: str, image: str, library: LibraryOf) -> Marks:
    """Make an image no favorite any more. Safe to repeat."""
    return _mark_one(library, batchId, image, without_star)


@router.post("/images/favorites", operation_id="markFavorites", responses=errors(400, 403, 404, 503, 507))
def mark_favorites(body: MarkFavorites, library: LibraryOf) -> Marked:
    """Make many images favorites, or not any more. What is gone is named and hinders no other. Safe to repeat."""
    return _mark(library, choice_of(library, body.images), with_star if body.favorite else without_star)


@router.post("/images/tags", operation_id="markTags", responses=errors(400, 403, 404, 503, 507))
def mark_tags(body: MarkTags, library: LibraryOf) -> Marked:
    """Give many images tags and take others off, as `burst tag` does: all images of a prompt have its tags.

    What is gone is named and hinders no other. Safe to repeat.
    """
    try:
        edit = tagging(body.add, body.remove)
    except UsageError as error:
        raise Refused(400, str(error), "add") from error
    return _mark(library, choice_of(library, body.images), edit)


def _mark_one(library: Library, batch_id: str, image: str, edit: Edit) -> Marks:
    """Errors: Refused with 404 or 409; LockHeld, StateError, DiskFull."""
    marked = _mark(library, Choice([chosen_image(library, batch_id, image)]), edit)
    if not marked.images:
        raise Refused(404, "This image is gone", "image")
    return marked.images[0]


def _mark(library: Library, choice: Choice, edit: Edit) -> Marked:
    changed, images, missing = 0, [], list(choice.missing)
    for state, chosen in choice.by_state().items():
        now, several = _change(state, chosen, edit)
        changed += several
        for one in chosen:
            item = now.get(one.item.key)
            if item is None or one.output not in item.outputs:
                missing.append(one.ref)
            else:
                images.append(_marks(one, item))
    return Marked(changed=changed, images=images, missing=missing, readOnly=choice.read_only)


def _change(state: WatchedState, chosen: Collection[Chosen], edit: Edit) -> tuple[dict[str, Item], int]:
    """The items as they are then, and how many of the images are marked otherwise than before."""
    meant: dict[str, Numbers] = {}
    for one in chosen:
        meant[one.item.key] = (meant.get(one.item.key) or frozenset()) | {one.number}
    with state.writing() as store:
        change_marks(store, meant, _only_finished(edit))
        now = {item.key: item for item in store.get_many(meant)}
    changed = sum(_state_of(one, one.item) != _state_of(one, now.get(one.item.key, one.item)) for one in chosen)
    return now, changed


def _only_finished(edit: Edit) -> Edit:
    """An item that is made again by now has other outputs under these numbers."""

    def finished(item: Item, numbers: Numbers) -> Item:
        return edit(item, numbers) if item.status is Status.COMPLETED else item

    return finished


def _state_of(one: Chosen, item: Item) -> tuple[bool, tuple[str, ...]]:
    return is_favourite(item, one.output.path), item.tags


def _marks(one: Chosen, item: Item) -> Marks:
    favorite, tags = _state_of(one, item)
    return Marks(batchId=one.ref.batchId, image=one.ref.image, favorite=favorite, tags=list(tags))
