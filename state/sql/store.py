"""Changing a SQL state: each change set is one transaction, with an event for each item that it changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, case, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.clock import Clock
from orchestrator.errors import StaleChange, StateError
from state.change import Change
from state.item import Item
from state.location import Location
from state.sql.edits import Edited, check, edits, is_plain, status_of, submitted
from state.sql.event_rows import note
from state.sql.guarded_write import GuardedWrite
from state.sql.known_rows import KnownRow, edits_of_known
from state.sql.lease import SqlLease
from state.sql.news import mark_of
from state.sql.notifications import announce
from state.sql.outage import repeats_all
from state.sql.places import Places
from state.sql.reader import SqlReader
from state.sql.recipe_book import add_recipe
from state.sql.refusals import Deadlock
from state.sql.rows import COLUMNS, ROW, item_of, pieces, row_of
from state.sql.schema import documents, items, lines, places, recipes, sources, workflows
from state.sql.stage_rows import StageRows, add_sources, find_waits, note_stages, sources_in
from state.sql.statement import Statement
from state.stages import refuse_impossible

if TYPE_CHECKING:
    from state.batch import BatchChange
    from state.contents import Contents

_T = TypeVar("_T")
_TRIES = 20
_ROW = "SELECT seq, key, status, lease, has_stages, record FROM items WHERE key"
_LOCKED = Statement(f"{_ROW} = ANY(:keys) ORDER BY key FOR UPDATE")
_OF_SQLITE = Statement(f"{_ROW} IN (SELECT value FROM json_each(:keys))")
_UPDATE = Statement(
    update(items)
    .where(items.c.seq == bindparam("the_seq"))
    .values({name: bindparam(name) for name in COLUMNS})
    .values(lease=case((bindparam("has_ended"), None), else_=items.c.lease))
)
"""What has ended is held no longer."""
Guard = Callable[[Connection], object]


@repeats_all()
class SqlStore(SqlReader):
    """See `state.store.Store` for what each public method promises."""

    def __init__(self, location: Location, *, clock: Clock | None, read_only: bool) -> None:
        super().__init__(location, clock=clock, read_only=read_only)
        self._ended: StateError | None = None
        self._given: list[SqlLease] = []
        self._beside: SqlStore | None = None
        self._places = Places(self.recipes)

    @classmethod
    def open(
        cls,
        location: Location | Path | str,
        *,
        create: bool = False,
        read_only: bool = False,
        clock: Clock | None = None,
    ) -> Self:
        """Errors: StateError, StateVersionError, DiskFull."""
        store = cls(Location.of(location), clock=clock, read_only=read_only)
        try:
            if not store.exists():
                if not create:
                    raise StateError(
                        store.location.shown(), "there is no state here; `burst init` or `burst generate` makes one"
                    )
                store._create()
            with store._database.connect() as connection:
                store._opened_at = mark_of(connection)
        except BaseException:
            store._database.close()
            raise
        return store

    @classmethod
    def create(cls, location: Location, contents: Contents, *, clock: Clock | None = None) -> None:
        """A state made whole from the contents of another one, in one transaction.

        Errors: StateError where there is one already, StateVersionError, DiskFull.
        """
        store = cls(location, clock=clock, read_only=False)
        try:
            with store._writing() as connection:
                store._database.lock(connection, "state")
                if connection.scalar(select(documents.c.name).where(documents.c.name == "created")) is not None:
                    where = store.location.shown()
                    raise StateError(where, "a state already exists here; choose another place")
                store._take_in(connection, contents)
        finally:
            store.close()

    def _take_in(self, connection: Connection, contents: Contents) -> None:
        texts = {"created": "", "settings": contents.settings}
        for name, content in texts.items():
            connection.execute(delete(documents).where(documents.c.name == name))
            if content is not None:
                connection.execute(documents.insert().values(name=name, content=content, changes=1))
        for table in (items, sources, places, lines, recipes, workflows):
            connection.execute(delete(table))
        for recipe, graph in contents.recipes.values():
            add_recipe(connection, recipe, graph)
        for log, found in contents.logs.items():
            for some in pieces(found):
                connection.execute(lines.insert(), [{"kind": log, "line": line.decode()} for line in some])
        for new in pieces(contents.items()):
            self._insert(connection, new)
            add_sources(connection, [(source, item.key) for item in new for source in item.sources])
            self._places.note(connection, new)
        stages = connection.execute(select(sources.c.stage).distinct()).scalars().all()
        made_from = select(sources.c.source)
        connection.execute(update(items).where(items.c.key.in_(made_from)).values(has_stages=True))
        find_waits(connection, stages)

    def _create(self) -> None:
        with self._database.transaction() as connection:
            self._database.lock(connection, "state")
            if connection.scalar(select(documents.c.name).where(documents.c.name == "created")) is None:
                connection.execute(documents.insert().values(name="created", content="", changes=1))

    def apply(self, changes: Sequence[Change], *, sync: bool = True, burst: str | None = None) -> list[Item]:
        return self.apply_held(changes, lease=None, burst=burst)

    def apply_held(
        self,
        changes: Sequence[Change],
        *,
        lease: int | None,
        burst: str | None,
        guard: Guard = lambda connection: None,
        known: dict[str, KnownRow] | None = None,
    ) -> list[Item]:
        """As `apply`; with a lease, what another run holds is stale. `guard` raises LockHeld where it has ended.

        `known`: the rows that it holds, which are as they were written on return.
        """
        if not changes:
            return []
        known = {} if known is None else known
        if lease is not None and (done := self._apply_known(changes, known, lease=lease, burst=burst)) is not None:
            return done
        return self._write_until_done(
            lambda connection: self._apply_in(connection, changes, lease=lease, burst=burst, guard=guard, known=known)
        )

    def _apply_known(
        self, changes: Sequence[Change], known: dict[str, KnownRow], *, lease: int, burst: str | None
    ) -> list[Item] | None:
        """Without reading; None where that must be. Nobody else is told of it: what runs do is no news."""
        edited = edits_of_known(changes, known, burst=burst, now=self._database.now)
        if edited is None:
            return None
        claimants = submitted(edited)
        write = GuardedWrite(edited, known, writer=self._writer, lease=lease, now=self._clock.now().timestamp())
        if self._database.is_postgresql and len(edited) == 1 and not claimants:
            is_written = self._write_at_once(write)
        else:
            is_written = self._write_known(write, claimants)
        if not is_written:
            return None
        known.update(write.rows)
        return [row.item for row in write.rows.values()]

    def _write_at_once(self, write: GuardedWrite) -> bool:
        def attempt() -> bool:
            with self._writing(self._database.at_once) as connection:
                return write.at_once(connection, self._database.commits)

        return self._database.outages.through(partial(self._until_done, attempt))

    def _write_known(self, write: GuardedWrite, claimants: Sequence[Item]) -> bool:
        def work(connection: Connection) -> None:
            if not write.in_transaction(connection):
                raise _NotAsKnown
            self._places.claim(connection, claimants)

        try:
            self._write_until_done(work)
        except _NotAsKnown:
            return False
        return True

    def _apply_in(
        self,
        connection: Connection,
        changes: Sequence[Change],
        *,
        lease: int | None,
        burst: str | None,
        guard: Guard,
        known: dict[str, KnownRow],
    ) -> list[Item]:
        guard(connection)
        found = self._locked(connection, [change.key for change in changes])
        edited = edits(changes, found, lease=lease, burst=burst, now=partial(self._now, connection))
        if is_plain(edited, found):
            check(edited)
            self._places.claim(connection, submitted(edited))
            self._write(connection, edited, found, lease=lease)
        else:
            edited = self._write_with_stages(connection, edited, found, lease=lease)
        if lease is None:
            announce(self._database, connection)
        done = [item for _, _, item in edited if item is not None]
        known.update(
            {
                item.key: KnownRow(found[item.key].seq, item, item.to_record().decode())
                for item in done
                if item.key in known
            }
        )
        return done

    def _write_with_stages(
        self, connection: Connection, edited: Sequence[Edited], found: dict[str, Any], *, lease: int | None
    ) -> list[Edited]:
        """And what follows from it for items that are made from these."""
        rows = StageRows(connection, found)
        changed = rows.follow({key: item for key, _, item in edited})
        edited = [Edited(key, status_of(found.get(key)), item) for key, item in changed.items()]
        check(edited)
        self._places.claim(connection, submitted(edited))
        self._write(connection, edited, found, lease=lease)
        rows.write(changed)
        note_stages(connection, [key for key, was, _ in edited if was is None])
        return edited

    def _now(self, connection: Connection) -> datetime:
        return datetime.fromtimestamp(self._database.seconds(connection), UTC)

    def add(self, items: Sequence[Item], *, batch: BatchChange | None = None) -> list[Item]:
        if batch is not None and (others := {item.batch for item in items} - {batch.batch}):
            raise ValueError(f"items of batch {others.pop()}, not of {batch.batch}")
        wanted = {item.key: item for item in items}
        if not wanted:
            return []
        return self._write_until_done(lambda connection: self._add_in(connection, wanted, batch=batch))

    def _add_in(self, connection: Connection, wanted: dict[str, Item], *, batch: BatchChange | None) -> list[Item]:
        there = self._keys_there(connection, wanted)
        new = {key: item for key, item in wanted.items() if key not in there}
        self._refuse_impossible(connection, new)
        check([Edited(key, None, item) for key, item in new.items()])
        if not new:
            return []
        added = self._insert(connection, list(new.values()))
        done = [item for key, item in new.items() if key in added]
        add_sources(connection, [(source, item.key) for item in done for source in item.sources])
        note_stages(connection, [item.key for item in done])
        find_waits(connection, [item.key for item in done if item.sources])
        self._note(connection, [Edited(item.key, None, item) for item in done], lease=None)
        if batch is not None and added:
            self.batches.append_in(connection, batch)
        announce(self._database, connection)
        return done

    def _keys_there(self, connection: Connection, keys: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for some in pieces(keys):
            found.update(connection.execute(select(items.c.key).where(items.c.key.in_(some))).scalars())
        return found

    def _refuse_impossible(self, connection: Connection, new: dict[str, Item]) -> None:
        """Before these items are added; what they are made from stays as it is until they are."""
        needed = {source for item in new.values() if item.uploads for source in item.sources}.difference(new)
        rows = StageRows(connection, {})
        rows.hold_sources(needed)
        refuse_impossible(
            tuple(new.values()),
            there=lambda key: status_of(rows.held.get(key)),
            sources_of=sources_in(connection, needed),
        )

    def lease(self, *, wait_seconds: float = 0.0) -> SqlLease:
        lease = SqlLease(
            self, self._database, self._leases, clock=self._clock, writer=self._writer, detector=self._detector
        )
        self._given.append(lease)
        return lease

    def settle(self, *, at_end: bool = False) -> None:
        """Nothing: every change is where it belongs."""

    def upgrade(self) -> None:
        with self._writing():
            pass  # whatever is written finds the tables of this release

    def migrate(self, edit: Callable[[Item], Item]) -> None:
        with self._writing() as connection:
            for row in connection.execute(select(*ROW).order_by(items.c.seq).with_for_update()).all():
                before = item_of(row)
                if (after := edit(before)) is not before:
                    self._update(connection, [(row.seq, after)])
                    StageRows(connection, {row.key: row}).write({row.key: after})

    def stop_writing(self, *, timeout_seconds: float) -> bool:
        if not self._mutex.acquire(timeout=timeout_seconds):
            return False
        self._ended = self._ended or StateError(self.location.shown(), "this process is ending")
        self._mutex.release()
        return True

    def writer(self) -> SqlStore:
        with self._mutex:
            if self._ended is not None:
                raise self._ended
            if self._beside is None:
                self._beside = type(self).open(self.location, clock=self._clock)
            return self._beside

    def close(self) -> None:
        self._ended = self._ended or StateError(self.location.shown(), "this store is closed")
        if self._beside is not None:
            self._beside.close()
        for lease in self._given:
            lease.renew_no_more()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self, on: Callable[[], AbstractContextManager[Connection]] | None = None) -> Iterator[Connection]:
        """In a transaction, unless `on` says otherwise."""
        with self._mutex:
            if self._ended is not None:
                raise self._ended
            if self._read_only:
                raise StateError(self.location.shown(), "opened for reading only")
            with (on or self._database.transaction)() as connection:
                yield connection

    def _write_until_done(self, work: Callable[[Connection], _T]) -> _T:
        """In a transaction."""

        def write() -> _T:
            with self._writing() as connection:
                return work(connection)

        return self._until_done(write)

    def _until_done(self, work: Callable[[], _T]) -> _T:
        """Repeated where PostgreSQL ended it because it and others waited for one another."""
        for _ in range(_TRIES):
            try:
                return work()
            except Deadlock as error:
                deadlock = error
        raise deadlock

    def _locked(self, connection: Connection, keys: Sequence[str]) -> dict[str, Any]:
        """The rows with these keys, which nobody else changes until the end of the transaction."""
        if self._database.is_postgresql:
            rows = _LOCKED.run(connection, {"keys": list(keys)})
        else:
            rows = _OF_SQLITE.run(connection, {"keys": msgspec.json.encode(keys).decode()})
        return {row.key: row for row in rows}

    def _write(
        self, connection: Connection, edited: Sequence[Edited], found: dict[str, Any], *, lease: int | None
    ) -> None:
        new = [item for key, _, item in edited if item is not None and key not in found]
        if new and len(self._insert(connection, new)) < len(new):
            raise StaleChange([item.key for item in new])
        self._update(
            connection, [(found[key].seq, item) for key, _, item in edited if item is not None and key in found]
        )
        gone = [found[key].seq for key, _, item in edited if item is None]
        for some in pieces(gone):
            connection.execute(delete(items).where(items.c.seq.in_(some)))
        self._places.forget(connection, (item_of(found[key]) for key, _, item in edited if item is None))
        self._note(connection, edited, lease=lease)

    def _insert(self, connection: Connection, new: Sequence[Item]) -> set[str]:
        """Add rows, but for keys that another transaction adds at the same time; the keys that were added."""
        insert = postgresql.insert if self._database.is_postgresql else sqlite.insert
        # As parameters, the rows leave the statement as it is, and it is compiled once, not at each call.
        statement = insert(items).on_conflict_do_nothing().returning(items.c.key)
        added: set[str] = set()
        for some in pieces(new):
            added |= set(connection.execute(statement, [row_of(item) for item in some]).scalars())
        return added

    def _update(self, connection: Connection, edited: Sequence[tuple[int, Item]]) -> None:
        if edited:
            rows = [row_of(item) | {"the_seq": seq, "has_ended": item.has_ended} for seq, item in edited]
            _UPDATE.run_each(connection, rows)

    def _note(self, connection: Connection, edited: Sequence[Edited], *, lease: int | None) -> None:
        """The events of these changes."""
        if not edited:
            return
        now = self._clock.now().timestamp()
        rows = [
            {
                "key": key,
                "was": was,
                "status": item.status if item is not None else None,
                "writer": self._writer,
                "lease": lease,
                "server": item.server if item is not None else None,
                "prompt_id": item.prompt_id if item is not None else None,
                "now": now,
            }
            for key, was, item in edited
        ]
        note(connection, rows)


class _NotAsKnown(Exception):
    """Undoes a transaction."""
