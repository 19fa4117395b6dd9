"""The items of a state of format version 1 in the form of today: they get recipes.

What is still to be made, or may be made again, gets what the settings say now, as a burst of version 1 would have made
it. A completed item gets the output directory alone, where its files are found in it: what else it was made with, no
record tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from orchestrator.errors import TemplateError
from orchestrator.formatting import counted
from orchestrator.outputs.verification import verify
from orchestrator.recipes import Recipes
from orchestrator.settings import kept_settings
from state.item import Item, OutputRecord, Status
from state.recipe import Recipe
from state.store import Store


def give_recipes(store: Store) -> list[str]:
    """Migrate the items; what to report. Safe to repeat. Errors: SettingsError, DiskFull, LockHeld, StateError."""
    renewal = _Renewal(store)
    store.migrate(renewal.renewed)
    return list(renewal.notes())


class _Part(msgspec.Struct, frozen=True):
    status: Status
    template: str | None = None
    recipe: str | None = None
    outputs: tuple[OutputRecord, ...] = ()


class _Renewal:
    """Works out all recipes and keeps them, before the state is locked for the hand-over: that may take its time."""

    def __init__(self, store: Store) -> None:
        self._recipes = Recipes(store.recipes, store.location.home)
        self._settings = kept_settings(store.location.path)
        self._unreadable: dict[str | None, TemplateError] = {}
        parts = [(key, part) for key, part in store.parts(_Part) if part.recipe is None]
        to_make = (part.template for _, part in parts if part.status is not Status.COMPLETED)
        self._made = {template: self._make(template) for template in dict.fromkeys(to_make)}
        """By an item's own template: the id of its recipe; None where there is none."""
        self._outputs = {key: part.outputs for key, part in parts if part.status is Status.COMPLETED and part.outputs}
        self._found = {key for key, outputs in self._outputs.items() if self._is_any_there(outputs)}
        root = Recipe(output=self._recipes.kept(self._settings.output_dir))
        self._root = store.recipes.add(root, None).id if self._found else None
        self._left: dict[str | None, set[str]] = defaultdict(set)

    def renewed(self, item: Item) -> Item:
        """An item's form of today; the very item where it has that already."""
        if item.recipe is not None:
            return item
        recipe = self._root_of(item) if item.status is Status.COMPLETED else self._made_with(item)
        return item if recipe is None else msgspec.structs.replace(item, recipe=recipe)

    def notes(self) -> Iterator[str]:
        """What to report."""
        for template, keys in self._left.items():
            yield f"{counted(len(keys))} left without a recipe: {self._unreadable[template]}"
        lost = len(self._outputs) - len(self._found)
        if lost:
            yield (
                f"the files of {counted(lost, 'completed item')} are not in {self._settings.output_dir}: their "
                "place is not known, and the default output directory is assumed"
            )

    def _make(self, template: str | None) -> str | None:
        if template is None and self._settings.template is None:
            return None
        try:
            return self._recipes.keep(self._recipes.from_settings(self._settings, template=template)).id
        except TemplateError as error:
            self._unreadable[template] = error
            return None

    def _made_with(self, item: Item) -> str | None:
        if item.template in self._unreadable:
            self._left[item.template].add(item.key)
        return self._made.get(item.template)

    def _root_of(self, item: Item) -> str | None:
        """Where its files were found. One that a person changed meanwhile was not looked for."""
        is_found = item.key in self._found and item.outputs == self._outputs[item.key]
        return self._root if is_found else None

    def _is_any_there(self, outputs: tuple[OutputRecord, ...]) -> bool:
        """One is enough: they all went to one directory, and some may have been deleted since."""
        return any(not verify(self._settings.output_dir, [output], full=False) for output in outputs)
