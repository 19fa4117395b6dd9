"""A role of the tests' PostgreSQL that may only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url


@contextmanager
def reading_role(address: str) -> Iterator[str]:
    """The address for a role with the right to read the tables that there are, and no other."""
    url = make_url(address)
    name = f"reader_of_{url.database}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")  # type: ignore[arg-type]
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")  # type: ignore[arg-type]
        try:
            yield url.set(username=name, password=None).render_as_string()
        finally:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")  # type: ignore[arg-type]


@contextmanager
def writing_role(address: str) -> Iterator[str]:
    """The same for a role that may also change rows, and no table."""
    with reading_role(address) as reading, psycopg.connect(address, autocommit=True) as connection:
        name = make_url(reading).username
        for what in ("INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"):
            connection.execute(f"GRANT {what} IN SCHEMA public TO {name}")  # type: ignore[arg-type]
        yield reading
