"""Full disks and directories that cannot be written: one clear message, nothing lost, and the next burst goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mounts import Mounts, fill, needs_root
from support.projects import Ended, MakeProject, Project
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.item import Status


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with contextlib.closing(Mounts(tmp_path)) as made:
        yield made


def check_message(ended: Ended, *words: str) -> None:
    assert ended.code in (1, 2), ended.err
    said = ended.report.get("reason") or ended.report["error"]["message"]
    for word in words:
        assert word in said
    assert "Traceback" not in ended.err


def finish(project: Project, sandbox: Sandbox) -> None:
    ended = project.run("-n", "50", launch=["--in-doubt", "0.5"])
    assert ended.code == 0, ended.err
    project.check_all_done(sandbox.counts())


@needs_root
def test_a_full_output_directory(make_project: MakeProject, sandbox: Sandbox, mounts: Mounts) -> None:
    output = mounts.tmpfs("pictures", 64)
    project = make_project(count=6, output=output)
    ballast = fill(output, leave_bytes=8192)
    ended = project.run()
    check_message(ended, str(output), "the disk is full; free some space and run again")
    assert project.temporary_files() == []
    statuses = project.statuses()
    assert set(statuses) <= {"completed", "submitted"}
    assert statuses.count("submitted") >= 1
    wait_until(lambda: len(sandbox.counts()["rendered"]) == 6)
    ballast.unlink()
    finish(project, sandbox)


@needs_root
@pytest.mark.parametrize("leave_bytes", [0, 4096, 8192])
def test_a_full_state_directory(
    make_project: MakeProject, sandbox: Sandbox, mounts: Mounts, tmp_path: Path, leave_bytes: int
) -> None:
    place = mounts.tmpfs("state", 128)
    project = make_project(count=20, state=place / "re_render_state.json", output=tmp_path / "pictures")
    before = project.items()
    ballast = fill(place, leave_bytes=leave_bytes)
    ended = project.run("-n", "20")
    check_message(ended, str(place), "the disk is full; free some space and run again")
    assert [item.key for item in project.items()] == [item.key for item in before]
    assert project.burst("status", "--json").code == 0
    project.check_at_rest()
    ballast.unlink()
    finish(project, sandbox)


@needs_root
def test_a_state_directory_that_fills_up_in_the_middle_of_a_burst(
    make_project: MakeProject, sandbox: Sandbox, mounts: Mounts, tmp_path: Path
) -> None:
    place = mounts.tmpfs("state", 256)
    project = make_project(count=8, state=place / "re_render_state.json", output=tmp_path / "pictures")
    sandbox.hold("render")
    with project.start_run() as run:
        wait_until(lambda: sum(item.accepted for item in project.items()) == 8)
        ballast = fill(place)
        sandbox.release()
        ended = run.end()
    check_message(ended, str(place), "the disk is full")
    assert project.burst("status", "--json").code == 0
    project.check_at_rest()
    ballast.unlink()
    finish(project, sandbox)


@needs_root
def test_a_read_only_output_directory(make_project: MakeProject, sandbox: Sandbox, mounts: Mounts) -> None:
    output = mounts.tmpfs("pictures", 256)
    project = make_project(output=output)
    mounts.read_only(output)
    check_message(project.run(), str(output), "read-only")
    assert project.count(Status.SUBMITTED) == 3
    mounts.read_only(output, is_so=False)
    finish(project, sandbox)


@needs_root
def test_a_read_only_state_directory(
    make_project: MakeProject, sandbox: Sandbox, mounts: Mounts, tmp_path: Path
) -> None:
    place = mounts.tmpfs("state", 256)
    project = make_project(state=place / "re_render_state.json", output=tmp_path / "pictures")
    mounts.read_only(place)
    check_message(project.run(), str(place), "read-only")
    assert project.burst("status", "--json").report["counts"]["pending"] == 3
    assert sandbox.counts()["posts"] == 0
    mounts.read_only(place, is_so=False)
    finish(project, sandbox)


def test_a_file_where_the_output_directory_should_be(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    project.output.write_text("in the way")
    check_message(project.run(), str(project.output), "is a file")
    assert project.output.read_text() == "in the way"
    project.output.unlink()
    finish(project, sandbox)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_directory_without_permission(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    project.output.mkdir(mode=0o500)
    check_message(project.run(), str(project.output), "permission denied")
    project.output.chmod(0o700)
    finish(project, sandbox)
