"""Processes that change the same state concurrently. As a program: `python writer_processes.py TASK STATE NAME COUNT`.

Each change writes a unique mark into the item, and each acknowledged change is printed as `item mark`, so that a test
can check afterwards that none was lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Worker:
    """One such process, and its output so far."""

    def __init__(self, task: str, address: Path | str, *, name: str = "w", count: int = 50) -> None:
        from support import fork_server

        self.acknowledged: list[tuple[str, str]] = []
        reading, writing = os.pipe()
        self._out = open(reading, "rb")  # noqa: SIM115
        self._process = fork_server.start(
            [sys.executable, str(HERE / "writer_processes.py"), task, str(address), name, str(count)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=writing,
            stderr=2,
        )
        os.close(writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        assert self.end() == 0 or error is not None

    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, count: int) -> None:
        """Wait until it has acknowledged this many changes or ended."""
        while len(self.acknowledged) < count and (line := self._out.readline()):
            self._note(line)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        code = self.end()
        assert code == -signal.SIGKILL, code

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        if not self._out.closed:
            for line in self._out:
                self._note(line)
            self._out.close()
        return self._process.wait()

    def close(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()
        self.end()

    def _note(self, line: bytes) -> None:
        if line.endswith(b"\n"):
            key, mark = line.decode().split()
            self.acknowledged.append((key, mark))


def _work(task: str, address: str, name: str, count: int) -> None:
    from state.open_store import open_store

    marks = (f"{name}.{number}" for number in itertools.count())
    tasks = {
        "add": _add,
        "append": _append,
        "burst": _burst,
        "cancel": _cancel,
        "churn": _churn,
        "lease": _lease,
        "record": _record,
        "pairs": _pairs,
        "retry": _retry,
        "take": _take,
    }
    with open_store(address) as store:
        tasks[task](store, marks, count)


def marked(item, mark: str):  # type: ignore[no-untyped-def]
    """The item with one more mark."""
    return msgspec.structs.replace(item, inputs={"marks": [*item.inputs.get("marks", []), mark]})


def _say(key: str, mark: str) -> None:
    print(key, mark, flush=True)


def taken(store, marks: Iterator[str]) -> Iterator[tuple[str, str]]:  # type: ignore[no-untyped-def]
    """Submit one due item after the other until none is due: the item and the mark of each change that was made."""
    from orchestrator.errors import StaleChange
    from state.change import Change
    from support.state_scenes import PENDING, submit

    while due := store.due(1):
        mark = next(marks)
        with contextlib.suppress(StaleChange):
            store.apply([Change(due[0].key, PENDING, lambda now, mark=mark: marked(submit()(now), mark))])
            yield due[0].key, mark


def _lease(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    """Work on the state: submit so many items, then wait to be killed."""
    from state.change import change_all
    from support.leases import begin
    from support.state_scenes import submit

    with store.lease() as lease:
        begin(lease, "killed")
        for done in change_all(lease, lease.claim(count), submit()):
            _say(done.key, next(marks))
        signal.pause()


def _record(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    """Work on the state, record the burst, then wait to be killed."""
    from state.burst_record import BurstRecord
    from support.leases import begin
    from support.state_scenes import NOON

    with store.lease() as lease:
        begin(lease, "killed", NOON)
        lease.end_burst(BurstRecord(burst="killed", started_at=NOON, ended_at=NOON, ended="done", size=count))
        _say("killed", next(marks))
        signal.pause()


def _take(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    for key, mark in itertools.islice(taken(store, marks), count):
        _say(key, mark)


def _change_one(store, marks: Iterator[str], statuses, edit: Callable) -> None:  # type: ignore[no-untyped-def, type-arg]
    """Change one item with this status, whichever it is at that time."""
    from orchestrator.errors import StaleChange
    from state.change import Change

    store.refresh()
    found = list(store.items(*statuses))
    if not found:
        return
    item = random.choice(found)
    mark = next(marks)
    with contextlib.suppress(StaleChange):
        store.apply([Change(item.key, item.status, lambda now: marked(edit(now), mark))])
        _say(item.key, mark)


def _add(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    from support.state_scenes import item

    for mark in itertools.islice(marks, count):
        store.add([marked(item(mark), mark)])
        _say(mark, mark)


def _append(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    """To everything but the items: a recipe that every such process adds, and others of its own."""
    from state.batch import JoinedRecord
    from state.facts import ServerHealth
    from state.recipe import Recipe, workflow_bytes, workflow_digest
    from support.state_scenes import NOON

    for number, mark in enumerate(itertools.islice(marks, count)):
        store.facts.append(ServerHealth(server=mark, health="well", at=NOON))
        store.batches.append(JoinedRecord(batch="a", call=mark, at=NOON))
        graph = {"1": {"class_type": "EmptyImage", "inputs": {"seed": number}}}
        for output in (f"shared{number}", mark):
            store.recipes.add(Recipe(workflow=workflow_digest(workflow_bytes(graph)), output=output), graph)
        _say("a", mark)


def _cancel(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    from support.state_scenes import PENDING, cancel

    for _ in range(count):
        _change_one(store, marks, [PENDING], cancel)


def _retry(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    from support.state_scenes import CANCELLED, COMPLETED, FAILED, start_over

    for _ in range(count):
        _change_one(store, marks, [CANCELLED, COMPLETED, FAILED], start_over)


def _burst(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    from support.state_scenes import PENDING, SUBMITTED, complete, submit

    for _ in range(count):
        _change_one(store, marks, [PENDING], submit())
        _change_one(store, marks, [SUBMITTED], complete)
        store.settle(at_end=True)


def _churn(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    from support.state_scenes import CANCELLED, COMPLETED, PENDING, cancel, start_over

    for _ in range(count):
        _change_one(store, marks, [PENDING], cancel)
        _change_one(store, marks, [CANCELLED, COMPLETED], start_over)
        store.settle(at_end=True)


def _pairs(store, marks: Iterator[str], count: int) -> None:  # type: ignore[no-untyped-def]
    from state.change import Change
    from support.state_scenes import PENDING, SUBMITTED, complete, submit

    while due := store.due(2):
        store.apply([Change(item.key, PENDING, submit()) for item in due])
        store.apply([Change(item.key, SUBMITTED, complete) for item in due])
        store.settle(at_end=True)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    _work(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
