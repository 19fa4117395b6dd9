"""The chain of revisions, and how tables of an older release become those of this one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text, literal, select, text, update
from support.background import Threads
from support.next_release import NextRelease
from support.sql_tables import tables_of
from support.state_scenes import PENDING, item, submit
from support.stores import KINDS, State
from support.waiting import wait_until

from orchestrator.errors import StateError, StateVersionError
from state.change import Change
from state.location import Location
from state.sql import schema, upgrade
from state.sql.database import Database
from state.sql.schema import documents, leases, revision

SQL = [kind for kind in KINDS if not kind.one_run]
NEXT = """
import os, pathlib, signal, time
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{next:04}", "{head:04}"
here = pathlib.Path(__file__).parent

def upgrade():
    op.add_column("items", sa.Column("colour", sa.Text, server_default="grey"))
    (here / f"in.{{os.getpid()}}").touch()
    if (here / "die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (here / "fail").exists():
        raise ValueError("the revision fails")
    op.create_table("shelves", sa.Column("name", sa.Text, primary_key=True))
    op.create_index("items_by_colour", "items", ["colour"])
"""


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    # Changed tables are used by no other test.
    with State(dataclasses.replace(request.param, give_back=None), tmp_path) as state:
        yield state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a revision that the next release adds."""
    folder = tmp_path / "next"
    folder.mkdir()
    text = NEXT.format(head=schema.REVISION, next=schema.REVISION + 1)
    (folder / f"r{schema.REVISION + 1:04}_next.py").write_text(text)
    return folder


@pytest.fixture
def next_release(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process ran it."""
    monkeypatch.setattr(upgrade, "FOLDERS", [*upgrade.FOLDERS, folder])
    monkeypatch.setattr(schema, "REVISION", schema.REVISION + 1)


def database_of(state: State) -> Database:
    return Database(Location.of(state.address))


def seen(state: State) -> dict[str, list[tuple[Any, ...]]]:
    with database_of(state).connect() as connection:
        return tables_of(connection)


def revision_of(state: State) -> str | None:
    with database_of(state).connect() as connection:
        return connection.scalar(select(revision.c.version_num))


def test_the_chain_is_one_line_and_ends_with_the_tables_of_today() -> None:
    chain = upgrade.chain()
    names = [one.revision for one in chain.walk_revisions()]
    assert names == [upgrade.name_of(number) for number in range(schema.REVISION, 0, -1)]
    assert chain.get_heads() == [upgrade.name_of(schema.REVISION)]
    assert 1 <= schema.COMPATIBLE_FROM <= schema.REVISION


@pytest.mark.parametrize("first", range(schema.REVISION))
def test_the_chain_makes_the_tables_that_a_new_state_has(
    state: State, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an empty database, and from the tables of each older release."""
    state.open(create=True)
    made = seen(state)
    (tmp_path / "other").mkdir()
    (kind,) = [kind for kind in SQL if kind.one_host == state.one_host]
    other = Database(Location.of(kind.place(tmp_path / "other")))
    with other._transaction() as connection:
        if tables_of(connection) not in ({}, {"columns": [], "constraints": [], "indices": []}):
            schema.metadata.drop_all(connection)
        if first:
            monkeypatch.setattr(upgrade, "HEAD", upgrade.name_of(first))
            upgrade.upgrade(connection, revision=0)
            monkeypatch.undo()
        upgrade.upgrade(connection, revision=first)
        assert tables_of(connection) == made
        assert connection.scalar(select(revision.c.version_num)) == upgrade.name_of(schema.REVISION)
    other.close()


def test_a_new_state_says_its_revision(state: State) -> None:
    state.open(create=True)
    assert revision_of(state) == upgrade.name_of(schema.REVISION)
    with database_of(state).connect() as connection:
        said = connection.scalar(select(documents.c.content).where(documents.c.name == "version"))
    assert said == str(schema.COMPATIBLE_FROM)


@pytest.mark.parametrize(
    ("version", "number"),
    [("99", "0099"), ("99", "0001"), ("1", "later"), ("new", "0001")],
    ids=["newer", "of an unknown chain", "no number", "no version"],
)
def test_tables_that_this_release_may_not_write_to_are_refused(state: State, version: str, number: str) -> None:
    with state.open(create=True)._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(update(documents).where(documents.c.name == "version").values(content=version))
        connection.execute(update(revision).values(version_num=number))
    before = seen(state)
    for read_only in (True, False):
        with pytest.raises(StateVersionError, match=r"newer burst \(schema version .*\); this burst knows \d+\. Use"):
            state.open(read_only=read_only)
    with pytest.raises(StateVersionError):
        state.parts().settings.write("")
    assert seen(state) == before


def test_the_first_writer_upgrades_and_nobody_before(
    state: State, next_release: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        state.open(create=True).add([item("a")])
    older = seen(state)
    store = state.open()
    assert store.get("a").key == "a"
    assert seen(state) == older
    store.apply([Change("a", PENDING, submit())])
    assert seen(state) != older
    assert revision_of(state) == upgrade.name_of(schema.REVISION)
    with database_of(state).connect() as connection:
        assert connection.exec_driver_sql("SELECT colour FROM items").scalar_one() == "grey"


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> MetaData:
    """The tables of the next release."""
    newer = MetaData()
    for table in schema.metadata.sorted_tables:
        table.to_metadata(newer)
    newer.tables["items"].append_column(Column("colour", Text, server_default="grey"))
    newer.tables["items"].append_column(Column("is_light", Boolean, server_default=text("true")))
    Table("shelves", newer, Column("name", Text, primary_key=True), Column("seq", BigInteger))
    return newer


def test_tables_that_nobody_has_upgraded_yet_are_read_like_those_of_today(
    state: State, next_release: None, newer: MetaData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by one that goes on reading when somebody does."""
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        state.open(create=True).add([item("a"), item("b", priority="low")])
    (next_one,) = folder.glob("*.py")
    light = 'op.add_column("items", sa.Column("is_light", sa.Boolean, server_default=sa.text("true")))'
    seq = 'sa.Column("seq", sa.BigInteger), sa.Column("name"'
    next_one.write_text(next_one.read_text().replace('sa.Column("name"', seq) + f"    {light}\n")
    monkeypatch.setattr(schema, "metadata", newer)
    older = seen(state)
    reader = state.open(read_only=True)
    there, shelves = newer.tables["items"], newer.tables["shelves"]
    recursive = select(there.c.key, there.c.colour).cte(recursive=True)
    recursive = recursive.union(select(recursive.c.key, literal("x")).where(recursive.c.key == "b"))

    def read() -> list[Any]:
        with reader._database.snapshot() as connection:  # type: ignore[attr-defined]
            asked = select(there.c.key, there.c.colour, there.c.is_light).order_by(there.c.key)
            twice = select(there.c.key).join(recursive, recursive.c.key == there.c.key).order_by(there.c.key)
            return [
                [tuple(row) for row in connection.execute(asked)],
                connection.execute(select(shelves.c.name).where(shelves.c.seq.is_(None))).all(),
                connection.execute(twice).scalars().all(),
                [item.key for item in reader.items()],
                reader.stuck(),
            ]

    assert read() == [[("a", "grey", True), ("b", "grey", True)], [], ["a", "b", "b"], ["a", "b"], []]
    assert seen(state) == older
    with state.open()._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(update(there).where(there.c.key == "a").values(colour="red", is_light=False))
        connection.execute(shelves.insert().values(name="top"))
    assert read()[:2] == [[("a", "red", False), ("b", "grey", True)], [("top",)]]


def test_a_state_of_the_first_releases_has_no_revision_yet(
    state: State, next_release: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with state.open(create=True)._database.transaction() as connection:  # type: ignore[attr-defined]
        schema.metadata.drop_all(connection)
        monkeypatch.setattr(upgrade, "HEAD", "0001")
        upgrade.upgrade(connection, revision=0)
        monkeypatch.setattr(upgrade, "HEAD", "head")
        for name, content in (("version", "1"), ("created", "")):
            connection.execute(documents.insert().values(name=name, content=content, changes=1))
        revision.drop(connection)
    state.open().add([item("a")])
    assert revision_of(state) == upgrade.name_of(schema.REVISION)


def test_a_revision_that_fails_changes_nothing(
    state: State, next_release: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        state.open(create=True).add([item("a")])
    before = seen(state)
    (folder / "fail").touch()
    with pytest.raises(ValueError, match="the revision fails"):
        state.open().add([item("b")])
    assert seen(state) == before
    (folder / "fail").unlink()
    state.open().add([item("b")])
    assert len(state.open()) == 2


def test_a_process_that_is_killed_in_the_middle_of_it_leaves_the_tables_as_they_were(
    state: State, folder: Path, request: pytest.FixtureRequest
) -> None:
    state.open(create=True).add([item("a")])
    before = seen(state)
    (folder / "die").touch()
    with NextRelease(state.address, folder, gate=folder / "gate") as process:
        process.begin()
        assert process.end() == -signal.SIGKILL
    assert list(folder.glob("in.*"))
    # PostgreSQL may need a moment to see that nobody is there any more.
    wait_until(lambda: seen(state) == before)
    (folder / "die").unlink()
    request.getfixturevalue("next_release")
    database_of(state).prepare()
    assert revision_of(state) == upgrade.name_of(schema.REVISION)


def test_processes_that_begin_at_the_same_time_upgrade_once(state: State, folder: Path) -> None:
    state.open(create=True).add([item("a")])
    with contextlib.ExitStack() as running:
        processes = [
            running.enter_context(NextRelease(state.address, folder, gate=folder / f"gate{number}"))
            for number in range(3)
        ]
        for process in processes:
            process.begin()
        assert [process.end() for process in processes] == [0, 0, 0]
    assert len(list(folder.glob("in.*"))) == 1
    assert revision_of(state) == upgrade.name_of(schema.REVISION + 1)


def test_threads_that_upgrade_several_states_do_not_mix_them(
    next_release: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a browser's server."""
    addresses = [f"sqlite:///{tmp_path}/{number}.db" for number in range(6)]
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        for address in addresses:
            Database(Location.of(address)).prepare()
    databases = [Database(Location.of(address)) for address in addresses]
    with Threads(6) as threads:
        list(threads.map(Database.prepare, databases))
    for database in databases:
        with database.connect() as connection:
            assert "items_by_colour" in tables_of(connection)


def test_what_older_releases_cannot_use_waits_until_they_are_done(
    state: State, next_release: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have looked at the version when they began."""
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        running = state.open(create=True)
        running.add([item("a")])
        lease = running.lease()
    monkeypatch.setattr(schema, "COMPATIBLE_FROM", schema.REVISION)
    before = seen(state)
    with pytest.raises(StateError, match=f"runs are at work on {os.uname().nodename}: end them"):
        state.open().add([item("b")])
    assert seen(state) == before
    assert lease.claim(1)[0].key == "a"
    lease.end()
    state.open().add([item("b")])
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        with pytest.raises(StateVersionError, match=r"newer burst .*this burst knows"):
            state.open()


def test_a_killed_run_of_an_older_release_is_not_waited_for(
    state: State, next_release: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        store = state.open(create=True)
        store.lease()
        with store._database.transaction() as connection:  # type: ignore[attr-defined]
            connection.execute(update(leases).values(expires_at=1.0))
    monkeypatch.setattr(schema, "COMPATIBLE_FROM", schema.REVISION)
    state.open().add([item("b")])
    assert revision_of(state) == upgrade.name_of(schema.REVISION)


def test_without_alembic_the_message_says_what_to_install(
    state: State, next_release: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as of_today:
        of_today.setattr(schema, "REVISION", schema.REVISION - 1)
        state.open(create=True)
    for name in [name for name in sys.modules if name.partition(".")[0] == "alembic"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "alembic", None)
    with pytest.raises(StateError, match=r"upgrade them needs alembic.*: `pip install 'comfyui-burst\[sql\]'`"):
        state.open().add([item("a")])


def test_a_state_is_made_and_opened_without_alembic(tmp_path: Path) -> None:
    text = f"""
import sys
from state.open_store import open_store
for create in (True, False):
    with open_store("sqlite:///{tmp_path}/state.db", create=create) as store, store.lease():
        assert len(store) == 0
assert not {{"alembic", "mako", "state.sql.upgrade"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", text], check=True)
