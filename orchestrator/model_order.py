"""Which models items need, and the order in which a server loads each as rarely as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

import templates
from orchestrator.errors import ItemError, RecipeUnusable, TemplateError
from orchestrator.recipes import LoadedRecipe
from state.item import Item
from templates import Target

_SPLICED = ("lora", "lora_strength")


class Models(msgspec.Struct, frozen=True):
    """What a server has to have loaded for an item. Equal ones need no loading one after another."""

    files: tuple[str, ...] = ()
    """Names of model files, without LoRAs."""
    loras: tuple[str, ...] = ()
    """LoRAs and what they are laid over with."""


class ModelsOfItems:
    """Works out the models of items; each recipe is looked at once. Sends nothing. Any thread may use it."""

    def __init__(self, recipe_of: Callable[[Item], LoadedRecipe]) -> None:
        """`recipe_of`: raises RecipeUnusable or TemplateError for an item that cannot be made."""
        self._recipe_of = recipe_of
        self._known: dict[tuple[str | None, str | None], _Recipe | None] = {}

    def of(self, item: Item) -> Models:
        """Those of its workflow, with its own values in their places. Nothing of an item that cannot be made."""
        kind = item.recipe, item.template if item.recipe is None else None
        if kind not in self._known:
            self._known[kind] = self._look(item)
        recipe = self._known[kind]
        return recipe.models(item) if recipe is not None else Models()

    def _look(self, item: Item) -> _Recipe | None:
        try:
            return _Recipe(self._recipe_of(item))
        except (ItemError, RecipeUnusable, TemplateError):
            return None


def grouped(items: Iterable[Item], models_of: Callable[[Item], Models], *, first: Models | None = None) -> list[Item]:
    """The items with those together that need the same models, and among these those with the same LoRAs.

    Groups come in the order of their first items, `first` before all; within one the order stays. So every model is
    loaded once, and `first`, which is loaded, not at all.
    """
    pairs = [(item, models_of(item)) for item in items]
    known = [first] if first is not None else []
    files = {one.files: None for one in (*known, *(models for _, models in pairs))}
    whole = dict.fromkeys((*known, *(models for _, models in pairs)))
    file_places = {one: place for place, one in enumerate(files)}
    places = {one: place for place, one in enumerate(whole)}
    return [item for item, _ in sorted(pairs, key=lambda pair: (file_places[pair[1].files], places[pair[1]]))]


class _Recipe:
    """The models of one recipe, and which inputs of items name others."""

    def __init__(self, recipe: LoadedRecipe) -> None:
        self._recipe = recipe
        self._files = templates.model_files(recipe.graph)
        self._targets: dict[str, tuple[Target, ...]] = {}
        """By input of items: which of the files it replaces."""
        self._known: dict[tuple[tuple[str, str], ...], Models] = {}
        """By what an item says of them."""

    def models(self, item: Item) -> Models:
        said = tuple([(name, str(value)) for name, value in item.inputs.items() if self._matters(name)])
        if said not in self._known:
            self._known[said] = self._with(dict(said))
        return self._known[said]

    def _with(self, said: dict[str, str]) -> Models:
        spliced = [f"{name}={said[name]}" for name in _SPLICED if name in said]
        replaced = {target: value for name, value in said.items() for target in self._replaced(name)}
        files = self._files | replaced
        loras = [name for target, name in files.items() if templates.is_lora(target)]
        others = {name for target, name in files.items() if not templates.is_lora(target)}
        return Models(files=tuple(sorted(others)), loras=(*loras, *spliced))

    def _matters(self, name: str) -> bool:
        return name in _SPLICED or bool(self._replaced(name))

    def _replaced(self, name: str) -> tuple[Target, ...]:
        if name not in self._targets:
            self._targets[name] = tuple(target for target in self._meant(name) if target in self._files)
        return self._targets[name]

    def _meant(self, name: str) -> Sequence[Target]:
        if name in self._recipe.bindings:
            return self._recipe.bindings[name]
        try:
            return (Target(*templates.resolve(self._recipe.graph, name)),)
        except TemplateError:
            return ()
