"""What a run at work shows in the row of its lease, and what it sees of others: one statement every 2 s, no more.

It is the renewal where one is due (every 10 s), or where somebody looks on and there is something new to show.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, exists, func, literal, literal_column, or_, select, update

from orchestrator.clock import Clock
from state.live import Live
from state.sql.change_detector import POLL_SECONDS
from state.sql.database import Database
from state.sql.leases import LEASE_SECONDS, RENEW_SECONDS, clock_difference
from state.sql.rows import IS_LEFT
from state.sql.schema import events, items, leases, lines
from state.sql.watchers import is_watched, watched_at


@dataclass(frozen=True)
class Seen:
    """What came of a look."""

    is_held: bool
    """The lease has not ended."""
    has_written: bool


class Heartbeat:
    """Of one run. `look` may be called at any moment, by any thread."""

    def __init__(
        self, database: Database, lease: Callable[[], int], *, writer: str, clock: Clock, found: Callable[[], None]
    ) -> None:
        """`lease`: the id of the one under which the run works now; it has just begun. `found` is called where others
        than `writer` have changed anything, or where the lease has ended."""
        self._database = database
        self._lease = lease
        self._writer = writer
        self._clock = clock
        self._found = found
        self._guard = threading.Lock()
        self._renewed_at = clock.monotonic()
        self._live: Live | None = None
        self._written: tuple[int, Live | None] = lease(), None
        """Under which lease, and what."""
        self._is_watched = False
        self._difference = timedelta()
        """By how much the database's clock is ahead of ours."""
        self._servers: Collection[str] = ()
        self._is_any_left = False
        self._mark: int | None = None
        self._fact: int | None = None

    def show(self, live: Live) -> bool:
        """With the next renewal. True where others see nothing at all yet, so that it should be now."""
        self._live = live
        return self._written == (self._lease(), None)

    def take_left(self, servers: Collection[str]) -> bool:
        """Whether a look since the last call has found that a run's lease has expired, or anything left submitted on
        the servers that were named then. These are looked at from now on."""
        self._servers = servers
        found, self._is_any_left = self._is_any_left, False
        return found

    def look(self, *, renew: bool = False) -> Seen:
        """Errors: StateError where the database does not answer; whoever looks next sees what this one did not."""
        with self._guard:
            seen = self._look(renew=renew or self._is_renewal_due())
            # Somebody has just begun to look on.
            return self._look(renew=True) if seen.is_held and self._is_renewal_due() else seen

    def _is_renewal_due(self) -> bool:
        """A little earlier than it must be: the looks come every 2 s, not to the moment."""
        is_awaited = self._is_watched and self._is_new(self._live)
        return is_awaited or self._clock.monotonic() - self._renewed_at > RENEW_SECONDS - POLL_SECONDS / 2

    def _is_new(self, live: Live | None) -> bool:
        lease, written = self._written
        return live is not None and (live is not written or lease != self._lease())

    def _look(self, *, renew: bool) -> Seen:
        lease, live = self._lease(), self._live
        with self._database.connect() as connection:
            row = connection.execute(self._renewal(lease, live) if renew else self._glance(lease)).first()
        if row is None or (not renew and (row.ended_at is not None or row.expires_at <= row.now)):
            self._found()
            return Seen(is_held=False, has_written=False)
        is_new = self._mark is None or row.news or row.fact != self._fact
        self._mark, self._fact = row.mark, row.fact
        self._is_any_left = self._is_any_left or bool(row.left)
        self._is_watched = is_watched(row.watched, now=row.now)
        self._difference = clock_difference(row.now, self._clock)
        if renew:
            self._renewed_at, self._written = self._clock.monotonic(), (lease, live)
        if is_new:
            self._found()
        return Seen(is_held=True, has_written=renew)

    def _glance(self, lease: int) -> Select[Any]:
        return select(*self._seen(), leases.c.ended_at, leases.c.expires_at).where(leases.c.id == lease)

    def _renewal(self, lease: int, live: Live | None) -> Any:
        now = self._database.now_column()
        values: dict[str, Any] = {"renewed_at": now, "expires_at": now + LEASE_SECONDS}
        if live is not None and self._is_new(live):
            values["live"] = msgspec.json.encode(live.shifted(self._difference)).decode()
        own = update(leases).where(leases.c.id == lease, leases.c.ended_at.is_(None), leases.c.expires_at > now)
        return own.values(values).returning(*self._seen())

    def _seen(self) -> list[ColumnElement[Any]]:
        """What others have changed, and whether they look on."""
        is_postgresql = self._database.is_postgresql
        if is_postgresql:
            # Of transactions that have ended as all older ones have; the rest is seen by a later look.
            mark: ColumnElement[int] = literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            after = (events.c.moment >= (self._mark or 0), events.c.moment < mark)
        else:
            mark = select(func.coalesce(func.max(events.c.id), 0)).scalar_subquery()
            after = (events.c.id > (self._mark or 0), literal(True))
        news = exists(select(events.c.id).where(*after, events.c.writer != self._writer).correlate(None))
        fact = select(func.max(lines.c.id)).where(lines.c.kind == "fact").scalar_subquery()
        now = self._database.now_column()
        others = leases.alias()
        expired = exists(
            select(others.c.id).where(
                others.c.clean.is_(False), others.c.ended_at.is_(None), others.c.expires_at <= now
            )
        )
        left = exists(select(items.c.seq).where(IS_LEFT, items.c.server.in_(sorted(self._servers))))
        return [
            now.label("now"),
            mark.label("mark"),
            (news if self._mark is not None else literal(True)).label("news"),
            fact.label("fact"),
            watched_at().label("watched"),
            or_(expired, left).label("left"),
        ]
