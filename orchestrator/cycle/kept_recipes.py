"""A run's flags and the recipes of due items: the flags apply to items without a recipe only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import templates
from orchestrator.errors import RecipeUnusable, TemplateError
from orchestrator.formatting import counted
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.servers import canonical_name
from orchestrator.settings import Overrides, Settings
from orchestrator.wording import named
from state.item import Status
from state.recipe import Recipe
from state.store import Store

_SHOWN_WORKFLOWS = 3


def check_default(preparation: Preparation, store: Store, overrides: Overrides) -> None:
    """Find a bad template before anything is sent.

    Errors: TemplateError, where the flags name the template or bindings, or due items have no recipe.
    """
    try:
        preparation.default()
    except TemplateError:
        is_named = overrides.template is not None or overrides.bindings
        if is_named or None in store.recipe_counts(Status.PENDING):
            raise


def contradiction(store: Store, recipes: Recipes, settings: Settings, overrides: Overrides) -> str | None:
    """A note about due items whose recipes differ from the flags; None where there are none."""
    parameters: dict[str, None] = {}
    keeping: Counter[str] = Counter()
    if any((overrides.template, overrides.bindings, overrides.output_dir, overrides.servers)):
        check = _Contradictions(recipes, settings, overrides)
        for recipe_id, count in store.recipe_counts(Status.PENDING).items():
            if recipe_id is None:
                continue
            try:
                recipe = recipes.recipe(recipe_id)
                found = list(check.of(recipe))
            except RecipeUnusable:
                continue
            if found:
                parameters.update(dict.fromkeys(found))
                keeping[recipe.workflow_name or recipe.output] += count
    if not keeping:
        return None
    shown = [f"{name} ({count})" for name, count in keeping.most_common(_SHOWN_WORKFLOWS)]
    more = f" and {len(keeping) - len(shown)} more" if len(keeping) > len(shown) else ""
    return (
        f"{', '.join(map(named, parameters))}: only for items without a recipe; {counted(keeping.total())} due with "
        f"recipes of their own: {', '.join(shown)}{more}. `burst update` gives them a new one"
    )


class _Contradictions:
    """Finds the parameters that a recipe differs from."""

    def __init__(self, recipes: Recipes, settings: Settings, overrides: Overrides) -> None:
        self._recipes = recipes
        self._overrides = overrides
        self._workflow = recipes.from_settings(settings).recipe.workflow if overrides.template is not None else None
        self._output = recipes.kept(settings.output_dir) if overrides.output_dir is not None else None
        self._servers = {server.name for server in settings.servers} if overrides.servers else None

    def of(self, recipe: Recipe) -> Iterator[str]:
        """Errors: RecipeUnusable."""
        if recipe.workflow is not None:
            if self._workflow not in (None, recipe.workflow):
                yield "template"
            elif any(not self._binds(recipe, name, address) for name, address in self._overrides.bindings.items()):
                yield "bindings"
            elif not self._fetches(recipe):
                yield "outputs"
        if self._output not in (None, recipe.output):
            yield "output_dir"
        if recipe.servers and self._servers not in (None, set(map(canonical_name, recipe.servers))):
            yield "servers"

    def _fetches(self, recipe: Recipe) -> bool:
        nodes = self._overrides.outputs
        if nodes is None:
            return True
        try:
            graph = self._recipes.loaded(recipe.id).graph
            return templates.output_nodes(graph, nodes, loose_ends=recipe.loose_ends) == recipe.output_nodes
        except TemplateError:
            return False

    def _binds(self, recipe: Recipe, name: str, address: str) -> bool:
        loaded = self._recipes.loaded(recipe.id)
        try:
            found = templates.find_bindings(loaded.graph, {name: address})
        except TemplateError:
            return False
        return found.get(name) == loaded.bindings.get(name)
