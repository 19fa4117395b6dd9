"""The sandbox's responses that depend on nothing but the imitated version."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.sandbox.settings import SandboxSettings

LARGEST_UPLOAD_BYTES = 100 * 1024 * 1024
_MODEL_FOLDERS = (  # noqa: SIM905 - twenty lines of one word each otherwise
    "checkpoints configs loras vae text_encoders diffusion_models clip_vision style_models embeddings "
    "diffusers vae_approx controlnet gligen upscale_models custom_nodes hypernetworks photomaker classifiers "
    "model_patches audio_encoders"
).split()

_NEWER_MODEL_FOLDERS = (  # noqa: SIM905
    "checkpoints configs loras vae text_encoders diffusion_models clip_vision style_models embeddings "
    "diffusers vae_approx controlnet gligen upscale_models latent_upscale_models custom_nodes datasets hypernetworks "
    "photomaker classifiers model_patches audio_encoders background_removal frame_interpolation geometry_estimation "
    "optical_flow detection"
).split()

UNAVAILABLE_PAGE = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>\n"
FILTERED_PAGE = "<html><body><h1>403 Forbidden</h1><p>Blocked by the administrator's rules.</p></body></html>\n"
TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"

_MEMORY_BYTES = 24 * 1024**3


def features(settings: SandboxSettings) -> dict[str, Any]:
    """The response of GET /features, and what a websocket that asks for them is told."""
    found: dict[str, Any] = {"supports_preview_metadata": True, "max_upload_size": LARGEST_UPLOAD_BYTES}
    if settings.is_newer:
        found |= {
            "supports_model_type_tags": True,
            "extension": {"manager": {"supports_v4": True}},
            "node_replacements": True,
            "assets": False,
        }
    return found


def model_folders(settings: SandboxSettings) -> list[str]:
    """The response of GET /models."""
    return _NEWER_MODEL_FOLDERS if settings.is_newer else _MODEL_FOLDERS


def model_directories(kinds: Iterable[str], directory: Path) -> list[dict[str, Any]]:
    """The response of GET /experiment/models."""
    told = [kind for kind in kinds if kind not in ("configs", "custom_nodes")]
    return [{"name": kind, "folders": [str(directory / kind)]} for kind in told]


def model_files(names: Iterable[str], size_bytes: int) -> list[dict[str, Any]]:
    """The response of GET /experiment/models/{folder}."""
    return [{"name": name, "pathIndex": 0, "modified": 0.0, "created": 0.0, "size": size_bytes} for name in names]


def system_stats(settings: SandboxSettings, output_directory: Path) -> dict[str, Any]:
    """The response of GET /system_stats: one fictitious device, named as the sandbox."""
    device = {
        "name": "burst sandbox",
        "type": "cpu",
        "index": None,
        "vram_total": _MEMORY_BYTES,
        "vram_free": _MEMORY_BYTES,
        "torch_vram_total": _MEMORY_BYTES,
        "torch_vram_free": _MEMORY_BYTES,
    }
    templates = "0.11.44" if settings.is_newer else "0.1.95"
    frontend = "1.49.6" if settings.is_newer else "1.27.10"
    system = {
        "os": sys.platform if settings.is_newer else os.name,
        "ram_total": _MEMORY_BYTES,
        "ram_free": _MEMORY_BYTES,
        "comfyui_version": settings.comfyui_version,
        "required_frontend_version": frontend,
        "installed_templates_version": templates,
        "required_templates_version": templates,
        "python_version": sys.version,
        "pytorch_version": "none",
        "embedded_python": False,
        "argv": ["burst", "sandbox", "--output-directory", str(output_directory)],
    }
    if settings.is_newer:
        package = {"name": "comfyui-frontend-package", "installed": frontend, "required": frontend}
        system |= {"comfy_package_versions": [package], "deploy_environment": "local-git"}
    return {"system": system, "devices": [device]}
