"""Other people at the server's queue, and a worker that is dead or only seems so. (Clearing it: see tests/kills.)"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from support.background import in_background
from support.burst_runs import Burst
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.projects import MakeProject, Project
from support.simulated import Simulation
from support.waiting import wait_until

from orchestrator.comfyui import ComfyUI
from orchestrator.cycle import pacing
from orchestrator.cycle.pacing import STALL_SECONDS
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import ServerStalled
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.item import Status


def wait_for_accepted(project: Project, count: int) -> None:
    wait_until(lambda: sum(item.accepted for item in project.items()) == count, what=f"{count} accepted")


def test_a_hundred_prompts_before_ours_are_waited_for(tmp_path: Path) -> None:
    """Together they take several times as long as a server may stand still. A browser's numbers are small."""
    clock = HandClock()
    server = FakeServer("http://gpu:8188", clock, lambda _: STALL_SECONDS / 20)
    for number in range(100):
        server.add(Prompt(f"other {number}", number=number, graph={}, extra_data={}))
    simulation = Simulation(tmp_path, clock, [server], items=3)
    simulation.burst(3)
    assert simulation.statuses() == [Status.COMPLETED] * 3
    assert clock.seconds > 5 * STALL_SECONDS
    assert len(server.accepted) == 103
    simulation.close()


@dataclass
class BusyForOthers(FakeServer):
    """As many prompts of others come as go, one every ten minutes, and all before ours, for two hours."""

    until: float = 4 * STALL_SECONDS

    def __post_init__(self) -> None:
        self.come()

    def come(self) -> None:
        name = f"other {len(self.accepted)}"
        self.add(Prompt(name, number=0, graph={}, extra_data={}))

    def finish(self, prompt: Prompt, how: str) -> None:
        super().finish(prompt, how)
        if prompt.end < self.until:
            self.come()


@pytest.mark.parametrize("stands_still", [False, True], ids=["at work", "stands still"])
def test_what_runs_tells_whether_a_queue_that_never_gets_shorter_moves(
    tmp_path: Path, stands_still: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A day, which is long to simulate.
    monkeypatch.setattr(pacing, "UNKNOWN_STALL_SECONDS", 2 * STALL_SECONDS)
    clock = HandClock()
    server = BusyForOthers("http://gpu:8188", clock, lambda _: math.inf if stands_still else 600.0)
    simulation = Simulation(tmp_path, clock, [server], items=2)
    if stands_still:
        with pytest.raises(ServerStalled):
            simulation.burst(2)
        # How long another's prompt takes, nobody knows.
        assert clock.seconds == pytest.approx(pacing.UNKNOWN_STALL_SECONDS, rel=0.01)
    else:
        simulation.burst(2)
        assert simulation.store.counts()[Status.COMPLETED] == 2
        assert clock.seconds > server.until
    simulation.close()


def stalled(project: Project, sandbox: Sandbox, *servers: str) -> BurstReport:
    """One burst over a server whose worker dies with the first prompt that it takes."""
    sandbox.hold("render")
    asked = Request(
        state=project.state,
        overrides=Overrides(servers=servers),
        poll_seconds=0.2,
        stall_seconds=0.8,
        sweep_seconds=0.1,
        max_seconds=20.0,
    )
    with ComfyUI(sandbox.url) as client, in_background(Run(asked).execute) as end:
        wait_until(lambda: client.queue().running, what="taken")
        sandbox.stall()
        return end()


def test_a_server_whose_worker_died_is_called_stalled(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=3)
    report = stalled(project, sandbox)
    assert report.exit_code == 75
    assert report.reason is not None
    assert all(word in report.reason for word in (sandbox.url, "answers, but", "has not changed", "restart it"))
    assert {(item.status, item.attempts) for item in project.items()} == {(Status.SUBMITTED, 0)}
    sandbox.restart()
    sandbox.release()
    assert burst(project).completed == 3
    assert {item.crashes for item in project.items()} == {0}, "what is done is under no suspicion"
    project.check_all_done(sandbox.counts())


def test_interrupted_by_somebody_else_at_its_last_attempt_it_fails_and_says_so(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    """Each costs an attempt, so that a person can put an end to what burst would go on with."""
    sandbox.hold("render")
    project = make_project(count=2)
    with ComfyUI(sandbox.url) as client, in_background(burst, project, max_attempts=1) as end:
        wait_for_accepted(project, 2)
        wait_until(lambda: client.queue().running)
        requests.post(sandbox.url + "/interrupt", json={}, timeout=10).raise_for_status()
        sandbox.release()
        report = end()
    assert (report.exit_code, report.completed, report.failed) == (1, 1, 1)
    ((key, message),) = report.failures
    assert (key, message) == (project.item(1).key, "interrupted on the server by somebody else")
    assert project.burst("retry").code == 0
    assert burst(project).completed == 1
    project.check_all_done(sandbox.counts())
