"""A process of the next release, which adds a revision. As a program: `python next_release.py STATE FOLDER GATE`.

It says `ready`, waits until GATE, a named pipe, is opened and closed, and then brings the tables of STATE to its own.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class NextRelease:
    """One such process, which is ready and waits."""

    def __init__(self, address: Path | str, folder: Path, *, gate: Path) -> None:
        from support import fork_server

        os.mkfifo(gate)
        self._gate = gate
        reading, writing = os.pipe()
        self._process = fork_server.start(
            [sys.executable, str(HERE / "next_release.py"), str(address), str(folder), str(gate)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=writing,
            stderr=2,
        )
        os.close(writing)
        with open(reading, "rb") as said:
            assert said.readline() == b"ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def begin(self) -> None:
        self._gate.open("wb").close()

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        return self._process.wait()


def _upgrade(address: str, folder: str, gate: str) -> None:
    from state.location import Location
    from state.sql import schema, upgrade
    from state.sql.database import Database

    upgrade.FOLDERS.append(Path(folder))
    schema.REVISION += 1
    print("ready", flush=True)
    Path(gate).read_bytes()
    Database(Location.of(address)).prepare()


if __name__ == "__main__":
    _upgrade(*sys.argv[1:])
