"""The file of the gallery's index: opened, made where it is missing, damaged or of another layout, and found again.

It is a cache: whoever finds that something is wrong with it deletes it and begins again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

LAYOUT = 1
"""Of the tables below. A file of an older one is rebuilt, one of a newer one is left alone."""
KEPT_DAYS = 30
"""A file of other states that nobody has opened for so long is removed."""
_PATIENCE_SECONDS = 10.0
_CACHE_KIBIBYTES = 2000

_TABLES = """
CREATE TABLE shelves (
    id INTEGER PRIMARY KEY, state INTEGER, batch TEXT, orphan INTEGER, at INTEGER, model TEXT, label TEXT, words TEXT,
    common TEXT, UNIQUE (state, batch, orphan)
);
CREATE INDEX shelves_by_batch ON shelves (batch);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, state INTEGER, key BLOB, shelf INTEGER, mark BLOB, UNIQUE (state, key)
);
CREATE INDEX items_by_shelf ON items (shelf);
CREATE TABLE texts (id INTEGER PRIMARY KEY, digest BLOB UNIQUE, words TEXT);
CREATE TABLE settings (id INTEGER PRIMARY KEY, digest BLOB UNIQUE);
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE facts (
    name INTEGER, value TEXT, settings INTEGER, shown TEXT, number REAL, PRIMARY KEY (name, value, settings)
) WITHOUT ROWID;
CREATE INDEX facts_by_settings ON facts (settings);
CREATE TABLE tags (item INTEGER, tag TEXT, shown TEXT);
CREATE INDEX tags_by_tag ON tags (tag, item);
CREATE INDEX tags_by_item ON tags (item);
CREATE TABLE images (
    id INTEGER PRIMARY KEY, item INTEGER, shelf INTEGER, state INTEGER, number INTEGER, place INTEGER, at INTEGER,
    seed INTEGER, bytes INTEGER, favorite INTEGER, kind TEXT, head TEXT, text INTEGER, settings INTEGER
);
CREATE TABLE files (image INTEGER PRIMARY KEY, file TEXT);
CREATE INDEX images_by_time ON images (at, shelf, place, number);
CREATE INDEX images_by_seed ON images (seed, at);
CREATE INDEX images_by_head ON images (head, at);
CREATE INDEX images_by_bytes ON images (bytes, at);
CREATE INDEX images_by_item ON images (item);
CREATE INDEX images_by_shelf ON images (shelf, place, number);
CREATE INDEX images_by_text ON images (text);
CREATE INDEX images_by_settings ON images (settings);
"""
_WORDS = """
CREATE VIRTUAL TABLE words USING fts5 (prompt, file, content='', prefix='2 3');
"""


def index_path(folder: Path, states: Sequence[str]) -> Path:
    """The file for these states, in this order."""
    digest = hashlib.sha256("\n".join(states).encode("utf-8", "surrogatepass")).hexdigest()
    return folder / f"gallery-{digest[:16]}.sqlite3"


class IndexFile:
    """An open file, or a private one where that cannot be had. Used by one thread at a time.

    Two processes may have it open at once: each writes in transactions.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refusal: str | None = None
        """Why nothing is kept for the next time; None where it is."""
        self._private: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = _opened(path)
            _sweep(path)
        except (OSError, sqlite3.Error, _Newer) as error:
            self.refusal = str(error)
            self._private = tempfile.mkdtemp(prefix="burst-gallery-")
            self.path = Path(self._private) / path.name
            self.writer = _opened(self.path)
        self._identity = _identity(self.path)
        self.reader = _connected(self.path)
        self.has_words = _has_words(self.writer)
        """Whether SQLite has FTS5 here; without it, a search reads every text."""

    def is_there(self) -> bool:
        """Whether the file that is open is the one that others find."""
        return self._identity is not None and _identity(self.path) == self._identity

    def close(self) -> None:
        for connection in (self.reader, self.writer):
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)

    def remove(self) -> None:
        """Close and delete it, so that the next one is built from nothing."""
        self.close()
        _remove(self.path)


class _Newer(Exception):
    pass


def _opened(path: Path) -> sqlite3.Connection:
    """With the tables of today. Errors: OSError, sqlite3.Error, _Newer."""
    try:
        return _with_tables(path)
    except sqlite3.OperationalError:
        raise  # Locked, or not to be written: that is no fault of the file.
    except sqlite3.DatabaseError as error:
        _log.info("the gallery's index is rebuilt: %s: %s", path, error)
        _remove(path)
        return _with_tables(path)


def _with_tables(path: Path) -> sqlite3.Connection:
    connection = _connected(path)
    try:
        layout = _layout(connection)
        if layout > LAYOUT:
            raise _Newer(f"{path} is of a newer burst")
        if layout not in (0, LAYOUT):
            connection.close()
            _remove(path)
            connection = _connected(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        if _layout(connection) == 0:  # Otherwise another process has made it meanwhile.
            _make_tables(connection)
        connection.execute("COMMIT")
        return connection
    except BaseException:
        connection.close()
        raise


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    try:
        connection.execute(_WORDS)
    except sqlite3.OperationalError as error:  # No FTS5.
        _log.info("searching images reads every text, because SQLite lacks FTS5 here: %s", error)
    connection.execute(f"PRAGMA user_version = {LAYOUT}")


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _layout(connection: sqlite3.Connection) -> int:
    ((layout,),) = connection.execute("PRAGMA user_version")
    return int(layout)


def _has_words(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone()
    try:
        connection.execute("SELECT rowid FROM words LIMIT 1")
    except sqlite3.OperationalError:
        return False
    return found is not None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Note that this one is in use, and remove those of other states that nobody has used for long."""
    os.utime(path)
    newest = path.stat().st_mtime
    for other in path.parent.glob("gallery-*.sqlite3"):
        with contextlib.suppress(OSError):
            if newest - other.stat().st_mtime > KEPT_DAYS * 86_400:
                _remove(other)
