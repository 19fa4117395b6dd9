"""Engines of SQLAlchemy. What one has worked out serves the next one in this process: the dialect, which asks a server
what it can do, and the texts of statements.

`burst serve` and the agents' server open a state for each change; without this, half of an open is spent on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Dialect, Engine, event
from sqlalchemy.pool import NullPool
from sqlalchemy.util import LRUCache

COMPILED = "compiled_cache"
"""The option of an engine and its connections that holds the texts of statements."""

_MOST_DIALECTS = 16
_dialects: dict[str, Dialect] = {}
_compiled: LRUCache[Any, Any] = LRUCache(500)


def engine_of(
    url: URL, connect: Callable[[Dialect], Any], *, alike: str, change: Callable[[Dialect], None] | None = None
) -> Engine:
    """One without a pool, each statement a transaction of its own. Nothing is connected yet.

    `connect`: makes a connection of the driver. `alike`: a name that all engines have in common whose server, database
    and role are the same. `change`: what to set on a new dialect.
    """
    options = {COMPILED: _compiled}
    known = _dialects.get(alike)
    if known is not None:
        pool = NullPool(lambda: connect(known), dialect=known)
        event.listen(pool, "connect", lambda made, _: known.set_isolation_level(made, "AUTOCOMMIT"))
        return Engine(pool, known, url, execution_options=options)
    engine: Engine = sqlalchemy.create_engine(
        url,
        creator=lambda: connect(engine.dialect),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        execution_options=options,
        **({"paramstyle": "named"} if url.get_backend_name() == "sqlite" else {"use_native_hstore": False}),
    )
    if change is not None:
        change(engine.dialect)
    # Listeners are called in turn: by now the dialect has asked what it wants to know.
    event.listen(engine.pool, "connect", lambda *_: _keep(alike, engine.dialect), once=True)
    return engine


def _keep(alike: str, dialect: Dialect) -> None:
    if len(_dialects) >= _MOST_DIALECTS:
        _dialects.clear()
    _dialects[alike] = dialect
