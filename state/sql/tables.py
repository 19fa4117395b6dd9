"""Of which revision the tables in a database are, and what this release may do with them."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, create_mock_engine, delete, literal, select, union_all
from sqlalchemy.engine.mock import MockConnection

from orchestrator.errors import NotAllowed, StateError, StateVersionError
from state.location import Location
from state.sql import schema
from state.sql.schema import documents, revision

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tables:
    """What a database says of the tables of burst in it, or a release of those that it makes."""

    revision: int
    compatible_from: int
    """The oldest revision whose release may write to them."""


def of_this_release() -> Tables:
    return Tables(revision=schema.REVISION, compatible_from=schema.COMPATIBLE_FROM)


def tables_in(connection: Connection, location: Location, known: Tables) -> Tables | None:
    """`known`: of the release that asks. None where there are none.

    Errors: StateVersionError for those of a newer release that says that this one would do harm.
    """
    there = _names_in(connection)
    if documents.name not in there:
        return None
    asked = select(documents.c.name, documents.c.content).where(documents.c.name == "version")
    if revision.name in there:
        asked = union_all(asked, select(literal("revision"), revision.c.version_num))  # type: ignore[assignment]
    said = {row.name: row.content for row in connection.execute(asked)}
    try:
        # The first releases kept no revision, and wrote `version` after the tables.
        found = Tables(revision=int(said.get("revision", 1)), compatible_from=int(said.get("version", 1)))
    except ValueError:
        found = None
    if found is None or found.compatible_from > known.revision:
        raise StateVersionError(location.shown(), _unknown(said, known))
    return found


def _unknown(said: dict[str, str], known: Tables) -> str:
    newest = said.get("revision") or said.get("version")
    return (
        f"its tables are of a newer burst (schema version {newest}); this burst knows {known.revision}. "
        "Use the version of burst that the other hosts have, or a newer one"
    )


def _names_in(connection: Connection) -> set[str]:
    names = (documents.name, revision.name)
    listed = ", ".join(f"'{name}'" for name in names)
    if connection.dialect.name == "postgresql":
        # Not `to_regclass`: within a transaction it remembers that there was no such table, while others made it.
        asked = f"SELECT relname FROM pg_catalog.pg_class WHERE relname IN ({listed}) AND pg_table_is_visible(oid)"
        return set(connection.exec_driver_sql(asked).scalars())
    found = connection.exec_driver_sql(f"SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ({listed})")
    return set(found.scalars())


def make_tables(connection: Connection, made: Tables) -> None:
    """Those of today, in a database without any."""
    statements = _making(connection.dialect.name)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(";\n".join(statements), execution_options={"no_parameters": True})
    else:
        for statement in statements:
            connection.exec_driver_sql(statement)
    connection.execute(revision.insert().values(version_num=f"{made.revision:04}"))
    _say_compatible(connection, made)


@functools.cache
def _making(dialect: str) -> list[str]:
    """The statements that make all tables and indices; `dialect`: `sqlite` or `postgresql`."""
    made: list[str] = []

    def keep(sql: Any, *_: object, **__: object) -> None:
        sql.if_not_exists = True
        made.append(str(sql.compile(dialect=engine.dialect)))

    engine: MockConnection = create_mock_engine(
        f"{'postgresql+psycopg' if dialect == 'postgresql' else dialect}://", keep
    )
    schema.metadata.create_all(engine, checkfirst=False)
    return made


def upgrade_tables(connection: Connection, location: Location, found: Tables, becomes: Tables, *, now: float) -> None:
    """To those of today, in the transaction of the connection. `now`: by the clock of the leases.

    Errors: StateError, DBAPIError.
    """
    where = location.shown()
    if becomes.compatible_from > found.revision:
        _refuse_beside_older(connection, where, now)
    try:
        from state.sql.upgrade import upgrade

        upgrade(connection, revision=found.revision)
    except ModuleNotFoundError as error:
        needed = f"its tables are of an older burst, and to upgrade them needs {error.name}"
        raise StateError(where, f"{needed}: `pip install 'comfyui-burst[sql]'`") from error
    _say_compatible(connection, becomes)
    _log.warning("%s: tables upgraded from schema version %d to %d", where, found.revision, becomes.revision)
    if becomes.compatible_from > found.revision:
        _log.warning("%s: older versions of burst refuse it from now on", where)


def older_tables_stay(location: Location, found: Tables, ours: Tables, why: NotAllowed) -> NotAllowed:
    """For who would write, but may not upgrade them."""
    versions = f"schema version {found.revision}; this one writes {ours.revision}"
    return NotAllowed(
        location.shown(),
        f"its tables are of an older burst ({versions}), and {why.reason}",
        "call `burst state upgrade` once as the role that owns them, or use the older burst until then; reading works",
    )


def _say_compatible(connection: Connection, tables: Tables) -> None:
    connection.execute(delete(documents).where(documents.c.name == "version"))
    connection.execute(documents.insert().values(name="version", content=str(tables.compatible_from), changes=1))


def _refuse_beside_older(connection: Connection, where: str, now: float) -> None:
    """Runs of releases that may not write to the new tables have looked at the version when they began."""
    leases = schema.leases
    asked = select(leases.c.host).where(leases.c.ended_at.is_(None), leases.c.expires_at > now).distinct()
    if hosts := connection.execute(asked.order_by(leases.c.host)).scalars().all():
        raise StateError(
            where,
            "its tables must be upgraded to what older versions of burst cannot use, and runs are at work on "
            f"{', '.join(hosts)}: end them, or wait a minute if they were killed, then run again",
        )
