"""What a sandbox can be told, before it starts and while it runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.errors import SettingsError

HoldPoint = Literal["next", "render", "finish"]
"""Where the worker can be held: before it takes a prompt; while one renders; after the files are written, before the
history and the queue change."""


@dataclass(frozen=True)
class SandboxSettings:
    """How the sandbox behaves. Rates are shares of 1; each `*_next` strikes that many times, then counts as used up."""

    seconds_per_prompt: float = 0.0
    """How long a prompt renders that is not answered from the cache; spent in its samplers, step by step."""
    answer_delay_seconds: float = 0.0
    """Waited before every answer."""

    failure_rate: float = 0.0
    fail_next: int = 0
    """Prompts that end with an execution_error."""
    out_of_memory_rate: float = 0.0
    out_of_memory_next: int = 0
    """Prompts that end with torch.OutOfMemoryError."""
    out_of_memory_above: int = 0
    """Prompts that make more pictures than this at once end so too, each time; 0: its memory holds any number."""
    drop_before_queue_rate: float = 0.0
    drop_before_queue_next: int = 0
    """POST /prompt whose connection is reset before the prompt is queued."""
    drop_after_queue_rate: float = 0.0
    drop_after_queue_next: int = 0
    """POST /prompt that is queued, then the connection is reset instead of an answer."""
    truncate_download_rate: float = 0.0
    truncate_next: int = 0
    """GET /view whose body ends short of its Content-Length."""
    unavailable_rate: float = 0.0
    unavailable_next: int = 0
    """Requests answered 503 with a page of HTML, as a proxy does."""

    history_limit: int = 10_000
    """History entries kept. As in ComfyUI the oldest goes only when there are more, so there may be one more."""
    random_seed: int = 0
    """The same seed and the same order of requests give the same faults."""

    checkpoints: tuple[str, ...] = (
        "tiny-random.safetensors",
        "v1-5-pruned-emaonly-fp16.safetensors",
        "sd_xl_base_1.0.safetensors",
    )
    loras: tuple[str, ...] = ("tiny-lora.safetensors",)
    vaes: tuple[str, ...] = ("tiny-vae.safetensors",)
    embeddings: tuple[str, ...] = ()
    missing_nodes: tuple[str, ...] = ()
    """Node classes that it does not have, as a server without some custom nodes."""
    accept_any_model: bool = False
    """Take every model name, listed or not: for rehearsing a template that names the models of another server."""

    jobs_api: bool = False
    """Newer servers' /api/jobs, and their refusal of a prompt_id that is no lower-case UUID."""
    rename_prompts: bool = False
    """Choose the prompt_id always, ignoring the client's: some hosts do."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), field.default)

    def changed(self, changes: dict[str, Any]) -> SandboxSettings:
        """A copy with `changes` applied. Errors: SettingsError for an unknown name or a value that does not fit."""
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(changes) - known):
            raise SettingsError(f"unknown sandbox setting: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        fitted: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
        }
        return dataclasses.replace(self, **fitted)

    def as_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return dataclasses.asdict(self)


def _check(name: str, value: object, default: object) -> None:
    """Hold a value to its default's type and its name's range."""
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, tuple):
        fits = isinstance(value, tuple) and all(isinstance(entry, str) for entry in value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        fits = False
    elif name.endswith("_rate"):
        fits = 0.0 <= value <= 1.0
    elif isinstance(default, int):
        fits = isinstance(value, int) and (value >= 0 or name == "random_seed")
    else:
        fits = value >= 0.0
    if not fits:
        wanted = "a share from 0 to 1" if name.endswith("_rate") else f"a value like {default!r}"
        raise SettingsError(f"sandbox setting {name}: {value!r} does not fit, {wanted} is wanted")
