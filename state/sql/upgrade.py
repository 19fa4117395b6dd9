"""Bringing the tables of a state from an older release's revision to the newest, with Alembic.

Nothing else loads Alembic: a state of today's revision is opened, and a new one made, without it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from state.sql import schema

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

FOLDERS = [Path(__file__).parent / "migrations"]
HEAD = "head"
"""How far. Tests stop at an older revision."""
_one_at_a_time = threading.Lock()
"""Alembic's `op` is that of the whole process."""


def chain() -> ScriptDirectory:
    """The revisions that this release knows."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(FOLDERS[0]), version_locations=[str(folder) for folder in FOLDERS])


def name_of(revision: int) -> str:
    """As the chain and the table `schema_revision` have it."""
    return f"{revision:04}"


def upgrade(connection: Connection, *, revision: int) -> None:
    """All revisions after this one (0: from an empty database), in the transaction of the connection.

    Errors: ModuleNotFoundError without Alembic; DBAPIError, after which the transaction must be rolled back.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    revisions = chain()

    def steps(heads: Any, _: MigrationContext) -> Any:
        return revisions._upgrade_revs(HEAD, heads)

    options: dict[str, Any] = {"version_table": schema.revision.name, "fn": steps}
    context = MigrationContext.configure(connection, opts=options)
    if revision and context.get_current_revision() is None:
        context.stamp(revisions, name_of(revision))
    with _one_at_a_time, Operations.context(context):
        context.run_migrations()
