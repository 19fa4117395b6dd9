"""No two items may end in one place, whatever output root each of them has."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

import msgspec

from orchestrator.errors import RecipeUnusable, UsageError
from orchestrator.formatting import folded
from orchestrator.outputs.placement import Placement
from state.file_names import stem_of
from state.item import Item
from state.store import Store


class _Named(msgspec.Struct, gc=False):
    """The field of a record that its outputs are named after."""

    filename: str = ""


def refuse_collisions(
    placement: Placement, items: Collection[Item], *, store: Store | None = None, without: Collection[str] = ()
) -> None:
    """No new item may end in the file of another, or of one in `store`; `without`: the keys that are not looked at.

    Errors: UsageError that names both; RecipeUnusable for a new item.
    """
    places: dict[str, str] = {}
    for item in _of_like_names(items, store, without) if store is not None else ():
        with contextlib.suppress(RecipeUnusable):
            places[placement.place_key(item)] = item.key
    for item in items:
        other = places.setdefault(placement.place_key(item), item.key)
        if other != item.key:
            raise UsageError(
                f"{other} and {item.key} would both be saved as {placement.shown_place(item)}; "
                "rename one, or give them directories of different names"
            )


def _of_like_names(items: Iterable[Item], store: Store, without: Collection[str]) -> list[Item]:
    """Those in the store that could collide with these, by their names alone: the others are not read whole."""
    names = {folded(stem_of(item.name)) for item in items}
    return store.get_many(
        key
        for key, part in store.parts(_Named)
        if folded(stem_of(part.filename or PurePosixPath(key).name)) in names and key not in without
    )
