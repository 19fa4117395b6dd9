"""The contents of a state as another one keeps them: with what a database takes in, and paths as named there."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.errors import RecipeUnusable, TemplateError
from orchestrator.intake import Intake
from orchestrator.kept_paths import kept_path
from orchestrator.places import absolute_root, root_at_home
from orchestrator.preparation import Preparation
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.settings import settings_in
from orchestrator.settings_file import SettingsFile
from state.contents import Contents
from state.item import Item, Status
from state.location import Location, PassingHome
from state.recipe import Recipe
from state.store import SettingsDocument, Store

_Workflow = Mapping[str, Any] | None


class Rehoming:
    """Of one open state. What it makes is the same each time, while no file of the state's items changes."""

    def __init__(self, store: Store, there: Location, *, settings: str | None) -> None:
        """`settings`: their text, as it is to be there."""
        self._store = store
        self._there = there.home
        self._settings = settings
        self._recipes = Recipes(store.recipes, store.location.home)
        self._intake: Intake | None = None
        if there.takes_in and not store.location.takes_in:
            kept = settings_in(_Text(store.settings, settings), store.location.home)
            self._preparation = Preparation(self._recipes, kept, store.location.home)
            self._intake = Intake(store, self._recipes, self._preparation, kept.output_dir, kept_at=there.home)
        self._becomes_passing = isinstance(there.home, PassingHome) and self._intake is not None
        """Whether what is relative here has to be whole there."""
        self._ids: dict[str, str] = {}
        """Ids of recipes that are others there."""

    def contents(self) -> Contents:
        """Copies are durable on return; what an item is made of is read when the items are.

        Errors: DiskFull, OutputRootUnusable, StateError, OSError.
        """
        found = Contents.of(self._store)
        kept: dict[str, tuple[Recipe, _Workflow]] = dict(found.recipes)
        for item in self._without_recipe():
            if (loaded := self._recipe_of(item)) is not None:
                kept.setdefault(loaded.recipe.id, (loaded.recipe, loaded.graph))
        # Files are copied before the other state is begun, and before it has a transaction open.
        for item in found.items() if self._intake is not None else ():
            self._item(item)
        there = {name: (self._moved(recipe), graph) for name, (recipe, graph) in kept.items()}
        self._ids = {name: recipe.id for name, (recipe, _) in there.items() if recipe.id != name}
        return dataclasses.replace(
            found,
            settings=self._moved_settings(),
            recipes={recipe.id: (recipe, graph) for recipe, graph in there.values()},
            logs={log: tuple(map(self._line, lines)) for log, lines in found.logs.items()},
            items=lambda: map(self._item, found.items()),
        )

    def notes(self) -> Iterator[str]:
        """What to report of files that could not be taken in, once the items were read."""
        if self._intake is not None:
            yield from self._intake.notes()

    def _item(self, item: Item) -> Item:
        if self._intake is None:
            return item
        if item.recipe is None and item.status is Status.PENDING and (loaded := self._recipe_of(item)) is not None:
            item = msgspec.structs.replace(item, recipe=loaded.recipe.id)
        taken = self._intake.one(item)
        return msgspec.structs.replace(taken, recipe=self._ids.get(taken.recipe or "", taken.recipe))

    def _without_recipe(self) -> Iterator[Item]:
        """One of each kind, where a database fixes what they are made with."""
        if self._intake is None:
            return
        seen: set[str | None] = set()
        for item in self._store.items(Status.PENDING):
            if item.recipe is None and item.template not in seen:
                seen.add(item.template)
                yield item

    def _recipe_of(self, item: Item) -> LoadedRecipe | None:
        """As the settings say now, which a worker elsewhere could not follow; None where nobody can."""
        try:
            return self._preparation.recipe_of(item)
        except (TemplateError, RecipeUnusable):
            return None

    def _moved(self, recipe: Recipe) -> Recipe:
        if not self._becomes_passing:
            return recipe
        name = recipe.workflow_name
        if name is not None and name.endswith(".json"):
            name = self._path(name)
        return msgspec.structs.replace(recipe, output=self._path(recipe.output), workflow_name=name)

    def _moved_settings(self) -> str | None:
        if not self._becomes_passing:
            return self._settings
        import tomli_w

        kept = tomllib.loads(self._settings or "")
        kept["output_dir"] = self._path(kept.get("output_dir", SettingsFile().output_dir))
        template = kept.get("template")
        if isinstance(template, str) and ("/" in template or template.endswith(".json")):
            kept["template"] = self._path(template)
        return tomli_w.dumps(kept)

    def _path(self, kept: str) -> str:
        """A path as it is kept there."""
        return kept_path(absolute_root(root_at_home(kept, Path(self._recipes.home))), self._there)

    def _line(self, line: bytes) -> bytes:
        """A line of a log, with the recipes' ids of there: these are digests, so nothing else reads so."""
        for before, now in self._ids.items():
            line = line.replace(f'"{before}"'.encode(), f'"{now}"'.encode())
        return line


class _Text:
    """Settings that are not where they were, or not yet."""

    def __init__(self, document: SettingsDocument, text: str | None) -> None:
        self._document = document
        self._text = text

    def shown(self) -> str:
        return self._document.shown()

    def read(self) -> str | None:
        return self._text

    def stamp(self) -> Hashable:
        return None

    def exists(self) -> bool:
        return self._text is not None

    def write(self, text: str) -> None:
        raise NotImplementedError("these are read only")
