"""Status: read without a lock, beside whoever writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from orchestrator.clock import Clock
from orchestrator.status import read_status, watch_status
from state.item import Item, Status
from state.json_store import JsonStore
from state.run_lock import RunLock
from state.store import Change

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class StepClock(Clock):
    """Waiting takes no time and lets the next step happen."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self._steps = steps

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._steps.pop(0)()
        return False


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "re_render_state.json"
    store = JsonStore.open(path, create=True)
    store.add([Item(key=key, status=Status.PENDING) for key in "abc"])
    store.close()
    return path


def end(store: JsonStore, key: str) -> None:
    store.apply([Change(key, Status.PENDING, lambda item: item.cancel())])


def test_watching_says_each_change_and_ends_when_nothing_is_left(state: Path) -> None:
    writer = JsonStore.open(state)
    steps = [partial(end, writer, key) for key in "abc"]
    left = [report.remaining for report in watch_status(state, clock=StepClock([lambda: None, *steps]))]
    writer.close()
    assert left == [3, 2, 1, 0]


def test_status_sees_what_is_only_in_the_journal(state: Path) -> None:
    before = state.read_bytes()
    writer = JsonStore.open(state)
    end(writer, "a")
    assert state.read_bytes() == before
    assert read_status(state).counts[Status.CANCELLED] == 1
    writer.close()


def test_status_takes_no_lock_and_says_who_works(state: Path) -> None:
    lock = RunLock(state.with_suffix(".burst"))
    lock.acquire()
    lock.hold(burst="b1", started_at=MOMENT, size=15)
    try:
        report = read_status(state)
        assert report.holder is not None
        assert "b1" in report.as_text()
        assert report.as_json()["running"] == report.holder.describe()
    finally:
        lock.release()
    assert read_status(state).holder is None


def test_check_code_says_whether_work_remains(state: Path) -> None:
    assert read_status(state).check_code == 1
    store = JsonStore.open(state)
    for key in "abc":
        end(store, key)
    store.close()
    assert read_status(state).check_code == 0
