"""An item is removed by a line of the journal, and what stands near it stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.news import news
from support.state_scenes import (
    CANCELLED,
    COMPLETED,
    PENDING,
    SUBMITTED,
    FastClock,
    cancel,
    change,
    complete,
    dump,
    edit_json,
    item,
    remove,
    seed,
    settle,
    statuses,
    submit,
    write_json,
)

from orchestrator.errors import StaleChange
from state.change import Change, change_all
from state.item import REMOVABLE, Status
from state.json.store import JsonStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    write_json(path, seed("a", "b", "c", "d"))
    return path


def open_store(path: Path) -> JsonStore:
    return JsonStore.open(path, clock=FastClock())


def keys(path: Path) -> list[str]:
    return [key for key, _ in dump(JsonStore.open(path, read_only=True))]


def test_a_removed_item_is_gone_for_every_reader_and_from_the_file(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    remove(store, "b")
    assert "b" not in store
    with pytest.raises(KeyError):
        store.get("b")
    assert [found.key for found in store.get_many(["a", "b", "c"])] == ["a", "c"]
    assert (len(store), store.counts()[PENDING], store.due_count()) == (3, 3, 3)
    assert news(other) == ["b"]
    assert [found.key for found in other.due(9)] == ["a", "c", "d"]
    assert keys(path) == ["a", "c", "d"]
    settle(store)
    assert list(json.loads(path.read_bytes())) == ["a", "c", "d"]
    assert keys(path) == ["a", "c", "d"]


def test_only_what_no_server_may_have_is_removed(path: Path) -> None:
    assert set(Status) - REMOVABLE == {SUBMITTED}
    store = open_store(path)
    change(store, "a", submit())
    with pytest.raises(ValueError, match="a: cannot be removed while it is submitted"):
        remove(store, "b", "a")
    assert statuses(store) == {"a": "submitted", "b": "pending", "c": "pending", "d": "pending"}
    with pytest.raises(ValueError, match="z: cannot be removed while it is not there"):
        store.apply([Change("z", None, lambda item: None)])
    change(store, "a", complete)
    remove(store, "a")
    assert keys(path) == ["b", "c", "d"]


def test_a_removal_that_was_decided_on_another_status_is_stale(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    items = list(store.items())
    change(other, "a", cancel)
    with pytest.raises(StaleChange):
        store.apply([Change("a", PENDING, lambda item: None)])
    remove(other, "b")
    with pytest.raises(StaleChange):
        store.apply([Change("b", PENDING, cancel)])
    assert [item.key for item in change_all(store, items, cancel)] == ["c", "d"]


def test_one_change_set_may_remove_and_change(path: Path) -> None:
    store = open_store(path)
    changed = store.apply([Change("a", PENDING, lambda item: None), Change("b", PENDING, cancel)])
    assert [(item.key, item.status) for item in changed] == [("b", CANCELLED)]
    assert statuses(store) == {"b": "cancelled", "c": "pending", "d": "pending"}
    assert store.due(1)[0].key == "c"


def test_one_that_comes_back_stands_behind_the_others_for_everybody(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    remove(store, "a", "c")
    store.add([item("e"), item("c")])
    remove(store, "c")
    store.add([item("c"), item("a")])
    assert [found.key for found in store.items()] == ["b", "d", "e", "c", "a"]
    other.refresh()
    assert dump(other) == dump(store)
    assert keys(path) == ["b", "d", "e", "c", "a"]
    assert [found.key for found in other.due(9)] == ["b", "d", "e", "c", "a"]


def test_an_edit_elsewhere_in_the_file_does_not_bring_it_back(path: Path) -> None:
    store = open_store(path)
    remove(store, "a")
    store.close()
    edit_json(path, b="cancelled")
    store = open_store(path)
    assert statuses(store) == {"b": "cancelled", "c": "pending", "d": "pending"}
    assert store.hand_edits == []
    store.settle(at_end=True)
    assert keys(path) == ["b", "c", "d"]


def test_an_edit_of_the_removed_item_itself_wins_and_is_reported(path: Path) -> None:
    store = open_store(path)
    remove(store, "a")
    store.close()
    edit_json(path, a="cancelled")
    store = open_store(path)
    assert statuses(store)["a"] == "cancelled"
    assert store.hand_edits == ["a: set to cancelled by hand, but it was removed in the meantime; the edit is kept"]


def test_an_edit_elsewhere_in_the_file_is_no_edit_of_one_that_came_back(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    change(store, "a", complete)
    store.settle(at_end=True)
    remove(store, "a")
    store.add([item("a")])
    store.close()
    edit_json(path, b="cancelled")
    store = open_store(path)
    assert statuses(store) == {"b": "cancelled", "c": "pending", "d": "pending", "a": "pending"}
    assert store.hand_edits == []


def test_removed_by_hand_and_by_the_journal_is_removed_without_a_word(path: Path) -> None:
    store = open_store(path)
    remove(store, "a")
    store.close()
    edit_json(path, a=None)
    store = open_store(path)
    assert list(statuses(store)) == ["b", "c", "d"]
    assert store.hand_edits == []
    remove(store, "b")
    assert keys(path) == ["c", "d"]


def test_a_completed_item_that_was_put_in_the_place_of_a_removed_one_stands(path: Path) -> None:
    store = open_store(path)
    remove(store, "a")
    store.add([item("a")])
    change(store, "a", submit())
    change(store, "a", complete)
    store.close()
    edit_json(path, a="failed")
    store = open_store(path)
    assert store.get("a").status is COMPLETED
    assert "completed in the meantime" in store.hand_edits[0]
