"""Writing a file whole: the old content or the new one, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.simulated_disk import Crash, SimulatedDisk

from orchestrator.errors import DiskFull
from state.disk import Disk, SyncFailed

OLD, NEW = b"old and long", b"new"


@pytest.fixture
def disk(tmp_path: Path) -> SimulatedDisk:
    disk = SimulatedDisk(tmp_path)
    disk.put_by_hand(tmp_path / "file", OLD)
    return disk


def operations(root: Path) -> int:
    disk = SimulatedDisk(root)
    disk.put_by_hand(root / "file", OLD)
    disk.write_whole(root / "file", NEW)
    return len(disk.log)


def test_it_is_durable_on_return(disk: SimulatedDisk) -> None:
    disk.write_whole(disk.root / "file", NEW)
    assert disk.files() == {"file": NEW}
    assert [left.files() for left in disk.after_power_loss()] == [{"file": NEW}]


def test_a_power_loss_at_any_moment_leaves_one_of_the_two(tmp_path: Path) -> None:
    for at in range(operations(tmp_path)):
        disk = SimulatedDisk(tmp_path)
        disk.put_by_hand(tmp_path / "file", OLD)
        disk.crash_at = at
        with pytest.raises(Crash):
            disk.write_whole(tmp_path / "file", NEW)
        for left in [disk.after_sigkill(), *disk.after_power_loss()]:
            assert left.files()["file"] in (OLD, NEW)


def test_what_a_kill_left_is_overwritten(disk: SimulatedDisk) -> None:
    disk.put_by_hand(disk.root / "file.tmp", b"longer than what is written now")
    disk.write_whole(disk.root / "file", NEW)
    assert disk.files() == {"file": NEW}


@pytest.mark.parametrize("at", range(3))
def test_a_full_disk_leaves_the_old_one_and_no_temporary_file(disk: SimulatedDisk, at: int) -> None:
    disk.full_at = at
    with pytest.raises(DiskFull):
        disk.write_whole(disk.root / "file", NEW)
    assert disk.files() == {"file": OLD}


def test_a_failed_sync_leaves_the_old_one(disk: SimulatedDisk) -> None:
    disk.failing_sync_at = 3
    with pytest.raises(SyncFailed):
        disk.write_whole(disk.root / "file", NEW)
    assert disk.files() == {"file": OLD}


def test_without_a_sync_it_is_whole_all_the_same(disk: SimulatedDisk) -> None:
    disk.write_whole(disk.root / "file", NEW, sync=False)
    assert disk.files() == {"file": NEW}
    assert not [done for done in disk.log if done.kind.startswith("sync")]


def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(0o640)
    before = os.umask(0o077)
    try:
        Disk().write_whole(path, NEW)
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (NEW, 0o640)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_where_no_file_is_one_is_made(tmp_path: Path) -> None:
    Disk().write_whole(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path, linked: bool) -> None:
    """As behind /dev/stdout, by root."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    target = tmp_path / "link" if linked else pipe
    if linked:
        target.symlink_to(pipe)
    with pytest.raises(DiskFull, match=f"{target.name}: not an ordinary file"):
        Disk().write_whole(target, NEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["link", "pipe"] if linked else ["pipe"])
    assert pipe.is_fifo()


def test_a_directory_where_none_can_be_made_is_named() -> None:
    """As in /proc, which has no such name and takes none: not a file that is missing."""
    place = Path("/proc/nothing/here")
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    with pytest.raises(DiskFull, match=f"{place}: no directory can be made here"):
        Disk().make_directory(place)
