"""The sums of a state between two calls of `burst metrics`, so that each reads only the bursts that are new.

They are a cache: where they are missing, damaged or of another log, everything is counted again.
"""

from __future__ import annotations

import contextlib

import msgspec

from orchestrator.metrics.totals import Sums, Totals
from orchestrator.replacing import replace_text
from state.burst_record import BurstRecord
from state.location import Location

_NAME = "metrics.json"
_COUNTED_AS = 1
"""Add one wherever `Totals` counts otherwise."""


class _Kept(msgspec.Struct, frozen=True):
    counted_as: int
    known: BurstRecord
    sums: Sums


def kept_totals(location: Location) -> Totals:
    """As they were kept, or from the beginning."""
    try:
        kept = msgspec.json.decode(location.cache(_NAME).read_bytes(), type=_Kept)
    except (OSError, ValueError, RecursionError):
        return Totals()
    return Totals(kept.sums, known=kept.known) if kept.counted_as == _COUNTED_AS else Totals()


def keep(totals: Totals, location: Location) -> None:
    """For the next call, where this user may write there."""
    if totals.known is None:
        return
    path, data = location.cache(_NAME), msgspec.json.encode(_Kept(_COUNTED_AS, totals.known, totals.sums))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, data.decode())
