"""The lease of a run on a SQL state: a row that it renews, and that the items it holds name."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select, update

from orchestrator.clock import Clock
from orchestrator.errors import BurstError, LockHeld, StaleChange, StateAway
from state.change import Change
from state.holder import Holder
from state.item import Item, Status
from state.processes import this_process
from state.sql.change_detector import POLL_SECONDS, ChangeDetector
from state.sql.database import Database
from state.sql.deferred_changes import DeferredChanges
from state.sql.due import due_pages
from state.sql.edits import edits
from state.sql.heartbeat import Heartbeat
from state.sql.known_rows import KnownRow
from state.sql.leases import LEASE_SECONDS, LeaseRows
from state.sql.outage import NOTES, repeated
from state.sql.previews import Previews
from state.sql.rows import IS_LEFT, ROW, item_of, pieces
from state.sql.schema import items, leases
from state.sql.statement import Statement
from state.sql.take import take

if TYPE_CHECKING:
    from state.burst_record import BurstRecord
    from state.live import Live
    from state.sql.logs import SqlBurstLog

_log = logging.getLogger(__name__)

POST_SECONDS = 30.0
"""A POST is not started unless the lease outlives its time-out."""
_KEPT_SECONDS = 10.0
"""How long a change is kept back at most: what a kill loses by that is looked up on the servers."""
_HOLD = Statement(
    select(leases.c.expires_at)
    .where(leases.c.id == bindparam("lease"), leases.c.ended_at.is_(None))
    .with_for_update(read=True)
)
_NOT_ENDED = (Status.PENDING.value, Status.SUBMITTED.value)
_Method = TypeVar("_Method", bound=Callable[..., Any])


class _Changes(Protocol):
    """What a lease needs of its store."""

    @property
    def bursts(self) -> SqlBurstLog: ...

    def apply_held(
        self,
        changes: Sequence[Change],
        *,
        lease: int | None,
        burst: str | None,
        guard: Callable[[Connection], object],
        known: dict[str, KnownRow],
    ) -> list[Item]: ...


def _held(method: _Method) -> _Method:
    """As `repeated`; and begun again under a new lease, where this one ended while the database did not answer."""

    @functools.wraps(method)
    def held(self: SqlLease, *args: Any, **named: Any) -> Any:
        while True:
            number = self.id
            try:
                return self._database.outages.through(functools.partial(method, self, *args, **named))
            except LockHeld:
                if not self._begin_anew(number):
                    raise

    return cast(_Method, held)


class SqlLease:
    """See `state.lease.Lease` for what each public method promises. Any number of runs have one at a time."""

    def __init__(
        self,
        store: _Changes,
        database: Database,
        rows: LeaseRows,
        *,
        clock: Clock,
        writer: str,
        detector: ChangeDetector,
    ) -> None:
        """`writer`: as the events of the store name it. `detector`: notified where others have changed anything."""
        self._store = store
        self._database = database
        self._rows = rows
        self._clock = clock
        self._detector = detector
        self._previews = Previews(database.location)
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._is_over = False
        self._holder: Holder | None = None
        self._known: dict[str, KnownRow] = {}
        """By key, what it has taken and not released, and what has not ended."""
        self._deferred = DeferredChanges(clock)
        self._outages = database.outages.count
        """How many there had been when it was last renewed."""
        with database.transaction() as connection:
            rows.sweep(connection)
            self.id = self._insert(connection)
            self._previews.remove_others([row.id for row in rows.open_in(connection)])
        self._heartbeat = Heartbeat(database, lambda: self.id, writer=writer, clock=clock, found=detector.notify)
        detector.leave_to(self._look)
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def claim(
        self,
        limit: int,
        *,
        batch: str | None = None,
        skip: Collection[str] = (),
        without: Collection[str] = (),
        accept: Callable[[Item], bool] | None = None,
    ) -> list[Item]:
        claimed: dict[str, Item] = {}
        spread, is_over = 1, False
        while not is_over and len(claimed) < limit:
            is_over = True
            for page in due_pages(self._database, batch=batch, without=without, at_least=limit, held=False):
                missing = limit - len(claimed)
                fit = (row for row in page if row.key not in skip and (accept is None or accept(item_of(row))))
                wanted = list(islice(fit, missing * spread))
                taken = self._take(wanted, status=Status.PENDING, most=missing)
                claimed |= {item.key: item for item in taken}
                if len(taken) < min(missing, len(wanted)):
                    # Others were faster. What is free now? The next ones too, so that not all want the same.
                    spread, is_over = 2 * spread, False
                    break
                if len(claimed) >= limit:
                    break
        return list(claimed.values())

    def _take(self, rows: Sequence[Any], *, status: Status, most: int | None = None) -> list[Item]:
        """Hold these of them that still have the status and that no other run has taken meanwhile."""
        found = self._take_those([row.seq for row in rows], status, len(rows) if most is None else most) if rows else []
        taken = {row.seq: KnownRow(row.seq, item_of(row), row.record) for row in found}
        self._known.update({row.item.key: row for row in taken.values()})
        return [taken[row.seq].item for row in rows if row.seq in taken]

    @_held
    def _take_those(self, seqs: Sequence[int], status: Status, most: int) -> Sequence[Any]:
        with self._database.transaction() as connection:
            found = take(self._database, connection, seqs, status=status, most=most, lease=self.id)
            if len(found) < min(most, len(seqs)):
                self._check(connection)
            return found

    @_held
    def left_behind(self) -> Iterator[Item]:
        self._sweep()
        asked = select(items.c.key, items.c.record).where(IS_LEFT)
        with self._database.connect() as connection:
            rows = connection.execute(asked.order_by(items.c.seq)).all()
        return (item_of(row) for row in rows)

    def is_any_left(self, servers: Collection[str]) -> bool:
        return self._heartbeat.take_left(servers)

    def held_by_others(self) -> Mapping[str | None, int]:
        living = self._rows.living_but(self.id)
        asked = select(items.c.recipe, func.count().label("many")).where(items.c.lease.in_(living))
        return {row.recipe: row.many for row in self._database.rows(asked.group_by(items.c.recipe))}

    def take_over(self, keys: Iterable[str]) -> list[Item]:
        return self._take(self._these(keys, Status.SUBMITTED), status=Status.SUBMITTED)

    def claim_these(self, keys: Iterable[str], *, limit: int) -> list[Item]:
        return self._take(self._these(keys, Status.PENDING)[:limit], status=Status.PENDING)

    def _these(self, keys: Iterable[str], status: Status) -> list[Any]:
        """The rows of those of these items that have the status and that no run holds."""
        free = and_(items.c.status == status.value, items.c.lease.is_(None), items.c.waits.is_(False))
        asked = select(items.c.seq, items.c.key).where(free)
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Any] = {}
        for some in pieces(wanted):
            found |= {row.key: row for row in self._database.rows(asked.where(items.c.key.in_(some)))}
        return [found[key] for key in wanted if key in found]

    def release(self, keys: Iterable[str]) -> None:
        released = self._known.keys() & set(keys)
        if not released:
            return
        self._write_kept(released)
        self._release(released)
        self._forget(released)

    @repeated
    def _release(self, keys: Iterable[str]) -> None:
        with self._database.transaction() as connection:
            for some in pieces(keys):
                connection.execute(
                    update(items).where(items.c.key.in_(some), items.c.lease == self.id).values(lease=None)
                )

    def apply(self, changes: Sequence[Change], *, sync: bool = True) -> list[Item]:
        if not sync and (kept := self._keep_back(changes)) is not None:
            return kept
        keys = [change.key for change in changes]
        try:
            done = self._apply(self._deferred.before(changes))
        except StaleChange as stale:
            self._deferred.drop(stale.keys)
            raise
        self._deferred.drop(keys)
        self._forget(item.key for item in done if item.has_ended)
        return done

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._known.pop(key, None)

    @_held
    def _apply(self, changes: Sequence[Change]) -> list[Item]:
        burst = self._holder.burst if self._holder is not None else None
        return self._store.apply_held(changes, lease=self.id, burst=burst, guard=self._hold, known=self._known)

    def _keep_back(self, changes: Sequence[Change]) -> list[Item] | None:
        """The items, as these changes make them once the next change of each is written; None where that is too late.

        Errors: StaleChange.
        """
        keys = [change.key for change in changes]
        asked = select(*ROW).where(items.c.key.in_(keys))
        found = {row.key: row for row in self._database.rows(asked)}
        edited = edits(self._deferred.before(changes), found, lease=self.id, burst=None, now=self.now)
        kept = [one.item for one in edited if one.item is not None and one.was is one.item.status is Status.SUBMITTED]
        if len(kept) < len(changes):
            return None
        for change in changes:
            self._deferred.add(change)
        return kept

    def _write_kept(self, keys: Collection[str] | None = None) -> None:
        """What is kept back, of these items or of all, but for what others have changed."""
        while changes := self._deferred.all(keys):
            with contextlib.suppress(StaleChange):
                self._apply(changes)
                self._deferred.drop([change.key for change in changes])

    @_held
    def check(self) -> None:
        with self._database.connect() as connection:
            self._check(connection)

    @_held
    def guard_post(self, key: str) -> None:
        # Its lease may be another one than that under which the intent was written.
        holder = select(items.c.lease).where(items.c.key == key).scalar_subquery()
        with self._database.connect() as connection:
            found = connection.execute(select(self._left(), holder.label("holder")).where(self._is_open())).first()
            left = self._checked(connection, found.left if found is not None else None)
        if found is not None and found.holder != self.id:
            raise StaleChange([key])
        if left < POST_SECONDS:
            self._renew()
            self.check()

    def _check(self, connection: Connection) -> float:
        """How many seconds the lease still has. Errors: LockHeld where it has ended."""
        return self._checked(connection, connection.scalar(select(self._left()).where(self._is_open())))

    def _hold(self, connection: Connection) -> None:
        """As `_check`; nobody ends the lease before this transaction is over."""
        found = _HOLD.run(connection, {"lease": self.id})
        self._checked(connection, found[0].expires_at - self._database.seconds(connection) if found else None)

    def _left(self) -> ColumnElement[float]:
        left: ColumnElement[float] = leases.c.expires_at - self._database.now_column()
        return left.label("left")

    def _is_open(self) -> ColumnElement[bool]:
        return and_(leases.c.id == self.id, leases.c.ended_at.is_(None))

    def _checked(self, connection: Connection, left: float | None) -> float:
        if left is None or left <= 0:
            raise LockHeld(self._lost(connection))
        return left

    def _lost(self, connection: Connection) -> str:
        others = [row.holder.describe() for row in self._rows.open_in(connection) if row.is_alive and row.holder]
        by = f"; at work now: {', '.join(others)}" if others else ""
        return (
            f"this run's lease on {self._database.location.shown()} has ended: it did not renew it for "
            f"{LEASE_SECONDS:g} s, and others may have taken over what it held{by}. Run again"
        )

    @repeated
    def now(self) -> datetime:
        return self._database.now()

    def begin_burst(
        self,
        *,
        burst: str,
        size: int,
        started_at: datetime,
        run_started_at: datetime,
        servers: Collection[str] = (),
    ) -> None:
        here = this_process()
        holder = Holder(
            host=here.host,
            boot_id=here.boot_id,
            pid=here.pid,
            burst=burst,
            started_at=started_at,
            size=size,
            run_started_at=run_started_at,
            servers=tuple(servers),
        )
        self._publish(holder)

    def publish_wait(self, reason: str | None) -> None:
        if self._holder is not None:
            self._publish(msgspec.structs.replace(self._holder, waits_for=reason))

    @_held
    def _publish(self, holder: Holder) -> None:
        self._holder = holder
        now = update(leases).where(leases.c.id == self.id, leases.c.ended_at.is_(None))
        with self._database.transaction() as connection:
            self._hold(connection)
            connection.execute(now.values(holder=_encoded(holder)))

    def show(self, live: Live, *, preview: bytes | None = None) -> None:
        if preview is not None:
            self._previews.write(self.id, preview)
        if self._heartbeat.show(live):
            self._look(renew=True)

    @repeated
    def end_burst(self, record: BurstRecord) -> None:
        holder = self._holder
        with self._database.transaction() as connection:
            if holder is not None and holder.burst == record.burst:
                ended = msgspec.structs.replace(holder, is_recorded=True)
                noted = update(leases).where(leases.c.id == self.id).values(holder=_encoded(ended))
                if connection.scalar(noted.returning(leases.c.clean)):
                    self._store.bursts.drop_killed(connection, record.burst)
            self._store.bursts.append_in(connection, [record])

    def record_killed(self) -> None:
        """Nothing: whoever ends the lease of a killed run records its burst in the same transaction."""

    @repeated
    def end(self) -> None:
        self.renew_no_more()
        with self._guard:
            if self._is_over:
                return
        with contextlib.suppress(LockHeld):
            self._write_kept()
        self._detector.leave_to(None)
        self._previews.remove(self.id)
        with self._database.transaction() as connection:
            now = self._database.seconds(connection)
            ended = update(leases).where(leases.c.id == self.id, or_(leases.c.ended_at.is_(None), leases.c.clean))
            connection.execute(ended.values(ended_at=now, clean=True, live=None))
            connection.execute(update(items).where(items.c.lease == self.id).values(lease=None))
        self._is_over = True

    def renew_no_more(self) -> None:
        """It ends by itself, unless it is ended before."""
        self._ended.set()

    def _sweep(self) -> None:
        with self._database.transaction() as connection:
            self._rows.sweep(connection)

    def _keep(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._look()
            if self._deferred.is_older(_KEPT_SECONDS):
                with contextlib.suppress(BurstError):
                    self._write_kept()

    def _look(self, *, renew: bool = False) -> None:
        """What cannot be done now is left to whoever is told of it, and to the next look."""
        try:
            self._look_out(renew=renew)
        except StateAway as error:
            _log.debug("the lease is not renewed: %s", error)
            self._detector.notify()
        except BurstError as error:
            _log.warning("the lease could not be renewed: %s", error)
            self._detector.notify()

    def _look_out(self, *, renew: bool = False) -> None:
        outages = self._database.outages.count
        seen = self._heartbeat.look(renew=renew)
        if seen.is_held:
            self._outages = outages
        if seen.has_written:
            self._detector.ignore_own_change()

    @repeated
    def _renew(self) -> None:
        self._look_out(renew=True)

    def _begin_anew(self, number: int) -> bool:
        """Work on under a new lease, if the one of this number ended while the database did not answer.

        It holds what nobody else has taken meanwhile of what the old one held.
        """
        with self._guard:
            if self.id != number:
                return True
            if self._is_over or self._ended.is_set() or self._outages == self._database.outages.count:
                return False
            outages = self._database.outages.count
            self.id = self._database.outages.through(self._replace)
            self._outages = outages
        NOTES.warning("the lease had ended meanwhile: this run goes on under a new one with what nobody else has taken")
        return True

    def _replace(self) -> int:
        with self._database.transaction() as connection:
            now = self._database.seconds(connection)
            clean = connection.scalar(select(leases.c.clean).where(leases.c.id == self.id).with_for_update())
            if clean and self._holder is not None:
                self._store.bursts.drop_killed(connection, self._holder.burst)
            ended = update(leases).where(leases.c.id == self.id)
            connection.execute(ended.values(ended_at=now, clean=True, live=None))
            new = self._insert(connection)
            connection.execute(update(items).where(items.c.lease == self.id).values(lease=new))
            free = and_(items.c.lease.is_(None), items.c.status.in_(_NOT_ENDED))
            for some in pieces(list(self._known)):
                connection.execute(update(items).where(items.c.key.in_(some), free).values(lease=new))
        return new

    def _insert(self, connection: Connection) -> int:
        """The row of a lease that begins now."""
        now = self._database.seconds(connection)
        holder = _encoded(self._holder) if self._holder is not None else None
        made = leases.insert().values(
            **msgspec.structs.asdict(this_process()), renewed_at=now, expires_at=now + LEASE_SECONDS, holder=holder
        )
        return int(connection.execute(made.returning(leases.c.id)).scalar_one())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def _encoded(holder: Holder) -> str:
    return msgspec.json.encode(holder).decode()
