"""Batches: added with their items or not at all, and what is noted about them by anybody."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import timedelta
from functools import partial

import msgspec
import pytest
from support.state_scenes import NOON, change, dump, item, put_back, submit
from support.stores import State

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
    ThenRecord,
)
from state.item import Item, Status
from state.store import Store


def record(name: str) -> BatchRecord:
    return BatchRecord(
        batch=name,
        created_at=NOON,
        total=3,
        layout="numbered",
        directory="20260101_120000",
        parameters={"seed": 2**63, "cfg": 7.5},
        axes={"cfg": [5.0, 7.5]},
        notify=(Notify(url="http://127.0.0.1:9/hook", secret_env="KEY"),),
    )


def end(name: str, event: str) -> EndRecord:
    return EndRecord(batch=name, event=event, at=NOON + timedelta(seconds=5), how="done", completed=3)


def add(store: Store, *names: str) -> None:
    """Batches of one item each."""
    for name in names:
        store.add([item(f"{name}/1", batch=name)], batch=record(name))


def read(state: State) -> dict[str, Batch]:
    """As a process that comes now: the same with the state opened and without."""
    parts, opened = state.parts(), state.open(read_only=True)
    found = parts.batches.read()
    assert opened.batches.read() == found
    assert opened.has_batches() == parts.has_batches() == bool(found)
    return found


def test_batches_are_read_with_what_was_noted_about_them(state: State, store: Store) -> None:
    assert read(state) == {}
    add(store, "a", "b")
    told = NotificationRecord(event="e1", url="http://127.0.0.1:9/hook", at=NOON, problem="refused")
    store.batches.append(end("a", "e1"))
    state.parts().batches.append(told, GoneRecord(batch="b", at=NOON))
    for _ in range(2):
        found = read(state)
        assert list(found) == ["a", "b"]
        assert found["a"].record == record("a")
        assert found["a"].ends == [end("a", "e1")]
        assert found["a"].notifications == [told]
        assert (found["a"].gone, found["b"].gone) == (False, True)
        store.settle(at_end=True)


def test_each_end_has_the_command_that_the_batch_had_then(state: State, store: Store) -> None:
    add(store, "a")
    store.batches.append(end("a", "e1"))
    for event, name in (("e2", "train"), ("e3", "upload")):
        store.batches.append(ThenRecord(batch="a", name=name))
        store.batches.append(end("a", event))
    store.batches.append(ThenRecord(batch="a", name="later"), end("a", "e3"))
    found = read(state)["a"]
    assert found.commands == {"e2": "train", "e3": "upload"}
    assert found.record == msgspec.structs.replace(record("a"), then="later")


def test_a_batch_is_added_with_its_items_or_not_at_all(state: State, store: Store) -> None:
    with pytest.raises(ValueError, match="items of batch x, not of a"):
        store.add([item("a/1", batch="a"), item("x/1", batch="x")], batch=record("a"))
    with pytest.raises(ValueError, match="not of a"):
        store.add([item("a/1", batch="a"), item("nobody's")], batch=record("a"))
    with pytest.raises(ValueError, match="is not a transition"):
        store.add([item("a/1", batch="a"), Item(key="a/2", status=Status.FAILED, batch="a")], batch=record("a"))
    assert store.add([], batch=record("a")) == []
    assert (read(state), dump(store), dump(state.open(read_only=True))) == ({}, [], [])
    add(store, "a")
    assert list(read(state)) == ["a"]


def test_a_request_that_is_repeated_adds_nothing(state: State, store: Store) -> None:
    add(store, "a")
    stamp = store.batches.stamp()
    assert store.add([item("a/1", batch="a")], batch=msgspec.structs.replace(record("a"), name="again")) == []
    assert store.batches.stamp() == stamp
    assert read(state)["a"].record == record("a")


def test_an_item_that_another_batch_has_is_left_to_it(state: State, store: Store) -> None:
    store.add([item("1", batch="a")], batch=record("a"))
    added = store.add([item("1", batch="b"), item("2", batch="b")], batch=record("b"))
    assert [found.key for found in added] == ["2"]
    assert (store.get("1").batch, store.get("2").batch) == ("a", "b")
    assert list(read(state)) == ["a", "b"]


def test_the_first_record_of_a_batch_stands(state: State, store: Store) -> None:
    add(store, "a")
    again = msgspec.structs.replace(record("a"), directory="another")
    assert store.add([item("a/2", batch="a")], batch=again) != []
    assert read(state)["a"].record == record("a")
    store.settle(at_end=True)
    assert read(state)["a"].record == record("a")


def test_a_batch_grows_with_its_items_and_never_shrinks(state: State, store: Store) -> None:
    add(store, "a", "b")
    store.add([item("a/2", batch="a")], batch=GrownRecord(batch="a", total=7))
    store.add([item("a/3", batch="a")], batch=GrownRecord(batch="a", total=5))
    store.add([item("a/3", batch="a")], batch=GrownRecord(batch="a", total=99))
    for _ in range(2):
        found = read(state)
        assert list(found) == ["a", "b"]
        assert [batch.record.total for batch in found.values()] == [7, 3]
        assert found["a"].record == msgspec.structs.replace(record("a"), total=7)
        store.settle(at_end=True)
    assert store.counts(batch="a").total == 3


def test_calls_wait_for_their_answer_until_it_was_delivered_to_them_or_to_a_later_one(store: Store) -> None:
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


def test_what_another_process_added_is_seen_with_its_items(store: Store, other: Store) -> None:
    add(store, "a")
    other.refresh()
    assert (list(other.batches.read()), len(other)) == (["a"], 1)
    add(store, "b")
    assert ("b" in other.batches.read()) == ("b/1" in other), "a batch without its items would seem to have ended"
    store.settle(at_end=True)
    other.refresh()
    assert (list(other.batches.read()), len(other)) == (["a", "b"], 2)
    add(other, "c")
    store.batches.append(end("c", "e1"))
    store.refresh()
    assert list(store.batches.read()) == ["a", "b", "c"]
    assert store.batches.read()["c"].ends == other.batches.read()["c"].ends == [end("c", "e1")]


def test_the_stamp_changes_with_each_batch_and_each_note_alone(state: State, store: Store) -> None:
    parts = state.parts()

    def stamps() -> tuple[Hashable, Hashable]:
        return store.batches.stamp(), parts.batches.stamp()

    seen = [stamps()]
    assert seen == [(None, None)]
    for step in (
        partial(add, store, "a"),
        partial(add, store, "b"),
        partial(store.batches.append, end("a", "e1")),
        partial(store.settle, at_end=True),
        partial(parts.batches.append, end("a", "e2")),
    ):
        step()
        if step.func != store.settle:
            seen.append(stamps())
        assert len({ours for ours, _ in seen}) == len({theirs for _, theirs in seen}) == len(seen)
        before = stamps()
        change(store, "a/1", put_back if store.get("a/1").prompt_id else submit())
        assert stamps() == before, "a checkpoint of an item is none of a batch"
