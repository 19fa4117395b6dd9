"""Times of day by this host's clock on the wall: when one comes next, and hours between two of them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from orchestrator.errors import UsageError

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


def parse_time(text: str) -> time:
    """`07:00`; `24:00` is midnight. Errors: UsageError."""
    found = _TIME.fullmatch(text.strip())
    hour, minute = (int(found[1]), int(found[2])) if found is not None else (99, 99)
    if (hour, minute) == (24, 0):
        return time()
    if hour > 23 or minute > 59:
        raise UsageError(f"{text!r} is not a time of day; write HH:MM, such as 07:00")
    return time(hour, minute)


def next_time(at: time, *, after: datetime) -> datetime:
    """When the clock on the wall shows this time next: in autumn it may do so twice a day."""
    today = after.astimezone().date()
    moments = (_moment(day, at, fold=fold) for day in (today, today + _DAY) for fold in (0, 1))
    return min(moment for moment in moments if moment > after)


class Hours(msgspec.Struct, frozen=True):
    """Hours of every day, such as 22:00-07:00."""

    begin: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Errors: UsageError."""
        begin, dash, end = text.partition("-")
        if not dash:
            raise UsageError(f"{text!r}: write two times of day, such as 22:00-07:00")
        hours = cls(parse_time(begin), parse_time(end))
        if hours.begin == hours.end:
            raise UsageError(f"{text!r} begins and ends at one time; leave it out to work all day")
        return hours

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"

    def end_after(self, now: datetime) -> datetime | None:
        """When the hours end that it is now; None outside of them."""
        return next((end for begin, end in self._around(now) if begin <= now < end), None)

    def next_begin(self, now: datetime) -> datetime:
        return next(begin for begin, end in self._around(now) if begin > now and end > begin)

    def _around(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Of yesterday and the days to come, which may be without them where the clock is set forward."""
        today = now.astimezone().date()
        for day in (today + number * _DAY for number in range(-1, 3)):
            last = day + _DAY if self.end <= self.begin else day
            yield _moment(day, self.begin), _moment(last, self.end)


def _moment(day: date, at: time, *, fold: int = 0) -> datetime:
    """When this host's clock shows that time or, where it is set forward past it, a later one at once.

    `fold`: 1 for the second of two such moments, where the clock is set back.
    """
    shown = datetime.combine(day, at)
    moment = shown.replace(fold=fold).astimezone(UTC)
    if moment.astimezone().replace(tzinfo=None) == shown:
        return moment
    first, last = sorted(shown.replace(fold=fold).astimezone(UTC) for fold in (0, 1))

    def is_set(minutes: int) -> bool:
        return (first + _MINUTE * minutes).astimezone().utcoffset() == last.astimezone().utcoffset()

    return first + _MINUTE * bisect_left(range((last - first) // _MINUTE), True, key=is_set)
