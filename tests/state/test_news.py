"""`refresh` names what others changed since it was last asked, whichever method took that in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.news import news
from support.state_scenes import (
    PENDING,
    SUBMITTED,
    FastClock,
    cancel,
    change,
    edit_json,
    item,
    put_back,
    seed,
    settle,
    statuses,
    submit,
    write_json,
)

from orchestrator.errors import StaleChange
from state.change import Change, change_all
from state.item import Item
from state.json.store import JsonStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    write_json(path, seed("a", "b", "c", "d"))
    return path


def open_store(path: Path) -> JsonStore:
    return JsonStore.open(path, clock=FastClock())


def wish(found: Item) -> Item:
    return found.request_cancel()


TAKING_IN: dict[str, Callable[[JsonStore], object]] = {
    "apply": lambda store: change(store, "b", submit()),
    "add": lambda store: store.add([item("e")]),
    "settle": settle,
    "settle at the end": lambda store: store.settle(at_end=True),
}


@pytest.mark.parametrize("take_in", TAKING_IN.values(), ids=TAKING_IN)
def test_a_wish_to_cancel_that_one_of_our_own_writes_took_in_is_still_news(
    path: Path, take_in: Callable[[JsonStore], object]
) -> None:
    store, other = open_store(path), open_store(path)
    change(store, "a", submit())
    other.refresh()
    change(other, "a", wish)
    take_in(store)
    assert store.get("a").cancel_requested
    assert news(store) == ["a"]
    assert news(store) == []


def test_what_made_our_change_stale_is_news_too(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    change(other, "a", submit())
    with pytest.raises(StaleChange):
        store.apply([Change("a", PENDING, cancel)])
    assert store.get("a").status is SUBMITTED
    assert news(store) == ["a"]


def test_changing_many_leaves_the_stale_ones_out_and_their_news_in(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    items = list(store.items())
    change(other, "b", submit())
    assert [found.key for found in change_all(store, items, cancel)] == ["a", "c", "d"]
    assert statuses(store) == {"a": "cancelled", "b": "submitted", "c": "cancelled", "d": "cancelled"}
    assert news(store) == ["b"]


def test_an_edit_by_hand_that_our_own_hand_over_merged_is_news(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    settle(store)
    store.refresh()
    edit_json(path, b="cancelled", c=None, z="pending")
    change(store, "d", submit())
    settle(store)
    assert set(news(store)) == {"b", "c", "z"}
    assert news(store) == []


def test_our_own_changes_are_no_news_and_a_fresh_store_has_none(path: Path) -> None:
    store = open_store(path)
    assert news(store) == []
    change(store, "a", submit())
    store.add([item("e")])
    settle(store)
    change(store, "a", put_back)
    assert news(store) == []
    change(open_store(path), "b", submit())
    assert news(open_store(path)) == []
    assert news(store) == ["b"]


def test_each_change_is_named_once_whatever_came_in_between(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    for edit in (submit(), wish, put_back):
        change(other, "a", edit)
        settle(other)
        change(store, "b", wish)
    assert news(store) == ["a"]
