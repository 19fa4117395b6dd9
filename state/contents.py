"""All that a state consists of, to be copied into another kind of store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import RecipeUnusable
from state.store import LOGS, LogName

if TYPE_CHECKING:
    from state.item import Item
    from state.recipe import Recipe
    from state.store import Store


@dataclass(frozen=True)
class Contents:
    """What a state holds, whatever keeps it."""

    settings: str | None
    recipes: Mapping[str, tuple[Recipe, Mapping[str, Any] | None]]
    """By id, oldest first, with the graph; None where it cannot be read."""
    logs: Mapping[LogName, tuple[bytes, ...]]
    """The lines of each, oldest first, also those of kinds that this burst does not know."""
    items: Callable[[], Iterator[Item]]
    """Every item, in order; may be called more than once."""

    @classmethod
    def of(cls, store: Store) -> Contents:
        """Errors: StateError, OSError."""
        return cls(
            settings=store.settings.read(),
            recipes={name: (recipe, _graph_of(store, recipe)) for name, recipe in store.recipes.all().items()},
            logs={log: tuple(store.log_lines(log)) for log in LOGS},
            items=store.items,
        )

    def difference(self, other: Contents) -> str | None:
        """The first thing that is not the same in both; None if everything is."""
        for name in ("settings", "recipes"):
            if getattr(self, name) != getattr(other, name):
                return f"the {name}"
        for log in LOGS:
            if self.logs[log] != other.logs[log]:
                return f"the log of {log} records"
        for mine, theirs in itertools.zip_longest(self.items(), other.items()):
            if mine != theirs:
                item = mine or theirs
                assert item is not None
                return f"item {item.key!r}"
        return None


def _graph_of(store: Store, recipe: Recipe) -> Mapping[str, Any] | None:
    if recipe.workflow is None:
        return None
    try:
        return store.recipes.workflow(recipe)
    except RecipeUnusable:
        return None
