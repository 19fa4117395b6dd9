"""SQLite that cannot go on: one clear error each, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.state_scenes import PENDING, item, submit

from orchestrator.errors import DiskFull, StateAway, StateError
from state.change import Change
from state.item import Status
from state.open_store import open_store
from state.sql import database, sqlite
from state.store import Store

SUBMITTED = [Change("0", PENDING, submit())]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    with open_store(f"sqlite:///{path}", create=True) as store:
        store.add([item("0"), item("1")])
        yield store


def test_a_database_that_is_held_too_long(store: Store, path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateAway, match=r"another process has held it for 0\.05 s; run again when that has ended"):
            store.apply(SUBMITTED)
        other.execute("ROLLBACK")
    other.close()
    assert store.apply(SUBMITTED)[0].status is Status.SUBMITTED


def test_a_file_that_was_removed_meanwhile(store: Store, path: Path, tmp_path: Path) -> None:
    """What is written to a file without a name is lost with the process."""
    kept = tmp_path / "kept.db"
    path.rename(kept)
    with pytest.raises(StateError, match="was removed or replaced while it was in use; put it back"):
        store.apply(SUBMITTED)
    kept.rename(path)
    assert store.apply(SUBMITTED)[0].status is Status.SUBMITTED


def test_a_file_that_was_replaced_meanwhile(store: Store, path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(path)
    with pytest.raises(StateError, match="was removed or replaced while it was in use"):
        store.apply(SUBMITTED)


def test_a_disk_that_is_full(store: Store) -> None:
    """As SQLite says it, here of a limit of its own."""
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match="the disk is full; free some space and run again"):
        store.add([item(f"{number}", prompt_text="long " * 400) for number in range(2, 500)])
    assert len(store) == 2
