"""Items that the server gives nothing readable of, until it is known whether that is about them or about the server."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Literal

import msgspec

from orchestrator.comfyui.lookup import Fate, Unclear, look_up
from orchestrator.cycle.completions import Completions
from orchestrator.cycle.context import WorkerContext
from orchestrator.errors import BurstError, ServerBusy, TransientError, UnexpectedAnswer
from state.item import ErrorRecord, Item

Endpoint = Literal["history", "files"]


class Unread(msgspec.Struct, frozen=True):
    """An item, and what came in place of its history entry or of a file."""

    item: Item
    error: BurstError
    endpoint: Endpoint


class Undecided:
    """Of one worker, which goes on holding these items, so that a burst does not send others in their place.

    An item is to blame where the same endpoint gave something readable of another one; the endpoint is where it gives
    nothing readable of any.
    """

    def __init__(self, context: WorkerContext, earlier: Set[str]) -> None:
        """`earlier`: keys of items that an earlier burst sent."""
        self._context = context
        self._earlier = earlier
        self._waiting: dict[str, Unread] = {}
        self._readable: set[Endpoint] = set()
        """Since the first of those that wait."""
        self._files_came = False
        """In this run."""
        self._let_go: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def keys(self) -> list[str]:
        """Any thread may ask."""
        return list(self._waiting)

    def add(self, item: Item, error: BurstError, endpoint: Endpoint) -> None:
        """The server answers, but not with this. Errors: the error itself while the run is halted; TransientError if
        the server answers nothing else either."""
        context = self._context
        if context.halt.is_set():
            raise error
        context.client.queue_remaining()
        if isinstance(error, ServerBusy) and error.status == 429:
            self._leave(item, error)
            return
        self._waiting[item.key] = Unread(item, error, endpoint)
        if endpoint == "files" and self._files_came:
            self._readable.add(endpoint)

    def read(self, endpoint: Endpoint) -> None:
        """The endpoint gave something readable of an item."""
        self._files_came = self._files_came or endpoint == "files"
        if self._waiting:
            self._readable.add(endpoint)

    def settle(self, meet: Callable[[Item, Fate], None], drop: Callable[[str], None]) -> None:
        """Charge those that are to blame themselves; `meet` is called with one whose history can be read now."""
        if not self._readable:
            return
        found = [one for one in self._waiting.values() if one.endpoint in self._readable]
        self._readable.clear()
        for one in found:
            if one.endpoint == "history":
                fate = look_up(self._context.client, [str(one.item.prompt_id)])[str(one.item.prompt_id)]
                if not isinstance(fate, Unclear):
                    del self._waiting[one.item.key]
                    meet(one.item, fate)
                    continue
            self._charge(one)
            del self._waiting[one.item.key]
            drop(one.item.key)

    def judge(self) -> None:
        """Nothing else is out that could tell, and nothing else may be sent.

        One alone that an earlier burst sent first makes room for another item. Errors: those of an endpoint that gave
        nothing readable.
        """
        waiting = list(self._waiting.values())
        alone = waiting[0].item.key if len(waiting) == 1 else None
        if alone is not None and alone in self._earlier - self._let_go:
            self._let_go.add(alone)
            self._context.dispatch.let_go(alone)
        elif waiting[0].endpoint == "history":
            context = self._context
            if not Completions(context.dispatch.completed, context.server, context.client).any_readable():
                raise _of_endpoint(waiting[0])
            self._readable.add("history")
        elif alone is None:
            raise _of_endpoint(waiting[0])
        elif self._context.dispatch.has_due():
            # The next burst will know more.
            self._leave(waiting[0].item, waiting[0].error)
            del self._waiting[alone]
            self._context.dispatch.let_go(alone)
        else:
            self._readable.add("files")

    def _charge(self, unread: Unread) -> None:
        """Left submitted for a later burst with an attempt charged; failed after the last one."""
        item, error, context = unread.item, unread.error, self._context
        if any(now.cancel_requested for now in context.store.get_many([item.key])):
            context.transitions.cancel(item)
            return
        record = ErrorRecord(kind="unanswered", message=str(error))
        if item.attempts + 1 >= context.options.max_attempts:
            context.transitions.fail(item, record)
        elif context.transitions.change(item, lambda now: now.charge_attempt(error=record)):
            self._leave(item, error)

    def forget(self) -> None:
        """All items are looked up anew."""
        self._waiting.clear()
        self._readable.clear()

    def _leave(self, item: Item, error: BurstError) -> None:
        self._context.dispatch.left_unclear(item.key)
        self._context.tally.note(f"{item.key} is left for a later burst: {error}")


def _of_endpoint(unread: Unread) -> BurstError:
    error = unread.error
    what = "history" if unread.endpoint == "history" else "files"
    message = (
        f"{error}; the {what} of no item could be read, so no attempt is charged; "
        "check any proxy in front of the server"
    )
    if isinstance(error, UnexpectedAnswer):
        return UnexpectedAnswer(message, status=error.status, passes=error.passes)
    if isinstance(error, ServerBusy):
        return ServerBusy(message, status=error.status, retry_after_seconds=error.retry_after_seconds)
    return TransientError(message)
