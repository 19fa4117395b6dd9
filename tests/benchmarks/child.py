"""A program as a process of its own, with what it cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COUNTING = Path(__file__).resolve().parent / "scripts" / "counting"
_KIB = 1024


class ChildFailed(Exception):
    """A program that was to be measured ended with an error; the message has what it said."""


@dataclass(frozen=True)
class Cost:
    """What a process cost from its start to its end, the start of the interpreter included."""

    began_at: float
    """Seconds since the epoch."""
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    out: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON object that it printed last."""
        document: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return document


def environment(**more: str) -> dict[str, str]:
    """For every child: this checkout's code, and nothing of the caller's settings for burst."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BURST_", "COMFYUI_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def burst_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "burst", *arguments]


def script_command(name: str, *arguments: str) -> list[str]:
    """One of the programs in `scripts`."""
    return [sys.executable, "-m", f"tests.benchmarks.scripts.{name}", *arguments]


def measure(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run it to its end. Errors: ChildFailed where it does not end with 0.

    Linux starts a child's peak at that of its parent: `peak_bytes` says something only where it is above `own_peak`.
    """
    out, err = cwd / "stdout.txt", cwd / "stderr.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        began_at, began = time.time(), time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, env=dict(env or environment()), stdout=stdout, stderr=stderr)
        status, used = _waited(child)
        wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise ChildFailed(f"{' '.join(command)} ended with {child.returncode}: {err.read_text()[-2000:]}")
    return Cost(
        began_at=began_at,
        wall_seconds=wall,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_bytes=_bytes(used.ru_maxrss),
        out=out.read_text(),
    )


def _waited(child: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    """Its status and what it used; it is killed where the waiting is broken off."""
    try:
        _, status, used = os.wait4(child.pid, 0)
    except BaseException:
        child.kill()
        child.wait()
        raise
    return status, used


def own_peak() -> int:
    """The most memory that this process had, in bytes."""
    return _bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * _KIB
