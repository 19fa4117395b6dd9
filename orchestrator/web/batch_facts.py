"""What every list of batches says of one, however it is known."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.batches.differences import title_of
from orchestrator.batches.standing import standing_of
from orchestrator.web.orphaned_batches import OrphanedBatch
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.counts import Counts


def facts_of(
    source: WatchedBatch | OrphanedBatch, counts: Counts, *, state: WatchedState, at: datetime
) -> dict[str, Any]:
    """The fields that `FeedBatch` and `GalleryBatch` share, but `pictures`. `at`: when it was requested."""
    record = source if isinstance(source, OrphanedBatch) else source.record
    return {
        "batchId": source.id,
        "state": state.number,
        "name": record.name,
        "prompt": "\n".join(record.prompts[:1]),
        "title": title_of(record.prompts),
        "createdAt": at,
        "status": standing_of(counts).browser_status,
        "totalImages": counts.total,
        "completedImages": counts.completed,
        "failedImages": counts.failed,
        "readOnly": isinstance(source, OrphanedBatch),
    }
