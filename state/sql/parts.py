"""The parts of a SQL state other than its items, whether the state exists yet or not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import msgspec
from sqlalchemy import select

from orchestrator.clock import Clock
from state.burst_record import BurstRecord
from state.disk import Disk
from state.facts import Pause
from state.holder import Holder
from state.json.folder import burst_folder
from state.live import Live, together
from state.location import Location
from state.patience import Patience
from state.server import RegisteredServer
from state.sql.database import Database
from state.sql.leases import LeaseRows, clock_difference
from state.sql.logs import SqlBatchLog, SqlBurstLog, SqlFactLog, SqlNoticeLog, log_lines
from state.sql.notifications import is_heard
from state.sql.outage import repeats_all
from state.sql.previews import Previews
from state.sql.recipe_book import SqlRecipeBook
from state.sql.schema import documents
from state.sql.settings import SqlSettings
from state.sql.watchers import Watcher
from state.store import LogName
from state.write_lock import WriteLock

_decode_live = msgspec.json.Decoder(Live).decode


@repeats_all()
class SqlParts:
    """See `state.store.StateParts` for what each public method promises."""

    def __init__(
        self, location: Location, *, clock: Clock | None = None, read_only: bool = False, keeps: bool = False
    ) -> None:
        """`keeps`: as of `Database`."""
        self.location = location
        self._clock = clock or Clock()
        self._database = Database(location, clock=self._clock, read_only=read_only, keeps=keeps)
        self._leases = LeaseRows(self._database, self.bursts)
        self._previews = Previews(location)
        self._watcher = Watcher(self._database, clock=self._clock)

    def wait_with(self, patience: Patience) -> None:
        self._database.outages.patience = patience

    def exists(self) -> bool:
        if not self._database.exists():
            return False
        with self._database.connect() as connection:
            return connection.scalar(select(documents.c.name).where(documents.c.name == "created")) is not None

    @cached_property
    def batches(self) -> SqlBatchLog:
        return SqlBatchLog(self._database)

    def log_lines(self, log: LogName) -> Iterator[bytes]:
        yield from log_lines(self._database, log)

    def has_batches(self) -> bool:
        return self.batches.stamp() is not None

    @cached_property
    def recipes(self) -> SqlRecipeBook:
        return SqlRecipeBook(self._database)

    @cached_property
    def facts(self) -> SqlFactLog:
        return SqlFactLog(self._database)

    @cached_property
    def notices(self) -> SqlNoticeLog:
        return SqlNoticeLog(self._database)

    def has_notices(self) -> bool:
        return self.notices.stamp() is not None

    @cached_property
    def bursts(self) -> SqlBurstLog:
        return SqlBurstLog(self._database)

    @cached_property
    def settings(self) -> SqlSettings:
        return SqlSettings(self._database)

    def pause(self) -> Pause | None:
        last = self.facts.last_pause()
        return last if last is not None and last.paused else None

    def servers(self) -> Mapping[str, RegisteredServer]:
        return self.facts.read().servers

    def holders(self) -> list[Holder]:
        return [row.holder for row in self._leases.living() if row.holder is not None]

    def is_leased(self) -> bool:
        return bool(self._leases.living())

    def killed_bursts(self) -> list[BurstRecord]:
        return self._leases.killed()

    def live(self) -> Live | None:
        return together(live for _, live in self._lives())

    def live_preview(self) -> bytes | None:
        shown = (lease for lease, live in self._lives() if live.preview_of is not None)
        return self._previews.read(next(shown, 0))

    def is_told_at_once(self) -> bool:
        return not self._database.is_postgresql or is_heard(self._database)

    def watch(self) -> None:
        self._watcher.touch()

    def _lives(self) -> Iterator[tuple[int, Live]]:
        """What each run shows, by our clock, with the id of its lease."""
        for row in self._leases.living():
            if row.live is None or row.holder is None:
                continue
            with contextlib.suppress(msgspec.DecodeError):
                live = _decode_live(row.live)
                if live.burst != row.holder.burst:
                    continue
                if live.preview_of is not None and not self._previews.is_here(row.id):
                    live = msgspec.structs.replace(live, preview_of=None)
                yield row.id, live.shifted(-clock_difference(row.now, self._clock))

    def adding(self) -> AbstractContextManager[None]:
        return self._adding()

    @contextlib.contextmanager
    def _adding(self) -> Iterator[None]:
        if not self._database.is_postgresql:
            with WriteLock(burst_folder(Path(os.fspath(self.location.path))), disk=Disk(), name="adding.lock"):
                yield
            return
        self._database.prepare()
        with self._database.connect() as connection:
            # In a transaction: behind pgbouncer the next statement may be another session's.
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(74657)")
            try:
                yield
            finally:
                connection.exec_driver_sql("ROLLBACK")

    @property
    def checkpoint_directory(self) -> Path:
        return self.location.home

    def can_lock(self) -> bool:
        return self.location.home.is_dir()
