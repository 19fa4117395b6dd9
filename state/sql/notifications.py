"""LISTEN and NOTIFY of PostgreSQL: whoever adds, cancels, retries or pauses tells every run and browser at once."""

from __future__ import annotations

import contextlib
import select
import uuid
from typing import Any

from sqlalchemy import Connection

from orchestrator.errors import BurstError
from state.sql.database import Database

CHANNEL = "burst"
_WAIT_SECONDS = 2.0


def announce(database: Database, connection: Connection) -> None:
    """Others hear it when this transaction ends; nothing on SQLite.

    Not for what runs do with their items: a NOTIFY for every change costs four writers 37 % of their pace.
    """
    if database.is_postgresql:
        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")


class Listener:
    """A connection of its own on which notifications arrive. Used by one thread.

    Behind pgbouncer in transaction mode nothing arrives, and no error says so.
    """

    def __init__(self, database: Database, *, channel: str = CHANNEL) -> None:
        """Errors: StateError where PostgreSQL does not answer."""
        with contextlib.ExitStack() as held:
            connection = held.enter_context(database.connect())
            connection.detach()
            connection.exec_driver_sql(f"LISTEN {channel}")
            self._driver: Any = connection.connection.dbapi_connection
            self._held = held.pop_all()

    def heard(self, *, wait_seconds: float = 0.0) -> bool:
        """Whether anything arrived since the last call. Errors: OSError where the connection was lost."""
        connection = self._driver.pgconn
        if wait_seconds:
            select.select([connection.socket], [], [], wait_seconds)
        try:
            connection.consume_input()
        except Exception as error:
            raise OSError(str(error)) from error
        return sum(1 for _ in iter(connection.notifies, None)) > 0

    def close(self) -> None:
        """Safe to repeat."""
        with contextlib.suppress(BurstError):
            self._held.close()


def is_heard(database: Database) -> bool:
    """Whether notifications arrive at this address, tried with one to ourselves. Errors: StateError."""
    channel = f"burst_{uuid.uuid4().hex}"
    with contextlib.closing(Listener(database, channel=channel)) as listener:
        with database.connect() as connection:
            # On another connection: pgbouncer delivers it with the answer where both are the same one.
            connection.exec_driver_sql(f"NOTIFY {channel}")
        try:
            return listener.heard(wait_seconds=_WAIT_SECONDS)
        except OSError:
            return False
