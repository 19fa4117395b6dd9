"""The default store: a JSON file that people can read and edit, a journal of checkpoints, and write.lock.

On disk, for `re_render_state.json`:
    re_render_state.json                  the snapshot, rewritten as a whole from time to time
    re_render_state.burst/journal.jsonl   changes since then; every checkpoint is one line
    re_render_state.burst/write.lock      held for milliseconds by every writer
The hand-over from one snapshot to the next, under write.lock: (1) {"snapshot": H} is appended to the journal; (2) the
new JSON is renamed into place; (3) lines for batches.jsonl are appended there; (4) an empty journal with the header
{"extends": H} is renamed into place. After a crash at any step, the hash of the JSON determines which journal lines are
still to be replayed.
It needs five syncs: of the new JSON's bytes and of the marker before (2), of its name before (4), of the new journal's
bytes before its name, and of that name before anything is appended to it. Step (3) needs one if there are such lines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import StaleChange, StateError, StateVersionError
from state.attempts import with_ended_attempt
from state.change import Change
from state.disk import Disk, SyncFailed
from state.item import REMOVABLE, TRANSITIONS, Item, Status
from state.json.journal import Journal
from state.json.journal_lines import change_line
from state.json.lease import JsonLease
from state.json.reader import JsonReader
from state.json.snapshot import write_records
from state.location import Location
from state.stages import followed, refuse_impossible
from state.store import FORMAT_VERSION
from state.write_lock import WriteLock

if TYPE_CHECKING:
    from state.batch import BatchChange
    from state.json.completed_items import JsonCompletedItems

REWRITE_SHARE = 0.05
"""The snapshot is rewritten when the last rewrite took less than this share of the time since.

This also limits how long checkpoints of other threads wait in total; a single one waits for at most one rewrite.
"""
REWRITE_PAUSE_SECONDS = 0.2


class JsonStore(JsonReader):
    """See `state.store.Store` for what each public method promises."""

    def __init__(self, location: Location, *, disk: Disk | None, clock: Clock | None, read_only: bool) -> None:
        super().__init__(location, disk=disk, clock=clock, read_only=read_only)
        self.rewrite_seconds = 0.0
        self._lock = WriteLock(self.folder, disk=self._disk)
        self._base_is_durable = False
        self._ended: Exception | None = None
        self._is_followed = False
        """Whether its own changes are news, too."""
        self._rewritten_at = self._clock.monotonic() - 1000.0

    @classmethod
    def open(
        cls,
        location: Location | Path | str,
        *,
        create: bool = False,
        read_only: bool = False,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Open a state file, also one written by hand; `create` makes an empty one if there is none.

        Errors: StateError, StateVersionError, DiskFull. Nothing is written to an existing state.
        """
        store = cls(Location.of(location), disk=disk, clock=clock, read_only=read_only)
        if create and not store.exists():
            with store._lock:
                store._place_snapshot()
        store._load()
        store._is_open = True
        return store

    def apply(self, changes: Sequence[Change], *, sync: bool = True, burst: str | None = None) -> list[Item]:
        with self._writing():
            stale = [change.key for change in changes if self._records.statuses.get(change.key) is not change.expected]
            if stale:
                raise StaleChange(stale)
            edited = [(change.key, change.expected, self._edited_item(change, burst)) for change in changes]
            return self._commit(self._with_stages(edited), sync=sync)

    def add(self, items: Sequence[Item], *, batch: BatchChange | None = None) -> list[Item]:
        if batch is not None and (others := {item.batch for item in items} - {batch.batch}):
            raise ValueError(f"items of batch {others.pop()}, not of {batch.batch}")
        with self._writing():
            there = self._records.statuses
            new = {item.key: item for item in items if item.key not in there}
            refuse_impossible(tuple(new.values()), there=there.get, sources_of=self._records.sources_of)
            return self._commit([(key, None, item) for key, item in new.items()], sync=True, batch=batch)

    def completed_items(self) -> JsonCompletedItems:
        from state.json.completed_items import JsonCompletedItems

        return JsonCompletedItems(self)

    def lease(self, *, wait_seconds: float = 0.0) -> JsonLease:
        lease = JsonLease(
            self, self._run_lock(), wait_seconds=wait_seconds, clock=self._clock, live_file=self.live_file
        )
        try:
            self.refresh()
        except BaseException:
            lease.end()
            raise
        return lease

    def settle(self, *, at_end: bool = False) -> None:
        with self._mutex:
            if self._read_only or not self._needs_rewriting(at_end=at_end):
                return
            since = self._clock.monotonic() - self._rewritten_at
            if at_end or since >= max(self.rewrite_seconds / REWRITE_SHARE, REWRITE_PAUSE_SECONDS):
                with self._writing():
                    if self._needs_rewriting(at_end=at_end):
                        self._hand_over(insist=at_end)

    def writer(self) -> Self:
        with self._mutex:
            if self._read_only and self._journal is not None:
                self._journal.make_writable(self._disk)
            self._read_only, self._is_followed = False, True
        return self

    def close(self) -> None:
        with self._mutex:
            super().close()
            self._ended = self._ended or StateError(self.path, "this store is closed")

    def stop_writing(self, *, timeout_seconds: float) -> bool:
        if not self._mutex.acquire(timeout=timeout_seconds):
            return False
        self._ended = self._ended or StateError(self.path, "this process is ending")
        self._mutex.release()
        return True

    def upgrade(self) -> None:
        """Nothing: there are no tables."""

    def migrate(self, edit: Callable[[Item], Item]) -> None:
        with self._locked():
            self._edit_all(edit)
            while not self._place_snapshot():
                self._merge_edits()
                self._edit_all(edit)
            # No journal holds what `edit` changed, so open readers must read the JSON again.
            self._replace_journal(merged=True)
            self._edited = self._unsettled = False

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """As `_locked`, after completing an interrupted hand-over. Errors: StateVersionError for an older state."""
        with self._locked():
            if self.format_version not in (None, FORMAT_VERSION):
                raise StateVersionError(
                    self.path,
                    f"written in format version {self.format_version}, which can be read but not written; "
                    f"run this again to bring it to version {FORMAT_VERSION}.",
                )
            if self._edited:
                self._hand_over(insist=True)
            elif self._half_handed_over():
                self._replace_journal(merged=True)
            yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold write.lock, with everything that others wrote read and a torn tail cut off.

        After a failed sync this store refuses to write: what is on the disk is unknown.
        """
        with self._mutex:
            if self._ended is not None:
                raise self._ended
            if self._read_only:
                raise StateError(self.path, "opened for reading only")
            try:
                with self._lock:
                    self._catch_up()
                    self._make_base_durable()
                    if self._journal is not None:
                        self._journal.cut_torn_tail()
                    yield
            except SyncFailed as error:
                self._ended = error
                raise

    def _make_base_durable(self) -> None:
        """Before the first write, sync what a killed process may have left unsynced."""
        if self._base_is_durable:
            return
        if self._journal is None:
            with self._disk.open_to_read(self.path) as handle:
                handle.sync()
        self._disk.sync_directory(self.folder.parent)
        self._disk.sync_directory(self.folder)
        self._base_is_durable = True

    def _with_stages(
        self, changes: Sequence[tuple[str, Status | None, Item | None]]
    ) -> Sequence[tuple[str, Status | None, Item | None]]:
        """These changes, and those that follow from them."""
        stages, statuses = self._records.stages, self._records.statuses
        asked = {key: item for key, _, item in changes}
        is_plain = not (stages or any(item.uploads for item in asked.values() if item is not None))
        if is_plain or len(asked) < len(changes):
            return changes
        found = followed(
            asked,
            before=lambda key: self.get(key) if key in statuses else None,
            stages_of=lambda key: tuple(stages.get(key, ())),
        )
        return [(key, statuses.get(key), item) for key, item in found.items()]

    def _edited_item(self, change: Change, burst: str | None) -> Item | None:
        before = self._before(change)
        return with_ended_attempt(before, change.edit(before), burst=burst, now=self._clock.now)

    def _before(self, change: Change) -> Item:
        return Item(key=change.key, status=Status.PENDING) if change.expected is None else self.get(change.key)

    def _commit(
        self, changes: Sequence[tuple[str, Status | None, Item | None]], *, sync: bool, batch: BatchChange | None = None
    ) -> list[Item]:
        """Append one line for all changes (key, status before, new item). Hold write.lock."""
        if not changes:
            return []
        for key, was, item in changes:
            if item is None and was not in REMOVABLE:
                raise ValueError(f"{key}: cannot be removed while it is {was or 'not there'}")
            if item is not None and (item.key != key or item.status not in TRANSITIONS[was]):
                raise ValueError(f"{key}: {was} → {item.status} is not a transition")
        if len({key for key, _, _ in changes}) < len(changes):
            raise ValueError("one change set changes an item twice")
        records = [item.to_record() if item is not None else None for _, _, item in changes]
        journal = self._journal or self._replace_journal(merged=False)
        batch_line = msgspec.json.encode(batch) if batch is not None else None
        line = change_line(
            seq=journal.seq + 1,
            changes=((key, was, raw) for (key, was, _), raw in zip(changes, records, strict=True)),
            batch=batch_line,
        )
        journal.append(line, sync=sync)
        if batch_line is not None:
            journal.batch_lines.append(batch_line)
        for (key, _, item), raw in zip(changes, records, strict=True):
            if item is not None and raw is not None:
                self._records.put(key, raw, item)
            else:
                self._records.remove(key)
        if self._is_followed:
            self._add_news(key for key, _, _ in changes)
        self._unsettled = True
        return [item for _, _, item in changes if item is not None]

    def _edit_all(self, edit: Callable[[Item], Item]) -> None:
        """Change records only in memory, for a snapshot that is about to be written."""
        for key, raw in list(self._records.raws.items()):
            before = Item.from_record(key, raw)
            after = edit(before)
            if after is not before:
                self._records.put(key, after.to_record(), after)

    def _replace_journal(self, *, merged: bool) -> Journal:
        """Start a journal that extends the current JSON, in place of the old one if there is one."""
        assert self._stamp is not None
        if self._journal is not None and self._journal.batch_lines:
            self.batches.take_over(self._journal.batch_lines)
        new = Journal.begin(
            self._disk,
            self._journal_path,
            extends=self._digest,
            stamp=self._stamp,
            merged=merged,
            replaces=self._journal,
        )
        self._drop_journal()
        self._journal = new
        return new

    def _needs_rewriting(self, *, at_end: bool) -> bool:
        return self._unsettled or self._edited or self._half_handed_over() or (at_end and self._json_changed())

    def _half_handed_over(self) -> bool:
        """Whether a hand-over was interrupted before its last step: the JSON contains the whole journal."""
        return self._journal is not None and self._journal.extends != self._digest and not self._unsettled

    def _hand_over(self, *, insist: bool) -> None:
        """Write the snapshot and start a new journal. Hold write.lock.

        Without `insist` a state file that is unreadable, as during an edit, is left alone: the journal has everything.
        """
        try:
            merged = self._merge_edits()
            started = self._clock.monotonic()
            while not self._place_snapshot():
                merged = self._merge_edits() or merged
        except StateError as error:
            if insist:
                raise
            self._report([str(error)])
            self._rewritten_at = self._clock.monotonic()
            return
        self._replace_journal(merged=merged)
        self._edited = self._unsettled = False
        self._rewritten_at = self._clock.monotonic()
        self.rewrite_seconds = self._rewritten_at - started

    def _merge_edits(self) -> bool:
        """Read the state file again if it has changed; returns whether edits by hand were merged."""
        if self._json_changed():
            self._load()
        return self._edited

    def _place_snapshot(self) -> bool:
        """Write the records as the new state file; False if the old one was edited in the meantime."""
        temporary = self.path.with_name(self.path.name + ".tmp")
        try:
            with self._disk.create(temporary, like=self.path) as handle:
                written = write_records(handle, self._records)
                stamp = handle.stamp()
            if self._journal is not None:
                self._journal.mark_snapshot(written)
            if self._json_changed():
                self._disk.remove(temporary)
                return False
            self._disk.replace(temporary, self.path)
        except BaseException:
            self._disk.remove(temporary)
            raise
        self._digest, self._stamp = written, stamp
        return True
