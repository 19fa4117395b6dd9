"""A file of SQLite: how it is opened, also by one who may only read it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Dialect, Engine, FromClause
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from state.sql.engines import engine_of

BUSY_SECONDS = 60.0
"""How long a writer waits for others."""


def sqlite_engine(url: URL, file: Path) -> Engine:
    opened = _opener(file)
    return engine_of(url, lambda _: opened(), alike="sqlite", change=_with_hints)


def _opener(file: Path) -> Callable[[], sqlite3.Connection]:
    def opened() -> sqlite3.Connection:
        if may_write(file):
            connection = _connected(str(file))
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            return connection
        address = f"file:{quote(str(file))}?mode=ro"
        # Readers of WAL share an index beside the file. Where they can neither find one nor make it, nobody writes.
        is_still = not os.access(file.parent, os.W_OK, effective_ids=True) and not _beside(file, "-wal").exists()
        return _connected(f"{address}&immutable=1" if is_still else address, uri=True)

    return opened


def _connected(address: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(address, uri=uri, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)


def may_write(file: Path) -> bool:
    """Whether this process may write to it, or make it. Readers of a file need the one beside it that all share."""
    there = file if file.exists() else file.parent
    return os.access(there, os.W_OK, effective_ids=True) and (
        os.access(file.parent, os.W_OK, effective_ids=True) or _beside(file, "-wal").exists()
    )


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(f"{file.name}{ending}")


def _with_hints(dialect: Dialect) -> None:
    dialect.statement_compiler = _Compiler


class _Compiler(SQLiteCompiler):
    """With the hints INDEXED BY, which SQLAlchemy leaves out: without statistics, SQLite's own choice is a poor one."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text
