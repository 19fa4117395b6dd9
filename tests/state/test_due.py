"""The index of due items: the order of a plain look through all records, at the cost of those that are taken."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.plain_walk import keys_of
from support.state_scenes import (
    COMPLETED,
    PENDING,
    cancel,
    seed,
    start_over,
    write_json,
)

from state.change import Change
from state.item import PRIORITIES, ItemOutput, Record, Status
from state.json.places import PLAIN, RankedPlaces, order_of
from state.json.records import Records
from state.json.store import JsonStore

RECORD = b"{}"
NOT_THERE = ItemOutput(item="another", output=1)
THERE = ItemOutput(item="k1", output=1)


def waits(record: Record, known: dict[str, Record]) -> bool:
    sources = [known.get(source.item) for source in record.awaits]
    return any(source is None or source.status is not COMPLETED for source in sources)


def plain_look(known: dict[str, Record]) -> list[str]:
    """Every record from the first to the last, sorted by priority and rank."""
    due = [key for key, record in known.items() if record.status is PENDING and not waits(record, known)]
    return sorted(due, key=lambda key: (PRIORITIES.index(known[key].priority), known[key].rank))


RECORDS = st.builds(
    Record,
    status=st.sampled_from([PENDING, PENDING, *Status]),
    priority=st.sampled_from(PRIORITIES),
    rank=st.sampled_from([0.0, 0.0, -2.0, -1.5, 1e-300, 7.0]),
    uploads=st.sampled_from([{}, {}, {}, {"image": NOT_THERE}, {"image": THERE}, {"image": THERE, "mask": "m.png"}]),
)
STEPS = st.lists(st.tuples(st.integers(0, 3000) | st.just(1), RECORDS | st.none()), max_size=60)
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
    waiting = [key for key, record in known.items() if record.status is PENDING and waits(record, known)]
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
            assert keys_of(store.due(2, skip={"before"}, accept=lambda item: item.key != "a")) == ["b", "c"]
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
