"""Hosts that share a disk: each has its own name and network, so 127.0.0.1 is a different machine on each."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.asking import __file__ as ASKING
from support.projects import ROOT, Process
from support.waiting import wait_until

ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
PORT = 8188
_BEGIN = """
import socket, subprocess, sys
socket.sethostname(sys.argv[1])
if "network" in sys.argv:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
print("up", flush=True)
sys.stdin.read()
"""


@functools.cache
def _unshare() -> tuple[str, ...] | None:
    """The command that creates namespaces; None where that is impossible."""
    for words in (("unshare", "--net", "--uts"), ("unshare", "--map-root-user", "--net", "--uts")):
        try:
            probe = [*words, "ip", "link", "set", "lo", "up"]
            if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode == 0:
                return words
        except OSError:
            continue
    return None


def can_have_hosts() -> bool:
    """Whether namespaces can be created."""
    return _unshare() is not None


def need_hosts() -> None:
    """Skip the test where namespaces cannot be created."""
    if not can_have_hosts():
        pytest.skip("no network and UTS namespaces here: `unshare --net --uts ip link set lo up` is refused")


class Host:
    """A host. `network`: the host whose network it shares, like containers in a pod; by default it has its own.

    A context manager; leaving it removes the host but ends no process on it.
    """

    def __init__(self, name: str, *, network: Host | None = None) -> None:
        self.name = name
        words = _unshare()
        assert words is not None
        if network is not None:
            words = (*network.prefix, *(word for word in words if word != "--net"))
        begin = [sys.executable, "-c", _BEGIN, name, *(["network"] if network is None else [])]
        self._child = subprocess.Popen([*words, *begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Host:
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == b"up\n"
        return self

    def __exit__(self, *error: object) -> None:
        self._child.communicate()

    @property
    def pid(self) -> int:
        """A process that is on it as long as it exists."""
        return self._child.pid

    @property
    def prefix(self) -> tuple[str, ...]:
        """The prefix that runs a command on this host."""
        user = ("--user", "--preserve-credentials") if "--map-root-user" in (_unshare() or ()) else ()
        return ("nsenter", "--target", str(self._child.pid), *user, "--net", "--uts", "--")

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The response to a GET or, with a body, to a POST."""
        said = [json.dumps(body)] if body is not None else []
        command = [*self.prefix, sys.executable, ASKING, f"http://127.0.0.1:{PORT}{path}", *said]
        with Process(command, cwd=ROOT, env=ENV) as process:
            ended = process.end()
        assert ended.code == 0, ended.err
        return json.loads(ended.out)


class HostedSandbox:
    """`burst sandbox` on a host, at the same loopback address on each. A context manager; killed on exit."""

    def __init__(self, host: Host, directory: Path, **settings: Any) -> None:
        self._host = host
        self._directory = directory
        self._options = [
            text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))
        ]
        self.url = f"http://127.0.0.1:{PORT}"

    def __enter__(self) -> HostedSandbox:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start listening."""
        place = ["--directory", str(self._directory), "--port", str(PORT)]
        command = [*self._host.prefix, sys.executable, "-m", "burst", "sandbox", "--json", *place, *self._options]
        self._process = Process(command, cwd=ROOT, env=ENV)
        line = wait_until(self._process.out_so_far, what="the sandbox listens")
        assert json.loads(line)["url"] == self.url

    def kill(self) -> None:
        """SIGKILL: queue and history are lost, saved files stay."""
        self._process.kill()

    def hold(self, at: str) -> None:
        self._host.ask("/sandbox/hold", {"at": at})

    def release(self) -> None:
        self._host.ask("/sandbox/release", {})

    def counts(self) -> dict[str, Any]:
        """The counts of the current process."""
        counted: dict[str, Any] = self._host.ask("/sandbox/counts")
        return counted

    def rendered(self) -> dict[str, int]:
        """How often the current process rendered each item."""
        return dict(self.counts()["rendered_by_item"])
