"""Whether anybody looks at what runs show: one row, which all who look touch at most every few seconds."""

from __future__ import annotations

import contextlib
from typing import Any

from sqlalchemy import Double, ScalarSelect, Text, cast, select
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.clock import Clock
from orchestrator.errors import BurstError
from state.sql.database import Database
from state.sql.schema import documents

_NAME = "watched"
_TOUCH_SECONDS = 5.0
_LAST_SECONDS = 15.0
"""So long after the last touch somebody is taken to be looking."""


def watched_at() -> ScalarSelect[str]:
    """When the row was touched last, as text, by the database's clock."""
    return select(documents.c.content).where(documents.c.name == _NAME).scalar_subquery()


def is_watched(at: str | None, *, now: float) -> bool:
    """`at`: as `watched_at` reads it. `now`: by the database's clock."""
    try:
        return at is not None and now - float(at) < _LAST_SECONDS
    except ValueError:
        return False


class Watcher:
    """Of one state, for somebody who looks again and again."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._touched_at = float("-inf")

    def touch(self) -> None:
        """Have the runs at work show what they see every 2 s from now on. Who may not write sees it every 10 s."""
        now = self._clock.monotonic()
        if now - self._touched_at < _TOUCH_SECONDS:
            return
        self._touched_at = now
        with contextlib.suppress(BurstError):
            if self._database.exists():
                with self._database.connect() as connection:
                    connection.execute(self._touched())

    def _touched(self) -> Any:
        insert = postgresql.insert if self._database.is_postgresql else sqlite.insert
        now = self._database.now_column()
        made = insert(documents).values(name=_NAME, content=cast(now, Text), changes=1)
        # Others who look may have touched it a moment ago.
        is_old = cast(documents.c.content, Double) < now - _TOUCH_SECONDS / 2
        return made.on_conflict_do_update(
            index_elements=[documents.c.name],
            set_={"content": made.excluded.content, "changes": documents.c.changes + 1},
            where=is_old,
        )
