"""Recipes in use: a kept one with its graph, or one made of the settings as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import msgspec

import templates
from orchestrator.errors import RecipeUnusable, TemplateError, UsageError
from orchestrator.kept_paths import kept_path
from orchestrator.node_classes import ClassSource, kept_classes
from orchestrator.places import Place
from orchestrator.settings import Settings
from orchestrator.ui_workflows import Conversion
from orchestrator.wording import named
from state.recipe import Recipe, RecipeBook, workflow_bytes, workflow_digest
from templates import Bindings, Graph, SaveNode, Target


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that items can be prepared with. Its `recipe.workflow` names `graph`."""

    recipe: Recipe
    graph: Graph
    bindings: Bindings
    unprefixed: tuple[str, ...]
    """Ids of the nodes that save without taking a prefix."""

    @property
    def name(self) -> str:
        """Where its workflow came from, for messages."""
        return self.recipe.workflow_name or f"workflow {self.recipe.workflow}"

    @cached_property
    def prefix_scheme(self) -> int:
        """The rule for the prefixes of its prompts."""
        return templates.prefix_scheme(self.saving(self.graph))

    def saving(self, graph: Graph) -> Graph:
        """Its graph, or an item's of it, without the nodes that only look as if they saved."""
        return templates.without(graph, self.recipe.loose_ends)

    def fetches(self, node: SaveNode) -> bool:
        """Whether the files of this save node are fetched."""
        chosen = self.recipe.output_nodes
        return node.node_id in chosen if chosen else not node.temporary

    def below(self, output: str) -> LoadedRecipe:
        """The same with another output root."""
        recipe = msgspec.structs.replace(self.recipe, output=output)
        return LoadedRecipe(recipe, self.graph, self.bindings, self.unprefixed)


class Recipes:
    """The recipes of one state, and those that are not kept yet. Any thread may use it."""

    def __init__(self, book: RecipeBook | None, home: Path) -> None:
        """`book`: None before the state exists. `home`: the state file's directory, where relative paths start."""
        self._book = book
        self.home = home
        self._known: dict[str, LoadedRecipe] = {}

    def all(self) -> dict[str, Recipe]:
        """Every recipe of the state that can be read, by its id."""
        return self._book.all() if self._book is not None else {}

    def recipe(self, recipe_id: str) -> Recipe:
        """Errors: RecipeUnusable."""
        if recipe_id in self._known:
            return self._known[recipe_id].recipe
        if self._book is None:
            raise RecipeUnusable(recipe_id, "there is no state that could have it")
        return self._book.get(recipe_id)

    def workflow_name(self, recipe_id: str) -> str | None:
        """Where a recipe's workflow came from; None where that cannot be read, or it has none."""
        try:
            return self.recipe(recipe_id).workflow_name
        except RecipeUnusable:
            return None

    def loaded(self, recipe_id: str) -> LoadedRecipe:
        """A recipe with its graph, read once. Errors: RecipeUnusable, also for one that is an output root alone."""
        if recipe_id not in self._known:
            self._known[recipe_id] = self._load(self.recipe(recipe_id))
        return self._known[recipe_id]

    def from_settings(
        self,
        settings: Settings,
        *,
        template: str | None = None,
        servers: Sequence[str] = (),
        classes: ClassSource = kept_classes,
    ) -> LoadedRecipe:
        """The recipe of who asks now, with `template` in place of the settings' own. Nothing is written.

        `servers`: the names of those that the request itself named. `classes`: where the node classes come from that
        its bindings go by. Errors: TemplateError.
        """
        name = template or settings.template
        if name != settings.template:
            settings = replace(settings, outputs=())
        if name is None:
            raise TemplateError(
                f"no template is set; name a workflow file or a shipped one: {named('template', 'NAME')} "
                f"(shipped: {', '.join(templates.shipped_workflows())})"
            )
        workflow = templates.load_workflow(name, relative_to=self.home, convert=Conversion(settings))
        kept = workflow.name if workflow.path is None else self.kept(workflow.path)
        return self.from_graph(workflow.graph, settings, name=kept, servers=servers, classes=classes)

    def from_graph(
        self,
        graph: Graph,
        settings: Settings,
        *,
        name: str,
        servers: Sequence[str] = (),
        classes: ClassSource = kept_classes,
    ) -> LoadedRecipe:
        """The same with a graph that came from `name`. Errors: TemplateError."""
        catalogue = classes(graph, settings)
        bindings = templates.find_bindings(graph, settings.bindings, catalogue=catalogue)
        ends = templates.loose_ends(graph, catalogue)
        nodes = templates.output_nodes(graph, settings.outputs, loose_ends=ends)
        return self._made(graph, settings, name=name, bindings=bindings, nodes=nodes, loose_ends=ends, servers=servers)

    def of_prompt(self, graph: Graph, settings: Settings, *, servers: Sequence[str]) -> LoadedRecipe:
        """For a graph that came from a server's queue: no name of it has a meaning there. Errors: TemplateError."""
        return self._made(graph, settings, name="", bindings={}, nodes=(), servers=servers)

    def again(
        self,
        base: LoadedRecipe,
        settings: Settings,
        *,
        bindings: Mapping[str, str] = {},
        outputs: Sequence[str] | None = None,
        servers: Sequence[str] = (),
    ) -> LoadedRecipe:
        """The workflow, bindings and chosen outputs of another recipe, but for what is named now.

        Errors: TemplateError.
        """
        told = templates.find_bindings(base.graph, bindings)
        kept = {name: targets for name, targets in base.bindings.items() if name not in bindings}
        bound = kept | {name: told[name] for name in bindings if name in told}
        settings = replace(settings, needs=base.recipe.needs if settings.needs is None else settings.needs)
        name = base.recipe.workflow_name or ""
        ends, nodes = base.recipe.loose_ends, base.recipe.output_nodes
        if outputs is not None:
            nodes = templates.output_nodes(base.graph, outputs, loose_ends=ends)
        return self._made(
            base.graph, settings, name=name, bindings=bound, nodes=nodes, loose_ends=ends, servers=servers
        )

    def kept(self, path: Place) -> str:
        """How a recipe names an absolute path."""
        return kept_path(path, self.home)

    def remember(self, loaded: LoadedRecipe) -> LoadedRecipe:
        """Know it by its id, before it is kept."""
        return self._known.setdefault(loaded.recipe.id, loaded)

    def keep(self, loaded: LoadedRecipe) -> Recipe:
        """Make sure that the state has it; durable on return. Errors: as `RecipeBook.add`."""
        assert self._book is not None
        return self._book.add(loaded.recipe, loaded.graph)

    def _made(
        self,
        graph: Graph,
        settings: Settings,
        *,
        name: str,
        bindings: Bindings,
        nodes: Sequence[str],
        servers: Sequence[str],
        loose_ends: Sequence[str] = (),
    ) -> LoadedRecipe:
        """Errors: TemplateError, UsageError for a name that is not Unicode text."""
        recipe = Recipe(
            workflow=workflow_digest(workflow_bytes(graph)),
            workflow_name=name,
            bindings={
                bound: tuple(_address(graph, target) for target in targets) for bound, targets in bindings.items()
            },
            output=self.kept(settings.output_dir),
            output_nodes=tuple(nodes),
            loose_ends=tuple(node_id for node_id in loose_ends if node_id not in nodes),
            servers=tuple(servers),
            needs=settings.needs or (),
        )
        _refuse_unkeepable(recipe)
        return self.remember(_loaded(recipe, graph, bindings))

    def _load(self, recipe: Recipe) -> LoadedRecipe:
        assert self._book is not None
        if recipe.workflow is None:
            raise RecipeUnusable(recipe.id, "it is an output directory alone, without a workflow")
        try:
            where = f"workflows/{recipe.workflow}.json"
            graph = templates.parse_graph(self._book.workflow(recipe), where=where)
            bindings = {
                name: tuple(Target.at(graph, address) for address in addresses)
                for name, addresses in recipe.bindings.items()
            }
        except TemplateError as error:
            raise RecipeUnusable(recipe.id, f"{error}; give its items another recipe with `burst update`") from error
        return _loaded(recipe, graph, bindings)


def _loaded(recipe: Recipe, graph: Graph, bindings: Bindings) -> LoadedRecipe:
    saving = templates.without(graph, recipe.loose_ends)
    return LoadedRecipe(recipe, graph, bindings, tuple(templates.needs_exclusive_run(saving)))


def _refuse_unkeepable(recipe: Recipe) -> None:
    for name in (recipe.workflow_name or "", recipe.output):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{name!r} cannot be kept in a recipe: not UTF-8; use another name") from error


def _address(graph: Graph, target: Target) -> str:
    """Errors: TemplateError for an input that has no spelling of its own."""
    if Target.at(graph, target.address) != target:
        raise TemplateError(f"{target.address} matches two inputs of this workflow; rename one of the nodes")
    return target.address
