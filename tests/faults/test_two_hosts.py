"""Two hosts on one network directory, simulated: file systems that do not lock, lie, or lock for each host alone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.background import in_background
from support.burst_runs import check_next_run, check_untouched, run_quickly
from support.projects import ROOT, MakeProject

from orchestrator.doctor import examine
from orchestrator.errors import LockHeld, StateError
from orchestrator.sandbox import Sandbox
from state.item import Status
from state.json.run_lock import FileRunLock
from state.open_store import parts_of

OTHER_HOST = """
import socket, sys
from datetime import UTC, datetime
from pathlib import Path
import state.json.run_lock as run_lock
file_lock = run_lock._file_lock
socket.gethostname = lambda: "elsewhere"
run_lock.boot_id = lambda: "another"
run_lock._file_lock = lambda path: file_lock(Path(f"{path}.of-elsewhere"))
if "blind" in sys.argv:
    run_lock.FileRunLock._killed_holder = lambda self: None
lock = run_lock.FileRunLock(Path(sys.argv[1]))
lock.acquire()
lock.hold(burst="theirs", started_at=datetime(2026, 1, 1, 12, tzinfo=UTC), size=15)
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@contextmanager
def burst_on_another_host(folder: Path, *how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the run lock as another host does whose locks this one does not see.

    `blind`: it took the lock before there was anything to be seen of ours.
    """
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_HOST, str(folder), *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


# File systems that do not lock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_that_cannot_lock_is_named(
    make_project: MakeProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    project = make_project()

    def no_lock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("fcntl.flock", no_lock)
        with pytest.raises(
            StateError, match=rf"cannot lock files \(.*{os.strerror(number)}.*\); keep the state"
        ) as told:
            run_quickly(project)
        assert told.value.exit_code == 2
        (check,) = [check for check in examine(project.state).checks if check.name == "lock"]
        assert (check.verdict, check.message.count("cannot lock files")) == ("problem", 1)
    check_untouched(project)
    assert sandbox.counts()["posts"] == 0
    assert not (project.folder / "holder.json").exists()
    check_next_run(project, sandbox)


def test_a_file_system_that_gives_one_lock_twice_is_named(
    make_project: MakeProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("fcntl.flock", lambda descriptor, operation: None)
        with pytest.raises(StateError, match=r"cannot lock files \(it granted the same lock twice\)"):
            run_quickly(project)
    check_untouched(project)
    assert sandbox.counts()["posts"] == 0
    check_next_run(project, sandbox)


# Locks that hold for one host only


def test_a_burst_on_another_host_keeps_ours_out_although_the_lock_is_free(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    with burst_on_another_host(project.folder):
        with pytest.raises(LockHeld, match=r"pid \d+ on elsewhere \(burst theirs"):
            run_quickly(project)
        check_untouched(project)
        assert sandbox.counts()["posts"] == 0
    check_next_run(project, sandbox)


def test_one_that_took_the_lock_at_the_same_moment_is_noticed_before_any_work(tmp_path: Path) -> None:
    ours = FileRunLock(tmp_path)
    assert ours.acquire() is None
    with burst_on_another_host(tmp_path):
        with pytest.raises(LockHeld, match="on elsewhere"):
            ours.hold(burst="ours", started_at=datetime.now(UTC), size=15)
        ours.release()
        left = ours.holder()
        assert left is not None
        assert left.burst == "theirs"


def test_of_two_at_work_the_one_that_wrote_itself_in_first_leaves(
    make_project: MakeProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.json.holder.TOUCH_SECONDS", 0.05)
    project = make_project()
    sandbox.hold("render")
    with in_background(run_quickly, project) as end:
        project.wait_for_holder()
        project.wait_for(Status.SUBMITTED, 3)
        with burst_on_another_host(project.folder, "blind"):
            report = end()
            assert (report.ended, report.exit_code) == ("error", 75)
            assert report.reason is not None
            assert "on elsewhere (burst theirs" in report.reason
            assert "locks only within one host" in report.reason
            (theirs,) = parts_of(project.state).holders()
            assert theirs.burst == "theirs"
    assert project.statuses() == ["submitted"] * 3
    sandbox.release()
    check_next_run(project, sandbox)


# Clocks of hosts and file servers that differ

HOUR = 3600.0


class TouchedBy:
    """Touches holder.json as a burst on a host does whose clock is off by so many seconds."""

    def __init__(self, path: Path, *, seconds_off: float) -> None:
        self._path = path
        self._off = seconds_off
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep)

    def __enter__(self) -> None:
        self._touch()
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._ended.wait(0.02):
            self._touch()

    def _touch(self) -> None:
        then = time.time() + self._off
        os.utime(self._path, (then, then))


def leave_holder(folder: Path) -> Path:
    """holder.json as a burst that was killed on another host left it."""
    with burst_on_another_host(folder) as other:
        other.kill()
    return folder / "holder.json"


@pytest.mark.parametrize("seconds_off", [-HOUR, HOUR, -60, 60])
def test_a_living_burst_on_a_host_whose_clock_is_wrong_is_seen_by_its_touches(
    tmp_path: Path, seconds_off: float
) -> None:
    holder = leave_holder(tmp_path)
    lock = FileRunLock(tmp_path)
    with TouchedBy(holder, seconds_off=seconds_off), pytest.raises(LockHeld, match="on elsewhere"):
        lock.acquire()
    assert not lock.is_held()


@pytest.mark.parametrize("seconds_off", [-HOUR, HOUR])
def test_a_killed_burst_on_a_host_whose_clock_was_wrong_is_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds_off: float
) -> None:
    monkeypatch.setattr("state.json.run_lock._WATCH_SECONDS", 0.2)
    holder = leave_holder(tmp_path)
    then = time.time() + seconds_off
    os.utime(holder, (then, then))
    lock = FileRunLock(tmp_path)
    assert lock.living_holder() is None
    left = lock.acquire()
    assert left is not None
    assert (left[0].host, left[0].burst) == ("elsewhere", "theirs")
    # The same holder is not watched a second time.
    monkeypatch.setattr("state.json.run_lock._WATCH_SECONDS", 1000.0)
    lock.hold(burst="ours", started_at=datetime.now(UTC), size=1)
    lock.release()
    assert not holder.exists()
