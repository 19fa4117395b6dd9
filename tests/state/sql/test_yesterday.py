"""States of earlier releases, as their tables were dumped, go on with this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.plain_walk import keys_of
from support.postgres import fresh_database
from support.sql_dumps import DUMPS, load
from support.sql_tables import tables_of
from support.state_scenes import COMPLETED, PENDING, SUBMITTED, complete, item, statuses, submit

from state.change import Change
from state.open_store import open_store, parts_of
from state.sql import schema
from state.sql.schema import leases
from state.store import Store

STATUSES = {
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "submitted": "submitted",
    "claimed": "pending",
    "due": "pending",
    "stage": "pending",
}


@pytest.fixture(params=sorted(DUMPS.glob("*.sql")), ids=lambda path: path.stem)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    address = fresh_database() if "postgresql" in request.param.name else f"sqlite:///{tmp_path}/state.db"
    load(request.param.read_text(), address)
    return address


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    with open_store(address) as store:
        yield store


def set_lease(store: Store, seconds: float) -> None:
    """Of the run of the earlier release: so long from now."""
    database = store._database  # type: ignore[attr-defined]
    with database.transaction() as connection:
        now = database.seconds(connection)
        connection.execute(update(leases).where(leases.c.id == 1).values(renewed_at=now, expires_at=now + seconds))


def test_the_dumps_are_there_for_both_databases() -> None:
    assert {path.name for path in DUMPS.glob("*.sql")} >= {"0001.sqlite.sql", "0001.postgresql.sql"}


def test_all_that_it_holds_is_there_before_and_after_the_upgrade(address: str, store: Store) -> None:
    def everything() -> list[Any]:
        parts = parts_of(address)
        (recipe,) = parts.recipes.all().values()
        with open_store(address, read_only=True) as reader:
            return [
                statuses(reader),
                reader.waiting(),
                reader.due_count(),
                keys_of(reader.due(9)),
                reader.counts_by_batch(),
                reader.recipe_counts(),
                reader.batch_figures("b"),
                [item.key for item in reader.items(SUBMITTED)],
                reader.stuck(),
                reader.stages_of("submitted"),
                reader.batch_keys("b"),
                parts.settings.read(),
                parts.recipes.workflow(recipe),
                parts.batches.read()["b"].record,
                parts.facts.read(),
                parts.bursts.read()[0],
            ]

    before = everything()
    assert before[0] == STATUSES
    set_lease(store, 60)
    assert everything() == before


def test_it_has_the_tables_of_a_new_state(address: str, store: Store, tmp_path: Path) -> None:
    store.add([item("new")])
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        # The first releases kept no revision.
        schema.metadata.create_all(connection)
        found = tables_of(connection)
    other = fresh_database() if address.startswith("postgresql") else f"sqlite:///{tmp_path}/other.db"
    with open_store(other, create=True) as made, made._database.connect() as connection:  # type: ignore[attr-defined]
        assert found == tables_of(connection)


def test_what_a_run_of_the_earlier_release_holds_stays_its_own_while_it_lives(store: Store) -> None:
    set_lease(store, 60)
    assert [holder.burst for holder in store.holders()] == ["killed"]
    with store.lease() as lease:
        assert list(lease.left_behind()) == []
        assert lease.take_over(["submitted"]) == []
        assert keys_of(lease.claim(9)) == ["due"]


def test_what_a_killed_run_of_the_earlier_release_held_is_taken_over(store: Store) -> None:
    set_lease(store, -1)
    with store.lease() as lease:
        assert [record.burst for record in store.bursts.read() if record.ended == "killed"] == ["killed"]
        assert keys_of(list(lease.left_behind())) == ["submitted"]
        (taken,) = lease.take_over(["submitted"])
        assert taken.prompt_id == "p1"
        assert keys_of(lease.claim(9)) == ["claimed", "due"]
        lease.apply([Change("submitted", SUBMITTED, complete), Change("due", PENDING, submit())])
        assert keys_of(lease.claim(9)) == ["stage"]
    assert statuses(store) == STATUSES | {"submitted": COMPLETED, "due": SUBMITTED}
    store.add([item("new")])
    in_order = keys_of(list(store.items()))
    assert (in_order[0], in_order[-1]) == ("completed", "new")
