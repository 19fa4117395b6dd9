"""A burst as a process: what it is told, what is made of its end, and that it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.state_scenes import NOON
from support.waiting import wait_until

from orchestrator.fleet import burst_process
from orchestrator.fleet.burst_process import BurstOptions, BurstProcesses, BurstResult
from state.location import Location
from state.server import RegisteredServer

SECRET = "hunter2secret"
LOCATION = Location.of(f"postgresql://burst:{SECRET}@127.0.0.1:1/burst")
SERVER = RegisteredServer(name="gpu1", url="http://10.0.0.11:8188", at=NOON)
MakeRun = Callable[..., BurstResult]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Run a program in the place of `burst`."""

    def running(program: str, *, max_seconds: float = 300.0, **more: Any) -> BurstResult:
        monkeypatch.setattr(burst_process.subprocesses, "command", lambda *said: [sys.executable, "-c", program, *said])
        bursts = BurstProcesses(LOCATION, BurstOptions(max_seconds=max_seconds))

        async def run_one() -> BurstResult:
            if more.get("stopped"):
                bursts.stop()
            return await bursts.run(SERVER)

        return asyncio.run(run_one())

    return running


def test_it_is_a_bounded_run_on_one_server_and_its_report_is_read(run: MakeRun) -> None:
    program = (
        "import json, os, sys\n"
        "print(json.dumps({'schema': 'burst.report/2', 'exit_code': 1, 'completed': 4, 'failed': 1, 'remaining': 7,"
        "'seconds': 2.5, 'reason': ' '.join(sys.argv[1:]), 'recovered': len(os.environ['BURST_STATE'])}))\n"
        "sys.exit(1)"
    )
    result = run(program, max_seconds=90.0)
    assert (result.exit_code, result.completed, result.failed, result.remaining, result.seconds) == (1, 4, 1, 7, 2.5)
    assert (result.has_progress, result.is_trouble) == (True, False)
    assert result.recovered == len(str(LOCATION.url)), "the address, by the environment"
    words = (result.reason or "").split()
    assert words[0] == "run"
    assert SECRET not in words
    assert {"--until-done", "--json", "--stop-on-eof", "gpu1=http://10.0.0.11:8188"} <= set(words)
    assert words[words.index("--max-seconds") + 1] == "90"


def test_the_default_name_of_a_server_is_no_name_to_give(run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        f"{__name__}.SERVER", RegisteredServer(name="127.0.0.1:8188@vm", url="http://127.0.0.1:8188", at=NOON)
    )
    result = run("import json, sys; print(json.dumps({'exit_code': 0, 'reason': sys.argv[-1]}))")
    assert result.reason == "http://127.0.0.1:8188"


@pytest.mark.parametrize(
    ("program", "code", "reason"),
    [
        ("import sys; sys.exit(70)", 70, "the burst ended with exit code 70"),
        ("print('{cut')", 0, "the burst ended with exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", -9, "the burst was killed by signal 9"),
        (
            'import sys; print(\'{"schema": "burst.error/1", "error": {"message": "no"}}\'); sys.exit(2)',
            2,
            "no",
        ),
    ],
)
def test_any_other_end_is_told(run: MakeRun, program: str, code: int, reason: str) -> None:
    result = run(program)
    assert (result.exit_code, result.reason, result.has_progress) == (code, reason, False)
    assert result.is_trouble == (code != 0)


def test_its_warnings_are_passed_on_with_the_servers_name(run: MakeRun, caplog: pytest.LogCaptureFixture) -> None:
    run("import sys; print('2026-11-30 10:00:00 burst: the disk is nearly full', file=sys.stderr)")
    wait_until(lambda: "gpu1: the disk is nearly full" in [one.message for one in caplog.records], what="the line")


def test_one_that_does_not_end_is_killed(run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst_process, "_OVERTIME_SECONDS", 0.5)
    monkeypatch.setattr(burst_process, "_REST_SECONDS", 0.1)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    assert run(deaf, max_seconds=0.1).exit_code in (-9, -15)


def test_what_it_leaves_behind_does_not_hold_its_worker_up(run: MakeRun, tmp_path: Path) -> None:
    """A ComfyUI that it started again has its output open for ever."""
    left = tmp_path / "pid"
    program = (
        "import subprocess, sys\n"
        f"left = subprocess.Popen(['sleep', '600']); open({str(left)!r}, 'w').write(str(left.pid))"
    )
    assert run(program).exit_code == 0
    os.kill(int(left.read_text()), signal.SIGKILL)


def test_one_that_begins_while_its_worker_stops_ends_at_once(run: MakeRun) -> None:
    assert run("import time; time.sleep(600)", stopped=True).exit_code == -15
