"""The attempts of a state, one row each: those that are wanted, in the order in which they ended, and their totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import merge
from typing import TYPE_CHECKING

import msgspec

from orchestrator.formatting import counted, spoken_bytes, spoken_seconds
from orchestrator.sorted_rows import SortedRows
from state.attempts import Tried
from state.item import PastAttempt, Status
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.history import AttemptDocument

EVER = datetime.min.replace(tzinfo=UTC)
_MESSAGE_SHOWN = 160


class AttemptRow(msgspec.Struct, frozen=True, gc=False):
    """An attempt that ended."""

    item: str
    batch: str | None
    host: str | None
    """Of its burst."""
    attempt: PastAttempt | None
    """None for an item that an older burst left failed: it noted no attempts."""
    error: str | None
    """The kind of the error."""
    message: str | None
    """The error, where the item stands failed by this attempt."""

    @property
    def ended_at(self) -> datetime | None:
        return self.attempt.ended_at if self.attempt is not None else None

    @property
    def result(self) -> str:
        return self.attempt.result if self.attempt is not None else "failed"

    def as_json(self) -> AttemptDocument:
        attempt = self.attempt or _Unknown
        return {
            "item": self.item,
            "batch": self.batch,
            "server": attempt.server,
            "host": self.host,
            "burst": attempt.burst,
            "submitted_at": _iso(attempt.submitted_at),
            "ended_at": _iso(self.ended_at),
            "seconds": attempt.seconds,
            "result": self.result,
            "error": self.error,
            "message": self.message,
            "outputs": attempt.outputs,
            "bytes": attempt.bytes,
            "prompt_id": attempt.prompt_id,
        }

    def as_text(self) -> str:
        """`2026-11-30 06:01:07  completed  shot_07.txt on gpu1, 3.2 s: 2 outputs, 1 MiB`."""
        attempt = self.attempt or _Unknown
        when = f"{self.ended_at.astimezone():%Y-%m-%d %H:%M:%S}" if self.ended_at is not None else f"{'?':19}"
        where = f" on {attempt.server}" if attempt.server is not None else ""
        took = f", {spoken_seconds(attempt.seconds)}" if attempt.seconds is not None else ""
        what = ": ".join(text for text in (self.error, self.message) if text is not None)
        if self.result == "completed":
            what = f"{counted(attempt.outputs, 'output')}, {spoken_bytes(attempt.bytes)}"
        what = what if len(what) <= _MESSAGE_SHOWN else f"{what[: _MESSAGE_SHOWN - 1]}…"
        return f"{when}  {self.result:9}  {self.item}{where}{took}{f': {what}' if what else ''}"


_Unknown = PastAttempt(result="failed", ended_at=EVER)


@dataclass
class Totals:
    """What all attempts come to that were requested."""

    attempts: int = 0
    items: int = 0
    results: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    outputs: int = 0
    bytes: int = 0
    servers: set[str] = field(default_factory=set)
    by_burst: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By burst and result."""

    def noted(self, row: AttemptRow) -> AttemptRow:
        """The same row."""
        self.attempts += 1
        self.results[row.result] += 1
        if (attempt := row.attempt) is None:
            return row
        self.seconds += attempt.seconds or 0.0
        self.outputs += attempt.outputs
        self.bytes += attempt.bytes
        if attempt.server is not None:
            self.servers.add(attempt.server)
        if attempt.burst is not None:
            self.by_burst[attempt.burst, row.result] += 1
        return row


@dataclass(frozen=True)
class Wanted:
    """Which attempts."""

    since: datetime | None = None
    until: datetime | None = None
    batch: str | None = None
    """Its id."""
    is_server: Callable[[str], bool] | None = None
    """Whether a name in a record is that of the server."""
    host: str | None = None
    failed: bool = False

    @property
    def is_found_by_index(self) -> bool:
        """Few of all attempts are wanted, and the store finds them; otherwise one walk over the records is quicker."""
        return self.failed or any(given is not None for given in (self.since, self.until, self.batch, self.is_server))

    def covers(self, moment: datetime | None) -> bool:
        if moment is None:
            return self.since is None and self.until is None
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)

    def takes(self, row: AttemptRow) -> bool:
        if not self.covers(row.ended_at) or (self.failed and row.result != "failed"):
            return False
        if self.host is not None and row.host != self.host:
            return False
        server = row.attempt.server if row.attempt is not None else None
        return self.is_server is None or (server is not None and self.is_server(server))


@dataclass(frozen=True)
class Walk:
    """Over the attempts of an open store that are wanted."""

    store: Store
    wanted: Wanted
    hosts: Mapping[str, str | None]
    """By burst."""

    def rows(self, totals: Totals) -> Iterator[AttemptRow]:
        """In any order; counted in `totals` as they come."""
        is_of_all = not self.wanted.is_found_by_index
        for key, record in self.store.parts(Tried) if is_of_all else self._tried():
            found = [row for row in _other_rows(key, record, self.hosts) if self.wanted.takes(row)]
            done = _completed_row(key, record, self.hosts)
            is_done = done is not None and self.wanted.takes(done)
            if done is not None and is_done and is_of_all:
                found.append(done)
            totals.items += bool(found) and (is_of_all or not is_done)
            yield from map(totals.noted, found)
        if not is_of_all:
            for row in self._completed():
                totals.items += 1
                yield totals.noted(row)

    def in_order(self) -> Iterator[AttemptRow]:
        """By the time of their end. What is completed comes from the store in that order, whatever its number."""
        with closing(SortedRows(AttemptRow, by=ended_at)) as others:
            for key, record in self._tried():
                others.extend(row for row in _other_rows(key, record, self.hosts) if self.wanted.takes(row))
            yield from merge(others, self._completed(), key=ended_at)

    def _tried(self) -> Iterator[tuple[str, Tried]]:
        return self.store.tried(Tried, batch=self.wanted.batch, since=self.wanted.since)

    def _completed(self) -> Iterator[AttemptRow]:
        wanted = self.wanted
        if wanted.failed:
            return
        servers = None
        if wanted.is_server is not None:
            servers = [name for name in self.store.completed_items().servers() if wanted.is_server(name)]
        found = self.store.completions(
            Tried, batch=wanted.batch, since=wanted.since, until=wanted.until, servers=servers
        )
        for key, record in found:
            row = _completed_row(key, record, self.hosts)
            if row is not None and wanted.takes(row):
                yield row


@dataclass(frozen=True)
class Streamed:
    """All rows in order, read from the store each time and never in memory as a whole."""

    walk: Walk

    def __iter__(self) -> Iterator[AttemptRow]:
        return self.walk.in_order()


def _completed_row(key: str, record: Tried, hosts: Mapping[str, str | None]) -> AttemptRow | None:
    attempt = record.completed_attempt
    return None if attempt is None else AttemptRow(key, record.batch, _host_of(attempt, hosts), attempt, None, None)


def _other_rows(key: str, record: Tried, hosts: Mapping[str, str | None]) -> Iterator[AttemptRow]:
    """Of the attempts that did not make its outputs."""
    error = record.error if record.status is Status.FAILED else None
    if error is not None and not any(one.result == "failed" for one in record.past_attempts):
        yield AttemptRow(key, record.batch, None, None, error.kind, error.message)
    for attempt in record.past_attempts:
        is_last = record.completed_at is None and attempt is record.past_attempts[-1]
        stands = error is not None and is_last and attempt.result == "failed"
        message = error.message if stands and error is not None else None
        yield AttemptRow(key, record.batch, _host_of(attempt, hosts), attempt, attempt.error, message)


def _host_of(attempt: PastAttempt, hosts: Mapping[str, str | None]) -> str | None:
    return hosts.get(attempt.burst) if attempt.burst is not None else None


def ended_at(row: AttemptRow) -> datetime:
    return row.ended_at or EVER


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
