"""Disks that refuse, directories that vanish or are something else, file systems without locks.

Full and read-only disks are in `kills/test_kill_disk.py`.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.case_folding_disk import run_without_rights
from support.fork_server import start
from support.projects import Ended, MakeProject, Project, small_template
from support.waiting import wait_until

from orchestrator.cycle.report import BurstReport
from orchestrator.log_lines import without_time
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from orchestrator.verify import verify_outputs
from state.item import Status

Burst = Callable[..., BurstReport]


def told(ended: Ended) -> str:
    """The one message of a burst that the disk stopped."""
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    reason: str = ended.report["reason"] if "reason" in ended.report else ended.report["error"]["message"]
    assert without_time(ended.err.splitlines()[-1]) == f"burst: {reason}"
    return reason


def finish(project: Project, sandbox: Sandbox) -> None:
    """With the fault mended the next burst does the rest, and nothing is rendered twice."""
    ended = project.run("-n", "100", launch=["--in-doubt", "0.5"])
    assert ended.code == 0, ended.err
    project.check_all_done(sandbox.counts())


# Quotas and limits.

WRITES = {
    "a picture": ".part",
    "a checkpoint": "journal.jsonl",
    "the new state file": "re_render_state.json.tmp",
    "the new journal": "journal.jsonl.tmp",
    "who holds the lock": "holder.json.tmp",
    "the record of the burst": "bursts.jsonl",
}


def check_place(project: Project, what: str, message: str) -> None:
    """The file is named; of one that gets its name when it is whole, the directory."""
    places = {
        "a picture": project.output / "EP01",
        "the new state file": project.state.parent,
        "the new journal": project.folder,
        "who holds the lock": project.folder,
    }
    place = places.get(what) or project.folder / WRITES[what]
    assert f"{place}: " in message


@pytest.mark.parametrize("what", WRITES)
def test_a_quota_that_is_used_up(what: str, make_project: MakeProject, sandbox: Sandbox) -> None:
    """The error is put in at `os.write`, for this file alone: quotas that hold for root too are not to be had here."""
    project = make_project(count=3)
    ended = project.run(launch=["--refuse", f"os.write:EDQUOT:{WRITES[what]}"])
    message = told(ended)
    check_place(project, what, message)
    assert "the disk quota is used up; free some space and run again" in message
    project.check_at_rest()
    assert {item.attempts for item in project.items()} == {0}
    assert set(project.statuses()) <= {"pending", "submitted", "completed"}
    finish(project, sandbox)


def test_a_quota_that_is_used_up_when_the_settings_are_kept(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=1)
    kept = (project.folder / "settings.toml").read_bytes()
    ended = project.burst("init", "prompts", "--json", launch=["--refuse", "os.write:EDQUOT:settings.toml.tmp"])
    assert f"{project.folder}: the disk quota is used up" in told(ended)
    assert (project.folder / "settings.toml").read_bytes() == kept
    project.check_at_rest()
    finish(project, sandbox)


GROWTH = {"a picture": (3, 512, 12_000), "a checkpoint": (3, 64, 0), "the new state file": (60, 64, 5_000)}
"""How many items there are, how large their pictures, and how many bytes files may have (0: as the journal has)."""


@pytest.mark.parametrize("what", GROWTH)
def test_a_file_that_may_not_grow_any_more(what: str, make_project: MakeProject, sandbox: Sandbox) -> None:
    """By a limit of the process, set when its prompts are out; FAT does it at 4 GiB."""
    count, pixels, most_bytes = GROWTH[what]
    template = small_template()
    template["5"]["inputs"] |= {"width": pixels, "height": pixels}
    project = make_project(count=count, template=template)
    sandbox.hold("render")
    command = [sys.executable, "-m", "burst", "run", "--json", "--poll-interval", "0.2", "-n", "2"]
    # Its report comes through pipes: the limit is for every file, and a journal may be shorter than a report.
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    run = start(command, cwd=project.home, env=project.env(), stdout=out_end, stderr=err_end)
    os.close(out_end)
    os.close(err_end)
    with open(out) as printed, open(err) as logged:
        wait_until(lambda: sum(item.accepted for item in project.items()) == 2)
        limit = most_bytes or (project.folder / "journal.jsonl").stat().st_size
        resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (limit, limit))
        sandbox.release()
        message = told(Ended(run.wait(), printed.read(), logged.read()))
    if not (what == "a checkpoint" and f"{project.state.parent}: " in message):
        # On a slow machine the state file, which is longer than the journal, may be due before it.
        check_place(project, what, message)
    assert "larger than the file system or the process limit allows; raise the limit" in message
    project.check_at_rest()
    assert {item.attempts for item in project.items()} == {0}
    # The state file may be rewritten after each of the two.
    completed = project.count(Status.COMPLETED) if what == "the new state file" else 0
    assert project.count(Status.COMPLETED) == completed
    assert project.count(Status.SUBMITTED) == 2 - completed
    finish(project, sandbox)


# Directories that are not there, or are something else.


def test_an_output_directory_that_is_removed_in_mid_burst(make_project: MakeProject, sandbox: Sandbox) -> None:
    """It is made again. What had been completed went with it: `verify` says so, and has it made once more."""
    project = make_project(count=4)
    assert project.run("-n", "2").code == 0
    lost = project.items(Status.COMPLETED)
    sandbox.hold("render")
    with project.start_run() as run:
        wait_until(lambda: project.count(Status.SUBMITTED) == 2)
        shutil.rmtree(project.output)
        sandbox.release()
        assert run.end().code == 0
    assert project.count(Status.COMPLETED) == 4
    found = verify_outputs(project.state, repair=True)
    assert [(key, problem.kind) for key, problem in found.problems] == [(item.key, "missing") for item in lost]
    assert project.run().code == 0
    project.check_all_done(sandbox.counts(), rendered_twice=[item.key for item in lost])


def as_file(path: Path) -> None:
    path.write_text("in the way")


def as_link_to_nowhere(path: Path) -> None:
    path.symlink_to("not/mounted")


def as_link_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


BLOCKS = {
    "a file": as_file,
    "a link that leads nowhere": as_link_to_nowhere,
    "a link in a circle": as_link_in_a_circle,
}


@pytest.mark.parametrize("what", BLOCKS)
def test_something_else_in_place_of_the_output_directory(
    what: str, make_project: MakeProject, sandbox: Sandbox
) -> None:
    """Nothing is sent that could not be placed."""
    project = make_project()
    BLOCKS[what](project.output)
    kind = "a file" if what == "a file" else "a link that leads nowhere"
    assert told(project.run()).endswith(
        f"{project.output}: the output directory is {kind}; move it away or choose another directory"
    )
    assert project.statuses() == ["pending"] * 3
    assert sandbox.counts()["posts"] == 0
    project.output.unlink()
    finish(project, sandbox)


def test_a_file_that_takes_the_place_of_the_output_directory_in_mid_burst(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run() as run:
        wait_until(lambda: project.count(Status.SUBMITTED) == 3)
        as_file(project.output)
        sandbox.release()
        message = told(run.end())
    assert str(project.output) in message
    assert "file" in message
    assert project.statuses() == ["submitted"] * 3
    assert project.output.read_text() == "in the way"
    project.output.unlink()
    finish(project, sandbox)


@pytest.mark.parametrize("what", BLOCKS)
@pytest.mark.parametrize("subfolder", ["EP01", "EP01/deep"])
def test_something_else_in_place_of_a_subfolder_fails_its_items_before_they_are_rendered(
    what: str, subfolder: str, make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=1)
    (project.prompts / subfolder).mkdir(exist_ok=True)
    (project.prompts / subfolder / "a.txt").write_text("a fox")
    (project.prompts / "EP02").mkdir()
    (project.prompts / "EP02" / "b.txt").write_text("a hare")
    project.add_prompts([1])
    project.output.mkdir()
    blocked = project.output / "EP01"
    BLOCKS[what](blocked)
    report = burst(project)
    assert (report.exit_code, report.completed, report.failed) == (1, 1, 2)
    assert all(str(blocked) in message and "where a directory should be" in message for _, message in report.failures)
    assert sandbox.counts()["rendered_by_item"] == {"prompts/EP02/b.txt": 1}
    blocked.unlink()
    assert len(retry(project.state).keys) == 2
    assert burst(project).exit_code == 0
    project.check_all_done(sandbox.counts())


def test_an_output_directory_that_may_not_be_written(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    project.output.mkdir(mode=0o500)
    message = told(run_without_rights(project, "run", "--json", "--poll-interval", "0.2"))
    assert f"template.json: {project.output}: " in message
    assert "permission denied; make it writable or choose another directory" in message
    assert project.statuses() == ["submitted"] * 3
    project.output.chmod(0o700)
    finish(project, sandbox)


def test_a_foreign_file_that_may_not_be_read_is_in_the_way_of_one_item_alone(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    theirs = project.output / "EP01" / "prompt_002.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"a photograph")
    theirs.chmod(0)
    ended = run_without_rights(project, "run", "--json", "--poll-interval", "0.2")
    assert ended.code == 1, ended.err
    ((failure),) = ended.report["failures"]
    assert "prompt_002.png already exists and does not belong to this item" in failure["message"]
    assert project.statuses() == ["completed", "failed", "completed"]
    theirs.chmod(0o600)
    assert theirs.read_bytes() == b"a photograph"
    theirs.unlink()
    retry(project.state)
    finish(project, sandbox)


# File systems that cannot lock.


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("init", "ENOLCK"),
        ("init", "EOPNOTSUPP"),
        ("run", "ENOLCK"),
        ("run", "EOPNOTSUPP"),
        ("run", "ENOSYS"),
        ("retry", "ENOLCK"),
    ],
)
def test_a_state_on_a_file_system_that_cannot_lock(
    command: str, code: str, make_project: MakeProject, sandbox: Sandbox
) -> None:
    """Put in at `flock`, as NFS without its lock service or some FUSE mounts answer. Going on would be no promise."""
    project = make_project()
    if command == "retry":
        (project.home / project.item().key).write_text("")
        assert project.run().code == 1
    before, posts = project.state.read_bytes(), sandbox.counts()["posts"]
    words = {"init": ["init", "prompts", "--rescan"], "run": ["run"], "retry": ["retry"]}[command]
    (project.prompts / "EP01" / "new.txt").write_text("a fox")
    ended = project.burst(*words, "--json", launch=["--refuse", f"fcntl.flock:{code}:.lock"])
    message = told(ended)
    assert message.startswith(str(project.folder))
    assert "this file system cannot lock files" in message
    assert "keep the state on one that can" in message
    assert project.state.read_bytes() == before
    assert sandbox.counts()["posts"] == posts
    (project.home / project.item().key).write_text("a lighthouse")
    retry(project.state)
    finish(project, sandbox)
