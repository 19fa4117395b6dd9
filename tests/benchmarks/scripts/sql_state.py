"""A SQL state of many items, half of them of a kind that no run can take, which stand before the others.

python -m tests.benchmarks.scripts.sql_state ADDRESS COUNT
"""

from __future__ import annotations

from state.open_store import open_store

OTHER, OWN = "recipe-of-others", "template="
"""Kinds. What is ours has no recipe, so that none has to be there."""
_PADDING = 200


def make_sql_state(address: str, *, count: int) -> None:
    """In one statement: with `Store.add` a million items take many minutes."""
    with open_store(address, create=True) as store:
        database = store._database  # type: ignore[attr-defined]
        numbers = (
            f"SELECT value AS n FROM generate_series(0, {count - 1}) AS value"
            if database.is_postgresql
            else "WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s "
            f"WHERE n < {count - 1}) SELECT n FROM s"
        )
        kind = f"CASE WHEN n < {count // 2} THEN '{OTHER}' ELSE '{OWN}' END"
        recipe = f"CASE WHEN n < {count // 2} THEN '{OTHER}' END"
        record = (
            """'{"status":"pending","subfolder":"EP01","filename":"p' || n || '.txt"' || """
            + f"""CASE WHEN n < {count // 2} THEN ',"recipe":"{OTHER}"' ELSE '' END"""
            + f""" || ',"prompt_text":"{"x" * _PADDING}"}}'"""
        )
        with database.transaction() as connection:
            no = "false" if database.is_postgresql else "0"
            connection.exec_driver_sql(_insert(recipe, kind, record, numbers, no))
        if database.is_postgresql:
            with database.connect() as connection:
                connection.exec_driver_sql("VACUUM ANALYZE items")


def _insert(recipe: str, kind: str, record: str, numbers: str, no: str) -> str:
    columns = "key, status, number, recipe, kind, priority, rank, waits, has_stages, record"
    values = f"'prompts/' || n, 'pending', n, {recipe}, {kind}, 2, 0.0, {no}, {no}, {record}"
    return f"INSERT INTO items ({columns}) SELECT {values} FROM ({numbers}) AS numbers"
