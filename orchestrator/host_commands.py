"""A command of a host's own configuration, run to its end or a limit of time; what it writes goes to a file."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.clock import Clock
from state import operating_system
from state.disk import Disk

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Ended:
    """How it ended, or that it was left to go on by itself."""

    problem: str | None
    """`ended with 3`; None where it succeeded, and where it goes on."""
    was_killed: bool = False
    """It took longer than it may."""


def run_command(
    command: str | Sequence[str],
    *,
    output: Path,
    environment: Mapping[str, str],
    limit_seconds: float,
    clock: Clock,
    halt: threading.Event | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Ended:
    """Run it, in a shell where it is a text, and append what it writes to `output`, which its owner alone can read.

    After `limit_seconds` it is killed with what it started. `halt`: it is left to go on by itself. `meanwhile` is
    called again and again. Errors: DiskFull for the folder of `output`.
    """
    Disk().make_directory(output.parent)
    try:
        process = _started(command, output, environment)
    except OSError as error:
        return Ended(f"could not be started: {error.strerror}")
    until, halt = clock.monotonic() + limit_seconds, halt or threading.Event()
    while process.poll() is None and not halt.is_set():
        if clock.monotonic() >= until:
            operating_system.kill_with_children(process)
            process.wait()
            return Ended(f"did not end within {limit_seconds:g} s and was killed", was_killed=True)
        meanwhile()
        clock.wait(halt, _LOOK_SECONDS)
    return Ended(f"ended with {process.returncode}" if process.returncode else None)


def _started(command: str | Sequence[str], output: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A file, not a pipe: what the command leaves running may go on writing, and must not be waited for.
    with open(output, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        return subprocess.Popen(
            command,
            shell=isinstance(command, str),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
