"""How one burst went."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Literal, Protocol

import msgspec

from state.item import UtcTime

Ending = Literal["done", "deadline", "stopped", "error", "killed"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""What can be taken from a date; a damaged record may say more, and is passed over then."""


class SetAsideRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recipe that a burst did not use, because it could not be used; its items stayed as they were."""

    recipe: str | None = None
    """Its id; None for the default of items without a recipe."""
    template: str | None = None
    """The template that records of items without a recipe name, where they do."""
    name: str
    """Where its workflow came from."""
    reason: str
    """Why, and what to do about it."""
    output: str | None = None
    """The output root that could not be used; then what is submitted waits too."""


class BurstRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a burst went. `killed` ones never wrote their own record: the next burst did, from holder.json."""

    burst: str
    started_at: UtcTime
    ended_at: UtcTime
    ended: Ending
    size: int
    completed: int = 0
    failed: int = 0
    recovered: int = 0
    seconds: Seconds = 0.0
    """Length of the burst."""
    alive_seconds: Seconds | None = None
    """Age of the run, one process that may hold several bursts, when this one ended: what a watchdog counts."""
    signal: str | None = None
    """`SIGTERM` or `SIGINT`, where one of them stopped it."""
    seconds_per_item: Seconds | None = None
    """Between two completions on the server, measured in this burst."""
    reason: str | None = None
    host: str | None = None
    """Where it ran."""
    set_aside: tuple[SetAsideRecord, ...] = ()


MEMORY_RECORDS = 500
"""What pacing looks at. A run of many short bursts writes dozens; a watchdog is to be remembered over many runs."""


class BurstLog(Protocol):
    """The bursts of a state. Append-only; only the holder of its lease appends."""

    def append(self, record: BurstRecord) -> None:
        """Durable on return. Errors: DiskFull."""

    def read(self, *, last: int = MEMORY_RECORDS) -> list[BurstRecord]:
        """The last records, oldest first, at most so many; the cost does not grow with their number."""

    def stamp(self) -> Hashable:
        """Another one after each append; None where there is no record yet."""
