"""An item is removed by a line of the journal, and what stands near it stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.state_scenes import (
    COMPLETED,
    FastClock,
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


def test_a_removed_item_is_gone_from_the_file_with_the_next_rewrite(path: Path) -> None:
    store = open_store(path)
    remove(store, "b")
    assert keys(path) == ["a", "c", "d"]
    assert list(json.loads(path.read_bytes())) == ["a", "b", "c", "d"]
    settle(store)
    assert list(json.loads(path.read_bytes())) == keys(path) == ["a", "c", "d"]


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
