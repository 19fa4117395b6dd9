"""How many, how often, how long: pure functions of what was seen."""

from __future__ import annotations

from collections.abc import Sequence

from state.burst_log import BurstRecord

DEFAULT_SIZE = 15
LADDER = (1, 5, 15)
"""The protocol's sizes: a killed burst goes down one, a clean one up one."""
DEFAULT_POLL_SECONDS = 5.0
IN_DOUBT_SECONDS = 10.0
"""How long an intent without a noted answer may still be on its way to the server."""
STALL_SECONDS = 1800.0
SWEEP_SECONDS = 15.0
"""Without a completion for this long, every outstanding prompt is looked up."""
FIRST_TICK_SECONDS = 0.05
TICK_GROWTH = 1.5


def automatic_size(records: Sequence[BurstRecord]) -> int:
    """What `--size auto` is after these bursts, oldest first: 15, with kills 5 and 1, with clean ones up again."""
    step = LADDER.index(DEFAULT_SIZE)
    for record in records:
        if record.ended in ("killed", "stopped"):
            step = max(step - 1, 0)
        elif record.ended == "done":
            step = min(step + 1, len(LADDER) - 1)
    return LADDER[step]


def next_tick(previous_seconds: float | None, *, expected_seconds: float | None, poll_seconds: float) -> float:
    """How long to wait before `/history` is asked again for the same prompt.

    `previous_seconds`: the last wait for it, None for the first; `expected_seconds`: when it should be done, counted
    from now, None where no prompt of this burst has finished yet. The first wait goes most of the way to the expected
    end, then the ticks start short and stretch to `poll_seconds`.
    """
    if previous_seconds is None:
        first = 0.8 * expected_seconds if expected_seconds is not None else 0.0
        return min(max(first, FIRST_TICK_SECONDS), poll_seconds)
    shortest = max(FIRST_TICK_SECONDS, 0.1 * (expected_seconds or 0.0))
    return min(max(min(previous_seconds, poll_seconds / TICK_GROWTH) * TICK_GROWTH, shortest), poll_seconds)


class Pace:
    """Seconds between two completions, as a running mean that forgets slowly."""

    def __init__(self) -> None:
        self.seconds_per_item: float | None = None

    def note(self, seconds: float) -> None:
        """One more prompt took this long on the server."""
        seconds = max(0.0, seconds)
        before = self.seconds_per_item
        self.seconds_per_item = seconds if before is None else 0.7 * before + 0.3 * seconds
