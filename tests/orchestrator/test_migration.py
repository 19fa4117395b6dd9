"""The first command that writes to a state of version 1 brings it to version 2, while no burst works on it."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.state_scenes import PENDING, cancel, dump, seed, submit, write_json
from support.waiting import wait_until

from orchestrator.errors import LockHeld, SettingsError, StateVersionError
from orchestrator.migration import open_for_writing
from orchestrator.settings import load_settings
from state.change import Change
from state.json.journal_lines import _framed
from state.json.run_lock import FileRunLock
from state.open_store import open_store, parts_of
from state.store import Store

SETTINGS = """# mine
version = 1  # of the format
output_dir = "there"  # not here
servers = ["http://127.0.0.1:8188"]

[bindings]
version = "7.text"
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state of version 1, with work in its journal."""
    state = tmp_path / "state.json"
    write_json(state, seed("a", "b"))
    with open_store(state) as store:
        store.apply([Change("a", PENDING, submit())])
    journal = journal_of(state)
    header, *lines = journal.read_bytes().splitlines(keepends=True)
    body = header[header.index(b'"version"') : -1].replace(b'"version":2,', b'"version":1,')
    journal.write_bytes(_framed(body) + b"".join(lines))
    settings_of(state).write_text(SETTINGS)
    return state


def journal_of(state: Path) -> Path:
    return state.with_suffix(".burst") / "journal.jsonl"


def settings_of(state: Path) -> Path:
    return state.with_suffix(".burst") / "settings.toml"


def version_of(state: Path) -> int:
    return int(json.loads(journal_of(state).read_bytes().splitlines()[0])["version"])


def files(state: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in state.parent.rglob("*") if path.is_file()}


def reading(state: Path) -> list[Any]:
    with open_store(state, read_only=True) as store:
        return dump(store)


def hold(state: Path) -> FileRunLock:
    lock = FileRunLock(parts_of(state).checkpoint_directory)
    lock.acquire()
    lock.hold(burst="old", started_at=datetime.now(UTC), size=5)
    return lock


def test_it_is_migrated_once_and_the_settings_are_otherwise_left_as_they_are(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = reading(state)
    with open_for_writing(state) as store:
        store.apply([Change("b", PENDING, cancel)])
    assert version_of(state) == 2
    assert settings_of(state).read_text() == SETTINGS.replace("version = 1  #", "version = 2  #")
    assert load_settings(state).bindings == {"version": "7.text"}
    assert reading(state)[0] == before[0]
    assert [message for message in caplog.messages if "format version" in message] == [
        f"{state}: brought to format version 2, which older versions of burst refuse"
    ]
    caplog.clear()
    open_for_writing(state).close()
    assert caplog.messages == []


def test_settings_that_are_written_otherwise_are_still_brought_to_version_2(state: Path) -> None:
    settings_of(state).write_text('"version" = 0x1\noutput_dir = "there"\n')
    open_for_writing(state).close()
    assert 'output_dir = "there"' in settings_of(state).read_text()
    assert "version = 2" in settings_of(state).read_text()


def test_settings_alone_make_it_version_1(state: Path) -> None:
    """So it is after an interruption between the two, and where the journal was moved away."""
    open_for_writing(state).close()
    for gone in (False, True):
        settings_of(state).write_text(SETTINGS)
        if gone:
            journal_of(state).unlink()
        open_for_writing(state).close()
        assert "version = 2 " in settings_of(state).read_text()
        assert version_of(state) == 2


def test_a_file_made_by_hand_is_no_state_of_version_1(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    write_json(state, seed("a"))
    open_for_writing(state).close()
    assert list(files(state)) == [state]
    with open_for_writing(state) as store:
        store.apply([Change("a", PENDING, cancel)])
    assert version_of(state) == 2


def test_a_burst_of_version_1_at_work_is_not_disturbed(state: Path) -> None:
    lock = hold(state)
    before = files(state)
    with pytest.raises(
        LockHeld, match=r"an older format version, which is changed while no burst works. pid \d+"
    ) as held:
        open_for_writing(state)
    assert held.value.exit_code == 75
    assert {path: data for path, data in files(state).items() if path.suffix != ".lock"} == {
        path: data for path, data in before.items() if path.suffix != ".lock"
    }
    lock.release()
    open_for_writing(state).close()
    assert version_of(state) == 2


def test_it_is_waited_for_where_that_is_wanted(state: Path) -> None:
    lock = hold(state)
    opened: list[Store] = []
    waiting = threading.Thread(target=lambda: opened.append(open_for_writing(state, wait_seconds=60)))
    waiting.start()
    lock.release()
    wait_until(lambda: not waiting.is_alive())
    assert [store.format_version for store in opened] == [2]
    opened[0].close()


def test_it_is_waited_for_no_longer_than_that(state: Path) -> None:
    lock = hold(state)
    began = time.monotonic()
    with pytest.raises(LockHeld):
        open_for_writing(state, wait_seconds=1.0)
    assert time.monotonic() - began >= 1.0
    lock.release()


def test_a_killed_bursts_record_is_still_to_be_made_after_it(state: Path) -> None:
    """The lock is taken and let go of, and holder.json is left to the next run."""
    lock = hold(state)
    kept = lock.holder_path.read_bytes()
    lock.release()
    lock.holder_path.write_bytes(kept.replace(b'"pid":', b'"pid":1'))
    open_for_writing(state).close()
    assert lock.holder_path.exists()


def test_two_commands_at_once_migrate_it_once(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock = FileRunLock(parts_of(state).checkpoint_directory)
    lock.acquire()  # as a process that migrates: nobody tells who it is
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            open_for_writing(state).close()
        except BaseException as error:  # noqa: BLE001 — looked at by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert version_of(state) == 1
    lock.release()
    wait_until(lambda: not any(thread.is_alive() for thread in threads))
    assert errors == []
    assert version_of(state) == 2
    assert len([message for message in caplog.messages if "format version" in message]) == 1


def test_settings_that_cannot_be_read_stop_those_alone_who_need_them(state: Path) -> None:
    open_for_writing(state).close()
    settings_of(state).write_text("servers = [")
    open_for_writing(state).close()
    with pytest.raises(SettingsError):
        load_settings(state)


@pytest.mark.parametrize("which", ["journal", "settings"])
def test_a_newer_version_is_refused_by_who_writes_naming_both(state: Path, which: str) -> None:
    if which == "settings":
        settings_of(state).write_text("version = 3\n")
    else:
        header, *lines = journal_of(state).read_bytes().splitlines(keepends=True)
        body = header[header.index(b'"version"') : -1].replace(b'"version":1,', b'"version":3,')
        journal_of(state).write_bytes(_framed(body) + b"".join(lines))
    before = files(state)
    with pytest.raises(StateVersionError, match="written in format version 3; this burst knows version 2"):
        open_for_writing(state)
    assert files(state) == before
