"""What a newer burst of this format version may write is kept by one that does not know it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import (
    NOON,
    PENDING,
    FastClock,
    change,
    complete,
    dump,
    edit_json,
    put_back,
    seed,
    settle,
    start_over,
    submit,
    write_json,
)

from state.change import Change
from state.item import ItemOutput, TrashedOutput
from state.json.journal_lines import _framed
from state.json.store import JsonStore

KNOWN = {"crc", "seq"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    write_json(path, seed("a", "b", "c"))
    return path


def open_store(path: Path) -> JsonStore:
    return JsonStore.open(path, clock=FastClock())


def journal_of(path: Path) -> Path:
    return path.with_suffix(".burst") / "journal.jsonl"


def lines(journal: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.splitlines()]


def append(path: Path, store: JsonStore, body: bytes) -> None:
    """As a newer burst does: the next line of the journal."""
    journal = journal_of(path)
    seq = lines(journal.read_bytes())[-1]["seq"] + 1
    with journal.open("ab") as stream:
        stream.write(_framed(b'"seq":%d,%s}' % (seq, body)))
    store.refresh()


def unknown(journal: bytes) -> list[dict[str, Any]]:
    """The lines of no kind that is known, without their frame."""
    found = [line for line in lines(journal) if not line.keys() & {"extends", "changes", "snapshot"}]
    return [{name: value for name, value in line.items() if name not in KNOWN} for line in found]


PAUSE = {"pause": {"since": "2026-01-01T12:00:00Z", "by": ["ä", 1e400, None]}, "version": 9}
PAUSE_BODY = '"pause":{"since":"2026-01-01T12:00:00Z","by":["ä",1e400,null]},"version":9'.encode()


def test_a_line_of_an_unknown_kind_changes_nothing_and_outlives_every_hand_over(path: Path) -> None:
    store, other = open_store(path), open_store(path)
    change(store, "a", submit())
    before = dump(store)
    append(path, store, PAUSE_BODY)
    append(path, store, b'"second":true')
    assert dump(store) == before == dump(open_store(path))
    for _ in range(3):
        settle(store)
        assert unknown(journal_of(path).read_bytes()) == [PAUSE, {"second": True}]
        assert b'"by":["\xc3\xa4",1e400,null]' in journal_of(path).read_bytes()
        change(store, "b", submit())
        other.refresh()
        assert dump(other) == dump(store)
        change(other, "b", put_back)
        store.refresh()
    edit_json(path, c="cancelled")
    store.settle(at_end=True)
    assert unknown(journal_of(path).read_bytes()) == [PAUSE, {"second": True}]
    assert dump(open_store(path)) == dump(store)


@pytest.mark.parametrize(
    "operation", [("rename", "state.json"), ("rename", "journal.jsonl"), ("sync", "journal.jsonl.tmp")]
)
def test_it_outlives_a_hand_over_that_is_broken_off(tmp_path: Path, operation: tuple[str, str]) -> None:
    disk = SimulatedDisk(tmp_path)
    path = tmp_path / "state.json"
    disk.put_by_hand(path, json.dumps(seed("a", "b")).encode())
    store = JsonStore.open(path, disk=disk, clock=FastClock())
    change(store, "a", submit())
    with disk.append_to(journal_of(path)) as handle:
        handle.write(_framed(b'"seq":2,%s}' % PAUSE_BODY))
        handle.sync()

    def crash(kind: str, place: Path) -> None:
        if (kind, place.name) == operation:
            raise Crash

    disk.before = crash
    with pytest.raises(Crash):
        settle(store)
    disk = disk.after_sigkill()
    store = JsonStore.open(path, disk=disk, clock=FastClock())
    store.settle(at_end=True)
    change(store, "a", put_back)
    store.settle(at_end=True)
    assert unknown(disk.files()["state.burst/journal.jsonl"]) == [PAUSE]
    assert lines(disk.files()["state.burst/journal.jsonl"])[0].keys() >= {"extends"}


def test_unknown_fields_within_outputs_uploads_trash_and_error_are_kept(path: Path) -> None:
    output = {"path": "x.png", "bytes": 1, "sha256": "ab", "node": "9", "size": [1, 2]}
    plain = {"path": "y.png", "bytes": 1, "sha256": "cd"}
    trashed = {"path": "z.png", "bytes": 2, "sha256": "ef", "trashed_at": "2026-01-01T12:00:00Z", "why": "blurred"}
    source = {"item": "b", "output": 1, "as": "latent"}
    error = {"kind": "x", "message": "y", "hint": 2**70}
    fields = {
        "outputs": [plain, output],
        "trashed": [trashed],
        "uploads": {"mask": "m.png", "image": source},
        "error": error,
    }
    write_json(path, seed("b", a={"status": "failed", **fields}))
    store = open_store(path)
    item = store.get("a")
    assert item.awaits == (ItemOutput(item="b", output=1),)
    assert item.trashed == (TrashedOutput(path="z.png", bytes=2, sha256="ef", trashed_at=NOON),)
    change(store, "a", lambda item: item.fail(error=item.error))
    settle(store)
    record = json.loads(path.read_bytes())["a"]
    assert {name: record[name] for name in fields} == fields
    change(store, "a", start_over)
    record = json.loads(store.get("a").to_record())
    assert "error" not in record
    assert (record["outputs"], record["uploads"]) == (fields["outputs"], fields["uploads"])


def test_marks_of_the_user_stay_whatever_becomes_of_the_item(path: Path) -> None:
    marks = {"favourite": True, "tags": ["sea", "ä"], "rank": -2.5, "priority": "high"}
    write_json(path, seed("b", a={"status": "pending", **marks}))
    store = open_store(path)
    for edit in (submit(), complete, start_over):
        change(store, "a", edit)
    settle(store)
    record = json.loads(path.read_bytes())["a"]
    assert {name: record[name] for name in marks} == marks
    assert not record.keys() & {"trashed", "prefix_scheme"}


def test_the_prefix_scheme_is_noted_with_the_intent_and_goes_with_its_prompt(path: Path) -> None:
    store = open_store(path)
    store.apply(
        [
            Change(
                "a",
                PENDING,
                lambda item: item.submit(prompt_id="p", server="s", at=NOON, fingerprint="f", prefix_scheme=2),
            )
        ]
    )
    assert json.loads(store.get("a").to_record())["prefix_scheme"] == 2
    change(store, "a", put_back)
    assert store.get("a").prefix_scheme == 1
    change(store, "a", submit())
    assert "prefix_scheme" not in json.loads(store.get("a").to_record())
