"""What a server has completed, from the records of items and from its own history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from heapq import nlargest
from typing import Any

import msgspec

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import UnexpectedAnswer
from orchestrator.servers import Server, find_server
from state.item import Item, OutputRecord, Status, TrashedOutput, UtcTime
from state.store import Store

_ASKED = 3
"""How many of the latest completed prompts are looked for in the history; the server may have removed some."""


class _Completed(msgspec.Struct, frozen=True):
    """What the record of an item says about its last prompt."""

    status: Status
    server: str | None = None
    prompt_id: str | None = None
    recipe: str | None = None
    completed_at: UtcTime | None = None
    seconds: float | None = None


_TEXTS_AND_SEED = frozenset({"prompt", "negative", "seed"})
"""The values that do not change how many files a prompt makes."""


class _Made(msgspec.Struct, frozen=True):
    """What an item was made with, and how many files came of it."""

    status: Status
    recipe: str | None = None
    inputs: dict[str, Any] = {}
    uploads: dict[str, Any] = {}
    outputs: tuple[OutputRecord, ...] = ()
    trashed: tuple[TrashedOutput, ...] = ()
    sidecar: str | None = None

    @property
    def kind(self) -> object:
        """The same for all items that make the same number of files."""
        inputs = {name: value for name, value in self.inputs.items() if name not in _TEXTS_AND_SEED}
        return self.recipe, inputs, self.uploads

    @property
    def count(self) -> int:
        """Of its files that a server saved; texts are in its history alone."""
        paths = [one.path for one in (*self.outputs, *self.trashed) if one.path != self.sidecar]
        return sum(not path.endswith(".txt") for path in paths)


class Completions:
    """Of one server. Each question reads all records: for rare use."""

    def __init__(self, store: Store, server: Server, client: ComfyUI) -> None:
        self._store = store
        self._server = server
        self._client = client

    def any_readable(self, *, recipes: Collection[str | None] | None = None) -> bool:
        """Whether its history has an entry that can be read of a completed item, of one of these `recipes`.

        Its history begins when it starts, so such an item was completed since then. Errors: ServerUnreachable,
        ServerBusy.
        """
        return self._knows_one_of(self._completed(lambda one: recipes is None or one.recipe in recipes))

    def stayed_up_since(self, item: Item) -> bool:
        """Whether the server has not gone down since this item was sent to it.

        So it is where its history, which begins when it starts, has a prompt that was collected before that. Errors:
        ServerUnreachable, ServerBusy.
        """
        sent_at = item.submitted_at
        if sent_at is None:
            return False
        return self._knows_one_of(
            self._completed(lambda one: one.completed_at is not None and one.completed_at <= sent_at)
        )

    def usual_count(self, item: Item) -> int | None:
        """How many files came of the completed items that differ from this one in texts and seed alone.

        None where there are none, or not all have as many.
        """
        kind = _Made(item.status, item.recipe, item.inputs, msgspec.to_builtins(item.uploads)).kind
        made = (one for _, one in self._store.parts(_Made) if one.status is Status.COMPLETED and one.kind == kind)
        counts = {one.count for one in made}
        return counts.pop() if len(counts) == 1 else None

    def longest_seconds(self, recipe: str | None) -> float | None:
        """The longest that an item of this recipe took to render, on any server; None where none is known."""
        found = (part for _, part in self._store.parts(_Completed) if part.recipe == recipe)
        return max((one.seconds for one in found if one.seconds is not None), default=None)

    def _knows_one_of(self, completed: Iterator[tuple[datetime, str]]) -> bool:
        """Whether its history has one of the latest."""
        return any(self._is_readable(prompt_id) for _, prompt_id in nlargest(_ASKED, completed))

    def _completed(self, accept: Callable[[_Completed], bool]) -> Iterator[tuple[datetime, str]]:
        """When, and the prompt_id."""
        here: dict[str, bool] = {}
        for _, one in self._store.parts(_Completed):
            if one.status is not Status.COMPLETED or not accept(one):
                continue
            if one.server is None or one.prompt_id is None or one.completed_at is None:
                continue
            if one.server not in here:
                here[one.server] = find_server(one.server, [self._server]) is not None
            if here[one.server]:
                yield one.completed_at, one.prompt_id

    def _is_readable(self, prompt_id: str) -> bool:
        try:
            return self._client.history(prompt_id) is not None
        except UnexpectedAnswer:
            return False
