"""What the gallery's calls answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from orchestrator.batches.standing import BatchStatus
from orchestrator.outputs.containers import Kind
from orchestrator.web.batch_schemas import Asking


class GalleryImage(BaseModel):
    """One picture among many."""

    batchId: str
    batchName: str | None
    image: str
    state: int
    kind: Kind
    thumbnail: str | None
    """Of a video, audio, 3D model or latent a frame or a tile; None for other files that no browser shows."""
    url: str
    file: str
    """Relative to the output directory."""
    version: str | None
    """Of the picture; a DELETE that names another deletes nothing."""
    prompt: str
    seed: int | None
    model: str | None
    parameters: dict[str, Any]
    """By binding, as far as they are known without opening the picture's sidecar."""
    template: str | None
    seconds: float | None
    """What the server took."""
    completedAt: datetime
    readOnly: bool
    """No state knows it: only its directory's batch_info.json does."""
    favorite: bool
    tags: list[str]
    """Of its prompt."""


class ImageDetails(GalleryImage):
    """One picture with all that is known of it, its own sidecar included."""

    path: str
    bytes: int
    sha256: str | None
    width: int | None
    height: int | None
    """Of the picture itself, in pixels; None where it is none or does not decode."""
    server: str | None
    length: float | None
    """Of a video or audio in seconds, where the file says it."""
    command: str | None
    """Makes it again."""


class IndexingNow(BaseModel):
    """How far the index is, while prompts are still to be taken in: more pictures may match."""

    done: int
    total: int


class GalleryPage(BaseModel):
    """Some of the pictures that were looked for, newest first."""

    total: int
    page: int
    pages: int
    models: list[str]
    """Of all pictures, whatever was looked for."""
    images: list[GalleryImage]
    notes: list[str]
    """Which states could not be read, and why."""
    indexing: IndexingNow | None
    """None where everything is there."""


class GalleryBatch(BaseModel):
    """A batch among many. Counts are of prompts, `pictures` of files that were looked for."""

    batchId: str
    name: str | None
    state: int
    prompt: str
    title: str
    """Its prompt; of several, the first few."""
    createdAt: datetime
    status: BatchStatus
    totalImages: int
    completedImages: int
    failedImages: int
    pictures: int
    directory: str
    template: str | None
    model: str | None
    thumbnails: list[str]
    """The first few."""
    readOnly: bool


class BatchesPage(BaseModel):
    """Some of the batches that were looked for, newest first."""

    total: int
    page: int
    pages: int
    models: list[str]
    batches: list[GalleryBatch]
    notes: list[str]
    indexing: IndexingNow | None


class Suggestion(BaseModel):
    """What may stand where the caret is."""

    text: str
    """Of the whole term, such as `model:sdxl.safetensors` or `steps`."""
    hint: str
    """An example, or how often it is there."""
    complete: bool
    """Whether the term is whole with it; if not, something has to follow."""


class Completion(BaseModel):
    """`start` and `end`: which characters of the field a suggestion replaces."""

    start: int
    end: int
    suggestions: list[Suggestion]


class Deleted(BaseModel):
    """What was moved to the trash. Paths are relative to the output directory."""

    deleted: list[str]
    bytes: int
    kept: list[str]
    """Files that are not as recorded any more, or not this batch's alone: they stay."""
    trash: list[str]
    """What the files go by in the trash: `POST /api/states/{state}/trash/restore` brings them back."""
    state: int
    """Whose trash that is."""


class TrashedImage(BaseModel):
    """An image in the trash."""

    trash: str
    """What it goes by there."""
    batchId: str | None
    batchName: str | None
    file: str
    """Where it was, relative to the output directory."""
    prompt: str
    bytes: int
    trashedAt: datetime
    thumbnail: str | None
    """None for a file that no browser shows."""


class TrashPage(BaseModel):
    """Some of the images in the trash, the last deleted first."""

    total: int
    page: int
    pages: int
    bytes: int
    """Of all files there."""
    keptDays: int
    """After so many days they are deleted for good."""
    images: list[TrashedImage]


class RestoreImages(Asking):
    """`trash`: what these files go by in the trash."""

    trash: Annotated[list[str], Field(min_length=1, max_length=10_000)]


class Restored(BaseModel):
    """What came back. Paths are relative to the output directory."""

    restored: list[str]
    kept: list[str]
    """Files that stay in the trash, and why."""
    batches: list[str]
    """Ids of deleted batches that are there again."""


class Emptied(BaseModel):
    """What was deleted for good."""

    deleted: int
    """How many files."""
    bytes: int
