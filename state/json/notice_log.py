"""notices.jsonl: who is notified, of what, and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from state.disk import Disk, Stamp
from state.json.line_log import LineFollower, LineLog
from state.notices import Notice, Notices
from state.write_lock import WriteLock


class JsonNoticeLog:
    """See `state.notices.NoticeLog`. Each change is made under write.lock. Any thread may use it."""

    def __init__(self, folder: Path, *, disk: Disk | None = None, clock: Clock | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self._clock = clock or Clock()
        self._log: LineLog[Any] = LineLog(folder / "notices.jsonl", Notice, disk=self._disk)  # type: ignore[arg-type]
        self._guard = threading.Lock()
        """Of the two below."""
        self._lines: LineFollower[Any] = LineFollower(self._log)
        self._known = Notices()

    @property
    def path(self) -> Path:
        return self._log.path

    def stamp(self) -> Stamp | None:
        return self._log.stamp()

    def change(self, edit: Callable[[Notices, datetime], Iterable[Notice]]) -> tuple[Notice, ...]:
        with WriteLock(self._folder, disk=self._disk):  # a new one each time: several threads may append
            changed = tuple(edit(self.read(), self._clock.now()))
            if changed:
                self._log.append(*changed)
        return changed

    def read(self) -> Notices:
        with self._guard:
            news = self._lines.read_on()
            before = Notices() if news.is_from_the_beginning else self._known
            self._known = before.and_also(news.records)
            return self._known.and_also(news.unfinished)
