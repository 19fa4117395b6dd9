"""Sessions and scripts that the documents show, run as they stand there: what is printed is what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agent_loop import agents_loop
from support.forked_python import forked_python
from support.launch import __file__ as LAUNCHER
from support.pages import DOCS, ROOT, blocks

from orchestrator.log_lines import without_time
from orchestrator.sandbox import Sandbox, SandboxSettings

DEADLINE_SECONDS = 60


def only_block(name: str, language: str) -> str:
    (found,) = blocks(DOCS / name, language)
    return found.text


def shape(line: str) -> str:
    """A line with everything that differs from run to run made the same; a log's without its time."""
    line = without_time(line)
    line = re.sub(r"https?://\S+?(?=[;,\s]|$)", "URL", line)
    line = re.sub(r"/\S*/(?=[\w.]+)", "/", line)
    line = re.sub(r"\bburst \w+ on \S+,", "burst ID on HOST,", line)
    return re.sub(r"\d+(\.\d+)?", "#", line).strip()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(seconds_per_prompt=0.05)) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> Iterator[tuple[Path, dict[str, str]]]:
    """A project: six prompts, a workflow, `burst` on the path, which is forked, a sandbox for a server."""
    for name in ("EP01/prompt_1", "EP01/prompt_2", "EP01/prompt_10", "EP02/prompt_1", "EP02/prompt_2", "EP02/prompt_3"):
        path = tmp_path / "prompts" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a picture of {name}")
    (tmp_path / "workflow_api.json").write_text((ROOT / "templates/txt2img-sd15.json").read_text())
    command = tmp_path / "bin" / "burst"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nexec forked-python -m burst "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COMFYUI_URL": sandbox.url,
    }
    with forked_python(command.parent):
        yield tmp_path, environment


def run(command: str, cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_the_console_session_goes_as_shown(project: tuple[Path, dict[str, str]]) -> None:
    directory, environment = project
    session = only_block("first-job.md", "console")
    steps = re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    assert len(steps) == 3
    for step in steps:
        command, *shown = step.splitlines()
        command = command.replace("http://127.0.0.1:8188", environment["COMFYUI_URL"])
        printed = run(command, directory, environment).splitlines()
        assert [shape(line) for line in printed] == [shape(line) for line in shown]


def test_several_servers_report_as_shown(project: tuple[Path, dict[str, str]]) -> None:
    directory, environment = project
    session = only_block("servers.md", "console")
    command, *shown = session.removeprefix("$ ").splitlines()
    run("burst init prompts --template workflow_api.json", directory, environment)
    with Sandbox(SandboxSettings(seconds_per_prompt=0.05)) as other:
        command = command.replace("http://gpu1:8188", environment["COMFYUI_URL"]).replace("http://gpu2:8188", other.url)
        printed = [shape(line) for line in run(command.replace("-n 20", "-n 4"), directory, environment).splitlines()]
    first = printed.index(shape(shown[1]))
    assert shown[0] == "…"
    assert printed[first : first + 4] == [shape(line) for line in shown[1:]]


def test_the_agents_loop_and_the_script_work(project: tuple[Path, dict[str, str]]) -> None:
    directory, environment = project
    run("burst init prompts --template smoke", directory, environment)
    script = only_block("agents.md", "python")
    (directory / "script.py").write_text(script)
    assert run(f"{sys.executable} script.py", directory, environment).split() == ["6", "0", "None"]
    run("burst reset --yes", directory, environment)
    run(agents_loop({}), directory, environment)
    run("burst status --check", directory, environment)


@dataclass
class LoopScene:
    """The loop of docs/agents.md in the project, with a `sleep` that only notes how long it was to wait."""

    directory: Path
    environment: dict[str, str]

    def __post_init__(self) -> None:
        self.environment["NOTES"] = str(self.directory)
        self.put_command("sleep", 'echo "$1" >>"$NOTES/pauses"\n')
        self.put_run('echo run >>"$NOTES/runs"')

    def put_run(self, script: str) -> None:
        """What `burst run` does first."""
        *before, real = (self.directory / "bin/burst").read_text().splitlines()[1:]
        self.put_command("burst", "\n".join([*before, f'[ "$1" != run ] || {script}', real, ""]))

    def put_command(self, name: str, script: str) -> None:
        command = self.directory / "bin" / name
        command.write_text(f"#!/bin/sh\n{script}")
        command.chmod(0o755)

    def loop(self, changes: Mapping[str, str], *, at_most: int = 4) -> tuple[int, list[str]]:
        """How many runs it made, and its pauses in seconds."""
        run(agents_loop({"seq 100": f"seq {at_most}", **changes}), self.directory, self.environment)
        return len(self.noted("runs")), self.noted("pauses")

    def noted(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def scene(project: tuple[Path, dict[str, str]]) -> LoopScene:
    run("burst init prompts --template smoke", *project)
    return LoopScene(*project)


def test_the_agents_loop_pauses_while_the_server_is_away_and_ends(scene: LoopScene) -> None:
    scene.environment["COMFYUI_URL"] = "http://127.0.0.1:9"
    assert scene.loop({"-n 15": "--wait-server 0"}, at_most=2) == (2, ["5"] * 2)


def test_the_agents_loop_pauses_after_a_run_that_was_killed_before_any_item_ended(
    scene: LoopScene, sandbox: Sandbox
) -> None:
    sandbox.hold("render")
    assert scene.loop({"timeout 50": "timeout 1"}, at_most=2) == (2, ["5"] * 2)


def test_the_agents_loop_ends_when_what_was_left_has_failed(scene: LoopScene, sandbox: Sandbox) -> None:
    sandbox.change(failure_rate=1.0)
    assert scene.loop({"-n 15": "-n 3 --max-attempts 1"}) == (2, [])


def test_the_agents_loop_ends_with_a_crash_which_status_names(scene: LoopScene) -> None:
    crash = "--raise before:orchestrator.comfyui:ComfyUI.submit"
    scene.put_run(f'exec forked-python {LAUNCHER} {crash} -- "$@"')
    assert scene.loop({}) == (1, [])
    status = run("burst status", scene.directory, scene.environment)
    assert re.search(r"^The last run failed \(crashed\) at [-0-9: ]{19}: KeyError: 'broken'", status, re.MULTILINE)
    assert status.endswith("Next: `burst doctor` finds the cause; then `burst run`\n")


def test_the_agents_loop_ends_with_what_a_person_must_change(scene: LoopScene) -> None:
    assert scene.loop({"-n 15": "--template nowhere.json"}) == (1, [])


def test_the_library_example_works(project: tuple[Path, dict[str, str]]) -> None:
    directory, environment = project
    script = only_block("library.md", "python")
    (directory / "script.py").write_text(script)
    assert run(f"{sys.executable} script.py", directory, environment) == f"100 % in {directory / 'renders'}\n"
    assert len(list((directory / "renders").rglob("*.png"))) == 8
