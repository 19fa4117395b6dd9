"""Hosts that are upgraded one by one: a release and the next at work on one state."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update
from support.leases import begin
from support.plain_walk import keys_of
from support.state_scenes import NOON, PENDING, SUBMITTED, complete, item, statuses, submit
from support.stores import KINDS, State

from orchestrator.errors import RecipeUnusable
from state.change import Change
from state.facts import ServerHealth
from state.item import Item
from state.recipe import Recipe
from state.sql import schema, upgrade
from state.sql.database import Database
from state.sql.schema import documents, items, leases, lines, recipes
from state.store import Store

NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{next:04}", "{head:04}"

def upgrade():
    op.add_column("items", sa.Column("colour", sa.Text, nullable=False, server_default="grey"))
    op.create_table("shelves", sa.Column("item", sa.Text, primary_key=True))
    op.create_index("items_by_colour", "items", ["colour"])
"""


class Rolling:
    """One state, and stores of the two releases."""

    def __init__(self, state: State, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.state = state
        self._patch = patch
        self._folder = folder
        (folder / "next.py").write_text(NEXT.format(head=schema.REVISION, next=schema.REVISION + 1))

    def today(self, *, create: bool = False) -> Store:
        """Of this release, which is the older one."""
        return self.state.open(create=create)

    def next(self) -> Store:
        with self._patch.context() as patch:
            patch.setattr(schema, "REVISION", schema.REVISION + 1)
            return self.state.open()

    def upgrade(self) -> None:
        """By the first host of the next release."""
        with self._patch.context() as patch:
            patch.setattr(upgrade, "FOLDERS", [*upgrade.FOLDERS, self._folder])
            self.next().upgrade()

    def database(self) -> Database:
        database: Database = self.today()._database  # type: ignore[attr-defined]
        return database

    def row(self, key: str) -> dict[str, Any]:
        with self.database().connect() as connection:
            asked = "SELECT * FROM items WHERE key = "
            return dict(connection.exec_driver_sql(f"{asked}'{key}'").mappings().one())


@pytest.fixture(params=[kind for kind in KINDS if not kind.one_run], ids=lambda kind: kind.name)
def rolling(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rolling]:
    (tmp_path / "next").mkdir()
    with State(dataclasses.replace(request.param, give_back=None), tmp_path) as state:
        yield Rolling(state, tmp_path / "next", monkeypatch)


def test_the_older_one_goes_on_beside_the_newer_one(rolling: Rolling) -> None:
    """One that was at work already, and one that begins after the upgrade."""
    running = rolling.today(create=True)
    running.add([item(f"{number}") for number in range(9)])
    with running.lease() as older:
        begin(older, "older")
        assert keys_of(older.claim(2)) == ["0", "1"]
        rolling.upgrade()
        older.apply([Change("0", PENDING, submit())])
        with rolling.next().lease() as newer, rolling.today().lease() as begun_later:
            begin(newer, "newer")
            assert keys_of(newer.claim(2)) == ["2", "3"]
            assert keys_of(begun_later.claim(2)) == ["4", "5"]
            assert keys_of(older.claim(1)) == ["6"]
            older.apply([Change("0", SUBMITTED, complete), Change("1", PENDING, submit())])
            newer.apply([Change("2", PENDING, submit())])
            assert newer.take_over(["1"]) == []
            rolling.today().add([item("a")])
            rolling.next().add([item("b")])
            assert {held.burst for held in rolling.today().holders()} == {"older", "newer"}
            assert statuses(rolling.today()) == statuses(rolling.next())
    assert keys_of(rolling.today().due(9)) == ["3", "4", "5", "6", "7", "8", "a", "b"]
    assert rolling.row("a")["colour"] == "grey"


def test_what_one_left_behind_the_other_takes_over(rolling: Rolling) -> None:
    rolling.today(create=True).add([item("a"), item("b")])
    rolling.upgrade()
    for left, takes, key in ((rolling.today, rolling.next, "a"), (rolling.next, rolling.today, "b")):
        killed = left()
        lease = killed.lease()
        begin(lease, f"of {key}")
        lease.apply([Change(key, PENDING, submit())])
        with rolling.database().transaction() as connection:
            connection.execute(update(leases).values(expires_at=1.0, host="another"))
        with takes().lease() as lease:
            begin(lease, "takes over")
            assert [one.prompt_id for one in lease.take_over([key])] == [f"id-{key}"]
            lease.apply([Change(key, SUBMITTED, complete)])


def test_what_the_newer_one_added_is_kept_by_the_older_one(rolling: Rolling) -> None:
    """Columns, tables, fields of records, kinds of lines, documents and recipes."""
    today = rolling.today(create=True)
    record = b'{"status": "pending", "subfolder": "", "filename": "a.txt", "newer": {"b": [1, "x"]}}'
    today.add([Item.from_record("a", record)])
    today.recipes.add(Recipe(output="known"), None)
    rolling.upgrade()
    with rolling.database().transaction() as connection:
        connection.exec_driver_sql("UPDATE items SET colour = 'red'")
        connection.exec_driver_sql("INSERT INTO shelves (item) VALUES ('a')")
        connection.execute(lines.insert().values(kind="fact", line='{"line": "newer", "x": 1}'))
        connection.execute(lines.insert().values(kind="newer", line="{}"))
        connection.execute(documents.insert().values(name="newer", content="x", changes=1))
        connection.execute(recipes.insert().values(id="newer", recipe='{"output": "o", "newer": 1}'))
    with today.lease() as lease:
        lease.apply([Change("a", PENDING, submit())])
        lease.apply([Change("a", SUBMITTED, complete)])
    today.facts.append(ServerHealth(server="s", health="well", at=NOON))
    today.settings.write("version = 2\n")
    assert today.facts.read().health.keys() == {"s"}
    assert list(today.recipes.all()) == [Recipe(output="known").id]
    with pytest.raises(RecipeUnusable, match="use the version of burst that wrote it or a newer one"):
        today.recipes.get("newer")
    assert rolling.row("a")["colour"] == "red"
    assert msgspec.json.decode(rolling.row("a")["record"])["newer"] == {"b": [1, "x"]}
    with rolling.database().connect() as connection:
        assert connection.exec_driver_sql("SELECT item FROM shelves").scalars().all() == ["a"]
        assert len(connection.execute(select(lines.c.id).where(lines.c.line.contains("newer"))).all()) == 1
        assert connection.scalar(select(documents.c.content).where(documents.c.name == "newer")) == "x"
        assert connection.scalar(select(recipes.c.recipe).where(recipes.c.id == "newer")) is not None


def test_the_older_one_never_takes_the_tables_back(rolling: Rolling) -> None:
    rolling.today(create=True).add([item("a")])
    rolling.upgrade()
    rolling.today().upgrade()
    with rolling.today()._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(update(items).values(priority=1))
    assert rolling.row("a")["colour"] == "grey"
    with rolling.database().connect() as connection:
        assert connection.scalar(select(schema.revision.c.version_num)) == upgrade.name_of(schema.REVISION + 1)
