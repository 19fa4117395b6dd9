"""The kinds of store, over each of which the tests in tests/state/contract run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.clock import Clock
from state.disk import Disk
from state.open_store import open_store, parts_of
from state.store import StateParts, Store
from support.fast_disk import FastDisk
from support.postgres import database_without_state, give_back
from support.writer_processes import Worker


@dataclass(frozen=True)
class Kind:
    """How states of one kind of store are made."""

    name: str
    place: Callable[[Path], Path | str]
    """The address of a state that does not exist yet. Given a directory of its own, which it may use."""
    lose_lease: Callable[[Store], None]
    """Another host takes the state from the run that holds a lease, as after a long sleep; its burst is "theirs"."""
    one_run: bool = True
    """Whether a second run at the same time is refused."""
    one_host: bool = True
    """Whether its time is that of the host, by the clock that a store is given; otherwise that of the database."""
    share: float = 1.0
    """Of the examples that Hypothesis tries: fewer where each takes long."""
    give_back: Callable[[str], None] | None = None
    """Called when nobody uses the state any more, and no process that did was killed."""
    disk: Disk | None = None
    """For `open_store`: a disk that does not sync, if this kind takes one. No contract test is about power loss."""


def _lose_json_lease(store: Store) -> None:
    """Another host, whose locks this one does not see, publishes its burst."""
    holder = store.checkpoint_directory / "holder.json"
    ours = json.loads(holder.read_bytes())
    holder.write_text(json.dumps(ours | {"burst": "theirs", "host": f"not-{ours['host']}"}))


def _lose_sql_lease(store: Store) -> None:
    """Another host's run ends the lease, as after it has expired, and publishes its burst."""
    from sqlalchemy import update

    from state.sql.schema import leases

    database = store._database  # type: ignore[attr-defined]
    with database.transaction() as connection:
        (holder,) = connection.execute(leases.select().where(leases.c.ended_at.is_(None))).mappings()
        connection.execute(update(leases).values(ended_at=holder["expires_at"], clean=True))
        theirs = {name: value for name, value in holder.items() if name != "id"} | {"host": "another"}
        theirs["holder"] = json.dumps(json.loads(holder["holder"]) | {"burst": "theirs", "host": "another"})
        connection.execute(leases.insert().values(theirs))


_SQL = Kind("sqlite", lambda directory: f"sqlite:///{directory}/state.db", _lose_sql_lease, one_run=False, share=0.12)
_POSTGRESQL = replace(
    _SQL,
    name="postgresql",
    place=lambda directory: database_without_state(),
    one_host=False,
    give_back=give_back,
)
KINDS = [Kind("json", lambda directory: directory / "state.json", _lose_json_lease, disk=FastDisk()), _SQL, _POSTGRESQL]


class State:
    """A state that does not exist yet, and every store of it that a test opens. Closes them at the end."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self.address = kind.place(directory)
        self.lose_lease = kind.lose_lease
        self.one_run = kind.one_run
        self.one_host = kind.one_host
        self._disk = kind.disk
        self._give_back = kind.give_back
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        if self._give_back is not None:
            self._give_back(str(self.address))

    def open(self, *, create: bool = False, read_only: bool = False, clock: Clock | None = None) -> Store:
        """As another process opens it."""
        opened = open_store(self.address, create=create, read_only=read_only, disk=self._disk, clock=clock)
        return self._opened.enter_context(opened)

    def parts(self) -> StateParts:
        """As another process has them that opens no items."""
        return parts_of(self.address)

    def worker(self, task: str, *, name: str = "w", count: int = 50) -> Worker:
        """A process that changes the items; `writer_processes` has the tasks."""
        worker = Worker(task, self.address, name=name, count=count)
        self._opened.callback(worker.close)
        self._give_back = None
        return worker
