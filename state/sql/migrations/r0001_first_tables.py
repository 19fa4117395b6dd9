"""The tables of the first releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _items()
    _events()
    _leases()
    _texts()


def _items() -> None:
    key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "items",
        _number("seq"),
        sa.Column("key", key, nullable=False, unique=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("batch", sa.Text),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("recipe", sa.Text),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("rank", sa.Double, nullable=False),
        sa.Column("waits", sa.Boolean, nullable=False),
        sa.Column("has_stages", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("server", sa.Text),
        sa.Column("seconds", sa.Double),
        sa.Column("completed_at", sa.BigInteger),
        sa.Column("lease", sa.BigInteger),
        sa.Column("record", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        due = sa.text("status = 'pending' AND NOT waits")
        op.create_index("items_due", "items", ["priority", "rank", "seq"], postgresql_where=due)
    else:
        op.create_index("items_due", "items", ["status", "waits", "priority", "rank", "seq"])
    op.create_index("items_by_batch", "items", ["batch", "number", "key"])
    held = sa.text("lease IS NOT NULL")
    op.create_index("items_held", "items", ["lease"], sqlite_where=held, postgresql_where=held)
    op.create_table("sources", sa.Column("source", key, primary_key=True), sa.Column("stage", key, primary_key=True))
    op.create_index("sources_by_stage", "sources", ["stage"])


def _events() -> None:
    op.create_table(
        "events",
        _number("id"),
        sa.Column("moment", sa.BigInteger, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("was", sa.Text),
        sa.Column("becomes", sa.Text),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("lease", sa.BigInteger),
        sa.Column("server", sa.Text),
        sa.Column("prompt_id", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_moment", "events", ["moment", "id"])


def _leases() -> None:
    op.create_table(
        "leases",
        _number("id"),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("renewed_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("holder", sa.Text),
        sa.Column("clean", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("live", sa.Text),
        sa.Column("preview", sa.LargeBinary),
        sqlite_autoincrement=True,
    )


def _texts() -> None:
    op.create_table(
        "lines",
        _number("id"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("lines_by_kind", "lines", ["kind", "id"])
    op.create_table(
        "recipes",
        _number("seq"),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("recipe", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "workflows", sa.Column("digest", sa.Text, primary_key=True), sa.Column("graph", sa.Text, nullable=False)
    )
    op.create_table(
        "documents",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("changes", sa.BigInteger, nullable=False),
    )


def _number(name: str) -> sa.Column[int]:
    """Counts up by itself: on SQLite only an INTEGER does."""
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)
