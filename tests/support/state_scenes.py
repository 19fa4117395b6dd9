"""Shared by the tests of the state: a state file shaped like the seed's, short edit functions, and a clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.clock import Clock
from state.change import Change
from state.item import ErrorRecord, Item, OutputRecord, Status
from state.store import Store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PENDING, SUBMITTED, COMPLETED, FAILED, CANCELLED = Status
ERROR = ErrorRecord(kind="execution_error", message="out of luck")
OUTPUT = OutputRecord(path="EP01/a.png", bytes=5, sha256="ab" * 32)


class FastClock(Clock):
    """A long time passes between any two calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        self.seconds += 1000.0
        return self.seconds


def seed(*keys: str, **records: dict[str, Any]) -> dict[str, Any]:
    """Pending records of the minimal shape, and others by name."""
    minimal = {key: {"status": "pending", "subfolder": "EP01", "filename": f"{key}.txt"} for key in keys}
    return minimal | {key: {"subfolder": "EP01", "filename": f"{key}.txt", **fields} for key, fields in records.items()}


def write_json(path: Path, records: dict[str, Any], *, indent: int | None = None) -> None:
    path.write_text(json.dumps(records, indent=indent, ensure_ascii=False), encoding="utf-8")


def edit_json(path: Path, **statuses: str | None) -> None:
    """Edit a state file by hand: set statuses (None removes the record), keep the rest."""
    records = json.loads(path.read_bytes())
    for key, status in statuses.items():
        if status is None:
            del records[key]
        else:
            records.setdefault(key, {"status": status, "subfolder": "EP01", "filename": ""})["status"] = status
    write_json(path, records, indent=2)


def item(key: str, **fields: Any) -> Item:
    return Item(key=key, status=PENDING, filename=f"{key}.txt", **fields)


def change(store: Store, key: str, edit: Callable[[Item], Item], *, sync: bool = True) -> Item:
    """Apply an edit to the current record of an item."""
    return store.apply([Change(key, store.get(key).status, edit)], sync=sync)[0]


def remove(store: Store, *keys: str) -> None:
    """Remove items, whatever their status, in one change set."""
    store.apply([Change(key, store.get(key).status, lambda item: None) for key in keys])


def settle(store: Store) -> None:
    """Settle when that is due: with a `FastClock`, long after a rewrite that took no time."""
    store.rewrite_seconds = 0.0
    store.settle()


def submit(*, prompt_id: str = "", server: str = "s") -> Callable[[Item], Item]:
    return lambda item: item.submit(prompt_id=prompt_id or f"id-{item.key}", server=server, at=NOON, fingerprint="f")


def accept(item: Item) -> Item:
    return item.accept(prompt_id=item.prompt_id or "")


def complete(item: Item) -> Item:
    return item.complete(outputs=(OUTPUT,), at=NOON, seconds=1.5)


def fail(item: Item) -> Item:
    return item.fail(error=ERROR)


def put_back(item: Item) -> Item:
    return item.put_back(charge=True)


def cancel(item: Item) -> Item:
    return item.cancel()


def start_over(item: Item) -> Item:
    return item.start_over()


def dump(store: Store) -> list[Any]:
    """All records in order, for comparison."""
    return [(item.key, msgspec.json.decode(item.to_record())) for item in store.items()]


def statuses(store: Store) -> dict[str, str]:
    return {item.key: str(item.status) for item in store.items()}


def bring(store: Store, key: str, status: Status) -> None:
    """Change a pending item until it has this status."""
    steps = {PENDING: [], SUBMITTED: [submit()], COMPLETED: [submit(), complete], FAILED: [fail], CANCELLED: [cancel]}
    for edit in steps[status]:
        change(store, key, edit)
