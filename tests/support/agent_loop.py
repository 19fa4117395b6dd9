"""Work through a batch like an agent: the loop of docs/agents.md, `timeout S burst run -n N --json` in rounds."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.forked_python import forked_python
from support.pages import page
from support.projects import Project


def agents_loop(changes: Mapping[str, str]) -> str:
    """The loop of docs/agents.md, with each of these parts, which must be in it, replaced by another."""
    (loop,) = re.findall(r"^```sh\n(for round in .*?)^```$", page("agents.md"), flags=re.MULTILINE | re.DOTALL)
    for part, other in changes.items():
        assert part in loop, (part, loop)
        loop = loop.replace(part, other)
    assert isinstance(loop, str)
    return loop


@dataclass(frozen=True)
class Round:
    """One call: its exit code and every JSON object that it and the following `status` printed."""

    code: int
    printed: tuple[dict[str, Any], ...]


def agent_loop(project: Project, *, seconds: float, size: int, limit_seconds: float) -> list[Round]:
    """Run the shell loop to its end. Errors: JSONDecodeError for a line on stdout that is not JSON."""
    loop = agents_loop(
        {
            "timeout 50": f"timeout {seconds}",
            "-n 15 --json;": f'-n {size} --json --poll-interval 0.5 2>>"$LOG";',
            "code=$?": 'code=$?; echo "exit=$code"',
            "burst status --check >/dev/null": "burst status --check --json",
            "sleep 5": "sleep 0.5",
        }
    )
    with forked_python(project.home) as python:
        shell = subprocess.run(
            ["bash", "-c", loop.replace("burst ", f"{python} -m burst ")],
            cwd=project.home,
            env={**project.env(), "LOG": str(project.home / "stderr.log")},
            stdout=subprocess.PIPE,
            text=True,
            timeout=limit_seconds,
            check=True,
        )
    rounds: list[Round] = []
    code, printed = 0, []
    for line in shell.stdout.splitlines():
        if line.startswith("exit="):
            code = int(line.removeprefix("exit="))
            continue
        document = json.loads(line)
        printed.append(document)
        if document["schema"].startswith("burst.status/"):
            rounds.append(Round(code, tuple(printed)))
            printed = []
    return rounds
