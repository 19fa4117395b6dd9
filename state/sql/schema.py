"""The tables of a SQL state. One schema for SQLite and PostgreSQL; the indices of the claim differ."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

REVISION = 6
"""The revision of these tables: the last one of `state.sql.migrations`."""
COMPATIBLE_FROM = 1
"""The oldest revision whose release may still write to these tables: it does no harm to what it does not know."""

_Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only where a key is an INTEGER."""

_Key = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared by code points, as Python does, in whichever language the database was made."""

metadata = MetaData()

items = Table(
    "items",
    metadata,
    Column("seq", _Id, primary_key=True, autoincrement=True),
    Column("key", _Key, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    Column("batch", Text),
    Column("number", BigInteger, nullable=False),
    Column("recipe", Text),
    Column("priority", SmallInteger, nullable=False),
    Column("rank", Double, nullable=False),
    Column("waits", Boolean, nullable=False),
    Column("has_stages", Boolean, nullable=False, server_default=text("false")),
    Column("server", Text),
    Column("seconds", Double),
    Column("completed_at", BigInteger),
    Column("lease", BigInteger),
    Column("kind", Text, nullable=False, server_default=""),
    Column("record", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""`seq`: the order of addition. `number`: the item's index in its batch, 0 without one. `priority`: 0 is the most
urgent. `waits`: pending, and made from an item that is not completed. `has_stages`: `sources` may have rows that name
it. `completed_at`: microseconds since 1970. `lease`: of the run that holds it. `kind`: `Item.kind`.
`record`: the JSON of `state.item.Item.to_record`; the columns repeat what queries need."""

_FREE: dict[str, Any] = {
    "postgresql_where": text("status = 'pending' AND NOT waits AND lease IS NULL"),
    "sqlite_where": text("status = 'pending' AND waits = 0 AND lease IS NULL"),
}
"""Due, and held by no run. See `state.sql.due`, whose condition says the same in the same words."""
_TURN = (items.c.kind, items.c.priority, items.c.rank, items.c.seq)
Index("items_due", *_TURN, **_FREE)
Index("items_due_in_batch", items.c.batch, *_TURN, **_FREE)
_STANDING = (items.c.status, items.c.waits, items.c.batch, items.c.recipe, items.c.server)
Index("items_by_standing", *_STANDING, items.c.seconds, items.c.completed_at).ddl_if(dialect="sqlite")
Index("items_waiting", items.c.seq, postgresql_where=text("status = 'pending' AND waits")).ddl_if(dialect="postgresql")
Index("items_submitted", items.c.seq, postgresql_where=text("status = 'submitted'")).ddl_if(dialect="postgresql")
Index("items_by_batch", items.c.batch, items.c.number, items.c.key)
Index("items_left", items.c.server, postgresql_where=text("status = 'submitted' AND lease IS NULL")).ddl_if(
    dialect="postgresql"
)
_COMPLETED = items.c.completed_at.is_not(None)
Index(
    "items_completed_at",
    items.c.completed_at,
    items.c.server,
    sqlite_where=_COMPLETED,
    postgresql_where=_COMPLETED,
)
Index("items_completed_with", items.c.recipe, items.c.seconds, postgresql_where=text("status = 'completed'")).ddl_if(
    dialect="postgresql"
)
Index(
    "items_tried",
    items.c.completed_at,
    sqlite_where=text("status = 'failed' OR instr(record, '\"past_attempts\"') > 0"),
    postgresql_where=text("status = 'failed' OR strpos(record, '\"past_attempts\"') > 0"),
)
"""Those with attempts on record beside the one that completed them. See `state.sql.attempt_rows`, which says the same
in the same words."""
Index("items_held", items.c.lease, sqlite_where=items.c.lease.is_not(None), postgresql_where=items.c.lease.is_not(None))

sources = Table(
    "sources",
    metadata,
    Column("source", _Key, primary_key=True),
    Column("stage", _Key, primary_key=True),
)
"""One row for each item (`stage`) that is made from an output of another one, which may be gone."""
Index("sources_by_stage", sources.c.stage)

events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("moment", BigInteger, nullable=False),
    Column("item", Text, nullable=False),
    Column("was", Text),
    Column("becomes", Text),
    Column("at", Double, nullable=False),
    Column("writer", Text, nullable=False),
    Column("lease", BigInteger),
    Column("server", Text),
    Column("prompt_id", Text),
    sqlite_autoincrement=True,
)
"""One row for each change of an item, in its transaction; append-only. `was` None: added; `becomes` None: removed.

`moment`: the transaction (PostgreSQL), whose changes are read once no older one is open; 0 on SQLite, where rows appear
in the order of `id`. `writer`: the open store that made it, whose own changes are no news to it."""
Index("events_by_moment", events.c.moment, events.c.id)

leases = Table(
    "leases",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("host", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("process", Text, nullable=False),
    Column("renewed_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("holder", Text),
    Column("clean", Boolean, nullable=False, server_default=text("false")),
    Column("live", Text),
    Column("preview", LargeBinary),
    sqlite_autoincrement=True,
)
"""One row for each run. `process`: distinguishes processes that have had the same number. `holder`: the JSON of the
burst that it published. `clean`: it ended by itself, or its end is recorded. `live`: the JSON of `state.live.Live`,
its times by the database's clock. `preview`: of the first release, whose runs kept it here."""
Index(
    "leases_open",
    leases.c.expires_at,
    sqlite_where=leases.c.clean.is_(False),
    postgresql_where=leases.c.clean.is_(False),
)

lines = Table(
    "lines",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("line", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""The append-only logs: `batch`, `fact`, `burst`."""
Index("lines_by_kind", lines.c.kind, lines.c.id)

places = Table("places", metadata, Column("place", _Key, primary_key=True), Column("item", Text, nullable=False))
"""Where outputs go: output root, subfolder and name without extension. `item`: the last one that claimed it, which may
have given it up since."""

recipes = Table(
    "recipes",
    metadata,
    Column("seq", _Id, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("recipe", Text, nullable=False),
    sqlite_autoincrement=True,
)

workflows = Table(
    "workflows", metadata, Column("digest", Text, primary_key=True), Column("graph", Text, nullable=False)
)

documents = Table(
    "documents",
    metadata,
    Column("name", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("changes", BigInteger, nullable=False),
)
"""Texts that are replaced whole: `settings`; `version`: the oldest revision whose release may write (as of
`COMPATIBLE_FROM`); `created`, once the state exists; `watched`: when somebody looked at what runs show."""

revision = Table(
    "schema_revision",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="schema_revision_pkc"),
)
"""One row: the revision of the tables, as Alembic keeps it. The first releases had none; theirs is revision 1."""
