"""Changes that a run may lose, since a look at the server tells them again: kept until its next change of the item."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

import msgspec

from orchestrator.clock import Clock
from state.change import Change
from state.item import Item, Status

_Edit = Callable[[Item], Item | None]


class DeferredChanges:
    """Of one lease. Any thread may use it."""

    def __init__(self, clock: Clock) -> None:
        self._edits: dict[str, _Edit] = {}
        self._clock = clock
        self._since = 0.0
        self._guard = threading.Lock()

    def add(self, change: Change) -> None:
        """One that leaves a submitted item submitted."""
        with self._guard:
            if not self._edits:
                self._since = self._clock.monotonic()
            self._edits[change.key] = _after(self._edits.get(change.key), change.edit)

    def before(self, changes: Sequence[Change]) -> list[Change]:
        """These changes, each with what was kept of its item before it."""
        with self._guard:
            if not self._edits:
                return list(changes)
            return [
                msgspec.structs.replace(change, edit=_after(self._edits.get(change.key), change.edit))
                for change in changes
            ]

    def all(self, keys: Collection[str] | None = None) -> list[Change]:
        """What is kept, of these items or of all."""
        with self._guard:
            return [
                Change(key, Status.SUBMITTED, edit) for key, edit in self._edits.items() if keys is None or key in keys
            ]

    def is_older(self, seconds: float) -> bool:
        """Whether any of it is."""
        with self._guard:
            return bool(self._edits) and self._clock.monotonic() - self._since > seconds

    def drop(self, keys: Collection[str]) -> None:
        """It was written, or is about an item that others have changed."""
        with self._guard:
            for key in keys:
                self._edits.pop(key, None)


def _after(first: _Edit | None, then: _Edit) -> _Edit:
    if first is None:
        return then

    def edit(now: Item) -> Item | None:
        kept = first(now) if now.status is Status.SUBMITTED else now
        assert kept is not None
        return then(kept)

    return edit
