"""The allowed values of combo inputs, as listed by `GET /object_info`.

`[["a", "b"], {…}]`; in newer nodes `["COMBO", {"options": ["a", "b"], …}]`. The newest ones may name a route instead of
a list, `["COMBO", {"remote": {"route": "/models/loras"}}]`, or load it from elsewhere (`remote_combo`); for those the
server accepts any value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

Folders = Callable[[str], Collection[str] | None]
"""The files in a folder of models, from `GET /models/{folder}`; None if the server has no such folder."""

MODEL_INPUTS = {
    "ckpt_name": ("checkpoint", "checkpoints"),
    "lora_name": ("LoRA", "loras"),
    "vae_name": ("VAE", "vae"),
    "unet_name": ("diffusion model", "diffusion_models"),
    "control_net_name": ("ControlNet", "controlnet"),
    "style_model_name": ("style model", "style_models"),
    "gligen_name": ("GLIGEN model", "gligen"),
    "hypernetwork_name": ("hypernetwork", "hypernetworks"),
}
"""Inputs of ComfyUI's own loaders -> the kind of model they name, and its folder."""

_FOLDER_ROUTE = re.compile(r"(?:/api)?(?:/experiment)?/models/([^/?#]+)/?")
_MODEL_FILES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf")


@dataclass(frozen=True)
class Choices:
    """The allowed values of an input."""

    values: tuple[Any, ...] | None
    """None if object_info does not list them."""
    folder: str | None = None
    """The folder of models that contains them, if they are not listed."""
    multiple: bool = False
    """The input takes a list of values."""
    uploadable: bool = False
    """Uploading a file adds a value."""

    def missing(self, value: object, files: Collection[str] | None) -> list[Any]:
        """The parts of an input's value that are certainly not allowed. `files`: those in `folder`, None if unknown.

        Only file names are checked against a folder, because loaders add other names to it (VAELoader's `pixel_space`).
        """
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        chosen = value if self.multiple and isinstance(value, list) else [value]
        if self.values is not None:
            return [each for each in chosen if each not in self.values]
        if files is None:
            return []
        return [each for each in chosen if _is_model_file(each) and each not in files]


def choices_of(name: str, spec: object) -> Choices | None:
    """The choices of an input, from its name and its entry in object_info; None if it is not a combo input."""
    if not (isinstance(spec, list) and spec):
        return None
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    listed = spec[0] if isinstance(spec[0], list) else options.get("options")
    if not isinstance(spec[0], list) and spec[0] != "COMBO":
        return None
    multiple = options.get("multiselect") is True
    uploadable = any(str(key).endswith("_upload") and options[key] for key in options)
    if isinstance(listed, list) and (listed or not _is_remote(options)):
        return Choices(tuple(listed), multiple=multiple, uploadable=uploadable)
    return Choices(None, folder=_folder(name, options), multiple=multiple, uploadable=uploadable)


def _is_remote(options: dict[str, Any]) -> bool:
    return bool(options.get("remote") or options.get("remote_combo"))


def _folder(name: str, options: dict[str, Any]) -> str | None:
    remote = options.get("remote")
    if isinstance(remote, dict):
        found = _FOLDER_ROUTE.fullmatch(str(remote.get("route", "")))
        return found[1] if found else None
    if options.get("remote_combo") or name not in MODEL_INPUTS:
        return None
    return MODEL_INPUTS[name][1]


def _is_model_file(value: object) -> bool:
    return isinstance(value, str) and value.lower().endswith(_MODEL_FILES)
