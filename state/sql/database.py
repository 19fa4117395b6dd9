"""A connection to the database of a state: transactions, its clock, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, Dialect, Double, Engine, Executable, event, literal, literal_column
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orchestrator.clock import Clock
from orchestrator.errors import NotAllowed, StateAway, StateError
from state.location import Location
from state.sql import schema
from state.sql.commits import Begun, Commits
from state.sql.connections import Connections
from state.sql.engines import engine_of
from state.sql.older_tables import additions, reading_as_of_today, reads_older_tables
from state.sql.outage import Outages
from state.sql.refusals import is_read_only, refusal_of
from state.sql.sqlite import BUSY_SECONDS, may_write, sqlite_engine
from state.sql.statement import Statement
from state.sql.tables import Tables, make_tables, of_this_release, older_tables_stay, tables_in, upgrade_tables

_ON_CONNECT = {
    # Behind pgbouncer a prepared statement may be another connection's.
    "prepare_threshold": None,
    "connect_timeout": 5,
    # A host that is gone answers nothing, not even that it is gone.
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
_MOST_IDLE = 5
_BEGIN_OF_SQLITE, _COMMIT, _ROLLBACK = Statement("BEGIN IMMEDIATE"), Statement("COMMIT"), Statement("ROLLBACK")


ANSWER_SECONDS = 120.0
"""How long whoever waits for a database that is away waits for the answer to one statement."""


class Database:
    """Of one state, whether its tables exist yet or not. Any thread may use it."""

    def __init__(
        self, location: Location, *, clock: Clock | None = None, read_only: bool = False, keeps: bool = False
    ) -> None:
        """`keeps`: connections stay open between statements, until `close`."""
        self.location = location
        self._keeps = keeps
        self.read_only = read_only
        self._clock = clock or Clock()
        self._url = sqlalchemy.make_url(str(location.url))
        self.is_postgresql = self._url.get_backend_name() == "postgresql"
        self._made: Connections | None = None
        self._ours = of_this_release()
        self._tables: Tables | None = None
        self._additions: tuple[Tables | None, str] | None = None
        self._guard = threading.RLock()
        self.outages = Outages(self._clock)
        self.commits = Commits(location.shown())
        self._has_written = False
        self._identity: tuple[int, int] | None = None
        """Of the file of SQLite, since it was first written to."""

    def exists(self) -> bool:
        """Whether there is a database with tables of burst in it. Errors: StateVersionError, StateError."""
        if self._is_older(self._tables):
            if not self.is_postgresql and not self._file.exists():
                return False
            with self._connected() as connection:
                self._tables = tables_in(connection, self.location, self._ours)
        return self._tables is not None

    def prepare(self) -> None:
        """Make the tables where there are none, or bring those of an older release to this one's.

        All or nothing. Safe to repeat, by several processes at once.
        """
        if self.exists() and not self._is_older(self._tables):
            return
        if not self.is_postgresql:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._transaction() as connection:
                self._prepare_in(connection)
        except NotAllowed as error:
            if self._tables is None:
                raise
            raise older_tables_stay(self.location, self._tables, self._ours, error) from error
        self.exists()

    def _prepare_in(self, connection: Connection) -> None:
        if self.is_postgresql:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(74656)")
        found = tables_in(connection, self.location, self._ours)
        if found is None:
            make_tables(connection, self._ours)
        elif self._is_older(found):
            upgrade_tables(connection, self.location, found, self._ours, now=self.seconds(connection))

    def _is_older(self, tables: Tables | None) -> bool:
        """They lack something that this release writes."""
        return tables is None or tables.revision < self._ours.revision

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """For single statements, each a transaction of its own; tables of an older release read like today's.

        Errors: StateError, DiskFull.
        """
        with self._connected() as connection:
            if self._tables is not None and self._is_older(self._tables):
                self._tables = tables_in(connection, self.location, self._ours)
            if self._is_older(self._tables) and self._tables is not None:
                with reading_as_of_today(connection, self._additions_to(self._tables, connection)):
                    yield connection
            else:
                yield connection

    def _additions_to(self, tables: Tables | None, connection: Connection) -> str:
        known = self._additions
        if known is None or known[0] != tables:
            self._additions = known = tables, additions(connection, schema.metadata)
        return known[1]

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._told(), self._connections.one() as connection:
            try:
                yield connection
            except DBAPIError as error:
                if error.orig is not None and self._has_written and is_read_only(error.orig):
                    # What was the primary is a standby now: the address may lead to another server by a new connection.
                    connection.invalidate(error)
                raise

    def rows(self, asked: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """All rows of one statement, waited for as `outages` says."""

        def read() -> Sequence[Any]:
            with self.connect() as connection:
                return connection.execute(asked, values).all()

        return self.outages.through(read)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[Connection]:
        """For single statements that write, each a transaction of its own: durable once it has answered."""
        if self.read_only:
            raise StateError(self.location.shown(), "opened for reading only")
        self.prepare()
        with self._connected() as connection:
            yield connection
        self._has_written = True

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """For several statements: all or none; on SQLite nobody else writes meanwhile. Durable on return."""
        if self.read_only:
            raise StateError(self.location.shown(), "opened for reading only")
        self.prepare()
        with self._transaction() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For reading: everything as of one moment."""
        with self.connect() as connection:
            connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ" if self.is_postgresql else "BEGIN")
            try:
                yield connection
            finally:
                # A reader that is given up may outlive its connection.
                with contextlib.suppress(SQLAlchemyError):
                    connection.exec_driver_sql("ROLLBACK")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Errors: StateAway where the database certainly changed nothing."""
        begun: Begun | None = None
        is_ending = False
        try:
            with self._connected() as connection:
                begun = self._begin(connection)
                try:
                    yield connection
                except BaseException:
                    with contextlib.suppress(SQLAlchemyError):
                        _ROLLBACK.run(connection)
                    raise
                is_ending = True
                _COMMIT.run(connection)
                self._has_written = True
        except StateAway:
            if not is_ending or begun is None:
                raise
            self.commits.unanswered(begun)
            if not self.outages.through(partial(self._was_made, begun)):
                raise

    def _begin(self, connection: Connection) -> Begun | None:
        if self.is_postgresql:
            return self.commits.begin(connection)
        self._check_file()
        _BEGIN_OF_SQLITE.run(connection)
        return None

    def _was_made(self, begun: Begun) -> bool:
        with self._connected() as connection:
            return self.commits.was_made(connection, begun)

    def now(self) -> datetime:
        """The time by the database's clock."""
        if not self.is_postgresql:
            return self._clock.now()
        with self.connect() as connection:
            return datetime.fromtimestamp(self.seconds(connection), UTC)

    def seconds(self, connection: Connection) -> float:
        """The time by the database's clock, in seconds since 1970: on SQLite, which has one host, that host's."""
        if self.is_postgresql:
            found = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8").scalar_one()
            return float(found)
        return self._clock.now().timestamp()

    def now_column(self) -> ColumnElement[float]:
        """The same, within a statement."""
        if self.is_postgresql:
            return literal_column("extract(epoch FROM clock_timestamp())::float8", Double)
        return literal(self._clock.now().timestamp(), Double)

    def lock(self, connection: Connection, what: str) -> None:
        """Keep others from doing this until the end of the transaction; on SQLite nobody else writes anyway."""
        if self.is_postgresql:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})

    def close(self) -> None:
        """A connection that is in use is closed when its user gives it back."""
        with self._guard:
            connections, self._made = self._made, None
        if connections is not None:
            connections.close()

    @property
    def engine(self) -> Engine:
        return self._connections.engine

    @property
    def _connections(self) -> Connections:
        made = self._made
        if made is None:
            with self._guard:
                made = self._made = self._made or self._new_connections()
        return made

    @cached_property
    def _file(self) -> Path:
        return Path(os.fspath(self.location.path))

    def _new_connections(self) -> Connections:
        engine = self._new_engine()
        reads_older_tables(engine)
        # Where only somebody else may write to a file of SQLite, each look at it is a new one.
        keeps = self._keeps and (self.is_postgresql or may_write(self._file))
        return Connections(engine, most=_MOST_IDLE if keeps else 0)

    def _new_engine(self) -> Engine:
        if not self.is_postgresql:
            return sqlite_engine(self._url, self._file)
        url = self._url.set(drivername="postgresql+psycopg")
        engine = engine_of(url, self._driver_connection, alike=url.render_as_string(hide_password=False))
        event.listen(engine, "handle_error", _close_cursor)
        return engine

    def _driver_connection(self, dialect: Dialect) -> Any:
        from state.sql.driver import connection_class

        arguments, named = dialect.create_connect_args(self._url)
        chosen = {name: value for name, value in _ON_CONNECT.items() if name not in self._url.query}
        kind = connection_class(lambda: ANSWER_SECONDS if self.outages.patience is not None else None)
        return kind.connect(*arguments, **{**named, **chosen})

    def _check_file(self) -> None:
        """Errors: StateError where the file of SQLite is another one, or gone: what is written would be lost."""
        try:
            found = self._file.stat()
        except OSError:
            found = None
        now = (found.st_dev, found.st_ino) if found is not None else None
        self._identity = self._identity or now
        if now is None or now != self._identity:
            raise StateError(
                self.location.shown(),
                "was removed or replaced while it was in use; put it back if it was moved, then run again",
            )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What went wrong with the database, as an error of burst that names it and never its password."""
        self.outages.check()
        try:
            yield
        except DBAPIError as error:
            raise refusal_of(
                error,
                self.location,
                is_postgresql=self.is_postgresql,
                busy_seconds=BUSY_SECONDS,
                has_written=self._has_written,
            ) from error
        self.outages.answered()


def _close_cursor(met: ExceptionContext) -> None:
    """SQLAlchemy leaves that of a connection that was lost to the garbage collector, which warns of it."""
    cursor = met.execution_context.cursor if met.is_disconnect and met.execution_context is not None else None
    if cursor is not None:
        with contextlib.suppress(met.dialect.dbapi.Error):  # type: ignore[union-attr]
            cursor.close()
