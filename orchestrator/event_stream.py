"""`burst watch`: what happens to a state as a stream of events, for other programs.

Items, batches and runs are read from their records, so that a watcher which was away hears of them too. A server that
is away is what runs show at the moment: it is told to those alone who watch then.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.until_back import UntilBack
from orchestrator.wording import named
from state.burst_record import BurstRecord, records_since, runs_of
from state.item import ErrorRecord, OutputRecord, PastAttempt, Status, UtcTime
from state.open_store import open_store
from state.store import Follower, Store

if TYPE_CHECKING:
    from orchestrator.documents.events import EventDocument, EventType

_LOOK_SECONDS = 0.5
_LATE = timedelta(seconds=5)
"""What is noted later than what happened after it: so much before `since` is told again, under the same ids."""
_LATE_FROM_OTHER_HOSTS = timedelta(seconds=60)
"""Where hosts with clocks of their own write to a state."""
_ID = re.compile(r"(\d{16})-[0-9a-f]{12}\Z")
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Event:
    """One thing that happened; of `parts`, only the one that it is about is there."""

    type: EventType
    at: datetime
    subject: str
    """With type and time, what tells it from all others."""
    parts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        micros = (self.at - _EPOCH) // timedelta(microseconds=1)
        digest = hashlib.sha256(f"{self.type}\0{self.subject}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"{micros:016d}-{digest[:12]}"

    def as_json(self) -> EventDocument:
        document: EventDocument = {
            "schema": "burst.event/1",
            "id": self.id,
            "at": self.at.isoformat(),
            "type": self.type,
            "item": self.parts.get("item"),
            "batch": self.parts.get("batch"),
            "run": self.parts.get("run"),
            "server": self.parts.get("server"),
        }
        return document

    def as_text(self) -> str:
        """For a person."""
        about = next(iter(self.parts.values()))
        name = (
            about.get("key") or about.get("name") or about.get("id") or f"{about.get('burst')} on {about.get('host')}"
        )
        files = ", ".join(one["path"] for one in about.get("files", ()))
        why = about.get("error") or about.get("reason") or about.get("ended") or files
        return f"{self.at.astimezone():%H:%M:%S} {self.type} {name}{f': {why}' if why else ''}"


class _ItemParts(Protocol):
    """The fields of a record that events are made from."""

    @property
    def status(self) -> Status: ...
    @property
    def batch(self) -> str | None: ...
    @property
    def server(self) -> str | None: ...
    @property
    def prompt_id(self) -> str | None: ...
    @property
    def submitted_at(self) -> datetime | None: ...
    @property
    def completed_at(self) -> datetime | None: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def outputs(self) -> tuple[OutputRecord, ...]: ...
    @property
    def error(self) -> ErrorRecord | None: ...
    @property
    def past_attempts(self) -> tuple[PastAttempt, ...]: ...


class _Part(msgspec.Struct, frozen=True, gc=False):
    """See `_ItemParts`."""

    status: Status
    batch: str | None = None
    server: str | None = None
    prompt_id: str | None = None
    submitted_at: UtcTime | None = None
    completed_at: UtcTime | None = None
    seconds: float | None = None
    outputs: tuple[OutputRecord, ...] = ()
    error: ErrorRecord | None = None
    past_attempts: tuple[PastAttempt, ...] = ()


def watch_events(
    state: Path,
    *,
    since: str | None = None,
    until_done: bool = False,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> Iterator[Event]:
    """What happens to a state, as it happens, until `stop` is set. Takes no lock.

    `since`: the id of an event: first all that happened after it, in the order of time. What happened in the seconds
    before it (a minute, where hosts share a database) may be told again, under the same ids, because it may have been
    noted late. `until_done`: end when nothing is left to do and no run is at work.
    Errors: UsageError, StateError.
    """
    clock, stop = clock or Clock(), stop or threading.Event()
    last = _time_of(since) if since is not None else clock.now()
    with open_store(state, read_only=True, clock=clock) as store:
        store.wait_with(UntilBack(clock, None))
        late = _LATE_FROM_OTHER_HOSTS if str(state).startswith("postgresql") else _LATE
        stream = _Stream(store, last - late, seen=since)
        if since is None:
            stream.pass_over(last)
        yield from stream.look(everything=since is not None)
        while not stop.is_set() and not (until_done and stream.is_done()):
            store.watch()
            clock.wait(stop, _LOOK_SECONDS)
            yield from stream.look()
        # A state says within 2 s that it has changed, and what came before the end is told.
        yield from stream.look(is_last=True)


class _Stream:
    """Used by one thread."""

    def __init__(self, store: Store, since: datetime, *, seen: str | None) -> None:
        self._store = store
        self._since = since
        self._others = Follower(store)
        self._seen = {seen} if seen is not None else set()
        """Ids of what was told."""
        self._away: dict[str, datetime] = {}
        self._looked = False

    def pass_over(self, until: datetime) -> None:
        """What has happened already is not told."""
        self._seen |= {event.id for event in self._happened() if event.at <= until}

    def look(self, *, everything: bool = False, is_last: bool = False) -> Iterator[Event]:
        """What is new, in the order of time."""
        if not (everything or is_last or self._store.may_have_changed() or not self._looked):
            return
        self._looked = True
        keys = self._others.news()
        found = list(self._happened() if everything else self._of_state())
        found += [event for item in self._store.get_many(keys) for event in _of_item(item.key, item)]
        found += self._of_servers()
        for event in sorted(found, key=lambda event: (event.at, event.id)):
            if event.at >= self._since and event.id not in self._seen:
                self._seen.add(event.id)
                yield event

    def is_done(self) -> bool:
        return not self._store.counts().remaining and not self._store.holders()

    def _happened(self) -> Iterator[Event]:
        """All that the records tell of."""
        for key, part in self._store.parts(_Part):
            yield from _of_item(key, part)
        yield from self._of_state()

    def _of_state(self) -> Iterator[Event]:
        if self._store.has_batches():
            for batch in self._store.batches.read().values():
                for end in batch.ends:
                    said = {
                        "id": batch.id,
                        "name": batch.record.name,
                        "event": end.event,
                        "directory": batch.record.directory,
                        "completed": end.completed,
                        "failed": end.failed,
                        "cancelled": end.cancelled,
                    }
                    yield Event(f"batch.{end.how}", end.at, end.event, {"batch": said})  # type: ignore[arg-type]
        yield from self._of_runs()

    def _of_runs(self) -> Iterator[Event]:
        holders = [one for one in self._store.holders() if not one.is_recorded]
        at_work = {(one.host, one.pid) for one in self._store.holders()}
        records = [*records_since(self._store.bursts, self._since), *self._store.killed_bursts()]
        known = set()
        for run in runs_of(records):
            known.add((run[0].host, run[0].pid))
            yield Event("run.began", run[0].started_at, run[0].burst, {"run": _run(run, began=True)})
            if (run[-1].host, run[-1].pid) not in at_work:
                yield Event("run.ended", run[-1].ended_at, run[0].burst, {"run": _run(run, began=False)})
        for one in holders:
            if (one.host, one.pid) not in known:
                said = {**_NO_RUN, "burst": one.burst, "host": one.host, "pid": one.pid}
                yield Event("run.began", one.started_at, one.burst, {"run": said})

    def _of_servers(self) -> Iterator[Event]:
        live = self._store.live()
        troubles = {one.server: one for one in live.troubles if one.kind == "away"} if live is not None else {}
        for name, trouble in troubles.items():
            if name not in self._away:
                self._away[name] = trouble.since
                said = {"name": name, "reason": trouble.message}
                yield Event("server.away", trouble.since, name, {"server": said})
        for name in [name for name in self._away if name not in troubles]:
            since = self._away.pop(name)
            if live is not None:
                at = max(live.at, since)
                yield Event("server.back", at, name, {"server": {"name": name, "reason": None}})


_NO_RUN = {"burst": "", "host": None, "pid": None, "ended": None, "reason": None, "completed": 0, "failed": 0}


def _run(run: list[BurstRecord], *, began: bool) -> dict[str, Any]:
    first, last = run[0], run[-1]
    said = {**_NO_RUN, "burst": first.burst, "host": first.host, "pid": first.pid}
    if began:
        return said
    return {
        **said,
        "ended": last.ended,
        "reason": last.reason or last.signal,
        "completed": sum(one.completed for one in run),
        "failed": sum(one.failed for one in run),
    }


def _of_item(key: str, item: _ItemParts) -> Iterator[Event]:
    """All events of one item that its record tells of."""
    for past in item.past_attempts:
        if past.submitted_at is not None:
            yield _submitted(key, item.batch, past.submitted_at, past.server, past.prompt_id)
    if item.submitted_at is not None and item.status in (Status.SUBMITTED, Status.COMPLETED):
        yield _submitted(key, item.batch, item.submitted_at, item.server, item.prompt_id)
    if item.status is Status.COMPLETED and item.completed_at is not None:
        files = [{"path": one.path, "bytes": one.bytes, "sha256": one.sha256} for one in item.outputs]
        said = _item(key, item.batch, item.server, item.prompt_id, seconds=item.seconds, files=files)
        yield Event("item.completed", item.completed_at, key, {"item": said})
    if item.status is Status.FAILED and item.past_attempts:
        past, error = item.past_attempts[-1], item.error
        said = _item(key, item.batch, past.server, past.prompt_id, error=error.message if error is not None else None)
        yield Event("item.failed", past.ended_at, key, {"item": said})


def _submitted(key: str, batch: str | None, at: datetime, server: str | None, prompt_id: str | None) -> Event:
    said = _item(key, batch, server, prompt_id)
    return Event("item.submitted", at, f"{key}\0{prompt_id}", {"item": said})


def _item(
    key: str,
    batch: str | None,
    server: str | None,
    prompt_id: str | None,
    *,
    seconds: float | None = None,
    files: Iterable[dict[str, Any]] = (),
    error: str | None = None,
) -> dict[str, Any]:
    return {
        "key": key,
        "batch": batch,
        "server": server,
        "prompt_id": prompt_id,
        "seconds": seconds,
        "files": list(files),
        "error": error,
    }


def _time_of(id: str) -> datetime:
    """Errors: UsageError."""
    found = _ID.match(id)
    if found is None:
        raise UsageError(f"{named('since', id)}: expected the id of an event, as `burst watch --json` prints it")
    return _EPOCH + timedelta(microseconds=int(found[1]))
