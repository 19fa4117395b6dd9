"""What a burst costs its client: wall time, CPU, syncs, requests; against the bare loop where there is one."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.child import COUNTING, ROOT, Cost, environment, measure
from tests.benchmarks.figures import Figure, Target, ratio
from tests.benchmarks.project import Project, in_turn
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.setting import Setting

_Series = dict[str, list[float]]


def wall(setting: Setting) -> list[Figure]:
    """One burst of all items, and the bare loop over them; with the start of both interpreters."""
    scale = setting.scale
    seconds = _in_turn(
        setting,
        "wall",
        count=scale.wall_items,
        prompt_seconds=scale.wall_prompt_seconds,
        cost=lambda cost: cost.wall_seconds,
        unit="s",
    )
    measure = f"wall time, {scale.wall_items} items of {1000 * scale.wall_prompt_seconds:g} ms: burst ÷ bare loop"
    return [ratio(measure, seconds, target=Target("at most", 1.03))]


def cpu(setting: Setting) -> list[Figure]:
    """The same at zero seconds per prompt, where the client is all that costs; CPU, user and system."""
    count = setting.scale.cpu_items
    milliseconds = _in_turn(
        setting,
        "cpu",
        count=count,
        prompt_seconds=0.0,
        cost=lambda cost: 1000 * cost.cpu_seconds / count,
        unit="ms",
    )
    measure = f"client CPU per item, {count} small images at 0 s: burst ÷ bare loop"
    return [ratio(measure, milliseconds, target=Target("at most", 2.0))]


def comfyui(setting: Setting) -> list[Figure]:
    """Wall time per item on a real ComfyUI with the smoke template. It is left as it is, with the images on it."""
    assert setting.comfyui is not None
    count = setting.scale.comfyui_items
    series: _Series = defaultdict(list)
    for number, place in setting.each_round("comfyui"):
        for side in in_turn(number):
            project = _project(place / side, server=setting.comfyui, count=count, smoke=True)
            series[f"{side} ms"].append(1000 * _run(project, side).wall_seconds / count)
    measure = f"wall time per item, {count} items, real ComfyUI, smoke template: burst ÷ bare loop"
    return [ratio(measure, _burst_first(series, "ms"), target=Target("at most", 1.15))]


def counted(setting: Setting) -> list[Figure]:
    """Syncs, counted inside the client, and requests, counted by the server, of one burst; start and end included."""
    count = setting.scale.counted_items
    syncs, requests = [], []
    for _, place in setting.each_round("counted"):
        with SandboxProcess(place, seconds_per_prompt=0.0) as sandbox:
            project = _project(place / "burst", server=sandbox.url, count=count)
            env = environment(PYTHONPATH=f"{COUNTING}{os.pathsep}{ROOT}", BURST_COUNTED=str(place / "counted.json"))
            project.run("-n", str(count), env=env)
            syncs.append(json.loads((place / "counted.json").read_text())["syncs"] / count)
            requests.append(sandbox.requests() / count)
    about = f"per item, one burst of {count} at 0 s"
    return [
        Figure(f"syncs {about}", tuple(syncs), Target("at most", 3.0)),
        Figure(f"requests {about}", tuple(requests), Target("at most", 4.0)),
    ]


def requests(setting: Setting) -> list[Figure]:
    """How often the server is asked while it works."""
    scale = setting.scale
    values = []
    for _, place in setting.each_round("requests"):
        with SandboxProcess(place, seconds_per_prompt=scale.slow_prompt_seconds) as sandbox:
            project = _project(place / "burst", server=sandbox.url, count=scale.slow_items)
            by_init = sandbox.requests()
            project.run("-n", str(scale.slow_items))
            values.append((sandbox.requests() - by_init) / scale.slow_items)
    measure = f"requests per item, {scale.slow_prompt_seconds:g} s prompts, burst of {scale.slow_items}"
    return [Figure(measure, tuple(values), Target("at most", 3.4))]


def _in_turn(
    setting: Setting, row: str, *, count: int, prompt_seconds: float, cost: Callable[[Cost], float], unit: str
) -> _Series:
    """Burst and bare loop in changing order, each with a server and a project of its own."""
    series: _Series = defaultdict(list)
    for number, place in setting.each_round(row):
        for side in in_turn(number):
            (place / side).mkdir()
            with SandboxProcess(place / side, seconds_per_prompt=prompt_seconds) as sandbox:
                project = _project(place / side / "project", server=sandbox.url, count=count)
                series[f"{side} {unit}"].append(cost(_run(project, side)))
    return _burst_first(series, unit)


def _burst_first(series: _Series, unit: str) -> _Series:
    return {name: series[name] for name in (f"burst {unit}", f"bare loop {unit}")}


def _project(home: Path, *, server: str, count: int, smoke: bool = False) -> Project:
    home.mkdir()
    project = Project(home, server=server, count=count, smoke=smoke)
    project.init()
    return project


def _run(project: Project, side: str) -> Cost:
    """Errors: AssertionError where not every image is there afterwards."""
    count = len(list((project.home / "prompts").rglob("*.txt")))
    cost = project.run("-n", str(count)) if side == "burst" else measure(project.bare_command(), cwd=project.home)
    made = len(list((project.home / ("output" if side == "burst" else "bare")).rglob("*.png")))
    if made != count:
        raise AssertionError(f"{side}: {made} images of {count}")
    return cost
