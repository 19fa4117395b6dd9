"""What the queue's calls answer: what is rendered, what comes next, and how each state stands."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from orchestrator.priorities import Level
from orchestrator.web.batch_schemas import Asking
from state.item import Priority


class RenderingItem(BaseModel):
    """An item that a server renders at the moment."""

    state: int
    item: str
    """Its key."""
    batchId: str | None
    batchName: str | None
    prompt: str | None
    number: int | None
    """Of the item in its batch, from 1; null for an item without a batch."""
    server: str
    since: datetime
    node: str | None
    """The title of the node that runs; null where the server does not say."""
    loads: bool
    """The node loads a model."""
    step: int | None
    steps: int | None
    """Of this node; null where it has no steps."""
    percent: int | None
    """Of this node's steps."""
    preview: str | None
    """Address of the latest image that the server showed of it."""


class QueuedWork(BaseModel):
    """A batch of which items remain; or all the items of a state that are in no batch."""

    state: int
    batchId: str | None
    """Null: the items that are in no batch."""
    name: str | None
    prompt: str | None
    """The first one."""
    total: int
    completed: int
    failed: int
    submitted: int
    pending: int
    priority: Priority | None
    """Of its first item that remains; null for items without a batch."""


class QueueState(BaseModel):
    """How a state stands, in short."""

    state: int
    path: str
    working: bool
    paused: datetime | None
    remaining: int
    ahead: int
    """Images of others that its servers render before the first of it, as far as a run at work has counted them."""
    completed: int
    failed: int
    secondsLeft: float | None
    """Until all that can be rendered is done; null where no pace is known."""
    message: str | None
    """Why it does not go on, where it does not."""
    away: bool
    """Its database does not answer: nothing else is known of it, and all counts are 0."""
    freeBytes: int | None
    """On the disk of its output directory; null where that is object storage, or is not there."""


class Queue(BaseModel):
    """Of all states that the front end was started with."""

    rendering: list[RenderingItem]
    next: list[QueuedWork]
    """What remains, by priority; of one priority what servers have, then what is due first.

    The first hundred of each state."""
    nextTotal: int
    """How many there are."""
    states: list[QueueState]


class MoveBatch(Asking):
    """`priority`: as `burst priority` takes it; `first` is urgent, and before all other urgent ones."""

    priority: Level


class Moved(BaseModel):
    """What became of a batch's priority."""

    priority: Priority
    """The one that it has now."""
    changed: int
    """How many items."""
    notes: list[str]


class RunLog(BaseModel):
    """What the last run that the front end started said, its last lines."""

    lines: list[str]
