"""No two items may end in one place, whatever output root each of them has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from orchestrator.errors import RecipeUnusable, UsageError
from orchestrator.outputs.placement import Placement
from state.item import Item


def refuse_collisions(placement: Placement, items: Iterable[Item], *, beside: Iterable[Item] = ()) -> None:
    """No new item may end in the file of another, or of one that is `beside` it.

    Errors: UsageError that names both; RecipeUnusable for a new item.
    """
    places: dict[str, str] = {}
    for item in beside:
        with contextlib.suppress(RecipeUnusable):
            places[placement.place_key(item)] = item.key
    for item in items:
        other = places.setdefault(placement.place_key(item), item.key)
        if other != item.key:
            raise UsageError(
                f"{other} and {item.key} would both be saved as {placement.shown_place(item)}; "
                "rename one, or give them directories of different names"
            )
