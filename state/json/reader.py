"""Reading a JSON state without a lock: the file and its journal, and following both while others write."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import islice, takewhile
from operator import itemgetter
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import StateError
from state.counts import BatchFigures, Counts
from state.disk import Disk, Stamp
from state.item import DUE, Item, Status, UtcTime
from state.json.journal import Journal
from state.json.journal_lines import Line, read_lines
from state.json.parts import JsonParts
from state.json.process_lock import ProcessLock
from state.json.records import Records
from state.json.replay import already_holds, replay
from state.json.snapshot import read_raws, read_records, read_snapshot, start_digest
from state.location import Location
from state.store import Backlog, Changes, News

_log = logging.getLogger(__name__)

_READ_TRIES = 100
_LEAST_SLICE = 16
_Part = TypeVar("_Part", bound=msgspec.Struct)


_PAST = b'"past_attempts"'


class _Completed(msgspec.Struct):
    """The fields of an item's record that say when and where it was completed."""

    completed_at: UtcTime | None = None
    batch: str | None = None
    server: str | None = None


class JsonReader(JsonParts):
    """The reading half of `JsonStore`. See `state.store.Store` for what each public method promises."""

    def __init__(self, location: Location, *, disk: Disk | None, clock: Clock | None, read_only: bool) -> None:
        super().__init__(location, disk=disk, clock=clock)
        self.hand_edits: list[str] = []
        self._read_only = read_only
        self._mutex = ProcessLock(self.path)
        self._records = Records()
        self._journal: Journal | None = None
        self._digest = ""
        self._stamp: Stamp | None = None
        self._edited = False
        self._unsettled = False
        self._is_open = False
        """What is read before that is no news."""
        self._changed: dict[str, int] = {}
        """Keys that others changed, by the number of their last change, latest last."""
        self._mark = 0
        """The number of the latest change."""

    # `_records` is only replaced as a whole, and its dictionaries change only after the disk has, so these four need
    # not wait for a sync in another thread.

    def __contains__(self, key: str) -> bool:
        return key in self._records.statuses

    def __len__(self) -> int:
        return len(self._records.statuses)

    def get(self, key: str) -> Item:
        return Item.from_record(key, self._records.raws[key])

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        raws = self._records.raws
        return [Item.from_record(key, raw) for key in keys if (raw := raws.get(key)) is not None]

    def items(self, *statuses: Status, batch: str | None = None, limit: int | None = None) -> Iterator[Item]:
        with self._mutex:
            records = self._records
            found = [(key, records.raws[key]) for key in islice(records.keys(statuses, batch=batch), limit)]
        return (Item.from_record(key, raw) for key, raw in found)

    def batch_keys(self, batch: str, *statuses: Status, first: int = 0, limit: int | None = None) -> list[str]:
        with self._mutex:
            return self._records.batch_order(batch).keys(*statuses, first=first, limit=limit)

    def parts(self, kind: type[_Part]) -> Iterator[tuple[str, _Part]]:
        decode = msgspec.json.Decoder(kind).decode
        with self._mutex:
            found = list(self._records.raws.items())
        return ((key, decode(raw)) for key, raw in found)

    def completions(
        self,
        kind: type[_Part],
        *,
        batch: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        servers: Collection[str] | None = None,
    ) -> Iterator[tuple[str, _Part]]:
        found = [
            (part.completed_at, key)
            for key, part in self.parts(_Completed)
            if part.completed_at is not None
            and (since is None or part.completed_at >= since)
            and (until is None or part.completed_at < until)
            and (batch is None or part.batch == batch)
            and (servers is None or part.server in servers)
        ]
        found.sort(key=itemgetter(0))
        return self._read(kind, (key for _, key in found))

    def tried(
        self, kind: type[_Part], *, batch: str | None = None, since: datetime | None = None
    ) -> Iterator[tuple[str, _Part]]:
        with self._mutex:
            records = self._records
            keys = records.keys((), batch=batch)
            failed = Status.FAILED
            found = [key for key in keys if records.statuses[key] is failed or _PAST in bytes(records.raws[key])]
        return self._read(kind, found)

    def _read(self, kind: type[_Part], keys: Iterable[str]) -> Iterator[tuple[str, _Part]]:
        decode, raws = msgspec.json.Decoder(kind).decode, self._records.raws
        return ((key, decode(raw)) for key in keys if (raw := raws.get(key)) is not None)

    @property
    def format_version(self) -> int | None:
        with self._mutex:
            return self._journal.version if self._journal is not None else None

    def due_count(self, *, batch: str | None = None, without: Collection[str] = (), limit: int | None = None) -> int:
        with self._mutex:
            if batch is not None:
                count = self._records.pending_count(batch)
            else:
                count = self._records.counts[Status.PENDING] - len(self._records.waiting)
            if without:
                count -= self._records.pending_of(without, batch=batch)
            return count if limit is None else min(count, limit)

    def waiting(self) -> list[str]:
        with self._mutex:
            return list(self._records.waiting)

    def stuck(self) -> list[str]:
        with self._mutex:
            return self._records.stuck()

    def stages_of(self, key: str) -> list[str]:
        with self._mutex:
            return list(self._records.stages.get(key, ()))

    def counts(self, *, batch: str | None = None) -> Counts:
        with self._mutex:
            return Counts(self._records.counts if batch is None else self._records.counts_of(batch))

    def counts_by_batch(self) -> dict[str, Counts]:
        with self._mutex:
            return {batch: Counts(self._records.counts_of(batch)) for batch in self._records.batches}

    def recipe_counts(self, *statuses: Status) -> dict[str | None, int]:
        with self._mutex:
            return self._records.recipe_counts(statuses)

    def at_one_moment(self) -> AbstractContextManager[None]:
        """They cost nothing; what others write meanwhile is read by nobody but this process."""
        return contextlib.nullcontext()

    def last_completed_at(self) -> datetime | None:
        times = (part.completed_at for _, part in self.parts(_Completed))
        return max((at for at in times if at is not None), default=None)

    def batch_figures(self, batch: str, *, without: Iterable[str] = ()) -> BatchFigures:
        with self._mutex:
            tally = self._records.tally(batch)
            timed = tally.servers.total()
            return BatchFigures(
                counts=Counts(self._records.counts_of(batch)),
                due=sum(map(len, tally.due.values())),
                due_up_to=self._records.pending_up_to(batch, without=without),
                recipes=tuple(recipe for recipe, count in tally.recipes.items() if count),
                completed_at=tally.latest,
                mean_seconds=tally.seconds / timed if timed else None,
                servers=tuple(server for server, count in tally.servers.items() if count),
            )

    def due(
        self,
        limit: int,
        *,
        batch: str | None = None,
        skip: Collection[str] = (),
        without: Collection[str] = (),
        accept: Callable[[Item], bool] | None = None,
    ) -> list[Item]:
        chosen: dict[str, Item] = {}
        looked_at = 0
        while len(chosen) < limit:
            # In slices, each as long as all before it: `accept` may be slow and must not block other threads.
            with self._mutex:
                records = self._records
                keys = islice(records.pending(batch), looked_at, looked_at + max(limit, looked_at, _LEAST_SLICE))
                found = [(key, records.raws[key], records.kind_of(key) if without else "") for key in keys]
            if not found:
                break
            looked_at += len(found)
            candidates = (
                Item.from_record(key, raw) for key, raw, kind in found if key not in skip and kind not in without
            )
            accepted = (item for item in candidates if accept is None or accept(item))
            chosen.update((item.key, item) for item in islice(accepted, limit - len(chosen)))
        return list(chosen.values())

    def refresh(self) -> None:
        with self._mutex:
            self._catch_up()

    def changes(self, since: int = 0) -> Changes:
        with self._mutex:
            self._catch_up()
            latest = takewhile(lambda pair: pair[1] > since, reversed(self._changed.items()))
            return Changes([key for key, _ in latest][::-1], self._mark)

    def news(self, since: int, *, of: Collection[str]) -> News:
        changed, mark = self.changes(since)
        recipes = {item.recipe for item in self.get_many(changed) if item.status in DUE}
        return News(bool(changed), [key for key in changed if key in of], recipes, mark)

    def may_have_changed(self) -> bool:
        """To look costs no more."""
        return True

    def is_edited(self) -> bool:
        with self._mutex:
            return self._json_changed()

    def backlog(self) -> Backlog:
        try:
            data = self._disk.read(self._journal_path)
        except OSError:
            return Backlog()
        tail = read_lines(self._journal_path, data)
        return Backlog(checkpoints=max(0, len(tail.lines) - 1), torn_bytes=len(data) - tail.end)

    def close(self) -> None:
        with self._mutex:
            self._drop_journal()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> None:
        """Read JSON and journal again. Errors: StateError, with nothing changed.

        The JSON is read first and must be unchanged once the journal is open: a journal that extends a newer JSON
        cannot exist before that JSON does, and an older journal names the newer JSON in its last line.
        """
        for _ in range(_READ_TRIES):
            json_stamp = self._disk.stamp(self.path)
            journal_stamp = self._disk.stamp(self._journal_path)
            try:
                data = read_snapshot(self._disk, self.path, journal=self._journal_path if journal_stamp else None)
                opened = Journal.open(self._disk, self._journal_path, read_only=self._read_only)
            except StateError:
                if (self._disk.stamp(self.path), self._disk.stamp(self._journal_path)) == (json_stamp, journal_stamp):
                    raise
                continue
            journal, lines = opened or (None, [])
            try:
                if self._disk.stamp(self.path) == json_stamp:
                    self._take_in(data, json_stamp, journal, lines)
                    self._drop_journal()
                    self._journal, journal = journal, None
                    return
            finally:
                if journal is not None:
                    journal.close()
        raise StateError(self.path, "changes faster than it can be read; try again.")

    def _take_in(self, data: bytes, stamp: Stamp | None, journal: Journal | None, lines: list[Line]) -> None:
        """Combine JSON and journal lines. Errors: StateError, with nothing changed."""
        digest = start_digest(data)
        raws = read_raws(self.path, data)
        found = digest()
        markers = [at for at, line in enumerate(lines) if line.snapshot is not None]
        handed_over = [at for at in markers if lines[at].snapshot == found]
        edited = journal is not None and journal.extends != found and not handed_over
        records = read_records(self.path, data, raws, by_hand=edited or journal is None)
        if edited and markers and already_holds(records, lines[: markers[-1]]):
            lines = lines[markers[-1] + 1 :]
        elif journal is not None and journal.extends != found and handed_over:
            lines = lines[handed_over[-1] + 1 :]
        done = replay(records, lines, edited=edited)
        self._report(done.notes)
        if self._is_open:
            self._add_news(self._records.differences(records))
        self._records, self._digest, self._stamp, self._edited = records, found, stamp, edited
        self._unsettled = bool(done.keys)

    def _replay(self, lines: Sequence[Line]) -> None:
        """Apply lines that others appended."""
        done = replay(self._records, lines, edited=self._edited)
        self._report(done.notes)
        self._add_news(done.keys)
        self._unsettled = self._unsettled or bool(done.keys)

    def _add_news(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._mark += 1
            self._changed.pop(key, None)
            self._changed[key] = self._mark

    def _report(self, notes: Iterable[str]) -> None:
        for note in notes:
            if note not in self.hand_edits:
                self.hand_edits.append(note)
                _log.warning("%s", note)

    def _catch_up(self) -> None:
        """Read what others appended, and follow a hand-over by another process."""
        if self._journal is None:
            if self._disk.stamp(self._journal_path) is not None or self._json_changed():
                self._load()
            return
        match self._journal.news(self._disk):
            case None:
                return
            case "grown" if not self._edited:
                self._replay(self._journal.read_on())
            case "replaced" if not self._edited:
                self._follow(self._journal)
            case _:
                self._load()

    def _follow(self, old: Journal) -> None:
        """Read the replaced journal to its end and continue with the new one, without reading the JSON again."""
        self._replay(old.read_on())
        journal, lines = Journal.open(self._disk, self._journal_path, read_only=self._read_only) or (None, [])
        if journal is None or journal.merged or journal.extends != old.marker or journal.stamp is None:
            if journal is not None:
                journal.close()
            self._load()
            return
        self._drop_journal()
        self._journal = journal
        self._digest, self._stamp = journal.extends, journal.stamp
        self._unsettled = False
        self._replay(lines)

    def _batch_lines(self) -> Sequence[bytes]:
        # Of the journal only as far as its items were read.
        journal = self._journal
        return tuple(journal.batch_lines) if journal is not None else super()._batch_lines()

    def _json_changed(self) -> bool:
        return self._disk.stamp(self.path) != self._stamp

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
