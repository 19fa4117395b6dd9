"""One process that has imported burst and the tests, for all of a run's workers of xdist to be forks of.

Starting a worker is importing these, as is most of what its fork server is made of: fifteen seconds of CPU for each.
`preloaded_python` starts the process. It listens at two sockets: who connects to one has a fork server, who connects to
the other a Python, to which a small program passes its streams. All of them end with the process that started it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import fork_server
else:
    from support import fork_server

_MESSAGE_BYTES = 1 << 17
_WORKER = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.connect(sys.argv[1])
    said = {"program": sys.argv[-1], "cwd": os.getcwd(), "env": dict(os.environ)}
    socket.send_fds(asked, [json.dumps(said).encode()], [0, 1, 2])
    os.closerange(0, 3)
    asked.recv(1)
"""


@contextlib.contextmanager
def preloaded_python(arguments: Sequence[str]) -> Iterator[list[str]]:
    """For as long as it is entered: how to start a Python that has imported what pytest collects for `arguments`.

    It takes `-c PROGRAM` as its last arguments. `fork_server.PRELOADED` is set for what this process starts.
    """
    with tempfile.TemporaryDirectory(prefix="burst-preloaded") as folder:
        addresses = [f"{folder}/forks", f"{folder}/workers"]
        sockets = [_listening(address) for address in addresses]
        ours, theirs = os.pipe()
        passed = [ours, *(one.fileno() for one in sockets)]
        root = Path(__file__).resolve().parents[2]
        process = subprocess.Popen(
            [sys.executable, __file__, *map(str, passed), *arguments],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=passed,
        )
        os.close(ours)
        for one in sockets:
            one.close()
        os.environ[fork_server.PRELOADED] = addresses[0]
        try:
            yield [sys.executable, "-IS", "-c", _WORKER, addresses[1]]
        finally:
            del os.environ[fork_server.PRELOADED]
            os.close(theirs)
            process.wait()


def _listening(address: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.bind(address)
    made.listen()
    return made


# Inside the process


def _main(life: int, forks: int, workers: int, arguments: Sequence[str]) -> None:
    if os.fork() == 0:
        os.close(workers)
        _wait(life, forks)  # until the first asks, which many runs never do
        fork_server.preload()
        fork_server.serve(_accept(life, forks))
    os.close(forks)
    _import_tests(arguments)
    _work(_accept(life, workers))


def _import_tests(arguments: Sequence[str]) -> None:
    """What goes wrong here goes wrong in each worker too, which tells it."""
    import pytest

    pytest.main([*arguments, "--collect-only", "--quiet", "-p", "no:cacheprovider", "-p", "no:xdist"])
    gc.unfreeze()
    gc.collect()  # the tests that were collected, not their modules
    gc.freeze()


def _wait(life: int, listening: int) -> None:
    """Until somebody connects. Ends the process once nobody holds the other end of `life`."""
    ready, _, _ = select.select([life, listening], [], [])
    if life in ready:
        os._exit(0)


def _accept(life: int, listening: int) -> socket.socket:
    """Returns in a fork for each connection."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks that have ended are not waited for
    with socket.socket(fileno=listening) as asked:
        while True:
            _wait(life, listening)
            connection, _ = asked.accept()
            if os.fork() == 0:
                break
            connection.close()
    os.close(life)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return connection


def _work(connection: socket.socket) -> None:
    """Be the Python that the client was asked to be. It waits until this process has ended."""
    message, streams, *_ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
    said: dict[str, Any] = json.loads(message)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(said["cwd"])
    os.environ.clear()
    os.environ.update(said["env"])
    sys.argv[:] = ["-c"]
    exec(said["program"], {"__name__": "__main__"})


if __name__ == "__main__":
    _life, _forks, _workers = map(int, sys.argv[1:4])
    _main(_life, _forks, _workers, sys.argv[4:])
