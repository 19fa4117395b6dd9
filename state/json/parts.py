"""The parts of a JSON state other than its items, whether the state exists yet or not."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.clock import Clock
from state.disk import Disk, Stamp
from state.json.burst_log import JsonBurstLog
from state.json.folder import burst_folder
from state.json.journal import read_batch_lines
from state.json.run_lock import FileRunLock, can_lock
from state.json.settings_file import SettingsFile
from state.location import Location
from state.write_lock import WriteLock

if TYPE_CHECKING:
    from state.burst_record import BurstRecord
    from state.facts import Facts, Pause
    from state.holder import Holder
    from state.json.batch_log import JsonBatchLog
    from state.json.fact_log import JsonFactLog
    from state.json.live_file import LiveFile
    from state.json.notice_log import JsonNoticeLog
    from state.json.recipe_book import JsonRecipeBook
    from state.live import Live
    from state.patience import Patience
    from state.server import RegisteredServer
    from state.store import LogName

LOG_FILES: dict[LogName, str] = {
    "batch": "batches.jsonl",
    "fact": "facts.jsonl",
    "burst": "bursts.jsonl",
    "notice": "notices.jsonl",
}


class JsonParts:
    """See `state.store.StateParts` for what each public method promises."""

    def __init__(self, location: Location, *, disk: Disk | None = None, clock: Clock | None = None) -> None:
        self.location = location
        self.path = location.path
        self.folder = burst_folder(location.path)
        self._journal_path = self.folder / "journal.jsonl"
        self._disk = disk or Disk()
        self._clock = clock or Clock()
        self.bursts = JsonBurstLog(self.folder, disk=self._disk)
        self.settings = SettingsFile(self.folder, disk=self._disk)
        self._read_only = False
        self._batches: JsonBatchLog | None = None
        self._facts: JsonFactLog | None = None
        self._followed: tuple[Hashable, Facts | None] = (None, None)
        """The facts, as of a stamp of theirs."""
        self._recipes: JsonRecipeBook | None = None
        self._notices: JsonNoticeLog | None = None

    def exists(self) -> bool:
        return any(self._disk.stamp(path) is not None for path in (self.path, self._journal_path))

    @property
    def batches(self) -> JsonBatchLog:
        if self._batches is None:
            from state.json.batch_log import JsonBatchLog

            self._batches = JsonBatchLog(self.folder, disk=self._disk, in_journal=self._batch_lines)
        return self._batches

    @property
    def recipes(self) -> JsonRecipeBook:
        if self._recipes is None:
            from state.json.recipe_book import JsonRecipeBook

            self._recipes = JsonRecipeBook(self.folder, disk=self._disk, read_only=self._read_only)
        return self._recipes

    def log_lines(self, log: LogName) -> Iterator[bytes]:
        from state.json.line_log import LineLog

        # The journal is read first: a line that a hand-over has removed from it by then is already in the file.
        in_journal = self._batch_lines() if log == "batch" else ()
        lines = LineLog(self.folder / LOG_FILES[log], msgspec.Struct, disk=self._disk).lines()
        yield from lines
        yield from (line for line in in_journal if line not in lines)

    def has_batches(self) -> bool:
        return self._disk.stamp(self.folder / "batches.jsonl") is not None or bool(self._batch_lines())

    @property
    def notices(self) -> JsonNoticeLog:
        if self._notices is None:
            from state.json.notice_log import JsonNoticeLog

            self._notices = JsonNoticeLog(self.folder, disk=self._disk, clock=self._clock)
        return self._notices

    def has_notices(self) -> bool:
        return self._disk.stamp(self.folder / LOG_FILES["notice"]) is not None

    @property
    def facts(self) -> JsonFactLog:
        if self._facts is None:
            from state.json.fact_log import JsonFactLog

            self._facts = JsonFactLog(self.folder, disk=self._disk)
        return self._facts

    def pause(self) -> Pause | None:
        followed = self._facts_now()
        last = followed.pause if followed is not None else None
        return last if last is not None and last.paused else None

    def servers(self) -> Mapping[str, RegisteredServer]:
        followed = self._facts_now()
        return followed.servers if followed is not None else {}

    def _facts_now(self) -> Facts | None:
        """The facts of now, read where they have changed; None while there are none."""
        stamp = self._facts_stamp()
        if stamp is None:
            return None
        if stamp != self._followed[0]:
            self._followed = stamp, self.facts.read()
        return self._followed[1]

    def _facts_stamp(self) -> Stamp | None:
        """Without loading what reads them. Opened, because that makes a network file system ask its server."""
        try:
            with self._disk.open_to_read(self.folder / "facts.jsonl") as handle:
                return handle.stamp()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def wait_with(self, patience: Patience) -> None:
        """Nothing: files answer or refuse at once."""

    def holders(self) -> list[Holder]:
        holder = self._run_lock().living_holder()
        return [holder] if holder is not None else []

    def is_leased(self) -> bool:
        return self._run_lock().is_held()

    def killed_bursts(self) -> list[BurstRecord]:
        lock = self._run_lock()
        left = lock.holder() if lock.living_holder() is None else None
        if left is None or any(record.burst == left.burst for record in self.bursts.read(last=1)):
            return []
        with contextlib.suppress(FileNotFoundError):
            return [left.killed_record(lock.last_touch())]
        return []

    def _run_lock(self) -> FileRunLock:
        return FileRunLock(self.folder, disk=self._disk, clock=self._clock)

    def live_file(self) -> LiveFile:
        from state.json.live_file import LiveFile

        return LiveFile(self.folder, disk=self._disk)

    def live(self) -> Live | None:
        live = self.live_file().read()
        # One that a killed run left behind is not shown.
        if live is None or all(holder.burst != live.burst for holder in self.holders()):
            return None
        return live

    def live_preview(self) -> bytes | None:
        return self.live_file().preview()

    def is_told_at_once(self) -> bool:
        return True

    def watch(self) -> None:
        """Nothing: a run shows all it sees at once."""

    def adding(self) -> AbstractContextManager[None]:
        return WriteLock(self.folder, disk=self._disk, name="adding.lock")

    @property
    def checkpoint_directory(self) -> Path:
        return self.folder

    def _batch_lines(self) -> Sequence[bytes]:
        """The lines of batches.jsonl that are still in the journal."""
        return read_batch_lines(self._disk, self._journal_path)

    def can_lock(self) -> bool:
        return can_lock(next(place for place in (self.folder, *self.folder.parents) if place.exists()))
