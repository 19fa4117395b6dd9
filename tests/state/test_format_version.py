"""A state of format version 1 is read as it is, refused by every write, and brought to version 2 in one hand-over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import (
    PENDING,
    FastClock,
    accept,
    change,
    complete,
    dump,
    fail,
    item,
    seed,
    settle,
    submit,
)

from orchestrator.errors import DiskFull, StateVersionError
from state.change import Change
from state.item import Item
from state.json.journal_lines import _framed
from state.json.store import JsonStore

NAME = "state.json"
JOURNAL = "state.burst/journal.jsonl"


def open_store(disk: SimulatedDisk, *, read_only: bool = False) -> JsonStore:
    return JsonStore.open(disk.root / NAME, disk=disk, clock=FastClock(), read_only=read_only)


def as_version_1(disk: SimulatedDisk) -> SimulatedDisk:
    """What the same work would have left when it was done by a burst of version 1."""
    header, *lines = disk.files()[JOURNAL].splitlines(keepends=True)
    assert b'"version":2,' in header
    body = header[header.index(b'"version"') : -1].replace(b'"version":2,', b'"version":1,')
    disk.put_by_hand(disk.root / JOURNAL, _framed(body) + b"".join(lines))
    return disk


def worked_on(root: Path) -> SimulatedDisk:
    """Records in the file and in the journal, in every status."""
    disk = SimulatedDisk(root)
    disk.put_by_hand(root / NAME, json.dumps(seed("a", "b", "c", d={"status": "pending", "mine": [1]})).encode())
    store = open_store(disk)
    change(store, "a", submit())
    change(store, "a", complete)
    settle(store)
    store.add([item("e"), item("f")])
    for key in ("b", "c", "e"):
        change(store, key, submit())
    change(store, "b", fail)
    change(store, "e", accept)
    return as_version_1(disk)


def edit(found: Item) -> Item:
    """Safe to repeat, as a migration's edit has to be."""
    return found if found.template is not None else msgspec.structs.replace(found, template=f"of {found.status}")


def edited(before: list[Any]) -> list[Any]:
    return [(key, record | {"template": f"of {record['status']}"}) for key, record in before]


def version_in(disk: SimulatedDisk) -> int:
    return int(json.loads(disk.files()[JOURNAL].splitlines()[0])["version"])


def test_version_1_is_read_and_not_changed_by_reading(tmp_path: Path) -> None:
    disk = worked_on(tmp_path)
    before = disk.files()
    store = open_store(disk, read_only=True)
    assert store.format_version == 1
    assert [item.key for item in store.due(9)] == ["d", "f"]
    store.refresh()
    store.settle(at_end=True)
    open_store(disk).refresh()
    assert disk.files() == before


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.add([item("z")]),
        lambda store: store.apply([Change("d", PENDING, submit())]),
        settle,
        lambda store: store.settle(at_end=True),
    ],
    ids=["add", "apply", "settle", "settle at the end"],
)
def test_nothing_is_written_to_version_1(tmp_path: Path, write: Callable[[JsonStore], object]) -> None:
    disk = worked_on(tmp_path)
    before = disk.files()
    with pytest.raises(StateVersionError, match="written in format version 1, which can be read but not written"):
        write(open_store(disk))
    assert disk.files() == before


def test_a_half_done_hand_over_of_version_1_is_not_ended_as_one_of_version_2(tmp_path: Path) -> None:
    """Its items would never be migrated then."""
    disk = worked_on(tmp_path)
    records = dict(dump(open_store(disk)))
    data = (json.dumps(records, indent=1) + "\n").encode()
    journal = disk.files()[JOURNAL]
    seq = json.loads(journal.splitlines()[-1])["seq"] + 1
    marker = _framed(b'"seq":%d,"snapshot":"%s"}' % (seq, hashlib.sha256(data).hexdigest().encode()))
    disk.put_by_hand(disk.root / JOURNAL, journal + marker)
    disk.put_by_hand(disk.root / NAME, data)
    with pytest.raises(StateVersionError):
        open_store(disk).settle(at_end=True)
    store = open_store(disk)
    store.migrate(edit)
    assert dump(open_store(disk)) == edited(list(records.items()))


def test_a_migration_changes_every_item_and_the_version(tmp_path: Path) -> None:
    disk = worked_on(tmp_path)
    watcher, store = open_store(disk, read_only=True), open_store(disk)
    expected = edited(dump(store))
    store.migrate(edit)
    assert (store.format_version, version_in(disk)) == (2, 2)
    assert dump(store) == expected == dump(open_store(disk))
    assert list(json.loads(disk.files()[NAME]).items()) == expected
    watcher.refresh()
    assert dump(watcher) == expected
    change(store, "d", submit())
    watcher.refresh()
    assert watcher.get("d").prompt_id == "id-d"
    assert dump(JsonStore.open(disk.root / NAME, disk=disk.after_forgetting())) == dump(store)


def test_a_file_without_a_journal_is_migrated_too(tmp_path: Path) -> None:
    """Only its settings tell that it is of version 1."""
    disk = SimulatedDisk(tmp_path)
    disk.put_by_hand(tmp_path / NAME, json.dumps(seed("a")).encode())
    store = open_store(disk)
    assert store.format_version is None
    expected = edited(dump(store))
    store.migrate(edit)
    assert (version_in(disk), dump(open_store(disk))) == (2, expected)


def test_an_edit_by_hand_in_the_middle_of_it_is_taken_in(tmp_path: Path) -> None:
    disk = worked_on(tmp_path)
    store = open_store(disk)

    def edit_once(kind: str, place: Path) -> None:
        if (kind, place.name) == ("sync", NAME + ".tmp"):
            disk.before = lambda kind, place: None
            records = json.loads(disk.files()[NAME])
            disk.put_by_hand(disk.root / NAME, json.dumps(records | seed("by hand")).encode())

    disk.before = edit_once
    store.migrate(edit)
    assert {item.template for item in store.items()} == {f"of {item.status}" for item in store.items()}
    assert store.get("by hand").template == "of pending"
    assert dump(open_store(disk)) == dump(store)


def test_it_is_broken_off_before_each_operation_and_repeated(tmp_path: Path) -> None:
    rehearsed = worked_on(tmp_path)
    before = dump(open_store(rehearsed))
    begun = len(rehearsed.log)
    open_store(rehearsed).migrate(edit)
    operations = rehearsed.log[begun:]
    assert {operation.kind for operation in operations} >= {"write", "sync", "rename", "sync_directory", "create"}
    disks = 0
    for at in range(len(operations)):
        disk = worked_on(tmp_path)
        disk.crash_at = len(disk.log) + at
        with pytest.raises(Crash):
            open_store(disk).migrate(edit)
        for found in (disk.after_sigkill(), *disk.after_power_loss()):
            disks += 1
            reading = dump(open_store(found, read_only=True))
            assert reading in (before, edited(before)), f"before {operations[at]}"
            assert version_in(found) == 1 or reading == edited(before)
            store = open_store(found)
            store.migrate(edit)
            assert dump(store) == edited(before)
            assert dump(JsonStore.open(found.root / NAME, disk=found.after_forgetting())) == edited(before)
            assert version_in(found.after_forgetting()) == 2
    assert disks > 2 * len(operations)


def test_a_full_disk_leaves_what_was_there_and_it_is_repeated(tmp_path: Path) -> None:
    refused = 0
    for operation in range(12):
        disk = worked_on(tmp_path)
        before = dump(open_store(disk))
        disk.full_at = len(disk.log) + operation
        store = open_store(disk)
        try:
            store.migrate(edit)
        except DiskFull:
            refused += 1
            assert dump(open_store(disk)) in (before, edited(before))
            disk.full_at = None
            store.migrate(edit)
        assert dump(open_store(disk)) == edited(before) == dump(store)
        assert version_in(disk) == 2
    assert refused > 5
