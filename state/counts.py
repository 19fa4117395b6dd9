"""How many items have each status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypedDict

import msgspec

from state.item import Item, Status


class BatchFigures(msgspec.Struct, frozen=True):
    """Figures about the items of one batch at one moment."""

    counts: Counts
    due: int
    """How many of its items are due: pending, and waiting for no other item."""
    due_up_to: int
    """How many items of the state are due up to the last due one of the batch; 0 if none of it is due."""
    recipes: tuple[str | None, ...]
    """Those of its items."""
    completed_at: datetime | None
    """When the last of its items was completed."""
    mean_seconds: float | None
    """Rendering time of its completed items, as far as it is known."""
    servers: tuple[str, ...]
    """The names of the servers that rendered these."""


class CountsDocument(TypedDict):
    """How many items have each status."""

    pending: int
    submitted: int
    completed: int
    failed: int
    cancelled: int


_STATUSES = tuple(Status)


class Counts(Mapping[Status, int]):
    """Number of items by status, immutable. Holds every status, in the order of `Status`."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[Status, int] | None = None) -> None:
        """A status that `counts` lacks is 0."""
        given = counts or {}
        self._counts = {status: given.get(status, 0) for status in _STATUSES}

    @classmethod
    def of(cls, items: Iterable[Item]) -> Counts:
        return cls(Counter(item.status for item in items))

    def __getitem__(self, status: Status) -> int:
        return self._counts[status]

    def __iter__(self) -> Iterator[Status]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        return f"Counts({self.as_text()})"

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    @property
    def pending(self) -> int:
        return self._counts[Status.PENDING]

    @property
    def submitted(self) -> int:
        return self._counts[Status.SUBMITTED]

    @property
    def completed(self) -> int:
        return self._counts[Status.COMPLETED]

    @property
    def failed(self) -> int:
        return self._counts[Status.FAILED]

    @property
    def cancelled(self) -> int:
        return self._counts[Status.CANCELLED]

    @property
    def remaining(self) -> int:
        """Items that are pending or submitted."""
        return self.pending + self.submitted

    def as_json(self) -> CountsDocument:
        """The count of every status, by its name."""
        return {
            "pending": self.pending,
            "submitted": self.submitted,
            "completed": self.completed,
            "failed": self.failed,
            "cancelled": self.cancelled,
        }

    def as_text(self, *, without: Collection[Status] = ()) -> str:
        """`3 pending, 1 failed`: the counts that are not 0."""
        shown = (status for status in self._counts if status not in without)
        return ", ".join(f"{self._counts[status]} {status}" for status in shown if self._counts[status])
