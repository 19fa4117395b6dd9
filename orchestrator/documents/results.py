"""What `burst query` and `burst export` print."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class UsedLoraDocument(TypedDict):
    """A LoRA that an image was made with."""

    name: str
    strength: float


class ImageDocument(TypedDict):
    """An image, or another file that is neither text nor JSON, and what it was made with: as its item asked for, else
    as its workflow has it; null where neither says it."""

    file: str
    """Its path or address."""
    prompt: str
    negative: str | None
    """The negative prompt."""
    model: str | None
    loras: list[UsedLoraDocument]
    seed: int | None
    sampler: str | None
    scheduler: str | None
    steps: float | None
    cfg: float | None
    denoise: float | None
    width: float | None
    """In pixels."""
    height: float | None
    inputs: dict[str, Any]
    """All that its item itself was given, by binding or NODE.INPUT: what a sweep varied is among it."""
    seconds: float | None
    """On the server, for all images of its item."""
    completed_at: str | None
    """When its item was completed (ISO 8601)."""
    bytes: int
    """Its size."""
    sha256: str
    favorite: bool
    tags: list[str]
    template: str | None
    """Where its workflow came from."""
    server: str | None
    batch: str | None
    """The id of its batch."""
    batch_name: str | None
    item: str
    """The key of its item."""


class QueryDocument(TypedDict):
    """The images that a search finds."""

    schema: Literal["burst.query/1"]
    state: str
    """The state."""
    query: str
    """The search; empty: everything."""
    images: list[ImageDocument]
    """In the order in which their items were added, with `before:` and `after:` in that of time: the last ten, with
    `--all` every one."""
    images_total: int
    """How many were found."""


class ExportDocument(TypedDict):
    """What was exported."""

    schema: Literal["burst.export/1"]
    folder: str
    """The folder."""
    images: int
    """How many images are in it now."""
    written: int
    """How many of them were copied or linked now; the others were there."""
    kept: list[str]
    """Files in it that somebody changed since: left as they are. A caption changed so is the text of its image."""
    missing: list[str]
    """Images that are not exported, because their files are not where they were recorded."""
    left_out: int
    """Files that are no images."""
    removed: int
    """Files of an earlier export whose images are no longer selected."""
