"""What the JSON API takes and answers, by the field names of the browser's contract."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from orchestrator.batches.standing import BatchStatus
from orchestrator.outputs.containers import Kind

SEED = Field(ge=0, le=2**64 - 1)
Word = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Webhooks = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=2000)]], Field(max_length=5)]
"""Addresses of webhooks."""


class Asking(BaseModel):
    """What a caller sends: unknown fields are mistakes, and `"5"` is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class BaseParameters(Asking):
    """What all pictures of a batch have in common; what is left out is the template's or the profile's."""

    steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cfg: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    width: Annotated[int, Field(ge=16, le=16_384)] | None = None
    height: Annotated[int, Field(ge=16, le=16_384)] | None = None
    sampler: Word | None = None
    scheduler: Word | None = None
    negative: Annotated[str, Field(max_length=10_000)] | None = None
    template: Word | None = None
    """The name of a shipped workflow; without it, the state's own."""
    profile: Word | None = None


class BatchRequest(Asking):
    """One prompt, and how many variations of it."""

    # These two are held against their bounds in `starting`, in the words of the form.
    prompt: Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": 500})]
    batchCount: Annotated[int, Field(json_schema_extra={"minimum": 2, "maximum": 20})]
    seedMode: Literal["random", "incremental"] = "random"
    baseSeed: Annotated[int, SEED] | None = None
    """Of the first picture, with `incremental`; random without it."""
    model: Word | None = None
    """Without it, the template's own."""
    baseParameters: BaseParameters = BaseParameters()


class StartBatch(Asking):
    """`state`: which of the states that `burst serve` was started with, from 0."""

    batchRequest: BatchRequest
    state: Annotated[int, Field(ge=0)] = 0
    notify: Webhooks = Field(default=[])
    """Called when the batch ends; of an origin that `burst serve --allow-notify` names."""


class Started(BaseModel):
    """A batch was queued. Its pictures are rendered whether or not anybody looks on."""

    batchId: str
    queuedImages: int
    estimatedTime: float
    """Seconds until its last picture; 0 where no pace is known yet."""
    estimateKnown: bool


class BatchName(BaseModel):
    """A batch by its id, and by the name that it was given, if any."""

    batchId: str
    name: str | None


class SetAsideRecipe(BaseModel):
    """A recipe that the burst at work, or else the last one, could not use. Its items wait, and nobody is charged."""

    recipe: str | None
    """Its id; None for what items without a recipe are made with."""
    workflow: str
    """Where its workflow came from."""
    reason: str
    """Why it cannot be used, and what to do about that."""
    output: str | None
    """The output directory that cannot be written to, where that is why; its items go on once it can."""
    items: int
    """How many pending items wait for it."""
    batches: list[BatchName]
    """The batches that they belong to."""
    next: str
    """The command that gives them another recipe, with what there is to fill in."""


class Image(BaseModel):
    """One picture of a batch, or the place of one that is not there yet."""

    image: str
    """Its name in addresses."""
    number: int
    """Of its prompt in the batch, from 1."""
    status: Literal["pending", "submitted", "completed", "failed", "cancelled"]
    seed: int | None = None
    kind: Kind | None = None
    """None while it is not there."""
    differs: list[str] = []
    """What tells it from the others but its seed: values of a sweep, its prompt among several, those of its row."""
    thumbnail: str | None = None
    url: str | None = None
    error: str | None = None
    attempt: int = 1
    """Which one this is, or would be: more than 1 where others failed."""
    waitsFor: str | None = None
    """The item that it is made from, while that is not completed."""
    favorite: bool = False
    tags: list[str] = []
    """Of its prompt."""


class BatchProgress(BaseModel):
    """Counts are of prompts, of which each makes one picture unless its batch size says otherwise."""

    batchId: str
    totalImages: int
    completedImages: int
    failedImages: list[int]
    currentImage: int | None
    """That is being rendered, as far as it is known; not one that waits at the server."""
    status: BatchStatus
    thumbnails: list[str]


class RunningImage(BaseModel):
    """An image that a server renders at the moment."""

    number: int
    server: str
    node: str | None
    """The title of the node that runs; null where the server does not say."""
    loads: bool
    """The node loads a model."""
    step: int | None
    steps: int | None
    """Of this node; null where it has no steps."""
    percent: int | None
    """Of this node's steps."""
    seconds: float
    """How long it has been running."""
    preview: str | None
    """Address of the latest image that the server showed of it."""


class Progress(BaseModel):
    """How a batch stands."""

    progress: BatchProgress
    thumbnails: list[str]
    images: list[Image]
    madeImages: int | None
    """Finished images, of which a prompt may make several; null for a large batch that has not ended."""
    estimatedSecondsRemaining: float | None
    name: str | None
    prompt: str
    title: str
    """Its prompt; of several, the first few."""
    isRepeatable: bool
    """Whether it can be made again with other seeds: it has one prompt, and no sweep."""
    axes: list[str]
    """What it sweeps: then it has a grid."""
    parameters: dict[str, Any]
    """What was asked for."""
    effectiveParameters: dict[str, Any]
    """What all of its images are made with: as asked for, else as the template has it."""
    directory: str
    message: str | None
    """Why it does not go on, where it does not."""
    isWaiting: bool
    """For servers, of which none does anything at the moment."""
    queuedBehind: int | None
    """How many images are rendered before any of it, as far as that is known; null while one of it is rendered."""
    running: list[RunningImage]
    """What is being rendered of it, as far as it is known."""
    setAside: list[SetAsideRecipe]
    """Recipes of its pending items that the last burst could not use; `items` are those of this batch."""


class LargeBatchProgress(Progress):
    """How a batch of more than 200 prompts stands.

    `images` and `thumbnails` are those of at most 200 prompts around the one that is being made, `failedImages` the
    first 200 that failed. `GET /api/batches/{batchId}?from=…&count=…` has all others.
    """

    firstImage: int
    """The number of the first prompt in `images`."""
    failedTotal: int
    """How many failed."""


class CompletedBatch(BaseModel):
    """A batch with all that it is."""

    batchId: str
    name: str | None
    prompt: str
    images: list[Image]
    parameters: dict[str, Any]
    createdAt: datetime
    completedAt: datetime | None
    status: BatchStatus
    totalImages: int
    completedImages: int
    failedImages: list[int]


class BatchPart(CompletedBatch):
    """Some of a batch's images, in its order. `failedImages` are those among them."""

    next: int | None
    """To go on `from`; None where these are the last ones."""


class Cancelled(BaseModel):
    """Pictures that are finished stay."""

    cancelled: Literal[True] = True
    completedImages: int


class Problem(BaseModel):
    """What was wrong, and with which field of the request."""

    kind: str
    """For programs: the class of the error in `orchestrator.errors`, as `burst … --json` names it, such as
    `UsageError`, `ServerDown` or `RequestConflict`; of what the API itself refuses a kind of its own, such as
    `NotFound`. All of them stand in `burst commands --json`, and none is ever called otherwise."""
    message: str
    field: str | None = None


class ErrorAnswer(BaseModel):
    """Every error's body."""

    error: Problem
