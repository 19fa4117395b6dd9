"""Run bursts in this process with short timeouts, and check the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.item import Status
from support.projects import Project

Burst = Callable[..., BurstReport]
"""The fixture `burst`."""
SetTimes = Callable[..., None]
"""The fixture `set_times`."""


def run_quickly(
    project: Project, *, server: str | Sequence[str] | None = None, headers: dict[str, str] | None = None, **asked: Any
) -> BurstReport:
    """Run one burst on a project, with short ticks and half a second in doubt."""
    servers = (server,) if isinstance(server, str) else tuple(server or ())
    overrides = Overrides(servers=servers, headers=headers or {})
    times: dict[str, Any] = {"poll_seconds": 0.2, "in_doubt_seconds": 0.5}
    return Run(Request(state=project.state, overrides=overrides, **times | asked)).execute()


def check_untouched(project: Project) -> None:
    """Check that no burst has changed anything: items pending, no attempt charged, nothing submitted."""
    for item in project.items():
        assert (item.status, item.attempts, item.prompt_id) == (Status.PENDING, 0, None)


def check_done_once(project: Project, sandbox: Sandbox) -> None:
    """Check that all items are completed, each rendered once, with no attempt charged."""
    project.check_all_done(sandbox.counts())
    assert {item.attempts for item in project.items()} == {0}


def check_next_run(project: Project, sandbox: Sandbox, **asked: str) -> None:
    """Check that one more burst completes everything, see `check_done_once`."""
    assert run_quickly(project, **asked).exit_code == 0
    check_done_once(project, sandbox)
