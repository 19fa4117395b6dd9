"""`burst history`: every attempt that ended, or every burst, for analysis; `burst log` tells people what happened."""

from __future__ import annotations

import heapq
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from orchestrator.batches.batch_status import find_batch
from orchestrator.burst_rows import BurstRow, burst_rows
from orchestrator.clock import Clock
from orchestrator.csv_lines import csv_lines
from orchestrator.documents.history import AttemptDocument, BurstDocument
from orchestrator.documents.lists import FIRST
from orchestrator.errors import UsageError
from orchestrator.formatting import counted, more_lines, one_line, spoken_bytes, spoken_seconds
from orchestrator.servers import canonical_name, find_server, host_name
from orchestrator.settings import kept_settings
from orchestrator.wording import named
from state.attempts import attempts_of
from state.burst_record import records_since
from state.item import PastAttempt, Record, Status
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.history import HistoryDocument

_EVER = datetime.min.replace(tzinfo=UTC)
_MESSAGE_SHOWN = 160
_ROWS_PER_PIECE = 100
_Row = TypeVar("_Row", "AttemptRow", BurstRow)


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


_Unknown = PastAttempt(result="failed", ended_at=_EVER)


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

    def note(self, row: AttemptRow) -> None:
        self.attempts += 1
        self.results[row.result] += 1
        if (attempt := row.attempt) is None:
            return
        self.seconds += attempt.seconds or 0.0
        self.outputs += attempt.outputs
        self.bytes += attempt.bytes
        if attempt.server is not None:
            self.servers.add(attempt.server)
        if attempt.burst is not None:
            self.by_burst[attempt.burst, row.result] += 1


@dataclass(frozen=True)
class AttemptHistory:
    """Attempts and bursts of a state, oldest first, and what they come to."""

    state: str
    since: datetime | None
    until: datetime | None
    totals: Totals
    attempts: Sequence[AttemptRow]
    """The last of them, or all."""
    bursts: Sequence[BurstRow]
    """All."""
    shows: Literal["attempts", "bursts"] = "attempts"
    """Which of the two are listed."""
    last: int | None = FIRST
    """How many are; None: all."""

    def as_json(self) -> HistoryDocument:
        document = self._head()
        if self.shows == "attempts":
            document["attempts"] = [row.as_json() for row in self._listed(self.attempts)]
        else:
            document["bursts"] = [row.as_json() for row in self._listed(self.bursts)]
        return document

    def json_pieces(self, *, ensure_ascii: bool) -> Iterator[str]:
        """The text of `as_json`, which is never in memory as a whole."""
        yield f'{json.dumps(self._head(), ensure_ascii=ensure_ascii)[:-1]}, "{self.shows}": ['
        rows = (json.dumps(row.as_json(), ensure_ascii=ensure_ascii) for row in self._rows())
        yield from _in_pieces(rows, between=", ")
        yield "]}\n"

    def csv_pieces(self) -> Iterator[str]:
        """RFC 4180, with the names of the JSON's fields as header."""
        header = AttemptDocument if self.shows == "attempts" else BurstDocument
        rows = (row.as_json().values() for row in self._rows())
        yield from csv_lines([header.__annotations__])
        yield from _in_pieces(csv_lines(rows))

    def text_pieces(self) -> Iterator[str]:
        """What they come to, then one line each; times local."""
        yield f"{self._headline()}\n"
        rows = self._rows()
        count = self.totals.attempts if self.shows == "attempts" else len(self.bursts)
        yield from (f"  {line}\n" for line in more_lines(count - len(rows), f"{self.shows} before these"))
        yield from _in_pieces(f"  {one_line(row.as_text())}\n" for row in rows)

    def as_text(self) -> str:
        return "".join(self.text_pieces()).rstrip("\n")

    def _rows(self) -> Sequence[AttemptRow] | Sequence[BurstRow]:
        return self._listed(self.attempts) if self.shows == "attempts" else self._listed(self.bursts)

    def _listed(self, rows: Sequence[_Row]) -> Sequence[_Row]:
        return rows if self.last is None else rows[-self.last :]

    def _head(self) -> HistoryDocument:
        """Everything but the list."""
        totals = self.totals
        return {
            "schema": "burst.history/1",
            "state": self.state,
            "since": _iso(self.since),
            "until": _iso(self.until),
            "items": totals.items,
            "results": dict(sorted(totals.results.items())),
            "seconds": round(totals.seconds, 3),
            "outputs": totals.outputs,
            "bytes": totals.bytes,
            "burst_seconds": round(self._burst_seconds(), 3),
            "servers": sorted(totals.servers),
            "hosts": sorted({row.host for row in self.bursts if row.host is not None}),
            "attempts_total": totals.attempts,
            "bursts_total": len(self.bursts),
        }

    def _burst_seconds(self) -> float:
        return sum(row.seconds or 0.0 for row in self.bursts)

    def _headline(self) -> str:
        """`Since 2026-11-30 06:00: 15 attempts of 12 items: 12 completed, 3 failed; 24 outputs, …`."""
        totals = self.totals
        moments = (("since", self.since), ("until", self.until))
        words = [f"{word} {moment.astimezone():%Y-%m-%d %H:%M}" for word, moment in moments if moment is not None]
        span = f"{' '.join(words).capitalize()}: " if words else ""
        results = ", ".join(f"{count} {result}" for result, count in sorted(totals.results.items()))
        bursts = f"{counted(len(self.bursts), 'burst')} of {spoken_seconds(self._burst_seconds())}"
        if not totals.attempts:
            return f"{span}no attempt ended; {bursts}"
        made = f"{counted(totals.outputs, 'output')}, {spoken_bytes(totals.bytes)}"
        return (
            f"{span}{counted(totals.attempts, 'attempt')} of {counted(totals.items)}: {results}; {made}; "
            f"{spoken_seconds(totals.seconds)} on servers; {bursts}"
        )


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


def read_attempts(
    state: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    batch: str | None = None,
    server: str | None = None,
    host: str | None = None,
    failed: bool = False,
    bursts: bool = False,
    last: int | None = FIRST,
    clock: Clock | None = None,
) -> AttemptHistory:
    """The attempts that ended in a time, or with `bursts` the bursts. Takes no lock and writes nothing.

    `since`, `until`: from and before which moment; None: all. `batch`: its name, id, or the beginning of the id.
    `server`: its name or address. `host`: of the burst. `failed`: only attempts that failed. `last`: how many are
    listed, the latest; None: all. Errors: UsageError, StateError.
    """
    if since is not None and until is not None and until <= since:
        raise UsageError(f"{named('until', until.isoformat())} is not after {named('since', since.isoformat())}")
    for name, value in (("server", server), ("host", host)):
        if value == "":
            raise UsageError(f"{named(name, value)}: the name is empty; give one, or leave it out")
    with open_store(state, read_only=True, clock=clock) as store:
        wanted = Wanted(
            since=since,
            until=until,
            batch=find_batch(store.batches.read(), batch).id if batch is not None else None,
            is_server=_is_server(state, server) if server is not None else None,
            host=host_name(host) if host is not None else None,
            failed=failed,
        )
        return history_of(store, wanted, shows="bursts" if bursts else "attempts", last=last)


def history_of(
    store: Store, wanted: Wanted, *, shows: Literal["attempts", "bursts"] = "attempts", last: int | None = FIRST
) -> AttemptHistory:
    """The history of an open store."""
    known = burst_rows(store, records_since(store.bursts, wanted.since or _EVER))
    totals = Totals()
    rows = _attempts(store, wanted, {row.burst: row.host for row in known}, totals)
    attempts = _latest(rows, last if shows == "attempts" else 0)
    is_narrow = wanted.batch is not None or wanted.is_server is not None or wanted.failed
    having = {burst for burst, _ in totals.by_burst}
    bursts = [
        _counted_by_attempts(row, totals)
        for row in known
        if _is_within(row, wanted) and (not is_narrow or row.burst in having)
    ]
    return AttemptHistory(
        state=store.location.shown(),
        since=wanted.since,
        until=wanted.until,
        totals=totals,
        attempts=attempts,
        bursts=bursts,
        shows=shows,
        last=last,
    )


def _attempts(store: Store, wanted: Wanted, hosts: Mapping[str, str | None], totals: Totals) -> Iterator[AttemptRow]:
    """Those that are wanted, in the order of their items; counted in `totals` as they come."""
    for key, record in store.parts(Record):
        if wanted.batch not in (None, record.batch):
            continue
        found = False
        for row in _rows_of(key, record, hosts):
            if wanted.takes(row):
                found = True
                totals.note(row)
                yield row
        totals.items += found


def _rows_of(key: str, record: Record, hosts: Mapping[str, str | None]) -> Iterator[AttemptRow]:
    attempts = list(attempts_of(record))
    error = record.error if record.status is Status.FAILED else None
    if error is not None and not any(one.result == "failed" for one in attempts):
        yield AttemptRow(key, record.batch, None, None, error.kind, error.message)
    for attempt in attempts:
        host = hosts.get(attempt.burst) if attempt.burst is not None else None
        stands = error is not None and attempt is attempts[-1] and attempt.result == "failed"
        message = error.message if stands and error is not None else None
        yield AttemptRow(key, record.batch, host, attempt, attempt.error, message)


def _latest(rows: Iterable[AttemptRow], last: int | None) -> list[AttemptRow]:
    """The last of them by the time of their end, oldest first."""

    def when(row: AttemptRow) -> datetime:
        return row.ended_at or _EVER

    if last == 0:
        deque(rows, maxlen=0)  # for those who count them by the way
        return []
    return sorted(rows if last is None else heapq.nlargest(last, rows, key=when), key=when)


def _is_within(row: BurstRow, wanted: Wanted) -> bool:
    if wanted.host is not None and row.host != wanted.host:
        return False
    # One at work has not ended: it belongs to a time that has not either.
    return wanted.until is None if row.ended_at is None else wanted.covers(row.ended_at)


def _counted_by_attempts(row: BurstRow, totals: Totals) -> BurstRow:
    """A killed burst, which could not count, with the attempts that ended in it."""
    if row.ended != "killed":
        return row
    by_burst = totals.by_burst
    return replace(row, completed=by_burst[row.burst, "completed"], failed=by_burst[row.burst, "failed"])


def _is_server(state: Path, text: str) -> Callable[[str], bool]:
    """Whether a name in a record is that of the server which a person means. Errors: SettingsError."""
    settings = kept_settings(state)
    found = find_server(text, [*settings.servers, *settings.known_servers])
    names = {canonical_name(text), *([canonical_name(found.name)] if found is not None else [])}
    seen: dict[str, bool] = {}

    def is_server(name: str) -> bool:
        if name not in seen:
            seen[name] = canonical_name(name) in names
        return seen[name]

    return is_server


def _in_pieces(parts: Iterable[str], *, between: str = "") -> Iterator[str]:
    """The same text in fewer, longer strings."""
    piece: list[str] = []
    for number, part in enumerate(parts):
        piece.append(between + part if number else part)
        if len(piece) == _ROWS_PER_PIECE:
            yield "".join(piece)
            piece = []
    yield "".join(piece)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
