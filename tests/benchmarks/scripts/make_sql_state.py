"""A state in a database: COUNT items of 20 batches, of which four in five are completed, as after days of work.

    python -m tests.benchmarks.scripts.make_sql_state ADDRESS COUNT

The first few hundred rows are as burst writes them; the others are copies, made by the database.
"""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, insert, literal, select

from state.batch import BatchRecord
from state.burst_record import BurstRecord, RecipePace
from state.item import ErrorRecord, Item, OutputRecord, Status
from state.open_store import open_store
from state.recipe import Recipe, workflow_bytes, workflow_digest
from state.sql.rows import row_of
from state.sql.schema import items

_BATCHES = [f"batch{number:02d}" for number in range(20)]
_ROWS = 20
"""So many of each batch are as burst writes them."""
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}}


def make_sql_state(address: str, *, count: int) -> None:
    """Analyzed and vacuumed, as PostgreSQL is by itself in time."""
    with open_store(address, create=True) as store:
        recipe = Recipe(workflow=workflow_digest(workflow_bytes(_GRAPH)), output="output")
        store.recipes.add(recipe, _GRAPH)
        for name in _BATCHES:
            record = BatchRecord(
                batch=name,
                created_at=_BEGAN,
                total=count // len(_BATCHES),
                layout="numbered",
                directory=name,
                prompts=("a fox",),
                recipe=recipe.id,
            )
            store.add([_item(name, 0, recipe.id)], batch=record)
        store.bursts.append(_burst(recipe.id))
        made = [_as_after_days(_item(name, number, recipe.id)) for number in range(1, _ROWS) for name in _BATCHES]
        database = store._database  # type: ignore[attr-defined]
        with database.transaction() as connection:
            if rows := [row_of(item) for item in made[: count - len(_BATCHES)]]:
                connection.execute(items.insert(), rows)
            columns = [column for column in items.c if column.name not in ("seq", "key")]
            while (there := connection.scalar(select(func.count()).select_from(items))) < count:
                key = items.c.key + literal(f"/{there}")
                copies = select(key, *columns).order_by(items.c.seq).limit(count - there)
                connection.execute(insert(items).from_select(["key", *(column.name for column in columns)], copies))
        with database.connect() as connection:
            connection.exec_driver_sql(
                "VACUUM ANALYZE" if database.is_postgresql else "PRAGMA wal_checkpoint(TRUNCATE)"
            )


def _item(batch: str, number: int, recipe: str) -> Item:
    key = f"{batch}/{number:03d}"
    return Item(key=key, status=Status.PENDING, batch=batch, index=number, recipe=recipe, inputs={"seed": number})


def _as_after_days(item: Item) -> Item:
    number = item.index or 0
    if number % 5 == 0:
        return item
    sent = item.submit(prompt_id=str(uuid.uuid4()), server="gpu1", at=_BEGAN, fingerprint="f" * 64)
    if number == 1:
        return sent.fail(error=ErrorRecord(kind="execution_error", message="out of luck"))
    output = OutputRecord(path=f"{item.key}.png", bytes=1_500_000, sha256="ab" * 32)
    return sent.complete(outputs=(output,), at=_BEGAN + timedelta(seconds=number), seconds=3.0)


def _burst(recipe: str) -> BurstRecord:
    return BurstRecord(
        burst="b1",
        started_at=_BEGAN,
        ended_at=_BEGAN + timedelta(seconds=60),
        ended="done",
        size=20,
        completed=20,
        seconds=60.0,
        alive_seconds=60.0,
        seconds_per_item=3.0,
        recipe_paces={recipe: RecipePace(items=20, median_seconds=3.0)},
        servers=("gpu1",),
        host="host",
        pid=1,
    )


if __name__ == "__main__":
    make_sql_state(sys.argv[1], count=int(sys.argv[2]))
