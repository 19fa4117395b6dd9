"""Whether the server ever waits: its busy share, as its own history tells when each prompt ran."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.child import environment, measure
from tests.benchmarks.figures import SHOWN, Figure, Target, busy_share
from tests.benchmarks.project import Project, in_turn
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.setting import Setting

_BURST = 15
_SMALL_BURST = 8
_FAR_TOO_LONG = 20.0
"""Times the server's working time: then something does not come to its end."""


class Endless(Exception):
    """Started again and again, and still not done."""


def busy(setting: Setting) -> list[Figure]:
    """Short bursts in a row in one process; how many prompts wait on the server is the burst's own choice.

    Beside it the share that the bare loop reaches, which submits everything at once: the most that this server can.
    """
    scale = setting.scale
    shares: dict[str, list[float]] = {"burst": [], "bare loop": []}
    for number, place in setting.each_round("busy"):
        for side in in_turn(number):
            (place / side).mkdir()
            with SandboxProcess(place / side, seconds_per_prompt=scale.busy_prompt_seconds) as sandbox:
                project = _project(place / side, sandbox, count=scale.busy_items)
                if side == "burst":
                    project.init()
                    project.run("-n", str(_BURST), "--until-done")
                else:
                    measure(project.bare_command(), cwd=project.home)
                shares[side].append(_share(sandbox, count=scale.busy_items))
    prompts = f"{scale.busy_items} prompts of {1000 * scale.busy_prompt_seconds:g} ms"
    name = f"server busy share, bursts of {_BURST} under --until-done, {prompts}"
    parts = {"all submitted at once": tuple(shares["bare loop"])}
    return [Figure(name, tuple(shares["burst"]), Target("at least", 0.98), parts=parts)]


def killed(setting: Setting) -> list[Figure]:
    """A SIGKILL at a random moment, started again at once, until all is done; nothing may be rendered twice."""
    scale = setting.scale
    shares, kills, again = [], [], []
    for number, place in setting.each_round("killed"):
        with SandboxProcess(place, seconds_per_prompt=scale.killed_prompt_seconds) as sandbox:
            project = _project(place, sandbox, count=scale.killed_items)
            project.init()
            ahead = ("-n", str(_SMALL_BURST), "--ahead", str(_SMALL_BURST))
            kills.append(_until_done(project.run_command(*ahead), project.home, setting, seed=setting.seed + number))
            shares.append(_share(sandbox, count=scale.killed_items))
            again.append(sandbox.rendered_again())
    if any(again):
        raise AssertionError(f"rendered twice, round by round: {again}")
    return [_figure("", setting, shares, kills, again, Target("at least", 0.97))]


def plain(setting: Setting) -> list[Figure]:
    """The same kills under the plain protocol."""
    scale = setting.scale
    shares, kills, again = [], [], []
    for number, place in setting.each_round("plain"):
        with SandboxProcess(place, seconds_per_prompt=scale.killed_prompt_seconds) as sandbox:
            project = _project(place, sandbox, count=scale.killed_items)
            command = project.protocol_command(size=_SMALL_BURST, poll_seconds=scale.protocol_poll_seconds)
            kills.append(_until_done(command, project.home, setting, seed=setting.seed + number))
            shares.append(_share(sandbox, count=scale.killed_items + sandbox.rendered_again()))
            again.append(sandbox.rendered_again())
    return [_figure(", under the plain protocol", setting, shares, kills, again, SHOWN)]


def _figure(
    how: str, setting: Setting, shares: list[float], kills: list[int], again: list[int], target: Target
) -> Figure:
    scale = setting.scale
    prompts = f"{scale.killed_items} prompts of {1000 * scale.killed_prompt_seconds:g} ms"
    low, high = scale.kill_after_seconds
    size = f"-n {_SMALL_BURST}" + ("" if how else f" --ahead {_SMALL_BURST}")
    name = f"server busy share, {prompts}, {size}, a SIGKILL after {low:g}–{high:g} s each{how}"
    parts = {"SIGKILLs": tuple(map(float, kills)), "rendered twice": tuple(map(float, again))}
    return Figure(name, tuple(shares), target, parts=parts)


def _project(place: Path, sandbox: SandboxProcess, *, count: int) -> Project:
    home = place / "project"
    home.mkdir()
    return Project(home, server=sandbox.url, count=count)


def _share(sandbox: SandboxProcess, *, count: int) -> float:
    intervals = sandbox.intervals()
    if len(intervals) != count:
        raise AssertionError(f"the server ran {len(intervals)} prompts, {count} were to be run")
    return busy_share(intervals)


def _until_done(command: Sequence[str], home: Path, setting: Setting, *, seed: int) -> int:
    """Start, kill, start again, until a run ends by itself with nothing left. Returns the number of kills.

    Errors: Endless; ChildFailed-like endings (any code but 0 and 75) as subprocess.CalledProcessError.
    """
    scale = setting.scale
    draw = random.Random(seed)
    until = time.monotonic() + 60.0 + _FAR_TOO_LONG * scale.killed_items * scale.killed_prompt_seconds
    kills = 0
    while time.monotonic() < until:
        ended = _run_or_kill(command, home, seconds=draw.uniform(*scale.kill_after_seconds))
        if ended is None:
            kills += 1
        elif _remaining(ended) == 0:
            return kills
    raise Endless(f"{' '.join(command)}: not done after {kills} kills")


def _run_or_kill(command: Sequence[str], home: Path, *, seconds: float) -> str | None:
    """What it printed, or None where it was killed first."""
    with (home / "stderr.txt").open("ab") as err:
        child = subprocess.Popen(command, cwd=home, env=environment(), stdout=subprocess.PIPE, stderr=err, text=True)
        try:
            out, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if child.poll() is None:
                child.kill()
                child.communicate()
    if child.returncode not in (0, 75):
        raise subprocess.CalledProcessError(child.returncode, list(command), out, (home / "stderr.txt").read_text())
    return out


def _remaining(out: str) -> int:
    report = json.loads(out.splitlines()[-1])
    left: int = report["remaining"]
    return left
