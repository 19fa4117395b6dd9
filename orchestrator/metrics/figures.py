"""What the metrics of a state say at one moment."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from orchestrator.clock import Clock
from orchestrator.metrics.totals import Sums, Totals
from state.counts import Counts
from state.item import Status
from state.open_store import open_store
from state.store import Store


class Figures(msgspec.Struct, frozen=True):
    """Of one state. Ages in seconds, None where nothing waits."""

    state: str
    counts: Counts
    totals: Sums
    runs: dict[str, int]
    """Ended, by ending."""
    at_work: int
    paused: bool
    oldest_submitted_seconds: float | None
    oldest_batch_seconds: float | None
    """Since it was requested, of the oldest batch with items that remain."""


def figures_of(store: Store, totals: Totals, *, now: datetime) -> Figures:
    """The figures of an open store. `totals`: those of the last call, which are brought up to date.

    Reads no item but those that are submitted. Errors: StateError.
    """
    totals.follow(store.bursts)
    holders = store.holders()
    return Figures(
        state=store.location.shown(),
        counts=store.counts(),
        totals=totals.sums,
        runs={ending: count for ending, count in totals.runs(holders).items() if count},
        at_work=len(holders),
        paused=store.pause() is not None,
        oldest_submitted_seconds=_age(_oldest_submitted(store), now),
        oldest_batch_seconds=_age(_oldest_batch(store), now),
    )


def read_figures(state: Path, totals: Totals, *, clock: Clock | None = None) -> Figures:
    """Takes no lock and writes nothing. Errors: StateError; UsageError where there is no state."""
    clock = clock or Clock()
    with open_store(state, read_only=True, clock=clock) as store:
        return figures_of(store, totals, now=clock.now())


def _oldest_submitted(store: Store) -> datetime | None:
    times = (item.submitted_at for item in store.items(Status.SUBMITTED))
    return min((time for time in times if time is not None), default=None)


def _oldest_batch(store: Store) -> datetime | None:
    """When it was requested. Batches that have ended are passed over without a look at their items."""
    if not store.has_batches():
        return None
    found = (batch.record for batch in store.batches.read().values() if not batch.ends and not batch.gone)
    in_order = sorted(found, key=lambda record: record.created_at)
    return next((one.created_at for one in in_order if store.counts(batch=one.batch).remaining), None)


def _age(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else max(0.0, (now - since).total_seconds())
