"""The default store: a JSON file that people can read and edit, a journal that is the checkpoint, and write.lock.

On disk, for `re_render_state.json`:
    re_render_state.json                  the snapshot, rewritten whole now and then
    re_render_state.burst/journal.jsonl   what happened since; every checkpoint is one line here
    re_render_state.burst/write.lock      held for milliseconds by every writer
The hand-over from one snapshot to the next, under write.lock: (1) the journal gets {"snapshot": H}; (2) the new JSON is
renamed in; (3) an empty journal headed {"extends": H} is renamed in. Whichever step a crash left, hashing the JSON says
which journal lines are still to be replayed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from orchestrator.clock import Clock
from orchestrator.errors import LockHeld, StaleChange, StateError
from state.disk import Disk, Stamp, refusals
from state.item import PRIORITIES, TRANSITIONS, Item, Status
from state.journal import Journal
from state.journal_lines import Line, change_line
from state.replay import replay
from state.snapshot import Records, digest, read_records, read_snapshot, write_records
from state.store import Change

_log = logging.getLogger(__name__)

REWRITE_SHARE = 0.05
"""The snapshot is rewritten when its last rewriting took less than this share of the time since."""
REWRITE_PAUSE_SECONDS = 0.2
_LOCK_SECONDS = 30.0
_READ_TRIES = 100


def burst_folder(state_file: Path) -> Path:
    """The folder beside a state file that holds its journal, locks, settings and records of bursts."""
    return state_file.with_suffix(".burst")


class JsonStore:
    """See `state.store.Store` for what each public method promises."""

    def __init__(self, path: Path, *, disk: Disk, clock: Clock, read_only: bool) -> None:
        self.path = path
        self.folder = burst_folder(path)
        self.rewrite_seconds = 0.0
        """What the last rewriting of the snapshot took."""
        self.hand_edits: list[str] = []
        """What is to be said about edits by hand, in the order in which they were found."""
        self._journal_path = self.folder / "journal.jsonl"
        self._disk = disk
        self._clock = clock
        self._read_only = read_only
        self._mutex = threading.RLock()
        self._lock = FileLock(
            self.folder / "write.lock", thread_local=False, poll_interval=0.005, fallback_to_soft=False
        )
        self._records = Records()
        self._journal: Journal | None = None
        self._digest = ""
        self._stamp: Stamp | None = None
        self._edited = False
        self._unsettled = False
        self._ended: Exception | None = None
        self._rewritten_at = clock.monotonic() - 1000.0

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create: bool = False,
        read_only: bool = False,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Open a state file, an existing one of the plain shape too; `create` starts an empty one where none is.

        Errors: StateError, StateVersionError, DiskFull. Nothing is written to an existing state.
        """
        store = cls(path.resolve(), disk=disk or Disk(), clock=clock or Clock(), read_only=read_only)
        if create and store._disk.stamp(store.path) is None and store._disk.stamp(store._journal_path) is None:
            with store._locked():
                if store._disk.stamp(store.path) is None:
                    store._place_snapshot(Records())
        store._load()
        return store

    def __contains__(self, key: str) -> bool:
        return key in self._records.statuses

    def __len__(self) -> int:
        return len(self._records.statuses)

    def get(self, key: str) -> Item:
        return Item.from_record(key, self._records.raws[key])

    def items(self, *statuses: Status) -> Iterator[Item]:
        with self._mutex:
            keys = [key for key, status in self._records.statuses.items() if not statuses or status in statuses]
        for key in keys:
            yield self.get(key)

    def counts(self) -> dict[Status, int]:
        with self._mutex:
            return dict(self._records.counts)

    def due(self, limit: int, *, skip: Collection[str] = ()) -> list[Item]:
        chosen: list[str] = []
        with self._mutex:
            special = self._records.priorities
            for priority in PRIORITIES if special else ("normal",):
                for key, status in self._records.statuses.items():
                    if len(chosen) >= limit:
                        break
                    if status is Status.PENDING and special.get(key, "normal") == priority and key not in skip:
                        chosen.append(key)
            return [self.get(key) for key in chosen]

    def apply(self, changes: Sequence[Change], *, sync: bool = True) -> list[Item]:
        with self._writing():
            stale = [change.key for change in changes if self._records.statuses.get(change.key) is not change.expected]
            if stale:
                raise StaleChange(stale)
            return self._commit([(change.expected, change.edit(self.get(change.key))) for change in changes], sync=sync)

    def add(self, items: Sequence[Item]) -> list[Item]:
        with self._writing():
            new = {item.key: item for item in items if item.key not in self}
            return self._commit([(None, item) for item in new.values()], sync=True)

    def refresh(self) -> list[str]:
        with self._mutex:
            return self._catch_up()

    def settle(self, *, at_end: bool = False) -> None:
        with self._mutex:
            if self._read_only or not (self._unsettled or self._edited or (at_end and self._json_changed())):
                return
            since = self._clock.monotonic() - self._rewritten_at
            if at_end or since >= max(self.rewrite_seconds / REWRITE_SHARE, REWRITE_PAUSE_SECONDS):
                with self._writing():
                    self._hand_over(insist=at_end)

    def close(self) -> None:
        with self._mutex:
            self._drop_journal()
            self._ended = self._ended or StateError(self.path, "this store is closed")

    def stop_writing(self, *, timeout_seconds: float) -> bool:
        """Let an append that is under way end, then refuse every later one: for a process that must end now."""
        if not self._mutex.acquire(timeout=timeout_seconds):
            return False
        self._ended = self._ended or StateError(self.path, "this process is ending")
        self._mutex.release()
        return True

    # Reading

    def _load(self) -> list[str]:
        """Read JSON and journal anew; the keys whose record differs from before.

        The JSON is read first and must stand unchanged after the journal was opened: a journal that extends a newer
        JSON cannot be there before that JSON is, and an older one names the newer JSON in its last line.
        """
        for _ in range(_READ_TRIES):
            stamp = self._disk.stamp(self.path)
            journal_there = self._disk.stamp(self._journal_path) is not None
            try:
                data = read_snapshot(self._disk, self.path, journal=self._journal_path if journal_there else None)
            except StateError:
                if self._disk.stamp(self.path) != stamp:
                    continue
                raise
            opened = Journal.open(self._disk, self._journal_path, read_only=self._read_only)
            if self._disk.stamp(self.path) == stamp:
                return self._take_in(data, stamp, opened)
            if opened is not None:
                opened[0].close()
        raise StateError(self.path, "it changes faster than it can be read; try again.")

    def _take_in(self, data: bytes, stamp: Stamp | None, opened: tuple[Journal, list[Line]] | None) -> list[str]:
        found = digest(data)
        journal, lines = opened or (None, [])
        handed_over = [at for at, line in enumerate(lines) if line.snapshot == found]
        edited = journal is not None and journal.extends != found and not handed_over
        records = read_records(self.path, data, by_hand=edited or journal is None)
        if journal is not None and journal.extends != found and handed_over:
            lines = lines[handed_over[-1] + 1 :]
        before = self._records.raws
        self._records, self._digest, self._stamp, self._edited = records, found, stamp, edited
        self._replay(lines)
        self._drop_journal()
        self._journal = journal
        return [key for key in before.keys() | records.raws.keys() if before.get(key) != records.raws.get(key)]

    def _replay(self, lines: Sequence[Line]) -> list[str]:
        done = replay(self._records, lines, edited=self._edited)
        for note in done.notes:
            if note not in self.hand_edits:
                self.hand_edits.append(note)
                _log.warning("%s", note)
        self._unsettled = self._unsettled or bool(done.keys)
        return done.keys

    def _catch_up(self) -> list[str]:
        """Take in what others appended, and follow a hand-over that another process made."""
        if self._journal is None:
            there = self._disk.stamp(self._journal_path) is not None
            return self._load() if there or self._json_changed() else []
        match self._journal.news(self._disk):
            case None:
                return []
            case "grown":
                return self._replay(self._journal.read_on())
            case "replaced":
                return self._follow(self._journal)
            case _:
                return self._load()

    def _follow(self, old: Journal) -> list[str]:
        """Read the replaced journal to its end and go on in the new one."""
        changed = self._replay(old.read_on())
        stamp = self._disk.stamp(self.path)
        opened = Journal.open(self._disk, self._journal_path, read_only=self._read_only)
        if opened is None or opened[0].extends != old.marker or opened[0].merged or self._edited:
            if opened is not None:
                opened[0].close()
            return changed + self._load()
        self._drop_journal()
        self._journal, lines = opened
        self._digest, self._stamp = self._journal.extends, stamp
        self._unsettled = False
        return changed + self._replay(lines)

    def _json_changed(self) -> bool:
        return self._disk.stamp(self.path) != self._stamp

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    # Writing

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold write.lock, with everything that others wrote taken in and a torn tail cut off."""
        with self._mutex:
            if self._ended is not None:
                raise self._ended
            if self._read_only:
                raise StateError(self.path, "opened for reading only")
            with self._locked():
                self._catch_up()
                if self._journal is not None:
                    self._journal.cut_torn_tail()
                yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.folder.is_dir():
            self._disk.make_directory(self.folder)
        with contextlib.ExitStack() as held:
            try:
                with refusals(self.folder):
                    held.enter_context(self._lock.acquire(timeout=_LOCK_SECONDS))
            except Timeout as error:
                raise LockHeld(
                    f"{self._lock.lock_file}: held by another process for over {_LOCK_SECONDS:.0f} s; "
                    "end that process and run again."
                ) from error
            yield

    def _commit(self, changes: Sequence[tuple[Status | None, Item]], *, sync: bool) -> list[Item]:
        """Append one line for all of them. Under write.lock."""
        if not changes:
            return []
        for was, item in changes:
            if item.status not in TRANSITIONS[was]:
                raise ValueError(f"{item.key}: {was} → {item.status} is not a transition")
        records = [item.to_record() for _, item in changes]
        journal = self._journal_to_extend()
        line = change_line(
            seq=journal.seq + 1,
            changes=((item.key, was, raw) for (was, item), raw in zip(changes, records, strict=True)),
        )
        journal.append(line, sync=sync)
        for (_, item), raw in zip(changes, records, strict=True):
            self._records.put(item.key, raw, item)
        self._unsettled = True
        return [item for _, item in changes]

    def _journal_to_extend(self) -> Journal:
        """The journal, begun where there is none and handed over where the JSON was edited by hand."""
        if self._edited:
            self._hand_over(insist=True)
        if self._journal is None:
            self._journal = Journal.begin(self._disk, self._journal_path, extends=self._digest, seq=0, merged=False)
        return self._journal

    def _hand_over(self, *, insist: bool) -> None:
        """Write the snapshot and begin a new journal. Under write.lock.

        Without `insist` a state file that somebody is in the middle of editing is left alone; the journal has it all.
        """
        merged = self._edited
        if self._json_changed():
            try:
                self._load()
            except StateError as error:
                if insist:
                    raise
                _log.warning("%s", error)
                self._rewritten_at = self._clock.monotonic()
                return
            merged = True
        started = self._clock.monotonic()
        self._digest = self._place_snapshot(self._records, journal=self._journal)
        self._stamp = self._disk.stamp(self.path)
        seq = self._journal.seq if self._journal is not None else 0
        new = Journal.begin(self._disk, self._journal_path, extends=self._digest, seq=seq, merged=merged)
        self._drop_journal()
        self._journal = new
        self._edited = self._unsettled = False
        self._rewritten_at = self._clock.monotonic()
        self.rewrite_seconds = self._rewritten_at - started

    def _place_snapshot(self, records: Records, *, journal: Journal | None = None) -> str:
        temporary = self.path.with_name(self.path.name + ".tmp")
        try:
            with self._disk.create(temporary) as handle:
                found = write_records(handle, records)
            if journal is not None:
                journal.mark_snapshot(found)
            self._disk.replace(temporary, self.path)
        except BaseException:
            self._disk.remove(temporary)
            raise
        return found
