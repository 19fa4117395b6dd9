"""Which items are due next: by priority, rank and order, without those that wait, are skipped or are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest
from support.plain_walk import keys_of
from support.state_scenes import COMPLETED, bring, cancel, change, item, put_back, remove, start_over, submit
from support.stores import State
from support.waiting import GENEROUS_SECONDS

from state.item import Item, ItemOutput
from state.store import Store

HUNDRED = [f"k{number}" for number in range(100)]


@pytest.fixture
def full(store: Store) -> Store:
    """A store of a hundred items."""
    store.add([item(key) for key in HUNDRED])
    return store


def ends_in(*digits: str) -> Callable[[Item], bool]:
    return lambda item: item.key.endswith(digits)


def test_priority_counts_first_then_rank_then_the_order_of_addition(state: State, store: Store) -> None:
    store.add([item("c"), item("a"), item("b")])
    store.add([item("low", priority="low", rank=-9.0), item("urgent", priority="urgent", rank=9.0), item("z")])
    store.add([item("last", rank=2.0), item("first", rank=-1.5), item("last too", rank=2.0)])
    store.add([item("high, later", priority="high", rank=1e-300), item("high", priority="high")])
    wanted = ["urgent", "high", "high, later", "first", "c", "a", "b", "z", "last", "last too", "low"]
    for key in ("a", "c", "last"):
        change(store, key, submit())
        change(store, key, start_over)
    assert keys_of(store.due(99)) == wanted
    assert keys_of(store.due(99, skip={"urgent", "a"})) == [key for key in wanted if key not in ("urgent", "a")]
    assert [keys_of(store.due(limit)) for limit in range(4)] == [wanted[:limit] for limit in range(4)]
    store.settle(at_end=True)
    assert keys_of(state.open(read_only=True).due(99)) == wanted


def test_a_new_priority_or_rank_counts_from_then_on_for_everybody(store: Store, other: Store) -> None:
    store.add([item(key) for key in "abcd"])
    change(store, "c", lambda found: msgspec.structs.replace(found, priority="urgent"))
    change(store, "d", lambda found: msgspec.structs.replace(found, rank=-1.0))
    other.refresh()
    change(other, "a", lambda found: msgspec.structs.replace(found, rank=0.5))
    store.refresh()
    assert keys_of(store.due(9)) == keys_of(other.due(9)) == ["c", "d", "b", "a"]
    change(store, "c", lambda found: msgspec.structs.replace(found, priority="normal"))
    assert keys_of(store.due(9)) == ["d", "b", "c", "a"]


def test_an_item_that_is_put_back_returns_to_its_place(full: Store) -> None:
    for key in ("k0", "k1", "k50"):
        change(full, key, submit())
    assert keys_of(full.due(2)) == ["k2", "k3"]
    change(full, "k1", put_back)
    assert keys_of(full.due(2)) == ["k1", "k2"]
    change(full, "k50", put_back)
    change(full, "k0", put_back)
    assert keys_of(full.due(100)) == HUNDRED


def test_only_pending_items_are_due(store: Store) -> None:
    store.add([item(key) for key in "abcdef"])
    change(store, "a", submit())
    bring(store, "b", COMPLETED)
    change(store, "c", cancel)
    remove(store, "d")
    assert keys_of(store.due(9)) == ["e", "f"]
    assert store.due_count() == 2


def test_what_is_not_accepted_is_looked_past(full: Store) -> None:
    assert keys_of(full.due(3, accept=ends_in("7"))) == ["k7", "k17", "k27"]
    assert keys_of(full.due(3, skip={"k17"}, accept=ends_in("7"))) == ["k7", "k27", "k37"]
    assert keys_of(full.due(3, accept=ends_in("99"))) == ["k99"]
    assert full.due(0, accept=ends_in("7")) == []
    assert full.due(3, accept=lambda item: False) == []
    assert keys_of(full.due(1000, accept=ends_in("7", "8"))) == [key for key in HUNDRED if key[-1] in "78"]


def test_accept_is_called_in_the_order_in_which_items_are_due_and_no_more_often_than_needed(full: Store) -> None:
    change(full, "k41", lambda found: msgspec.structs.replace(found, priority="low"))
    judged: list[str] = []

    def accept(item: Item) -> bool:
        judged.append(item.key)
        return len(judged) > 40

    assert keys_of(full.due(2, skip={"k1"}, accept=accept)) == ["k42", "k43"]
    assert judged == [key for key in HUNDRED[:44] if key not in ("k1", "k41")]


def test_other_threads_and_processes_go_on_while_an_item_is_judged(state: State, full: Store) -> None:
    """A slow `accept` must not delay another server's checkpoint. What that takes is not due any more."""
    other = state.open()

    def accept(item: Item) -> bool:
        if item.key == "k3":
            change(other, "k1", submit())
            thread = threading.Thread(target=change, args=(full, "k0", submit()), daemon=True)
            thread.start()
            thread.join(GENEROUS_SECONDS)
            assert not thread.is_alive()
        return item.key >= "k3"

    assert keys_of(full.due(60, accept=accept))[:3] == ["k3", "k4", "k5"]
    assert keys_of(full.due(1)) == ["k2"]


def test_for_a_batch_only_its_own_items_and_urgent_ones_are_due(store: Store, other: Store) -> None:
    store.add([item("none"), item("1", batch="b"), item("2", batch="b", rank=-1.0), item("high", priority="high")])
    store.add([item("other", batch="c", priority="urgent"), item("urgent", priority="urgent", rank=-1.0)])
    store.add(
        [
            item("low", batch="b", priority="low"),
            item("waits", batch="b", uploads={"a": ItemOutput(item="1", output=1)}),
        ]
    )
    other.refresh()
    for each in (store, other):
        assert keys_of(each.due(9, batch="b")) == ["urgent", "other", "2", "1", "low"]
        assert keys_of(each.due(2, batch="b", skip={"other"}, accept=lambda found: found.key != "2")) == ["urgent", "1"]
        assert [each.due_count(batch=batch) for batch in ("b", "c", "nobody's")] == [5, 2, 2]
    change(other, "1", submit())
    change(other, "other", cancel)
    store.refresh()
    assert keys_of(store.due(9, batch="b")) == ["urgent", "2", "low"]
    assert keys_of(store.due(9, batch="nobody's")) == ["urgent"]


def test_kinds_that_nobody_wants_are_left_out(store: Store) -> None:
    """Items of one recipe, or without one of one template, are of one kind."""
    store.add([item("a", recipe="x"), item("b", recipe="y"), item("c"), item("d", template="t"), item("e", recipe="x")])
    store.add([item("f", recipe="x", batch="f", priority="urgent"), item("g", recipe="y", batch="f")])
    for without, wanted in (
        ({"x"}, "bgcd"),
        ({"y"}, "faecd"),
        ({"x", "y"}, "cd"),
        ({"template="}, "fabged"),
        ({"template=t", "x"}, "bgc"),
    ):
        kinds = {found.key: found.kind for found in store.items()}
        assert sorted(wanted) == sorted(key for key in "abcdefg" if kinds[key] not in without)
        assert set(keys_of(store.due(9, without=without))) == set(wanted)
        assert store.due_count(without=without) == len(wanted)
        assert keys_of(store.due(9, batch="f", without=without)) == [key for key in "fg" if key in wanted]
        assert store.due_count(batch="f", without=without) == len([key for key in "fg" if key in wanted])
    assert [store.due_count(limit=limit) for limit in (1, 7, 9)] == [1, 7, 7]


def test_what_is_counted_without_some_kinds_follows_every_change(store: Store) -> None:
    store.add([item(key, recipe="x") for key in "abcd"])
    store.add([item("z", recipe="y")])

    def counted() -> tuple[int, int]:
        return store.due_count(without={"x"}), store.due_count(without={"y"})

    assert counted() == (1, 4)
    change(store, "a", submit())
    bring(store, "b", COMPLETED)
    remove(store, "c")
    assert counted() == (1, 1)
    change(store, "d", lambda found: msgspec.structs.replace(found, recipe="y"))
    change(store, "a", put_back)
    assert counted() == (2, 1)
    store.add([item("s", recipe="x", uploads={"image": ItemOutput(item="a", output=1)})])
    assert counted() == (2, 1)
    bring(store, "a", COMPLETED)
    assert counted() == (2, 1)
    change(store, "a", start_over)
    assert counted() == (2, 1)


def test_what_a_server_may_have_is_of_no_kind(store: Store) -> None:
    """Whatever its recipe says, it belongs to that server."""
    store.add([item("a", recipe="x"), item("b", recipe="x")])
    change(store, "a", submit())
    change(store, "a", lambda found: found.send_again())
    assert keys_of(store.due(9, without={"x"})) == ["a"]
    assert store.due_count(without={"x"}) == 1


def test_a_kind_may_be_left_out_while_items_are_chosen(full: Store) -> None:
    full.add([item("other", recipe="y")])
    seen: list[str] = []
    without: set[str] = set()

    def accept(found: Item) -> bool:
        seen.append(found.key)
        if found.recipe is None:
            without.add(found.kind)
        return found.recipe is not None

    assert keys_of(full.due(1, without=without, accept=accept)) == ["other"]
    assert len(seen) < len(HUNDRED)
