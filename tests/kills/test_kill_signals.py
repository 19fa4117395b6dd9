"""SIGTERM, SIGINT and SIGHUP: out within a second whatever is in flight, the state at rest, no temporary file left."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.projects import AT_ONCE_SECONDS, Ended, MakeProject, Process, Project
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.item import Status

ROOT = Path(__file__).parents[2]
PATIENT = ("--rest", "3")
"""For what comes to rest by itself: on a busy machine half a second may not be enough for it."""
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}

each = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)


def stop(project: Project, run: Process, number: signal.Signals) -> Ended:
    ended = run.stop(number)
    assert ended.code == CODES[number], ended.err
    assert ended.seconds <= AT_ONCE_SECONDS
    project.check_at_rest()
    return ended


def finish(project: Project, sandbox: Sandbox) -> None:
    """The next bursts end it all."""
    ended = project.run("--until-done", launch=["--in-doubt", "0.5"])
    assert ended.code == 0, ended.err
    project.check_all_done(sandbox.counts())


@each
def test_while_watching_it_comes_to_rest_and_reports(
    make_project: MakeProject, sandbox: Sandbox, number: signal.Signals
) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run(launch=PATIENT) as run:
        wait_until(lambda: sum(item.accepted for item in project.items()) == 3)
        ended = stop(project, run, number)
    report = ended.report
    assert (report["schema"], report["ended"], report["counts"]["submitted"]) == ("burst.report/2", "stopped", 3)
    assert report["exit_code"] == CODES[number]
    assert (project.bursts()[-1].ended, project.bursts()[-1].signal) == ("stopped", number.name)
    assert json.loads(project.state.read_bytes()).keys() == {item.key for item in project.items()}
    assert not (project.folder / "holder.json").exists()
    sandbox.release()
    finish(project, sandbox)


@pytest.mark.parametrize("hanging", ["GET /api/queue", "GET /api/history", "POST /api/prompt", "GET /api/view"])
def test_while_the_server_hangs(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, hanging: str) -> None:
    project = make_project(server=proxy.url)
    proxy.hold_answers(hanging)
    with project.start_run() as run:
        proxy.wait_for_held()
        ended = stop(project, run, signal.SIGTERM)
    # A download is not waited for at all; the watching is, for a moment.
    is_left_behind = "view" not in hanging
    assert ("the next burst picks up" in ended.err) == is_left_behind
    assert ended.report["schema"] == ("burst.error/1" if is_left_behind else "burst.report/2")
    assert ended.report["exit_code"] == 143
    proxy.release()
    finish(project, sandbox)


@each
def test_generate_reports_with_the_code_that_it_returns(
    make_project: MakeProject, sandbox: Sandbox, number: signal.Signals
) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start("generate", "--prompt", "a fox", "--json") as run:
        wait_until(lambda: any(item.accepted for item in project.items() if item.batch is not None))
        ended = stop(project, run, number)
    assert (ended.report["schema"], ended.report["ended"]) == ("burst.generate/2", "stopped")
    assert ended.report["exit_code"] == CODES[number]


@each
def test_in_the_middle_of_a_download(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, number: signal.Signals
) -> None:
    project = make_project(server=proxy.url)
    proxy.hold_answers("GET /api/view", after_bytes=600)
    with project.start_run() as run:
        proxy.wait_for_held()
        wait_until(project.temporary_files, what="a .part file")
        stop(project, run, number)
    assert project.count(Status.SUBMITTED) == 3
    proxy.release()
    finish(project, sandbox)


def test_while_a_post_hangs_before_the_server(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
    project = make_project(server=proxy.url)
    proxy.hold("POST /api/prompt", times=1)
    with project.start_run() as run:
        proxy.wait_for_held()
        stop(project, run, signal.SIGTERM)
    proxy.release()
    finish(project, sandbox)


def test_while_waiting_for_the_lock(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run() as first:
        project.wait_for_holder()
        with project.start_run("--wait-lock", "60") as second:
            wait_until(lambda: second.has_open(project.folder / "journal.jsonl"), what="the second at the lock")
            stop(project, second, signal.SIGTERM)
        assert first.lives()
        assert project.wait_for_holder()["pid"] == first.pid
        sandbox.release()
        assert first.end().code == 0
    project.check_all_done(sandbox.counts())


def test_while_only_items_in_doubt_are_left(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
    project = make_project(server=proxy.url)
    project.run(launch=["--kill", "before:orchestrator.comfyui:ComfyUI.submit"])
    asked = len(proxy.requests)
    with project.start_run(launch=PATIENT) as run:
        wait_until(lambda: any("/api/queue" in line for line in proxy.requests[asked:]), what="the look-up")
        ended = stop(project, run, signal.SIGTERM)
    assert ended.report["ended"] == "stopped"
    assert all(item.in_doubt for item in project.items())
    finish(project, sandbox)


@contextlib.contextmanager
def refusing_port() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_while_the_server_is_tried_again(make_project: MakeProject) -> None:
    project = make_project()
    with refusing_port() as url, project.start_run("--server", url) as run:
        project.wait_for_holder()
        ended = stop(project, run, signal.SIGTERM)
    assert ended.report["ended"] == "stopped"
    assert project.statuses() == ["pending"] * 3


def test_a_second_signal_changes_nothing(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
    project = make_project(server=proxy.url)
    proxy.hold_answers("GET /api/history")
    with project.start_run() as run:
        proxy.wait_for_held()
        run.signal(signal.SIGTERM)
        stop(project, run, signal.SIGTERM)
    proxy.release()
    finish(project, sandbox)


def test_again_and_again_until_all_is_done(make_project: MakeProject, sandbox: Sandbox) -> None:
    """Stopped at every stage: as soon as it holds the lock, once items are out, and after each that is completed."""
    sandbox.change(seconds_per_prompt=0.3)
    project = make_project(count=6)
    stages = [
        (project.folder / "holder.json").exists,
        lambda: project.count(Status.SUBMITTED),
        *(lambda more=more: project.count(Status.COMPLETED) >= more for more in range(1, 6)),
    ]
    stopped = []
    for stage in stages:
        with project.start_run() as run:
            wait_until(lambda run=run, stage=stage: stage() or not run.lives())
            ended = run.stop(signal.SIGTERM)
        stopped.append(ended.code)
        # 0: it had done everything before the signal came.
        assert ended.seconds <= AT_ONCE_SECONDS or ended.code == 0
        project.check_at_rest()
    assert set(stopped) <= {0, 143}
    assert stopped.count(143) >= 3
    finish(project, sandbox)


GIVEN_TO_ANOTHER_THREAD = """
import os, signal, sys, threading
from pathlib import Path
from orchestrator.commands.signals import Signals

def main_sleeps():
    frame = sys._current_frames()[threading.main_thread().ident]
    state = Path(f"/proc/self/task/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[0]
    return frame.f_code.co_qualname == "Signals.run" and state == "S"

class Work:
    stop = threading.Event()
    def execute(self):
        while not all(main_sleeps() for _ in range(100)):
            pass
        signal.pthread_kill(threading.get_ident(), getattr(signal, sys.argv[1]))
        return self.stop.wait(20)
    def request_stop(self, name):
        self.stop.set()
    def abandon(self, *, timeout_seconds):
        pass

signals = Signals(as_json=True)
stopped = signals.run(Work())
sys.exit(signals.exit_code if stopped else 99)
"""


@each
def test_that_the_kernel_gave_to_another_thread(number: signal.Signals) -> None:
    """The main thread sleeps then, and has to be woken."""
    script = [sys.executable, "-c", GIVEN_TO_ANOTHER_THREAD, number.name]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == CODES[number], done.stderr
