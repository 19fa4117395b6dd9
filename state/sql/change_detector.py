"""Whether others may have written to a SQL state: what they announce, what SQLite's files show, or every 2 s."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable

from orchestrator.clock import Clock
from orchestrator.errors import BurstError
from state.sql.database import Database
from state.sql.notifications import Listener

POLL_SECONDS = 2.0


class ChangeDetector:
    """Of one open store. Any thread may call `notify`; all else is for the one that asks `may_have_changed`."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._notified = threading.Event()
        self._looked_at = float("-inf")
        self._look: Callable[[], None] | None = None
        self._listener: Listener | None = None
        self._listened_at = float("-inf")
        self._seen: Hashable = None

    def notify(self) -> None:
        """Somebody knows that others have written."""
        self._notified.set()

    def leave_to(self, look: Callable[[], None] | None) -> None:
        """A run looks by itself every 2 s, and notifies; `look` is called besides, where there may be something new."""
        self._look = look

    def may_have_changed(self) -> bool:
        """Whether others may have written since the last call. Asks the database nothing itself."""
        now = self._clock.monotonic()
        if self._is_noticed(now):
            (self._look or self.notify)()
        is_notified = self._notified.is_set() or (self._look is None and now - self._looked_at >= POLL_SECONDS)
        if is_notified:
            self._notified.clear()
            self._looked_at = now
        return is_notified

    def ignore_own_change(self) -> None:
        """What SQLite's files show by now is of our own making."""
        if not self._database.is_postgresql:
            self._seen = self._files()

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _is_noticed(self, now: float) -> bool:
        if self._database.is_postgresql:
            return self._heard(now)
        before, self._seen = self._seen, self._files()
        return self._seen != before

    def _heard(self, now: float) -> bool:
        """A lost connection is made again, at most every 2 s; until then polling has to do."""
        try:
            if self._listener is None:
                if now - self._listened_at < POLL_SECONDS:
                    return False
                self._listened_at = now
                self._listener = Listener(self._database)
                return True
            return self._listener.heard()
        except (BurstError, OSError):
            self.close()
            return False

    def _files(self) -> Hashable:
        """Another value after every commit, but for two within a tick of the clock."""
        return tuple(_stamp(f"{os.fspath(self._database.location.path)}{end}") for end in ("", "-wal"))


def _stamp(path: str) -> Hashable:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
