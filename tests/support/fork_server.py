"""Start `burst` processes as forks of a server that has imported everything.

Starting Python and importing is most of what a short command costs. A fork has its own pid, directory, environment,
output and exit code, can be killed like any other process, and runs the same code as `python -m burst …` or
`python launch.py …`. Only what Python reads when it starts is the server's; a process that needs that to differ is
started normally. The server has one thread, so a fork may enter any namespace.

A fork that itself starts `burst` does so in the same way after `become_parent`: it leaves behind a server of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("orchestrator", "state", "templates")
_NEVER_FORKED = ("orchestrator.comfyui_node.", "orchestrator.mcp_server.")
"""What ComfyUI imports, and what a server of MCP alone does: half a second in each process that has a fork server."""
_MESSAGE_BYTES = 1 << 17
_READ_AT_START = ("PYTHON", "LC_", "LANG")
PRELOADED = "TESTS_FORK_SERVER"
"""The variable with the address of a socket: each connection to it is one to a fork server. See `preloaded`."""


def start(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int
) -> subprocess.Popen[bytes] | Forked:
    """Run `command`, writing to these descriptors: forked if this interpreter runs our own code, else started."""
    at = command.index(sys.executable)
    prefix, arguments = command[:at], command[at + 1 :]
    if _can_be_forked(prefix, arguments, env):
        said = {"arguments": arguments, "cwd": str(cwd), "env": dict(env), "namespaces": _namespaces(prefix)}
        return Forked(said, streams=(stdout, stderr))
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout, stderr=stderr)


def _can_be_forked(prefix: Sequence[str], arguments: Sequence[str], env: Mapping[str, str]) -> bool:
    first, *rest = arguments
    ours = (first, *rest[:1]) == ("-m", "burst") or Path(first).parent == Path(__file__).parent
    same = _read_at_start(env) == _read_at_start(_server_env())
    return ours and same and (not prefix or prefix[0] == "nsenter") and hasattr(os, "pidfd_open")


def _namespaces(prefix: Sequence[str]) -> list[str]:
    """The paths of the namespaces that `nsenter --target PID --KIND … --` enters."""
    kinds = {word.removeprefix("--") for word in prefix} & {"user", "net", "uts"}
    return [f"/proc/{prefix[2]}/ns/{kind}" for kind in sorted(kinds, key=("user", "net", "uts").index)]


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


class Forked:
    """The part of `subprocess.Popen` that tests use."""

    def __init__(self, said: Mapping[str, Any], *, streams: tuple[int, int], server: _Server | None = None) -> None:
        self._server = server or _server()
        self.pid = self._server.ask(said, streams)
        self._end = os.pidfd_open(self.pid)
        weakref.finalize(self, os.close, self._end)
        self._reaping = threading.Lock()
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """Does nothing once it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # while another thread waits for it
                signal.pidfd_send_signal(self._end, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        try:
            return self.wait(timeout=0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative after a signal. Until then the pid is not reused. Errors: TimeoutExpired."""
        if self.returncode is None and not self._ends_within(timeout):
            raise subprocess.TimeoutExpired(["burst"], timeout or 0.0)
        with self._reaping:
            if self.returncode is None:
                self.returncode = self._server.ask({"reap": self.pid})
        return self.returncode

    def _ends_within(self, seconds: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        return bool(waiting.poll(None if seconds is None else seconds * 1000))


class _Server:
    """This process's end of a server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    def ask(self, said: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        with self._one_at_a_time:
            socket.send_fds(self._connection, [json.dumps(said).encode()], list(descriptors))
            return int(self._connection.recv(_MESSAGE_BYTES))


@functools.cache
def _server() -> _Server:
    """One per process, from the first call until exit: forked where there is a preloaded process, else started."""
    address = os.environ.get(PRELOADED)
    if address:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        atexit.register(connection.close)
        connection.connect(address)
        return _Server(connection)
    ours, theirs = _socket_pair()
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, __file__, str(number)]
        child = subprocess.Popen(command, env=_server_env(), stdin=subprocess.DEVNULL, pass_fds=[number])
    atexit.register(child.wait)
    atexit.register(ours.close)  # called first
    return _Server(ours)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _server_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


# Inside the server, or one of its forks


def become_parent() -> Callable[..., Forked]:
    """What to start `burst` with from now on, with the arguments of `Popen`: forks of a child that is as this process
    is now, with one thread. They are left to init when this process ends, like other children.
    """
    ours, theirs = _socket_pair()
    if os.fork() == 0:
        ours.close()
        _become(**_serve(theirs))
        sys.exit()
    theirs.close()
    server = _Server(ours)

    def start(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stderr: IO[bytes], **named: Any) -> Forked:
        assert (command[0], named.pop("start_new_session")) == (sys.executable, True)
        assert set(named.values()) == {subprocess.DEVNULL}, named
        said = {"arguments": command[1:], "cwd": str(cwd), "env": dict(env), "namespaces": [], "is_session": True}
        with open(os.devnull, "wb") as nothing:
            return Forked(said, streams=(nothing.fileno(), stderr.fileno()), server=server)

    return start


def import_everything() -> None:
    """All modules of the product that forks run."""
    for package in map(importlib.import_module, _PACKAGES):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith(_NEVER_FORKED) and not found.name.endswith(".__main__"):
                importlib.import_module(found.name)
    importlib.import_module("sqlalchemy.dialects.postgresql.psycopg")
    importlib.import_module("psycopg")


def make_pages_ready() -> None:
    """What each `burst serve` would make when it starts."""
    from orchestrator.web import first_visit
    from orchestrator.web.static_files import VersionedFiles

    for step in first_visit.steps(VersionedFiles()):
        step()


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Serve until the client is gone. Returns only in a fork, with what to run."""
    while True:
        message, streams, *_ = socket.recv_fds(connection, _MESSAGE_BYTES, 2)
        if not message:
            os._exit(0)
        said: dict[str, Any] = json.loads(message)
        if "reap" in said:
            answer = os.waitstatus_to_exitcode(os.waitpid(said["reap"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                connection.close()
                return said | {"streams": streams}
            for descriptor in streams:
                os.close(descriptor)
        connection.send(str(answer).encode())


def _become(
    arguments: list[str],
    *,
    streams: list[int],
    cwd: str,
    env: dict[str, str],
    namespaces: list[str],
    is_session: bool = False,
) -> None:
    """Do what Python does with its arguments when it starts."""
    if is_session:
        os.setsid()
    for path in namespaces:
        _enter(path)
    for number, descriptor in enumerate(streams, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    first, *rest = arguments
    if first == "-m":
        sys.path[0] = cwd
        module, *sys.argv[1:] = rest
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        runpy.run_path(first, run_name="__main__")


def _enter(namespace: str) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}", namespace)
    os.close(descriptor)


_exit_code: int | None = None


def _leave() -> None:
    """Exit without tearing down the modules, which would copy the server's memory page by page."""
    if _exit_code is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_code)


def preload() -> None:
    """What a process does before it calls `serve`."""
    atexit.register(_leave)  # registered first, so called last
    import_everything()
    make_pages_ready()
    gc.freeze()


def serve(connection: socket.socket) -> None:
    """Serve until the client is gone, then exit. In a fork: run what was asked for, and exit."""
    global _exit_code
    with connection:
        asked = _serve(connection)
    try:
        _become(**asked)
        sys.exit(0)
    except SystemExit as ended:
        _exit_code = ended.code if isinstance(ended.code, int) else None
        raise


if __name__ == "__main__":
    preload()
    serve(socket.socket(fileno=int(sys.argv[1])))
