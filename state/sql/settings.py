"""The settings of a SQL state: one text in a row."""

from __future__ import annotations

from sqlalchemy import select, update

from state.sql.database import Database
from state.sql.outage import repeats_all
from state.sql.schema import documents


@repeats_all()
class SqlSettings:
    """See `state.store.SettingsDocument` for what each public method promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def shown(self) -> str:
        return f"the settings in {self._database.location.shown()}"

    def stamp(self) -> int | None:
        if not self._database.exists():
            return None
        with self._database.connect() as connection:
            found = connection.scalar(select(documents.c.changes).where(documents.c.name == "settings"))
        return int(found) if found is not None else None

    def exists(self) -> bool:
        return self.stamp() is not None

    def read(self) -> str | None:
        if not self._database.exists():
            return None
        with self._database.connect() as connection:
            found = connection.scalar(select(documents.c.content).where(documents.c.name == "settings"))
        return str(found) if found is not None else None

    def write(self, text: str) -> None:
        text.encode()
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(documents)
                .where(documents.c.name == "settings")
                .values(content=text, changes=documents.c.changes + 1)
            )
            if not changed.rowcount:
                connection.execute(documents.insert().values(name="settings", content=text, changes=1))
