"""`changes` and `Follower`: what others changed, for any number of callers, whichever method read it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.plain_walk import keys_of
from support.state_scenes import (
    PENDING,
    SUBMITTED,
    cancel,
    change,
    item,
    put_back,
    remove,
    statuses,
    submit,
)
from support.stores import State

from orchestrator.errors import StaleChange, StateError
from state.change import Change, change_all
from state.item import Item
from state.store import Follower, Store


@pytest.fixture
def store(store: Store) -> Store:
    """Of a state with four items."""
    store.add([item(key) for key in "abcd"])
    return store


@pytest.fixture
def follower(store: Store) -> Follower:
    return Follower(store)


def request_cancel(found: Item) -> Item:
    return found.request_cancel()


def test_what_others_add_change_and_remove_is_news_once(store: Store, other: Store, follower: Follower) -> None:
    assert follower.news() == []
    other.add([item("e"), item("f")])
    assert follower.news() == ["e", "f"]
    other.apply([Change("c", PENDING, submit()), Change("a", PENDING, cancel)])
    assert follower.news() == ["c", "a"]
    assert follower.news() == []
    change(other, "c", put_back)
    other.settle(at_end=True)
    remove(other, "b")
    assert sorted(follower.news()) == ["b", "c"]
    assert follower.news() == []
    assert statuses(store) == {"a": "cancelled", "c": "pending", "d": "pending", "e": "pending", "f": "pending"}


def test_each_item_is_named_once_however_often_it_was_changed(store: Store, other: Store, follower: Follower) -> None:
    for edit in (submit(), request_cancel, put_back):
        change(other, "a", edit)
        other.settle(at_end=True)
        change(store, "b", request_cancel)
    assert follower.news() == ["a"]


def test_items_are_named_in_the_order_of_their_last_changes(other: Store, follower: Follower) -> None:
    change(other, "a", submit())
    change(other, "b", cancel)
    change(other, "a", put_back)
    assert follower.news() == ["b", "a"]


def test_our_own_changes_are_no_news_and_a_new_store_has_none(
    state: State, store: Store, other: Store, follower: Follower
) -> None:
    change(store, "a", submit())
    store.add([item("e")])
    remove(store, "c")
    store.settle(at_end=True)
    change(store, "a", put_back)
    assert follower.news() == []
    change(state.open(), "b", submit())
    assert state.open().changes().keys == state.open(read_only=True).changes().keys == []
    assert follower.news() == ["b"]


def test_what_was_changed_before_a_follower_began_is_not_news_to_it(store: Store, other: Store) -> None:
    change(other, "a", submit())
    follower = Follower(store)
    change(other, "b", submit())
    assert follower.news() == ["b"]
    assert sorted(store.changes().keys) == ["a", "b"], "since the store was opened"


def test_any_number_of_callers_follow_each_with_a_mark_of_its_own(store: Store, other: Store) -> None:
    begin = store.changes().mark
    other.add([item("e"), item("f"), item("g")])
    first = store.changes(begin)
    assert first.keys == ["e", "f", "g"]
    change(other, "f", cancel)
    second = store.changes(first.mark)
    assert second.keys == ["f"]
    remove(other, "e")
    assert store.changes(first.mark).keys == ["f", "e"]
    assert store.changes(second.mark).keys == ["e"]
    assert store.changes(begin).keys == ["g", "f", "e"], "in the order of their last changes"
    assert store.changes(store.changes().mark).keys == []
    assert "e" not in store


READING: dict[str, Callable[[Store], object]] = {
    "refresh": lambda store: store.refresh(),
    "apply": lambda store: change(store, "b", submit()),
    "add": lambda store: store.add([item("e")]),
    "settle": lambda store: store.settle(at_end=True),
    "another caller": lambda store: store.changes(),
}


@pytest.mark.parametrize("read", READING.values(), ids=READING)
def test_what_another_method_has_read_is_news_all_the_same(
    store: Store, other: Store, follower: Follower, read: Callable[[Store], object]
) -> None:
    change(store, "a", submit())
    other.refresh()
    change(other, "a", request_cancel)
    read(store)
    assert store.get("a").cancel_requested
    assert follower.news() == ["a"]
    assert follower.news() == []


def test_what_made_our_change_stale_is_news(store: Store, other: Store, follower: Follower) -> None:
    change(other, "a", submit())
    with pytest.raises(StaleChange):
        store.apply([Change("a", PENDING, cancel)])
    assert store.get("a").status is SUBMITTED
    assert follower.news() == ["a"]


def test_changing_many_leaves_out_the_stale_ones_which_are_news(store: Store, other: Store, follower: Follower) -> None:
    items = list(store.items())
    change(other, "b", submit())
    assert keys_of(change_all(store, items, cancel)) == ["a", "c", "d"]
    assert statuses(store) == {"a": "cancelled", "b": "submitted", "c": "cancelled", "d": "cancelled"}
    assert follower.news() == ["b"]


def test_a_reader_follows_too(state: State, store: Store) -> None:
    reader = state.open(read_only=True)
    follower = Follower(reader)
    change(store, "a", submit())
    store.settle(at_end=True)
    store.add([item("e")])
    assert sorted(follower.news()) == ["a", "e"]
    assert reader.get("a").status is SUBMITTED
    assert keys_of(reader.items()) == ["a", "b", "c", "d", "e"]


def test_what_is_changed_by_the_writer_of_a_reader_is_news_to_its_followers(state: State, store: Store) -> None:
    reader = state.open(read_only=True)
    first, second = Follower(reader), Follower(reader)
    change(reader.writer(), "a", submit())
    assert first.news() == ["a"]
    store.settle(at_end=True)
    change(reader.writer(), "c", cancel)
    assert (first.news(), second.news()) == (["c"], ["a", "c"])
    assert (
        statuses(reader)
        == statuses(state.open())
        == {"a": "submitted", "b": "pending", "c": "cancelled", "d": "pending"}
    )


def test_a_writer_ends_with_the_store_that_gave_it(state: State, store: Store) -> None:
    reader = state.open(read_only=True)
    writer = reader.writer()
    reader.close()
    with pytest.raises(StateError, match="closed"):
        change(writer, "a", submit())
    with pytest.raises(StateError, match="closed"):
        change(reader.writer(), "a", submit())
    assert statuses(store)["a"] == "pending"
