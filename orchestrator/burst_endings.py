"""How a burst ended: the values in JSON, and the words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from state.burst_record import Ending as RecordedEnding
    from state.counts import Counts

Ended = Literal["done", "deadline", "limit", "stopped", "paused", "failure", "error"]
"""`ended` in `burst.report/2`; `burst.generate/2` has `queued` too."""

TEXTS: Mapping[str, str] = {
    "done": "done",
    "deadline": "stopped at the time limit",
    "limit": "stopped at the learned time limit",
    "stopped": "stopped by a signal",
    "paused": "paused",
    "failure": "stopped because an item failed",
    "error": "stopped by an error",
    "crashed": "crashed",
    "killed": "killed",
    "running": "running",
}
"""Value in JSON → words for people. `crashed` and `killed` are in records alone, `running` in the browser's API."""


def recorded(ended: Ended) -> RecordedEnding:
    """As the burst's record has it: `failure` is an `error` without a reason there."""
    return "error" if ended == "failure" else ended


def text_of(ended: RecordedEnding, reason: str | None) -> str:
    """How a recorded burst ended, for people. `reason`: as the record has it."""
    return TEXTS["failure" if ended == "error" and reason is None else ended]


def nothing_left(counts: Counts) -> str:
    """What is said where no item remains: all done, or how those come back that are not."""
    if counts.failed:
        return f"Nothing is left to do; `burst retry` tries the {counts.failed} failed again."
    if counts.cancelled:
        return f"Nothing is left to do; `burst retry --cancelled` brings the {counts.cancelled} cancelled back."
    return "All done."
