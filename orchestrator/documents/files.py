"""JSON files that lie among the images."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from orchestrator.documents.batches import EventCountsDocument
from state.item import OutputRecord


class DynamicDocument(TypedDict):
    """Texts as they were written, and what they became the item's texts by."""

    texts: dict[str, str]
    """By binding, as they were written."""
    axes: NotRequired[dict[str, str]]
    """Of sweeps over texts: the value that each put into them."""
    chosen: NotRequired[list[list[str]]]
    """Of a dynamic prompt: each choice as it was written, and what it became; one within another after it."""


class SidecarDocument(TypedDict):
    """How the images of an item were made (`--layout batch`: under `metadata/`)."""

    inputs: dict[str, Any]
    """Values that were in the prompt, by binding or by node and input."""
    schema: Literal["burst.sidecar/1"]
    template: NotRequired[str]
    """The workflow: a shipped one or a path."""
    template_fingerprint: NotRequired[str]
    """Of the workflow; absent where it would not make the same prompt again."""
    recipe: NotRequired[str]
    """The id of what it was made with."""
    batch: NotRequired[str]
    """The id of its batch."""
    index: NotRequired[int]
    """Its number in the batch, from 1."""
    server: NotRequired[str]
    """The server that rendered it."""
    seconds: NotRequired[float]
    """What it took there."""
    prompt_id: NotRequired[str]
    """The id of the prompt on the server."""
    dynamic: NotRequired[DynamicDocument]
    """What its texts came from, where they are not as they were written."""
    files: list[OutputRecord]
    """The files that were saved."""


class BatchRecipeDocument(TypedDict):
    """A recipe of a batch."""

    template: str | None
    """Where its workflow came from."""
    items: int
    """How many items of the batch are made with it."""


class BatchTotalsDocument(EventCountsDocument):
    """Items of a batch by status, and its images."""

    items: int
    pending: int
    submitted: int
    images: int


class BatchImageDocument(TypedDict):
    """One image of a batch."""

    file: str | None
    """Its file, from the output directory; null while there is none."""
    index: int | None
    """The number of its item in the batch, from 1."""
    seed: int | None
    recipe: str | None
    """The id of what it is made with."""
    status: Literal["pending", "submitted", "completed", "failed", "cancelled"]
    """Of its item."""
    seconds: float | None
    """What its item took on the server."""
    error: NotRequired[str]
    """What went wrong, where something did."""


class BatchInfoDocument(TypedDict):
    """`batch_info.json` in the directory of a batch."""

    schema: Literal["burst.batch-info/1"]
    batch: str
    """Its id."""
    name: str | None
    """Its name, if it has one."""
    created_at: str
    """When it was requested (ISO 8601)."""
    ended_at: str | None
    """When its last item ended; null while items remain."""
    template: str | None
    """The workflow of the request."""
    recipe: str | None
    """The id of the recipe of the request."""
    recipes: dict[str, BatchRecipeDocument]
    """What its items are made with, by id: several after `burst update`."""
    priority: Literal["urgent", "high", "normal", "low"]
    prompts: list[str]
    """Its prompt texts, each once."""
    seeds: list[int]
    """Its seeds, each once."""
    parameters: dict[str, Any]
    """What the request gave to all items."""
    effective_parameters: dict[str, Any]
    """What all of its images are made with: as requested, else as the workflow has it."""
    axes: dict[str, list[Any]]
    """The values of a sweep, by name."""
    totals: BatchTotalsDocument
    images_a_minute: float | None
    """Of the time that servers spent on them."""
    images: list[BatchImageDocument]
