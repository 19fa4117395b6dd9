"""The sandbox's settings, which can be changed while it runs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from orchestrator.errors import SettingsError

HoldPoint = Literal["next", "render", "finish"]
"""Where the worker can be held: before it starts a prompt; while it renders; after writing the files, before updating
history and queue."""


VERSIONS = ("0.3.64", "0.33.0")
"""The versions of ComfyUI that it can imitate, the default first."""


@dataclass(frozen=True)
class SandboxSettings:
    """Behaviour of the sandbox. Rates are fractions of 1; each `*_next` applies to that many requests or prompts."""

    comfyui_version: str = "0.3.64"
    """The ComfyUI that it imitates, one of VERSIONS: the newer has /api/jobs, and takes only UUIDs as prompt_ids."""

    seconds_per_prompt: float = 0.0
    """Render time of a prompt that is not cached; spent in its samplers, step by step."""
    load_seconds: float = 0.0
    """Time to load a checkpoint, LoRA or VAE that is not the last one of its kind that was loaded."""
    seconds_next: tuple[float, ...] = ()
    """Render times of the next prompts that are not cached, in the order in which they run."""
    latent_previews: bool = False
    """A preview image after each step of a sampler, as with ComfyUI's --preview-method."""
    hide_captions: bool = False
    """No image says that it is a placeholder, and what it was made with."""
    answer_delay_seconds: float = 0.0
    """Delay of every response."""

    failure_rate: float = 0.0
    fail_next: int = 0
    """Prompts that end with an execution_error."""
    out_of_memory_rate: float = 0.0
    out_of_memory_next: int = 0
    """Prompts that end with torch.OutOfMemoryError."""
    out_of_memory_above: int = 0
    """Prompts with more images than this at once always end so too; 0: no limit."""
    cuda_error_after: int = 0
    """Once so many prompts were rendered, all others end with torch.AcceleratorError until it restarts; 0: never."""
    drop_before_queue_rate: float = 0.0
    drop_before_queue_next: int = 0
    """POST /prompt requests whose connection is reset before the prompt is queued."""
    drop_after_queue_rate: float = 0.0
    drop_after_queue_next: int = 0
    """POST /prompt requests that are queued, but whose connection is reset instead of a response."""
    truncate_download_rate: float = 0.0
    truncate_next: int = 0
    """GET /view responses whose body is shorter than its Content-Length."""
    unavailable_rate: float = 0.0
    unavailable_next: int = 0
    """Requests that get a 503 with an HTML page, as from a proxy."""
    unreadable_history: bool = False
    """GET /history/{prompt_id} gets a page instead, as from a proxy that filters."""

    history_limit: int = 10_000
    """Maximum number of history entries. As in ComfyUI the oldest is removed after that, so there may be one more."""
    random_seed: int = 0
    """The same seed and the same order of requests give the same faults."""

    checkpoints: tuple[str, ...] = (
        "tiny-random.safetensors",
        "v1-5-pruned-emaonly-fp16.safetensors",
        "sd_xl_base_1.0.safetensors",
    )
    loras: tuple[str, ...] = ("tiny-lora.safetensors",)
    vaes: tuple[str, ...] = ("tiny-vae.safetensors",)
    upscale_models: tuple[str, ...] = ("RealESRGAN_x4plus.pth",)
    embeddings: tuple[str, ...] = ()
    model_bytes: int = 2_132_696_762
    """The size that it tells of every model; 0: it tells none, as other servers than ComfyUI."""
    missing_nodes: tuple[str, ...] = ()
    """Node classes that it lacks, like a server without some custom nodes."""
    accept_any_model: bool = False
    """Accept any model name, to rehearse a template with the models of another server."""

    refuse_websocket: bool = False
    """No events, as behind some proxies."""
    rename_prompts: bool = False
    """Always assign a new prompt_id, ignoring the client's, as some hosts do."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if (fault := fault_of(field.name, getattr(self, field.name))) is not None:
                raise SettingsError(f"sandbox setting {field.name}: {fault}")

    @property
    def is_newer(self) -> bool:
        """Whether the imitated ComfyUI has /api/jobs and all that came with it."""
        return self.comfyui_version != VERSIONS[0]

    def changed(self, changes: dict[str, Any]) -> SandboxSettings:
        """A copy with `changes` applied. Errors: SettingsError for an unknown name or an invalid value."""
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(changes) - known):
            raise SettingsError(f"unknown sandbox setting: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        fitted: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
        }
        return dataclasses.replace(self, **fitted)

    def as_dict(self) -> dict[str, Any]:
        """All settings by name, in a form for JSON."""
        return dataclasses.asdict(self)


def fault_of(name: str, value: object) -> str | None:
    """What is wrong with this value of a setting, by the type of its default and the range of its name."""
    default = _DEFAULTS[name]
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, str):
        fits = value in VERSIONS
    elif name == "seconds_next":
        fits = isinstance(value, tuple) and all(_is_number(entry) and 0.0 <= entry < math.inf for entry in value)
    elif isinstance(default, tuple):
        fits = isinstance(value, tuple) and all(isinstance(entry, str) for entry in value)
    elif not _is_number(value):
        fits = False
    elif name.endswith("_rate"):
        fits = 0.0 <= value <= 1.0
    elif isinstance(default, int):
        fits = isinstance(value, int) and (value >= (name == "history_limit") or name == "random_seed")
    else:
        fits = 0.0 <= value < math.inf
    return None if fits else f"{value!r} does not fit; write {_wanted(name)}"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wanted(name: str) -> str:
    if name.endswith("_rate"):
        return "a share from 0 to 1"
    if name == "comfyui_version":
        return f"one of {', '.join(VERSIONS)}"
    return "seconds like 7,1,1" if name == "seconds_next" else f"a value like {_DEFAULTS[name]!r}"


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(SandboxSettings)}
