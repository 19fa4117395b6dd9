"""The last image that a state, or one of its batches, has made: shrunk, for a phone."""

from __future__ import annotations

import io

import msgspec

from orchestrator.errors import BurstError
from orchestrator.outputs.pictures import on_white, smaller
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from orchestrator.settings import kept_settings
from state.item import Item, OutputRecord, UtcTime
from state.location import state_path
from state.store import Store

_LONGEST_SIDE = 768
_TRIED = 3
"""Of the items that were completed last: videos have no image, and files may be gone."""


class _Made(msgspec.Struct, frozen=True, gc=False):
    completed_at: UtcTime | None = None
    outputs: tuple[OutputRecord, ...] = ()


def last_image(store: Store, *, batch: str | None = None) -> bytes | None:
    """A JPEG; None where nothing can be shown. Reads nothing but records and that file. Raises nothing of them."""
    try:
        made = sorted(
            ((one.completed_at, key) for key, one in store.completions(_Made, batch=batch) if one.completed_at),
            reverse=True,
        )
        location = store.location
        settings = kept_settings(state_path(location.url) if location.url else location.path)
        placement = Placement(Recipes(store.recipes, location.home), settings.output_dir)
        for item in store.get_many(key for _, key in made[:_TRIED]):
            for output in item.outputs:
                if (image := _shrunk(placement, item, output.path)) is not None:
                    return image
    except (BurstError, OSError):
        pass
    return None


def _shrunk(placement: Placement, item: Item, path: str) -> bytes | None:
    try:
        copy = smaller(placement.path_of(item, path), longest_side=_LONGEST_SIDE)
    except (BurstError, OSError):
        return None
    if copy is None:
        return None
    made = io.BytesIO()
    on_white(copy.image).save(made, "JPEG", quality=85)
    return made.getvalue()
