"""Reading without a lock while others write: each reading is one that was true at some moment, and none goes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.news import news
from support.simulated_disk import SimulatedDisk, SimulatedHandle
from support.state_scenes import (
    CANCELLED,
    FastClock,
    cancel,
    change,
    complete,
    dump,
    item,
    seed,
    settle,
    submit,
    write_json,
)

from state.json.store import JsonStore

KEYS = [f"k{number}" for number in range(8)]


class Writer:
    """Work on a simulated disk, one change set after the other, with every state that was true on the way."""

    def __init__(self, root: Path) -> None:
        self.disk = SimulatedDisk(root)
        self.path = root / "state.json"
        self.disk.put_by_hand(self.path, json.dumps(seed(*KEYS)).encode())
        self.store = JsonStore.open(self.path, disk=self.disk, clock=FastClock())
        self.truths = [dump(self.store)]
        self._left = list(KEYS)

    def work(self, *, hand_over: bool) -> None:
        """Another item is submitted and completed; perhaps the JSON is rewritten then."""
        key = self._left.pop()
        for edit in (submit(), complete):
            change(self.store, key, edit)
            self.truths.append(dump(self.store))
        if hand_over:
            settle(self.store)

    def reader(self) -> JsonStore:
        return JsonStore.open(self.path, read_only=True, disk=self.disk)


def do_once_at_look(disk: SimulatedDisk, number: int, work: Callable[[], object]) -> Callable[[], bool]:
    """Let `work` happen before the look with this number; whether it came to that."""
    looks = 0
    done = False

    def before_look(kind: str, path: Path) -> None:
        nonlocal looks, done
        looks += 1
        if looks == number + 1 and not done:
            done = True
            disk.before_look = lambda kind, path: None
            work()

    disk.before_look = before_look
    return lambda: done


WORK = {
    "append": [False],
    "hand-over": [True],
    "hand-over, append": [True, False],
    "append, hand-over": [False, True],
    "two hand-overs": [True, True],
    "three hand-overs": [True, True, True],
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
@pytest.mark.parametrize("settled", [False, True], ids=["journal unsettled", "settled"])
def test_work_between_any_two_looks_of_an_opening_reader(tmp_path: Path, work: list[bool], settled: bool) -> None:
    for number in range(1000):
        writer = Writer(tmp_path)
        writer.work(hand_over=settled)
        first = len(writer.truths) - 1
        happened = do_once_at_look(writer.disk, number, lambda: [writer.work(hand_over=over) for over in work])  # noqa: B023
        reader = writer.reader()
        writer.disk.before_look = lambda kind, path: None
        if not happened():
            assert number > 3
            return
        assert dump(reader) in writer.truths[first:]
        reader.refresh()
        assert dump(reader) == writer.truths[-1]
        assert reader.hand_edits == []


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
@pytest.mark.parametrize("before", WORK.values(), ids=WORK.keys())
def test_work_between_any_two_looks_of_a_following_reader(tmp_path: Path, before: list[bool], work: list[bool]) -> None:
    for number in range(1000):
        writer = Writer(tmp_path)
        writer.work(hand_over=False)
        reader = writer.reader()
        first = len(writer.truths) - 1
        for over in before:
            writer.work(hand_over=over)
        happened = do_once_at_look(writer.disk, number, lambda: [writer.work(hand_over=over) for over in work])  # noqa: B023
        reader.refresh()
        writer.disk.before_look = lambda kind, path: None
        if not happened():
            assert number > 0
            return
        assert dump(reader) in writer.truths[first:]
        reader.refresh()
        assert dump(reader) == writer.truths[-1]
        assert reader.hand_edits == []


@pytest.mark.parametrize("sets", [1, 2], ids=["first hand-over", "second hand-over"])
def test_readers_at_every_moment_of_a_hand_over(tmp_path: Path, sets: int) -> None:
    writer = Writer(tmp_path)
    follower = writer.reader()
    for _ in range(sets - 1):
        writer.work(hand_over=True)
    writer.work(hand_over=False)
    seen: list[str] = []

    def read(kind: str, path: Path) -> None:
        seen.append(f"{kind} {path.name}")
        for reader in (writer.reader(), follower):
            news(reader)
            assert dump(reader) == writer.truths[-1], kind
            assert reader.hand_edits == []

    writer.disk.before = read
    settle(writer.store)
    assert [step for step in seen if step.startswith("rename")] == ["rename state.json", "rename journal.jsonl"]
    writer.disk.before = lambda kind, path: None
    assert news(follower) == []
    assert dump(follower) == writer.truths[-1]


def reads_of(disk: SimulatedDisk) -> list[str]:
    """The names of the files that are read from now on, as they are."""
    names: list[str] = []

    def note(kind: str, path: Path) -> None:
        if kind == "read":
            names.append(path.name)

    disk.before_look = note
    return names


def test_a_reader_follows_a_hand_over_without_reading_the_json_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.work(hand_over=False)
    reader = writer.reader()
    writer.work(hand_over=True)
    writer.work(hand_over=False)
    names = reads_of(writer.disk)
    assert set(news(reader)) == {"k6", "k5"}
    assert set(names) == {"journal.jsonl"}
    assert dump(reader) == writer.truths[-1]


def test_a_hand_over_that_merged_an_edit_is_read_anew(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.work(hand_over=False)
    reader = writer.reader()
    records = json.loads(writer.disk.read(writer.path))
    records["k0"]["status"] = "cancelled"
    writer.disk.put_by_hand(writer.path, json.dumps(records).encode())
    writer.work(hand_over=True)
    names = reads_of(writer.disk)
    assert {"k0", "k6"} <= set(news(reader))
    assert "state.json" in names
    assert reader.get("k0").status is CANCELLED


def test_a_checkpoint_reads_and_writes_only_the_journal(tmp_path: Path) -> None:
    """Its cost does not grow with the number of items."""
    writer = Writer(tmp_path)
    writer.work(hand_over=True)
    writer.work(hand_over=False)
    names = reads_of(writer.disk)
    before = len(writer.disk.log)
    change(writer.store, "k0", submit())
    assert names == []
    assert [(step.kind, step.name) for step in writer.disk.log[before:]] == [
        ("write", "journal.jsonl"),
        ("write", "journal.jsonl"),
        ("sync", "journal.jsonl"),
    ]


def test_a_plain_file_read_by_a_watcher_that_then_gets_its_first_journal(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, seed("a", "b"))
    reader = JsonStore.open(path, read_only=True)
    change(JsonStore.open(path), "a", submit())
    assert news(reader) == ["a"]
    write_json(tmp_path / "other.json", seed("a"))
    other = JsonStore.open(tmp_path / "other.json", read_only=True)
    write_json(tmp_path / "other.json", seed("a", "b"))
    assert news(other) == ["b"]


def test_readings_of_the_same_state_agree(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    readings: list[Any] = []
    for hand_over in (False, True, False):
        writer.work(hand_over=hand_over)
        readings.append(dump(writer.reader()))
    assert readings == [writer.truths[2], writer.truths[4], writer.truths[6]]


@pytest.mark.parametrize(("count", "threads"), [(50, 0), (5000, 1)])
def test_only_a_large_file_is_hashed_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, threads: int
) -> None:
    path = tmp_path / "state.json"
    write_json(path, seed(*map(str, range(count))), indent=2)
    started: list[threading.Thread] = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(self), start(self)))
    assert len(dump(JsonStore.open(path, read_only=True))) == count
    assert len(started) == threads


def test_a_whole_line_that_others_have_read_is_not_cut_back_at_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C right behind the write: a reader that has the line would look for the next one behind its end."""
    writer = Writer(tmp_path)
    writer.work(hand_over=False)
    reader = writer.reader()
    write = SimulatedHandle.write

    def write_and_interrupt(self: SimulatedHandle, data: bytes) -> None:
        write(self, data)
        reader.refresh()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedHandle, "write", write_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            change(writer.store, "k0", cancel)
    other = JsonStore.open(writer.path, disk=writer.disk)
    other.add([item("long" * 100)])
    reader.refresh()
    assert dump(reader) == dump(other) == dump(writer.reader())
