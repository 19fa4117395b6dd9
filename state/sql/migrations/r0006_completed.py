"""What was completed when and where, and which items have other attempts on record: for history, and for runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    is_completed = sa.text("completed_at IS NOT NULL")
    columns = ["completed_at", "server"]
    op.create_index("items_completed_at", "items", columns, sqlite_where=is_completed, postgresql_where=is_completed)
    op.create_index(
        "items_tried",
        "items",
        ["completed_at"],
        sqlite_where=sa.text("status = 'failed' OR instr(record, '\"past_attempts\"') > 0"),
        postgresql_where=sa.text("status = 'failed' OR strpos(record, '\"past_attempts\"') > 0"),
    )
    if op.get_bind().dialect.name == "postgresql":
        completed = sa.text("status = 'completed'")
        op.create_index("items_completed_with", "items", ["recipe", "seconds"], postgresql_where=completed)
