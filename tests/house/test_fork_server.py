"""A test that runs `burst` as a fork of a server sees what a user sees who starts it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import fork_server
from support.launch import __file__ as LAUNCHER
from support.projects import ROOT, Ended, Process
from support.waiting import wait_until

from orchestrator.log_lines import without_time

KILLED = (LAUNCHER, "--kill", "before:state.json.store:JsonStore.add", "--", "init", "prompts")
SANDBOX = ("-m", "burst", "sandbox", "--json", "--port", "0")


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two of one kind: what is run in the first is forked, in the second started."""

    def made() -> Iterator[Path]:
        for name in ("forked", "started"):
            prompts = tmp_path / name / "prompts"
            prompts.mkdir(parents=True)
            (prompts / "ä.txt").write_text("a lighthouse")
            yield prompts.parent
            monkeypatch.setattr(fork_server, "_can_be_forked", lambda *_: False)

    return made()


def process(home: Path, *arguments: str, **variables: str) -> Process:
    # Not the address where a ComfyUI may come up between the two.
    nobody = {"COMFYUI_URL": "http://127.0.0.1:9"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "BURST_STATE": "ö.json", **nobody, **variables}
    return Process([sys.executable, *arguments], cwd=home, env=env)


def is_forked(running: Process) -> bool:
    """A fork has the command line of what it was forked from."""
    return b"sandbox" not in Path(f"/proc/{running.pid}/cmdline").read_bytes()


def seen(home: Path, ended: Ended) -> tuple[object, ...]:
    """With the files that it left, and without the times of log lines."""
    texts = [without_time(text.replace(str(home), "HOME")) for text in (ended.out, ended.err)]
    return ended.code, *texts, sorted(path.relative_to(home) for path in home.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("-m", "burst", "--version"), 0),
        (("-m", "burst", "status", "--json"), 2),
        (("-m", "burst", "init", "prompts"), 0),
        (("-m", "burst", "run", "--no-such-flag"), 2),
        (KILLED, 137),
    ],
)
def test_output_files_and_exit_code_are_the_same(homes: Iterator[Path], arguments: tuple[str, ...], code: int) -> None:
    found = []
    for home in homes:
        with process(home, *arguments) as running:
            found.append(seen(home, running.end()))
    forked, started = found
    assert forked == started
    assert forked[0] == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signals_do_the_same(homes: Iterator[Path], number: signal.Signals) -> None:
    codes, forked = [], []
    for home in homes:
        with process(home, *SANDBOX) as running:
            wait_until(running.out_so_far, what="it listens")
            forked.append(is_forked(running))
            assert os.readlink(f"/proc/{running.pid}/cwd") == str(home)
            codes.append(running.stop(number).code)
            assert not Path(f"/proc/{running.pid}").exists()
    assert codes[0] == codes[1]
    assert forked == [True, False]


def test_what_python_reads_as_it_starts_is_not_the_servers(tmp_path: Path) -> None:
    with process(tmp_path, *SANDBOX, PYTHONFAULTHANDLER="1") as running:
        wait_until(running.out_so_far, what="it listens")
        assert not is_forked(running)
        ended = running.stop(signal.SIGABRT)
    assert ended.code == 128 + signal.SIGABRT
    assert "Fatal Python error: Aborted" in ended.err
