"""On PostgreSQL, what a run asks about completed items is read from indices of these alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        completed = sa.text("status = 'completed'")
        op.create_index("items_completed_on", "items", ["server", "completed_at"], postgresql_where=completed)
        op.create_index("items_completed_with", "items", ["recipe", "seconds"], postgresql_where=completed)
