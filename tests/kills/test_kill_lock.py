"""One burst at a time: the second one says who is at work and leaves, or waits; a killed one leaves no lock."""

from __future__ import annotations

import signal
import socket
import time

from support.projects import MakeProject
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.item import Status


def test_the_second_leaves_with_75_and_says_who_holds_the_lock(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run() as first:
        project.wait_for_holder()
        second = project.run()
        assert second.code == 75
        message = second.report["error"]["message"]
        assert second.report["error"]["kind"] == "LockHeld"
        assert f"pid {first.pid} on {socket.gethostname()}" in message
        assert "--wait-lock" in message
        assert message in second.err
        assert project.burst("status", "--json").report["running"].startswith(f"pid {first.pid} ")
        sandbox.release()
        assert first.end().code == 0
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_two_started_together_never_work_together(make_project: MakeProject, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.05)
    project = make_project(count=4)
    with project.start_run() as one, project.start_run() as other:
        codes = sorted((one.end().code, other.end().code))
    # The slower one may have come when the faster was through.
    assert codes in ([0, 75], [0, 0])
    assert sandbox.counts()["posts"] == 4
    project.check_all_done(sandbox.counts())


def test_one_that_waits_works_when_the_other_is_through(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run("-n", "1") as first:
        project.wait_for_holder()
        with project.start_run("--wait-lock", "60") as second:
            wait_until(lambda: second.has_open(project.folder / "journal.jsonl"), what="the second at the lock")
            began = time.monotonic()
            wait_until(lambda: time.monotonic() > began + 1.0 or not second.lives())
            assert second.lives()
            assert sandbox.counts()["posts"] == 1
            sandbox.release()
            assert first.end().report["completed"] == 1
            assert second.end().report["completed"] == 2
    project.check_all_done(sandbox.counts())


def test_waiting_ends_with_75(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run() as first:
        project.wait_for_holder()
        assert project.run("--wait-lock", "0.5").code == 75
        assert first.lives()


def test_a_killed_one_leaves_no_lock_and_is_remembered(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run() as first:
        holder = project.wait_for_holder()
        project.wait_for(Status.SUBMITTED)
        first.signal(signal.SIGKILL)
        first.end()
    said = project.burst("status", "--json").report
    assert (said["running"], said["last_burst"]["ended"]) == (None, "killed")
    sandbox.release()
    ended = project.run("-n", "auto", launch=["--in-doubt", "0.5"])
    assert ended.code == 0, ended.err
    killed, done = project.bursts()
    assert (killed.burst, killed.ended) == (holder["burst"], "killed")
    # One kill: the automatic size goes down a step.
    assert (done.ended, done.size) == ("done", 5)
    project.check_all_done(sandbox.counts())


def test_the_lock_is_one_for_all_names_of_a_state(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    link = project.home / "other_name.json"
    link.symlink_to(project.state)
    with project.start_run():
        project.wait_for_holder()
        assert project.run("--state", str(link)).code == 75


def test_reading_commands_take_no_lock(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run():
        project.wait_for_holder()
        wait_until(lambda: sum(item.accepted for item in project.items()) == 3)
        for command in (["status", "--json"], ["verify", "--json"], ["run", "--dry-run", "--json"]):
            ended = project.burst(*command)
            assert ended.code == 0, ended.err
            assert ended.report["schema"]
        assert project.burst("status", "--check").code == 1
