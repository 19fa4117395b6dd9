"""A claim reads what it takes and little else, however many items stand before that: plans, and rows that are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update
from support.leases import begin
from support.plain_walk import keys_of
from support.state_scenes import item
from support.stores import KINDS, State

from state.item import Item
from state.sql.due import _count, _page
from state.sql.rows import IS_PENDING, IS_SUBMITTED, row_of
from state.sql.schema import items
from state.sql.take import _SQLITE
from state.store import Store

SQL = [kind for kind in KINDS if not kind.one_run]
MANY = 3000


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        yield state


def fill(store: Store, new: list[Item]) -> None:
    """Quicker than `add`."""
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(insert(items), [row_of(one) | {"has_stages": False} for one in new])


def of_two_recipes() -> list[Item]:
    """As many of another recipe stand before all of one."""
    return [
        item(f"{recipe}{number:05}", recipe=recipe, batch=f"batch of {recipe}")
        for recipe in ("other", "own")
        for number in range(MANY // 2)
    ]


PLANNED = [("sqlite", False), ("sqlite", True), ("postgresql", True)]
"""Nobody has statistics made on SQLite. PostgreSQL makes them by itself, within a minute."""


@pytest.fixture(
    scope="module", params=PLANNED, ids=[f"{name}{' analysed' * is_analysed}" for name, is_analysed in PLANNED]
)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a state of many items, of which few wait or are submitted."""
    name, is_analysed = request.param
    (kind,) = (kind for kind in SQL if kind.name == name)
    with State(kind, tmp_path_factory.mktemp("state")) as state:
        store = state.open(create=True)
        fill(store, of_two_recipes())
        found = store._database  # type: ignore[attr-defined]
        with found.transaction() as connection:
            connection.execute(update(items).where(items.c.key.startswith("other0000")).values(waits=True))
            connection.execute(update(items).where(items.c.key.startswith("other0001")).values(status="submitted"))
            if is_analysed:
                connection.exec_driver_sql("ANALYZE")
        yield found


def plan_of(database: Any, asked: Any) -> str:
    """As the database makes it for this statement with its parameters."""
    values = {
        "lease": 1,
        "now": 0.0,
        "seqs": "[1, 2]",
        "status": "pending",
        "most": 2,
        "size": 16,
        "batch": "batch of own",
        "without": ["other"],
        "priority": -1,
        "rank": 0.0,
        "seq": 0,
    }
    seen: list[tuple[str, Any]] = []

    def see(*call: Any) -> None:
        seen.append((call[2], call[3]))

    event.listen(database.engine, "before_cursor_execute", see)
    with database.connect() as connection:
        connection.execute(asked, values if asked.compile(database.engine).params else {})
    event.remove(database.engine, "before_cursor_execute", see)
    text, bound = seen[-1]
    explain = "EXPLAIN" if database.is_postgresql else "EXPLAIN QUERY PLAN"
    with database.connect() as connection:
        return "\n".join(str(row) for row in connection.exec_driver_sql(f"{explain} {text}", bound))


@pytest.mark.parametrize("of_batch", [True, False], ids=["of a batch", "of all"])
@pytest.mark.parametrize("held", [True, False], ids=["held too", "free"])
def test_what_is_due_is_found_by_its_indices(database: Any, *, of_batch: bool, held: bool) -> None:
    plan = plan_of(database, _page(database.is_postgresql, of_batch=of_batch, held=held))
    assert "items_due" in plan
    assert ("items_due_in_batch" in plan) == of_batch
    assert "Seq Scan" not in plan
    assert "SCAN items" not in plan
    assert "items_by_standing" not in plan


@pytest.mark.parametrize("of_batch", [True, False], ids=["of a batch", "of all"])
def test_what_is_due_is_counted_by_the_same_indices(database: Any, *, of_batch: bool) -> None:
    plan = plan_of(database, _count(database.is_postgresql, of_batch=of_batch))
    assert "items_due" in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    "asked",
    [select(items.c.key).where(IS_PENDING, items.c.waits), select(items.c.key).where(IS_SUBMITTED)],
    ids=["waiting", "submitted"],
)
def test_what_waits_and_what_is_out_is_found_by_an_index(database: Any, asked: Any) -> None:
    """Few of many; not as parameters, since a plan for any status cannot use an index of one."""
    plan = plan_of(database, asked)
    assert "Seq Scan" not in plan
    assert "SCAN items" not in plan


def test_what_is_taken_is_found_by_its_numbers(database: Any) -> None:
    """And not among all that are pending. PostgreSQL has statistics and would not."""
    if database.is_postgresql:
        return
    plan = plan_of(database, _SQLITE.made)
    assert plan.count("INTEGER PRIMARY KEY") >= 2
    assert "USING INDEX" not in plan
    assert "USING COVERING INDEX" not in plan


def test_a_claim_reads_as_much_as_it_takes(state: State) -> None:
    """What stands before: items of a recipe that this run cannot use, and those that other runs hold."""
    store = state.open(create=True)
    fill(store, of_two_recipes())
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(update(items).where(items.c.recipe == "own", items.c.key < "own01400").values(lease=99))
    looked_at: list[str] = []
    unfit: set[str] = set()

    def accept(found: Item) -> bool:
        looked_at.append(found.key)
        if found.recipe == "other":
            unfit.add(found.kind)
        return found.recipe == "own"

    with state.open().lease() as lease:
        begin(lease, "a")
        claimed = keys_of(lease.claim(16, without=unfit, accept=accept))
        assert claimed == [f"own{number:05}" for number in range(1400, 1416)]
        assert len(looked_at) <= 2 * 16
        looked_at.clear()
        assert len(lease.claim(16, without=unfit, accept=accept)) == len(looked_at) == 16
