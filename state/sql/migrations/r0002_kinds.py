"""What is due, by kinds: a claim reads none of those that its run cannot use."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("items", sa.Column("kind", sa.Text, nullable=False, server_default=""))
    # Without one, an item is looked at by itself; so is whatever a server may have.
    op.execute(
        "UPDATE items SET kind = coalesce(recipe, 'template=') WHERE status = 'pending' AND server IS NULL "
        "AND (recipe IS NOT NULL OR record NOT LIKE '%\"template\"%')"
    )
    op.drop_index("items_due", "items")
    turn = ["kind", "priority", "rank", "seq"]
    free: dict[str, Any] = {
        "postgresql_where": sa.text("status = 'pending' AND NOT waits AND lease IS NULL"),
        "sqlite_where": sa.text("status = 'pending' AND waits = 0 AND lease IS NULL"),
    }
    op.create_index("items_due", "items", turn, **free)
    op.create_index("items_due_in_batch", "items", ["batch", *turn], **free)
    if op.get_bind().dialect.name == "postgresql":
        waiting, submitted = sa.text("status = 'pending' AND waits"), sa.text("status = 'submitted'")
        op.create_index("items_waiting", "items", ["seq"], postgresql_where=waiting)
        op.create_index("items_submitted", "items", ["seq"], postgresql_where=submitted)
    else:
        op.create_index("items_by_status", "items", ["status", "waits"])
