"""A store that is closed, opened for reading only, or of a process that is about to end, writes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from support.background import Threads
from support.state_scenes import PENDING, SUBMITTED, change, dump, item, statuses, submit
from support.stores import State
from support.waiting import GENEROUS_SECONDS

from orchestrator.errors import StateError
from state.change import Change
from state.item import Item
from state.recipe import Recipe
from state.store import Store

WRITING: dict[str, Callable[[Store], object]] = {
    "apply": lambda store: store.apply([Change("b", PENDING, submit())]),
    "apply without sync": lambda store: store.apply([Change("b", PENDING, submit())], sync=False),
    "add": lambda store: store.add([item("new")]),
}


@pytest.fixture
def store(store: Store) -> Store:
    """Of a state with two items, of which one is submitted."""
    store.add([item("a"), item("b")])
    change(store, "a", submit())
    return store


@pytest.mark.parametrize("write", WRITING.values(), ids=WRITING)
def test_a_closed_store_writes_nothing(state: State, store: Store, write: Callable[[Store], object]) -> None:
    store.close()
    store.close()
    with pytest.raises(StateError, match="closed"):
        write(store)
    assert statuses(state.open()) == {"a": "submitted", "b": "pending"}


@pytest.mark.parametrize("write", WRITING.values(), ids=WRITING)
def test_a_store_for_reading_writes_nothing(state: State, store: Store, write: Callable[[Store], object]) -> None:
    reader = state.open(read_only=True)
    with pytest.raises(StateError, match="reading only"):
        write(reader)
    with pytest.raises(StateError, match="reading only"):
        reader.recipes.add(Recipe(output="/mnt/renders"), None)
    reader.settle(at_end=True)
    assert dump(reader) == dump(store) == dump(state.open())
    assert store.recipes.all() == {}


@pytest.mark.parametrize("write", WRITING.values(), ids=WRITING)
def test_after_stop_writing_every_change_is_refused(
    state: State, store: Store, write: Callable[[Store], object]
) -> None:
    assert store.stop_writing(timeout_seconds=GENEROUS_SECONDS)
    for _ in range(2):
        with pytest.raises(StateError, match="ending"):
            write(store)
    assert statuses(store) == statuses(state.open()) == {"a": "submitted", "b": "pending"}
    change(state.open(), "b", submit())


def test_stop_writing_waits_for_the_change_that_is_being_made(state: State, store: Store) -> None:
    began, end = threading.Event(), threading.Event()

    def slow(found: Item) -> Item:
        began.set()
        assert end.wait(GENEROUS_SECONDS)
        return submit()(found)

    with Threads() as threads:
        changing = threads.submit(store.apply, [Change("b", PENDING, slow)])
        assert began.wait(GENEROUS_SECONDS)
        assert not store.stop_writing(timeout_seconds=0.01)
        end.set()
        assert store.stop_writing(timeout_seconds=GENEROUS_SECONDS)
        assert [found.status for found in changing.result()] == [SUBMITTED]
    with pytest.raises(StateError, match="ending"):
        store.add([item("new")])
    assert statuses(state.open()) == {"a": "submitted", "b": "submitted"}


def test_leaving_the_block_closes_it(state: State, store: Store) -> None:
    opened = state.open()

    def work() -> None:
        with opened:
            change(opened, "b", submit())
            raise LookupError

    with pytest.raises(LookupError):
        work()
    with pytest.raises(StateError, match="closed"):
        opened.add([item("new")])
    assert state.open().get("b").status is SUBMITTED


def test_an_upgrade_of_what_is_of_this_release_changes_nothing(state: State, store: Store) -> None:
    before = statuses(store)
    for opened in (store, state.open(), store):
        opened.upgrade()
    assert statuses(state.open()) == before
    change(store, "b", submit())
