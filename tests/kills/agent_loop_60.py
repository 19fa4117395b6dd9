"""60 items of half a second, done by `timeout 8 burst run -n 30 --json` again and again; prints the figures.

    python tests/kills/agent_loop_60.py

Exits 1 when a promise was broken.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support.agent_loop import agent_loop  # noqa: E402
from support.projects import Project  # noqa: E402

from orchestrator.sandbox import Sandbox, SandboxSettings  # noqa: E402


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        settings = SandboxSettings(seconds_per_prompt=0.5)
        with Sandbox(settings, directory=Path(place) / "server") as sandbox:
            home = Path(place) / "project"
            home.mkdir()
            project = Project(home, server=sandbox.url, count=60)
            rounds = agent_loop(project, seconds=8, size=30, limit_seconds=300)
            counts = sandbox.counts()
            project.check_all_done(counts)
    figures = {
        "items": 60,
        "exit codes": [one.code for one in rounds],
        "completed after each round": [one.printed[-1]["counts"]["completed"] for one in rounds],
        "JSON objects on stdout, all parsed": sum(len(one.printed) for one in rounds),
        "rendered by the server": sum(counts["rendered_by_item"].values()),
        "rendered more than once": sum(times > 1 for times in counts["rendered_by_item"].values()),
        "share of the time in which the server was busy": round(counts["busy_share_of_work"], 3),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(figures, indent=2))
    return 1 if figures["rendered more than once"] else 0


if __name__ == "__main__":
    sys.exit(main())
