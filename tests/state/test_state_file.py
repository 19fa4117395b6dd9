"""Shapes of state files that must work, and fields that must survive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.state_scenes import (
    PENDING,
    FastClock,
    accept,
    change,
    complete,
    item,
    seed,
    start_over,
    submit,
    write_json,
)

from state.change import Change
from state.item import TRANSITIONS, Status
from state.json.store import JsonStore

STRANGE = {
    "huge": 123456789012345678901234567890,
    "tiny": -(2**63),
    "float": 0.1,
    "none": None,
    "text": 'zwei\nZeilen\t\u2028 \u00e4 \U0001f98a \\ " /',
    "deep": {"a": [1, {"b": [[], {}]}], "": ""},
}
STRANGE_KEYS = ["with\nnewline", "tab\t", "\u00e4\U0001f98a", 'quote"s', "back\\slash", "", " ", "\u2028", "a/b\x7f"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def open_store(path: Path) -> JsonStore:
    return JsonStore.open(path, clock=FastClock())


def take_through(path: Path, key: str) -> dict[str, Any]:
    """The record after every verb, a hand-over and a reopening."""
    store = open_store(path)
    for edit in (submit(), accept, complete):
        change(store, key, edit)
    store.settle(at_end=True)
    change(store, key, start_over)
    store.close()
    store = open_store(path)
    assert store.get(key).status is PENDING
    store.settle(at_end=True)
    return dict(json.loads(path.read_bytes())[key])


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_unknown_fields_and_strange_keys_survive_everything(path: Path, key: str, indent: int | None) -> None:
    write_json(path, {"other": {"status": "pending"}, key: {"status": "pending", **STRANGE}}, indent=indent)
    record = take_through(path, key)
    assert {name: record[name] for name in STRANGE} == STRANGE
    assert list(json.loads(path.read_bytes())) == ["other", key]


def test_numbers_that_no_machine_holds_survive(path: Path) -> None:
    path.write_text('{"a": {"status": "pending", "x": 1e400, "y": 0.10000000000000000000001, "z": %s}}' % ("9" * 4000))
    take_through(path, "a")
    text = path.read_text()
    assert '"x": 1e400' in text
    assert '"y": 0.10000000000000000000001' in text
    assert '"z": ' + "9" * 4000 in text


def test_a_byte_order_mark_is_read_and_not_written(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(seed("a")).encode())
    assert take_through(path, "a")["status"] == "pending"
    assert path.read_bytes().startswith(b"{")


def test_windows_line_ends_and_a_pretty_printed_file(path: Path) -> None:
    path.write_bytes(json.dumps(seed("a", "b"), indent=4).replace("\n", "\r\n").encode())
    take_through(path, "a")
    assert [line.count(b'"status"') for line in path.read_bytes().splitlines()] == [0, 1, 1, 0]


def test_an_empty_object_is_a_state(path: Path) -> None:
    path.write_text("{}")
    store = open_store(path)
    assert (len(store), store.due(5)) == (0, [])
    store.add([item("a")])
    assert [found.key for found in open_store(path).items()] == ["a"]


def test_opening_and_reading_write_nothing(path: Path) -> None:
    write_json(path, seed("a", "b"), indent=4)
    before = path.read_bytes()
    store = open_store(path)
    store.refresh()
    store.settle()
    store.settle(at_end=True)
    store.close()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_plain_file_that_was_replaced_meanwhile_is_read_and_left_as_it_is(path: Path) -> None:
    write_json(path, seed("a"))
    store = open_store(path)
    write_json(path, seed("a", "b"), indent=4)
    before = path.read_bytes()
    store.settle(at_end=True)
    assert path.read_bytes() == before
    assert len(store) == 2


def test_the_table_says_what_each_verb_needs() -> None:
    """The transitions themselves, so that a change of the table is noticed."""
    pending, submitted, completed, failed, cancelled = Status
    assert {
        None: {pending},
        pending: {pending, submitted, failed, cancelled},
        submitted: set(Status),
        completed: {completed, pending},
        failed: {failed, pending, cancelled},
        cancelled: {cancelled, pending},
    } == TRANSITIONS


def test_rewriting_keeps_the_files_permissions(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"a": {"status": "pending"}}')
    path.chmod(0o600)
    store = JsonStore.open(path)
    store.apply([Change("a", Status.PENDING, lambda item: item.cancel())])
    store.settle(at_end=True)
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600
