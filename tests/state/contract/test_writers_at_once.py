"""Processes and threads that add and change items at once lose nothing, and each change is made once."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Collection, Iterator

import pytest
from support.background import Threads
from support.plain_walk import check_queries
from support.state_scenes import CANCELLED, COMPLETED, PENDING, change, dump, item, start_over, statuses, submit
from support.store_threads import StoreThreads
from support.stores import State
from support.writer_processes import taken

from state.store import Store

FORTY = [f"k{number}" for number in range(40)]


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def store(store: Store) -> Store:
    """Of a state with forty items."""
    store.add([item(key) for key in FORTY])
    return store


def marks_in(store: Store) -> list[tuple[str, str]]:
    """Item and mark of every change that left a mark and is not lost."""
    return [(found.key, mark) for found in store.items() for mark in found.inputs.get("marks", [])]


def check_nothing_is_lost(state: State, store: Store, acknowledged: Collection[tuple[str, str]]) -> None:
    """Every acknowledged change is there, none twice, and everybody reads the same, before a rewrite and after it."""
    store.refresh()
    marks = marks_in(store)
    assert len(set(marks)) == len(marks)
    assert set(acknowledged) <= set(marks)
    check_queries(store)
    before = dump(store)
    assert dump(state.open(read_only=True)) == before
    store.settle(at_end=True)
    after = state.open()
    assert dump(store) == dump(after) == before
    assert store.hand_edits == after.hand_edits == []


def test_five_writers_of_which_one_is_killed_lose_nothing(state: State, store: Store) -> None:
    tasks = ["add", "cancel", "retry", "burst"]
    with contextlib.ExitStack() as running:
        workers = [running.enter_context(state.worker(task, name=task, count=40)) for task in tasks]
        killed = state.worker("churn", name="killed", count=10_000)
        killed.wait_for(5)
        killed.kill()
        store.add([item("after-the-kill")])
        for worker in workers:
            worker.end()
    acknowledged = [pair for worker in (*workers, killed) for pair in worker.acknowledged]
    assert len(workers[0].acknowledged) == 40
    assert len(killed.acknowledged) >= 5
    check_nothing_is_lost(state, store, acknowledged)
    assert "after-the-kill" in store


def test_each_item_is_taken_once_by_whom_it_is_acknowledged_to(state: State, store: Store) -> None:
    """By two processes, and by threads on one store and on another one."""
    stores = {"a": store, "b": store, "c": state.open()}

    def take(name: str) -> list[tuple[str, str]]:
        return list(taken(stores[name], (f"{name}.{number}" for number in itertools.count())))

    with state.worker("take", name="p", count=100) as one, state.worker("take", name="q", count=100) as two:
        one.wait_for(1)
        store.add([item(f"more{number}") for number in range(60)])
        with Threads(len(stores)) as threads:
            lists = list(threads.map(take, stores))
        one.end()
        two.end()
    acknowledged = [*one.acknowledged, *two.acknowledged, *itertools.chain.from_iterable(lists)]
    assert sorted(key for key, _ in acknowledged) == sorted([*FORTY, *(f"more{number}" for number in range(60))])
    check_nothing_is_lost(state, store, acknowledged)
    assert sorted(marks_in(store)) == sorted(acknowledged)
    assert set(statuses(store).values()) == {"submitted"}


def test_threads_and_another_process_lose_nothing(state: State, store: Store) -> None:
    threads = StoreThreads(store)
    with state.worker("churn", name="other", count=20) as other:
        other.wait_for(1)
        threads.run(workers=3, rounds=8)
        other.end()
    threads.follow()
    acknowledged = [*threads.acknowledged, *other.acknowledged]
    check_nothing_is_lost(state, store, acknowledged)
    assert sorted(marks_in(store)) == sorted(acknowledged)
    assert threads.news == {key for key, _ in other.acknowledged}


def test_two_stores_take_turns(store: Store, other: Store) -> None:
    for _ in range(5):
        change(store, "k0", submit())
        other.refresh()
        change(other, "k0", start_over)
        store.refresh()
        other.settle(at_end=True)
    store.refresh()
    assert dump(store) == dump(other)
    assert store.get("k0").status is PENDING


def test_readers_beside_a_process_see_whole_change_sets_and_never_go_back(state: State, store: Store) -> None:
    """Its change sets complete two items each, so nobody may ever read an odd number."""
    follower = state.open(read_only=True)
    last = 0
    with state.worker("pairs") as writer:
        while writer.runs():
            follower.refresh()
            with state.open(read_only=True) as opened:
                for reader in (follower, opened):
                    assert reader.counts().total == len(FORTY)
                    assert reader.counts()[COMPLETED] % 2 == 0
                    assert reader.hand_edits == []
                assert last <= follower.counts()[COMPLETED] <= opened.counts()[COMPLETED]
            last = follower.counts()[COMPLETED]
    follower.refresh()
    assert set(statuses(follower).values()) == {"completed"}


def test_lists_are_whole_while_other_threads_add(store: Store) -> None:
    store.add([item(f"long{number}") for number in range(300)])

    def add(name: str) -> None:
        for number in range(30):
            store.add([item(f"{name}{number}")])

    with Threads(2) as threads:
        adding = [threads.submit(add, name) for name in "xy"]
        while not all(thread.done() for thread in adding):
            for _ in range(50):
                assert list(store.items(CANCELLED)) == []
            fewest = len(store)
            for listed in (list(store.items(PENDING)), store.due(9999)):
                keys = [found.key for found in listed]
                assert fewest <= len(keys) <= len(store)
                own = [key for key in keys if key.startswith("x")]
                assert own == [f"x{number}" for number in range(len(own))]
        for thread in adding:
            thread.result()
    assert len(store.due(9999)) == len(FORTY) + 300 + 2 * 30
