"""A recipe: what items are made with and where their files go, fixed when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import msgspec

_ID_DIGITS = 16


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, dict=True):
    """Shared by all items of one request. Paths are spelled from the state's directory where they lie below it.

    It holds names of servers, never a password or a header.
    """

    workflow: str | None = None
    """The digest of its graph (`workflow_bytes`); None for the output root alone: the default's workflow is used."""
    workflow_name: str | None = None
    """Where the graph came from: the name of a shipped workflow, or a path."""
    bindings: dict[str, tuple[str, ...]] = {}
    """Binding → the inputs it sets, each `NODE.INPUT` of the graph; never looked for again."""
    output: str = "output"
    """The directory that outputs are relative to."""
    servers: tuple[str, ...] = ()
    """Only where the request itself named some."""

    @cached_property
    def id(self) -> str:
        """A digest over this spelling: the same recipe has the same id in a moved project and from any directory."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:_ID_DIGITS]


class RecipeBook(Protocol):
    """The recipes of a state. Safe to use from several threads; several processes may add at once."""

    def get(self, recipe_id: str) -> Recipe:
        """Also one that another process added meanwhile. Errors: RecipeUnusable."""

    def add(self, recipe: Recipe, workflow: Mapping[str, Any] | None) -> Recipe:
        """Keep a recipe, and its graph first; durable on return. Safe to repeat.

        Errors: DiskFull, LockHeld, StateError.
        """

    def workflow(self, recipe: Recipe) -> dict[str, Any]:
        """The graph of a recipe, exactly as it was kept. Errors: RecipeUnusable."""

    def all(self) -> dict[str, Recipe]:
        """Every recipe that can be read, by its id, oldest first."""


def workflow_bytes(workflow: Mapping[str, Any]) -> bytes:
    """A graph as it is kept: JSON without white space, in the graph's own order, which that of its outputs follows."""
    import json

    return json.dumps(workflow, separators=(",", ":")).encode("ascii")


def workflow_digest(data: bytes) -> str:
    """What kept bytes are named by."""
    return hashlib.sha256(data).hexdigest()
