"""What a server has completed, from the records of items and from its own history."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from heapq import nlargest

import msgspec

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import UnexpectedAnswer
from orchestrator.servers import Server, find_server
from state.item import Status, UtcTime
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
        return any(self._is_readable(prompt_id) for _, prompt_id in nlargest(_ASKED, self._completed(recipes)))

    def longest_seconds(self, recipe: str | None) -> float | None:
        """The longest that an item of this recipe took to render, on any server; None where none is known."""
        found = (part for _, part in self._store.parts(_Completed) if part.recipe == recipe)
        return max((one.seconds for one in found if one.seconds is not None), default=None)

    def _completed(self, recipes: Collection[str | None] | None) -> Iterator[tuple[datetime, str]]:
        """When, and the prompt_id."""
        here: dict[str, bool] = {}
        for _, one in self._store.parts(_Completed):
            if one.status is not Status.COMPLETED or (recipes is not None and one.recipe not in recipes):
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
