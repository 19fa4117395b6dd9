"""The machine that the figures were taken on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_SYNCS = 100


def describe(directory: Path) -> dict[str, Any]:
    """CPU, cores, memory, Python, and the disk under `directory` with what an append with fsync takes there."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "burst": _burst_version(),
        "file_system": _file_system(directory),
        "append_with_fsync_ms": round(_append_ms(directory), 3),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def as_text(machine: dict[str, Any]) -> str:
    """One line for a person."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {machine['system']}; "
        f"Python {machine['python']}; {machine['file_system']}, an append with fsync takes "
        f"{machine['append_with_fsync_ms']} ms; load before {machine['load_average'][0]}"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _file_system(directory: Path) -> str:
    """Its type, by the longest mount point above `directory`."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown file system"
    above = [(point, kind) for point, kind in mounts if directory.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown file system"


def _append_ms(directory: Path) -> float:
    path, line, seconds = directory / "append.bin", b"x" * 511 + b"\n", []
    with path.open("ab", buffering=0) as stream:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            stream.write(line)
            os.fsync(stream.fileno())
            seconds.append(time.perf_counter() - began)
    path.unlink()
    return 1000 * statistics.median(seconds)


def _burst_version() -> str:
    try:
        return version("comfyui-burst")
    except PackageNotFoundError:
        return "not installed"
