"""A burst as a process: one at a time, ended with this server however that ends."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import anyio
import msgspec

from orchestrator import subprocesses
from orchestrator.burst_arguments import arguments_of, environment_of, state_of
from orchestrator.clock import Clock
from orchestrator.log_lines import without_time
from orchestrator.settings import Overrides

_LOOK_SECONDS = 0.1
_LOCK_SECONDS = 5.0
"""So long a burst waits for one that was killed a moment ago and still ends."""
_REST_SECONDS = 3.0
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class _Burst:
    process: subprocess.Popen[bytes]
    printed: IO[bytes]
    warned: IO[bytes]
    began_at: float
    max_seconds: float


class Bursts:
    """Runs `burst run` on one state. Its standard input is a pipe of this process: a burst stops when that closes."""

    def __init__(self, state: Path, overrides: Overrides, *, clock: Clock | None = None) -> None:
        self._state = state
        self._overrides = overrides
        self._clock = clock or Clock()
        self._burst: _Burst | None = None
        self.last: Mapping[str, Any] | None = None
        """What the last one printed: its report, or an error."""

    @property
    def running(self) -> dict[str, float] | None:
        """How long one has been at work, and how long it may be; None where none is."""
        burst = self._burst
        if burst is None or burst.process.poll() is not None:
            return None
        return {
            "seconds": round(self._clock.monotonic() - burst.began_at, 1),
            "max_seconds": burst.max_seconds,
        }

    def start(self, *, items: int | str, max_seconds: float) -> None:
        """Begin one; the caller has looked that none is at work."""
        self._collect()
        by_arguments, by_variables = state_of(self._state)
        # Files, not pipes: nobody has to read them while it works.
        printed, warned = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        server = f"{min(20.0, max_seconds):g}"
        template = ("--template", self._overrides.template) if self._overrides.template is not None else ()
        process = subprocess.Popen(
            subprocesses.command(
                *("run", "--json", "--stop-on-eof", "-n", str(items), "--max-seconds", f"{max_seconds:g}"),
                *("--wait-lock", f"{_LOCK_SECONDS:g}", "--wait-server", server),
                *(*by_arguments, *arguments_of(self._overrides), *template),
            ),
            env=subprocesses.environment(environment_of(self._overrides)) | dict(by_variables),
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=warned,
            start_new_session=True,  # Ctrl-C is this server's
        )
        self._burst = _Burst(process, printed, warned, self._clock.monotonic(), max_seconds)

    async def end(self) -> Mapping[str, Any] | None:
        """Wait until none is at work: what the last one printed. May be given up at any time."""
        while self.running is not None:
            await anyio.sleep(_LOOK_SECONDS)
        self._collect()
        return self.last

    def stop(self) -> None:
        """End it, as a signal does: after its checkpoint; what the server has is collected by the next one."""
        if self._burst is None:
            return
        assert self._burst.process.stdin is not None
        self._burst.process.stdin.close()
        try:
            self._burst.process.wait(timeout=_REST_SECONDS)
        except subprocess.TimeoutExpired:
            self._burst.process.kill()
            self._burst.process.wait()
        self._collect()

    def _collect(self) -> None:
        """Take what it printed, once it has ended."""
        burst = self._burst
        if burst is None or (code := burst.process.poll()) is None:
            return
        self._burst = None
        assert burst.process.stdin is not None
        burst.process.stdin.close()
        with burst.printed, burst.warned:
            self.last = _printed(burst, code)


def _printed(burst: _Burst, code: int) -> Mapping[str, Any]:
    burst.printed.seek(0)
    try:
        return msgspec.json.decode(burst.printed.read(), type=dict[str, Any])
    except msgspec.DecodeError:
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        kind = "Stopped" if code < 0 else "Crashed"
        message = f"the burst {ending}: {_last_line(burst.warned)}; nothing is lost, run another one"
        return {"schema": "burst.error/1", "error": {"kind": kind, "message": message}, "exit_code": abs(code)}


def _last_line(warned: IO[bytes]) -> str:
    size = warned.seek(0, os.SEEK_END)
    warned.seek(max(0, size - _TAIL_BYTES))
    lines = warned.read().decode("utf-8", "replace").strip().splitlines()
    return without_time(lines[-1]).removeprefix("burst: ") if lines else "it said nothing"
