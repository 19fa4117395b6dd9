"""A burst of one server as a process of its own: `burst run`, ended with the worker that started it.

A process, because a burst may be killed, run out of memory or hang while the worker goes on telling the database that
it is alive; and because `burst run` then does all that it does elsewhere. Its standard input is a pipe of the worker:
when that closes, however the worker ended, the burst stops as on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from orchestrator import subprocesses
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, EXIT_TRY_LATER
from orchestrator.log_lines import without_time
from state.location import Location
from state.server import RegisteredServer

_log = logging.getLogger(__name__)

_OVERTIME_SECONDS = 60.0
"""A burst that has not ended so long after its time is stopped."""
_LONGEST_LINE = 1 << 20
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
        self._processes: set[Process] = set()
        self._is_stopped = False

    async def run(self, server: RegisteredServer) -> BurstResult:
        process = await asyncio.create_subprocess_exec(
            *self._command(server),
            env=self._environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,  # Ctrl-C at a terminal is the worker's to pass on
        )
        self._processes.add(process)
        try:
            if self._is_stopped:
                process.terminate()
            return await self._watched(process, server)
        finally:
            self._processes.discard(process)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            assert process.stdin is not None
            process.stdin.close()

    def stop(self) -> None:
        again, self._is_stopped = self._is_stopped, True
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill() if again else process.terminate()

    def _command(self, server: RegisteredServer) -> list[str]:
        options = ("--max-seconds", f"{self._options.max_seconds:g}", "-n", self._options.items)
        return subprocesses.command(
            *("run", "--until-done", "--json", "--stop-on-eof", "--wait-server", "20", *options),
            *("--server", f"{server.name}={server.url}" if "@" not in server.name else server.url),
        )

    async def _watched(self, process: Process, server: RegisteredServer) -> BurstResult:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = asyncio.create_task(process.stdout.read())
        said = asyncio.create_task(_repeat(process.stderr, server.name))
        limit = self._options.max_seconds or None
        try:
            await asyncio.wait_for(process.wait(), None if limit is None else limit + _OVERTIME_SECONDS)
        except TimeoutError:
            _log.warning("%s: the burst did not end in time, and is stopped", server.name)
            await _end(process)
        # What the burst started itself may hold its pipes open.
        await asyncio.wait([printed, said], timeout=_REST_SECONDS)
        for task in (printed, said):
            task.cancel()
        return _result(printed.result() if _is_whole(printed) else b"", process.returncode or 0)


def _is_whole(printed: asyncio.Task[bytes]) -> bool:
    return printed.done() and not printed.cancelled() and printed.exception() is None


async def _end(process: Process) -> None:
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _REST_SECONDS)
        return
    process.kill()
    await process.wait()


async def _repeat(lines: asyncio.StreamReader, server: str) -> None:
    """What the burst warns of, with the server's name."""
    async for line in lines:
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
