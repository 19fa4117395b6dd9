"""Hypothesis drives the store against a dictionary: nothing lost, transitions kept, counts conserved, order kept."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import PENDING, FastClock, dump, settle, submit
from support.store_machine import KEYS, StoreMachine

from state.change import Change
from state.item import Status
from state.json.store import JsonStore

FILE = "state.json"


class JsonStoreMachine(StoreMachine):
    """Two stores on one simulated disk that crashes, and edits by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.disk = SimulatedDisk(self.root)
        self.path = self.root / FILE
        self.settled = False

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

    def noted(self, which: bool, keys: Collection[str]) -> None:
        self.settled = self.settled and not keys

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
        self.note(which, {key: submit()(self.item(key))})
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
        self.check(reader)
        assert reader.hand_edits == []


TestJsonStoreAgainstItsModel = JsonStoreMachine.TestCase
TestJsonStoreAgainstItsModel.settings = settings(max_examples=settings.default.max_examples * 2 // 5)
