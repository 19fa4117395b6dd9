"""`apply` and `add`: all of a change set or none of it, guarded by the status that each item must still have."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import msgspec
import pytest
from support.plain_walk import keys_of
from support.state_scenes import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    SUBMITTED,
    bring,
    cancel,
    change,
    complete,
    dump,
    fail,
    item,
    put_back,
    remove,
    start_over,
    statuses,
    submit,
)
from support.stores import State

from orchestrator.errors import StaleChange
from state.change import Change, change_all
from state.item import REMOVABLE, TRANSITIONS, Item, Status
from state.store import FORMAT_VERSION, Store


@pytest.fixture(autouse=True)
def _four_items(store: Store) -> None:
    store.add([item(key) for key in "abcd"])


def broken(found: Item) -> Item:
    raise LookupError(found.key)


REFUSED: dict[str, tuple[list[Change], type[Exception], str]] = {
    "another status": ([Change("c", SUBMITTED, complete)], StaleChange, "c"),
    "not there": ([Change("z", PENDING, submit())], StaleChange, "z"),
    "there already": ([Change("c", None, lambda found: found)], StaleChange, "c"),
    "an edit that fails": ([Change("c", PENDING, broken)], LookupError, "c"),
    "not a transition": ([Change("c", PENDING, complete)], ValueError, "c: pending → completed is not a transition"),
    "another key": ([Change("c", PENDING, lambda found: item("d"))], ValueError, "c"),
    "one item twice": ([Change("b", PENDING, put_back)], ValueError, "twice"),
    "not removable": ([Change("d", SUBMITTED, lambda found: None)], ValueError, "d: cannot be removed"),
    "a removal of nothing": ([Change("z", None, lambda found: None)], ValueError, "z: cannot be removed"),
}


def test_a_change_set_of_which_one_is_refused_changes_nothing(state: State, store: Store) -> None:
    change(store, "d", submit())
    before = dump(store)
    wanted = [
        Change("a", PENDING, submit()),
        Change("b", PENDING, lambda found: None),
        Change("new", None, lambda _: item("new")),
    ]
    for name, (refused, error, message) in REFUSED.items():
        for changes in ([*wanted, *refused], [*refused, *wanted]):
            with pytest.raises(error, match=message):
                store.apply(changes)
            assert dump(store) == dump(state.open(read_only=True)) == before, name
    assert keys_of(store.apply(wanted)) == ["a", "new"], "a refused change set is in the way of none that follows"


def test_a_stale_change_names_every_stale_item_and_the_current_records_are_read(store: Store, other: Store) -> None:
    other.refresh()
    change(other, "b", submit())
    remove(other, "c")
    with pytest.raises(StaleChange) as raised:
        store.apply([Change(key, PENDING, submit()) for key in "abcd"])
    assert raised.value.keys == ["b", "c"]
    assert store.get("b").status is SUBMITTED
    assert "c" not in store
    assert statuses(store) == {"a": "pending", "b": "submitted", "d": "pending"}


def test_an_edit_is_given_the_current_record(store: Store, other: Store) -> None:
    """Not the one that the caller had, though its status is the same."""
    other.refresh()
    change(other, "a", lambda found: msgspec.structs.replace(found, tags=("sea",)))
    changed = change(store, "a", lambda found: msgspec.structs.replace(found, tags=(*found.tags, "sky")))
    other.refresh()
    assert changed.tags == store.get("a").tags == other.get("a").tags == ("sea", "sky")


def test_one_change_set_may_add_change_and_remove(state: State, store: Store) -> None:
    changes = [
        Change("a", PENDING, lambda found: None),
        Change("b", PENDING, cancel),
        Change("e", None, lambda _: item("e", priority="urgent")),
    ]
    changed = store.apply(changes)
    assert [(found.key, found.status) for found in changed] == [("b", CANCELLED), ("e", PENDING)]
    wanted = {"b": "cancelled", "c": "pending", "d": "pending", "e": "pending"}
    assert statuses(store) == statuses(state.open(read_only=True)) == wanted
    assert keys_of(store.due(2)) == ["e", "c"]
    assert store.get("e").filename == "e.txt"


def test_changed_items_are_returned_in_the_order_of_the_change_set(store: Store) -> None:
    assert keys_of(store.apply([Change(key, PENDING, submit()) for key in "dab"])) == ["d", "a", "b"]
    assert store.apply([]) == []


def test_without_sync_a_change_is_seen_like_any_other(state: State, store: Store, other: Store) -> None:
    change(store, "a", submit(), sync=False)
    change(store, "a", complete, sync=False)
    other.refresh()
    assert other.get("a").status is COMPLETED
    change(store, "b", cancel)
    written = dump(store)
    store.close()
    assert dump(state.open(read_only=True)) == written


def test_every_pair_of_statuses_follows_the_table(state: State, store: Store) -> None:
    expected = statuses(store)
    for was, to in itertools.product([None, *Status], Status):
        key = f"{was} {to}"
        if was is not None:
            store.add([item(key)])
            bring(store, key, was)
            expected[key] = str(was)
        wanted = [Change(key, was, lambda _, key=key, to=to: Item(key=key, status=to))]
        if to in TRANSITIONS[was]:
            assert [found.status for found in store.apply(wanted)] == [to], key
            expected[key] = str(to)
        else:
            with pytest.raises(ValueError, match="not a transition"):
                store.apply(wanted)
    assert statuses(state.open(read_only=True)) == statuses(store) == expected


# Removal.


@pytest.mark.parametrize("status", Status)
def test_only_what_no_server_may_have_is_removed(state: State, store: Store, status: Status) -> None:
    bring(store, "a", status)
    before = statuses(store)
    if status in REMOVABLE:
        remove(store, "b", "a")
        assert list(statuses(state.open(read_only=True))) == ["c", "d"]
    else:
        with pytest.raises(ValueError, match=f"a: cannot be removed while it is {status}"):
            remove(store, "b", "a")
        assert statuses(state.open(read_only=True)) == before
    assert {SUBMITTED} == set(Status) - REMOVABLE


def test_a_removed_item_is_gone_for_everybody(state: State, store: Store, other: Store) -> None:
    other.refresh()
    remove(store, "b")
    other.refresh()
    for each in (store, other, state.open(read_only=True)):
        assert "b" not in each
        with pytest.raises(KeyError):
            each.get("b")
        assert keys_of(each.get_many(["a", "b", "c"])) == ["a", "c"]
        assert (len(each), each.counts()[PENDING], each.due_count()) == (3, 3, 3)
        assert keys_of(each.due(9)) == ["a", "c", "d"]


def test_a_removal_that_was_decided_on_another_status_is_stale(store: Store, other: Store) -> None:
    items = list(store.items())
    other.refresh()
    change(other, "a", cancel)
    with pytest.raises(StaleChange):
        store.apply([Change("a", PENDING, lambda found: None)])
    remove(other, "b")
    with pytest.raises(StaleChange):
        store.apply([Change("b", PENDING, cancel)])
    assert keys_of(change_all(store, items, cancel)) == ["c", "d"]


def test_one_that_comes_back_is_behind_the_others_for_everybody(state: State, store: Store, other: Store) -> None:
    other.refresh()
    remove(store, "a", "c")
    store.add([item("e"), item("c")])
    remove(store, "c")
    store.add([item("c"), item("a")])
    other.refresh()
    for each in (store, other, state.open(read_only=True)):
        assert keys_of(each.items()) == keys_of(each.due(9)) == ["b", "d", "e", "c", "a"]


# Unknown fields.


def test_fields_that_burst_does_not_know_are_kept(state: State, store: Store, other: Store) -> None:
    strange = {
        "huge": 123456789012345678901234567890,
        "float": 0.1,
        "none": None,
        "text": 'zwei\nZeilen\t\u2028 \u00e4 \U0001f98a \\ " /',
        "deep": {"a": [1, {"b": [[], {}]}], "": ""},
    }
    output = {"path": "x.png", "bytes": 1, "sha256": "ab", "node": "9", "size": [1, 2]}
    raw = json.dumps({"status": "pending", **strange, "outputs": [output]}).encode()
    store.add([Item.from_record("strange", raw)])
    other.refresh()
    for edit in (submit(), fail):
        change(other, "strange", edit)
    store.refresh()
    change(store, "strange", start_over)
    store.settle(at_end=True)
    for each in (store, state.open(read_only=True)):
        record = json.loads(each.get("strange").to_record())
        assert {name: record[name] for name in strange} == strange
        assert record["outputs"] == [output]


STRANGE_KEYS = [
    "with\nnewline",
    "tab\t",
    "\u00e4\U0001f98a",
    'quote"s',
    "back\\slash",
    "",
    " ",
    "\u2028",
    "%_'",
    "a/b\x7f",
]


def test_any_text_is_a_key(state: State, store: Store) -> None:
    store.add([item(key) for key in STRANGE_KEYS])
    for key in STRANGE_KEYS:
        bring(store, key, COMPLETED)
    store.settle(at_end=True)
    found = state.open()
    for key in STRANGE_KEYS:
        assert key in found
        assert [found.get(key).key, *keys_of(found.get_many([key]))] == [key, key]
    remove(found, *STRANGE_KEYS)
    assert list(statuses(state.open(read_only=True))) == ["a", "b", "c", "d"]


# add.


def test_add_leaves_alone_what_exists_and_takes_a_key_once(state: State, store: Store) -> None:
    bring(store, "a", COMPLETED)
    before = dump(store)
    added = store.add([item("a"), item("e"), item("e"), item("f", priority="low"), item("b", priority="urgent")])
    assert [(found.key, found.priority) for found in added] == [("e", "normal"), ("f", "low")]
    assert dump(state.open(read_only=True))[:4] == before
    assert store.add([item("a"), item("e"), item("f")]) == store.add([]) == []
    assert list(statuses(store)) == ["a", "b", "c", "d", "e", "f"]


def test_what_another_process_has_added_is_not_added_again(store: Store, other: Store) -> None:
    other.add([item("e", priority="urgent")])
    assert keys_of(store.add([item("e"), item("f")])) == ["f"]
    assert store.get("e").priority == "urgent"
    assert list(statuses(store)) == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize("status", [SUBMITTED, COMPLETED, FAILED, CANCELLED])
def test_only_pending_items_are_added_and_all_or_none_of_them(state: State, store: Store, status: Status) -> None:
    with pytest.raises(ValueError, match=r"e: .* is not a transition"):
        store.add([item("new"), Item(key="e", status=status)])
    assert list(statuses(store)) == list(statuses(state.open(read_only=True))) == ["a", "b", "c", "d"]


WRITING: dict[str, Callable[[Store], object]] = {
    "add": lambda store: store.add([item("e")]),
    "apply": lambda store: change(store, "a", submit()),
}


@pytest.mark.parametrize("write", WRITING.values(), ids=WRITING)
def test_what_is_written_is_of_the_current_format_version(
    state: State, store: Store, write: Callable[[Store], object]
) -> None:
    write(store)
    assert store.format_version == state.open(read_only=True).format_version == FORMAT_VERSION
    assert state.open(read_only=True).hand_edits == []
