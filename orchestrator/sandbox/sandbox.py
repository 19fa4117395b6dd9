"""Run a sandbox in a background thread, or as the only task of a process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from orchestrator.accepting import stop_accepting
from orchestrator.sandbox.settings import HoldPoint, SandboxSettings
from state.operating_system import HANG_UP

if TYPE_CHECKING:
    from orchestrator.sandbox.machine import Machine

_SHUTDOWN_SECONDS = 0.5
_LOOK_SECONDS = 0.2


class Sandbox:
    """A running sandbox: `with Sandbox(SandboxSettings(seconds_per_prompt=0.1)) as sandbox: use(sandbox.url)`.

    Without `directory`, its files are in a temporary directory, which is removed with it. `port` 0: any free port. The
    methods are thread-safe while it runs; each does the same as the endpoint of its name under /sandbox.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        directory: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._settings = settings or SandboxSettings()
        self._directory = directory
        self._address = (host, port)
        self._closing = contextlib.ExitStack()
        self._running: Machine | None = None
        self._url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start listening, and return when it does. Errors: OSError if the port is in use, SettingsError."""
        from orchestrator.sandbox.machine import Machine

        host, port = self._address
        with contextlib.ExitStack() as opened:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = opened.enter_context(socket.create_server((host, port), family=family, backlog=1024))
            directory = self._directory
            if directory is None:
                temporary = tempfile.TemporaryDirectory(prefix="burst-sandbox-", ignore_cleanup_errors=True)
                directory = Path(opened.enter_context(temporary))
            machine = Machine(self._settings, directory=directory)
            opened.callback(machine.close)
            server = _ServerThread(machine, listener)
            opened.callback(server.close)
            server.start()
            self._closing = opened.pop_all()
        self._running = machine
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        self._url = f"http://{shown}:{listener.getsockname()[1]}"

    def close(self) -> None:
        """Stop both threads and close every connection. Safe to repeat."""
        self._closing.close()
        self._running = None

    @property
    def url(self) -> str:
        """The URL that it listens on, without a trailing slash."""
        return self._url

    @property
    def output_directory(self) -> Path:
        """The server's output folder."""
        return self._machine.files.folder("output")

    @property
    def input_directory(self) -> Path:
        """The server's input folder."""
        return self._machine.files.folder("input")

    @property
    def settings(self) -> SandboxSettings:
        """The current settings; one-shot counts have their remaining value."""
        return self._machine.faults.settings

    def change(self, **settings: Any) -> SandboxSettings:
        """Change settings while it runs, all or none. Errors: SettingsError."""
        return self._machine.faults.change(settings)

    def counts(self) -> dict[str, Any]:
        """The counts so far, as in GET /sandbox/counts."""
        return self._machine.counts.as_dict()

    def hold(self, at: HoldPoint = "next") -> None:
        """Make the worker wait at a point until `release`."""
        self._machine.hold(at)

    def release(self) -> None:
        """Let the worker continue."""
        self._machine.release()

    def stall(self) -> None:
        """Stop the worker while HTTP still works; ended only by `restart`."""
        self._machine.stall()

    def restart(self, *, keep_outputs: bool = True, leave_cut_file: bool = False, down_seconds: float = 0.0) -> None:
        """Like a kill -9 and a restart: queue, history and running prompt are lost; counts and hold remain."""
        self._machine.restart(keep_outputs=keep_outputs, leave_cut_file=leave_cut_file, down_seconds=down_seconds)

    @property
    def _machine(self) -> Machine:
        if self._running is None:
            raise RuntimeError("this sandbox is not running")
        return self._running


def serve(
    settings: SandboxSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 8188,
    directory: Path | None = None,
    announce: Callable[[str], None],
) -> None:
    """Run a sandbox until SIGTERM, SIGINT or SIGHUP; `announce` gets the URL when it listens. Only in the main thread.

    A SIGHUP that is ignored, as under `nohup`, stays so.

    Errors: OSError if the port is in use, SettingsError.
    """
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    ends = [signal.SIGTERM, signal.SIGINT]
    if HANG_UP is not None and signal.getsignal(HANG_UP) != signal.SIG_IGN:
        ends.append(HANG_UP)
    before = {number: signal.signal(number, stop) for number in ends}
    try:
        with Sandbox(settings, directory=directory, host=host, port=port) as sandbox:
            announce(sandbox.url)
            # The kernel may deliver the signal to another thread; handlers run in this one when it wakes up.
            while not stopped.wait(_LOOK_SECONDS):
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _ServerThread:
    """aiohttp on its own event loop in its own thread."""

    def __init__(self, machine: Machine, listener: socket.socket) -> None:
        self._machine = machine
        self._listener = listener
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="burst sandbox", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        from aiohttp import web

        from orchestrator.sandbox.server import application

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        publishing = asyncio.create_task(self._machine.events.publish())
        runner = web.AppRunner(application(self._machine), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listener).start()
            self._ready.set()
            await self._stop.wait()
            await self._machine.events.close_all()
        finally:
            await stop_accepting([self._listener])
            await runner.cleanup()
            publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await publishing
