"""A SQLite file that one may only read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.state_scenes import item, statuses

from orchestrator.errors import BurstError, DiskFull
from state.open_store import open_store

_NOBODY = 65534


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write whatever the permissions say."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """That anybody may look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def address(folder: Path) -> str:
    address = f"sqlite:///{folder}/state.db"
    with open_store(address, create=True) as store:
        store.add([item("a")])
        store.apply([])
    (folder / "state.db").chmod(0o444)
    return address


def read(address: str) -> dict[str, str]:
    with open_store(address, read_only=True) as store:
        store.watch()
        assert store.holders() == []
        return statuses(store)


@pytest.mark.parametrize("mode", [0o777, 0o555], ids=["in a directory of all", "in one that may only be read"])
def test_that_nobody_uses(folder: Path, address: str, mode: int) -> None:
    folder.chmod(mode)
    with as_nobody():
        assert read(address) == {"a": "pending"}
        with (
            open_store(address) as store,
            pytest.raises(DiskFull, match=r"is read-only .*; make it writable or choose"),
        ):
            store.add([item("b")])
    folder.chmod(0o755)
    assert read(address) == {"a": "pending"}


def test_that_another_user_writes_to(folder: Path, address: str) -> None:
    (folder / "state.db").chmod(0o644)
    with open_store(address) as writer:
        writer.add([item("b")])
        assert (folder / "state.db-wal").exists()
        folder.chmod(0o555)
        with as_nobody(), open_store(address, read_only=True) as reader:
            assert statuses(reader) == {"a": "pending", "b": "pending"}
            os.seteuid(os.getuid())
            writer.add([item("c")])
            if os.getuid() == 0:
                os.seteuid(_NOBODY)
            assert reader.get("c").key == "c"
        folder.chmod(0o755)


def test_that_somebody_begins_to_write_to_while_it_is_read(folder: Path, address: str) -> None:
    """No connection is kept that takes it for unchangeable."""
    (folder / "state.db").chmod(0o644)
    folder.chmod(0o555)
    with as_nobody(), open_store(address, read_only=True) as reader:
        assert len(reader) == 1
        os.seteuid(os.getuid())
        folder.chmod(0o755)
        with open_store(address) as writer:
            writer.add([item("b")])
            folder.chmod(0o555)
            if os.getuid() == 0:
                os.seteuid(_NOBODY)
            assert reader.get("b").key == "b"
        os.seteuid(os.getuid())


def test_what_may_not_be_read_either(folder: Path, address: str) -> None:
    (folder / "state.db").chmod(0)
    if os.geteuid() == 0:
        with as_nobody(), pytest.raises(BurstError, match=r"cannot be opened \(unable to open database file\); check"):
            read(address)
