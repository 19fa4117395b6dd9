"""Procrastinate on the database of a state: connections, its tables, and what its errors mean.

Procrastinate keeps no version of its schema. The name of the last migration that was applied stands in the comment of
its table of jobs; without one, its functions tell whether the schema is the one that is installed here.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager
from procrastinate.sql import queries

from orchestrator.errors import BurstError, StateAway, StateError, StateVersionError, UsageError
from state.location import Location
from state.sql.refusals import needs_a_person

_CONNECT_SECONDS = 10
_UP_LOCK = 74658
_COMMENT = "schema of Procrastinate up to "
_FUNCTION = re.compile(r"(procrastinate_\w+_v\d+)\(")
_CONFLICT = "40"
"""The class of errors by which PostgreSQL ends one of several transactions that wait for one another."""
_LIVING_SECONDS = 60.0


@dataclass(frozen=True)
class EngineJob:
    """A job that waits or runs."""

    queue: str
    is_waiting: bool
    is_alive: bool
    """Whether the worker that runs it gives signs of life."""


class Applied(enum.Enum):
    """What became of the tables of Procrastinate."""

    NOTHING = "nothing"  # they were as they should be
    MADE = "made"
    MIGRATED = "migrated"
    PARTLY = "partly"  # what older workers still call is taken away the next time


def fleet_location(state: Path | str) -> Location:
    """The address of a state that a fleet can work on. Errors: UsageError for one that is not in PostgreSQL."""
    location = Location.of(state)
    if location.url is None or location.url.startswith("sqlite"):
        raise UsageError(
            f"{location.shown()}: a fleet works on a state in PostgreSQL: name one (postgresql://HOST/DATABASE), or "
            "move this one there with `burst state copy`"
        )
    return location


class Connector(PsycopgConnector):
    """What a worker reaches its database through. Not opened yet."""

    def __init__(self, location: Location, *, patience_seconds: float, lost: Callable[[], None] = lambda: None) -> None:
        """`patience_seconds`: how long a statement waits for a connection to a database that is away. `lost`: called
        each time when it does not come back in time, or goes away in a statement."""
        # `prepare_threshold`: behind pgbouncer a prepared statement may be another connection's.
        super().__init__(
            conninfo=_conninfo(location),
            kwargs={"prepare_threshold": None, "connect_timeout": _CONNECT_SECONDS},
            min_size=1,
            max_size=4,
            timeout=patience_seconds,
        )
        self._lost = lost

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        with self._watched():
            await super().execute_query_async(query, **arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        with self._watched():
            found: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
            return found

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        with self._watched():
            found: list[dict[str, Any]] = await super().execute_query_all_async(query, **arguments)
            return found

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.OperationalError):
                self._lost()
            raise


def apply_schema(location: Location) -> Applied:
    """Make the tables of Procrastinate, or bring them to the version that is installed here. Safe to repeat, by several
    processes at once.

    Migrations that Procrastinate names `post` take away what older workers call: they wait until no worker is alive.
    Errors: StateVersionError for a newer or unknown version, with nothing changed; StateError.
    """
    with _connection(location) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_UP_LOCK])
        if not _has_tables(connection):
            _refuse_without_right(connection, location)
            _execute(connection, SchemaManager.get_schema())
            _note_version(connection, newest_migration())
            return Applied.MADE
        before = _version(connection, location)
        steps = [path for path in _migrations() if path.name > before]
        if not steps:
            return Applied.NOTHING
        now = list(itertools.takewhile(lambda path: "_post_" not in path.name, steps))
        if not _living(connection, _LIVING_SECONDS):
            now = steps
        for path in now:
            _execute(connection, path.read_text(encoding="utf-8"))
        _note_version(connection, now[-1].name if now else before)
        return Applied.MIGRATED if now == steps else Applied.PARTLY


def check_schema(location: Location) -> None:
    """Errors: StateError where a worker of the Procrastinate here finds no tables, or none that it can use."""
    with _connection(location) as connection:
        if not _has_tables(connection):
            raise StateError(location.shown(), "has no tables of a fleet yet; run `burst fleet up` once")
        if _missing_function(connection) is not None:
            _version(connection, location)
            raise StateError(location.shown(), "has tables of an older Procrastinate; run `burst fleet up` once")


def living_workers(location: Location, *, seconds: float) -> int:
    """How many workers gave a sign of life within so many seconds. Errors: StateError, StateAway."""
    with _connection(location) as connection:
        return _living(connection, seconds)


def waiting_jobs(location: Location, *, seconds: float) -> list[EngineJob]:
    """The jobs that wait or run. `seconds`: as above. Errors: StateError, StateAway."""
    asked = """
        SELECT job.queue_name, job.status = 'todo',
               coalesce(worker.last_heartbeat > now() - make_interval(secs => %s), false)
        FROM procrastinate_jobs job LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
        WHERE job.status IN ('todo', 'doing') ORDER BY job.id"""
    with _connection(location) as connection:
        return [EngineJob(*row) for row in connection.execute(asked, [seconds])]


def newest_migration() -> str:
    """The last migration of the Procrastinate that is installed here."""
    return _migrations()[-1].name


def _migrations() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _has_tables(connection: psycopg.Connection[Any]) -> bool:
    return bool(_value(connection, "SELECT to_regclass('procrastinate_jobs') IS NOT NULL"))


def _living(connection: psycopg.Connection[Any], seconds: float) -> int:
    asked = "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => %s)"
    row = connection.execute(asked, [seconds]).fetchone()
    return int(row[0]) if row is not None else 0


def _version(connection: psycopg.Connection[Any], location: Location) -> str:
    """The last migration that was applied, at most that of the Procrastinate here. Errors: StateVersionError."""
    comment = _value(connection, "SELECT obj_description(to_regclass('procrastinate_jobs'), 'pg_class')")
    if not str(comment).startswith(_COMMENT):
        if (missing := _missing_function(connection)) is None:
            return newest_migration()
        raise StateVersionError(
            location.shown(),
            f"{location.shown()} has tables of another version of Procrastinate, which `burst fleet up` did not make "
            f"(without {missing}). Apply its migrations up to {newest_migration()}, or use another database.",
        )
    found = str(comment).removeprefix(_COMMENT)
    if found > newest_migration():
        raise StateVersionError(
            location.shown(),
            f"{location.shown()} has tables of a newer Procrastinate ({found}; this host knows {newest_migration()}). "
            "Upgrade burst on this host, with what its fleet needs (docs/upgrade.md)",
        )
    return found


def _missing_function(connection: psycopg.Connection[Any]) -> str | None:
    """A function that the Procrastinate here calls and the database does not have; None where it has all."""
    needed = {name for query in queries.values() for name in _FUNCTION.findall(query)}
    asked = "SELECT proname FROM pg_proc WHERE proname = ANY(%s) AND pg_function_is_visible(oid)"
    missing = needed - {name for (name,) in connection.execute(asked, [sorted(needed)])}
    return min(missing, default=None)


def check_right(location: Location) -> None:
    """Errors: StateError where this role may not make tables."""
    with _connection(location) as connection:
        _refuse_without_right(connection, location)


def _refuse_without_right(connection: psycopg.Connection[Any], location: Location) -> None:
    asked = "SELECT current_user, current_schema(), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
    row = connection.execute(asked).fetchone()
    assert row is not None
    user, schema, may_create = row[0], row[1] or "public", row[2]
    if not may_create:
        raise StateError(
            location.shown(),
            f"role {user} may not create tables in schema {schema}; run `burst fleet up` as the owner of the "
            f"database, or let the owner GRANT CREATE ON SCHEMA {schema} TO {user}",
        )


def _note_version(connection: psycopg.Connection[Any], migration: str) -> None:
    _execute(connection, f"COMMENT ON TABLE procrastinate_jobs IS '{_COMMENT}{migration}'")


def _value(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row is not None else None


def _execute(connection: psycopg.Connection[Any], statements: str) -> None:
    connection.execute(statements.encode())


@contextlib.contextmanager
def _connection(location: Location) -> Iterator[psycopg.Connection[Any]]:
    """Errors: StateError, StateAway, which name the database and never its password."""
    try:
        with psycopg.connect(_conninfo(location), autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
            connection.prepare_threshold = None
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        advice = "run `burst fleet up` as the owner of these tables"
        raise StateError(location.shown(), f"{_said(error)}; {advice}") from error
    except psycopg.OperationalError as error:
        raise lost(location, error) from error
    except psycopg.Error as error:
        raise StateError(location.shown(), f"PostgreSQL does not answer as it should ({_said(error)})") from error


def lost(location: Location, error: BaseException) -> BurstError:
    """What a worker ends with that cannot reach the database: to be started again, unless nobody is let in."""
    said = location.without_secrets(_said(error.__cause__ or error))
    if needs_a_person(said):
        return StateError(location.shown(), f"{said}; check the address, the role and its password")
    return StateAway(
        f"{location.shown()}: PostgreSQL does not answer ({said})",
        advice="start it, then run again",
        was_connected=False,
    )


def _said(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _conninfo(location: Location) -> str:
    """As libpq takes it."""
    assert location.url is not None
    return re.sub(r"^[^:]+://", "postgresql://", location.url)
