"""What it costs to look at a state in a database: `status`, and a run that waits."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.child import ROOT, environment, measure, script_command
from tests.benchmarks.figures import Figure, Target, ratio
from tests.benchmarks.project import Project
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.setting import Setting

_MIB = 1 << 20
_START_SECONDS = 60.0


def databases(place: Path) -> Iterator[tuple[str, str]]:
    """The name of each kind, and the address of a database without a state."""
    # The tests' own PostgreSQL: their helpers are not installed.
    sys.path.insert(0, str(ROOT / "tests"))
    from support.postgres import fresh_database

    yield "SQLite", f"sqlite:///{place}/state.db"
    yield "PostgreSQL", fresh_database()


def status(setting: Setting) -> list[Figure]:
    """The whole command on many items and on few, of 20 batches: most are completed, as after days of work."""
    few, many = setting.scale.few_items, setting.scale.sql_items
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    peak: dict[str, list[float]] = defaultdict(list)
    states: dict[str, dict[int, str]] = defaultdict(dict)
    for count in (few, many):
        place = setting.directory / f"sql-{count}"
        place.mkdir(exist_ok=True)
        for kind, address in databases(place):
            measure(script_command("make_sql_state", address, str(count)), cwd=setting.directory)
            states[kind][count] = address
    for _, place in setting.each_round("status"):
        for kind, addresses in states.items():
            for count, address in reversed(addresses.items()):
                found = place / "peak.txt"
                command = script_command("peak", str(found), "status")
                cost = measure(command, cwd=place, env=environment(BURST_STATE=address))
                seconds[kind][f"{'many' if count == many else 'few'} s"].append(cost.wall_seconds)
                if count == many:
                    peak[kind].append(int(found.read_text()) / _MIB)
    about = f"status, whole command, {many:,} items"
    return [
        figure
        for kind in states
        for figure in (
            Figure(f"{about}, {kind}: peak memory", tuple(peak[kind]), Target("at most", 100.0), unit="MiB"),
            ratio(f"{about} ÷ {few:,}, {kind}", seconds[kind], target=Target("at most", 2.0)),
        )
    ]


def idle(setting: Setting) -> list[Figure]:
    """Statements a second of a run that waits for one long prompt, once it waits and while nothing changes."""
    found: dict[str, list[float]] = defaultdict(list)
    for _, place in setting.each_round("idle"):
        for kind, address in databases(place):
            found[kind].append(_statements_a_second(setting, place / kind, address))
    return [
        Figure(f"statements a second of a run that waits, {kind}", tuple(rates), Target("at most", 0.6))
        for kind, rates in found.items()
    ]


def _statements_a_second(setting: Setting, home: Path, address: str) -> float:
    home.mkdir()
    times = home / "statements.txt"
    scale = setting.scale
    with SandboxProcess(home, seconds_per_prompt=600.0) as sandbox:
        Project(home, server=sandbox.url, count=1).init(env=environment(BURST_STATE=address))
        with _running(script_command("statements", str(times), "run"), home, address):
            until = time.monotonic() + _START_SECONDS
            while not sandbox.counts()["posts"] and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(scale.idle_settling_seconds)
            began = time.time()
            time.sleep(scale.idle_seconds)
            ended = time.time()
    made = [float(line) for line in times.read_text().splitlines()]
    return sum(began <= at < ended for at in made) / (ended - began)


@contextmanager
def _running(command: list[str], home: Path, address: str) -> Iterator[None]:
    """Until it is ended, while nothing else is done."""
    with (home / "out.txt").open("wb") as out:
        child = subprocess.Popen(command, cwd=home, env=environment(BURST_STATE=address), stdout=out, stderr=out)
    try:
        yield
        assert child.poll() is None, (home / "out.txt").read_text()
    finally:
        child.terminate()
        child.wait()
