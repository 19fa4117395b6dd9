"""What the feed of the start page answers: batches with their first images, what is under way first."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from orchestrator.batches.standing import BatchStatus
from orchestrator.web.batch_schemas import Image


class FeedImage(Image):
    """An image that is there."""

    version: str | None
    """Of the file; a DELETE that names another deletes nothing."""
    file: str
    """Relative to the output directory."""
    tint: str | None
    """Sixteen colors of six hexadecimal digits, four rows of four: what its thumbnail looks like from afar.

    Null until a thumbnail of it was made."""


class FeedBatch(BaseModel):
    """A batch in the feed. Counts are of prompts, of which each may make several images."""

    batchId: str
    place: str
    """In the feed: the larger, the further up. With a `~` behind it, the feed `after` it begins with this batch."""
    state: int
    stateName: str | None
    """Where the front end was started with several states."""
    name: str | None
    prompt: str
    title: str
    """Its prompt; of several, the first few."""
    createdAt: datetime
    status: BatchStatus
    totalImages: int
    completedImages: int
    failedImages: int
    submittedImages: int
    """That a server has."""
    pictures: int
    """Finished images; of a batch of which not all are in `images`, as many as its prompts should have made."""
    images: list[FeedImage]
    """The first few that are there; of a batch under way, the last few."""
    shape: float | None
    """Width of its images by their height, as far as that is known."""
    parameters: dict[str, Any]
    """What was asked for."""
    isRepeatable: bool
    """Whether it can be made again with other seeds."""
    readOnly: bool
    """No state knows it: only its directory's batch_info.json does."""


class FeedPage(BaseModel):
    """Some batches, those that were requested last first."""

    active: list[FeedBatch]
    """What is under way, the one that is rendered first; only on the first page, and a few of them."""
    activeTotal: int
    """How many there are."""
    batches: list[FeedBatch]
    """Those that `active` of the first page does not have."""
    next: str | None
    """What comes after these is asked for `after` this; null where nothing does."""
    notes: list[str]
    """Which states could not be read, and why."""
