"""The sandbox's constant responses."""

from __future__ import annotations

import os
import sys
from typing import Any

VERSION = "0.3.64"
"""The ComfyUI version that the sandbox imitates."""

FEATURES: dict[str, Any] = {"supports_preview_metadata": True, "max_upload_size": 100 * 1024 * 1024}

MODEL_FOLDERS = (  # noqa: SIM905 - twenty lines of one word each otherwise
    "checkpoints configs loras vae text_encoders diffusion_models clip_vision style_models embeddings "
    "diffusers vae_approx controlnet gligen upscale_models custom_nodes hypernetworks photomaker classifiers "
    "model_patches audio_encoders"
).split()

UNAVAILABLE_PAGE = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>\n"
TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"

_MEMORY_BYTES = 24 * 1024**3


def system_stats() -> dict[str, Any]:
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
    system = {
        "os": os.name,
        "ram_total": _MEMORY_BYTES,
        "ram_free": _MEMORY_BYTES,
        "comfyui_version": VERSION,
        "required_frontend_version": "1.27.10",
        "installed_templates_version": "0.1.95",
        "required_templates_version": "0.1.95",
        "python_version": sys.version,
        "pytorch_version": "none",
        "embedded_python": False,
        "argv": ["burst", "sandbox"],
    }
    return {"system": system, "devices": [device]}
