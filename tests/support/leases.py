"""A state on which this process works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from state.lease import Lease
from state.open_store import open_store


@contextmanager
def at_work(
    state: Path, *, burst: str | None = None, started_at: datetime | None = None, wait_seconds: float = 0.0
) -> Iterator[Lease]:
    """Hold a lease of this state, which must exist. `burst`: published; without one nobody knows who holds it."""
    with open_store(state) as store, store.lease(wait_seconds=wait_seconds) as lease:
        if burst is not None:
            begin(lease, burst, started_at)
        yield lease


def begin(lease: Lease, burst: str, started_at: datetime | None = None) -> None:
    """Publish a burst of this process."""
    at = started_at or datetime.now(UTC)
    lease.begin_burst(burst=burst, size=15, started_at=at, run_started_at=at)
