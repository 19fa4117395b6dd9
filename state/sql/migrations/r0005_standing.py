"""On SQLite, counts and figures are read from an index alone."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        columns = ["status", "waits", "batch", "recipe", "server", "seconds", "completed_at"]
        op.create_index("items_by_standing", "items", columns)
        op.drop_index("items_by_status", "items")
