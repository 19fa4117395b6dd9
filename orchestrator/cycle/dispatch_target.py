"""What a worker tells those who divide the items."""

from __future__ import annotations

from typing import Protocol

from orchestrator.cycle import pacing
from state.item import Item


class DispatchTarget(Protocol):
    """A worker, as far as its share of the items depends on it."""

    def load(self) -> pacing.Load:
        """How many prompts are submitted to its server, and how long one takes."""

    def window(self, size: int) -> int:
        """How many of `size` may be submitted at once so that its server never idles, and takes no more than needed."""

    def may_have(self, item: Item) -> bool:
        """Whether the item's recipe allows its server."""

    def may_have_recipe(self, recipe: str | None) -> bool:
        """The same, of all items of a recipe."""

    def has(self, item: Item) -> bool:
        """Whether the item's record says that it is on its server."""

    def takes(self, item: Item) -> bool:
        """Whether its server has what the item needs, as far as is known."""

    def allowance(self) -> int | None:
        """How many more items it may take, whatever the burst has room for; None: any number."""

    @property
    def may_spend(self) -> bool:
        """Its server costs nothing, or may be sent more for money. Any thread may ask."""

    def accepts(self, item: Item) -> bool:
        """Whether it may take this item now."""

    def notice(self, key: str) -> None:
        """Another process changed this item, which the worker holds."""

    @property
    def refused(self) -> set[str]:
        """Keys of items that its server cannot run."""

    @property
    def is_lost(self) -> bool:
        """Its server does not answer, and is not asked for a while."""

    @property
    def is_draining(self) -> bool:
        """Its server gets nothing new."""

    @property
    def is_waited_for(self) -> bool:
        """Its server does not answer at the moment."""
