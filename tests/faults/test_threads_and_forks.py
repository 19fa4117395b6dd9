"""`orchestrator` as a library: several threads of one process, and processes that were forked."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.background import Threads, in_background
from support.burst_runs import check_done_once, check_next_run, run_quickly
from support.forking import in_forked_child
from support.projects import ROOT, MakeProject, Project
from support.waiting import wait_until

from orchestrator import BurstReport, run_burst
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.doctor import examine
from orchestrator.errors import LockHeld
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.status import read_status
from orchestrator.verify import verify_outputs
from state.change import Change
from state.item import Item, Status
from state.json.run_lock import FileRunLock
from state.open_store import open_store, parts_of


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[list[tuple[Project, Sandbox]]]:
    """Four projects, each with a server of its own."""
    with ExitStack() as opened:
        found = []
        for number in range(4):
            home = tmp_path / f"project_{number}"
            home.mkdir()
            settings = SandboxSettings(seconds_per_prompt=0.02)
            sandbox = opened.enter_context(Sandbox(settings, directory=home / "server"))
            found.append((Project(home, server=sandbox.url, count=6), sandbox))
        yield found


# Threads


def test_four_states_at_once_in_one_process(pairs: list[tuple[Project, Sandbox]]) -> None:
    with Threads(4) as threads:
        reports = list(threads.map(lambda pair: run_quickly(pair[0], size=3, until_done=True), pairs))
    assert [(report.ended, report.completed, report.bursts) for report in reports] == [("done", 6, 2)] * 4
    assert len({report.burst for report in reports}) == 4
    for project, sandbox in pairs:
        check_done_once(project, sandbox)


def test_stopping_one_run_stops_no_other(pairs: list[tuple[Project, Sandbox]]) -> None:
    (project, sandbox), (other, others_sandbox) = pairs[:2]
    sandbox.hold("render")
    others_sandbox.hold("render")
    run = Run(Request(state=project.state, poll_seconds=0.2))
    with in_background(run.execute) as end, in_background(run_quickly, other) as others_end:
        wait_until(lambda: sum(item.accepted for item in (*project.items(), *other.items())) == 12)
        run.request_stop()
        stopped = end()
        others_sandbox.release()
        assert others_end().ended == "done"
    assert (stopped.ended, stopped.exit_code, stopped.counts[Status.SUBMITTED]) == ("stopped", 0, 6)
    assert [(record.ended, record.signal) for record in project.bursts()] == [("stopped", None)]
    check_done_once(other, others_sandbox)
    sandbox.release()
    check_next_run(project, sandbox)


def test_a_stop_event_of_the_caller_ends_the_run_and_stays_the_caller_s(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    sandbox.hold("render")
    stop = threading.Event()
    with in_background(run_burst, project.state, poll_seconds=0.2, stop=stop) as end:
        project.wait_for(Status.SUBMITTED, 3)
        stop.set()
        assert end().ended == "stopped"
    stop.clear()
    sandbox.release()
    assert run_burst(project.state, poll_seconds=0.2, stop=stop).ended == "done"
    assert not stop.is_set()
    check_done_once(project, sandbox)


def test_of_threads_that_want_one_state_one_works_and_the_others_are_told(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    sandbox.hold("render")

    def attempt() -> BurstReport | LockHeld:
        try:
            return run_quickly(project)
        except LockHeld as held:
            return held

    with Threads(5) as threads:
        attempts = [threads.submit(attempt) for _ in range(5)]
        wait_until(lambda: sum(one.done() for one in attempts) == 4, what="four refusals")
        sandbox.release()
        outcomes = [one.result() for one in attempts]
    refusals = [str(one) for one in outcomes if isinstance(one, LockHeld)]
    assert len(refusals) == 4
    assert all(str(project.folder / "run.lock") in refusal for refusal in refusals)
    assert [one.completed for one in outcomes if isinstance(one, BurstReport)] == [3]
    assert not parts_of(project.state).is_leased()
    assert len(project.bursts()) == 1
    check_done_once(project, sandbox)


class Told(Silent):
    """How many items a run said are completed; each was checkpointed before."""

    completed = 0

    def ended(self, item: Item, *, number: int, size: int) -> None:
        self.completed += item.status is Status.COMPLETED


def test_looking_on_while_a_run_is_at_work(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=12)
    sandbox.change(seconds_per_prompt=0.03)
    seen: list[int] = []
    told = Told()
    run = Run(Request(state=project.state, size=4, until_done=True, poll_seconds=0.2), progress=told)
    with in_background(run.execute) as end:
        while not seen or seen[-1] < 12:
            completed = told.completed
            report = read_status(project.state)
            assert report.counts[Status.COMPLETED] >= completed
            assert (report.total, sum(report.counts.values()), report.hand_edits) == (12, 12, ())
            assert verify_outputs(project.state).problems == ()
            checks = {check.name: check.verdict for check in examine(project.state).checks}
            assert {checks[name] for name in ("state", "settings", "template", "server", "output")} == {"ok"}
            seen.append(report.counts[Status.COMPLETED])
        assert end().ended == "done"
    assert seen == sorted(seen)
    check_done_once(project, sandbox)


# Forks


def test_a_forked_child_works_after_its_parent_did(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=6)
    assert run_quickly(project, size=2).completed == 2
    assert in_forked_child(lambda: run_quickly(project, size=2).completed) == "2"
    assert run_quickly(project).completed == 2
    check_done_once(project, sandbox)


def test_forked_workers_beside_a_run_at_work(pairs: list[tuple[Project, Sandbox]]) -> None:
    """`multiprocessing` with fork, begun while a run of the parent holds its locks and sockets."""
    (project, sandbox), *others = pairs
    sandbox.hold("render")
    fork_context = multiprocessing.get_context("fork")
    with in_background(run_quickly, project) as end:
        project.wait_for(Status.SUBMITTED, 6)
        workers = [fork_context.Process(target=run_quickly, args=(other,)) for other, _ in others]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
            assert worker.exitcode == 0
        assert parts_of(project.state).is_leased()
        sandbox.release()
        assert end().completed == 6
    for pair in pairs:
        check_done_once(*pair)


def test_a_forked_child_is_refused_the_parent_s_state_and_takes_no_lock_with_it(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    sandbox.hold("render")
    with in_background(run_quickly, project) as end:
        project.wait_for(Status.SUBMITTED, 3)
        said = in_forked_child(lambda: run_quickly(project))
        assert re.match(rf"orchestrator\.errors\.LockHeld: pid {os.getpid()} on .* holds ", said)
        assert parts_of(project.state).is_leased()
        sandbox.release()
        assert end().completed == 3
    check_done_once(project, sandbox)


def test_a_forked_child_lets_go_of_nothing_that_the_parent_holds(tmp_path: Path) -> None:
    lock = FileRunLock(tmp_path)
    lock.acquire()
    lock.hold(burst="b", started_at=datetime.now(UTC), size=1)
    assert in_forked_child(lock.release) == "None"
    assert FileRunLock(tmp_path).is_held()
    holder = lock.holder()
    assert holder is not None
    assert holder.pid == os.getpid()
    lock.release()
    assert not FileRunLock(tmp_path).is_held()


FORKING_BURST = """
import os, sys
from pathlib import Path
from state.json.run_lock import FileRunLock
lock = FileRunLock(Path(sys.argv[1]))
lock.acquire()
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""


def test_a_child_that_outlives_a_killed_parent_keeps_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKING_BURST, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert FileRunLock(tmp_path).is_held()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        os.kill(child, 0)  # it lives until its input ends
        lock = FileRunLock(tmp_path)
        assert lock.acquire(wait_seconds=0) is None
        lock.release()


@pytest.mark.parametrize("busy", [False, True], ids=["at rest", "in the middle of a change"])
def test_a_forked_child_is_told_to_open_the_state_anew(make_project: MakeProject, *, busy: bool) -> None:
    project = make_project()
    store = open_store(project.state)
    (first, second, _) = [item.key for item in store.items()]

    def cancel(key: str) -> Status:
        return store.apply([Change(key, Status.PENDING, lambda item: item.cancel())])[0].status

    hold, held = threading.Event(), threading.Event()

    def change_slowly() -> None:
        with store._mutex:
            held.set()
            assert hold.wait(30)

    with in_background(change_slowly if busy else held.set) as end:
        assert held.wait(30)
        for use in (lambda: cancel(first), store.counts, store.refresh, lambda: store.settle(at_end=True)):
            said = in_forked_child(use)
            assert said.startswith(f"orchestrator.errors.StateError: {project.state}: opened by process {os.getpid()}")
            assert "open it again" in said
        hold.set()
        end()
    assert in_forked_child(lambda: _cancelled_anew(project, first)) == "cancelled"
    assert cancel(second) is Status.CANCELLED
    assert [str(store.get(key).status) for key in (first, second)] == ["cancelled", "cancelled"]
    store.close()
    assert project.statuses() == ["cancelled", "cancelled", "pending"]


def _cancelled_anew(project: Project, key: str) -> Status:
    store = open_store(project.state)
    return store.apply([Change(key, Status.PENDING, lambda item: item.cancel())])[0].status
