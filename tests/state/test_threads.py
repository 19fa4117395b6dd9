"""Several threads on one store, as one burst with several servers has them, and other processes beside it."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.news import news
from support.state_scenes import (
    CANCELLED,
    COMPLETED,
    PENDING,
    SUBMITTED,
    FastClock,
    change,
    complete,
    dump,
    item,
    seed,
    settle,
    start_over,
    statuses,
    submit,
    write_json,
)
from support.writer_processes import Worker, _marked

from orchestrator.errors import StaleChange
from state.change import Change
from state.item import Item, Status
from state.json import reader
from state.json.store import JsonStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    write_json(path, seed(*(f"k{number}" for number in range(40))), indent=2)
    return path


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Lanes:
    """Threads on one store, with what they were told is done and what others did."""

    def __init__(self, store: JsonStore) -> None:
        self.store = store
        self.rounds = 0
        self.acknowledged: list[tuple[str, str]] = []
        self.news: set[str] = set()

    def run(self, *tasks: Callable[[], None]) -> None:
        """All tasks at once, and the coordinator beside them until they are done."""
        with ThreadPoolExecutor(len(tasks)) as threads:
            lanes = [threads.submit(task) for task in tasks]
            while not all(lane.done() for lane in lanes):
                self.coordinate()
        for lane in lanes:
            lane.result()

    def change(self, found: Item, edit: Callable[[Item], Item], mark: str) -> bool:
        try:
            self.store.apply([Change(found.key, found.status, lambda now: _marked(edit(now), mark))])
        except StaleChange:
            return False
        self.acknowledged.append((found.key, mark))
        return True

    def render(self, name: str, count: int) -> None:
        """What a server's lane does: take one that it can run, submit it, complete it."""
        for number in range(count):
            for found in self.store.due(1, accept=lambda found: hash((name, found.key)) % 2 == 0):
                if self.change(found, submit(), f"{name}.{number}.submit"):
                    self.change(self.store.get(found.key), complete, f"{name}.{number}.complete")

    def redo(self, name: str, count: int) -> None:
        for number in range(count):
            done = list(self.store.items(COMPLETED, CANCELLED))
            for found in random.sample(done, min(3, len(done))):
                self.change(found, start_over, f"{name}.{number}.{found.key}")
            self.store.add([_marked(item(f"{name}{number}"), f"{name}.{number}")])
            self.acknowledged.append((f"{name}{number}", f"{name}.{number}"))

    def look(self, count: int) -> None:
        """Nothing that a look shows is ever taken back, and no look breaks."""
        marks: dict[str, list[str]] = {}
        for _ in range(count):
            fewest = len(self.store)
            assert sum(self.store.counts().values()) >= fewest
            for found in itertools.chain(self.store.items(), self.store.due(5)):
                seen = self.store.get(found.key).inputs.get("marks", [])
                before = marks.get(found.key, [])
                assert seen[: len(before)] == before, "a checkpoint was taken back"
                marks[found.key] = seen
                assert found.key in self.store

    def coordinate(self) -> None:
        """Take in news and hand over; now and then somebody touches the file, so that it is read anew.

        Not each time: another process must find it unchanged for as long as a reading takes.
        """
        self.news.update(news(self.store))
        settle(self.store)
        self.rounds += 1
        if self.rounds % 8 == 0:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.store.path)


def test_six_threads_and_another_process_lose_nothing(path: Path) -> None:
    lanes = Lanes(JsonStore.open(path, clock=FastClock()))
    store = lanes.store
    with Worker("churn", path, name="other", count=60) as other:
        lanes.run(
            lambda: lanes.render("a", 100),
            lambda: lanes.render("b", 100),
            lambda: lanes.render("c", 100),
            lambda: lanes.redo("d", 60),
            lambda: lanes.look(40),
        )
        other.end()
    lanes.news.update(news(store))
    acknowledged = {*lanes.acknowledged, *other.acknowledged}
    assert len(lanes.acknowledged) > 200
    assert len(other.acknowledged) > 20
    marks = [(found.key, mark) for found in store.items() for mark in found.inputs.get("marks", [])]
    assert len(marks) == len(set(marks))
    assert set(marks) == acknowledged
    assert lanes.news >= {key for key, _ in other.acknowledged}
    assert store.hand_edits == []
    assert dump(store) == dump(JsonStore.open(path))
    store.settle(at_end=True)
    assert dump(store) == dump(JsonStore.open(path))


def test_lists_are_whole_while_other_threads_add(path: Path) -> None:
    store = JsonStore.open(path)
    store.add([item(f"long{number}") for number in range(2000)])

    def add(name: str) -> None:
        for number in range(150):
            store.add([item(f"{name}{number}")])

    with ThreadPoolExecutor(2) as threads:
        lanes = [threads.submit(add, name) for name in "xy"]
        while not all(lane.done() for lane in lanes):
            for _ in range(50):
                assert list(store.items(CANCELLED)) == []
            fewest = len(store)
            for listed in (list(store.items(PENDING)), store.due(9999)):
                keys = [found.key for found in listed]
                assert fewest <= len(keys) <= len(store)
                assert [key for key in keys if key.startswith("x")] == [f"x{number}" for number in range(150)][
                    : sum(key.startswith("x") for key in keys)
                ]
        for lane in lanes:
            lane.result()
    assert len(store.due(9999)) == 2340


def test_a_look_while_the_files_are_read_anew_does_not_go_back_to_the_file_without_its_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JsonStore.open(path, clock=FastClock())
    change(store, "k0", submit())
    os.utime(path)
    seen: list[Status] = []
    replay = reader.replay

    def look_first(*args, **kwargs):  # type: ignore[no-untyped-def]
        seen.append(store.get("k0").status)
        return replay(*args, **kwargs)

    monkeypatch.setattr(reader, "replay", look_first)
    settle(store)
    assert seen == [SUBMITTED]


def test_items_are_those_of_the_moment_of_the_call(path: Path) -> None:
    store = JsonStore.open(path)
    pending, all_of_them = store.items(PENDING), store.items()
    change(store, "k0", submit())
    store.add([item("new")])
    assert len(list(pending)) == 40
    assert {found.status for found in all_of_them} == {PENDING}
    assert statuses(store)["k0"] == "submitted"
