"""A recipe: what items are made with and where their files go, fixed when they are requested."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import msgspec

_ID_DIGITS = 16


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, dict=True):
    """Shared by all items of one request. Paths below the state's directory are relative to it.

    Holds names of servers, never a password or a header.
    """

    workflow: str | None = None
    """Digest of the graph (`workflow_bytes`); None if the recipe fixes only the output root, not the workflow."""
    workflow_name: str | None = None
    """Where the graph came from: the name of a shipped workflow or a path."""
    bindings: dict[str, tuple[str, ...]] = {}
    """Binding → the inputs that it sets, each `NODE.INPUT` of the graph; already resolved."""
    output: str = "output"
    """The output root, to which the paths of outputs are relative."""
    output_nodes: tuple[str, ...] = ()
    """Ids of the only nodes whose outputs are fetched; empty: all that save."""
    loose_ends: tuple[str, ...] = ()
    """Ids of nodes that look as if they saved and do not, by the classes of a server: not waited for, not compared."""
    servers: tuple[str, ...] = ()
    """Names of servers, if the request itself gave some."""
    needs: tuple[str, ...] = ()
    """Labels that a server must have to be sent its items."""

    @cached_property
    def id(self) -> str:
        """Digest over the relative paths: the same in a moved project and from any working directory."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:_ID_DIGITS]

    @property
    def request_id(self) -> str:
        """The id without what a server says of it: the same request has the same, whether one was asked or not."""
        return msgspec.structs.replace(self, loose_ends=()).id


class RecipeBook(Protocol):
    """The recipes of a state. Safe to use from several threads; several processes may add at once."""

    def get(self, recipe_id: str) -> Recipe:
        """Also finds a recipe that another process has just added. Errors: RecipeUnusable."""

    def add(self, recipe: Recipe, workflow: Mapping[str, Any] | None) -> Recipe:
        """Store a recipe, after its graph; durable on return. Safe to repeat.

        Errors: DiskFull, LockHeld, StateError.
        """

    def workflow(self, recipe: Recipe) -> dict[str, Any]:
        """The graph of a recipe, exactly as stored. Errors: RecipeUnusable."""

    def all(self) -> dict[str, Recipe]:
        """All readable recipes by id, oldest first."""


def workflow_bytes(workflow: Mapping[str, Any]) -> bytes:
    """A graph as it is stored: JSON without white space, in its own order, which determines the order of outputs."""
    import json

    return json.dumps(workflow, separators=(",", ":")).encode("ascii")


def workflow_digest(data: bytes) -> str:
    """The digest that names stored workflow bytes."""
    return hashlib.sha256(data).hexdigest()
