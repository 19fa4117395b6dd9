"""Several threads on one store whose files are read again meanwhile."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.state_scenes import (
    SUBMITTED,
    FastClock,
    change,
    dump,
    seed,
    settle,
    submit,
    write_json,
)
from support.store_threads import StoreThreads
from support.writer_processes import Worker

from state.item import Status
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


class ThreadsOnATouchedFile(StoreThreads):
    """Beside somebody who touches the state file now and then, so that it is read again.

    Not each time: another process must find it unchanged for as long as a reading takes.
    """

    def coordinate(self) -> None:
        super().coordinate()
        if self.rounds % 8 == 0:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.store.location.path)


def test_six_threads_and_another_process_lose_nothing(path: Path) -> None:
    store = JsonStore.open(path, clock=FastClock())
    threads = ThreadsOnATouchedFile(store)
    with Worker("churn", path, name="other", count=60) as other:
        threads.run(workers=3, rounds=50)
        other.end()
    threads.follow()
    acknowledged = [*threads.acknowledged, *other.acknowledged]
    marks = [(found.key, mark) for found in store.items() for mark in found.inputs.get("marks", [])]
    assert sorted(marks) == sorted(acknowledged)
    assert threads.news >= {key for key, _ in other.acknowledged}
    assert other.acknowledged
    assert store.hand_edits == []
    assert dump(store) == dump(JsonStore.open(path))
    store.settle(at_end=True)
    assert dump(store) == dump(JsonStore.open(path))


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
