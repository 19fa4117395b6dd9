"""run.lock: one burst a state, freed however a burst ends, and what a killed one leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.state_scenes import NOON
from support.writer_processes import ROOT

from orchestrator.errors import LockHeld
from state.disk import Disk
from state.holder import Holder
from state.json.run_lock import FileRunLock
from state.operating_system import boot_id

HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from state.json.run_lock import FileRunLock
lock = FileRunLock(Path(sys.argv[1]))
lock.acquire()
lock.hold(burst="b1", started_at=datetime(2026, 1, 1, 12, tzinfo=UTC), size=15)
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


class Burst:
    """A process that holds the lock until its input ends."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> None:
        with self.process:
            self.let_go()

    def kill(self) -> None:
        with self.process:
            self.process.send_signal(signal.SIGKILL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state.burst"


@pytest.fixture
def burst(folder: Path) -> Iterator[Burst]:
    burst = Burst(folder)
    yield burst
    burst.kill()


def leave_holder(folder: Path, *, host: str, boot_id: str, seconds_ago: float) -> None:
    """A holder.json as some burst left it."""
    folder.mkdir(exist_ok=True)
    holder = Holder(host=host, boot_id=boot_id, pid=77, burst="old", started_at=NOON, size=15)
    (folder / "holder.json").write_bytes(msgspec.json.encode(holder))
    then = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).timestamp()
    os.utime(folder / "holder.json", (then, then))


def test_a_second_burst_is_told_who_holds_the_lock(folder: Path, burst: Burst) -> None:
    lock = FileRunLock(folder)
    with pytest.raises(LockHeld, match=rf"pid {burst.process.pid} on {socket.gethostname()} \(burst b1, started 2026"):
        lock.acquire()
    assert lock.is_held()
    holder = lock.holder()
    assert holder is not None
    assert (holder.pid, holder.size) == (burst.process.pid, 15)


def test_the_lock_of_a_second_process_is_free_after_a_clean_end(folder: Path, burst: Burst) -> None:
    burst.end()
    lock = FileRunLock(folder)
    assert not lock.is_held()
    assert lock.acquire() is None
    lock.release()


def test_waiting_for_the_lock_gets_it_when_it_is_free(folder: Path, burst: Burst) -> None:
    burst.let_go()
    lock = FileRunLock(folder)
    assert lock.acquire(wait_seconds=30) is None
    lock.release()


def test_the_lock_of_a_killed_burst_is_free_and_it_is_reported_once_with_its_time(folder: Path, burst: Burst) -> None:
    burst.kill()
    touched = (folder / "holder.json").stat().st_mtime
    lock = FileRunLock(folder)
    assert not lock.is_held()
    left = lock.acquire()
    assert left is not None
    holder, ended_at = left
    assert (holder.burst, holder.pid) == ("b1", burst.process.pid)
    assert ended_at == datetime.fromtimestamp(touched, UTC)
    lock.hold(burst="b2", started_at=NOON, size=5)
    lock.release()
    assert lock.acquire() is None
    lock.release()


def test_killed_between_taking_the_lock_and_saying_so_the_old_one_is_still_reported(folder: Path, burst: Burst) -> None:
    burst.kill()
    first = FileRunLock(folder)
    assert first.acquire() is not None
    first._lock.release()  # what the system does at a kill
    second = FileRunLock(folder)
    left = second.acquire()
    assert left is not None
    assert left[0].burst == "b1"
    second.release()


def test_a_fresh_holder_on_another_host_refuses_although_the_lock_is_free(folder: Path) -> None:
    leave_holder(folder, host="elsewhere", boot_id="another", seconds_ago=1)
    lock = FileRunLock(folder)
    with pytest.raises(LockHeld, match="pid 77 on elsewhere"):
        lock.acquire()
    assert not FileRunLock(folder).is_held()
    assert (folder / "holder.json").exists()


def test_an_old_holder_on_another_host_was_killed(folder: Path) -> None:
    leave_holder(folder, host="elsewhere", boot_id="another", seconds_ago=60)
    lock = FileRunLock(folder)
    left = lock.acquire()
    assert left is not None
    assert left[0].host == "elsewhere"
    assert datetime.now(UTC) - left[1] > timedelta(seconds=50)
    lock.release()


def test_a_fresh_holder_of_this_host_or_kernel_was_killed(folder: Path) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for host, boot in ((socket.gethostname(), "before the restart"), ("container", boot_id)):
        leave_holder(folder, host=host, boot_id=boot, seconds_ago=0)
        lock = FileRunLock(folder)
        assert lock.acquire() is not None
        lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b'{"host": 5}', b"\xff"])
def test_a_damaged_holder_is_never_the_truth_about_the_lock(folder: Path, burst: Burst, content: bytes) -> None:
    (folder / "holder.json").write_bytes(content)
    with pytest.raises(LockHeld, match=r"another process holds .*run\.lock"):
        FileRunLock(folder).acquire()
    burst.kill()
    lock = FileRunLock(folder)
    assert lock.acquire() is None
    lock.release()


def test_the_holder_knows_that_it_holds_the_lock(folder: Path) -> None:
    lock = FileRunLock(folder)
    assert not lock.is_held()
    lock.acquire()
    assert lock.is_held()
    assert lock.is_held()
    with pytest.raises(LockHeld):
        FileRunLock(folder).acquire()
    lock.release()
    lock.release()
    assert not lock.is_held()


def test_one_that_only_looks_does_not_keep_a_burst_from_starting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.json.run_lock._CHECK_SECONDS", 30)
    looker, lock = FileRunLock(folder), FileRunLock(folder)
    looker.acquire()
    threading.Timer(0.05, looker.release).start()
    assert lock.acquire() is None
    lock.release()


def test_a_killed_run_is_as_old_as_the_run_not_as_its_last_burst(folder: Path) -> None:
    lock = FileRunLock(folder)
    lock.acquire()
    burst_began = NOON + timedelta(seconds=50)
    lock.hold(burst="b9", started_at=burst_began, size=5, run_started_at=NOON)
    holder = lock.holder()
    lock.release()
    assert holder is not None
    killed = holder.killed_record(NOON + timedelta(seconds=59))
    assert (killed.burst, killed.ended, killed.size) == ("b9", "killed", 5)
    assert (killed.started_at, killed.ended_at) == (burst_began, NOON + timedelta(seconds=59))
    assert (killed.seconds, killed.alive_seconds) == (9, 59)
    assert holder.alive_seconds(NOON - timedelta(seconds=1)) == 0


def test_a_holder_of_before_runs_had_a_beginning_is_read(folder: Path) -> None:
    leave_holder(folder, host="elsewhere", boot_id="another", seconds_ago=60)
    path = folder / "holder.json"
    fields = msgspec.json.decode(path.read_bytes())
    del fields["run_started_at"]
    path.write_bytes(msgspec.json.encode(fields))
    holder = FileRunLock(folder).holder()
    assert holder is not None
    assert holder.run_started_at is None
    assert holder.alive_seconds(NOON + timedelta(seconds=7)) == 7


def test_holder_json_is_touched_while_the_lock_is_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.json.holder.TOUCH_SECONDS", 0.01)
    lock = FileRunLock(folder)
    lock.acquire()
    lock.hold(burst="b", started_at=NOON, size=1)
    path = folder / "holder.json"
    for _ in range(2):
        os.utime(path, (0, 0))
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while path.stat().st_mtime == 0:
            assert datetime.now(UTC) < deadline
        lock.hold(burst="b, the next", started_at=NOON, size=1)
    lock.release()
    assert not path.exists()


def test_the_living_holder_is_told_without_touching_the_lock(folder: Path, burst: Burst) -> None:
    looker = FileRunLock(folder)
    living = looker.living_holder()
    assert living is not None
    assert living.pid == burst.process.pid
    burst.kill()
    assert looker.living_holder() is None
    leave_holder(folder, host="elsewhere", boot_id="another", seconds_ago=1)
    assert looker.living_holder() is not None
    leave_holder(folder, host="elsewhere", boot_id="another", seconds_ago=60)
    assert looker.living_holder() is None


def test_a_zombie_is_not_at_work(folder: Path, burst: Burst) -> None:
    """Killed, and its parent has not noticed: as in a container whose first process reaps nobody."""
    burst.process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, burst.process.pid, os.WEXITED | os.WNOWAIT)
    looker = FileRunLock(folder)
    assert looker.holder() is not None
    assert looker.living_holder() is None


def test_a_stopped_process_is_at_work(folder: Path, burst: Burst) -> None:
    """It holds the lock, however long it touches nothing."""
    burst.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, burst.process.pid, os.WSTOPPED | os.WNOWAIT)
    os.utime(folder / "holder.json", (0, 0))
    living = FileRunLock(folder).living_holder()
    assert living is not None
    assert living.pid == burst.process.pid


def test_another_process_of_that_number_is_not_at_work(folder: Path) -> None:
    leave_holder(folder, host=socket.gethostname(), boot_id=boot_id(), seconds_ago=60)
    path = folder / "holder.json"
    path.write_bytes(path.read_bytes().replace(b'"pid":77', b'"pid":%d' % os.getpid()))
    os.utime(path, (0, 0))
    assert FileRunLock(folder).living_holder() is None


def test_a_burst_that_ends_while_one_looks_is_not_living(folder: Path) -> None:
    class EndsAfterReading(Disk):
        def read(self, path: Path) -> bytes:
            found = super().read(path)
            path.unlink()
            return found

    leave_holder(folder, host="elsewhere", boot_id="another", seconds_ago=1)
    assert FileRunLock(folder, disk=EndsAfterReading()).living_holder() is None
