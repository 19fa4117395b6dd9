"""A `python` for shells: what it is to run is forked from `fork_server`, for scripts that run `burst` many times.

The program that the shell starts is a small one that only passes its arguments, directory, environment and output on,
SIGTERM later, and ends as the fork has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from support.fork_server import Forked, start

_MESSAGE_BYTES = 1 << 17
_PROGRAM = """\
#!{python} -IS
import json, os, signal, socket, sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.connect({address!r})
    said = {{"arguments": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
    socket.send_fds(asked, [json.dumps(said).encode()], [1, 2])
    pid = int(asked.recv(64))
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    code = int(asked.recv(64))
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextlib.contextmanager
def forked_python(directory: Path) -> Iterator[Path]:
    """The program, made in `directory`: `PROGRAM -m burst …` or `PROGRAM …/launch.py …`. Standard input is empty."""
    address, program = str(directory / "forks"), directory / "forked-python"
    program.write_text(_PROGRAM.format(python=sys.executable, address=address))
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen()
        serving = threading.Thread(target=_serve, args=[listening], daemon=True)
        serving.start()
        yield program
        listening.shutdown(socket.SHUT_RDWR)
        serving.join()


def _serve(listening: socket.socket) -> None:
    with contextlib.ExitStack() as waiting:
        while True:
            try:
                asked, _ = listening.accept()
            except OSError:  # shut down
                return
            message, streams, *_ = socket.recv_fds(asked, _MESSAGE_BYTES, 2)
            said = json.loads(message)
            out, err = streams
            command = [sys.executable, *said["arguments"]]
            child = start(command, cwd=said["cwd"], env=said["env"], stdout=out, stderr=err)
            for descriptor in streams:
                os.close(descriptor)
            assert isinstance(child, Forked), f"this would be started, not forked: {command}"
            asked.send(str(child.pid).encode())
            teller = threading.Thread(target=_tell_end, args=[asked, child])
            teller.start()
            waiting.callback(teller.join)


def _tell_end(asked: socket.socket, child: Forked) -> None:
    with asked, contextlib.suppress(BrokenPipeError):  # who started it may have been killed
        asked.send(str(child.wait()).encode())
