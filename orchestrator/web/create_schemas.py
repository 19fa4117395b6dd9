"""What the page's form sends, what it is offered, and what it is told of a batch before that is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from orchestrator.web.batch_schemas import Asking, BatchRequest, Webhooks, Word

UPLOAD = r"^[0-9a-f]{64}\.(png|jpg|webp|gif)$"
"""What an uploaded image goes by: the SHA-256 of its bytes, and its kind."""
TABLE = r"^[0-9a-f]{64}\.(csv|xlsx)$"
"""What an uploaded table goes by."""
Upload = Annotated[str, StringConstraints(pattern=UPLOAD)]
MOST_IMAGES = 500
"""Of one request."""


class Lora(Asking):
    """A LoRA as the server lists it."""

    name: Word
    strength: Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)] = 1.0


class Axis(Asking):
    """One parameter, and the values that are tried; several axes are crossed."""

    parameter: Word
    values: Annotated[list[str | int | float], Field(min_length=1, max_length=1000)]


class CreateRequest(BatchRequest):
    """As a `BatchRequest`, with what the command line takes beyond it."""

    prompt: str = ""
    """Of any length. Empty only with a table."""
    batchCount: Annotated[int, Field(json_schema_extra={"minimum": 1, "maximum": 999})]
    """Of each prompt."""
    severalPrompts: bool = False
    """Whether each line of `prompt` is one; those that begin with # are comments."""
    dynamic: bool = False
    """Whether `{a|b}` and `__wildcards__` in texts are expanded."""
    image: Upload | None = None
    """An `upload`, for a template that takes an image; without it, the one that the template names."""
    images: list[Upload] = Field(default=[], max_length=MOST_IMAGES)
    """Several: each prompt is made from each of them."""
    table: Annotated[str, StringConstraints(pattern=TABLE)] | None = None
    """A table of prompts, as `POST /api/tables` calls it."""
    loras: list[Lora] = Field(default=[], max_length=50)
    axes: list[Axis] = Field(default=[], max_length=10)


class CreateBatch(Asking):
    """`state`, `notify`: as in `StartBatch`."""

    batchRequest: CreateRequest
    state: Annotated[int, Field(ge=0)] = 0
    notify: Webhooks = Field(default=[])


class Uploaded(BaseModel):
    """An image that batches of this state may be made from."""

    upload: str
    """What it goes by in a `CreateRequest`."""


class Column(BaseModel):
    """A column of a table."""

    title: str
    binds: str | None
    """What it sets: a name or NODE.INPUT; None for one without a heading."""


class Table(BaseModel):
    """A table whose rows are prompts."""

    table: str
    """What it goes by in a `CreateRequest`."""
    columns: list[Column]
    rows: int
    prompts: list[str]
    """The first few."""
    notes: list[str]


class Forecast(BaseModel):
    """What a request would make. Nothing is added."""

    prompts: int
    """Before variations and axes."""
    cells: int
    """Combinations of the axes' values."""
    images: int
    expansions: list[str]
    """Of dynamic prompts: what they may become, as examples."""
    seconds: float | None
    """Until the last of them is done, with all that is queued before it; None where no pace is known."""
    secondsPerImage: float | None
    notes: list[str]


class ImageSettings(BaseModel):
    """What an image was made with, as far as the form has a place for it."""

    prompt: str | None = None
    negative: str | None = None
    model: str | None = None
    loras: list[Lora] = []
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    seed: int | None = None
    template: str | None = None
    """Where it is one that its state may use, and not the state's own."""
    state: int | None = None
    """Whose image it is; None for a file."""


class Server(BaseModel):
    """Whether ComfyUI answers."""

    reachable: bool
    message: str | None = None


class TemplateChoice(BaseModel):
    """A template for somebody who chooses one."""

    name: str
    kind: Literal["text", "image", "other"]
    """What it makes images from: a text, an image (and a text), or neither with a model."""
    purpose: str


class ProfileChoice(BaseModel):
    """A profile, and what it sets."""

    name: str
    description: str
    sets: dict[str, Any]


class Parameter(BaseModel):
    """One that an axis may try several values of."""

    name: str
    default: Any
    choices: list[str]
    """None: any value of its kind."""


class Options(BaseModel):
    """What the form offers."""

    server: Server
    templates: list[str]
    """Those that the form can fill in."""
    templateChoices: list[TemplateChoice]
    """The same, with what they are for."""
    default: str | None
    """The state's own template, if it is among them: what is used where a request names none."""
    template: str | None
    """The one that the rest is about; None where there is none."""
    takes: list[str]
    """The bindings of this template; `lora` where one can be added to it."""
    needsImage: bool
    """Whether it takes an image, and names none that its server has."""
    models: list[str]
    loras: list[str]
    samplers: list[str]
    schedulers: list[str]
    profiles: list[str]
    profileChoices: list[ProfileChoice]
    defaults: dict[str, Any]
    """What the template itself says, by binding."""
    parameters: list[Parameter]
    """What axes may be of."""
