"""What a run may ask about completed items: the same as a walk over all records tells."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from support.state_scenes import NOON, change, item, remove, start_over
from support.stores import State
from support.walks import counted_walks

from state.completed_items import CompletedItems
from state.item import Item, OutputRecord, Status
from state.store import Store


def completed(store: Store, key: str, *, minute: int = 0, files: int = 1, server: str = "gpu1") -> Item:
    at = NOON + timedelta(minutes=minute)
    outputs = tuple(OutputRecord(path=f"{key}{number}.png", bytes=1, sha256="0") for number in range(files))
    change(store, key, lambda now: now.submit(prompt_id=f"p-{key}", server=server, at=at, fingerprint=""))
    return change(store, key, lambda now: now.complete(outputs=outputs, at=at, seconds=float(minute)))


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return counted_walks(monkeypatch)


def test_at_most_one_walk_answers_every_question(store: Store, walks: list[str]) -> None:
    store.add([item(key, inputs={"steps": 5}) for key in "abcd"])
    known = store.completed_items()
    assert not walks, "nobody asked yet"
    for minute, key in enumerate("abc"):
        known.note(completed(store, key, files=2, minute=minute))
        assert list(known.counts(store.get("d"))) == [2]
        assert list(known.servers()) == ["gpu1"]
        assert [one.prompt_id for one in known.latest("gpu1", 1)] == [f"p-{key}"]
        assert known.longest_seconds(None) == float(minute)
    assert len(walks) <= 1


def test_nothing_is_known_where_nothing_is_completed(store: Store) -> None:
    store.add([item("a")])
    known = store.completed_items()
    assert not list(known.counts(store.get("a")))
    assert not list(known.servers())
    assert known.latest("gpu1", 3) == []
    assert known.longest_seconds(None) is None
    assert known.longest_seconds("r") is None


def test_what_this_process_completes_counts_from_then_on(store: Store) -> None:
    store.add([item(key, inputs={"steps": 5}) for key in "abc"])
    known = store.completed_items()
    assert not list(known.counts(store.get("c")))
    for key, files in (("a", 1), ("b", 2)):
        known.note(completed(store, key, files=files))
    assert sorted(known.counts(store.get("c"))) == [1, 2]


def test_latest_ones_are_of_the_server_of_the_time_and_of_the_recipes(store: Store) -> None:
    store.add([item(key, recipe={"a": "r", "b": None}.get(key, "s")) for key in "abcdef"])
    for minute, key in enumerate("abcdef"):
        completed(store, key, minute=minute, server="gpu2" if key == "e" else "gpu1")
    known = store.completed_items()
    latest = [one.prompt_id for one in known.latest("gpu1", 2)]
    until = [one.prompt_id for one in known.latest("gpu1", 9, until=NOON + timedelta(minutes=2))]
    of_recipes = [one.prompt_id for one in known.latest("gpu1", 9, recipes={"r", None})]
    assert (latest, until, of_recipes) == (["p-f", "p-d"], ["p-c", "p-b", "p-a"], ["p-b", "p-a"])
    assert known.latest("gpu1", 9, recipes={"unknown"}) == known.latest("gpu3", 9) == []
    assert [known.longest_seconds(recipe) for recipe in ("r", None, "s")] == [0.0, 1.0, 5.0]


class Plain:
    """The same by a walk over the items each time."""

    def __init__(self, store: Store) -> None:
        store.refresh()
        self.done = list(store.items(Status.COMPLETED))

    def counts(self, like: Item) -> set[int]:
        return {len(one.outputs) for one in self.done if one.inputs["steps"] == like.inputs["steps"]}

    def latest(self, server: str, until: datetime) -> list[datetime]:
        times = sorted(one.completed_at for one in self.done if one.server == server and one.completed_at is not None)
        return [at for at in reversed(times) if at <= until][:3]

    def longest(self) -> float | None:
        return max((one.seconds for one in self.done if one.seconds is not None), default=None)


def check(known: CompletedItems, store: Store, until: datetime) -> None:
    plain = Plain(store)
    for number in (0, 1):
        like = item("x", inputs={"steps": number, "seed": 99})
        counts = set(store.completed_items().counts(like))
        assert counts == plain.counts(like) or (len(counts) == 2 and counts < plain.counts(like))
        assert [one.at for one in known.latest(f"gpu{number}", 3, until=until)] == plain.latest(f"gpu{number}", until)
    assert known.longest_seconds(None) == plain.longest()
    servers = {str(one.server) for one in plain.done}
    assert set(store.completed_items().servers()) == servers <= {"gpu0", "gpu1"}


STEPS = ("complete", "another completes", "another starts over", "another removes", "ask")


def test_it_is_what_a_walk_would_tell(state: State, store: Store, other: Store) -> None:
    draw = random.Random(7)
    keys = "abcdefgh"
    store.add([item(key, inputs={"steps": number % 2, "seed": number}) for number, key in enumerate(keys)])
    known = store.completed_items()
    for _ in range(120):
        what, key, number = draw.choice(STEPS), draw.choice(keys), draw.randrange(6)
        by = other if what.startswith("another") else store
        by.refresh()
        status = by.get(key).status if key in by else None
        if what in ("complete", "another completes") and status is Status.PENDING:
            done = completed(by, key, minute=number, files=number % 3, server=f"gpu{number % 2}")
            if by is store:
                known.note(done)
        elif what == "another starts over" and status is Status.COMPLETED:
            change(by, key, start_over)
        elif what == "another removes" and status is not None:
            remove(by, key)
            by.add([item(key, inputs={"steps": number % 2, "seed": number})])
        elif what == "ask":
            check(known, store, NOON + timedelta(minutes=number))
    check(known, store, NOON + timedelta(minutes=3))
