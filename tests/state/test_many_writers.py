"""Several processes write one state at once, and some of them are killed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from filelock import FileLock
from support.state_scenes import dump, item, seed, write_json
from support.writer_processes import Worker

from state.json.store import JsonStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    write_json(path, seed(*(f"k{number}" for number in range(30))))
    return path


def check(path: Path, workers: list[Worker]) -> None:
    """Every acknowledged change is there once, and the JSON says what the journal said."""
    store = JsonStore.open(path)
    marks = [(found.key, mark) for found in store.items() for mark in found.inputs.get("marks", [])]
    assert len(set(marks)) == len(marks)
    acknowledged = {pair for worker in workers for pair in worker.acknowledged}
    assert acknowledged
    assert acknowledged <= set(marks)
    assert sum(store.counts().values()) == len(store)
    before = dump(store)
    store.settle(at_end=True)
    assert list(json.loads(path.read_bytes()).items()) == before
    assert store.hand_edits == []
    assert dump(JsonStore.open(path)) == before


def test_a_killed_writer_loses_nothing_and_frees_the_lock(path: Path) -> None:
    workers: list[Worker] = []
    with Worker("burst", path, name="burst", count=400) as steady:
        for number in range(10):
            worker = Worker(random.choice(["add", "churn"]), path, name=f"w{number}", count=10_000)
            workers.append(worker)
            worker.wait_for(random.randrange(1, 20))
            worker.kill()
            store = JsonStore.open(path)
            store.add([item(f"after{number}")])
            store.close()
    with FileLock(path.with_suffix(".burst") / "write.lock", timeout=0):
        pass
    assert all(f"after{number}" in JsonStore.open(path) for number in range(10))
    lines = [json.loads(line) for line in (path.with_suffix(".burst") / "journal.jsonl").read_bytes().splitlines()]
    first = lines[0]["seq"]
    assert [line["seq"] for line in lines] == list(range(first, first + len(lines)))
    assert lines[-1]["seq"] >= sum(len(worker.acknowledged) for worker in [*workers, steady])
    check(path, [*workers, steady])
