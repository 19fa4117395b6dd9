"""The lists that inputs choose from, as a server's `GET /object_info` gives them.

`[["a", "b"], {…}]`, in newer nodes `["COMBO", {"options": ["a", "b"], …}]`. Newest ones may leave the list out and name
a route instead, `["COMBO", {"remote": {"route": "/models/loras"}}]`, or be filled from elsewhere (`remote_combo`), and
then the server itself takes any value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

Folders = Callable[[str], Collection[str] | None]
"""What a folder of models holds, as `GET /models/{folder}` says; None where the server knows no such folder."""

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
"""Inputs of ComfyUI's own loaders -> what they name, and the folder that it is in."""

_FOLDER_ROUTE = re.compile(r"(?:/api)?(?:/experiment)?/models/([^/?#]+)/?")
_MODEL_FILES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf")


@dataclass(frozen=True)
class Choices:
    """What an input may be set to."""

    values: tuple[Any, ...] | None
    """None where the server's answer does not list them."""
    folder: str | None = None
    """The folder of models that they are in, where they are not listed."""
    many: bool = False
    """The input takes a list of them."""
    grows: bool = False
    """An upload adds to them."""

    def lacking(self, value: object, files: Collection[str] | None) -> list[Any]:
        """What of an input's value is surely not among them. `files`: those of `folder`, None where they are unknown.

        A folder refutes names of files only: loaders add names of their own to it (VAELoader's `pixel_space`).
        """
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        wanted = value if self.many and isinstance(value, list) else [value]
        if self.values is not None:
            return [one for one in wanted if one not in self.values]
        if files is None:
            return []
        return [one for one in wanted if _is_model_file(one) and one not in files]


def choices_of(name: str, spec: object) -> Choices | None:
    """The choices of an input by its name and its entry in object_info; None for one that takes anything else."""
    if not (isinstance(spec, list) and spec):
        return None
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    listed = spec[0] if isinstance(spec[0], list) else options.get("options")
    if not isinstance(spec[0], list) and spec[0] != "COMBO":
        return None
    many = options.get("multiselect") is True
    grows = any(str(key).endswith("_upload") and options[key] for key in options)
    if isinstance(listed, list) and (listed or not _is_filled_elsewhere(options)):
        return Choices(tuple(listed), many=many, grows=grows)
    return Choices(None, folder=_folder(name, options), many=many, grows=grows)


def _is_filled_elsewhere(options: dict[str, Any]) -> bool:
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
