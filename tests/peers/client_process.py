"""A client as a process of its own: started, killed with all that it started, and what it cost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_KIB = 1024


class ClientProcess:
    """Runs in a session of its own. `kill` is a kill -9 of all of it.

    `cpu_seconds`: of the process and of those of its children for which it waited. `peak_bytes`: the most that was seen
    of its processes at once, each by its own peak.
    """

    def __init__(self, command: Sequence[str], *, folder: Path, env: Mapping[str, str], log: Path) -> None:
        self.cpu_seconds = 0.0
        self.peak_bytes = 0
        self.exit_code: int | None = None
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                command, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
        self.began = time.monotonic()
        self.seconds = 0.0

    @property
    def ended(self) -> bool:
        """Whether it has ended; looks, and does not wait."""
        if self.exit_code is None:
            self.peak_bytes = max(self.peak_bytes, _peak_of_session(self._process.pid))
            self._reap(os.WNOHANG)
        return self.exit_code is not None

    def kill(self) -> None:
        """Does nothing to one that has ended."""
        if self.ended:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._reap(0)

    def _reap(self, options: int) -> None:
        pid, status, usage = os.wait4(self._process.pid, options)
        if pid:
            self.exit_code = self._process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = usage.ru_utime + usage.ru_stime
            self.seconds = time.monotonic() - self.began


def _peak_of_session(leader: int) -> int:
    """Bytes. Not `ru_maxrss`: that of a fresh child begins with what its parent held."""
    return sum(_peak_bytes(pid) for pid in [leader, *_descendants(leader)])


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [further for child in children for further in _descendants(child)]


def _peak_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIB
    return 0
