"""What the calls about chosen images take and answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from orchestrator.web.batch_schemas import Asking

MOST_IMAGES = 10_000
"""In one call."""
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=8000)]


class ImageRef(Asking):
    """An image, by the ids in its addresses."""

    batchId: Id
    image: Id
    version: str | None = None
    """The one that was shown: another image that has its place by now is not meant."""


class ChosenImages(Asking):
    """Images of any batches and states."""

    images: Annotated[list[ImageRef], Field(min_length=1, max_length=MOST_IMAGES)]


class MarkFavorites(ChosenImages):
    """`favorite`: whether they are to be."""

    favorite: bool


class MarkTags(ChosenImages):
    """Tags to give and to take off; a tag that is in both is taken off. They are those of the images' prompts."""

    add: list[Tag] = Field(default_factory=list, max_length=100)
    remove: list[Tag] = Field(default_factory=list, max_length=100)


class Marks(BaseModel):
    """The marks of one image, as they are now."""

    batchId: str
    image: str
    favorite: bool
    tags: list[str]


class Marked(BaseModel):
    """What was marked."""

    changed: int
    """How many of them are marked otherwise than before."""
    images: list[Marks]
    """All that are there, in the order of the call's batches."""
    missing: list[ImageRef]
    """Gone since, or other images by now: nothing was noted of these."""
    readOnly: list[ImageRef]
    """Of batches that no state knows any more: nothing can be noted of these."""


class FoundImages(BaseModel):
    """Images that match, in the order of the search; `total` counts all that do."""

    total: int
    images: list[ImageRef]


class InTrash(BaseModel):
    """Files in the trash of a state, as `POST /api/states/{state}/trash/restore` takes them."""

    state: int
    trash: list[str]


class DeletedImages(BaseModel):
    """What was moved to the trash."""

    deleted: int
    """How many images."""
    bytes: int
    kept: list[str]
    """Files that stay, and why: not as recorded any more, or another item's too, say."""
    missing: list[ImageRef]
    readOnly: list[ImageRef]
    """Of batches that no state knows any more: they stay."""
    undo: list[InTrash]


class Download(BaseModel):
    """A ZIP that is made when it is fetched."""

    url: str
    images: int
    bytes: int
    """Of the files, as far as that is on record."""
    missing: list[ImageRef]
