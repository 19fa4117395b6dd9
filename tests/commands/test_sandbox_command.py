from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from support.documents import checked

from burst import cli
from orchestrator.commands.sandbox import SANDBOX_OPTIONS
from orchestrator.sandbox import SandboxSettings

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def process(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "burst", "sandbox", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_says_where_it_listens_and_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    with process("--port", "0", "--json", cwd=tmp_path) as child:
        document = checked(json.loads(first_line(child)))
        assert document["schema"] == "burst.sandbox/1"
        assert requests.get(document["url"] + "/prompt", timeout=5).json() == {"exec_info": {"queue_remaining": 0}}
        child.send_signal(number)
        out, err = child.communicate(timeout=5)
        assert (child.returncode, out, err) == (0, "", "")


def test_under_nohup_it_goes_on_when_the_terminal_is_closed(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process("--port", "0", cwd=tmp_path) as child:
            url = first_line(child).split()[-1]
            child.send_signal(signal.SIGHUP)
            assert requests.get(url + "/prompt", timeout=5).ok
            child.terminate()
            assert child.wait(timeout=5) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_options_arrive(tmp_path: Path) -> None:
    options = ["--seconds-per-prompt", "0.5", "--fail-next", "2", "--checkpoint", "a.safetensors"]
    options += ["--comfyui-version", "0.33.0", "--seconds-next", "7,1,0.5", "--unreadable-history"]
    with process("--port", "0", "--directory", "kept", *options, cwd=tmp_path) as child:
        url = first_line(child).split()[-1]
        settings = requests.get(url + "/sandbox/settings", timeout=5).json()
    given = {"seconds_per_prompt": 0.5, "fail_next": 2, "checkpoints": ["a.safetensors"], "unreadable_history": True}
    given |= {"comfyui_version": "0.33.0", "seconds_next": [7.0, 1.0, 0.5]}
    assert settings == SandboxSettings().as_dict() | {name: given.get(name, settings[name]) for name in settings}
    assert {name: settings[name] for name in given} == given
    assert (tmp_path / "kept" / "output").is_dir()


def test_every_setting_has_an_option() -> None:
    names = {field.name for field in dataclasses.fields(SandboxSettings)}
    options = {flag.removeprefix("--").replace("-", "_") + "s" * (kind is str) for flag, kind, _ in SANDBOX_OPTIONS}
    assert options == names


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["sandbox", "--port", str(port)])
    assert result.exit_code == 2
    assert f"127.0.0.1:{port}: Address already in use" in result.stderr


def test_a_rate_that_does_not_fit() -> None:
    assert CliRunner().invoke(cli, ["sandbox", "--failure-rate", "2"]).exit_code == 2


def test_help_names_every_option() -> None:
    text = CliRunner().invoke(cli, ["sandbox", "--help"]).output
    assert all(flag in text for flag, _, _ in SANDBOX_OPTIONS)
