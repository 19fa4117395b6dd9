"""The lease of a JSON state: run.lock and holder.json. One run works at a time, so what it holds is in its memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from orchestrator.clock import Clock
from state.attempts import with_what_was_made
from state.change import Change
from state.item import Item, Status
from state.json.run_lock import FileRunLock
from state.store import Store

if TYPE_CHECKING:
    from state.burst_record import BurstRecord
    from state.json.live_file import LiveFile
    from state.live import Live


class JsonLease:
    """See `state.lease.Lease` for what each public method promises."""

    def __init__(
        self,
        store: Store,
        lock: FileRunLock,
        *,
        wait_seconds: float,
        clock: Clock,
        live_file: Callable[[], LiveFile],
    ) -> None:
        """Errors: LockHeld, which names the holder; StateError where the state cannot be locked."""
        self._store = store
        self._lock = lock
        self._clock = clock
        self._guard = threading.Lock()
        self._held: set[str] = set()
        self._live_file = live_file
        self._live: LiveFile | None = None
        self._burst: str | None = None
        left = lock.acquire(wait_seconds=wait_seconds)
        self._killed: BurstRecord | None = left[0].killed_record(left[1]) if left is not None else None

    def claim(
        self,
        limit: int,
        *,
        batch: str | None = None,
        skip: Collection[str] = (),
        without: Collection[str] = (),
        accept: Callable[[Item], bool] | None = None,
    ) -> list[Item]:
        while True:
            with self._guard:
                passed_over = self._held.union(skip)
            # Not under the guard: `accept` may take its time.
            found = self._store.due(limit, batch=batch, skip=passed_over, without=without, accept=accept)
            with self._guard:
                items = [item for item in found if item.key not in self._held]
                self._held.update(item.key for item in items)
            if items or not found:
                return items

    def claim_these(self, keys: Iterable[str], *, limit: int) -> list[Item]:
        with self._guard:
            waiting = set(self._store.waiting())
            free = [key for key in dict.fromkeys(keys) if key not in self._held and key not in waiting]
            items = [item for item in self._store.get_many(free) if item.status is Status.PENDING][:limit]
            self._held.update(item.key for item in items)
        return items

    def left_behind(self) -> Iterator[Item]:
        with self._guard:
            held = frozenset(self._held)
        return (item for item in self._store.items(Status.SUBMITTED) if item.key not in held)

    def is_any_left(self, servers: Collection[str]) -> bool:
        return False

    def held_by_others(self) -> None:
        return None

    def take_over(self, keys: Iterable[str]) -> list[Item]:
        with self._guard:
            found = self._store.get_many(key for key in dict.fromkeys(keys) if key not in self._held)
            items = [item for item in found if item.status is Status.SUBMITTED]
            self._held.update(item.key for item in items)
        return items

    def release(self, keys: Iterable[str]) -> None:
        with self._guard:
            self._held.difference_update(keys)

    def apply(self, changes: Sequence[Change], *, sync: bool = True) -> list[Item]:
        self._lock.check()
        return self._store.apply(changes, sync=sync, burst=self._burst)

    def check(self) -> None:
        self._lock.check()

    def guard_post(self, key: str) -> None:
        self._lock.check(reread=True)

    def now(self) -> datetime:
        return self._clock.now()

    def begin_burst(
        self,
        *,
        burst: str,
        size: int,
        started_at: datetime,
        run_started_at: datetime,
        servers: Collection[str] = (),
    ) -> None:
        self._lock.hold(burst=burst, started_at=started_at, size=size, run_started_at=run_started_at, servers=servers)
        self._burst = burst

    def publish_wait(self, reason: str | None) -> None:
        self._lock.publish_wait(reason)

    def show(self, live: Live, *, preview: bytes | None = None) -> None:
        if self._live is None:
            self._live = self._live_file()
        self._live.write(live, preview=preview)

    def end_burst(self, record: BurstRecord) -> None:
        self._store.bursts.append(record)

    def record_killed(self) -> None:
        last = self._store.bursts.read(last=1)
        if self._killed is not None and all(record.burst != self._killed.burst for record in last):
            self.end_burst(with_what_was_made(self._killed, self._store))

    def end(self) -> None:
        with self._guard:
            self._held.clear()
        if self._live is not None:
            self._live.remove()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
