"""What rows of a list are made with that name a workflow or an output directory of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from orchestrator.node_classes import ClassSource
from orchestrator.places import root_named
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.settings import Settings


def row_recipes(
    recipes: Recipes, settings: Settings, default: LoadedRecipe, *, classes: ClassSource
) -> Callable[[str, str], LoadedRecipe]:
    """The recipe of a template and an output directory, `""` for those of `default`, the batch's. Nothing is written.

    Servers and the labels that they must have are the batch's; bindings and chosen outputs fit its own workflow alone.
    Errors, of what is returned: TemplateError.
    """
    own, servers = replace(settings, bindings={}, needs=default.recipe.needs), default.recipe.servers

    @cache
    def recipe_of(template: str, output: str) -> LoadedRecipe:
        loaded = default
        if template:
            loaded = recipes.from_settings(own, template=template, servers=servers, classes=classes)
            if loaded.recipe.workflow == default.recipe.workflow:
                loaded = default
            elif loaded.recipe.output != default.recipe.output:
                loaded = recipes.remember(loaded.below(default.recipe.output))
        return recipes.remember(loaded.below(recipes.kept(root_named(output)))) if output else loaded

    return recipe_of
