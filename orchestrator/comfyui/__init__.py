"""ComfyUI's HTTP API; no other package speaks it.

`ComfyUI` has one method per endpoint and returns validated values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.comfyui.client import ComfyUI
    from orchestrator.comfyui.download import Download
    from orchestrator.comfyui.responses import (
        HistoryEntry,
        JobStatus,
        OutputFile,
        OutputText,
        Queue,
        QueuedPrompt,
        Submitted,
        UploadedImage,
    )

__all__ = [
    "ComfyUI",
    "Download",
    "HistoryEntry",
    "JobStatus",
    "OutputFile",
    "OutputText",
    "Queue",
    "QueuedPrompt",
    "Submitted",
    "UploadedImage",
]

_HOMES = {"ComfyUI": "client", "Download": "download"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that settings can parse an address without loading the HTTP client."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'responses')}"), name)
