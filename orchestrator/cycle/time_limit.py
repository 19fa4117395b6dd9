"""When a run ends by itself: after so many seconds, or at a time of day, whichever comes first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from orchestrator.cycle import pacing
from orchestrator.cycle.request import Request
from orchestrator.hours import Hours, next_time, parse_time
from orchestrator.servers import this_host
from state.burst_record import BurstRecord


class TimeLimit(msgspec.Struct, frozen=True):
    """Of one run."""

    seconds: float | None = None
    """Its age then; None without such a limit."""
    is_learned: bool = False
    """Whether that was learned from killed runs, not requested."""
    ends_at: datetime | None = None
    """By the clock on the wall, whatever happens to that meanwhile."""

    @classmethod
    def of(cls, request: Request, records: Sequence[BurstRecord], *, began_at: datetime) -> TimeLimit:
        """As requested (0 seconds: none), else as learned from earlier bursts."""
        ends = [next_time(parse_time(request.until), after=began_at)] if request.until is not None else []
        if request.between is not None and (end := Hours.parse(request.between).end_after(began_at)) is not None:
            ends.append(end)
        ends_at = min(ends, default=None)
        if request.max_seconds is not None:
            return cls(request.max_seconds or None, ends_at=ends_at)
        learned = pacing.learned_limit(pacing.of_host(records, this_host()))
        return cls(learned.usable_seconds if learned is not None else None, is_learned=True, ends_at=ends_at)

    def ended(self, *, age_seconds: float, now: datetime) -> Literal["deadline", "limit"] | None:
        """How a run ends that is so old by now; None while it goes on."""
        if self.ends_at is not None and now >= self.ends_at:
            return "deadline"
        if self.seconds is not None and age_seconds >= self.seconds:
            return "limit" if self.is_learned else "deadline"
        return None

    def seconds_left(self, *, age_seconds: float, now: datetime) -> float | None:
        """None without a limit; negative past it."""
        left = [] if self.seconds is None else [self.seconds - age_seconds]
        if self.ends_at is not None:
            left.append((self.ends_at - now).total_seconds())
        return min(left, default=None)


def closed_until(between: str | None, *, now: datetime) -> datetime | None:
    """When the hours of `between` begin next; None where it is within them, or none were requested."""
    hours = Hours.parse(between) if between is not None else None
    return hours.next_begin(now) if hours is not None and hours.end_after(now) is None else None
