"""The next due items: the order of a plain look through the whole file, at the cost of those that are taken."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.state_scenes import (
    PENDING,
    FastClock,
    cancel,
    change,
    put_back,
    seed,
    start_over,
    submit,
    write_json,
)

from state.change import Change
from state.item import PRIORITIES, Item, ItemOutput, Record, Status
from state.json.places import PLAIN, RankedPlaces, order_of
from state.json.records import Records
from state.json.store import JsonStore

RECORD = b"{}"


FOREIGN = ItemOutput(item="another", output=0)


def plain_look(known: dict[str, Record]) -> list[str]:
    """Every record from the first to the last, sorted by priority and rank."""
    due = [key for key, record in known.items() if record.status is PENDING and not record.uploads]
    return sorted(due, key=lambda key: (PRIORITIES.index(known[key].priority), known[key].rank))


RECORDS = st.builds(
    Record,
    status=st.sampled_from([PENDING, PENDING, *Status]),
    priority=st.sampled_from(PRIORITIES),
    rank=st.sampled_from([0.0, 0.0, -2.0, -1.5, 1e-300, 7.0]),
    uploads=st.sampled_from([{}, {}, {}, {"image": FOREIGN}]),
)
STEPS = st.lists(st.tuples(st.integers(0, 3000), RECORDS | st.none()), max_size=60)
"""What is put in the place of an item; None removes it."""


@given(loaded=st.lists(RECORDS, max_size=12), repeated=st.sampled_from([1, 300]), steps=STEPS)
def test_pending_keys_come_in_the_order_of_a_plain_look(
    loaded: list[Record], repeated: int, steps: list[tuple[int, Record | None]]
) -> None:
    known = {f"k{number}": record for number, record in enumerate(loaded * repeated)}
    orders = {key: order for key, record in known.items() if (order := order_of(record)) is not PLAIN}
    statuses = {key: record.status for key, record in known.items()}
    records = Records.of(dict.fromkeys(known, RECORD), statuses, orders, {}, Counter())
    for number, record in [(0, Record(status=PENDING)), *steps]:
        key = f"k{number}"
        if record is None:
            known.pop(key, None)
            records.remove(key)
        else:
            known[key] = record
            records.put(key, RECORD, record)
        assert list(records.pending()) == plain_look(known)
    assert list(records.raws) == list(records.statuses) == list(known)
    assert records.counts == dict.fromkeys(Status, 0) | Counter(record.status for record in known.values())
    waiting = [key for key, record in known.items() if record.status is PENDING and record.uploads]
    assert sorted(records.waiting) == sorted(waiting)


def test_ranked_places_keep_their_order_however_many_come_and_go() -> None:
    numbers = random.Random(7)
    places, kept = RankedPlaces(), set()
    for _ in range(20_000):
        pair = (float(numbers.randrange(50)), numbers.randrange(3000))
        if pair in kept:
            kept.discard(pair)
            places.remove(*pair)
        else:
            kept.add(pair)
            places.add(*pair)
    assert list(places) == sorted(kept)
    assert len(kept) > 5000
    for pair in sorted(kept):
        places.remove(*pair)
    assert list(places) == []


@pytest.fixture
def store(tmp_path: Path) -> JsonStore:
    path = tmp_path / "state.json"
    write_json(path, seed(*(f"k{number}" for number in range(100))))
    return JsonStore.open(path, clock=FastClock())


def keys(items: list[Item]) -> list[str]:
    return [item.key for item in items]


def ends_in(*digits: str) -> Callable[[Item], bool]:
    return lambda item: item.key.endswith(digits)


def test_an_item_that_is_put_back_returns_to_its_place(store: JsonStore) -> None:
    for key in ("k0", "k1", "k50"):
        change(store, key, submit())
    assert keys(store.due(2)) == ["k2", "k3"]
    change(store, "k1", put_back)
    assert keys(store.due(2)) == ["k1", "k2"]
    change(store, "k50", put_back)
    change(store, "k0", put_back)
    assert keys(store.due(100)) == [f"k{number}" for number in range(100)]


def test_what_is_not_accepted_is_looked_past(store: JsonStore) -> None:
    assert keys(store.due(3, accept=ends_in("7"))) == ["k7", "k17", "k27"]
    assert keys(store.due(3, skip={"k17"}, accept=ends_in("7"))) == ["k7", "k27", "k37"]
    assert keys(store.due(3, accept=ends_in("99"))) == ["k99"]
    assert keys(store.due(0, accept=ends_in("7"))) == []
    assert store.due(3, accept=lambda item: False) == []
    assert keys(store.due(1000, accept=ends_in("7", "8"))) == [
        key for key in (f"k{number}" for number in range(100)) if key[-1] in "78"
    ]


def test_no_more_is_asked_than_is_needed_and_each_once(store: JsonStore) -> None:
    asked: list[str] = []

    def accept(item: Item) -> bool:
        asked.append(item.key)
        return len(asked) > 40

    assert keys(store.due(2, accept=accept)) == ["k40", "k41"]
    assert asked == [f"k{number}" for number in range(42)]


def test_other_threads_go_on_while_an_item_is_being_judged(store: JsonStore) -> None:
    """A slow judgement must not hold up another server's checkpoint; what it takes meanwhile is not given twice."""

    def accept(item: Item) -> bool:
        if item.key == "k3":
            other = threading.Thread(target=change, args=(store, "k0", submit()), daemon=True)
            other.start()
            other.join(5)
            assert not other.is_alive()
        return item.key >= "k3"

    assert keys(store.due(60, accept=accept))[:3] == ["k3", "k4", "k5"]
    assert "k0" not in keys(store.due(1))


def test_the_cost_does_not_grow_with_what_is_done(tmp_path: Path) -> None:
    def store_with(done: int) -> JsonStore:
        path = tmp_path / f"{done}.json"
        finished = {f"done{number}": {"status": "completed"} for number in range(done)}
        write_json(path, seed("before", **finished) | seed("a", "b", "c"))
        store = JsonStore.open(path)
        store.apply([Change("a", PENDING, cancel)], sync=False)
        store.apply([Change("a", Status.CANCELLED, start_over)], sync=False)
        return store

    def best_seconds(store: JsonStore) -> float:
        times = []
        for _ in range(30):
            began = time.perf_counter()
            assert keys(store.due(2, skip={"before"}, accept=lambda item: item.key != "a")) == ["b", "c"]
            times.append(time.perf_counter() - began)
        return min(times)

    few, many = store_with(30), store_with(30_000)
    assert best_seconds(many) < 5 * best_seconds(few)


def test_ranks_cost_what_places_cost(tmp_path: Path) -> None:
    """Moving one of many to the front, which a sorted list of all of them does at a cost that grows with it."""

    def best_seconds(*, ranked: bool) -> float:
        records = Records()
        for number in range(30_000):
            records.put(f"k{number}", RECORD, Record(status=PENDING, rank=float(number + 1) if ranked else 0.0))
        times = []
        for number in range(29_000, 29_200):
            began = time.perf_counter()
            records.put(f"k{number}", RECORD, Record(status=PENDING, rank=-float(number) if ranked else 0.0))
            assert next(records.pending()) == (f"k{number}" if ranked else "k0")
            times.append(time.perf_counter() - began)
        return min(times)

    assert best_seconds(ranked=True) < 10 * best_seconds(ranked=False)
