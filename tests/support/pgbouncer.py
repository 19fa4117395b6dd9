"""A pgbouncer in transaction mode before the PostgreSQL of the tests, where Debian's package is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import pytest

from support.postgres import Postgres
from support.waiting import wait_until

_PORT = 6543
PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer: `apt-get install pgbouncer`")


class PgBouncer:
    """Of a server of the tests' own. Each transaction may get another one of its few connections."""

    def __init__(self, postgres: Postgres, *, connections: int = 4) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="burst-pgb"))
        # Its user is the server's, who alone may use that one's socket.
        self._user = postgres.user
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._folder.chmod(0o755)
        self._settings = self._folder / "pgbouncer.ini"
        self._settings.write_text(
            f"[databases]\n* = host={postgres.folder} user=postgres\n"
            f"[pgbouncer]\nlisten_addr =\nlisten_port = {_PORT}\nunix_socket_dir = {self._folder}\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\nlogfile =\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, of: str) -> str:
        """The same database as this address of the server itself, through pgbouncer."""
        name = urlsplit(of).path.lstrip("/")
        assert parse_qs(urlsplit(of).query)["host"]
        return f"postgresql://postgres@/{name}?host={self._folder}&port={_PORT}"

    def __enter__(self) -> Self:
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, str(self._settings)],
            user=self._user,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        socket = self._folder / f".s.PGSQL.{_PORT}"
        wait_until(lambda: socket.exists() or not self._runs(), what="pgbouncer")
        assert self._runs(), "pgbouncer did not start"
        return self

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
