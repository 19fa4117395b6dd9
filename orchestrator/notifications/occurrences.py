"""What is told of a state beside the ends of its batches: once each time that it happens, by whichever host sees it.

What has happened lasts until it is over. Both are noted in the state, so that no further run tells it again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from orchestrator.batches.notify import ended_text
from orchestrator.clock import Clock
from orchestrator.formatting import counted
from orchestrator.notifications.post import wanted
from orchestrator.notifications.stuck import fruitless_runs, last_completion_since
from state.burst_record import BurstRecord
from state.counts import Counts
from state.item import Item, Status, UtcTime
from state.notices import Delivery, Notice, Notices, Occurrence, Over
from state.store import Store

DONE, FAILED, DISK = "done", "failed", "disk"
_STUCK = "stuck after "
"""What they are about; the last one with the number of runs, which receivers choose."""
_LISTED_ITEMS = 10
_LONGEST_MESSAGE = 300
_SELDOM = timedelta(hours=1)
"""While items go on failing, that is told so often; all of it when nothing is left to do."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """That the disk is full, told while it could not be noted."""

    event: str
    at: UtcTime
    receivers: tuple[str, ...] = ()
    """The ids of those whom it has reached."""


class Occurrences:
    """Of one state, during one run. Used by one thread."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._has_begun = False

    def look(self, records: Sequence[BurstRecord]) -> None:
        """At the run's beginning, where it finds what killed runs have left, and between its bursts.

        Errors: DiskFull, LockHeld, StateError.
        """
        self._note(None if self._has_begun else records)
        self._has_begun = True

    def end(self, records: Sequence[BurstRecord], *, disk: str | None, told: Told | None = None) -> None:
        """After the last burst of the run. `disk`: why nothing more can be written; `told`: whom that was told already.

        Errors: as `look`.
        """
        self._note(records, disk=disk, told=told)

    def _note(
        self, records: Sequence[BurstRecord] | None, *, disk: str | None = None, told: Told | None = None
    ) -> None:
        known = self._store.notices.read()
        if not known.receivers:
            return
        seen = _Seen(self._store, known, records, disk=disk, told=told)
        # What is read of the items is read before the lock; without any news, there is no need for it.
        if any(seen.notes(known, self._clock.now())):
            self._store.notices.change(lambda now_known, now: list(seen.notes(now_known, now)))


def baseline(store: Store, known: Notices, on: Iterable[str], now: datetime) -> Iterator[Notice]:
    """What is so already when the first receiver asks for an event: it is not told."""
    new = set(on) - wanted(known)
    counts = store.counts()
    if FAILED in new:
        yield Over(about=FAILED, at=now, left=counts.failed)
    if DONE in new and counts.remaining:
        yield Over(about=DONE, at=now)


def disk_occurrence(reason: str, *, at: datetime, event: str | None = None) -> Occurrence:
    """Nothing more can be written. `event`: its id, where it was told before it could be noted."""
    return _occurrence("disk.full", DISK, f"Nothing more can be written: {reason}", {"reason": reason}, at, event)


def _told_before(reason: str, told: Told) -> Iterator[Notice]:
    yield disk_occurrence(reason, at=told.at, event=told.event)
    for receiver in told.receivers:
        yield Delivery(event=told.event, to=receiver, at=told.at, delivered=True)


class _Seen:
    """What one look has seen of the state; `notes` may be called again, with what others have noted meanwhile."""

    def __init__(
        self,
        store: Store,
        known: Notices,
        records: Sequence[BurstRecord] | None,
        *,
        disk: str | None,
        told: Told | None,
    ) -> None:
        self._wanted = wanted(known)
        self._store = store
        self._counts = store.counts()
        self._disk = disk
        self._told = told
        self._is_after_run = records is not None
        self._fruitless = fruitless_runs(store, records) if records and "stuck" in self._wanted else 0
        self._is_any_due = self._counts.remaining > len(store.waiting())
        lasting = [one.at for about, one in known.lasting.items() if about == DISK or about.startswith(_STUCK)]
        self._completed_at = last_completion_since(store, min(lasting)) if lasting else None
        self._is_one_batch = not self._counts.remaining and DONE in self._wanted and _is_one_batch(store, self._counts)
        self._failed_items = self._newest_failed() if FAILED in self._wanted and self._counts.failed else []

    def notes(self, known: Notices, now: datetime) -> Iterator[Notice]:
        if FAILED in self._wanted:
            yield from self._failed(known, now)
        if DONE in self._wanted:
            yield from self._done(known, now)
        if self._is_after_run and "stuck" in self._wanted:
            yield from self._stuck(known, now)
        yield from self._recovered(known, now)
        if self._disk is not None and DISK in self._wanted and DISK not in known.lasting:
            told = self._told
            yield from _told_before(self._disk, told) if told else [disk_occurrence(self._disk, at=now)]

    def _failed(self, known: Notices, now: datetime) -> Iterator[Notice]:
        """Items that failed for good, and were not told of yet."""
        failed, last = self._counts.failed, known.lasting.get(FAILED)
        over = known.overs.get(FAILED)
        told = int(last.data["total"]) if last is not None else over.left if over is not None else 0
        if failed < told:
            yield Over(about=FAILED, at=now, left=failed)
        elif failed > told and (not self._counts.remaining or _is_long_ago(known, now)):
            new = failed - told
            listed = [_failure(item) for item in self._failed_items[: min(new, _LISTED_ITEMS)]]
            text = f"{counted(new)} failed for good: {'; '.join(one['message'] for one in listed[:3])}"
            yield _occurrence("items.failed", FAILED, text, {"failed": new, "total": failed, "items": listed}, now)

    def _done(self, known: Notices, now: datetime) -> Iterator[Notice]:
        counts = self._counts
        if counts.remaining:
            if DONE not in known.overs:
                yield Over(about=DONE, at=now)
        elif DONE in known.overs and counts.total and not self._is_one_batch:
            text = f"All work is done: {ended_text(counts.completed, counts.failed, counts.cancelled)}"
            data = {"completed": counts.completed, "failed": counts.failed, "cancelled": counts.cancelled}
            yield _occurrence("state.done", DONE, text, {"counts": data}, now)

    def _stuck(self, known: Notices, now: datetime) -> Iterator[Notice]:
        for runs in {one.runs for one in known.receivers.values() if "stuck" in one.on}:
            about = f"{_STUCK}{runs}"
            if self._is_any_due and self._fruitless >= runs and about not in known.lasting:
                left = counted(self._counts.remaining)
                text = f"The last {self._fruitless} runs finished no item; {left} remaining. `burst log` says why"
                data = {"runs": runs, "fruitless_runs": self._fruitless, "remaining": self._counts.remaining}
                yield _occurrence("job.stuck", about, text, data, now)

    def _recovered(self, known: Notices, now: datetime) -> Iterator[Notice]:
        """Something was completed since."""
        for about, one in known.lasting.items():
            passes = about.startswith(_STUCK) or (about == DISK and self._disk is None)
            if passes and self._completed_at is not None and self._completed_at > one.at:
                yield Over(about=about, at=now)

    def _newest_failed(self) -> list[Item]:
        items = self._store.items(Status.FAILED)
        return sorted(items, key=lambda item: [one.ended_at for one in item.past_attempts[-1:]], reverse=True)


def _is_long_ago(known: Notices, now: datetime) -> bool:
    told = [one.at for one in known.occurrences.values() if one.about == FAILED]
    return not told or not timedelta(0) <= now - told[-1] < _SELDOM


def _failure(item: Item) -> dict[str, str]:
    message = item.error.message if item.error is not None else "failed"
    return {"item": item.key, "message": message[:_LONGEST_MESSAGE]}


def _is_one_batch(store: Store, counts: Counts) -> bool:
    """Whether the end of a batch says it already."""
    by_batch = store.counts_by_batch()
    return len(by_batch) == 1 and sum(one.total for one in by_batch.values()) == counts.total


def _occurrence(
    kind: str, about: str, text: str, data: dict[str, Any], at: datetime, event: str | None = None
) -> Occurrence:
    return Occurrence(event=event or str(uuid.uuid4()), kind=kind, about=about, at=at, text=text, data=data)
