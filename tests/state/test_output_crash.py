"""Outputs and the power: what was placed is there afterwards, and no name ever holds half a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.comfyui_loopback import Loopback
from support.served_outputs import Server, file
from support.simulated_disk import Crash, SimulatedDisk

from orchestrator.comfyui import ComfyUI, OutputText
from orchestrator.errors import DiskFull
from orchestrator.outputs import Outputs
from state.disk import SyncFailed

FILES = {f"{number}.ply": bytes([number]) * 1000 for number in range(2)}
PLACED = {"out/a/p0.ply": FILES["0.ply"], "out/b/p1.ply": FILES["1.ply"]}
PLACED["out/a/p0_002.txt"] = b"a text"


@pytest.fixture(scope="module")
def client() -> Iterator[ComfyUI]:
    server = Server()
    server.files = FILES
    with Loopback(server.answer) as loopback, ComfyUI(loopback.url) as client:
        yield client


def place(disk: SimulatedDisk, client: ComfyUI) -> None:
    """Two items in two directories as one group, the first with two outputs."""
    outputs = Outputs(disk.root / "out", disk=disk)
    with contextlib.ExitStack() as cleaning:
        fetched = []
        for number in range(2):
            one = outputs.fetch(
                client,
                [file(f"{number}.ply")],
                [OutputText("2", "text", "a text")] if number == 0 else [],
                subfolder="ab"[number % 2],
                filename=f"p{number}",
                prompt_id=f"prompt-{number}",
                own=[],
            )
            cleaning.callback(outputs.discard, one)
            fetched.append(one)
        assert all(isinstance(outcome, list) for outcome in outputs.place(fetched))


def test_power_loss_after_placing_takes_nothing(tmp_path: Path, client: ComfyUI) -> None:
    disk = SimulatedDisk(tmp_path)
    place(disk, client)
    assert disk.files() == PLACED
    found = [lost.files() for lost in disk.after_power_loss()]
    assert found
    assert all(files == PLACED for files in found)


def test_power_loss_at_any_step_leaves_no_half_file_under_a_name(tmp_path: Path, client: ComfyUI) -> None:
    rehearsal = SimulatedDisk(tmp_path)
    place(rehearsal, client)
    kinds = [operation.kind for operation in rehearsal.log]
    assert {"create", "write", "sync", "rename", "sync_directory"} <= set(kinds)
    for step in range(len(rehearsal.log)):
        disk = SimulatedDisk(tmp_path)
        disk.crash_at = step
        with pytest.raises(Crash):
            place(disk, client)
        for lost in disk.after_power_loss():
            named = {name: data for name, data in lost.files().items() if not name.endswith(".part")}
            assert named.items() <= PLACED.items(), f"power lost before step {step}, {rehearsal.log[step]}"


def test_a_disk_that_refuses_at_any_step_keeps_no_temporary_file(tmp_path: Path, client: ComfyUI) -> None:
    rehearsal = SimulatedDisk(tmp_path)
    place(rehearsal, client)
    for step, operation in enumerate(rehearsal.log):
        disk = SimulatedDisk(tmp_path)
        if operation.kind in ("write", "create"):
            disk.full_at = step
        elif operation.kind in ("sync", "sync_directory"):
            disk.failing_sync_at = step
        else:
            continue
        with pytest.raises(DiskFull) as raised:
            place(disk, client)
        assert isinstance(raised.value, SyncFailed) == (operation.kind not in ("write", "create"))
        assert [name for name in disk.files() if name.endswith(".part")] == [], operation
