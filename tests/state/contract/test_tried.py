"""`completions` and `tried`: the items with attempts on record, for history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from support.state_scenes import ERROR, FAILED, NOON, OUTPUT, change, fail, item, start_over, submit

from state.attempts import Tried
from state.item import Item
from state.store import Store


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def completed(store: Store, key: str, minute: int, server: str = "gpu1") -> None:
    change(store, key, submit(server=server))
    change(store, key, lambda now: now.complete(outputs=(OUTPUT,), at=at(minute), seconds=1.0))


@pytest.fixture
def filled(store: Store) -> Store:
    """Completed in another order than added; one of them after a failure; one failed, one due again, one untouched."""
    store.add([item(key, batch="x" if key in "ae" else None) for key in "abcdefg"])
    for key, minute, server in (("c", 1, "gpu1"), ("a", 2, "gpu2"), ("b", 4, "gpu1")):
        completed(store, key, minute, server)
    change(store, "d", submit())
    change(store, "d", fail)
    change(store, "d", start_over)
    completed(store, "d", 3, "gpu2")
    for key in "ef":
        change(store, key, submit())
        change(store, key, fail)
    change(store, "f", start_over)
    return store


@pytest.mark.parametrize(
    ("narrowed", "keys"),
    [
        ({}, "cadb"),
        ({"since": at(2)}, "adb"),
        ({"until": at(3)}, "ca"),
        ({"since": at(2), "until": at(4)}, "ad"),
        ({"batch": "x"}, "a"),
        ({"batch": "y"}, ""),
        ({"servers": ["gpu2", "gpu9"]}, "ad"),
        ({"servers": []}, ""),
        ({"servers": ["gpu2"], "since": at(3), "batch": "x"}, ""),
    ],
    ids=str,
)
def test_completions_come_in_the_order_of_time(filled: Store, narrowed: dict[str, Any], keys: str) -> None:
    assert "".join(key for key, _ in filled.completions(Tried, **narrowed)) == keys


def test_completions_of_one_moment_come_in_the_order_of_items(store: Store) -> None:
    store.add([item(key) for key in "abc"])
    for key in "cab":
        completed(store, key, 1)
    assert "".join(key for key, _ in store.completions(Tried)) == "abc"


@pytest.mark.parametrize(
    ("narrowed", "keys"),
    [({}, "def"), ({"batch": "x"}, "e"), ({"since": at(3)}, "def"), ({"since": at(4)}, "ef")],
    ids=str,
)
def test_tried_are_those_with_other_attempts(filled: Store, narrowed: dict[str, Any], keys: str) -> None:
    """A store that keeps all in memory may name others too."""
    found = dict(filled.tried(Tried, **narrowed))
    assert set(keys) <= found.keys()
    others = {key for key, one in found.items() if not one.past_attempts and one.status is not FAILED}
    assert not others
    assert all(one.error == ERROR for one in found.values() if one.status is FAILED)


def test_a_record_says_of_its_attempts_what_the_item_does(filled: Store) -> None:
    by_key: dict[str, Item] = {one.key: one for one in filled.items()}
    for key, record in filled.parts(Tried):
        assert record.completed_attempt == by_key[key].completed_attempt
        assert record.past_attempts == by_key[key].past_attempts
