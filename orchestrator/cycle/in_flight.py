"""The prompts of one worker that are, or may be, on its server and are not known to be finished."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.clock import Clock
from state.item import PRIORITIES, Item


class InFlight:
    """Items that are watched (accepted), and items in doubt (an intent without an answer) with the end of their doubt.

    `seconds_in_doubt`: how long an item's POST may still be in transit. `has_priorities`: the server renders what is
    urgent first.
    """

    def __init__(self, clock: Clock, seconds_in_doubt: Callable[[Item], float], *, has_priorities: bool = True) -> None:
        self._clock = clock
        self._seconds_in_doubt = seconds_in_doubt
        self._has_priorities = has_priorities
        self._watched: dict[str, Item] = {}
        self._doubts: dict[str, tuple[Item, float]] = {}
        self._keys: dict[str, str] = {}
        """By prompt_id."""
        self._ranked: dict[str, dict[str, None]] = {priority: {} for priority in PRIORITIES}
        """Keys of the watched items by priority, in the order of arrival."""
        self._oldest = ""
        self._unwanted: dict[str, None] = {}
        """Keys of items whose cancellation was requested, and not acted on yet."""
        self._withdrawn: set[str] = set()
        """Prompts that were taken from the server, as far as it could be done."""

    def __len__(self) -> int:
        return len(self._watched) + len(self._doubts)

    def __contains__(self, key: str) -> bool:
        return key in self._watched or key in self._doubts

    def get(self, key: str) -> Item | None:
        if key in self._doubts:
            return self._doubts[key][0]
        return self._watched.get(key)

    def with_prompt(self, prompt_id: str) -> Item | None:
        item = self.get(self._keys.get(prompt_id, ""))
        return item if item is not None and item.prompt_id == prompt_id else None

    def items(self) -> list[Item]:
        """All of them, the watched ones first, each kind in the order of arrival."""
        return [*self._watched.values(), *(item for item, _ in self._doubts.values())]

    def oldest(self) -> Item | None:
        """The watched item that its server renders first: by priority, then in the order of submission.

        Once returned it stays the oldest until it is dropped, since nothing overtakes a running prompt.
        """
        if self._oldest not in self._watched:
            ranks = self._ranked.values() if self._has_priorities else [self._watched]
            self._oldest = next((key for keys in ranks for key in keys), "")
        return self._watched.get(self._oldest)

    def is_in_doubt(self, key: str) -> bool:
        return key in self._doubts

    def take_in(self, item: Item, *, doubted_seconds: float | None = None) -> None:
        """Add an item, or replace its record; one that is known keeps its place and the end of its doubt.

        `doubted_seconds`: how long it is in doubt, where that is known better than from the wall-clock time in its
        record.
        """
        self._forget_prompt(item.key)
        self._unwanted.pop(item.key, None)
        if item.cancel_requested and item.prompt_id not in self._withdrawn:
            self._unwanted[item.key] = None
        if item.prompt_id is not None:
            self._keys[item.prompt_id] = item.key
        if item.in_doubt:
            self._watch_no_more(item.key)
            known, until = self._doubts.get(item.key, (None, 0.0))
            if known is None or known.prompt_id != item.prompt_id:
                seconds = self._seconds_in_doubt(item) if doubted_seconds is None else doubted_seconds
                until = self._clock.monotonic() + seconds
            self._doubts[item.key] = (item, until)
        else:
            self._doubts.pop(item.key, None)
            self._watch(item)

    def drop(self, key: str) -> None:
        if (item := self.get(key)) is not None:
            self._withdrawn.discard(item.prompt_id or "")
        self._forget_prompt(key)
        self._unwanted.pop(key, None)
        self._watch_no_more(key)
        self._doubts.pop(key, None)
        if key == self._oldest:
            # Sent again under the same key, it waits behind all others.
            self._oldest = ""

    def unwanted(self) -> list[Item]:
        """Those whose cancellation was requested, until `withdrawn` is called for them."""
        return [item for key in self._unwanted if (item := self.get(key)) is not None]

    def withdrawn(self, item: Item) -> None:
        """The server was asked to drop this prompt: what is left of it is watched like any other."""
        self._unwanted.pop(item.key, None)
        self._withdrawn.add(item.prompt_id or "")

    def _watch(self, item: Item) -> None:
        if (known := self._watched.get(item.key)) is not None and known.priority != item.priority:
            del self._ranked[known.priority][item.key]
        self._watched[item.key] = item
        self._ranked[item.priority][item.key] = None

    def _watch_no_more(self, key: str) -> None:
        if (known := self._watched.pop(key, None)) is not None:
            del self._ranked[known.priority][key]

    def _forget_prompt(self, key: str) -> None:
        if (item := self.get(key)) is not None and item.prompt_id is not None:
            self._keys.pop(item.prompt_id, None)

    def out_of_doubt(self) -> list[Item]:
        """Items in doubt whose POST can no longer be in transit."""
        now = self._clock.monotonic()
        return [item for item, until in self._doubts.values() if until <= now]

    def seconds_in_doubt(self) -> float | None:
        """Until the first item is out of doubt; None where none is in doubt."""
        if not self._doubts:
            return None
        return max(0.0, min(until for _, until in self._doubts.values()) - self._clock.monotonic())
