"""Whole runs over a server that fails whatever it is given, after it has completed something."""

from __future__ import annotations

import pytest
from support.background import in_background
from support.burst_runs import Burst
from support.projects import MakeProject, Project
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.cycle.report import BurstReport
from orchestrator.sandbox import Sandbox
from orchestrator.sandbox.settings import VERSIONS
from orchestrator.status import read_status
from state.item import Status


def check_diagnosed(project: Project, report: BurstReport, *, words: str) -> None:
    """And nobody charged."""
    assert (report.exit_code, report.failed, report.failures) == (75, 0, ())
    assert report.reason is not None
    assert "seems sick" in report.reason
    assert words in report.reason
    assert {(item.attempts, item.crashes, item.error) for item in project.items()} == {(0, 0, None)}


def check_nobody_charged(project: Project, report: BurstReport, *, words: str) -> None:
    check_diagnosed(project, report, words=words)
    assert project.count(Status.SUBMITTED) == project.count(Status.FAILED) == 0


@pytest.mark.parametrize(
    ("fault", "words"), [("failure_rate", "RuntimeError"), ("out_of_memory_rate", "End other programs")]
)
def test_a_sick_server_ends_each_run_with_a_diagnosis_and_costs_no_item(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst, fault: str, words: str
) -> None:
    project = make_project(count=16)
    assert burst(project, size=2).completed == 2
    sandbox.change(**{fault: 1.0})
    check_nobody_charged(project, burst(project, size=5), words=words)
    before = sandbox.counts()["posts"]
    for _ in range(2):
        check_nobody_charged(project, burst(project, size=5), words=words)
    assert sandbox.counts()["posts"] == before + 2, "one probe a run"
    assert "sick" in read_status(project.state).as_text()
    sandbox.change(**{fault: 0.0})
    sandbox.restart()
    report = burst(project, size=20)
    assert (report.exit_code, report.completed) == (0, 14)
    assert read_status(project.state).sick == ()
    project.check_all_done(sandbox.counts())


def test_a_cuda_error_that_a_restart_ends(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    project = make_project(count=12)
    sandbox.change(cuda_error_after=3)
    report = burst(project, size=8)
    check_nobody_charged(project, report, words="torch.AcceleratorError")
    assert report.completed == 3
    sandbox.restart()
    sandbox.change(cuda_error_after=20)
    report = burst(project, size=12)
    assert (report.exit_code, report.completed) == (0, 9)
    project.check_all_done(sandbox.counts())


def test_what_it_has_completed_counts_before_it_is_downloaded(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=12)
    sandbox.change(cuda_error_after=3)
    with Proxy(sandbox.url) as proxy:
        proxy.hold("GET /api/view")
        with in_background(burst, project, size=8, server=proxy.url) as end:
            wait_until(lambda: sandbox.counts()["posts"] == 9, what="a probe")
            proxy.release()
            report = end()
    # The run may end before the last download, which the next one then makes.
    check_diagnosed(project, report, words="torch.AcceleratorError")
    assert project.count(Status.FAILED) == 0
    sandbox.change(cuda_error_after=20)
    sandbox.restart()
    assert burst(project, size=12).exit_code == 0
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_history_that_nobody_can_read_costs_no_item(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst, version: str
) -> None:
    project = make_project(count=6)
    sandbox.change(unreadable_history=True, comfyui_version=version)
    for _ in range(2):
        report = burst(project, size=3)
        assert (report.exit_code, report.failed) == (2, 0)
        assert "the history of no item could be read" in str(report.reason)
    assert sandbox.counts()["posts"] == 3
    assert {(item.attempts, item.error) for item in project.items()} == {(0, None)}
    sandbox.change(unreadable_history=False)
    report = burst(project, size=6)
    assert (report.exit_code, report.completed) == (0, 6)
    project.check_all_done(sandbox.counts())
