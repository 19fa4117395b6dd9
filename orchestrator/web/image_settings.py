"""What an image was made with, for the form that makes another one like it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.batches.batch_parameters import template_values
from orchestrator.batches.sidecars import read_reproduction
from orchestrator.errors import UsageError
from orchestrator.outputs.pictures import embedded_graph
from orchestrator.results.loras import loaded_loras, named_loras
from orchestrator.web.batch_start import templates_of
from orchestrator.web.create_schemas import ImageSettings, Lora
from orchestrator.web.error_responses import Refused
from orchestrator.web.gallery_entries import Entry, sidecar_of
from orchestrator.web.states import WatchedState

NONE = "This image has no settings of burst or ComfyUI in it"
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = ("prompt", "negative", "model", "sampler", "scheduler")
_WHOLE = ("width", "height", "steps", "seed")


def settings_of(entry: Entry) -> ImageSettings:
    """Of an image of a batch: what its template says, what its item does, and what its sidecar tells."""
    state, item = entry.picture.state, entry.item
    values: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    if item is not None:
        values = dict(template_values(state.placement.recipes)(item.recipe))
        inputs, _ = sidecar_of(state, item)
    found = {**values, **entry.parameters, "seed": entry.seed, **inputs}
    prompt = inputs.get("prompt") or (item.prompt_text if item is not None else None) or entry.prompt
    return _settings({**found, "prompt": prompt}, _loras(found)).model_copy(
        update={"template": _template(state, entry.template), "state": state.number}
    )


def settings_in(data: bytes) -> ImageSettings:
    """Of a PNG that burst, ComfyUI or AUTOMATIC1111's web UI wrote. Errors: Refused where it holds none."""
    if not data.startswith(_PNG):
        raise Refused(400, f"{NONE}; only PNG files keep them", "file")
    try:
        # Named, so that its values are read by name; the template itself is not looked at.
        found = read_reproduction(Path("image.png"), home=Path(), template="", data=data)
    except UsageError as error:
        raise Refused(400, NONE, "file") from error
    loras = list(_loras_in(embedded_graph(data) or {})) or _loras(found.inputs)
    return _settings({**found.inputs, "prompt": found.prompt, "seed": found.seed}, loras)


def _settings(values: Mapping[str, Any], loras: list[Lora]) -> ImageSettings:
    texts = {name: value for name in _TEXTS if isinstance(value := values.get(name), str)}
    numbers = {name: value for name in _WHOLE if type(value := values.get(name)) is int}
    cfg = values.get("cfg")
    decimal = {"cfg": cfg} if isinstance(cfg, int | float) and not isinstance(cfg, bool) else {}
    return ImageSettings.model_validate({**texts, **numbers, **decimal, "loras": loras})


def _loras(values: Mapping[str, Any]) -> list[Lora]:
    """As a request names them."""
    return [Lora(name=one.name, strength=one.strength) for one in named_loras(values)]


def _loras_in(graph: Mapping[str, Any]) -> Iterator[Lora]:
    """Those that a graph loads, in the order of its nodes."""
    return (Lora(name=one.name, strength=one.strength) for _, one in loaded_loras(graph))


def _template(state: WatchedState, name: str | None) -> str | None:
    return name if name in templates_of(state) and name != state.settings.template else None
