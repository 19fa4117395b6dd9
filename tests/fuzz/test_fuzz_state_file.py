"""Any state file is either read, with every field that burst does not know, or refused in one message with its place.

And refusing it changes no file.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.damaged_json import JSON, damaged, damaged_bytes, nested
from support.fast_disk import FastDisk, contents

from orchestrator.cycle import pacing
from orchestrator.errors import StateError
from state.change import Change
from state.item import KNOWN_FIELDS
from state.json.burst_log import JsonBurstLog
from state.json.run_lock import FileRunLock
from state.open_store import open_store
from state.store import Store

RECORD = {
    "status": "submitted",
    "subfolder": "EP01",
    "filename": "prompt_1.txt",
    "prompt_text": "a (fox:1.2) — \U0001f98a",
    "inputs": {"seed": 2**64 - 1, "cfg": 7.5, "lora": "a.safetensors", "flag": True},
    "template": "smoke",
    "batch": "b1",
    "index": 3,
    "priority": "high",
    "attempts": 1,
    "prompt_id": "954be33e-63a7-4487-974d-03c1e46594a8",
    "previous_prompt_ids": ["0"],
    "ended_prompt_ids": ["0"],
    "server": "http://127.0.0.1:8188",
    "accepted": True,
    "cancel_requested": True,
    "submitted_at": "2026-01-01T00:00:00Z",
    "completed_at": "2026-01-01T00:00:00.5+02:00",
    "seconds": 1.5,
    "outputs": [{"path": "EP01/a.png", "bytes": 5, "sha256": "ab"}],
    "error": {"kind": "execution_error", "message": "out of luck", "node_id": "3"},
    "fingerprint": "f",
    "mine": {"note": [1, 2.50, "x"], "deep": {"a": None}},
}
STATE: dict[str, Any] = {"EP01/a.txt": RECORD, "b": {"status": "pending", "subfolder": "", "filename": "b.txt"}}
WHOLE = json.dumps(STATE, indent=1).encode()
PLACE = re.compile(r"byte \d|line \d|item ['\"]|expected one object|is empty|occurs twice|nested too deep")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def opened(path: Path, data: bytes) -> Store | None:
    """The store over these bytes, None where they were refused as they should be."""
    path.write_bytes(data)
    before = contents(path.parent)
    try:
        return open_store(path, disk=FastDisk())
    except StateError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert PLACE.search(message), message
        assert message.encode()
        return None
    finally:
        assert contents(path.parent) == before


def exactly(data: bytes) -> dict[str, dict[str, Any]]:
    """The records with their numbers as they are spelled."""
    found: dict[str, dict[str, Any]] = json.loads(data.removeprefix(b"\xef\xbb\xbf"), parse_int=str, parse_float=str)
    return found


def check_nothing_is_lost(wanted: bytes, found: bytes) -> None:
    """Same keys in the same order, unknown fields as they were spelled, inputs of the same value."""
    before, after = exactly(wanted), exactly(found)
    assert list(before) == list(after)
    for key, record in before.items():
        unknown = {name: value for name, value in record.items() if name not in KNOWN_FIELDS}
        assert unknown == {name: value for name, value in after[key].items() if name not in KNOWN_FIELDS}
        assert record["status"] == after[key]["status"]
    numbers, kept = json.loads(wanted.removeprefix(b"\xef\xbb\xbf")), json.loads(found)
    for key, record in numbers.items():
        assert record.get("inputs", {}) == kept[key].get("inputs", {})


def check(folder: Path, data: bytes) -> None:
    """Read and written again, or refused."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "state.json"
        store = opened(path, data)
        if store is None:
            return
        try:
            rewritten = [(item.key, item.status) for item in store.items()]
            store.apply([Change(key, status, lambda item: item) for key, status in rewritten])
            store.settle(at_end=True)
            check_nothing_is_lost(data, path.read_bytes())
        finally:
            store.close()
        again = open_store(path, disk=FastDisk(), read_only=True)
        assert [(item.key, item.status) for item in again.items()] == rewritten
        again.close()


RECORDS = st.dictionaries(
    st.sampled_from(["a", "EP01/a.txt", "", "ä\n", "a:b"]), damaged(RECORD) | JSON, min_size=1, max_size=3
)


@given(document=JSON | RECORDS | damaged(STATE), indent=st.sampled_from([None, 2]), plain=st.booleans())
def test_any_json(folder: Path, document: Any, indent: int | None, plain: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=plain)
    check(folder, text.encode("utf-8", "surrogatepass"))


@given(data=damaged_bytes(WHOLE) | st.binary(max_size=30))
@example(data=WHOLE)
@example(data=b"\xef\xbb\xbf" + WHOLE)
@example(data=WHOLE.replace(b"7.5", b"7" * 5000))
def test_any_damaged_bytes(folder: Path, data: bytes) -> None:
    check(folder, data)


@given(name=st.sampled_from(sorted(KNOWN_FIELDS)), value=JSON)
def test_any_value_in_any_known_field(folder: Path, name: str, value: Any) -> None:
    check(folder, json.dumps({"a": RECORD | {name: value}}).encode())


@given(twice=st.sampled_from(sorted(RECORD)), spelling=st.sampled_from(["{}", "\\u00{:02x}"]))
def test_a_field_that_stands_twice_is_always_refused(folder: Path, twice: str, spelling: str) -> None:
    first = spelling.format(ord(twice[0]) if "x" in spelling else twice[0])
    text = json.dumps({"a": RECORD}).replace('{"status"', f'{{"{first}{twice[1:]}": null, "status"', 1)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        assert opened(Path(name) / "state.json", text.encode()) is None


@pytest.mark.parametrize("depth", [10, 500, 900, 1100, 3000, 100_000])
@pytest.mark.parametrize("field", ["mine", "inputs", "outputs"])
def test_any_depth(folder: Path, field: str, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    check(folder, b'{"a": {"status": "pending", "%s": {"x": %s}}}' % (field.encode(), deep))
    assert nested(3) == [[[0]]]


HOLDER = b'{"host":"h","boot_id":"b","pid":1,"burst":"x","started_at":"2026-01-01T00:00:00Z","size":15}\n'
BURST = (
    b'{"burst":"x","started_at":"2026-01-01T00:00:00Z","ended_at":"2026-01-01T00:00:09Z","ended":"done","size":15,'
    b'"completed":3,"seconds":9.0}\n'
)


LINES = st.lists(damaged(json.loads(BURST)).map(json.dumps).map(str.encode) | damaged_bytes(BURST), max_size=3)


@given(holder=damaged_bytes(HOLDER) | damaged(json.loads(HOLDER)).map(json.dumps).map(str.encode), lines=LINES)
@example(holder=HOLDER.replace(b"00Z", b"00"), lines=[BURST.replace(b"9Z", b"9"), BURST])
@example(holder=HOLDER.replace(b'"b"', b'"\x80"'), lines=[b"[" * 10_000])
@example(holder=b'{"x":' + b"[" * 10_000, lines=[b'{"x":' + b"[" * 10_000])
@example(holder=HOLDER, lines=[BURST.replace(b"9.0", b'1,"alive_seconds":1e300')])
def test_what_is_only_a_memory_never_stands_in_the_way(folder: Path, holder: bytes, lines: list[bytes]) -> None:
    """holder.json and bursts.jsonl tell of earlier bursts: damaged, they tell less."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        lock, log = FileRunLock(Path(name), disk=FastDisk()), JsonBurstLog(Path(name), disk=FastDisk())
        lock.holder_path.write_bytes(holder)
        os.utime(lock.holder_path, (0, 0))
        log.path.write_bytes(b"\n".join(lines))
        holder_left = lock.holder()
        if holder_left is not None:
            log.append(holder_left.killed_record(lock.last_touch()))
        records = log.read()
        assert pacing.automatic_size(records, seconds=60.0) >= 1
        limit = pacing.learned_limit(records)
        assert limit is None or limit.usable_seconds > 0
