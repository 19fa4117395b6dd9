"""Hypothesis drives the store against a dictionary: nothing lost, transitions kept, counts conserved, order kept."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    SUBMITTED,
    FastClock,
    accept,
    cancel,
    complete,
    dump,
    fail,
    item,
    put_back,
    settle,
    start_over,
    submit,
)

from orchestrator.errors import StaleChange
from state.change import Change
from state.item import PRIORITIES, REMOVABLE, TRANSITIONS, Item, Status
from state.json.store import JsonStore

KEYS = st.sampled_from(["a", "b", "dir/c.txt", "ä\n", ""])
VERBS: dict[str, Callable[[Item], Item | None]] = {
    "submit": submit(),
    "accept": accept,
    "complete": complete,
    "fail": fail,
    "put back": put_back,
    "cancel": cancel,
    "wish to cancel": lambda item: item.request_cancel(),
    "start over": start_over,
    "remove": lambda item: None,
}
RANKS = st.sampled_from([0.0, -1.0, 2.5])
FILE = "state.json"


class StoreMachine(RuleBasedStateMachine):
    """Two stores on one simulated disk; the model is what must be read, record for record."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.disk = SimulatedDisk(self.root)
        self.path = self.root / FILE
        self.model: dict[str, Any] = {}
        self.settled = False
        self.stores: list[JsonStore] = []

    @initialize(keys=st.lists(KEYS, unique=True))
    def start(self, keys: list[str]) -> None:
        self.model = {key: {"status": "pending", "subfolder": "", "filename": "", "mine": [1, key]} for key in keys}
        self.disk.put_by_hand(self.path, json.dumps(self.model).encode())
        self.stores = [self.open(), self.open()]

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def open(self) -> JsonStore:
        return JsonStore.open(self.path, disk=self.disk, clock=FastClock())

    def lose(self, *, power: bool) -> None:
        self.disk = self.disk.after_forgetting() if power else self.disk.after_sigkill()

    def item(self, key: str) -> Item:
        return Item.from_record(key, msgspec.json.encode(self.model[key]))

    def note(self, items: list[Item]) -> None:
        for each in items:
            self.model[each.key] = msgspec.json.decode(each.to_record())
        self.settled = self.settled and not items

    @rule(which=st.booleans(), keys=st.lists(KEYS, max_size=3), priority=st.sampled_from(PRIORITIES), rank=RANKS)
    def add(self, which: bool, keys: list[str], priority: str, rank: float) -> None:
        new = [item(key, priority=priority, rank=rank) for key in dict.fromkeys(keys) if key not in self.model]
        added = self.stores[which].add([item(key, priority=priority, rank=rank) for key in keys])
        assert added == new
        self.note(new)

    @rule(which=st.booleans(), keys=st.lists(KEYS, min_size=1, max_size=3, unique=True), verb=st.sampled_from([*VERBS]))
    def change(self, which: bool, keys: list[str], verb: str) -> None:
        """One change set, decided on what this store last saw."""
        store = self.stores[which]
        keys = [key for key in keys if key in store]
        changes = [Change(key, store.get(key).status, VERBS[verb]) for key in keys]
        current = [self.model[key]["status"] if key in self.model else None for key in keys]
        if current != [change.expected for change in changes]:
            with pytest.raises(StaleChange):
                store.apply(changes)
            return
        wanted = [VERBS[verb](self.item(key)) for key in keys]
        for old, new in zip(map(Status, current), wanted, strict=True):
            if (old not in REMOVABLE) if new is None else (new.status not in TRANSITIONS[old]):
                with pytest.raises(ValueError, match="cannot be removed" if new is None else "not a transition"):
                    store.apply(changes)
                return
        changed = [new for new in wanted if new is not None]
        assert [item.key for item in store.apply(changes)] == [item.key for item in changed]
        self.note(changed)
        for key, new in zip(keys, wanted, strict=True):
            if new is None:
                del self.model[key]
                self.settled = False

    @rule(which=st.booleans(), at_end=st.booleans())
    def settle(self, which: bool, at_end: bool) -> None:
        store = self.stores[which]
        store.refresh()
        if at_end:
            store.settle(at_end=True)
        else:
            settle(store)
        assert json.loads(self.disk.read(self.path)) == self.model or not (self.disk.stamp(store._journal_path))
        self.settled = True

    @rule(which=st.booleans())
    def refresh(self, which: bool) -> None:
        self.stores[which].refresh()
        assert dump(self.stores[which]) == list(self.model.items())

    @rule(which=st.booleans())
    def reopen(self, which: bool) -> None:
        self.stores[which].close()
        self.stores[which] = self.open()
        assert self.stores[which].hand_edits == []

    @rule(which=st.booleans(), operations=st.integers(0, 25), power=st.booleans())
    def crash_in_a_hand_over(self, which: bool, operations: int, power: bool) -> None:
        """SIGKILL or power loss at some operation of a hand-over: the state is what it was."""
        self.disk.crash_at = len(self.disk.log) + operations
        try:
            settle(self.stores[which])
        except Crash:
            self.settled = False
        self.lose(power=power)
        self.stores = [self.open(), self.open()]

    @rule(which=st.booleans(), key=KEYS, operations=st.integers(0, 15), power=st.booleans())
    def crash_in_a_change(self, which: bool, key: str, operations: int, power: bool) -> None:
        """The change that was under way is there or it is not."""
        store = self.stores[which]
        store.refresh()
        if key not in self.model or self.model[key]["status"] != PENDING:
            return
        self.disk.crash_at = len(self.disk.log) + operations
        before = self.model[key]
        self.note([submit()(self.item(key))])
        try:
            store.apply([Change(key, PENDING, submit())])
        except Crash:
            self.lose(power=power)
            found = dict(dump(self.open()))[key]
            assert found in (before, self.model[key])
            self.model[key] = found
        else:
            self.disk.crash_at = None
        self.stores = [self.open(), self.open()]
        self.stores[0].apply([Change(key, Status(self.model[key]["status"]), lambda item: item)])  # makes it durable

    @precondition(lambda self: self.settled)
    @rule(key=KEYS, status=st.sampled_from([*Status, None]), reopened=st.booleans())
    def edit_a_settled_file(self, key: str, status: Status | None, reopened: bool) -> None:
        """Every edit of a settled file wins, whether the stores are open or not."""
        records = json.loads(self.disk.read(self.path))
        if status is None:
            records.pop(key, None)
            self.model.pop(key, None)
        else:
            new = {"status": str(status), "subfolder": "", "filename": ""}
            records[key] = {**records.get(key, new), "status": str(status)}
            self.model[key] = records[key]
        self.disk.put_by_hand(self.path, json.dumps(records, indent=2).encode())
        if reopened:
            self.stores = [self.open(), self.open()]
        self.stores[0].settle(at_end=True)

    @invariant()
    def a_fresh_reading_is_the_model(self) -> None:
        if not self.stores:
            return
        reader = JsonStore.open(self.path, read_only=True, disk=self.disk)
        assert dump(reader) == list(self.model.items())
        assert reader.hand_edits == []
        counts = dict.fromkeys(Status, 0)
        for record in self.model.values():
            counts[Status(record["status"])] += 1
        assert reader.counts() == counts
        due = [key for key, record in self.model.items() if record["status"] == PENDING]
        places = {
            key: (PRIORITIES.index(self.model[key].get("priority", "normal")), self.model[key].get("rank", 0.0))
            for key in due
        }
        assert [found.key for found in reader.due(99)] == sorted(due, key=lambda key: places[key])


TestStoreAgainstItsModel = StoreMachine.TestCase


def test_the_verbs_reach_every_status() -> None:
    """Otherwise the machine above would not see them."""
    reached = {PENDING}
    while True:
        found = set(reached)
        for verb in VERBS.values():
            for status in reached:
                new = verb(Item(key="a", status=status))
                found |= {new.status} if new is not None and new.status in TRANSITIONS[status] else set()
        if found == reached:
            break
        reached = found
    assert reached == {PENDING, SUBMITTED, COMPLETED, FAILED, CANCELLED}
