"""How a batch stands, decided from the counts of its items, with the word for it everywhere."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from state.batch import End
from state.counts import Counts

StandingName = Literal["active", "done", "failed", "cancelled", "empty"]
BatchStatus = Literal["queued", "generating", "complete", "failed", "cancelled"]


class BatchStanding(Enum):
    """One row each. Only `text` may change: the others are in documented JSON."""

    EMPTY = "empty", "empty", "failed", None
    """It has no items."""
    QUEUED = "queued", "active", "queued", None
    """All items are pending."""
    RUNNING = "running", "active", "generating", None
    """Items remain; others were begun or have ended."""
    DONE = "done", "done", "complete", "done"
    FAILED = "failed", "failed", "failed", "failed"
    """Every item failed."""
    PARTLY_FAILED = "failed", "failed", "complete", "failed"
    """Some items failed, the others were completed."""
    CANCELLED = "cancelled", "cancelled", "cancelled", "cancelled"
    """Some items were cancelled, none failed."""
    FAILED_AND_CANCELLED = "failed", "failed", "cancelled", "failed"
    """Some items were cancelled, others failed."""

    def __init__(self, text: str, name_in_json: StandingName, browser_status: BatchStatus, end: End | None) -> None:
        self.text = text
        """The word for people."""
        self.name_in_json: StandingName = name_in_json
        """`standing` in `burst.batch/2`, `burst.batches/2` and `burst.status/2`."""
        self.browser_status: BatchStatus = browser_status
        """`status` in the browser's contract."""
        self.end: End | None = end
        """`how` in the record of its end and in the event sent to webhooks; None where it has not ended."""


def standing_of(counts: Counts) -> BatchStanding:
    """`counts`: of the items of one batch."""
    if not counts.total:
        return BatchStanding.EMPTY
    if counts.remaining:
        return BatchStanding.QUEUED if counts.pending == counts.total else BatchStanding.RUNNING
    if counts.failed:
        if counts.cancelled:
            return BatchStanding.FAILED_AND_CANCELLED
        return BatchStanding.PARTLY_FAILED if counts.completed else BatchStanding.FAILED
    return BatchStanding.CANCELLED if counts.cancelled else BatchStanding.DONE
