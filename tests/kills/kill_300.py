"""SIGKILL (or SIGTERM) at random moments to `burst run` over one state, started again each time; prints the figures.

    python tests/kills/kill_300.py [--items 300] [--kills 200] [--signal KILL|TERM|INT] [--seed N]
                                   [--seconds-per-prompt 0.8]

Exits 1 when a promise was broken. The sandbox runs in this process, which nobody kills.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support.killing import Killing  # noqa: E402
from support.projects import Project  # noqa: E402

from orchestrator.sandbox import Sandbox, SandboxSettings  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds-per-prompt", type=float, default=0.8)
    options = parser.parse_args()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as place,
        Sandbox(
            SandboxSettings(seconds_per_prompt=options.seconds_per_prompt), directory=Path(place) / "server"
        ) as sandbox,
    ):
        home = Path(place) / "project"
        home.mkdir()
        project = Project(home, server=sandbox.url, count=options.items)
        killing = Killing(project, random.Random(options.seed), number=signal.Signals[f"SIG{options.signal}"])
        for number in range(1, options.kills + 1):
            moment = killing.kill_once()
            if number % 20 == 0:
                done = project.check_readable()["counts"]["completed"]
                print(f"kill {number}: {moment}, {done}/{options.items} completed", file=sys.stderr, flush=True)
        killed = sum(killing.moments.values())
        left = project.check_readable()["remaining"]
        sandbox.change(seconds_per_prompt=0.0)
        ended = project.run("-n", "50", "--until-done")
        counts = sandbox.counts()
        project.check_all_done(counts)
        figures = {
            "items": options.items,
            "signal": options.signal,
            "kills": killed,
            "slowest end after a signal, in seconds": round(killing.slowest_seconds, 3),
            "killed while": dict(killing.moments),
            "ended by itself before its kill": killing.missed,
            "left after the last kill": left,
            "exit code of the last run": ended.code,
            "completed": len(project.items()),
            "rendered by the server": sum(counts["rendered_by_item"].values()),
            "rendered more than once": sum(times > 1 for times in counts["rendered_by_item"].values()),
            "prompts posted": counts["posts"],
            "how bursts ended": dict(Counter(record.ended for record in project.bursts())),
            "minutes": round((time.monotonic() - began) / 60, 1),
        }
    print(json.dumps(figures, indent=2))
    return 0 if ended.code == 0 and figures["rendered more than once"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
