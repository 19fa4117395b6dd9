"""Rules by which Hypothesis drives two stores of one state, and the model: what must be read, record for record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from orchestrator.errors import StaleChange
from state.change import Change
from state.item import PRIORITIES, REMOVABLE, TRANSITIONS, Item, ItemOutput, Status
from state.stages import followed
from state.store import Store
from support.plain_walk import check_queries
from support.state_scenes import (
    NOON,
    OUTPUT,
    accept,
    cancel,
    dump,
    fail,
    item,
    put_back,
    start_over,
)

KEYS = st.sampled_from(["a", "b", "dir/c.txt", "ä\n", ""])
NUMBERS = st.integers(0, 2)
"""Chooses one of three values where a verb has several."""
BATCHES = (None, "b1", "b2")
RANKS = (0.0, -1.0, 2.5)
INDEXES = (None, 3, 10**20)
SOURCES: tuple[Mapping[str, str | ItemOutput], ...] = (
    {},
    {"image": "a.png"},
    {"image": ItemOutput(item="a", output=1)},
)
"""`a` itself, where it gets the last one, waits for itself."""


def fields(number: int) -> dict[str, Any]:
    return {
        "batch": BATCHES[number],
        "index": INDEXES[number],
        "rank": RANKS[number],
        "recipe": ("r1", None, "r2")[number],
    }


def edited(item: Item, **fields: Any) -> Item:
    return msgspec.structs.replace(item, **fields)


VERBS: dict[str, Callable[[Item, int], Item | None]] = {
    "submit": lambda item, n: item.submit(prompt_id=f"id-{item.key}", server=f"gpu{n}", at=NOON, fingerprint="f"),
    "accept": lambda item, n: accept(item),
    "complete": lambda item, n: item.complete(
        outputs=(OUTPUT,), at=NOON + timedelta(minutes=n), seconds=(1.5, None, 4.0)[n]
    ),
    "fail": lambda item, n: fail(item),
    "put back": lambda item, n: put_back(item),
    "cancel": lambda item, n: cancel(item),
    "request cancel": lambda item, n: item.request_cancel(),
    "start over": lambda item, n: start_over(item),
    "reorder": lambda item, n: edited(item, priority=PRIORITIES[n], rank=RANKS[n], index=INDEXES[2 - n]),
    "move to a batch": lambda item, n: edited(item, **fields(n)),
    "use another image": lambda item, n: edited(item, uploads=SOURCES[n]),
    "remove": lambda item, n: None,
}


class StoreMachine(RuleBasedStateMachine):
    """A subclass opens the stores in a rule of its own, and overrides `open` and `noted`."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Any] = {}
        """Records by key, in order."""
        self.stores: list[Store] = []

    def open(self) -> Store:
        """As another process opens it."""
        raise NotImplementedError

    def noted(self, which: bool, keys: Collection[str]) -> None:
        """This store changed these items, and the model holds what became of them."""

    def item(self, key: str) -> Item:
        return Item.from_record(key, msgspec.json.encode(self.model[key]))

    def followed(self, changes: Mapping[str, Item | None]) -> dict[str, Item | None]:
        """With what follows from these changes, by a look at every item."""

        def stages_of(source: str) -> list[str]:
            return [key for key in self.model if source in self.item(key).sources]

        before = {key: self.item(key) for key in self.model}
        return followed(changes, before=before.get, stages_of=stages_of)

    def note(self, which: bool, changed: Mapping[str, Item | None]) -> None:
        for key, new in changed.items():
            if new is None:
                del self.model[key]
            else:
                self.model[key] = msgspec.json.decode(new.to_record())
        self.noted(which, changed)

    def check(self, store: Store) -> None:
        """For one that has read everything."""
        assert dump(store) == list(self.model.items())
        check_queries(store)

    @rule(which=st.booleans(), keys=st.lists(KEYS, max_size=3), priority=st.sampled_from(PRIORITIES), number=NUMBERS)
    def add(self, which: bool, keys: list[str], priority: str, number: int) -> None:
        wanted = [item(key, priority=priority, **fields(number)) for key in keys]
        new = {item.key: item for item in wanted if item.key not in self.model}
        assert self.stores[which].add(wanted) == list(new.values())
        self.note(which, new)
        if keys:
            self.check(self.stores[which])

    @rule(
        which=st.booleans(),
        keys=st.lists(KEYS, min_size=1, max_size=3, unique=True),
        verb=st.sampled_from([*VERBS]),
        number=NUMBERS,
    )
    def change(self, which: bool, keys: list[str], verb: str, number: int) -> None:
        """One change set, decided on what this store last saw."""
        store, edit = self.stores[which], VERBS[verb]
        keys = [key for key in keys if key in store]
        changes = [Change(key, store.get(key).status, lambda item: edit(item, number)) for key in keys]
        current = [self.model[key]["status"] if key in self.model else None for key in keys]
        if current != [change.expected for change in changes]:
            with pytest.raises(StaleChange):
                store.apply(changes)
            return
        wanted = {key: edit(self.item(key), number) for key in keys}
        wanted = self.followed(wanted)
        for old, new in zip(map(Status, current), [wanted[key] for key in keys], strict=True):
            if (old not in REMOVABLE) if new is None else (new.status not in TRANSITIONS[old]):
                with pytest.raises(ValueError, match="cannot be removed" if new is None else "not a transition"):
                    store.apply(changes)
                return
        changed = [item.key for item in store.apply(changes)]
        assert changed[: len(keys)] == [key for key in keys if wanted[key] is not None]
        assert sorted(changed) == sorted(key for key, new in wanted.items() if new is not None)
        self.note(which, wanted)
        if keys:
            self.check(store)

    @rule(which=st.booleans())
    def refresh(self, which: bool) -> None:
        self.stores[which].refresh()
        self.check(self.stores[which])

    @rule(which=st.booleans())
    def reopen(self, which: bool) -> None:
        self.stores[which].close()
        self.stores[which] = self.open()
        assert self.stores[which].hand_edits == []
