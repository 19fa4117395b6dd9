"""`burst history`: every attempt that ended, or every burst, for analysis; `burst log` tells people what happened."""

from __future__ import annotations

import contextlib
import heapq
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from orchestrator.attempt_rows import EVER, AttemptRow, Streamed, Totals, Walk, Wanted, ended_at
from orchestrator.batches.batch_status import find_batch
from orchestrator.burst_rows import BurstRow, burst_rows
from orchestrator.clock import Clock
from orchestrator.csv_lines import csv_lines
from orchestrator.documents.history import AttemptDocument, BurstDocument
from orchestrator.documents.lists import FIRST
from orchestrator.errors import UsageError
from orchestrator.formatting import counted, in_pieces, more_lines, one_line, spoken_bytes, spoken_seconds
from orchestrator.servers import canonical_name, find_server, host_name
from orchestrator.settings import kept_settings
from orchestrator.wording import named
from state.burst_record import records_since
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.history import HistoryDocument


@dataclass(frozen=True)
class AttemptHistory:
    """Attempts and bursts of a state, oldest first, and what they come to."""

    state: str
    since: datetime | None
    until: datetime | None
    totals: Totals
    attempts: Iterable[AttemptRow]
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
            document["attempts"] = [row.as_json() for row in self.attempts]
        else:
            document["bursts"] = [row.as_json() for row in self._listed_bursts]
        return document

    def json_pieces(self, *, ensure_ascii: bool) -> Iterator[str]:
        """The text of `as_json`, which is never in memory as a whole."""
        yield f'{json.dumps(self._head(), ensure_ascii=ensure_ascii)[:-1]}, "{self.shows}": ['
        rows = (json.dumps(row.as_json(), ensure_ascii=ensure_ascii) for row in self._rows())
        yield from in_pieces(rows, between=", ")
        yield "]}\n"

    def csv_pieces(self) -> Iterator[str]:
        """RFC 4180, with the names of the JSON's fields as header."""
        header = AttemptDocument if self.shows == "attempts" else BurstDocument
        rows = (row.as_json().values() for row in self._rows())
        yield from csv_lines([header.__annotations__])
        yield from in_pieces(csv_lines(rows))

    def text_pieces(self) -> Iterator[str]:
        """What they come to, then one line each; times local."""
        yield f"{self._headline()}\n"
        count = self.totals.attempts if self.shows == "attempts" else len(self.bursts)
        before = 0 if self.last is None else max(0, count - self.last)
        yield from (f"  {line}\n" for line in more_lines(before, f"{self.shows} before these"))
        yield from in_pieces(f"  {one_line(row.as_text())}\n" for row in self._rows())

    def as_text(self) -> str:
        return "".join(self.text_pieces()).rstrip("\n")

    def _rows(self) -> Iterable[AttemptRow] | Iterable[BurstRow]:
        return self.attempts if self.shows == "attempts" else self._listed_bursts

    @property
    def _listed_bursts(self) -> Sequence[BurstRow]:
        return self.bursts if self.last is None else self.bursts[-self.last :]

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
    listed, the latest; None: all, which are then in memory. Errors: UsageError, StateError.
    """
    narrowed: _Narrowed = {
        "since": since,
        "until": until,
        "batch": batch,
        "server": server,
        "host": host,
        "failed": failed,
    }
    with open_attempts(state, bursts=bursts, last=last, clock=clock, **narrowed) as found:
        return replace(found, attempts=list(found.attempts))


class _Narrowed(TypedDict):
    since: datetime | None
    until: datetime | None
    batch: str | None
    server: str | None
    host: str | None
    failed: bool


@contextlib.contextmanager
def open_attempts(
    state: Path,
    *,
    since: datetime | None,
    until: datetime | None,
    batch: str | None,
    server: str | None,
    host: str | None,
    failed: bool,
    bursts: bool,
    last: int | None,
    is_counted: bool = True,
    clock: Clock | None = None,
) -> Iterator[AttemptHistory]:
    """The same, for printing: with `last` None, its attempts are read as they are needed, before this is left.

    `is_counted`: whether it says what they come to, for which all must have been read. Errors: as `read_attempts`.
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
        yield history_of(store, wanted, shows="bursts" if bursts else "attempts", last=last, is_counted=is_counted)


def history_of(
    store: Store,
    wanted: Wanted,
    *,
    shows: Literal["attempts", "bursts"] = "attempts",
    last: int | None = FIRST,
    is_counted: bool = True,
) -> AttemptHistory:
    """The history of an open store, as `open_attempts`."""
    known = burst_rows(store, records_since(store.bursts, wanted.since or EVER))
    totals = Totals()
    walk = Walk(store, wanted, {row.burst: row.host for row in known})
    attempts: Iterable[AttemptRow] = Streamed(walk)
    if last is not None or shows == "bursts":
        attempts = _latest(walk.rows(totals), (last or 0) if shows == "attempts" else 0)
    elif is_counted:
        deque(walk.rows(totals), maxlen=0)
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


def _latest(rows: Iterable[AttemptRow], last: int) -> list[AttemptRow]:
    """The last of them by the time of their end, oldest first."""
    if last == 0:
        deque(rows, maxlen=0)  # for those who count them by the way
        return []
    return sorted(heapq.nlargest(last, rows, key=ended_at), key=ended_at)


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


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
