"""Whether a job gets nowhere: how many of its last runs, one after the other, ended no item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from state.burst_record import BurstRecord, runs_of
from state.item import Status, UtcTime
from state.store import Store

_PATIENCE = 3
"""A server that is at work may take so many times what the slowest recipe has taken before."""


class _Completed(msgspec.Struct, frozen=True, gc=False):
    completed_at: UtcTime | None = None


def fruitless_runs(store: Store, records: Sequence[BurstRecord]) -> int:
    """How many of the last runs, of whichever host, ended nothing while something was left to do.

    Those that were paused or stopped by a person at a terminal do not count, and break no row. The record of a killed
    run does not say what it completed; the items do. Reads the items that were completed since the first of them.
    """
    row: list[list[BurstRecord]] = []
    for run in reversed(runs_of(records)):
        if run[-1].ended == "paused" or run[-1].signal == "SIGINT":
            continue
        if any(burst.completed or burst.failed or burst.recovered for burst in run):
            break
        row.append(run)
    if not row:
        return 0
    last = last_completion_since(store, row[-1][0].started_at)
    row = [run for run in row if last is None or run[0].started_at > last]
    return len(row) if row and not _may_be_rendering(store, row, records) else 0


def last_completion_since(store: Store, since: datetime) -> datetime | None:
    """When an item was last completed; None where none was since then."""
    return max((at for _, one in store.completions(_Completed, since=since) if (at := one.completed_at)), default=None)


def _may_be_rendering(store: Store, row: Sequence[Sequence[BurstRecord]], records: Iterable[BurstRecord]) -> bool:
    """Whether all these runs were shorter than what is on a server may take."""
    if not store.counts()[Status.SUBMITTED]:
        return False
    slowest = max((pace.median_seconds for one in records for pace in one.recipe_paces.values()), default=0.0)
    return row[0][-1].ended_at - row[-1][0].started_at < timedelta(seconds=_PATIENCE * slowest)
