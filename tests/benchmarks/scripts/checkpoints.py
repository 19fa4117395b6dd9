"""Checkpoints in a small and in a large state, and bare appends with fsync: one of each in turn, in changing order.

    python -m tests.benchmarks.scripts.checkpoints FEW MANY CHECKPOINTS

Works in the current directory. A checkpoint is the durable write after an item, `Store.apply` of its completion; the
rewriting of the readable file is bounded by its share of the time and no part of it. Prints JSON: for each side
`seconds`, `bytes` and `syncs`, one value a checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from state.change import Change
from state.item import OutputRecord, Status
from state.open_store import open_store
from tests.benchmarks.scripts.counting.sitecustomize import counted
from tests.benchmarks.scripts.make_state import make_state

_AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class Side:
    """One contender: what is timed, and what it cost."""

    write: Callable[[], None]
    prepare: Callable[[], None] = lambda: None
    seconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    syncs: list[int] = field(default_factory=list)

    def once(self) -> None:
        self.prepare()
        before = dict(counted)
        began = time.perf_counter()
        self.write()
        self.seconds.append(time.perf_counter() - began)
        self.bytes.append(counted["bytes"] - before.get("bytes", 0))
        self.syncs.append(counted["syncs"] - before.get("syncs", 0))


def store_side(path: Path, *, count: int) -> Side:
    """Completes one item after the other, each submitted just before, outside the measured time."""
    make_state(path, count=count)
    store = open_store(path)
    keys = iter([item.key for item in store.due(count)])
    now = next(keys)

    def submit() -> None:
        nonlocal now
        now = next(keys)
        prompt_id = str(uuid.uuid4())
        server = "http://127.0.0.1:8188"
        store.apply(
            [
                Change(
                    now,
                    Status.PENDING,
                    lambda item: item.submit(prompt_id=prompt_id, server=server, at=_AT, fingerprint="0" * 64),
                )
            ]
        )
        store.apply([Change(now, Status.SUBMITTED, lambda item: item.accept(prompt_id=prompt_id))], sync=False)

    def complete() -> None:
        output = OutputRecord(path=f"EP0000/{Path(now).stem}.png", bytes=123_456, sha256="0" * 64)
        change = Change(now, Status.SUBMITTED, lambda item: item.complete(outputs=(output,), at=_AT, seconds=1.5))
        store.apply([change])

    return Side(complete, submit)


def append_side(path: Path, line: bytes) -> Side:
    """The least that a durable line can cost."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def append() -> None:
        os.write(descriptor, line)
        os.fsync(descriptor)

    return Side(append)


def main() -> None:
    few, many, checkpoints = map(int, sys.argv[1:])
    sides = {"few": store_side(Path("few.json"), count=few), "many": store_side(Path("many.json"), count=many)}
    for side in sides.values():
        side.once()
    sides["append"] = append_side(Path("append.jsonl"), b"x" * (sides["few"].bytes[0] - 1) + b"\n")
    sides["append"].once()
    order = list(sides.values())
    for number in range(checkpoints):
        for side in order[number % len(order) :] + order[: number % len(order)]:
            side.once()
    # The first of each also makes the state durable that it builds on: start-up, not checkpoint.
    print(
        json.dumps(
            {
                name: {"seconds": side.seconds[1:], "bytes": side.bytes[1:], "syncs": side.syncs[1:]}
                for name, side in sides.items()
            }
        )
    )


if __name__ == "__main__":
    main()
