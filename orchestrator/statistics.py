"""What the completed items say of the work: how many, how fast, how much waits."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import splitext
from typing import TYPE_CHECKING

from orchestrator.formatting import counted, in_lines, spoken_seconds
from state.counts import Counts
from state.item import Item, OutputRecord, Status
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import StatisticsDocument

_RECENT_COUNT = 100
_NO_PICTURES = frozenset({".txt", ".json"})


@dataclass(frozen=True)
class Statistics:
    """Over all items of a state, and over the last 100 that were completed."""

    pictures: int
    """Files of all completed items that are neither text nor JSON."""
    mean_seconds: float | None
    """What the server took for one of the last 100 completed items."""
    pictures_per_minute: float | None
    """At the pace of the last bursts, idle time between them left out; see `time_left.pace_of`."""
    counts: Counts

    @property
    def queue_length(self) -> int:
        """Pending and submitted items."""
        return self.counts.remaining

    def as_json(self) -> StatisticsDocument:
        return {
            "images": self.pictures,
            "images_per_minute": self.pictures_per_minute,
            "mean_seconds": self.mean_seconds,
            "queue_length": self.queue_length,
            "total_completed": self.counts.completed,
            "total_failed": self.counts.failed,
            "total_cancelled": self.counts.cancelled,
        }

    def as_text(self) -> str:
        """Two lines for a person."""
        pace = f"{self.pictures_per_minute:.1f} images a minute" if self.pictures_per_minute else "no pace known yet"
        mean = f", {spoken_seconds(self.mean_seconds)} each on the server" if self.mean_seconds is not None else ""
        return in_lines(
            [
                f"Pace: {pace}{mean}",
                f"In all: {counted(self.pictures, 'image')} of {counted(self.counts.completed)}, "
                f"{self.counts.failed} failed, {self.counts.cancelled} cancelled; queue length {self.queue_length}",
            ]
        )


def statistics_of(store: Store, *, seconds_per_item: float | None) -> Statistics:
    """The figures of an open store. `seconds_per_item` is the measured pace of the bursts."""
    completed = list(store.items(Status.COMPLETED))
    dated = ((item.completed_at, number) for number, item in enumerate(completed) if item.completed_at)
    recent = [completed[number] for _, number in heapq.nlargest(_RECENT_COUNT, dated)]
    took = [item.seconds for item in recent if item.seconds is not None]
    per_minute = None
    if seconds_per_item and recent:
        per_minute = 60.0 / seconds_per_item * _picture_count(recent) / len(recent)
    return Statistics(
        pictures=_picture_count(completed),
        mean_seconds=sum(took) / len(took) if took else None,
        pictures_per_minute=per_minute,
        counts=store.counts(),
    )


def pictures_of(item: Item) -> list[OutputRecord]:
    """Its files that are neither text nor JSON: a sidecar is none, nor is a text that the workflow shows."""
    return [output for output in item.outputs if is_picture(output)]


def is_picture(output: OutputRecord) -> bool:
    """Whether a file is neither text nor JSON, by its name."""
    return splitext(output.path)[1].lower() not in _NO_PICTURES


def _picture_count(items: Iterable[Item]) -> int:
    return sum(len(pictures_of(item)) for item in items)
