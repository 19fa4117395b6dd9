"""A state with a batch whose items end as the test decides, and the completion checks that a run makes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.cycle.aftermath import Aftermath
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from state.batch import Batch, BatchRecord
from state.burst_record import BurstRecord
from state.change import Change
from state.item import ErrorRecord, Item, OutputRecord, Status
from state.open_store import open_store

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class SetClock(Clock):
    """The wall clock is fixed; waiting is real."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


class Scene:
    """A state; `name` is the batch that it starts with."""

    def __init__(self, home: Path, *, count: int = 2, clock: Clock | None = None, **said: Any) -> None:
        self.output = home / "output"
        self.clock = clock or SetClock()
        self.store = open_store(home / "state.json", create=True, clock=self.clock)
        self.log = self.store.batches
        self.placement = Placement(Recipes(self.store.recipes, home), self.output)
        self.notes: list[str] = []
        self.name = "b1"
        self.add(self.name, count=count, **said)

    def add(self, name: str, *, count: int = 1, **said: Any) -> None:
        directory = f"batch_{name}"
        record = {"created_at": NOON, "layout": "batch", "directory": directory, "parameters": {"cfg": 7.5}}
        items = [
            Item(
                key=f"{name}/{index:03d}",
                status=Status.PENDING,
                batch=name,
                index=index,
                prompt_text="a fox",
                inputs={"seed": 40 + index},
            )
            for index in range(1, count + 1)
        ]
        self.store.add(items, batch=BatchRecord(batch=name, total=count, **{**record, **said}))

    def end(self, number: int, status: Status = Status.COMPLETED, *, name: str = "b1") -> None:
        """End one item with this status; only completed items were submitted before."""
        self._end(f"{name}/{number:03d}", status)

    def _end(self, key: str, status: Status) -> None:
        output = OutputRecord(path=f"{key}.png", bytes=5, sha256="ab" * 32)
        error = ErrorRecord(kind="k", message="out of luck")
        if status is Status.COMPLETED:
            at = self.clock.now()
            self._change(key, lambda now: now.submit(prompt_id=str(uuid.uuid4()), server="s", at=at, fingerprint="f"))
            self._change(key, lambda now: now.complete(outputs=(output,), at=at, seconds=3.0))
        elif status is Status.FAILED:
            self._change(key, lambda now: now.fail(error=error))
        else:
            self._change(key, lambda now: now.cancel())

    def begin_again(self, number: int) -> None:
        self._change(f"{self.name}/{number:03d}", lambda now: now.start_over())

    def _change(self, key: str, edit: Callable[[Item], Item]) -> None:
        self.store.apply([Change(key, self.store.get(key).status, edit)])

    def end_all(self, status: Status = Status.COMPLETED) -> None:
        for item in self.store.items(Status.PENDING):
            self._end(item.key, status)

    @contextmanager
    def run(self, *, records: Sequence[BurstRecord] = (), disk: str | None = None) -> Iterator[Aftermath]:
        """What a run does beside its items: at its start, where the test says so, and at its end.

        `records`: of bursts, this run's own last one at the end. `disk`: why nothing more can be written.
        """
        aftermath = Aftermath(self.store, self.placement, clock=self.clock, note=self.notes.append)
        aftermath.look(records[:-1])
        yield aftermath
        aftermath.look(records, again=True)
        aftermath.end(records, disk=disk)
        aftermath.finish()

    def run_once(self) -> None:
        with self.run():
            pass

    def batch(self, name: str = "b1") -> Batch:
        return self.log.read()[name]
