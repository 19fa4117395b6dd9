"""Every query against a walk over all items, whatever was changed, by whom, and whoever looks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test
from support.plain_walk import check_queries, keys_of
from support.state_scenes import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NOON,
    PENDING,
    SUBMITTED,
    bring,
    cancel,
    change,
    item,
    remove,
    start_over,
    statuses,
    submit,
)
from support.store_machine import VERBS, StoreMachine
from support.stores import KINDS, Kind, State

from state.counts import Counts
from state.item import TRANSITIONS, Item, ItemOutput, Status
from state.store import Follower, Store

MOST_EXAMPLES = settings.default.max_examples / 5


class ContractMachine(StoreMachine):
    """Two stores that write and one that reads, each with a follower."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.state = State(kind, self.directory)
        self.followers: list[Follower] = []
        self.seen: list[dict[str, Any]] = []
        """What each store knew when its follower last asked, with its own changes since."""
        self.touched: list[set[str]] = []
        """What others changed since."""

    @initialize()
    def start(self) -> None:
        self.stores = [self.state.open(create=True), self.state.open(), self.state.open(read_only=True)]
        self.followers = [Follower(store) for store in self.stores]
        self.seen = [{} for _ in self.stores]
        self.touched = [set() for _ in self.stores]

    def teardown(self) -> None:
        self.state.__exit__(None, None, None)
        shutil.rmtree(self.directory)

    def open(self) -> Store:
        return self.state.open()

    def noted(self, which: bool, keys: Collection[str]) -> None:
        for number, (seen, touched) in enumerate(zip(self.seen, self.touched, strict=True)):
            if number == which:
                seen.update((key, self.model.get(key)) for key in keys)
            else:
                touched.update(keys)

    @rule(which=st.booleans())
    def reopen(self, which: bool) -> None:
        super().reopen(which)
        self.followers[which] = Follower(self.stores[which])
        self.seen[which], self.touched[which] = dict(self.model), set()

    @rule(which=st.booleans())
    def settle(self, which: bool) -> None:
        self.stores[which].settle(at_end=True)

    @rule(which=st.integers(0, 2))
    def follow(self, which: int) -> None:
        """Every item that others changed and that is not as it was is named, and nothing that only we changed."""
        seen, touched = self.seen[which], self.touched[which]
        news = self.followers[which].news()
        assert len(set(news)) == len(news)
        assert {key for key in touched if self.model.get(key) != seen.get(key)} <= set(news) <= touched
        self.check(self.stores[which])
        self.seen[which], self.touched[which] = dict(self.model), set()

    @rule()
    def a_store_that_is_opened_now_is_the_model(self) -> None:
        with self.state.open(read_only=True) as opened:
            self.check(opened)
            assert opened.hand_edits == []
            assert not opened.is_edited()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_whatever_two_writers_do_everybody_reads_what_the_model_holds(kind: Kind) -> None:
    run_state_machine_as_test(
        partial(ContractMachine, kind), settings=settings(max_examples=max(2, round(MOST_EXAMPLES * kind.share)))
    )


def test_the_verbs_reach_every_status() -> None:
    """Otherwise the machine above would not see them."""
    reached = {PENDING}
    while True:
        found = set(reached)
        for verb in VERBS.values():
            for status in reached:
                new = verb(Item(key="a", status=status), 0)
                found |= {new.status} if new is not None and new.status in TRANSITIONS[status] else set()
        if found == reached:
            break
        reached = found
    assert reached == {PENDING, SUBMITTED, COMPLETED, FAILED, CANCELLED}


def test_an_empty_state_has_an_answer_to_every_query(state: State, store: Store) -> None:
    check_queries(store)
    assert (list(store.items()), store.due(9), store.waiting(), store.changes().keys) == ([], [], [], [])
    with pytest.raises(KeyError):
        store.get("nobody's")
    check_queries(state.open(read_only=True))


def test_a_large_state_is_answered_like_a_small_one(state: State, store: Store) -> None:
    """More items than any piece in which a store may keep or read them: the largest of these has 1000."""
    ranks = (0.0, 0.0, 0.0, -1.5, 2.0, 0.5)
    store.add(
        [
            item(
                f"k{number}",
                rank=ranks[number % 6],
                batch=f"b{number % 2}" if number % 3 else None,
                index=number * 7 % 1000,
                uploads={"image": ItemOutput(item="k0", output=1)} if number % 11 == 1 else {},
            )
            for number in range(1050)
        ]
    )
    for number in range(0, 1050, 97):
        if number % 2:
            remove(store, f"k{number}")
        else:
            change(store, f"k{number}", cancel)
    for each in (store, state.open(read_only=True)):
        check_queries(each)


def test_items_are_those_of_the_moment_of_the_call(store: Store) -> None:
    store.add([item(key, batch="b") for key in "abc"])
    asked = [store.items(PENDING), store.items(), store.items(batch="b"), store.items(PENDING, batch="b")]
    change(store, "a", submit())
    remove(store, "b")
    store.add([item("new", batch="b")])
    for found in asked:
        assert [(each.key, each.status) for each in found] == [("a", PENDING), ("b", PENDING), ("c", PENDING)]
    assert statuses(store) == {"a": "submitted", "c": "pending", "new": "pending"}


def test_the_items_of_a_batch_come_in_the_order_of_the_state(state: State, store: Store) -> None:
    store.add([item(key, batch="b" if key in "bdfh" else None) for key in "abcdefgh"])
    bring(store, "f", COMPLETED)
    remove(store, "b")
    store.add([item("b", batch="b"), item("i"), item("j", batch="b", priority="urgent")])
    for each in (store, state.open(read_only=True)):
        assert keys_of(each.items(batch="b")) == ["d", "f", "h", "b", "j"]
        assert keys_of(each.items(PENDING, batch="b")) == ["d", "h", "b", "j"]


def test_a_batch_without_items_is_counted_no_more(store: Store, other: Store) -> None:
    store.add([item("a", batch="one"), item("b", batch="two"), item("c")])
    other.refresh()
    assert set(other.counts_by_batch()) == {"one", "two"}
    change(other, "b", lambda found: msgspec.structs.replace(found, batch="one"))
    store.refresh()
    assert store.counts_by_batch() == {"one": Counts({Status.PENDING: 2})}
    remove(store, "a", "b")
    other.refresh()
    assert store.counts_by_batch() == other.counts_by_batch() == {}
    for each in (store, other):
        assert each.batch_figures("two").counts == each.counts(batch="one") == Counts()


def test_figures_of_a_batch_follow_every_change_of_its_items(store: Store, other: Store) -> None:
    def completed(key: str, *, minute: int, server: str, seconds: float) -> None:
        change(store, key, lambda found: found.submit(prompt_id=key, server=server, at=NOON, fingerprint="f"))
        at = NOON + timedelta(minutes=minute)
        change(store, key, lambda found: found.complete(outputs=(), at=at, seconds=seconds))

    def figures() -> list[tuple[object, ...]]:
        other.refresh()
        found = [each.batch_figures("b") for each in (store, other)]
        return [(one.completed_at, one.mean_seconds, sorted(one.servers), one.due_up_to) for one in found]

    store.add([item(key, batch="b") for key in "abc"])
    assert figures() == [(None, None, [], 3)] * 2
    completed("a", minute=1, server="gpu1", seconds=1.0)
    completed("c", minute=9, server="gpu2", seconds=3.0)
    assert figures() == [(NOON + timedelta(minutes=9), 2.0, ["gpu1", "gpu2"], 1)] * 2
    change(store, "c", start_over)
    assert figures() == [(NOON + timedelta(minutes=1), 1.0, ["gpu1"], 2)] * 2
    remove(store, "a")
    assert figures() == [(None, None, [], 2)] * 2


def test_fields_are_read_without_the_rest_of_the_record(store: Store) -> None:
    class Wanted(msgspec.Struct, frozen=True):
        status: Status
        tags: tuple[str, ...] = ()
        mine: int = 7

    raw = b'{"status":"pending","tags":["sea"],"mine":3,"attempts":2}'
    store.add([Item.from_record("a", raw), item("b")])
    bring(store, "b", COMPLETED)
    assert dict(store.parts(Wanted)) == {"a": Wanted(PENDING, ("sea",), 3), "b": Wanted(COMPLETED)}


def test_a_waiting_item_that_is_left_out_was_not_counted_before(store: Store) -> None:
    waiting = item("b", batch="one", uploads={"image": ItemOutput(item="a", output=1)})
    store.add([item("a"), waiting, item("c", batch="one"), item("d")])
    assert store.batch_figures("one").due_up_to == 2
    assert store.batch_figures("one", without=["a"]).due_up_to == 1
    assert store.batch_figures("one", without=["c"]).due_up_to == 1
    assert store.batch_figures("one", without=["b", "d", "nobody's"]).due_up_to == 2


def test_at_one_moment_all_counts_are_of_the_same_one(store: Store, other: Store) -> None:
    store.add([item(f"{number}", batch="b") for number in range(3)])
    with store.at_one_moment():
        before = store.counts(), store.counts(batch="b"), store.batch_figures("b").due
        with store.at_one_moment():
            assert store.counts() == before[0]
        other.refresh()
        change(other, "1", cancel)
        if store.location.url is not None:
            assert (store.counts(), store.counts(batch="b"), store.batch_figures("b").due) == before
    store.refresh()
    assert store.counts() == Counts({PENDING: 2, CANCELLED: 1})
    assert store.batch_figures("b").due == 2
