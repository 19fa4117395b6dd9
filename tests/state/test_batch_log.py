"""batches.jsonl: batches as they were requested, and what was noted of them since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.simulated_disk import SimulatedDisk
from support.state_scenes import NOON, item

from orchestrator.errors import StateError
from state.batch import (
    Batch,
    BatchRecord,
    EndRecord,
    GoneRecord,
    GrownRecord,
    Notify,
)
from state.json.batch_log import JsonBatchLog
from state.json.parts import JsonParts
from state.json.store import JsonStore
from state.location import Location
from state.open_store import parts_of


def record(name: str) -> BatchRecord:
    return BatchRecord(
        batch=name,
        created_at=NOON,
        total=3,
        layout="numbered",
        directory="20260101_120000",
        parameters={"seed": 7, "cfg": 7.5},
        axes={"cfg": [5.0, 7.5]},
        notify=(Notify(url="http://127.0.0.1:9/hook", secret_env="KEY"),),
    )


def end(name: str, event: str) -> EndRecord:
    return EndRecord(batch=name, event=event, at=NOON + timedelta(seconds=5), how="done", completed=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def store(path: Path) -> Iterator[JsonStore]:
    with JsonStore.open(path, create=True) as store:
        yield store


def add(store: JsonStore, *names: str) -> None:
    """Batches of one item each."""
    for name in names:
        store.add([item(f"{name}/1", batch=name)], batch=record(name))


def read(path: Path) -> dict[str, Batch]:
    """As a process that comes now: the same with the state opened and without."""
    found = parts_of(path).batches.read()
    with JsonStore.open(path, read_only=True) as store:
        assert store.batches.read() == found
        assert store.has_batches() == parts_of(path).has_batches() == bool(found)
    return found


def test_the_lines_of_a_batch_are_kept_once_and_behind_earlier_notes(store: JsonStore, path: Path) -> None:
    add(store, "a")
    store.batches.append(GoneRecord(batch="a", at=NOON))
    for _ in range(2):
        assert read(path)["a"].gone
        assert store.add([item("a/1", batch="a")], batch=record("a")) == []
        store.settle(at_end=True)
    assert store.batches.path.read_bytes().count(b"\n") == 2


def test_batches_are_followed_with_the_items_and_no_more_once_closed(store: JsonStore, path: Path) -> None:
    add(store, "a")
    with JsonStore.open(path) as other:
        add(store, "b")
        assert (list(other.batches.read()), len(other)) == (["a"], 1)
        other.refresh()
        assert (list(other.batches.read()), len(other)) == (["a", "b"], 2)
        add(store, "c")
    assert list(other.batches.read()) == ["a", "b", "c"], "a closed one follows no more"


def test_growth_of_a_batch_that_is_not_there_adds_none(store: JsonStore, path: Path) -> None:
    add(store, "a")
    store.add([item("later/1", batch="later")], batch=GrownRecord(batch="later", total=9))
    for _ in range(2):
        assert list(read(path)) == ["a"]
        store.settle(at_end=True)


def test_a_hand_over_while_batches_are_read_hides_none(tmp_path: Path) -> None:
    disk, location = SimulatedDisk(tmp_path), Location(tmp_path / "state.json")
    store = JsonStore.open(location, create=True, disk=disk)
    add(store, "a")
    looked: set[str] = set()

    def hand_over_between(kind: str, path: Path) -> None:
        looked.add(path.name)
        if looked == {"journal.jsonl", "batches.jsonl"}:
            looked.add("")
            store.settle(at_end=True)

    disk.before_look = hand_over_between
    assert list(JsonParts(location, disk=disk).batches.read()) == ["a"]
    assert "" in looked


def test_a_damaged_journal_hides_no_batch_silently(store: JsonStore, path: Path) -> None:
    add(store, "a", "b")
    journal = store.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"layout":"numbered"', b'"layout":"numbexed"', 1))
    with pytest.raises(StateError, match="damaged"):
        parts_of(path).batches.read()


def test_a_torn_line_and_one_of_an_unknown_kind_hide_no_other(store: JsonStore, path: Path) -> None:
    add(store, "a")
    store.settle(at_end=True)
    with store.batches.path.open("ab") as file:
        file.write(b'{"line":"later","batch":"a"}\n{"line":"batch","batch":"torn')
    add(store, "b")
    store.settle(at_end=True)
    assert list(read(path)) == ["a", "b"]


def test_an_append_survives_power_loss(tmp_path: Path) -> None:
    disk = SimulatedDisk(tmp_path)
    folder = tmp_path / "s.burst"
    disk.make_directory(folder)
    line = msgspec.json.encode(record("a"))
    JsonBatchLog(folder, disk=disk, in_journal=lambda: [line]).append(GoneRecord(batch="a", at=NOON))
    assert JsonBatchLog(folder, disk=disk.after_forgetting(), in_journal=lambda: [line]).read()["a"].gone
