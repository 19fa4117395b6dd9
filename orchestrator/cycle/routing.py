"""Which items may go to which of several servers: those that have what the item's recipe needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ItemError, RecipeUnusable, ServerBusy, TemplateError, UnexpectedAnswer
from orchestrator.preparation import Preparation
from orchestrator.servers import canonical_name
from state.item import Item

if TYPE_CHECKING:
    from orchestrator.comfyui.capabilities import Capabilities

_FREE_INPUTS = frozenset({"prompt", "negative", "seed"})
"""Inputs that no server has a list of choices for."""


class Routing:
    """What one server takes. `elsewhere`: the names of the other servers of the run."""

    def __init__(self, offer: Capabilities, preparation: Preparation, *, elsewhere: frozenset[str]) -> None:
        self.refused: set[str] = set()
        """Keys of items that it cannot run, or would not."""
        self._offer = offer
        self._preparation = preparation
        self._elsewhere = elsewhere
        self._known: dict[object, bool] = {}
        self._unknown: dict[object, Item] = {}

    def suits(self, item: Item) -> bool:
        """Asks nobody: what is not known yet is left for now, until `learn`."""
        if item.may_be_on_a_server and item.server and canonical_name(item.server) in self._elsewhere:
            return False
        kind = _kind(item)
        known = self._known.get(kind)
        if known is None:
            self._unknown.setdefault(kind, item)
        elif not known:
            self.refused.add(item.key)
        return bool(known)

    def learn(self) -> bool:
        """Ask the server about what was not known; whether there was anything. Errors: ServerUnreachable."""
        unknown = dict(self._unknown)
        for kind, item in unknown.items():
            self._known[kind] = self._can_run(item)
            del self._unknown[kind]
        return bool(unknown)

    def refuse(self, key: str) -> None:
        """The server itself would not take it."""
        self.refused.add(key)

    def forget(self) -> None:
        """The server may have been restarted with other models and nodes."""
        self.refused.clear()
        self._known.clear()
        self._unknown.clear()
        self._offer.forget()

    def _can_run(self, item: Item) -> bool:
        try:
            return not self._offer.missing(self._preparation.prepare(item).graph)
        except (ItemError, RecipeUnusable, TemplateError, ServerBusy, UnexpectedAnswer):
            # What is wrong with it, or whether the server has it after all, shows when it is submitted.
            return True


def _kind(item: Item) -> object:
    """Items of one kind need the same of a server."""
    return (
        item.recipe,
        item.template,
        tuple(sorted((name, repr(value)) for name, value in item.inputs.items() if name not in _FREE_INPUTS)),
    )
