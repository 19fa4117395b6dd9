"""What differs between operating systems, on a Python that has only what Windows has."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from orchestrator.commands.signals import Signals
from state import disk, operating_system, owners
from state.disk import Disk, Handle, rename_exclusively
from state.item import Item, Status
from state.open_store import open_store
from state.operating_system import process_state

NOT_ON_WINDOWS = {
    os: ("O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "geteuid", "getuid", "chown", "pread", "killpg", "register_at_fork"),
    signal: ("SIGHUP", "SIGKILL"),
}
USED_BY = (disk, owners)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as Windows would load it, used by those that make files."""
    for module, names in NOT_ON_WINDOWS.items():
        for name in names:
            monkeypatch.delattr(module, name)
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)
    monkeypatch.setattr(sys, "platform", "win32")
    specification = importlib.util.spec_from_file_location("on_windows", operating_system.__file__)
    assert specification is not None
    assert specification.loader is not None
    found = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(found)
    assert found.BINARY == os.O_BINARY  # type: ignore[attr-defined]
    # Linux knows no such flag.
    monkeypatch.setattr(found, "BINARY", 0)
    for module in USED_BY:
        monkeypatch.setattr(module, "operating_system", found)
    return found


def test_files_are_written_read_and_replaced(tmp_path: Path, windows: ModuleType) -> None:
    path = tmp_path / "made" / "state.json"
    Disk().make_directory(path.parent)
    Disk().write_whole(path, b"one\n")
    Disk().write_whole(path, b"two\r\n")
    assert Disk().read(path) == b"two\r\n"
    with Disk().append_to(path) as handle:
        handle.write(b"three")
        assert handle.read_from(5) == b"three"
        handle.write(b"four")
    assert Disk().read(path) == b"two\r\nthreefour"
    Disk().remove(path)
    assert list(path.parent.iterdir()) == []


def test_a_name_that_is_taken_stays_taken(tmp_path: Path, windows: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    disk._renameat2.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("Windows has no such library"))
    source, target = tmp_path / "new", tmp_path / "old"
    source.touch()
    target.touch()
    with pytest.raises(FileExistsError):
        rename_exclusively(source, target)
    target.unlink()
    rename_exclusively(source, target)
    disk._renameat2.cache_clear()
    assert target.exists()


def in_use(count: int, calls: list[None], code: int = 32) -> Any:
    """Refuses the first so many calls, as Windows does for a file that somebody has open."""
    done = os.replace

    def replace(source: Path, target: Path) -> None:
        calls.append(None)
        if len(calls) <= count:
            error = PermissionError(13, "in use", str(source))
            error.winerror = code  # type: ignore[attr-defined]
            raise error
        done(source, target)

    return replace


def test_a_file_that_somebody_reads_is_waited_for(
    tmp_path: Path, windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(os, "replace", in_use(3, calls))
    (tmp_path / "new").write_text("new")
    windows.replace(tmp_path / "new", tmp_path / "old")
    assert (len(calls), (tmp_path / "old").read_text()) == (4, "new")


def test_what_is_refused_for_good_is_not_waited_for(
    tmp_path: Path, windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(os, "replace", in_use(9, calls, code=5))
    with pytest.raises(PermissionError):
        windows.replace(tmp_path / "new", tmp_path / "old")
    assert len(calls) == 1


def test_a_file_that_stays_open_is_an_error_in_the_end(
    tmp_path: Path, windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(100))
    monkeypatch.setattr(windows, "Clock", lambda: SimpleNamespace(monotonic=lambda: next(now), wait=lambda *_: None))
    calls: list[None] = []
    monkeypatch.setattr(os, "replace", in_use(99, calls))
    with pytest.raises(PermissionError):
        windows.replace(tmp_path / "new", tmp_path / "old")
    assert len(calls) == 2


def test_no_process_is_ended_by_the_question_whether_it_is_there(
    windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("on Windows it ends the process"))

    class Kernel:
        def OpenProcess(self, rights: int, inherit: bool, pid: int) -> int:
            return 0 if pid == 1 else pid

        def GetExitCodeProcess(self, handle: int, code: Any) -> int:
            code._obj.value = 259 if handle == 2 else 0
            return 1

        def CloseHandle(self, handle: int) -> None: ...

    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=Kernel()), raising=False)
    assert [windows.process_state(pid) for pid in (1, 2, 3)] == ["", "?", ""]


def test_users_have_no_numbers(tmp_path: Path, windows: ModuleType) -> None:
    assert windows.user_id() is None
    assert windows.is_own(4711)
    assert windows.user_name(4711) == "user 4711"
    windows.change_owner(tmp_path, 1, 1)
    windows.sync_directory(tmp_path)
    windows.in_forked_child(lambda: None)
    assert windows.HANG_UP is None


def test_a_process_is_killed_by_its_handle(windows: ModuleType) -> None:
    ended: list[bool] = []
    windows.kill_with_children(SimpleNamespace(pid=0, kill=lambda: ended.append(True)))
    assert ended == [True]


def test_without_proc_a_process_that_is_there_counts_as_working(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""

    def no_proc(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", no_proc)
    assert process_state(os.getpid()) == "?"
    assert (operating_system.boot_id(), operating_system.started(os.getpid())) == ("", "")


def test_a_process_and_its_children_are_killed() -> None:
    process = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    operating_system.kill_with_children(process)
    assert process.wait() == -signal.SIGKILL
    operating_system.kill_with_children(process)


class LockingDisk(Disk):
    """As Windows: nobody renames over or removes what somebody has open."""

    def __init__(self) -> None:
        self.open: list[Handle] = []

    def create(self, path: Path, *, like: Path | None = None) -> Handle:
        return self._noted(super().create(path, like=like))

    def append_to(self, path: Path, *, create: bool = False) -> Handle:
        return self._noted(super().append_to(path, create=create))

    def open_to_read(self, path: Path) -> Handle:
        return self._noted(super().open_to_read(path))

    def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
        for path in (source, target):
            self._refuse(path)
        super().rename(source, target, replace=replace)

    def remove(self, path: Path) -> None:
        self._refuse(path)
        super().remove(path)

    def _noted(self, handle: Handle) -> Handle:
        self.open.append(handle)
        return handle

    def _refuse(self, path: Path) -> None:
        assert [one.path for one in self.open if one._descriptor >= 0 and one.path == path] == []


def keep_a_state(path: Path, disk: Disk) -> None:
    """Two snapshots: the second takes the place of a journal that is open."""
    for key in ("one.txt", "two.txt"):
        with open_store(path, create=True, disk=disk) as store:
            store.add([Item(key=key, status=Status.PENDING, prompt_text="a fox")])
            store.settle(at_end=True)
    with open_store(path, disk=disk) as store:
        assert store.counts().pending == 2


def test_no_file_of_a_state_is_replaced_while_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        keep_a_state(tmp_path / "as-on-linux.json", LockingDisk())
    monkeypatch.setattr(operating_system, "REPLACES_OPEN", False)
    keep_a_state(tmp_path / "state.json", LockingDisk())


class Work:
    """Sends this process a signal, as Ctrl-C does, and waits to be stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.reason = ""

    def execute(self) -> str:
        signal.raise_signal(signal.SIGINT)
        assert self.stopped.wait(60)
        return "rested"

    def request_stop(self, reason: str) -> None:
        self.reason = reason
        self.stopped.set()


def test_a_signal_ends_work_where_pipes_cannot_be_waited_for(
    windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows wakes by a socket alone."""
    monkeypatch.setattr(os, "pipe", lambda: pytest.fail("a pipe cannot be set to non-blocking on Windows"))
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        work = Work()
        signals = Signals(as_json=False)
        assert signals.run(work) == "rested"  # type: ignore[arg-type]
        assert (work.reason, signals.exit_code) == ("SIGINT", 130)
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
