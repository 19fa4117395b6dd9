"""`news`: what a run at work hears of others, which does not grow with what other runs do."""

from __future__ import annotations

import pytest
from support.leases import begin
from support.state_scenes import CANCELLED, PENDING, SUBMITTED, cancel, change, complete, item, remove, submit
from support.stores import State

from state.change import Change
from state.store import Store


def test_nothing_is_news_to_who_did_it(store: Store, other: Store) -> None:
    mark = store.changes().mark
    store.add([item("a", recipe="r")])
    assert not store.news(mark, of=["a"]).is_any
    seen = other.news(0, of=["a"])
    assert (seen.is_any, list(seen.keys), set(seen.recipes)) == (True, ["a"], {"r"})
    assert not other.news(seen.mark, of=["a"]).is_any


def test_keys_are_named_of_the_items_that_matter_alone(store: Store, other: Store) -> None:
    store.add([item(key) for key in "abcd"])
    mark = store.changes().mark
    other.apply([Change(key, PENDING, cancel) for key in "ab"])
    remove(other, "c")
    for of, found in ((["a", "c", "d", "unknown"], {"a", "c"}), (["d"], set()), ([], set())):
        seen = store.news(mark, of=of)
        assert (seen.is_any, set(seen.keys)) == (True, found)
    assert store.get("a").status is CANCELLED, "and it is read"


def test_more_items_than_a_statement_names(store: Store, other: Store) -> None:
    store.add([item("a"), item("b")])
    mark = store.changes().mark
    other.apply([Change("a", PENDING, cancel)])
    assert set(store.news(mark, of=["a", "b", *(f"{number}" for number in range(2500))]).keys) == {"a"}


def test_recipes_are_those_of_what_others_make_due(store: Store, other: Store) -> None:
    """Also of one that had ended; and what has no recipe is no trouble."""
    store.add([item("a", recipe="q")])
    change(store, "a", cancel)
    mark = store.changes().mark
    other.add([item("b", recipe="r"), item("c", recipe="s", priority="low"), item("d")])
    seen = store.news(mark, of=[])
    assert set(seen.recipes) - {None} == {"r", "s"}
    change(other, "a", lambda now: now.start_over())
    assert "q" in store.news(seen.mark, of=[]).recipes


def test_what_another_run_does_is_news_without_its_items(state: State, store: Store, other: Store) -> None:
    if state.one_run:
        pytest.skip("one run at a time")
    store.add([item(f"{number}", recipe="r") for number in range(9)])
    mark = store.changes().mark
    with other.lease() as lease:
        begin(lease, "other")
        for one in lease.claim(9):
            lease.apply([Change(one.key, PENDING, submit())])
            lease.apply([Change(one.key, SUBMITTED, complete)])
    seen = store.news(mark, of=["mine"])
    assert (seen.is_any, list(seen.keys), list(seen.recipes)) == (True, [], [])
    assert set(store.news(mark, of=["3"]).keys) == {"3"}, "what is taken from this run is heard of"


def test_what_a_run_left_on_a_server_may_be_done(state: State, store: Store, other: Store) -> None:
    if state.one_run:
        pytest.skip("one run at a time")
    store.add([item("a", recipe="r")])
    mark = store.changes().mark
    with other.lease() as lease:
        begin(lease, "other")
        lease.claim(1)
        lease.apply([Change("a", PENDING, submit())])
        assert "r" not in store.news(mark, of=[]).recipes
    assert "r" in store.news(mark, of=[]).recipes
