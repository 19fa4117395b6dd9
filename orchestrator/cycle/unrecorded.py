"""Runs that a full disk kept from recording themselves: this host remembers them until the state can take them.

Where the host's own folder lies on the same disk, they are forgotten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from orchestrator.host_config import host_state_file
from state.burst_record import BurstRecord
from state.location import Location
from state.store import Store

_MOST_BYTES = 200_000
"""Some hundred runs; of a disk that is full for longer, the first ones."""


def remember(location: Location, record: BurstRecord) -> None:
    """Raises nothing."""
    path = host_state_file("unrecorded", location, ".jsonl")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            if stream.tell() < _MOST_BYTES:
                stream.write(msgspec.json.encode(record) + b"\n")


def record_remembered(store: Store) -> None:
    """Add them to the log of bursts, before the burst that was killed is looked for. Hold the lease.

    Killed in the middle, the next run adds what is not there. Errors: DiskFull, StateError.
    """
    path = host_state_file("unrecorded", store.location, ".jsonl")
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    records = list(_decoded(lines))
    there = {record.burst for record in store.bursts.read(last=len(records) + 100)}
    for record in records:
        if record.burst not in there:
            store.bursts.append(record)
    with contextlib.suppress(OSError):
        path.unlink()


def _decoded(lines: Iterable[bytes]) -> Iterable[BurstRecord]:
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError):
            yield msgspec.json.decode(line, type=BurstRecord)
