"""ComfyUI's HTTP API: the only room that knows it.

`ComfyUI` has one method per endpoint; what the server answers comes back as checked values.
"""

from __future__ import annotations

from orchestrator.comfyui.answers import (
    HistoryEntry,
    JobStatus,
    OutputFile,
    OutputText,
    Queue,
    QueuedPrompt,
    Submitted,
    UploadedImage,
)
from orchestrator.comfyui.client import ComfyUI
from orchestrator.comfyui.download import Download

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
