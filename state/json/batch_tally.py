"""Figures about the items of one batch, updated with every change of an item."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

from state.item import PRIORITIES, Priority, Record, Status, UtcTime
from state.json.places import Order, Pending


class Counted(msgspec.Struct, frozen=True, gc=False):
    """The fields of a record that a tally counts."""

    status: Status
    recipe: str | None = None
    server: str | None = None
    completed_at: UtcTime | None = None
    seconds: float | None = None


decode_counted = msgspec.json.Decoder(Counted).decode


class BatchTally:
    """Sums over the records of one batch. Each operation costs the same however many there are."""

    def __init__(self) -> None:
        self.recipes: Counter[str | None] = Counter()
        self.servers: Counter[str] = Counter()
        """Of the completed items whose rendering time is known."""
        self.seconds = 0.0
        """Their rendering times, summed."""
        self.latest: datetime | None = None
        """When the last of them was completed."""
        self.is_latest_known = True
        """False once that item has changed: `latest` must be computed again."""
        self.due: dict[Priority, Pending] = {}
        """Its due items."""

    def add(self, place: int, order: Order, record: Record | Counted, *, waits: bool) -> None:
        """`waits`: pending, and not due."""
        self._count(record, 1)
        if record.status is Status.PENDING and not waits:
            self.make_due(place, order)
        if record.completed_at is not None and (self.latest is None or record.completed_at > self.latest):
            self.latest = record.completed_at

    def remove(self, place: int, order: Order, record: Record | Counted, *, waits: bool) -> None:
        self._count(record, -1)
        if record.status is Status.PENDING and not waits:
            self.make_wait(place, order)
        if record.completed_at is not None and record.completed_at == self.latest:
            self.is_latest_known = False

    def make_due(self, place: int, order: Order) -> None:
        self.due.setdefault(order.priority, Pending()).add(place, order.rank)

    def make_wait(self, place: int, order: Order) -> None:
        """It is not due any more."""
        self.due[order.priority].remove(place, order.rank)

    def last_due(self) -> tuple[Priority, float, int] | None:
        """Priority, rank and place of its item that is due last; None if none is due."""
        for priority in reversed(PRIORITIES):
            if priority in self.due and (last := self.due[priority].last()) is not None:
                return priority, *last
        return None

    def _count(self, record: Record | Counted, change: int) -> None:
        self.recipes[record.recipe] += change
        if record.status is Status.COMPLETED and record.seconds:
            self.seconds += change * record.seconds
            self.servers[record.server or ""] += change
