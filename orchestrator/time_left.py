"""How long the remaining work takes: one rule for reports, `status` and the browser. Times in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.cycle import pacing
from orchestrator.servers import canonical_name
from state.burst_record import BurstRecord
from state.counts import BatchFigures
from state.item import Status
from state.store import Store

_TIMED_ITEMS = 100


def pace_of(store: Store, records: Sequence[BurstRecord]) -> float | None:
    """Seconds per item of the last bursts; before any has ended, of the first items that were completed."""
    if (pace := pacing.seconds_per_item(records)) is not None:
        return pace
    first = store.items(Status.COMPLETED, limit=_TIMED_ITEMS)
    took = [item.seconds for item in first if item.seconds is not None]
    return sum(took) / len(took) if took else None


def seconds_left(store: Store, pace: float | None, *, renderable: int) -> float | None:
    """Until everything that can be rendered is done. None if that is nothing of what remains, or no pace is known.

    `pace`: of the last bursts. `renderable`: how many of the remaining items have a recipe that can be used.
    """
    remaining = store.counts().remaining
    if not remaining:
        return 0.0
    if renderable <= 0:
        return None
    total, others = 0.0, remaining
    for batch, counts in store.counts_by_batch().items():
        if not counts.remaining:
            continue
        own = _own_pace(store.batch_figures(batch), pace)
        if own is None:
            return None
        total, others = total + own * counts.remaining, others - counts.remaining
    if others and pace is None:
        return None
    return (total + others * (pace or 0.0)) * renderable / remaining


def batch_seconds_left(
    store: Store, batch: str, *, pace: float | None, waiting: Mapping[str, str | None]
) -> float | None:
    """Until the last item of a batch that can be rendered is done, what is rendered before it included.

    None if none of what remains can be rendered, or no pace is known. `waiting`: keys of the pending items whose recipe
    is set aside, with their batches.
    """
    figures = store.batch_figures(batch, without=waiting)
    counts = figures.counts
    if not counts.remaining:
        return 0.0
    pending = counts.pending - sum(other == batch for other in waiting.values())
    own = _own_pace(figures, pace)
    if own is None or not (pending or counts.submitted):
        return None
    others = 0
    if pending:
        # Servers render what they have before anything pending.
        others = max(0, figures.due_up_to - pending) + store.counts().submitted - counts.submitted
    return own * (pending + counts.submitted) + (own if pace is None else pace) * others


def _own_pace(figures: BatchFigures, pace: float | None) -> float | None:
    """Seconds per item of a batch: what its completed items took on as many servers, else `pace`."""
    if not figures.mean_seconds:
        return pace
    return figures.mean_seconds / len({canonical_name(server) for server in figures.servers})
