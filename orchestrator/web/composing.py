"""From the page's form to a request of `burst generate`: lists, tables, images, axes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from orchestrator.batches.sources import STANDARD_INPUT
from orchestrator.batches.spec import LARGEST_COUNT, BatchSpec, SeedMode
from orchestrator.batches.text_axis import fitted_axis, spelled_axis
from orchestrator.errors import UsageError
from orchestrator.web.batch_schemas import BatchRequest
from orchestrator.web.create_schemas import Axis, CreateRequest
from orchestrator.web.error_responses import Refused
from orchestrator.web.field_names import field_of
from orchestrator.web.states import WatchedState
from orchestrator.web.uploads import uploaded, uploaded_table

_SETS = ("steps", "cfg", "width", "height", "sampler", "scheduler", "negative")
_SHOWN_SOURCE = "standard input"


@dataclass(frozen=True)
class Composed:
    """What `generate` is called with."""

    spec: BatchSpec
    data: bytes | None = None
    """On its standard input."""
    takes_paths: bool = True
    """Whether `data` is ours, so that it may name files."""

    @property
    def stdin(self) -> BinaryIO | None:
        return io.BytesIO(self.data) if self.data is not None else None


def composed(state: WatchedState, request: BatchRequest) -> Composed:
    """Errors: Refused; UsageError for axes."""
    if not isinstance(request, CreateRequest):
        return Composed(replace(_common(request), prompt=request.prompt))
    _check(request)
    spec = replace(
        _common(request),
        seed_mode=_seed_mode(request),
        loras=tuple(f"{lora.name}:{lora.strength:g}" for lora in request.loras),
        dynamic=request.dynamic,
        literal=not request.dynamic,
        sweeps=_sweeps(request.axes),
    )
    images = [*([request.image] if request.image is not None else []), *request.images]
    if request.table is not None:
        data = uploaded_table(state, request.table)
        is_workbook = request.table.endswith(".xlsx")
        spec = replace(spec, xlsx=STANDARD_INPUT) if is_workbook else replace(spec, csv=STANDARD_INPUT)
        return Composed(spec, data, takes_paths=False)
    if images:
        paths = [str(uploaded(state, image)) for image in images]
        return _of_rows(
            spec, [{"prompt": text, "image": path} for text in filter(None, prompts_of(request)) for path in paths]
        )
    if request.severalPrompts:
        # Blank lines stay, so that the numbers of lines in messages are those of the form.
        lines = (json.dumps(prompt) if prompt else "" for prompt in prompts_of(request))
        return Composed(replace(spec, jsonl=STANDARD_INPUT), "\n".join(lines).encode())
    return Composed(replace(spec, prompt=request.prompt))


def with_files(spec: BatchSpec, prompt: str, files: Mapping[str, str]) -> Composed:
    """One prompt, made from these files of this host, by binding."""
    return _of_rows(spec, [{"prompt": prompt, **files}]) if files else Composed(replace(spec, prompt=prompt))


def prompts_of(request: CreateRequest) -> list[str]:
    """By line, as a file of `--prompts-file` has them; comments are empty texts."""
    if not request.severalPrompts:
        return [request.prompt]
    lines = [line.strip() for line in request.prompt.splitlines()]
    return [
        "" if line.startswith("#") else line.removeprefix("\\") if line.startswith("\\#") else line for line in lines
    ]


def in_page_words(error: UsageError, request: BatchRequest) -> UsageError | Refused:
    """The error at the field that it belongs to. A list that the page sent has no file that anybody would know."""
    if field_of(error) is not None or not isinstance(request, CreateRequest):
        return error
    message = str(error)
    if request.table is not None and _SHOWN_SOURCE in message:
        return Refused(400, message.replace(f"{_SHOWN_SOURCE} ", "").replace(_SHOWN_SOURCE, "the table"), "table")
    if _SHOWN_SOURCE in message:
        return Refused(400, message.replace(f"{_SHOWN_SOURCE} ", ""), "prompt")
    values = {str(value) for axis in request.axes for value in axis.values if isinstance(value, str)}
    if any(f"axis {spelled_axis(axis.parameter)}" in message for axis in request.axes) or any(
        f'"{value}"' in message for value in values
    ):
        return Refused(400, message, "axes")
    if any(f'"{lora.name}"' in message for lora in request.loras):
        return Refused(400, message, "loras")
    return error


def _of_rows(spec: BatchSpec, rows: Iterable[Mapping[str, str]]) -> Composed:
    return Composed(replace(spec, jsonl=STANDARD_INPUT), "\n".join(map(json.dumps, rows)).encode())


def _common(request: BatchRequest) -> BatchSpec:
    base, is_random = request.baseParameters, request.seedMode == "random"
    return BatchSpec(
        count=request.batchCount,
        seed=None if is_random else request.baseSeed,
        seed_mode="random" if is_random else "increment",
        model=request.model,
        sets={name: value for name in _SETS if (value := getattr(base, name)) is not None},
        profile=base.profile,
        layout="gallery",
        on_error="continue",
        literal=True,
    )


def _seed_mode(request: CreateRequest) -> SeedMode:
    """An axis of seeds says them all."""
    return "random" if request.seedMode == "random" and not _sweeps_seeds(request) else "increment"


def _sweeps_seeds(request: CreateRequest) -> bool:
    return any(spelled_axis(axis.parameter) == "seed" for axis in request.axes)


def _sweeps(axes: Sequence[Axis]) -> dict[str, tuple[object, ...]]:
    """Errors: UsageError, Refused."""
    found: dict[str, tuple[object, ...]] = {}
    for axis in axes:
        name = spelled_axis(axis.parameter)
        if name in found:
            raise Refused(400, f"{name} is there twice; take one out", "axes")
        try:
            found[name] = tuple(fitted_axis(name, value) for value in axis.values)
        except UsageError as error:
            raise Refused(400, f"{name}: {error}", "axes") from error
    return found


def _check(request: CreateRequest) -> None:
    """Errors: Refused, in the words of the form."""
    if not 1 <= request.batchCount <= LARGEST_COUNT:
        raise Refused(400, f"Number of images is a whole number from 1 to {LARGEST_COUNT}", "batchCount")
    if request.batchCount > 1 and _sweeps_seeds(request):
        raise Refused(400, "An axis of seeds sets every seed; set the number of images to 1", "batchCount")
    if request.table is None and not any(prompt.strip() for prompt in prompts_of(request)):
        raise Refused(400, "Prompt cannot be empty", "prompt")
    if request.table is not None and request.prompt.strip():
        raise Refused(400, "The prompts come from the table; remove one of them", "prompt")
    if request.table is not None and (request.image is not None or request.images):
        raise Refused(400, "Images beside a table are not taken; remove one of them", "image")
