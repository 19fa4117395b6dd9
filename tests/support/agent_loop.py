"""Work through a batch like an agent: `timeout S burst run -n N --json` until `burst status --check` exits 0."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from support.projects import Project

_SCRIPT = """
while :; do
    timeout {seconds} {burst} run -n {size} --json --poll-interval 0.5 2>>"$LOG"
    echo "exit=$?"
    {burst} status --json
    {burst} status --check >/dev/null && break
done
"""


@dataclass(frozen=True)
class Round:
    """One call: its exit code and every JSON object that it and the following `status` printed."""

    code: int
    printed: tuple[dict[str, Any], ...]


def agent_loop(project: Project, *, seconds: float, size: int, limit_seconds: float) -> list[Round]:
    """Run the shell loop to its end. Errors: JSONDecodeError for a line on stdout that is not JSON."""
    script = _SCRIPT.format(seconds=seconds, size=size, burst=f"{sys.executable} -m burst")
    shell = subprocess.run(
        ["bash", "-c", script],
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
