"""ComfyUI nodes that work off a directory of images: one press of Queue, one run an image, a place that is kept.

Self-contained: this directory works when it is copied into ComfyUI's `custom_nodes`, with what ComfyUI brings.
"""

from __future__ import annotations

from .chain import LOADER, SAVER
from .loader import BatchImageLoader
from .saver import BatchImageSaver

NODE_CLASS_MAPPINGS = {LOADER: BatchImageLoader, SAVER: BatchImageSaver}
NODE_DISPLAY_NAME_MAPPINGS = {LOADER: "Batch Image Loader", SAVER: "Batch Image Saver"}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
