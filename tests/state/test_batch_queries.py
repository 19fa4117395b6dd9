"""Questions about batches are answered as walking over all items would, whatever was changed, by whom, and how."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.news import news

from state.change import Change
from state.counts import Counts
from state.item import PRIORITIES, Item, Status
from state.json.store import JsonStore

BEGINNING = datetime(2026, 11, 21, 5, tzinfo=UTC)
BATCHES = ("b1", "b2", "b3", None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state.json").write_text("{}")
    return tmp_path / "state.json"


def made(number: int, chance: random.Random) -> Item:
    return Item(
        key=f"{number:03}",
        status=Status.PENDING,
        batch=chance.choice(BATCHES),
        priority=chance.choice(PRIORITIES),
        rank=chance.choice((0.0, 0.0, 0.0, -1.5, 2.0)),
        recipe=chance.choice(("r1", "r2", None)),
        index=chance.choice((None, 0, 3, 10**20, *range(1, 30))),
    )


def changed(item: Item, chance: random.Random, *, at: datetime) -> Item:
    """The item after some step that its status allows."""
    match item.status:
        case Status.PENDING:
            step = chance.randrange(5)
            if step == 0:
                return msgspec.structs.replace(item, priority=chance.choice(PRIORITIES), rank=chance.choice((0.0, 3.0)))
            if step == 1:
                return msgspec.structs.replace(item, batch=chance.choice(BATCHES), recipe="r3")
            if step == 2:
                return msgspec.structs.replace(item, index=chance.choice((None, 0, 5, 40)))
            return item.submit(prompt_id=f"p{item.key}", server=chance.choice(("gpu1", "gpu2")), at=at, fingerprint="f")
        case Status.SUBMITTED:
            if chance.random() < 0.7:
                return item.complete(outputs=(), at=at, seconds=chance.choice((None, 1.0, 2.5)))
            return item.put_back(charge=False)
        case _:
            return item.start_over()


def check(store: JsonStore) -> None:
    """Everything that a store says of batches, against a walk over its items."""
    items = list(store.items())
    due = [item.key for item in store.due(len(items) + 1)]
    there = {item.batch for item in items} - {None}
    for statuses in ((Status.PENDING,), (Status.PENDING, Status.SUBMITTED), tuple(Status)):
        assert store.recipe_counts(*statuses) == Counter(item.recipe for item in items if item.status in statuses)
    assert store.counts_by_batch() == {batch: Counts.of(one for one in items if one.batch == batch) for batch in there}
    for batch in ("b1", "b2", "b3", "nobody's"):
        own = [item for item in items if item.batch == batch]
        timed = [item for item in own if item.status is Status.COMPLETED and item.seconds]
        figures = store.batch_figures(batch)
        assert {item.key for item in store.items(batch=batch)} == {item.key for item in own}
        assert {item.key for item in store.items(Status.PENDING, batch=batch)} == {
            item.key for item in own if item.status is Status.PENDING
        }
        first = [key for key in due if store.get(key).priority == "urgent"]
        mine = [key for key in due if store.get(key).batch == batch and key not in first]
        assert [item.key for item in store.due(len(items) + 1, batch=batch)] == first + mine
        assert store.due_count(batch=batch) == len(first + mine)
        assert figures.counts == store.counts(batch=batch) == Counts.of(own)
        ordered = sorted(own, key=lambda item: (item.index or 0, item.key))
        assert store.batch_keys(batch) == [item.key for item in ordered]
        for statuses in ((Status.PENDING,), (Status.COMPLETED, Status.SUBMITTED)):
            later = [item.key for item in ordered if item.status in statuses and (item.index or 0) >= 3]
            assert store.batch_keys(batch, *statuses, first=3) == later
            assert store.batch_keys(batch, *statuses, first=3, limit=2) == later[:2]
            assert list(store.items(*statuses, batch=batch, limit=2)) == list(store.items(*statuses, batch=batch))[:2]
        assert store.batch_keys(batch, first=10**20, limit=1) == [one.key for one in ordered if one.index == 10**20][:1]
        assert figures.due_up_to == max((due.index(item.key) + 1 for item in own if item.key in due), default=0)
        assert set(figures.recipes) == {item.recipe for item in own}
        assert figures.completed_at == max((item.completed_at for item in own if item.completed_at), default=None)
        assert set(figures.servers) == {item.server for item in timed}
        mean = sum(item.seconds or 0.0 for item in timed) / len(timed) if timed else None
        assert figures.mean_seconds == (pytest.approx(mean) if mean is not None else None)


@pytest.mark.parametrize("seed", range(8))
def test_they_agree_with_a_walk_over_all_items(path: Path, seed: int) -> None:
    """In the store that writes, in one that follows it, and in one that is opened at the end."""
    chance = random.Random(seed)
    store, follower = JsonStore.open(path), JsonStore.open(path, read_only=True)
    for step in range(60):
        if step % 6 == 0:
            number = len(store)
            store.add([made(number + more, chance) for more in range(chance.randrange(1, 8))])
        else:
            chosen = chance.sample(list(store.items()), k=min(3, len(store)))
            at = BEGINNING + timedelta(seconds=chance.randrange(1000))
            store.apply([Change(one.key, one.status, lambda now, at=at: changed(now, chance, at=at)) for one in chosen])
        if step % 11 == 0 and len(gone := list(store.items(Status.PENDING))[:1]):
            store.apply([Change(gone[0].key, Status.PENDING, lambda now: None)])
        if step % 17 == 0:
            store.settle(at_end=True)
        if step % 4 == 0:
            check(store)
            follower.refresh()
            check(follower)
    check(store)
    check(JsonStore.open(path, read_only=True))
    assert Counter(item.status for item in store.items())[Status.COMPLETED] > 0


def test_an_edit_by_hand_is_in_the_figures(path: Path) -> None:
    chance = random.Random(7)
    store = JsonStore.open(path)
    store.add([made(number, chance) for number in range(20)])
    store.settle(at_end=True)
    check(store)
    records = json.loads(path.read_text())
    for key in list(records)[:7]:
        records[key] |= {"batch": "b2", "status": "cancelled"}
    del records["019"]
    path.write_text(json.dumps(records))
    store.add([made(20, chance)])
    check(store)


def test_any_number_of_callers_follow_what_others_change(path: Path) -> None:
    """Each sees every change once, however rarely it asks, and what a removal leaves is named too."""
    store, other = JsonStore.open(path), JsonStore.open(path)
    other.add([made(number, random.Random(1)) for number in range(3)])
    first = store.changes()
    assert first.keys == ["000", "001", "002"]
    other.apply([Change("001", Status.PENDING, lambda now: now.cancel())])
    second = store.changes(first.mark)
    assert second.keys == ["001"]
    other.apply([Change("000", Status.PENDING, lambda now: None)])
    assert store.changes(first.mark).keys == ["001", "000"]
    assert store.changes(second.mark).keys == ["000"]
    assert sorted(news(store)) == ["000", "001", "002"]
    assert "000" not in store
    assert store.changes(store.changes().mark).keys == []
