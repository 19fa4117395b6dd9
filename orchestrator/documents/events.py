"""What `burst watch --json` prints: one object a line for each thing that happens to a state."""

from __future__ import annotations

from typing import Literal, TypedDict

EventType = Literal[
    "item.submitted",
    "item.completed",
    "item.failed",
    "batch.done",
    "batch.failed",
    "batch.cancelled",
    "run.began",
    "run.ended",
    "server.away",
    "server.back",
]


class EventFileDocument(TypedDict):
    """A file of a completed item."""

    path: str
    """Relative to the output directory."""
    bytes: int
    sha256: str


class EventItemDocument(TypedDict):
    """The item that an event is about."""

    key: str
    """As `burst retry` takes it."""
    batch: str | None
    """The id of its batch, if it has one."""
    server: str | None
    """The name of the server."""
    prompt_id: str | None
    """The prompt's id on that server."""
    seconds: float | None
    """What it took to render; null where it is not completed, or nobody knows."""
    files: list[EventFileDocument]
    """What it made; empty where it is not completed."""
    error: str | None
    """Why it failed."""


class EventBatchDocument(TypedDict):
    """The batch that has ended."""

    id: str
    name: str | None
    """Its name, if it has one."""
    event: str
    """The id of this end, as webhooks get it."""
    directory: str
    """Its directory below the output directory."""
    completed: int
    failed: int
    cancelled: int


class EventRunDocument(TypedDict):
    """The run (one process) that began or ended."""

    burst: str
    """The id of its first burst."""
    host: str | None
    pid: int | None
    ended: str | None
    """As in `burst.log/2`; null where it began."""
    reason: str | None
    """Why, where that is known."""
    completed: int
    """Items that it completed; 0 where it began, and of a killed one."""
    failed: int


class EventServerDocument(TypedDict):
    """A server that does not answer a run, or does again."""

    name: str
    reason: str | None
    """What was met; null where it answers again."""


class EventDocument(TypedDict):
    """One thing that happened."""

    schema: Literal["burst.event/1"]
    id: str
    """The same whenever it is told; `--since` takes it. In the order of time."""
    at: str
    """When it happened (ISO 8601)."""
    type: EventType
    item: EventItemDocument | None
    """Of `item.*`; null otherwise, as the three below."""
    batch: EventBatchDocument | None
    run: EventRunDocument | None
    server: EventServerDocument | None
