"""What tables a database has, however they came about: to compare two of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

_COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name, is_identity
FROM information_schema.columns WHERE table_schema = current_schema()
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
"""
_INDICES = "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()"


def tables_of(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Columns with types and defaults, constraints, and indices with their conditions; not the columns' order."""
    if connection.dialect.name == "postgresql":
        asked = {"columns": _COLUMNS, "constraints": _CONSTRAINTS, "indices": _INDICES}
        return {
            name: sorted(map(tuple, connection.exec_driver_sql(text).all()), key=str) for name, text in asked.items()
        }
    return _sqlite(connection)


def _sqlite(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, kind, text in connection.exec_driver_sql("SELECT name, type, sql FROM sqlite_master").all():
        if kind == "table":
            columns = connection.exec_driver_sql(f"PRAGMA table_xinfo({name})").all()
            # Whatever number the column has.
            found[name] = sorted((tuple(column)[1:] for column in columns), key=str)
            found[name].append(("counts up", "AUTOINCREMENT" in (text or "")))
            listed = connection.exec_driver_sql(f"PRAGMA index_list({name})").all()
            found[name] += sorted((tuple(one)[2:] for one in listed), key=str)
        elif text is not None:
            found[name] = [(" ".join(text.split()),)]
        else:
            made_for = connection.exec_driver_sql(f"PRAGMA index_xinfo({name})").all()
            found[name] = [tuple(one)[2:] for one in made_for]
    return found
