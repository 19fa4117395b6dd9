"""Connections to PostgreSQL that give up where no answer comes, though nothing tells that they were cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import errors


def connection_class(limit_seconds: Callable[[], float | None]) -> type[psycopg.Connection[Any]]:
    """Each of its statements is waited for so long; None: without end.

    A host that is gone is noticed by TCP itself. A proxy whose own host hangs, and a stopped PostgreSQL, take what is
    sent and answer nothing.
    """

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **named: Any) -> Any:
            """Errors: psycopg.OperationalError, with the connection closed, as where it was cut."""
            seconds = limit_seconds()
            if seconds is not None:
                named.setdefault("timeout", seconds)
            try:
                return super().wait(gen, *args, **named)
            except errors._WaitTimeout as error:
                self.pgconn.finish()
                raise psycopg.OperationalError(f"no answer within {named['timeout']:g} s") from error

    return Bounded
