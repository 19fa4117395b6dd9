"""The recipes of a SQL state, and their graphs by content."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from orchestrator.errors import RecipeUnusable, StateError
from state.recipe import Recipe, workflow_bytes, workflow_digest
from state.sql.database import Database
from state.sql.outage import repeats_all
from state.sql.schema import recipes, workflows

_WAY_OUT = "restore it from a backup, or give its items another recipe with `burst update`"


def add_recipe(connection: Connection, recipe: Recipe, workflow: Mapping[str, Any] | None) -> None:
    """With its graph, unless they are there. The caller keeps others from adding at the same time."""
    if recipe.workflow is not None and workflow is not None:
        data = workflow_bytes(workflow)
        if workflow_digest(data) != recipe.workflow:
            raise ValueError(f"the graph does not have the digest {recipe.workflow}")
        there = select(workflows.c.digest).where(workflows.c.digest == recipe.workflow)
        if connection.scalar(there) is None:
            connection.execute(workflows.insert().values(digest=recipe.workflow, graph=data.decode("ascii")))
    if connection.scalar(select(recipes.c.id).where(recipes.c.id == recipe.id)) is None:
        connection.execute(recipes.insert().values(id=recipe.id, recipe=msgspec.json.encode(recipe).decode()))


@repeats_all()
class SqlRecipeBook:
    """See `state.recipe.RecipeBook` for what each public method promises."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mutex = threading.Lock()
        self._known: dict[str, Recipe] = {}
        """Recipes never change: what was read once is not read again."""

    def get(self, recipe_id: str) -> Recipe:
        with self._mutex:
            if recipe_id in self._known:
                return self._known[recipe_id]
        found = None
        if self._database.exists():
            with self._database.connect() as connection:
                found = connection.scalar(select(recipes.c.recipe).where(recipes.c.id == recipe_id))
        if found is None:
            raise RecipeUnusable(recipe_id, f"it is not in {self._database.location.shown()}; {_WAY_OUT}")
        return self._decoded(recipe_id, found)

    def add(self, recipe: Recipe, workflow: Mapping[str, Any] | None) -> Recipe:
        with self._mutex:
            if recipe.id in self._known:
                return recipe
        if self._database.read_only:
            raise StateError(self._database.location.shown(), "opened for reading only")
        with self._database.transaction() as connection:
            self._database.lock(connection, "recipes")
            add_recipe(connection, recipe, workflow)
        with self._mutex:
            self._known[recipe.id] = recipe
        return recipe

    def workflow(self, recipe: Recipe) -> dict[str, Any]:
        assert recipe.workflow is not None
        where = self._database.location.shown()
        found = None
        if self._database.exists():
            with self._database.connect() as connection:
                found = connection.scalar(select(workflows.c.graph).where(workflows.c.digest == recipe.workflow))
        if found is None:
            raise RecipeUnusable(recipe.id, f"its workflow {recipe.workflow} is not in {where}; {_WAY_OUT}")
        if workflow_digest(found.encode()) != recipe.workflow:
            raise RecipeUnusable(recipe.id, f"its workflow {recipe.workflow} was changed in {where}; {_WAY_OUT}")
        graph = json.loads(found)
        assert isinstance(graph, dict)
        return graph

    def all(self) -> dict[str, Recipe]:
        if not self._database.exists():
            return {}
        with self._database.connect() as connection:
            rows = connection.execute(select(recipes.c.id, recipes.c.recipe).order_by(recipes.c.seq)).all()
        found = {}
        for row in rows:
            try:
                found[row.id] = self._decoded(row.id, row.recipe)
            except RecipeUnusable:
                continue
        return found

    def _decoded(self, recipe_id: str, text: str) -> Recipe:
        where = self._database.location.shown()
        try:
            recipe = msgspec.json.decode(text, type=Recipe)
        except msgspec.DecodeError as error:
            raise RecipeUnusable(
                recipe_id,
                f"it has an unknown form in {where} ({error}); use the version of burst that wrote it or a newer one, "
                "or give its items another recipe with `burst update`",
            ) from error
        if recipe.id != recipe_id:
            raise RecipeUnusable(recipe_id, f"its row in {where} was changed; {_WAY_OUT}")
        with self._mutex:
            self._known[recipe_id] = recipe
        return recipe
