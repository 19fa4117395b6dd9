"""The right to work on a state: one burst at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from state.holder import Holder


class RunLock(Protocol):
    """Held for the length of a run, and freed when the process ends, however it ends."""

    def acquire(self, *, wait_seconds: float = 0.0) -> tuple[Holder, datetime] | None:
        """Take it; what a killed burst left behind (who, and when it was last alive), or None.

        Errors: LockHeld, with who holds it; StateError where the state cannot be locked.
        """

    def hold(self, *, burst: str, started_at: datetime, size: int, run_started_at: datetime | None = None) -> None:
        """Name the burst that works, and show that it lives until `release`. Errors: LockHeld, DiskFull."""

    def check(self) -> None:
        """Errors: LockHeld where another burst took it too."""

    def release(self) -> None:
        """A clean end. Safe to repeat."""

    def holder(self) -> Holder | None:
        """Who held it last; None after a clean end."""

    def is_held(self) -> bool:
        """Whether some process, this one too, holds it right now."""

    def living_holder(self) -> Holder | None:
        """Who is at work, as far as can be told without touching the lock."""

    def last_touch(self) -> datetime:
        """When the holder was last alive. Errors: FileNotFoundError where there is none."""
