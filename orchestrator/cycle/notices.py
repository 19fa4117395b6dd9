"""What other processes changed of a worker's items; what they cancelled is withdrawn between any two requests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence

from orchestrator.comfyui.lookup import Fate, look_up, withdraw
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.in_flight import InFlight
from orchestrator.errors import TransientError
from state.item import Item, Status


class Notices:
    """Of one worker. Any thread may add one; all else is for the worker's own thread."""

    def __init__(self, context: WorkerContext, in_flight: InFlight) -> None:
        self._context = context
        self._in_flight = in_flight
        self._keys: set[str] = set()
        self._withdrawn: set[str] = set()
        """Prompts that were withdrawn, and whose items are still to be settled."""
        self._thread: int | None = None
        self._is_attending = False

    def belong_to_this_thread(self) -> None:
        """The worker's. Requests of its downloads and uploads are not interrupted."""
        self._thread = threading.get_ident()

    def add(self, key: str) -> None:
        """Another process changed this item."""
        self._keys.add(key)

    def take(self) -> list[str]:
        """The items that were changed since the last call, for the worker's next step."""
        keys: list[str] = []
        while self._keys:
            keys.append(self._keys.pop())
        return keys

    def attend(self) -> None:
        """Withdraw at once what was cancelled, in the middle of a row of requests; the next step settles it.

        Nothing is raised: what fails here is done by that step.
        """
        if self._is_attending or threading.get_ident() != self._thread:
            return
        self._is_attending = True
        try:
            self._look()
            unwanted = [item for item in self._in_flight.unwanted() if item.prompt_id not in self._withdrawn]
            if unwanted:
                with contextlib.suppress(TransientError):
                    self.withdraw(unwanted)
        finally:
            self._is_attending = False

    def withdraw(self, items: Sequence[Item]) -> Mapping[str, Fate]:
        """Take these prompts from the server, where that was not done yet; by prompt_id, what became of each.

        Errors: as `look_up`.
        """
        client = self._context.client
        ids = [item.prompt_id or "" for item in items]
        done = [prompt_id for prompt_id in ids if prompt_id in self._withdrawn]
        open_ids = [prompt_id for prompt_id in ids if prompt_id not in self._withdrawn]
        fates = withdraw(client, open_ids) if open_ids else {}
        if self._is_attending:
            self._withdrawn.update(open_ids)
            return fates
        if done:
            fates |= look_up(client, done)
        self._withdrawn.difference_update(ids)
        return fates

    def _look(self) -> None:
        """Note what was cancelled among what the server has. All notices are kept for the next step."""
        for key in list(self._keys):
            watched = self._in_flight.get(key)
            if watched is None or watched.cancel_requested:
                continue
            for now in self._context.store.get_many([key]):
                if now.status is Status.SUBMITTED and now.cancel_requested and now.prompt_id == watched.prompt_id:
                    self._in_flight.take_in(now)
