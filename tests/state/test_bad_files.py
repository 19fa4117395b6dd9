"""Files that cannot be read, disks that cannot be written: one message with the place, nothing changed or lost."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from pathlib import Path

import pytest
from support.simulated_disk import SimulatedDisk
from support.state_scenes import (
    COMPLETED,
    FAILED,
    PENDING,
    SUBMITTED,
    FastClock,
    change,
    complete,
    dump,
    fail,
    item,
    seed,
    settle,
    statuses,
    submit,
    write_json,
)

from orchestrator.errors import DiskFull, StateError, StateVersionError
from state.change import Change
from state.disk import Disk, SyncFailed, refusals
from state.json.store import JsonStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def journal(path: Path) -> Path:
    """A journal of three lines: a header, the intents of a and b, the completion of a."""
    write_json(path, seed("a", "b", "c"))
    store = JsonStore.open(path)
    store.apply([Change(key, PENDING, submit()) for key in ("a", "b")])
    change(store, "a", complete)
    store.close()
    return path.with_suffix(".burst") / "journal.jsonl"


def refused(path: Path, message: str, *, kind: type[StateError] = StateError) -> None:
    """Opening fails with this message, and no byte of any file changes, also where one tries to create."""
    before = {found: found.read_bytes() for found in path.parent.rglob("*") if found.is_file()}
    for create, read_only in ((False, False), (False, True), (True, False)):
        with pytest.raises(kind, match=message):
            JsonStore.open(path, create=create, read_only=read_only)
    assert {found: found.read_bytes() for found in path.parent.rglob("*") if found.is_file()} == before


BAD = {
    "empty": (b"", r"the file is empty; an empty state is \{\}"),
    "blank": (b" \n\n", r"the file is empty"),
    "cut short": (b'{"a": {"status": "pend', r"not JSON at line 1, column 18 \(byte 17\)"),
    "not JSON": (b'{\n  "a": {"status": "pending"},\n  oops\n}', r"not JSON at line 3, column 3 \(byte 34\)"),
    "bytes count, not letters": ('{"ä": 1, x}'.encode(), r"not JSON at line 1, column 10 \(byte 10\)"),
    "trailing comma": (b'{"a": {"status": "pending"},}', r"not JSON at line 1, column 2[89]"),
    "two objects": (b"{}{}", r"not JSON at line 1, column 3 \(byte 2\)"),
    "an array": (b'[{"status": "pending"}]', r"expected one object of item key → record, found a list"),
    "a string": (b'"state"', r"found a str"),
    "not UTF-8": (b'{"a": {"status": "pending", "x": "\xff"}}', r"not UTF-8 at byte 34"),
    "nested too deep": (
        b'{"a": {"status": "pending", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        r"nested too deeply|item 'a'.*recursion",
    ),
    "no number": (b'{"a": {"status": "pending", "x": NaN}}', r"item 'a' cannot be read: .*byte 33"),
    "not a record": (b'{"a": "pending"}', r"item 'a' \(line 1\): Expected `object`, got `str`"),
    "no status": (b'{"a": {"filename": "a"}}', r"item 'a' \(line 1\): .*missing required field `status`"),
    "wrong status": (
        b'{\n"a": {"status": "done"}}',
        r"item 'a' \(line 2\): Invalid enum value 'done' at `\.status`; a status is one of pending, submitted",
    ),
    "wrong type deep inside": (
        b'{"a": {"status": "completed", "outputs": [{"path": "a", "bytes": "5", "sha256": ""}]}}',
        r"item 'a' \(line 1\): Expected `int`, got `str` at `\.outputs\[0\]\.bytes`",
    ),
    "negative": (b'{"a": {"status": "pending", "attempts": -1}}', r"item 'a' \(line 1\): .*>= 0.* at `\.attempts`"),
    "half a character": (b'{"a": {"status": "pending", "prompt_text": "\\ud800"}}', r"item 'a' cannot be read"),
    "time without zone": (
        b'{"a": {"status": "pending", "submitted_at": "2026-01-01T00:00:00"}}',
        r"item 'a' \(line 1\): .* at `\.submitted_at`",
    ),
    "key twice": (
        b'{"a": {"status": "pending"}, "b": {"status": "pending"}, "a": {"status": "failed"}}',
        r"the key 'a' occurs twice in one object",
    ),
    "field twice": (b'{"a": {"status": "pending", "status": "failed"}}', r"the key 'status' occurs twice"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_state_file_is_refused_with_its_place(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    refused(path, rf"^{re.escape(str(path))}: .*({message})")


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_state_file_beside_a_journal_is_refused_too(
    path: Path, journal: Path, content: bytes, message: str
) -> None:
    path.write_bytes(content)
    refused(path, rf"^{re.escape(str(path))}: .*({message})")


def test_many_bad_records_are_counted(path: Path) -> None:
    write_json(path, {f"k{number}": {"status": "?"} for number in range(20)}, indent=1)
    refused(path, r"item 'k0' \(line 2\).*item 'k4' \(line 14\).*\(and 15 more\)")


def test_the_line_is_the_key_s_own(path: Path) -> None:
    """The word also stands in another record, before."""
    path.write_text('{\n"b": {"status": "pending", "template": "a"},\n"a": {"status": "?"}}')
    refused(path, r"item 'a' \(line 3\)")


def test_no_state_at_all(path: Path) -> None:
    with pytest.raises(StateError, match=r"there is no state here\. Start one with `burst init DIRECTORY`"):
        JsonStore.open(path)
    assert list(path.parent.iterdir()) == []


def test_the_state_file_is_gone_but_its_journal_is_there(path: Path, journal: Path) -> None:
    path.unlink()
    refused(path, rf"the file is missing, but its journal {re.escape(str(journal))} exists")


def test_a_directory_where_the_state_file_should_be(path: Path) -> None:
    path.mkdir()
    refused(path, r"a directory, not a state file")


def test_a_file_where_the_folder_should_be(path: Path) -> None:
    write_json(path, seed("a"))
    path.with_suffix(".burst").write_text("mine")
    assert len(JsonStore.open(path, read_only=True)) == 1
    with pytest.raises(DiskFull, match=r"state\.burst.*: a file stands where a directory should be"):
        change(JsonStore.open(path), "a", submit())
    assert path.with_suffix(".burst").read_text() == "mine"


def test_a_journal_of_another_version_is_refused_naming_both(path: Path, journal: Path) -> None:
    from state.json.journal_lines import _framed

    body = journal.read_bytes().splitlines()[0].split(b",", 1)[1].replace(b'"version":2', b'"version":7')
    journal.write_bytes(_framed(body))
    refused(path, r"written in format version 7; this burst knows version 2", kind=StateVersionError)


def test_a_newer_header_without_what_this_version_has_is_refused_by_its_version(path: Path, journal: Path) -> None:
    from state.json.journal_lines import _framed

    journal.write_bytes(_framed(b'"version":3,"seq":0,"of":"something else"}'))
    refused(path, r"written in format version 3; this burst knows version 2", kind=StateVersionError)


def test_a_whole_line_of_a_shape_that_is_not_known_is_never_cut_off(path: Path, journal: Path) -> None:
    """No crash writes one, so it was acknowledged."""
    from state.json.journal_lines import _framed

    whole = journal.read_bytes()
    journal.write_bytes(whole + _framed(b'"seq":3,"changes":{"a":1}}'))
    refused(path, rf"at byte {len(whole)}: the line is complete but has an unknown form")
    with pytest.raises(StateError):
        JsonStore.open(path)


@pytest.mark.parametrize("damage", [b"", b"\n", b'{"crc":"00000000","version":1}\n', b"\x00" * 50, b"garbage"])
def test_a_damaged_first_line_is_refused(path: Path, journal: Path, damage: bytes) -> None:
    journal.write_bytes(damage)
    refused(path, r"journal\.jsonl: the journal's first line \(byte 0\) is damaged")


def test_a_damaged_header_before_whole_lines_is_refused(path: Path, journal: Path) -> None:
    journal.write_bytes(b"x" + journal.read_bytes())
    refused(path, r"journal\.jsonl: the journal cannot be read at byte 0")


def test_a_damaged_line_before_a_whole_one_is_refused_with_its_byte(path: Path, journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"id-a", b"id-x", 1)
    journal.write_bytes(b"".join(lines))
    refused(path, rf"journal\.jsonl: the journal cannot be read at byte {len(lines[0])}: a damaged line")


def test_a_missing_line_is_refused_with_its_byte(path: Path, journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[2])
    refused(path, rf"at byte {len(lines[0])}: found line 2, expected line 1")


def test_every_cut_of_the_last_line_is_a_torn_tail_that_is_dropped_and_logged(
    path: Path, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = journal.read_bytes()
    last_at = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last_at, len(whole)):
        journal.write_bytes(whole[:cut])
        store = JsonStore.open(path)
        assert statuses(store) == {"a": "submitted", "b": "submitted", "c": "pending"}
        assert journal.read_bytes() == whole[:cut]
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            change(store, "c", submit())
        expected = [f"{journal}: dropped {cut - last_at} bytes at byte {last_at}, left incomplete by a crash"]
        assert caplog.messages == (expected if cut > last_at else [])
        assert dump(JsonStore.open(path)) == dump(store)
        store.close()


def test_an_open_store_says_so_when_the_journal_is_damaged_behind_it(path: Path, journal: Path) -> None:
    store = JsonStore.open(path)
    lines = journal.read_bytes().splitlines(keepends=True)
    with journal.open("ab") as end:
        end.write(b"garbage\n" + lines[2])
    with pytest.raises(StateError, match=rf"cannot be read at byte {sum(map(len, lines))}"):
        change(store, "c", submit())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(path: Path) -> None:
    write_json(path, seed("a"))
    path.parent.chmod(0o500)
    try:
        with pytest.raises(DiskFull, match="permission denied"):
            change(JsonStore.open(path), "a", submit())
    finally:
        path.parent.chmod(0o700)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied; make it writable"),
        (errno.EFBIG, "larger than the file system or the process limit allows"),
        (errno.ENAMETOOLONG, "choose a shorter one"),
        (errno.ELOOP, "too many symbolic links"),
        (errno.ESTALE, "the network directory is gone; mount it again"),
        (errno.ENOTCONN, "the network directory is gone; mount it again"),
        (errno.EIO, "input/output error"),
    ],
)
def test_what_the_system_refuses_names_the_path_and_what_to_do(path: Path, code: int, advice: str) -> None:
    with pytest.raises(DiskFull, match=rf"^{re.escape(str(path))}: .*{advice}"), refusals(path):
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_system_are_not_called_a_full_disk(path: Path) -> None:
    with pytest.raises(FileNotFoundError), refusals(path):
        raise FileNotFoundError(errno.ENOENT, "no such file")


def test_a_real_full_disk_says_so() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    handle = Disk().append_to(Path("/dev/full"))
    with handle, pytest.raises(DiskFull, match="/dev/full: the disk is full"):
        handle.write(b"x")


def full_disk_scene(root: Path) -> tuple[SimulatedDisk, JsonStore]:
    disk = SimulatedDisk(root)
    disk.put_by_hand(root / "state.json", json.dumps(seed("a", "b", "c")).encode())
    return disk, JsonStore.open(root / "state.json", disk=disk, clock=FastClock())


def work(store: JsonStore) -> None:
    """Some changes; each is left out where it has been made already."""
    store.add([item("d")])
    if store.get("a").status is PENDING:
        store.apply([Change(key, PENDING, submit()) for key in ("a", "b")])
    if store.get("a").status is SUBMITTED:
        change(store, "a", complete)
    settle(store)
    if store.get("b").status is SUBMITTED:
        change(store, "b", fail)
    store.settle(at_end=True)


def test_a_disk_full_at_each_write_loses_nothing_and_work_goes_on_when_there_is_space_again(tmp_path: Path) -> None:
    disk, store = full_disk_scene(tmp_path)
    work(store)
    expected = dump(store)
    spenders = [number for number, step in enumerate(disk.log) if step.kind in ("write", "create")]
    assert len(spenders) > 10
    for number in spenders:
        disk, store = full_disk_scene(tmp_path)
        disk.full_at = number
        with pytest.raises(DiskFull, match="the disk is full"):
            work(store)
        before = dump(store)
        assert not [name for name in disk.files() if name.endswith(".tmp")]
        assert dump(JsonStore.open(store.path, disk=disk)) == before
        with pytest.raises(DiskFull):
            store.add([item("x")])
        assert dump(store) == dump(JsonStore.open(store.path, disk=disk)) == before
        assert dump(JsonStore.open(store.path, disk=disk.after_forgetting())) == before
        disk.full_at = None
        store.add([item("y")])
        assert dump(store) == [*before, *dump(store)[-1:]]
        assert dump(JsonStore.open(store.path, disk=disk.after_forgetting())) == dump(store)
        work(store)
        assert dump(store) == dump(JsonStore.open(store.path, disk=disk))
        assert [(key, record) for key, record in dump(store) if key != "y"] == expected


def test_a_failed_sync_ends_the_store_and_is_not_tried_again(tmp_path: Path) -> None:
    disk, store = full_disk_scene(tmp_path)
    work(store)
    expected = dump(store)
    syncs = [number for number, step in enumerate(disk.log) if step.kind in ("sync", "sync_directory")]
    assert len(syncs) > 10
    for number in syncs:
        disk, store = full_disk_scene(tmp_path)
        disk.failing_sync_at = number
        with pytest.raises(SyncFailed):
            work(store)
        after = len(disk.log)
        for _ in range(2):
            with pytest.raises(SyncFailed):
                store.add([item("x")])
        assert disk.log[after:] == []
        again = JsonStore.open(store.path, disk=disk, clock=FastClock())
        assert sum(again.counts().values()) == len(again)
        work(again)
        assert dump(again) == expected


def test_what_failed_to_sync_is_not_in_the_store(tmp_path: Path) -> None:
    disk, store = full_disk_scene(tmp_path)
    change(store, "a", submit())
    disk.failing_sync_at = len(disk.log) + 2
    with pytest.raises(SyncFailed):
        change(store, "a", complete)
    assert store.counts() == {PENDING: 2, SUBMITTED: 1, COMPLETED: 0, FAILED: 0, "cancelled": 0}
