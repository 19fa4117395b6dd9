"""The parameters of a batch: what its request asked for, and what its images have in common, defaults included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator.batches.request_identity import names_seed
from orchestrator.errors import RecipeUnusable
from orchestrator.recipes import Recipes
from state.batch import BatchRecord
from state.item import Item

_OF_TEMPLATE = (
    "model",
    "lora",
    "lora_strength",
    "steps",
    "cfg",
    "guidance",
    "sampler",
    "scheduler",
    "denoise",
    "width",
    "height",
    "batch_size",
    "negative",
)
"""What a template has a value for that says something about its images."""
_EACH_ITS_OWN = frozenset({"seed", "prompt"})

TemplateValues = Callable[[str | None], Mapping[str, Any]]
"""By a recipe's id."""


def asked_parameters(record: BatchRecord) -> dict[str, Any]:
    """What the request gave to all items: not a seed that was drawn."""
    is_named = names_seed(record.request_parts)
    return {name: value for name, value in record.parameters.items() if name != "seed" or is_named}


def effective_parameters(
    record: BatchRecord, items: Iterable[Item], values_of: TemplateValues, *, whole: bool = True
) -> dict[str, Any]:
    """What all of these items are made with: as asked for, else as their template has it.

    `whole`: they are all that the batch has; otherwise what only a row gives to its item is left out.
    """
    shared: dict[str, Any] | None = None
    for item in items:
        own = {**values_of(item.recipe), **item.inputs}
        if not whole:
            own = {name: value for name, value in own.items() if name not in item.inputs or name in record.parameters}
        if shared is None:
            shared = own
        elif own != shared:
            shared = {name: value for name, value in shared.items() if name in own and own[name] == value}
    if shared is None:
        shared = {**values_of(record.recipe), **record.parameters}
    swept = {*record.axes, *_EACH_ITS_OWN}
    return {name: value for name, value in shared.items() if name not in swept}


def template_values(recipes: Recipes) -> TemplateValues:
    """What the workflows of these recipes say where nobody asks for anything else. Each is looked at once."""
    known: dict[str | None, Mapping[str, Any]] = {None: {}}

    def values(recipe: str | None) -> Mapping[str, Any]:
        if recipe not in known:
            known[recipe] = _values(recipes, recipe or "")
        return known[recipe]

    return values


def _values(recipes: Recipes, recipe: str) -> dict[str, Any]:
    try:
        loaded = recipes.loaded(recipe)
    except RecipeUnusable:
        return {}
    found = {}
    for name in _OF_TEMPLATE:
        for target in loaded.bindings.get(name, ())[:1]:
            value = loaded.graph[target.node_id]["inputs"].get(target.input_name)
            if isinstance(value, str | int | float):
                found[name] = value
    return found
