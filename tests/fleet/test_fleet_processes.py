"""Workers as processes: killed, told to stop, and what others see of them."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.postgres import fresh_database
from support.projects import Process, Project
from support.waiting import wait_until

from orchestrator.fleet.fleet_up import fleet_up
from orchestrator.sandbox import Sandbox
from state.item import Status
from state.location import DatabaseAddress
from state.open_store import open_store
from state.server import RegisteredServer

SECRET = "hunter2secret"
QUICK = ("--quick-fleet",)
PATIENT = 120.0
"""Several processes begin one after another, on a machine that may be busy."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path / "server") as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Four items in PostgreSQL, and the sandbox as a registered server."""
    home = tmp_path / "project"
    home.mkdir()
    monkeypatch.chdir(home)
    address = re.sub("//postgres:?@", f"//postgres:{SECRET}@", fresh_database())
    assert SECRET in address
    project = Project(home, server=sandbox.url, state=DatabaseAddress(address), count=4)
    fleet_up(project.state)
    server = RegisteredServer(name="gpu1", url=sandbox.url, at=datetime.now(UTC))
    with open_store(project.state) as store:
        store.facts.change_servers(lambda known: [server])
    return project


def command_lines() -> dict[int, str]:
    """Of every process that is there, by its number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


def bursts_of(sandbox: Sandbox) -> list[int]:
    """The processes that a worker started for this server."""
    return [pid for pid, line in command_lines().items() if "--stop-on-eof" in line and sandbox.url in line]


def worker(project: Project, *arguments: str) -> Process:
    return project.start("worker", *arguments, launch=QUICK)


def check_once(project: Project, sandbox: Sandbox) -> None:
    counts: dict[str, Any] = sandbox.counts()
    assert sorted(counts["rendered_by_item"].values()) == [1] * 4
    assert counts["posts"] == 4
    project.check_all_done(counts)


def is_done(project: Project) -> Callable[[], bool]:
    return lambda: project.count(Status.COMPLETED) == 4


def test_a_killed_worker_takes_its_burst_along_and_another_goes_on(project: Project, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with worker(project) as killed:
        wait_until(lambda: sum(item.accepted for item in project.items()) == 4, what="all sent", seconds=PATIENT)
        assert len(bursts_of(sandbox)) == 1
        assert [line for line in command_lines().values() if SECRET in line] == []
        killed.kill()
        wait_until(lambda: not bursts_of(sandbox), what="the end of the killed worker's burst", seconds=PATIENT)
    assert sandbox.counts()["posts"] == 4
    with worker(project) as another:
        wait_until(lambda: bursts_of(sandbox), what="the burst of another worker", seconds=PATIENT)
        sandbox.release()
        wait_until(is_done(project), what="all items done", seconds=PATIENT)
        assert another.stop(signal.SIGTERM).code == 0
    check_once(project, sandbox)


def test_a_worker_told_to_stop_leaves_the_servers_queue_alone(project: Project, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with worker(project) as stopped:
        wait_until(lambda: sum(item.accepted for item in project.items()) == 4, what="all sent", seconds=PATIENT)
        ended = stopped.stop(signal.SIGTERM)  # though what is in flight never ends
    assert (ended.code, bursts_of(sandbox)) == (0, [])
    assert "stopping" in ended.out
    assert SECRET not in ended.out + ended.err
    assert (sandbox.counts()["posts"], project.count(Status.SUBMITTED)) == (4, 4)
    with open_store(project.state) as store:
        assert store.holders() == []
    sandbox.release()
    with worker(project, "--server", "gpu1", "--json") as another:
        wait_until(lambda: "gpu1: 4 completed" in another.err_so_far(), what="the line of the burst", seconds=PATIENT)
        printed = another.stop(signal.SIGTERM)
    assert printed.report["schema"] == "burst.worker/1"
    check_once(project, sandbox)
