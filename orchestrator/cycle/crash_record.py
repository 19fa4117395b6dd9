"""The record of a crash outside of any burst: of a run that had not begun one, or had ended its last."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from orchestrator.crashes import TRACEBACK_NAME, as_burst_error
from orchestrator.cycle.bursts import Age, new_burst
from orchestrator.errors import BurstError, Crashed, StopBurst
from orchestrator.servers import this_host
from state.burst_record import BurstRecord, Ending
from state.lease import Lease
from state.open_store import open_store, parts_of
from state.store import Store


def crashed_under_lease(error: Exception, store: Store, lease: Lease, age: Age) -> BurstError:
    """The error of burst that says this exception; recorded if nobody expected it."""
    seen = as_burst_error(error, keep_at=store.location.auxiliary(TRACEBACK_NAME))
    if isinstance(seen, Crashed):
        with contextlib.suppress(StopBurst):
            lease.end_burst(record_of(age, ended="crashed", reason=seen.reason))
    return seen


def crashed_without_lease(error: Exception, state: Path, age: Age) -> BurstError:
    """The same for a run that holds no lease, which takes one for its record.

    Nothing is recorded where there is no state, where it cannot be opened, or while another burst works on it.
    """
    parts = parts_of(state)
    seen = as_burst_error(error, keep_at=parts.location.auxiliary(TRACEBACK_NAME))
    if isinstance(seen, Crashed):
        # Whatever is broken here may be what broke the run, which is the error to report.
        with contextlib.suppress(Exception), open_store(state) as store, store.lease() as lease:
            lease.record_killed()
            lease.end_burst(record_of(age, ended="crashed", reason=seen.reason))
    return seen


def record_of(age: Age, *, ended: Ending, reason: str) -> BurstRecord:
    """Of this process, which began no burst."""
    return BurstRecord(
        burst=new_burst(),
        started_at=age.started_at,
        ended_at=age.clock.now(),
        ended=ended,
        size=0,
        seconds=round(age.seconds(), 3),
        alive_seconds=round(age.seconds(), 3),
        reason=reason,
        host=this_host(),
        pid=os.getpid(),
    )
