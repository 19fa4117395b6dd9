"""Places of outputs, which no two items have at the same time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """What an older release has submitted or completed has none: its files alone are in the way of others."""
    place = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table("places", sa.Column("place", place, primary_key=True), sa.Column("item", sa.Text, nullable=False))
