"""The record of one burst."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal, Protocol

import msgspec

from state.item import UtcTime

Ending = Literal["done", "deadline", "limit", "stopped", "paused", "error", "killed", "crashed"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""Small enough to be subtracted from a date; a damaged record with more is skipped."""


class SetAsideRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recipe that could not be used in a burst; its items stayed as they were."""

    recipe: str | None = None
    """Its id; None for the default settings of items without a recipe."""
    template: str | None = None
    """The template named by the records of items without a recipe, if any."""
    name: str
    """Where the workflow came from."""
    reason: str
    """Why, and what to do about it."""
    output: str | None = None
    """The output root that could not be used; submitted items wait too then."""


class RecipePace(msgspec.Struct, frozen=True, kw_only=True):
    """What the items of one recipe took on their servers."""

    items: int
    """Rendered in this burst."""
    median_seconds: Seconds
    """On the server."""


class BurstRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of a burst. The record of a `killed` one is written by the next burst, from holder.json."""

    burst: str
    """Its id."""
    started_at: UtcTime
    """When it began."""
    ended_at: UtcTime
    """When it ended; a killed one: when it was last alive."""
    ended: Ending
    """How it ended."""
    size: int
    """How many items it was to end."""
    completed: int = 0
    """Items that it completed."""
    failed: int = 0
    """Items that failed in it."""
    recovered: int = 0
    """Items that earlier bursts had left submitted."""
    seconds: Seconds = 0.0
    """Length of the burst."""
    alive_seconds: Seconds | None = None
    """Age of the run (one process, which may do several bursts) when this burst ended: what a watchdog measures."""
    signal: str | None = None
    """`SIGTERM`, `SIGINT` or `SIGHUP` if one of them stopped it."""
    seconds_per_item: Seconds | None = None
    """Time between two completions on the server, measured in this burst."""
    recipe_paces: dict[str, RecipePace] = {}
    """By recipe id ("": items without one), of the recipes of which most items were rendered in this burst."""
    servers: tuple[str, ...] = ()
    """The names of those that rendered any of these."""
    server_paces: dict[str, dict[str, RecipePace]] = {}
    """The same by server, where there were several."""
    reason: str | None = None
    """What ended it early."""
    host: str | None = None
    """Where it ran."""
    away: tuple[str, ...] = ()
    """The names of the servers that did not answer, where that ended it."""
    pid: int | None = None
    """The process there."""
    set_aside: tuple[SetAsideRecord, ...] = ()
    """Recipes that could not be used."""
    rendered: int = 0
    """Items that were completed in it; of a killed burst too, whose `completed` is 0."""
    server_seconds: dict[str, Seconds] = {}
    """By server: how long it rendered these."""
    bytes: int = 0
    """Of their outputs."""
    put_back: int = 0
    """Attempts that made nothing and whose items were due again."""
    rendered_twice: int = 0
    """Prompts that were rendered although they had been given up."""
    possibly_twice: int = 0
    """Items due again although a server may have rendered them."""
    checkpoints: int = 0
    """Durable writes."""
    checkpoint_seconds: Seconds = 0.0
    """What these took, together."""

    @property
    def run_started_at(self) -> datetime | None:
        """When its process began; None in old records."""
        return None if self.alive_seconds is None else self.ended_at - timedelta(seconds=self.alive_seconds)

    @property
    def is_failure(self) -> bool:
        """An error ended it, which has a reason; not an item that failed under `on_error="stop"`."""
        return self.ended == "crashed" or (self.ended == "error" and self.reason is not None)

    def describe(self) -> str:
        """Which burst it was, for messages."""
        where = f" on {self.host}" if self.host is not None else ""
        return f"burst {self.burst}{where}, started {self.started_at:%Y-%m-%d %H:%M:%S} UTC"


def runs_of(records: Iterable[BurstRecord]) -> list[list[BurstRecord]]:
    """The bursts of each run (one process), oldest first, also where those of several runs alternate.

    They are of one run where host and process are the same, as far as they are known, and that began at one time.
    """
    runs: list[list[BurstRecord]] = []
    latest: dict[tuple[str | None, int | None], list[BurstRecord]] = {}
    """By host and process."""
    for record in records:
        run = latest.get((record.host, record.pid))
        if run is not None and _began_together(run[-1], record):
            run.append(record)
            continue
        latest[record.host, record.pid] = run = [record]
        runs.append(run)
    return runs


def _began_together(one: BurstRecord, other: BurstRecord) -> bool:
    """Whether the processes of the two began at the same time, so far as they say."""
    began = one.run_started_at, other.run_started_at
    return None not in began and abs(began[0] - began[1]) < timedelta(seconds=1)  # type: ignore[operator]


MEMORY_RECORDS = 500
"""How many records pacing uses. A run of short bursts writes dozens, and a watchdog is learned over many runs."""
_MOST_HOSTS = 8
"""For how many hosts as many are read."""


class BurstLog(Protocol):
    """The bursts of a state. Append-only; only a run that holds a lease appends."""

    def append(self, record: BurstRecord) -> None:
        """Durable on return. Errors: DiskFull."""

    def read(self, *, last: int = MEMORY_RECORDS) -> list[BurstRecord]:
        """At most `last` records, oldest first; the cost does not grow with the number of records."""

    def stamp(self) -> Hashable:
        """Different after each append; None while there are no records."""


def recent_records(log: BurstLog) -> list[BurstRecord]:
    """What the next burst learns from: the last records, more of them where several hosts share the log."""
    records = log.read()
    hosts = len({record.host for record in records})
    if len(records) < MEMORY_RECORDS or hosts < 2:
        return records
    return log.read(last=min(hosts, _MOST_HOSTS) * MEMORY_RECORDS)


def records_since(log: BurstLog, since: datetime) -> list[BurstRecord]:
    """All records of bursts that ended since then, oldest first."""
    count, records = MEMORY_RECORDS, log.read()
    while len(records) == count and records[0].ended_at >= since:
        count *= 4
        records = log.read(last=count)
    return [record for record in records if record.ended_at >= since]
