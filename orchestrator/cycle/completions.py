"""What a server has completed, from the records of items and from its own history."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from heapq import nlargest

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import UnexpectedAnswer
from orchestrator.servers import Server, find_server
from state.completed_items import CompletedItems
from state.item import Item

_ASKED = 3
"""How many of the latest completed prompts are looked for in the history; the server may have removed some."""


class Completions:
    """Of one server."""

    def __init__(self, completed: CompletedItems, server: Server, client: ComfyUI) -> None:
        self._completed = completed
        self._server = server
        self._client = client
        self._is_here: dict[str, bool] = {}
        """By name of a server: whether it is this one."""
        self._on_their_way: dict[str | None, str] = {}
        """By recipe: the latest prompt_id that its history showed as a success."""

    def succeeded(self, item: Item) -> None:
        """Its history shows the item's prompt as a success; what it made may not be downloaded yet."""
        self._on_their_way[item.recipe] = str(item.prompt_id)

    def any_readable(self, *, recipes: Collection[str | None] | None = None) -> bool:
        """Whether its history has an entry that can be read of an item that it completed, of one of these `recipes`.

        Its history begins when it starts, so such an item was completed since then. Errors: ServerUnreachable,
        ServerBusy.
        """
        seen = [one for recipe, one in self._on_their_way.items() if recipes is None or recipe in recipes]
        return any(map(self._is_readable, seen)) or self._knows_one_of(recipes=recipes)

    def stayed_up_since(self, item: Item) -> bool:
        """Whether the server has not gone down since this item was sent to it.

        So it is where its history, which begins when it starts, has a prompt that was collected before that. Errors:
        ServerUnreachable, ServerBusy.
        """
        return item.submitted_at is not None and self._knows_one_of(until=item.submitted_at)

    def usual_count(self, item: Item) -> int | None:
        """How many files came of the completed items that differ from this one in texts and seed alone.

        None where there are none, or not all have as many.
        """
        counts = list(self._completed.counts(item))
        return counts[0] if len(counts) == 1 else None

    def _knows_one_of(self, *, until: datetime | None = None, recipes: Collection[str | None] | None = None) -> bool:
        """Whether its history has one of the latest."""
        latest = (
            one
            for name in self._completed.servers()
            if self._is_called(name)
            for one in self._completed.latest(name, _ASKED, until=until, recipes=recipes)
        )
        return any(self._is_readable(one.prompt_id) for one in nlargest(_ASKED, latest, key=lambda one: one.at))

    def _is_called(self, name: str) -> bool:
        if name not in self._is_here:
            self._is_here[name] = find_server(name, [self._server]) is not None
        return self._is_here[name]

    def _is_readable(self, prompt_id: str) -> bool:
        try:
            return self._client.history(prompt_id) is not None
        except UnexpectedAnswer:
            return False
