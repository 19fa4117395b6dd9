"""What is known of completed items: the same as a walk over all records tells, after one walk for all questions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.state_scenes import NOON, change, item, remove, start_over
from support.stores import KINDS, State
from test_rescue import ALIKE, Scene

from orchestrator.cycle.completed_items import CompletedItems
from state.item import Item, OutputRecord, Status
from state.json.store import JsonStore
from state.store import Store


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """One entry for each walk over all records."""
    found: list[str] = []
    walk = JsonStore.parts

    def counted(store: JsonStore, kind: type[Any]) -> Any:
        found.append(kind.__name__)
        return walk(store, kind)

    monkeypatch.setattr(JsonStore, "parts", counted)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with State(KINDS[0], tmp_path) as state:
        yield state.open(create=True)


def completed(
    store: Store, key: str, *, minute: int = 0, files: int = 1, server: str = "gpu1", seconds: float = 1.0
) -> Item:
    at = NOON + timedelta(minutes=minute)
    outputs = tuple(OutputRecord(path=f"{key}{number}.png", bytes=1, sha256="0") for number in range(files))
    change(store, key, lambda now: now.submit(prompt_id=f"p-{key}", server=server, at=at, fingerprint=""))
    return change(store, key, lambda now: now.complete(outputs=outputs, at=at, seconds=seconds))


def test_one_walk_answers_every_question(store: Store, walks: list[str]) -> None:
    store.add([item(key, inputs={"steps": 5}) for key in "abcd"])
    known = CompletedItems(store)
    assert not walks, "nobody asked yet"
    for key in "abc":
        known.note(completed(store, key, files=2))
        assert list(known.counts(store.get("d"))) == [2]
        assert known.servers() == ["gpu1"]
        assert [one.prompt_id for one in known.latest("gpu1", 1)] == [f"p-{key}"]
        assert known.longest_seconds(None) == 1.0
    assert len(walks) == 1


def test_items_behind_a_node_of_unknown_count_are_rescued_with_one_walk(tmp_path: Path, walks: list[str]) -> None:
    """Each of them asks how many files its kind makes, and whether the server stayed up."""
    scene = Scene(tmp_path, [*ALIKE, {"prompt_text": "a fox", "inputs": {"seed": 3}}])
    scene.run(1)
    scene.leave()
    scene.server.restart()
    walks.clear()
    assert scene.run().rescued == 2
    assert walks.count("_Made") == 1


class Plain:
    """The same by a walk over the items each time."""

    def __init__(self, store: Store) -> None:
        store.refresh()
        self.done = list(store.items(Status.COMPLETED))

    def counts(self, like: Item) -> set[int]:
        return {len(one.outputs) for one in self.done if one.inputs["steps"] == like.inputs["steps"]}

    def latest(self, server: str, until: datetime) -> list[str]:
        own = sorted((str(one.completed_at), str(one.prompt_id)) for one in self.done if one.server == server)
        return [prompt for at, prompt in reversed(own) if at <= str(until)][:3]

    def longest(self) -> float | None:
        return max((one.seconds for one in self.done if one.seconds is not None), default=None)


def check(known: CompletedItems, store: Store, until: datetime) -> None:
    plain = Plain(store)
    for number in (0, 1):
        like = item("x", inputs={"steps": number, "seed": 99})
        assert set(known.counts(like)) == plain.counts(like)
        latest = known.latest(f"gpu{number}", 3, until=until)
        assert [one.prompt_id for one in latest] == plain.latest(f"gpu{number}", until)
    assert known.longest_seconds(None) == plain.longest()
    assert set(known.servers()) == {str(one.server) for one in plain.done}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["complete", "another completes", "another starts over", "another removes", "ask"]),
        st.sampled_from("abcdef"),
        st.integers(0, 5),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_it_is_what_a_walk_would_tell(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    with State(KINDS[0], tmp_path_factory.mktemp("state")) as state:
        own, other = state.open(create=True), state.open()
        own.add([item(key, inputs={"steps": number % 2, "seed": number}) for number, key in enumerate("abcdef")])
        known = CompletedItems(own)
        for what, key, number in steps:
            store = other if what.startswith("another") else own
            store.refresh()
            status = store.get(key).status if key in store else None
            if what in ("complete", "another completes") and status is Status.PENDING:
                done = completed(
                    store, key, minute=number, files=number % 3, server=f"gpu{number % 2}", seconds=float(number)
                )
                if store is own:
                    known.note(done)
            elif what == "another starts over" and status is Status.COMPLETED:
                change(store, key, start_over)
            elif what == "another removes" and status is not None:
                remove(store, key)
            elif what == "ask":
                check(known, own, NOON + timedelta(minutes=number))
        check(known, own, NOON + timedelta(minutes=3))


def test_what_a_run_completes_is_known_to_it(tmp_path: Path) -> None:
    simulation = Scene(tmp_path, ALIKE).open()
    try:
        assert simulation.work.completed.servers() == []
        simulation.burst(2)
        (server,) = simulation.work.completed.servers()
        assert len(simulation.work.completed.latest(server, 5)) == 2
    finally:
        simulation.close()
