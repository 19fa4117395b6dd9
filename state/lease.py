"""The right to work on a state: one burst at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from state.holder import Holder


class RunLock(Protocol):
    """Held for the duration of a run; released when the process ends in any way."""

    def acquire(self, *, wait_seconds: float = 0.0) -> tuple[Holder, datetime] | None:
        """Take the lock. Returns the holder that a killed burst left behind, with the time it was last alive, or None.

        Errors: LockHeld, which names the holder; StateError where the state cannot be locked.
        """

    def hold(self, *, burst: str, started_at: datetime, size: int, run_started_at: datetime | None = None) -> None:
        """Publish the current burst and show that it is alive until `release`. Errors: LockHeld, DiskFull."""

    def check(self) -> None:
        """Errors: LockHeld where another burst took the lock as well."""

    def release(self) -> None:
        """End cleanly. Safe to repeat."""

    def holder(self) -> Holder | None:
        """The last holder; None after a clean end."""

    def is_held(self) -> bool:
        """Whether any process, including this one, holds it at the moment."""

    def living_holder(self) -> Holder | None:
        """The holder that is alive, judged without touching the lock; None if there is none."""

    def last_touch(self) -> datetime:
        """When the holder was last alive. Errors: FileNotFoundError where there is none."""
