"""DESIGN §4, hand edits: what a person writes into the state file, and what a journal says against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.news import news
from support.plain_walk import check_queries
from support.simulated_disk import SimulatedDisk
from support.state_scenes import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    SUBMITTED,
    FastClock,
    cancel,
    change,
    complete,
    dump,
    edit_json,
    fail,
    item,
    put_back,
    seed,
    settle,
    start_over,
    statuses,
    submit,
    write_json,
)

from orchestrator.errors import StaleChange, StateError
from state.change import Change
from state.item import ItemOutput, Status
from state.json.store import JsonStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    write_json(path, seed("a", "b", "c", "d"))
    return path


def open_store(path: Path) -> JsonStore:
    return JsonStore.open(path, clock=FastClock())


def journalled(path: Path, *edits: object) -> None:
    """Take item a through these edits and be killed: the JSON still says pending."""
    store = open_store(path)
    for edit in edits:
        change(store, "a", edit)  # type: ignore[arg-type]
    store.close()


def found_and_merged(path: Path) -> tuple[JsonStore, list[str]]:
    """Open the edited state; the reading must be what the merged file says too, and stay what it is."""
    reader = JsonStore.open(path, read_only=True)
    store = open_store(path)
    notes = list(store.hand_edits)
    assert dump(store) == dump(reader)
    store.settle(at_end=True)
    assert dump(store) == dump(reader)
    assert list(json.loads(path.read_bytes()).items()) == dump(store)
    again = open_store(path)
    assert dump(again) == dump(store)
    assert again.hand_edits == []
    return store, notes


@pytest.mark.parametrize("status", Status)
def test_any_status_set_on_a_record_without_journal_lines_wins(path: Path, status: Status) -> None:
    journalled(path, submit())
    edit_json(path, b=status)
    store, notes = found_and_merged(path)
    assert store.get("b").status is status
    assert store.get("a").status is SUBMITTED
    assert notes == []


def test_a_record_without_journal_lines_that_was_removed_is_gone(path: Path) -> None:
    journalled(path, submit())
    edit_json(path, b=None)
    store, _ = found_and_merged(path)
    assert statuses(store) == {"a": "submitted", "c": "pending", "d": "pending"}
    assert sum(store.counts().values()) == 3


def test_a_record_that_was_added_is_there_behind_the_others(path: Path) -> None:
    journalled(path, submit())
    edit_json(path, z="pending")
    store, _ = found_and_merged(path)
    assert list(statuses(store)) == ["a", "b", "c", "d", "z"]
    assert [item.key for item in store.due(9)] == ["b", "c", "d", "z"]


@pytest.mark.parametrize("status", [COMPLETED, FAILED, None])
def test_journalled_submitted_is_kept_and_looked_up(path: Path, status: Status | None) -> None:
    journalled(path, submit())
    edit_json(path, a=status)
    store, notes = found_and_merged(path)
    item = store.get("a")
    assert (item.status, item.prompt_id, item.cancel_requested) == (SUBMITTED, "id-a", False)
    said = f"set to {status}" if status else "removed"
    assert notes == [f"a: {said} by hand, but it was submitted in the meantime; it is looked up on the server first"]


def test_journalled_submitted_set_to_cancelled_becomes_a_wish_to_cancel(path: Path) -> None:
    journalled(path, submit())
    edit_json(path, a="cancelled")
    store, notes = found_and_merged(path)
    item = store.get("a")
    assert (item.status, item.prompt_id, item.cancel_requested) == (SUBMITTED, "id-a", True)
    assert len(notes) == 1


@pytest.mark.parametrize("status", [CANCELLED, FAILED, None])
def test_journalled_completed_stands(path: Path, status: Status | None) -> None:
    journalled(path, submit(), complete)
    edit_json(path, a=status)
    store, notes = found_and_merged(path)
    assert store.get("a").status is COMPLETED
    assert store.get("a").outputs
    said = f"set to {status}" if status else "removed"
    assert notes == [f"a: {said} by hand, but it was completed in the meantime; redo it with `burst retry`"]


@pytest.mark.parametrize(
    ("edits", "status"),
    [
        ([submit(), fail], CANCELLED),
        ([submit(), fail], COMPLETED),
        ([cancel], FAILED),
        ([cancel], COMPLETED),
        ([submit(), put_back], CANCELLED),
        ([submit(), put_back], FAILED),
        ([submit(), complete, start_over], CANCELLED),
        ([cancel, start_over], FAILED),
    ],
)
def test_every_other_edit_wins(path: Path, edits: list[object], status: Status) -> None:
    journalled(path, *edits)
    edit_json(path, a=status)
    store, notes = found_and_merged(path)
    assert store.get("a").status is status
    assert notes == [f"a: set to {status} by hand; the edit is kept"]


def test_removing_a_record_that_failed_meanwhile_stands(path: Path) -> None:
    journalled(path, submit(), fail)
    edit_json(path, a=None)
    store, notes = found_and_merged(path)
    assert "a" not in store
    assert notes == ["a: removed by hand; the edit is kept"]


@pytest.mark.parametrize("edits", [[submit()], [submit(), complete], [submit(), fail], [submit(), put_back], [cancel]])
def test_a_status_that_the_journal_replaced_was_not_edited(path: Path, edits: list[object]) -> None:
    journalled(path, *edits)
    before = dict(dump(open_store(path)))["a"]
    edit_json(path, b="failed")
    store, notes = found_and_merged(path)
    assert dict(dump(store))["a"] == before
    assert notes == []


def test_other_fields_of_a_record_without_journal_lines_are_honoured(path: Path) -> None:
    journalled(path, submit())
    records = json.loads(path.read_bytes())
    records["b"] |= {"prompt_text": "a red fox", "priority": "urgent", "attempts": 2}
    write_json(path, records)
    store, _ = found_and_merged(path)
    assert store.get("b").prompt_text == "a red fox"
    assert store.get("b").attempts == 2
    assert store.due(1)[0].key == "b"


def test_an_edit_on_a_settled_file_needs_no_journal_line_to_win(path: Path) -> None:
    journalled(path, submit(), fail)
    open_store(path).settle(at_end=True)
    edit_json(path, a="pending")
    store, notes = found_and_merged(path)
    assert store.get("a").status is PENDING
    assert store.get("a").prompt_id is None
    assert notes == []


def test_a_reordered_file_gives_the_new_order(path: Path) -> None:
    journalled(path, submit())
    write_json(path, dict(reversed(json.loads(path.read_bytes()).items())))
    store, _ = found_and_merged(path)
    assert list(statuses(store)) == ["d", "c", "b", "a"]


def test_an_edit_while_the_store_is_open_is_merged_before_the_next_rewriting(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    edit_json(path, a="cancelled", b="cancelled", z="pending")
    change(store, "c", submit())
    settle(store)
    assert statuses(store) == {"a": "submitted", "b": "cancelled", "c": "submitted", "d": "pending", "z": "pending"}
    assert store.get("a").cancel_requested
    assert list(json.loads(path.read_bytes()).items()) == dump(store)


def test_an_edit_without_any_change_of_ours_is_merged_at_the_end(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    store.settle(at_end=True)
    edit_json(path, b="cancelled")
    store.settle(at_end=True)
    assert statuses(store)["b"] == "cancelled"
    assert dump(open_store(path)) == dump(store)


def test_an_edit_that_another_process_merged_reaches_this_one(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    change(store, "a", submit())
    other.refresh()
    edit_json(path, b="cancelled", c=None)
    settle(store)
    assert set(news(other)) >= {"b", "c"}
    assert dump(other) == dump(store)


def test_an_edit_between_another_process_s_hand_over_and_our_following_it_is_not_overwritten(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    change(store, "a", submit())
    other.refresh()
    settle(store)
    edit_json(path, b="cancelled")
    change(other, "c", submit())
    settle(other)
    assert other.get("b").status is CANCELLED
    assert json.loads(path.read_bytes())["b"]["status"] == "cancelled"


@pytest.mark.parametrize(
    "moment", [("create", "state.json.tmp"), ("sync", "state.json.tmp"), ("sync", "journal.jsonl")], ids=str
)
def test_an_edit_saved_while_the_new_file_is_being_written_is_not_overwritten(
    tmp_path: Path, moment: tuple[str, str]
) -> None:
    path = tmp_path / "state.json"
    disk = SimulatedDisk(tmp_path)
    disk.put_by_hand(path, json.dumps(seed("a", "b")).encode())
    store = JsonStore.open(path, disk=disk, clock=FastClock())
    change(store, "a", submit())

    def edit_once(kind: str, place: Path) -> None:
        if (kind, place.name) == moment:
            disk.before = lambda kind, place: None
            disk.put_by_hand(path, json.dumps(seed("a", b={"status": "cancelled"})).encode())

    disk.before = edit_once
    settle(store)
    assert statuses(store) == {"a": "submitted", "b": "cancelled"}
    assert list(json.loads(disk.read(path)).items()) == dump(store)
    assert dump(JsonStore.open(path, disk=disk)) == dump(store)


def test_a_change_decided_before_the_edit_was_known_is_stale(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    store.close()
    edit_json(path, b="cancelled")
    store = open_store(path)
    with pytest.raises(StaleChange):
        store.apply([Change("b", PENDING, submit())])
    assert store.get("b").status is CANCELLED


def test_a_half_written_file_is_left_alone_and_the_journal_goes_on(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    whole = path.read_bytes()
    half = whole[: len(whole) // 2]
    path.write_bytes(half)
    settle(store)
    assert path.read_bytes() == half
    change(store, "a", complete)
    settle(store)
    assert path.read_bytes() == half
    assert store.counts()[COMPLETED] == 1
    assert any("not JSON" in note for note in store.hand_edits)
    path.write_bytes(whole)
    settle(store)
    assert json.loads(path.read_bytes())["a"]["status"] == "completed"


def test_a_half_written_file_at_the_end_is_an_error_that_names_the_place(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    path.write_text('{\n "a": {"status": "pend')
    with pytest.raises(StateError, match=r"state\.json: not JSON at line 2, column 18 \(byte 19\)"):
        store.settle(at_end=True)
    assert path.read_text() == '{\n "a": {"status": "pend'
    write_json(path, seed("a", "b", "c", "d"))
    assert open_store(path).get("a").status is SUBMITTED


def test_an_edit_with_an_error_changes_nothing(path: Path) -> None:
    journalled(path, submit())
    edit_json(path, b="done")
    before = {found: found.read_bytes() for found in path.parent.rglob("*") if found.is_file()}
    with pytest.raises(StateError, match=r"item 'b' \(line 7\): .*`\.status`; a status is one of pending"):
        open_store(path)
    assert {found: found.read_bytes() for found in path.parent.rglob("*") if found.is_file()} == before


def test_a_touched_file_with_the_same_content_is_not_an_edit(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    change(store, "a", submit())
    settle(store)
    path.write_bytes(path.read_bytes())
    change(store, "b", submit())
    settle(store)
    header = json.loads((path.with_suffix(".burst") / "journal.jsonl").read_bytes().splitlines()[0])
    assert "merged" not in header
    other.refresh()
    assert dump(other) == dump(store)


def test_an_edit_found_on_opening_reaches_others_with_the_first_change(path: Path) -> None:
    watcher = open_store(path)
    journalled(path, submit())
    watcher.refresh()
    edit_json(path, b="cancelled")
    change(open_store(path), "c", submit())
    watcher.refresh()
    assert statuses(watcher) == {"a": "submitted", "b": "cancelled", "c": "submitted", "d": "pending"}


def test_an_edit_that_our_own_hand_over_merged_is_news(path: Path) -> None:
    store = open_store(path)
    change(store, "a", submit())
    settle(store)
    store.refresh()
    edit_json(path, b="cancelled", c=None, z="pending")
    change(store, "d", submit())
    settle(store)
    assert set(news(store)) == {"b", "c", "z"}
    assert news(store) == []


def test_an_edit_is_in_the_figures_of_batches(path: Path) -> None:
    store = open_store(path)
    source = {"image": ItemOutput(item="a", output=1)}
    for number in range(20):
        store.add([item(f"k{number}", batch=f"b{number % 3}", uploads=source if number % 5 == 0 else {})])
    store.settle(at_end=True)
    check_queries(store)
    records = json.loads(path.read_text())
    for key in list(records)[:9]:
        records[key] |= {"batch": "b2", "status": "cancelled"}
    del records["k19"]
    path.write_text(json.dumps(records))
    store.add([item("new", batch="b1")])
    store.settle(at_end=True)
    check_queries(store)
    assert store.counts(batch="b2")[CANCELLED] == 9
