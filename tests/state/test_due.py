"""The next due items: the order of a plain look through the whole file, at the cost of those that are taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.state_scenes import (
    COMPLETED,
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

from state.item import PRIORITIES, Item, Record, Status
from state.json.records import Records
from state.json.store import JsonStore
from state.store import Change

RECORD = b"{}"


def plain_look(records: Records, priority_of: dict[str, str]) -> list[str]:
    """Every record from the first to the last, once for each priority."""
    return [
        key
        for priority in PRIORITIES
        for key, status in records.statuses.items()
        if status is PENDING and priority_of[key] == priority
    ]


STEPS = st.lists(st.tuples(st.integers(0, 3000), st.sampled_from(Status), st.sampled_from(PRIORITIES)), max_size=60)


@given(loaded=st.integers(0, 2500), done=st.sets(st.integers(0, 2500)), steps=STEPS)
def test_pending_keys_come_in_the_order_of_a_plain_look(loaded: int, done: set[int], steps: list[tuple]) -> None:  # type: ignore[type-arg]
    keys = [f"k{number}" for number in range(loaded)]
    statuses = {key: COMPLETED if number in done else PENDING for number, key in enumerate(keys)}
    special = {key: PRIORITIES[number % 4] for number, key in enumerate(keys) if number % 7 == 0 and number % 4 != 2}
    priority_of = {key: special.get(key, "normal") for key in keys}
    records = Records.of(dict.fromkeys(keys, RECORD), statuses, special)
    for number, status, priority in [(0, PENDING, "normal"), *steps]:
        priority_of[f"k{number}"] = priority
        records.put(f"k{number}", RECORD, Record(status=status, priority=priority))  # type: ignore[arg-type]
        assert list(records.pending()) == plain_look(records, priority_of)
    assert sum(records.counts.values()) == len(records.statuses) == len(records.raws)
    assert records.counts[PENDING] == len(list(records.pending()))


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
