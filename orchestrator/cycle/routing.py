"""Which items a server can run: those for which it has the nodes and models that the item's workflow needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ItemError, RecipeUnusable, ServerBusy, TemplateError, UnexpectedAnswer
from orchestrator.preparation import Preparation
from state.item import Item

if TYPE_CHECKING:
    from orchestrator.comfyui import ComfyUI
    from orchestrator.comfyui.capabilities import Capabilities

_FREE_INPUTS = frozenset({"prompt", "negative", "seed"})
"""Inputs for which no server has a list of choices."""


class Routing:
    """Asks one server what it has, once another server could take the item as well."""

    def __init__(self, client: ComfyUI, preparation: Preparation) -> None:
        self.refused: set[str] = set()
        """Keys of items that the server cannot run, or has rejected."""
        self._client = client
        self._preparation = preparation
        self._capabilities: Capabilities | None = None
        self._known: dict[object, bool] = {}
        self._unknown: dict[object, Item] = {}

    def suits(self, item: Item) -> bool:
        """Sends no request: an item of an unknown kind does not suit until `learn` was called."""
        kind = _kind(item)
        known = self._known.get(kind)
        if known is None:
            self._unknown.setdefault(kind, item)
        elif not known:
            self.refused.add(item.key)
        return bool(known)

    def learn(self) -> bool:
        """Ask the server about the unknown kinds; whether there were any. Errors: ServerUnreachable."""
        unknown = dict(self._unknown)
        for kind, item in unknown.items():
            self._known[kind] = self._can_run(item)
            del self._unknown[kind]
        return bool(unknown)

    def refuse(self, key: str) -> None:
        """The server rejected this item's workflow."""
        self.refused.add(key)

    def forget(self) -> None:
        """The server may have been restarted with other models and nodes."""
        self.refused.clear()
        self._known.clear()
        self._unknown.clear()
        self._capabilities = None

    def _can_run(self, item: Item) -> bool:
        if self._capabilities is None:
            from orchestrator.comfyui.capabilities import Capabilities

            self._capabilities = Capabilities(self._client)
        try:
            return not self._capabilities.missing(self._preparation.prepare(item).graph)
        except (ItemError, RecipeUnusable, TemplateError, ServerBusy, UnexpectedAnswer):
            # What is wrong with the item, or whether the server has the nodes after all, shows at submission.
            return True


def _kind(item: Item) -> object:
    """Items of one kind need the same of a server."""
    return (
        item.recipe,
        item.template,
        tuple(sorted((name, repr(value)) for name, value in item.inputs.items() if name not in _FREE_INPUTS)),
    )
