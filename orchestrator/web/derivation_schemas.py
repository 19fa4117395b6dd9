"""What the calls take and answer that make further images from those that are there."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from orchestrator.batches.spec import LARGEST_COUNT
from orchestrator.web.batch_schemas import Asking, Word
from orchestrator.web.chosen_schemas import ImageRef

MOST_SOURCES = 1_000


class MakeVariations(Asking):
    """More images like one, as a new batch."""

    count: Annotated[int, Field(ge=1, le=LARGEST_COUNT)] = 4
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """How much is changed, where they are to start from the image itself; without it, from other seeds alone."""


class AddStage(Asking):
    """A batch that is made from images of one state, one of each."""

    images: Annotated[list[ImageRef], Field(min_length=1, max_length=MOST_SOURCES)]
    stage: Word
    """The `id` of a stage, of those that `listDerivations` has."""
    model: Word | None = None
    """One of the stage's `models`; without it, the one that its workflow names."""


class RetriedBatch(BaseModel):
    """Items that are due again."""

    items: list[str]
    notes: list[str]
    """Why others are not: what they are made from failed or was cancelled itself."""


class Possible(BaseModel):
    """Whether something can be done, and why not."""

    possible: bool
    why: str | None = None
    """None where it can."""


class FromImage(Possible):
    """Variations that start from the image itself."""

    template: str | None
    """The workflow that makes them; None where there is none."""
    strength: float
    """What that workflow takes where nobody says any."""


class Stage(Possible):
    """A workflow that takes an image."""

    id: str
    name: str
    """Where the workflow came from: the name of a shipped one, or a path."""
    purpose: str | None
    """Of a shipped one."""
    upscales: bool
    """Whether it makes images larger."""
    models: list[str]
    """What the servers offer for the model that it takes, its workflow's own first; empty where it takes none."""


class Derivations(BaseModel):
    """What can be made from an image."""

    variations: Possible
    """Of the same prompt and settings, with other seeds."""
    fromImage: FromImage
    stages: list[Stage]
    """The state's own workflows, and the shipped ones, that take such a file."""
