"""The job that both sides do: prompt files and a workflow; and the commands that do it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.child import ROOT, Cost, burst_command, environment, measure, script_command

PICTURE: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        "_meta": {"title": "Canvas"},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
"""One small image. The prompt text is its colour, so that no two prompts are the same and no cache answers."""
BOUND = ("--bind", "prompt=title=Canvas.color")
STATE = "re_render_state.json"


def in_turn(number: int) -> tuple[str, str]:
    """Both sides in the order of this round."""
    return ("burst", "bare loop") if number % 2 == 0 else ("bare loop", "burst")


class Project:
    """`count` prompt files, a workflow, and what each side makes of them, below one empty directory."""

    def __init__(self, home: Path, *, server: str, count: int, smoke: bool = False) -> None:
        self.home = home
        self.server = server
        self._init = ["init", "prompts", "--server", server, "--output", "output", "--template", "workflow.json"]
        self._workflow = home / "workflow.json"
        if smoke:
            shutil.copyfile(ROOT / "templates" / "smoke.json", self._workflow)
        else:
            self._workflow.write_text(json.dumps(PICTURE))
            self._init += BOUND
        folder = home / "prompts" / "EP01"
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            text = f"a lighthouse on a cliff, view {number}" if smoke else str(number)
            (folder / f"prompt_{number:04d}.txt").write_text(text)

    def init(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        """What is done once, before any run: not measured."""
        measure(burst_command(*self._init, *arguments), cwd=self.home, env=env)

    def run_command(self, *arguments: str) -> list[str]:
        return burst_command("run", "--json", *arguments)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Cost:
        """`burst run`, which must finish all that there is to do."""
        cost = measure(self.run_command(*arguments), cwd=self.home, env=env or environment())
        if left := cost.report["remaining"]:
            raise AssertionError(f"{left} items are left after burst run {' '.join(arguments)}")
        return cost

    def bare_command(self) -> list[str]:
        """The bare loop over the same prompt files and the same workflow."""
        return script_command("bare_loop", self.server, str(self._workflow), "prompts", "bare")

    def socket_command(self) -> list[str]:
        """The bare loop that listens to the server's events."""
        return script_command("bare_socket", self.server, str(self._workflow), "prompts", "bare")

    def protocol_command(self, *, size: int, poll_seconds: float) -> list[str]:
        """One run of the plain protocol over the same prompt files and the same workflow."""
        places = (str(self._workflow), "prompts", "protocol")
        return script_command("plain_protocol", self.server, *places, str(size), str(poll_seconds))
