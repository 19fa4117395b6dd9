"""What the number of items costs: a checkpoint, the start of a run, its memory."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.child import Cost, burst_command, measure, own_peak, script_command
from tests.benchmarks.figures import Figure, Target, ratio
from tests.benchmarks.project import BOUND, PICTURE, STATE
from tests.benchmarks.sandbox import SandboxProcess
from tests.benchmarks.setting import Setting

_RECORD_BYTES = 400
_MIB = 1 << 20
_KINDS = ("made by hand", "written by burst")
_QUEUED = ("generate", "--prompt", "a fox", "--count", "2", "--template", "smoke", "--queue-only", "--again", "--json")


def checkpoint(setting: Setting) -> list[Figure]:
    """See scripts/checkpoints.py. Bytes and syncs must be the same at every checkpoint, time and rate by the median."""
    scale = setting.scale
    series: dict[str, list[float]] = defaultdict(list)
    for _, place in setting.each_round("checkpoint"):
        counts = (str(scale.few_items), str(scale.many_items), str(scale.checkpoints))
        sides = measure(script_command("checkpoints", *counts), cwd=place).report
        for name, side in sides.items():
            series[f"{name} ms"].append(1000 * statistics.median(side["seconds"]))
            series[f"{name} bytes"].append(sum(side["bytes"]) / scale.checkpoints)
            series[f"{name} syncs"].append(sum(side["syncs"]) / scale.checkpoints)
            series[f"{name} a second"].append(len(side["seconds"]) / sum(side["seconds"]))
    about = f"checkpoint at {scale.many_items:,} items ÷ at {scale.few_items:,}"
    one = Target("exactly", 1.0)
    return [
        ratio(f"{about}: bytes", _pair(series, "many bytes", "few bytes"), target=one),
        ratio(f"{about}: syncs", _pair(series, "many syncs", "few syncs"), target=one),
        ratio(f"{about}: time", _pair(series, "many ms", "few ms"), target=Target("at most", 1.2)),
        ratio(
            "checkpoints a second ÷ bare appends with fsync a second",
            _pair(series, "few a second", "append a second"),
            target=Target("at least", 0.5),
        ),
    ]


def _pair(series: dict[str, list[float]], above: str, below: str) -> dict[str, list[float]]:
    return {above: series[above], below: series[below]}


def many(setting: Setting) -> list[Figure]:
    """A burst of one over many items: the time to its first POST, and its peak memory.

    Each round begins with a file as a script makes it; the second run finds it as the first one wrote it. Each run is
    held against an interpreter that imports what any client needs, started after it, in every other round before it.
    """
    first_post: dict[str, list[float]] = defaultdict(list)
    imports: dict[str, list[float]] = defaultdict(list)
    peak: dict[str, list[float]] = defaultdict(list)
    count = setting.scale.many_items
    pristine = _made_by_hand(setting)
    for number, place in setting.each_round("many"):
        _copy_synced(pristine, place / STATE)
        (place / "workflow.json").write_text(json.dumps(PICTURE))
        for kind in _KINDS:
            before = _import_seconds(place) if number % 2 else None
            seconds, cost = _first_post(place)
            first_post[kind].append(seconds)
            imports[kind].append(before or _import_seconds(place))
            peak[kind].append(_checked_peak(cost) / _MIB)
    return [_first_post_figure(kind, count, first_post[kind], imports[kind]) for kind in _KINDS] + [
        Figure(
            f"peak memory of run, {count:,} records of {_RECORD_BYTES} bytes, file {kind}",
            tuple(peak[kind]),
            Target("at most", 250.0),
            unit="MiB",
        )
        for kind in _KINDS
    ]


def queueing(setting: Setting) -> list[Figure]:
    """`generate --queue-only` of two images over many items, compared with `status` just before it: CPU and memory.

    Each round begins with a file as a script makes it; the second pair finds it as the first one wrote it.
    """
    cpu: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in _KINDS}
    peak: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in _KINDS}
    count = setting.scale.many_items
    pristine = _made_by_hand(setting)
    for _, place in setting.each_round("queueing"):
        _copy_synced(pristine, place / STATE)
        for kind in _KINDS:
            status, status_peak = _with_peak(("status",), place)
            queued, queued_peak = _with_peak(_QUEUED, place)
            cpu[kind]["generate s"].append(queued.cpu_seconds)
            cpu[kind]["status s"].append(status.cpu_seconds)
            peak[kind]["generate MiB"].append(queued_peak / _MIB)
            peak[kind]["status MiB"].append(status_peak / _MIB)
    about = f"generate --queue-only of 2 beside {count:,} items, file"
    return [
        ratio(f"CPU of {about} {kind} ÷ of status", cpu[kind], target=Target("at most", 2.5)) for kind in _KINDS
    ] + [
        Figure(
            f"peak memory of {about} {kind} − of status",
            tuple(one - other for one, other in zip(*peak[kind].values(), strict=True)),
            Target("at most", 40.0),
            unit="MiB",
            parts={name: tuple(values) for name, values in peak[kind].items()},
        )
        for kind in _KINDS
    ]


def _with_peak(words: Sequence[str], place: Path) -> tuple[Cost, int]:
    """What one burst command cost, and its peak memory in bytes."""
    found = place / "peak.txt"
    cost = measure(script_command("peak", str(found), *words), cwd=place)
    return cost, int(found.read_text())


def _first_post_figure(kind: str, count: int, seconds: list[float], imports: list[float]) -> Figure:
    return ratio(
        f'first POST, {count:,} items, file {kind} ÷ python -c "import requests, click"',
        {"burst s": seconds, "imports s": imports},
        target=Target("at most", 4.0),
    )


def _first_post(place: Path) -> tuple[float, Cost]:
    """Seconds from the start of the process to its first prompt on a fresh server."""
    server = place / "server"
    if server.exists():
        shutil.rmtree(server)
    with SandboxProcess(place, seconds_per_prompt=0.0) as sandbox:
        named = ("--server", sandbox.url, "--template", "workflow.json", "--output", "output")
        cost = measure(burst_command("run", "--json", "-n", "1", *named, *BOUND), cwd=place)
        if cost.report["completed"] != 1:
            raise AssertionError(f"one item was to be completed: {cost.report}")
        return sandbox.first_begin() - cost.began_at, cost


def _import_seconds(place: Path) -> float:
    return measure([sys.executable, "-c", "import requests, click"], cwd=place).wall_seconds


def _checked_peak(cost: Cost) -> int:
    if cost.peak_bytes <= own_peak():
        raise AssertionError("this process is larger than the one to be measured: its memory cannot be told apart")
    return cost.peak_bytes


def _made_by_hand(setting: Setting) -> Path:
    """A state file of many items, as a script makes it."""
    count = setting.scale.many_items
    pristine = setting.directory / f"pristine-{count}.json"
    if not pristine.exists():
        arguments = (str(pristine), str(count), str(_RECORD_BYTES))
        measure(script_command("make_state", *arguments), cwd=setting.directory)
    return pristine


def _copy_synced(source: Path, target: Path) -> None:
    """So that the run pays for no write but its own."""
    shutil.copyfile(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
