"""When runs start, and how long each may take: cron's five fields, and systemd's calendar or interval."""

from __future__ import annotations

import re
from datetime import time

import msgspec

from orchestrator.errors import UsageError
from orchestrator.hours import Hours

_INTERVAL = re.compile(r"([0-9]{1,9})\s*(s|m|min|h|d)")
_UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SHORTEST_SECONDS = 60
_LONGEST_SECONDS = 7 * 86400
_SPARE_SECONDS = 10
"""Between the end of a run and the next start: a run ends within a few seconds of its limit."""
_HOUR, _DAY = 3600, 86400
DEFAULT_SECONDS = 300


def parse_interval(text: str) -> int:
    """`2m`, `90s`, `1h`, `1d`, in seconds. Errors: UsageError."""
    found = _INTERVAL.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not an interval; write minutes or hours, such as 5m or 1h")
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]]
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise UsageError(f"{text!r}: runs can start every 1m at the most often, and every 7d at the least")
    return seconds


class Slots(msgspec.Struct, frozen=True):
    """Starts that are `every_seconds` apart, within `hours` of each day if there are any, the first at their begin."""

    every_seconds: int
    hours: Hours | None = None

    @property
    def max_seconds(self) -> int:
        """How long a run may take: it ends before the next one starts, and by the end of the hours."""
        return min(self.every_seconds, self._open_minutes * 60) - _SPARE_SECONDS

    @property
    def text(self) -> str:
        """`2m`, `1h`."""
        unit = next(unit for unit in ("d", "h", "m", "s") if self.every_seconds % _UNIT_SECONDS[unit] == 0)
        return f"{self.every_seconds // _UNIT_SECONDS[unit]}{unit}"

    def cron(self) -> str:
        """The five fields. Errors: UsageError where cron cannot start at such intervals."""
        minute, hour = self._fields()
        return f"{minute} {hour} * * *"

    def calendar(self) -> str | None:
        """systemd's `OnCalendar`; None for what is an interval from start to start (`OnUnitActiveSec`)."""
        if not self._is_regular:
            return None
        minute, hour = self._fields()
        return f"*-*-* {_calendar(hour)}:{_calendar(minute)}:00"

    @property
    def _is_regular(self) -> bool:
        """Whether the starts are at the same times every day, and cron has a way to write them."""
        return self.every_seconds % 60 == 0 and (_HOUR % self.every_seconds == 0 or self._is_of_hours)

    @property
    def _is_of_hours(self) -> bool:
        return self.every_seconds % _HOUR == 0 and _DAY % self.every_seconds == 0

    @property
    def _begin(self) -> time:
        return self.hours.begin if self.hours is not None else time()

    @property
    def _open_minutes(self) -> int:
        """Of a day."""
        if self.hours is None:
            return 24 * 60
        return (_minutes(self.hours.end) - _minutes(self.hours.begin)) % (24 * 60)

    def _fields(self) -> tuple[str, str]:
        """Cron's minutes and hours."""
        if not self._is_regular:
            raise UsageError(
                f"cron cannot start a run every {self.text}: it starts at the same minutes of each hour. Choose 1m, "
                "2m, 3m, 4m, 5m, 6m, 10m, 12m, 15m, 20m, 30m, 1h, 2h, 3h, 4h, 6h, 8h, 12h or 1d, or use systemd"
            )
        step = self.every_seconds // 60
        first = self._begin.minute % step if step < 60 else self._begin.minute
        return _minute_field(step, first), self._hour_field(step)

    def _hour_field(self, step: int) -> str:
        """The hours that have starts, at `step` minutes; in those with the first and last, some may be outside."""
        if step >= 60 and self.hours is None:
            return "*" if step == 60 else "0" if step == 24 * 60 else f"*/{step // 60}"
        starts = range(_minutes(self._begin), _minutes(self._begin) + self._open_minutes, step)
        return _ranges(sorted({start // 60 % 24 for start in starts}))


def _minute_field(step: int, first: int) -> str:
    if step == 1:
        return "*"
    if step >= 60:
        return str(first)
    return f"{first}-59/{step}" if first else f"*/{step}"


def _ranges(hours: list[int]) -> str:
    """`0-6,22-23`; `*` for all."""
    if len(hours) == 24:
        return "*"
    parts: list[list[int]] = []
    for hour in hours:
        if parts and parts[-1][-1] == hour - 1:
            parts[-1].append(hour)
        else:
            parts.append([hour])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _calendar(field: str) -> str:
    """A field of cron's as systemd writes it: `0/5` for `*/5`, `22..23` for `22-23`."""
    if field.startswith("*/"):
        return f"0/{field[2:]}"
    if "/" in field:
        span, _, step = field.partition("/")
        return f"{span.partition('-')[0]}/{step}"
    return field.replace("-", "..")


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute
