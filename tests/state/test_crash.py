"""The store is broken off before each operation on the disk, and opened again on every disk that may be found then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import (
    CANCELLED,
    NOON,
    PENDING,
    FastClock,
    accept,
    cancel,
    change,
    complete,
    dump,
    fail,
    item,
    put_back,
    remove,
    seed,
    settle,
    start_over,
    statuses,
    submit,
)

from orchestrator.errors import StateError
from state.batch import Batch, BatchRecord, EndRecord, GoneRecord, GrownRecord
from state.change import Change
from state.json.parts import JsonParts
from state.json.store import JsonStore
from state.location import Location


class Reading(NamedTuple):
    """What a process that comes now finds."""

    items: list[Any]
    batches: dict[str, Batch]


class Step(NamedTuple):
    do: Callable[[Scene], object]
    durable: bool = True
    """Whether it is acknowledged as durable when it returns."""


class Scene:
    """A state on a simulated disk and the store that works on it."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.path = disk.root / "state.json"
        self.store: JsonStore | None = None

    def open(self, *, create: bool = False) -> JsonStore:
        self.store = JsonStore.open(self.path, create=create, disk=self.disk, clock=FastClock())
        return self.store

    def reading(self) -> Reading:
        batches = JsonParts(Location(self.path), disk=self.disk).batches.read()
        try:
            store = JsonStore.open(self.path, read_only=True, disk=self.disk)
        except StateError as error:
            if "there is no state here" in str(error):
                return Reading([], batches)
            raise
        assert store.batches.read() == batches, "the same with the items read and without"
        assert list(batches) == list(dict.fromkeys(item.batch for item in store.items() if item.batch))
        return Reading(dump(store), batches)

    def change(self, key: str, edit: Callable[..., Any], *, sync: bool = True) -> None:
        assert self.store is not None
        change(self.store, key, edit, sync=sync)

    def intents(self, *keys: str) -> None:
        assert self.store is not None
        self.store.apply([Change(key, PENDING, submit()) for key in keys])

    def add(self, *keys: str) -> None:
        assert self.store is not None
        self.store.add([item(key) for key in keys])

    def add_batch(self, name: str, *numbers: int) -> None:
        assert self.store is not None
        record = BatchRecord(batch=name, created_at=NOON, total=len(numbers), layout="numbered", directory=name)
        self.store.add([item(f"{name}/{number}", batch=name) for number in numbers], batch=record)

    def grow(self, name: str, number: int) -> None:
        assert self.store is not None
        self.store.add([item(f"{name}/{number}", batch=name)], batch=GrownRecord(batch=name, total=number))

    def end(self, name: str) -> None:
        assert self.store is not None
        self.store.batches.append(EndRecord(batch=name, event=name, at=NOON, how="done"))

    def settle(self, *, at_end: bool = False) -> None:
        assert self.store is not None
        self.store.rewrite_seconds = 0.0
        self.store.settle(at_end=at_end)

    def edit(self, **changes: str) -> None:
        """Edit the JSON as a person does while the store is open."""
        records = json.loads(self.disk.read(self.path))
        for key, status in changes.items():
            records[key]["status"] = status
        self.disk.put_by_hand(self.path, json.dumps(records, indent=2).encode())

    def remove(self, *keys: str) -> None:
        assert self.store is not None
        remove(self.store, *keys)


SCRIPT = [
    Step(lambda scene: scene.open()),
    Step(lambda scene: scene.add("e", "f")),
    Step(lambda scene: scene.intents("a", "b", "c")),
    Step(lambda scene: scene.change("a", accept, sync=False), durable=False),
    Step(lambda scene: scene.change("b", accept, sync=False), durable=False),
    Step(lambda scene: scene.change("a", complete)),
    Step(lambda scene: scene.settle()),
    Step(lambda scene: scene.change("b", fail)),
    Step(lambda scene: scene.change("c", put_back)),
    Step(lambda scene: scene.remove("a", "f")),
    Step(lambda scene: scene.settle(at_end=True)),
    Step(lambda scene: scene.change("b", start_over)),
    Step(lambda scene: scene.remove("d")),
    Step(lambda scene: scene.add("a", "d", "f")),
    Step(lambda scene: scene.intents("e", "f")),
    Step(lambda scene: scene.edit(c="cancelled", d="cancelled", e="cancelled")),
    Step(lambda scene: scene.change("f", complete)),
    Step(lambda scene: scene.settle()),
    Step(lambda scene: scene.change("d", start_over)),
    Step(lambda scene: scene.open()),
    Step(lambda scene: scene.change("e", accept)),
    Step(lambda scene: scene.edit(d="failed")),
    Step(lambda scene: scene.open()),
    Step(lambda scene: scene.intents("b")),
    Step(lambda scene: scene.settle(at_end=True)),
]

BATCHES = [
    Step(lambda scene: scene.open()),
    Step(lambda scene: scene.add_batch("one", 1, 2)),
    Step(lambda scene: scene.end("one")),
    Step(lambda scene: scene.settle(at_end=True)),
    Step(lambda scene: scene.add_batch("two", 1)),
    Step(lambda scene: scene.intents("a", "one/1")),
    Step(lambda scene: scene.grow("one", 3)),
    Step(lambda scene: scene.settle()),
    Step(lambda scene: scene.add_batch("three", 1)),
    Step(lambda scene: scene.edit(d="cancelled")),
    Step(lambda scene: scene.open()),
    Step(lambda scene: scene.end("three")),
    Step(lambda scene: scene.grow("two", 2)),
    Step(lambda scene: scene.end("two")),
    Step(lambda scene: scene.add_batch("four", 1)),
    Step(lambda scene: scene.edit(d="failed")),
    Step(lambda scene: scene.settle(at_end=True)),
]

CREATING = [
    Step(lambda scene: scene.open(create=True)),
    Step(lambda scene: scene.add("a", "b")),
    Step(lambda scene: scene.intents("a")),
]

CREATING_A_BATCH = [
    Step(lambda scene: scene.open(create=True)),
    Step(lambda scene: scene.add_batch("one", 1, 2)),
    Step(lambda scene: scene.settle(at_end=True)),
]


def seeded(root: Path) -> SimulatedDisk:
    disk = SimulatedDisk(root)
    disk.put_by_hand(
        root / "state.json", json.dumps(seed("a", "b", "c", d={"status": "pending", "mine": 2**70})).encode()
    )
    return disk


def dry_run(scene: Scene, script: list[Step]) -> list[Reading]:
    """What is to be read before the script, and after each of its steps."""
    readings = [scene.reading()]
    for step in script:
        step.do(scene)
        readings.append(scene.reading())
    return readings


def perform(scene: Scene, script: list[Step]) -> int:
    """How many steps returned before the crash."""
    for done, step in enumerate(script):
        try:
            step.do(scene)
        except Crash:
            return done
    return len(script)


def allowed(readings: list[Reading], script: list[Step], *, done: int) -> list[Reading]:
    """From what was last acknowledged as durable to what was being done."""
    floor = max((at for at in range(1, done + 1) if script[at - 1].durable), default=0)
    return readings[floor : done + 2]


def check(disk: SimulatedDisk, allowed_readings: list[Reading]) -> Reading:
    scene = Scene(disk)
    found = scene.reading()
    assert found in allowed_readings
    if disk.stamp(scene.path):
        assert go_on(scene) == found
    else:
        assert scene.reading() == found
    return found


def go_on(scene: Scene) -> Reading:
    """Work and hand-over still go well on this disk, and what is acknowledged now is durable too.

    Returns what was read before that.
    """
    before = scene.reading()
    store = scene.open()
    store.add([item("later")])
    change(store, "later", submit())
    store.batches.append(GoneRecord(batch="none", at=NOON))  # durable with what was noted before it
    acknowledged = Reading(dump(store), before.batches)
    assert len(acknowledged.items) == len(before.items) + 1
    assert Scene(scene.disk.after_forgetting()).reading() == acknowledged
    scene = Scene(scene.disk.after_sigkill())
    store = scene.open()
    store.settle(at_end=True)
    assert dump(store) == acknowledged.items
    scene.disk = scene.disk.after_forgetting()
    records = json.loads(scene.disk.read(scene.path))
    assert [(key, records[key]) for key in records] == acknowledged.items
    assert scene.reading() == acknowledged
    return before


@pytest.mark.parametrize(
    ("script", "start"),
    [(SCRIPT, seeded), (CREATING, SimulatedDisk), (BATCHES, seeded), (CREATING_A_BATCH, SimulatedDisk)],
    ids=["working", "creating", "batches", "creating a batch"],
)
def test_crash_before_each_operation(
    script: list[Step], start: Callable[[Path], SimulatedDisk], tmp_path: Path
) -> None:
    rehearsed = Scene(start(tmp_path))
    readings = dry_run(rehearsed, script)
    operations = len(rehearsed.disk.log)
    kinds = {operation.kind for operation in rehearsed.disk.log}
    assert kinds >= {"write", "sync", "rename", "sync_directory", "create"}
    disks = 0
    known: dict[frozenset[object], Reading] = {}
    """After a power loss: all that is left is durable, so the same files are the same disk, and go on in one way."""
    for crash_at in range(operations):
        scene = Scene(start(tmp_path).after_sigkill())
        scene.disk.crash_at = crash_at
        done = perform(scene, script)
        assert done < len(script)
        expected = allowed(readings, script, done=done)
        for number, disk in enumerate(found_after(scene.disk)):
            disks += 1
            kept = frozenset([*disk.files().items(), *(place.name for place in tmp_path.iterdir())])
            try:
                if number == 0:
                    check(disk, expected)
                elif kept in known:
                    assert known[kept] in expected
                else:
                    known[kept] = check(disk, expected)
            except BaseException as error:
                error.add_note(f"crash before operation {crash_at}, {rehearsed.disk.log[crash_at]}, in step {done}")
                raise
    assert disks > operations


def found_after(disk: SimulatedDisk) -> Iterator[SimulatedDisk]:
    yield disk.after_sigkill()
    yield from disk.after_power_loss()


def test_a_crash_while_a_torn_tail_is_cut(tmp_path: Path) -> None:
    scene = Scene(seeded(tmp_path))
    scene.open()
    scene.intents("a")
    scene.disk.crash_at = len(scene.disk.log) + 1  # the second half of the next line
    with pytest.raises(Crash):
        scene.intents("b", "c")
    torn = scene.disk.after_sigkill()
    for crash_at in range(8):
        scene = Scene(torn.after_sigkill())
        scene.disk.crash_at = crash_at
        perform(scene, [Step(lambda scene: scene.open()), Step(lambda scene: scene.intents("b"))])
        if crash_at == 3:
            assert scene.disk.log[-1].kind == "truncate"
        for disk in found_after(scene.disk):
            found = Scene(disk)
            assert statuses(found.open())["a"] == "submitted"
            go_on(found)


class HandOver:
    """A hand-over of a state with work in its journal, broken off where a test says."""

    def __init__(self, root: Path) -> None:
        self.scene = Scene(seeded(root))
        store = self.scene.open()
        self.scene.intents("a", "b", "c")
        self.scene.change("a", complete)
        self.scene.change("b", fail)
        self.expected = Reading(dump(store), {})
        self.disk = self.scene.disk

    def break_off_before(self, kind: str, name: str) -> SimulatedDisk:
        """SIGKILL before the last operation of this kind on this file."""
        rehearsal = Scene(self.disk.after_sigkill())
        settle(rehearsal.open())
        at = max(at for at, operation in enumerate(rehearsal.disk.log) if operation == (kind, name))
        scene = Scene(self.disk.after_sigkill())
        store = scene.open()
        scene.disk.crash_at = at
        with pytest.raises(Crash):
            settle(store)
        return scene.disk.after_sigkill()

    def lines(self, disk: SimulatedDisk) -> list[dict[str, Any]]:
        return [json.loads(line) for line in disk.files()["state.burst/journal.jsonl"].splitlines()]


@pytest.fixture
def hand_over(tmp_path: Path) -> HandOver:
    return HandOver(tmp_path)


def test_hand_over_step_1_marked_and_not_renamed(hand_over: HandOver) -> None:
    disk = hand_over.break_off_before("rename", "state.json")
    assert "snapshot" in hand_over.lines(disk)[-1]
    assert disk.files()["state.json"] == hand_over.disk.files()["state.json"]
    check(disk, [hand_over.expected])


def test_hand_over_step_2_json_in_and_old_journal_there(hand_over: HandOver) -> None:
    disk = hand_over.break_off_before("rename", "journal.jsonl")
    assert "snapshot" in hand_over.lines(disk)[-1]
    assert dict(json.loads(disk.files()["state.json"])) == dict(hand_over.expected.items)
    check(disk, [hand_over.expected])


def test_hand_over_step_3_new_journal_in(hand_over: HandOver) -> None:
    disk = hand_over.break_off_before("sync_directory", "state.burst")
    assert [line.keys() >= {"extends", "version"} for line in hand_over.lines(disk)] == [True]
    check(disk, [hand_over.expected])


def test_the_next_write_ends_a_hand_over_that_was_broken_off(hand_over: HandOver) -> None:
    """So that a later edit by hand does not bring up what the old journal said."""
    for write in (lambda store: store.settle(at_end=True), lambda store: store.add([])):
        scene = Scene(hand_over.break_off_before("rename", "journal.jsonl"))
        write(scene.open())
        assert [line.get("merged") for line in hand_over.lines(scene.disk)] == [True]
        assert scene.reading() == hand_over.expected
        scene.edit(a="pending", b="pending", c="pending")
        assert {record["status"] for _, record in scene.reading().items} == {"pending"}


def test_lines_behind_the_marker_are_replayed_where_the_json_is_in_and_where_it_is_not(hand_over: HandOver) -> None:
    for step in ("state.json", "journal.jsonl"):
        disk = hand_over.break_off_before("rename", step)
        scene = Scene(disk)
        scene.open()
        scene.change("b", start_over)
        scene.change("d", cancel)
        found = dict(scene.reading().items)
        assert (found["b"]["status"], found["d"]["status"]) == (PENDING, CANCELLED)
        check(disk, [scene.reading()])


def test_an_edit_between_the_json_and_the_new_journal_wins(hand_over: HandOver) -> None:
    """Killed there, the journal's lines are old news to the file that was edited."""
    scene = Scene(hand_over.break_off_before("rename", "journal.jsonl"))
    scene.edit(b="pending")
    assert dict(scene.reading().items)["b"]["status"] == "pending"


def test_an_edit_between_the_marker_and_the_json_loses_nothing(hand_over: HandOver) -> None:
    """Killed there, the edited file knows nothing of what the journal says."""
    scene = Scene(hand_over.break_off_before("rename", "state.json"))
    scene.edit(d="cancelled")
    found = {key: record["status"] for key, record in scene.reading().items}
    assert found == {"a": "completed", "b": "failed", "c": "submitted", "d": "cancelled"}


def test_a_killed_process_s_unsynced_hand_over_is_made_durable_before_it_is_built_on(hand_over: HandOver) -> None:
    """SIGKILL before the folder was synced, work acknowledged by the next process, then power loss."""
    scene = Scene(hand_over.break_off_before("sync_directory", "state.burst"))
    scene.open()
    scene.change("b", start_over)
    acknowledged = scene.reading()
    assert Scene(scene.disk.after_forgetting()).reading() == acknowledged


def test_a_state_file_that_its_author_never_synced_is_made_durable_before_it_is_built_on(tmp_path: Path) -> None:
    scene = Scene(SimulatedDisk(tmp_path))
    with scene.disk.create(scene.path) as handle:
        handle.write(json.dumps(seed("a", "b")).encode())
    scene.open()
    scene.intents("a")
    acknowledged = scene.reading()
    assert Scene(scene.disk.after_forgetting()).reading() == acknowledged


def test_a_merged_wish_to_cancel_outlives_a_kill_between_the_json_and_the_new_journal(tmp_path: Path) -> None:
    disk = SimulatedDisk(tmp_path)
    disk.put_by_hand(tmp_path / "state.json", json.dumps(seed("a")).encode())
    scene = Scene(disk)
    scene.open()
    scene.intents("a")
    scene.edit(a="cancelled")
    rehearsal = Scene(disk.after_sigkill())
    settle(rehearsal.open())
    disk = disk.after_sigkill()
    disk.crash_at = max(at for at, done in enumerate(rehearsal.disk.log) if done == ("rename", "journal.jsonl"))
    with pytest.raises(Crash):
        settle(Scene(disk).open())
    assert Scene(disk.after_sigkill()).open().get("a").cancel_requested
