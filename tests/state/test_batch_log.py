"""batches.jsonl: batches as they were requested, and what was noted of them since."""

from __future__ import annotations

import multiprocessing
from collections.abc import Hashable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from support.simulated_disk import SimulatedDisk
from support.state_scenes import NOON, change, dump, item, put_back, submit

from orchestrator.errors import StateError
from state.batch import (
    Batch,
    BatchRecord,
    DeliveredRecord,
    EndRecord,
    GoneRecord,
    GrownRecord,
    JoinedRecord,
    NotificationRecord,
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


def test_batches_come_back_with_what_was_noted_of_them(store: JsonStore, path: Path) -> None:
    assert read(path) == {}
    add(store, "a", "b")
    told = NotificationRecord(event="e1", url="http://127.0.0.1:9/hook", at=NOON, problem="refused")
    store.batches.append(end("a", "e1"))
    store.batches.append(told, GoneRecord(batch="b", at=NOON))
    for _ in range(2):
        found = read(path)
        assert list(found) == ["a", "b"]
        assert found["a"].record == record("a")
        assert found["a"].ends == [end("a", "e1")]
        assert found["a"].notifications == [told]
        assert (found["a"].gone, found["b"].gone) == (False, True)
        store.settle(at_end=True)  # the lines of the batches stand behind their notes after that


def test_a_batch_comes_with_its_items_or_not_at_all(store: JsonStore, path: Path) -> None:
    with pytest.raises(ValueError, match="items of batch x, not of a"):
        store.add([item("a/1", batch="a"), item("x/1", batch="x")], batch=record("a"))
    assert store.add([], batch=record("a")) == []
    assert (read(path), dump(store)) == ({}, [])
    add(store, "a", "a")
    assert list(read(path)) == ["a"]
    store.settle(at_end=True)
    assert store.add([item("a/1", batch="a")], batch=record("a")) == []
    store.settle(at_end=True)
    assert store.batches.path.read_bytes().count(b"\n") == 1


def test_the_stamp_changes_with_each_batch_and_each_note_alone(store: JsonStore, path: Path) -> None:
    parts = parts_of(path)

    def stamps() -> tuple[Hashable, Hashable]:
        return store.batches.stamp(), parts.batches.stamp()

    seen = [stamps()]
    assert seen == [(None, None)]
    for step in (
        partial(add, store, "a"),
        partial(add, store, "b"),
        partial(store.batches.append, end("a", "e1")),
        partial(store.settle, at_end=True),
        partial(store.batches.append, end("a", "e2")),
    ):
        step()
        seen.append(stamps())
        assert len({ours for ours, _ in seen}) == len({theirs for _, theirs in seen}) == len(seen)
        change(store, "a/1", put_back if store.get("a/1").prompt_id else submit())
        assert stamps() == seen[-1], "a checkpoint of an item is none of a batch"


def test_what_another_process_added_is_seen_with_its_items(store: JsonStore, path: Path) -> None:
    add(store, "a")
    with JsonStore.open(path) as other:
        add(store, "b")
        assert (list(other.batches.read()), len(other)) == (["a"], 1)
        other.refresh()
        assert (list(other.batches.read()), len(other)) == (["a", "b"], 2)
        store.settle(at_end=True)
        assert list(other.batches.read()) == ["a", "b"]
        other.refresh()
        add(store, "c")
    assert list(other.batches.read()) == ["a", "b", "c"], "a closed one follows no more"


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


def test_calls_wait_for_their_answer_until_it_was_delivered_to_them_or_to_a_later_one(store: JsonStore) -> None:
    add(store, "a", "b")
    log = store.batches
    assert log.read()["a"].unanswered == [""]
    log.append(*(JoinedRecord(batch="a", call=call, at=NOON) for call in "xyz"))
    log.append(DeliveredRecord(batch="a", call="x", at=NOON))
    assert log.read()["a"].unanswered == ["y", "z"], "who called before x has given up"
    log.append(DeliveredRecord(batch="a", at=NOON), DeliveredRecord(batch="a", call="nobody", at=NOON))
    assert log.read()["a"].unanswered == ["y", "z"]
    log.append(DeliveredRecord(batch="a", call="z", at=NOON))
    assert log.read()["a"].unanswered == []
    assert log.read()["b"].unanswered == [""]


def test_a_torn_line_and_one_of_an_unknown_kind_hide_no_other(store: JsonStore, path: Path) -> None:
    add(store, "a")
    store.settle(at_end=True)
    with store.batches.path.open("ab") as file:
        file.write(b'{"line":"later","batch":"a"}\n{"line":"batch","batch":"torn')
    add(store, "b")
    store.settle(at_end=True)
    assert list(read(path)) == ["a", "b"]


def test_the_first_record_of_a_batch_stands(store: JsonStore, path: Path) -> None:
    add(store, "a")
    store.settle(at_end=True)
    again = msgspec.structs.replace(record("a"), directory="another")
    store.add([item("a/2", batch="a")], batch=again)
    assert read(path)["a"].record == record("a")
    store.settle(at_end=True)
    assert read(path)["a"].record == record("a")


def test_a_batch_grows_with_its_items_and_never_shrinks(store: JsonStore, path: Path) -> None:
    add(store, "a", "b")
    store.add([item("a/2", batch="a")], batch=GrownRecord(batch="a", total=7))
    store.add([item("a/3", batch="a")], batch=GrownRecord(batch="a", total=5))
    store.add([item("later/1", batch="later")], batch=GrownRecord(batch="later", total=9))
    for _ in range(2):
        found = read(path)
        assert list(found) == ["a", "b"]
        assert [batch.record.total for batch in found.values()] == [7, 3]
        assert found["a"].record == msgspec.structs.replace(record("a"), total=7)
        store.settle(at_end=True)


def test_an_append_survives_power_loss(tmp_path: Path) -> None:
    disk = SimulatedDisk(tmp_path)
    folder = tmp_path / "s.burst"
    disk.make_directory(folder)
    line = msgspec.json.encode(record("a"))
    JsonBatchLog(folder, disk=disk, in_journal=lambda: [line]).append(GoneRecord(batch="a", at=NOON))
    assert JsonBatchLog(folder, disk=disk.after_forgetting(), in_journal=lambda: [line]).read()["a"].gone


def _append_many(folder: str, name: str) -> None:
    log = JsonBatchLog(Path(folder))
    for number in range(40):
        log.append(JoinedRecord(batch="a", call=f"{name}{number}", at=NOON))


def test_several_processes_append_at_once(store: JsonStore) -> None:
    add(store, "a")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(str(store.folder), name)) for name in "xyz"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(store.batches.read()["a"].unanswered) == 121
