"""write.lock: one writer at a time, whoever else locks the same file, and freed by every way of ending."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from orchestrator.errors import DiskFull, LockHeld
from state import write_lock
from state.disk import Disk
from state.write_lock import WriteLock


@pytest.fixture
def lock(tmp_path: Path) -> WriteLock:
    return WriteLock(tmp_path / "state.burst", disk=Disk())


def is_free(lock: WriteLock) -> bool:
    """Seen with the lock of everybody else's choice, which earlier versions of burst took too."""
    try:
        with FileLock(lock.path, timeout=0):
            return True
    except Timeout:
        return False


def test_it_keeps_a_file_lock_out_while_it_is_held_and_makes_its_folder(lock: WriteLock) -> None:
    with lock:
        assert not is_free(lock)
    assert is_free(lock)
    with contextlib.suppress(LookupError), lock:
        raise LookupError
    assert is_free(lock)


def test_one_that_a_file_lock_holds_is_waited_for_and_given_up_with_its_path(
    lock: WriteLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "_TIMEOUT_SECONDS", 0.05)
    with lock:
        pass
    with FileLock(lock.path), pytest.raises(LockHeld, match=r"write\.lock: held by another process"), lock:
        pass
    with lock:
        assert not is_free(lock)


def test_it_is_taken_as_soon_as_the_other_lets_go(lock: WriteLock) -> None:
    other = WriteLock(lock.path.parent, disk=Disk())
    order: list[str] = []
    held = threading.Event()

    def wait_for_it() -> None:
        held.set()
        with other:
            order.append("other")

    waiter = threading.Thread(target=wait_for_it)
    with lock:
        waiter.start()
        held.wait()
        waiter.join(0.05)
        order.append("first")
    waiter.join()
    assert order == ["first", "other"]


def test_a_lock_on_a_file_that_was_removed_meanwhile_counts_for_nothing(
    lock: WriteLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = lock._open

    def open_and_lose() -> int:
        descriptor = opened()
        monkeypatch.undo()
        lock.path.unlink()
        return descriptor

    with lock:
        pass
    monkeypatch.setattr(lock, "_open", open_and_lose)
    with lock:
        assert not is_free(lock)


def test_no_descriptor_is_left_open(lock: WriteLock) -> None:
    with lock:
        pass
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with lock:
            assert len(os.listdir("/proc/self/fd")) == before + 1
        with FileLock(lock.path):
            assert not lock._try()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_in_the_place_of_the_folder_is_named(lock: WriteLock) -> None:
    lock.path.parent.write_text("mine")
    with pytest.raises(DiskFull, match=r"state\.burst: a file stands where a directory should be"), lock:
        pass
