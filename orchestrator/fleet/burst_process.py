"""A burst of one server as a process of its own: `burst run`, ended with the worker that started it.

A process, because a burst may be killed, run out of memory or hang while the worker goes on telling the database that
it is alive; and because `burst run` then does all that it does elsewhere. Its standard input is a pipe of the worker:
when that closes, however the worker ended, the burst stops as on SIGTERM.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Any, Protocol

import msgspec

from orchestrator import subprocesses
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, EXIT_TRY_LATER
from orchestrator.log_lines import without_time
from state.location import Location
from state.server import RegisteredServer

_log = logging.getLogger(__name__)

_OVERTIME_SECONDS = 60.0
"""A burst that has not ended so long after its time is stopped."""
_LOOK_SECONDS = 0.1
_REST_SECONDS = 3.0
"""So long after it was told to stop, it is killed."""


class BurstResult(msgspec.Struct, frozen=True):
    """How a burst ended; the fields are those of its JSON document."""

    exit_code: int
    completed: int = 0
    failed: int = 0
    recovered: int = 0
    remaining: int = 0
    seconds: float = 0.0
    reason: str | None = None

    @property
    def has_progress(self) -> bool:
        """Whether another burst can be expected to find work at once."""
        return self.exit_code in (EXIT_DONE, EXIT_ITEMS_FAILED) and self.completed + self.failed > 0

    @property
    def is_trouble(self) -> bool:
        """Whether a person should know of it."""
        return self.exit_code not in (EXIT_DONE, EXIT_ITEMS_FAILED, EXIT_TRY_LATER)


class Bursts(Protocol):
    """What runs bursts for a worker."""

    async def run(self, server: RegisteredServer) -> BurstResult:
        """One burst on this server, to its end."""

    def stop(self) -> None:
        """End all of them within seconds, as a signal does; what servers have is left as it is. Safe to repeat."""


@dataclass(frozen=True)
class BurstOptions:
    """How long a burst is."""

    max_seconds: float = 300.0
    items: str = "15"
    """As `burst run -n`."""


class BurstProcesses:
    """Runs each burst as `burst run` in a process."""

    def __init__(self, location: Location, options: BurstOptions) -> None:
        self._options = options
        # Everybody on the host can read arguments; the environment is the user's own.
        self._environment = subprocesses.environment(os.environ) | {"BURST_STATE": str(location.url)}
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    async def run(self, server: RegisteredServer) -> BurstResult:
        with tempfile.TemporaryFile() as printed:
            process = subprocess.Popen(
                self._command(server),
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C at a terminal is the worker's to pass on
            )
            threading.Thread(target=_repeat, args=(process.stderr, server.name), daemon=True).start()
            self._processes.add(process)
            try:
                if self._is_stopped:
                    process.terminate()
                code = await self._end_of(process, server)
            finally:
                self._processes.discard(process)
                process.kill()
                process.wait()
                assert process.stdin is not None
                process.stdin.close()
            printed.seek(0)
            return _result(printed.read(), code)

    def stop(self) -> None:
        again, self._is_stopped = self._is_stopped, True
        for process in self._processes:
            process.kill() if again else process.terminate()

    def _command(self, server: RegisteredServer) -> list[str]:
        options = ("--max-seconds", f"{self._options.max_seconds:g}", "-n", self._options.items)
        return subprocesses.command(
            *("run", "--until-done", "--json", "--stop-on-eof", "--wait-server", "20", *options),
            *("--server", f"{server.name}={server.url}" if "@" not in server.name else server.url),
        )

    async def _end_of(self, process: subprocess.Popen[bytes], server: RegisteredServer) -> int:
        """Its exit code. Not that of its output, which what the burst started itself may hold open."""
        limit = self._options.max_seconds
        code = await _ended(process, within_seconds=limit + _OVERTIME_SECONDS if limit else math.inf)
        if code is None:
            _log.warning("%s: the burst did not end in time, and is stopped", server.name)
            process.terminate()
            code = await _ended(process, within_seconds=_REST_SECONDS)
        if code is None:
            process.kill()
            code = process.wait()
        return code


async def _ended(process: subprocess.Popen[bytes], *, within_seconds: float) -> int | None:
    clock = asyncio.get_running_loop()
    until = clock.time() + within_seconds
    while (code := process.poll()) is None and clock.time() < until:
        await asyncio.sleep(_LOOK_SECONDS)
    return code


def _repeat(lines: IO[bytes], server: str) -> None:
    """What the burst warns of, with the server's name."""
    with lines:
        for line in lines:
            text = without_time(line.decode("utf-8", "replace").rstrip()).removeprefix("burst: ")
            _log.warning("%s: %s", server, text)


def _result(printed: bytes, code: int) -> BurstResult:
    try:
        found: dict[str, Any] = msgspec.json.decode(printed, type=dict[str, Any])
        if "error" in found:
            return BurstResult(code, reason=str(found["error"]["message"]))
        return msgspec.structs.replace(msgspec.convert(found, BurstResult), exit_code=code)
    except (msgspec.ValidationError, msgspec.DecodeError, KeyError, TypeError):
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return BurstResult(code, reason=f"the burst {ending}")
