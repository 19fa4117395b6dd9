"""What a benchmark gives: a figure with one value a round, and the target that it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Interval = tuple[float, float]
"""Begin and end, in seconds."""


@dataclass(frozen=True)
class Target:
    """What must be reached. `at most` and `at least` hold for the median, `exactly` for every value."""

    kind: Literal["at most", "at least", "exactly", "shown"]
    value: float = 0.0

    def reached_by(self, values: Sequence[float]) -> bool | None:
        """None where nothing is asked for."""
        match self.kind:
            case "at most":
                return statistics.median(values) <= self.value
            case "at least":
                return statistics.median(values) >= self.value
            case "exactly":
                return all(value == self.value for value in values)
            case "shown":
                return None

    def __str__(self) -> str:
        sign = {"at most": "≤ ", "at least": "≥ ", "exactly": "= "}.get(self.kind)
        return f"{sign}{self.value:g}" if sign else "shown"


SHOWN = Target("shown")


@dataclass(frozen=True)
class Figure:
    """One measure: its values, one a round, in order."""

    measure: str
    values: tuple[float, ...]
    target: Target
    unit: str = ""
    """Empty for a ratio, a share or a count."""
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What the values were worked out from, one a round, by a name that ends in its unit."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def reached(self) -> bool | None:
        return self.target.reached_by(self.values)


def ratio(
    measure: str,
    over: Mapping[str, Sequence[float]],
    *,
    target: Target,
) -> Figure:
    """The first of the two parts ÷ the second, round by round. Errors: ValueError where they are not as long."""
    (above, below) = over.values()
    values = tuple(one / other for one, other in zip(above, below, strict=True))
    return Figure(measure, values, target, parts={name: tuple(part) for name, part in over.items()})


def busy_share(intervals: Iterable[Interval]) -> float:
    """The time in which anything ran ÷ the time from the first begin to the last end; overlaps count once.

    Errors: ValueError where nothing ran, or for no time at all.
    """
    ordered = sorted(intervals)
    if not ordered:
        raise ValueError("nothing ran")
    first, busy, until = ordered[0][0], 0.0, ordered[0][0]
    for begin, end in ordered:
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    if until <= first:
        raise ValueError("what ran took no time")
    return busy / (until - first)
