"""Indices of what a run at work asks every few seconds: which runs died, and what was left behind on its servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(
        "leases_open",
        "leases",
        ["expires_at"],
        sqlite_where=sa.text("clean IS 0"),
        postgresql_where=sa.text("clean IS false"),
    )
    if op.get_bind().dialect.name == "postgresql":
        left = sa.text("status = 'submitted' AND lease IS NULL")
        op.create_index("items_left", "items", ["server"], postgresql_where=left)
