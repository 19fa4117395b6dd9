"""The terminal's troubles are not the burst's: no traceback, no stopped burst, the exit code as it would be."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import termios

import pytest
from support.fork_server import start
from support.launch import __file__ as LAUNCHER
from support.projects import MakeProject, Process, Project
from support.waiting import wait_until

from orchestrator.log_lines import without_time
from orchestrator.sandbox import Sandbox

DEADLINE_SECONDS = 60
REDIRECTED = [
    ">/dev/full",
    "2>/dev/full",
    ">/dev/full 2>/dev/full",
    ">&-",
    "2>&-",
    "<&- >&- 2>&-",
]
redirected = pytest.mark.parametrize("redirection", REDIRECTED)
CLOSED = {"<&-": 0, ">&-": 1, "2>&-": 2}


def in_shell(project: Project, before: str, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`burst ARGUMENTS` as a shell starts it, after other commands."""
    return subprocess.run(
        ["sh", "-c", f'{before} exec "$0" -m burst "$@" {redirection}', sys.executable, *arguments],
        cwd=project.home,
        env=project.env(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def redirected_fork(project: Project, redirection: str, *arguments: str) -> tuple[int, str]:
    """`burst ARGUMENTS REDIRECTION` as a fork, which finds what Python makes of it; its code and what it wrote."""
    words = redirection.split()
    launch = [LAUNCHER, *(f"--close={CLOSED[word]}" for word in words if word in CLOSED), "--"]
    with tempfile.TemporaryFile() as written, open("/dev/full", "wb") as full:
        out, err = ((full if f"{sign}/dev/full" in words else written).fileno() for sign in (">", "2>"))
        command = [sys.executable, *launch, *arguments]
        code = start(command, cwd=project.home, env=project.env(), stdout=out, stderr=err).wait(DEADLINE_SECONDS)
        return code, os.pread(written.fileno(), 1 << 20, 0).decode()


@redirected
def test_a_burst_goes_on_whatever_becomes_of_its_output(
    make_project: MakeProject, sandbox: Sandbox, redirection: str
) -> None:
    project = make_project()
    bad = project.prompts / "EP01" / "prompt_002.txt"
    bad.write_text("")
    code, written = redirected_fork(project, redirection, "run", "--poll-interval", "0.2")
    assert code == 1, written
    assert "Traceback" not in written
    assert project.statuses() == ["completed", "failed", "completed"]
    # Nothing was written into a file of the state that has the number of a closed descriptor.
    project.check_readable()
    assert all(b"burst:" not in path.read_bytes() for path in project.folder.glob("*") if path.is_file())


@redirected
def test_what_is_wrong_with_the_output_changes_no_exit_code(make_project: MakeProject, redirection: str) -> None:
    project = make_project()
    for arguments, code in ((["status"], 0), (["status", "--check"], 1), (["status", "nobody"], 2), (["nonsense"], 2)):
        ended, written = redirected_fork(project, redirection, *arguments, "--json")
        assert ended == code, (arguments, written)
        assert "Traceback" not in written
        assert "Exception" not in written


def test_a_process_without_any_standard_stream(make_project: MakeProject, sandbox: Sandbox) -> None:
    """Python itself starts here, and ends."""
    project = make_project()
    done = in_shell(project, "", "<&- >&- 2>&-", "run", "--poll-interval", "0.2")
    assert done.returncode == 0, done
    assert project.statuses() == ["completed"] * 3


def test_a_full_disk_under_stdout_is_told_and_a_closed_one_is_not(make_project: MakeProject) -> None:
    project = make_project()
    full = in_shell(project, "", ">/dev/full", "status").stderr
    assert without_time(full) == "burst: standard output: No space left on device; this report is lost\n"
    assert in_shell(project, "", ">&-", "status").stderr == ""


@pytest.mark.parametrize("code", [0, 1])
def test_a_reader_that_has_gone(make_project: MakeProject, sandbox: Sandbox, code: int) -> None:
    """As of `burst run | head -0`: neither code 1 of click, nor 120 of Python's own flush at the end."""
    project = make_project(count=2)
    if code:
        (project.prompts / "EP01" / "prompt_002.txt").write_text("")
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "burst", "run", "--poll-interval", "0.2"]
    with tempfile.TemporaryFile() as written:
        process = start(command, cwd=project.home, env=project.env(), stdout=theirs, stderr=written.fileno())
        os.close(theirs)
        ended = process.wait(DEADLINE_SECONDS)
        err = os.pread(written.fileno(), 1 << 20, 0)
    assert (ended, err) == (code, b"")
    assert project.statuses() == ["completed", "failed" if code else "completed"]


def test_a_pipe_that_somebody_made_non_blocking_gets_everything(make_project: MakeProject) -> None:
    project = make_project()
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    size = fcntl.fcntl(theirs, fcntl.F_GETPIPE_SZ)
    command = [
        sys.executable,
        "-m",
        "burst",
        "generate",
        "--prompt",
        "a fox",
        "--count",
        "999",
        "--dry-run",
        "--all",
        "--json",
    ]
    with subprocess.Popen(command, cwd=project.home, env=project.env(), stdout=theirs) as process:
        os.close(theirs)

        def is_full() -> bool:
            waiting = fcntl.ioctl(ours, termios.FIONREAD, bytes(4))
            return int.from_bytes(waiting, sys.byteorder) == size

        wait_until(is_full, what="a full pipe")
        with open(ours, "rb") as stream:
            document = json.load(stream)
        assert process.wait(DEADLINE_SECONDS) == 0
    assert len(document["items"]) == 999


def test_a_watch_ends_when_nobody_reads_it(make_project: MakeProject) -> None:
    project = make_project()
    done = in_shell(project, "", ">&-", "status", "--watch")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_working_directory_that_is_gone(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    gone = "mkdir gone && cd gone && rmdir ../gone &&"
    ended = in_shell(project, gone, "", "run", "--poll-interval", "0.2")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert project.statuses() == ["completed"] * 3
    for arguments in (["status", "--state", "here.json"], ["init", "prompts"], ["generate", "--prompt", "a fox"]):
        env = {name: value for name, value in project.env().items() if name != "BURST_STATE"}
        (place := project.home / "place").mkdir()
        with Process([sys.executable, LAUNCHER, "--remove-directory", "--", *arguments], cwd=place, env=env) as process:
            refused = process.end()
        assert refused.code == 2, refused
        assert (
            without_time(refused.err)
            == "burst: the working directory was removed; change to another one and run again\n"
        )


def test_a_prompt_of_generate_where_stdin_is_closed(make_project: MakeProject) -> None:
    project = make_project()
    ended = in_shell(project, "", "<&-", "generate", "--prompts-file", "-")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_a_hang_up_is_ignored_under_nohup(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    command = ["sh", "-c", 'trap "" HUP; exec "$0" -m burst run --poll-interval 0.2', sys.executable]
    with subprocess.Popen(command, cwd=project.home, env=project.env(), stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: sum(item.accepted for item in project.items()) == 3)
        process.send_signal(signal.SIGHUP)
        sandbox.release()
        assert process.wait(DEADLINE_SECONDS) == 0
    assert project.statuses() == ["completed"] * 3


def test_a_front_end_that_ends_on_a_hang_up_ends_its_bursts(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start("serve", "--port", "0", launch=["--fork-bursts"]) as process:
        burst = project.wait_for_holder()
        assert burst["pid"] != process.pid
        ended = process.stop(signal.SIGHUP)
    assert (ended.code, ended.err) == (128 + signal.SIGHUP, "")
    assert [record.ended for record in project.bursts()] == ["stopped"]
    assert not (project.folder / "holder.json").exists()
