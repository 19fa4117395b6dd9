"""`--batch-size auto`: how many pictures at once the memory of a server holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

SIZES = (8, 4, 2, 1)
_GIB = 1024**3
_SHARED = ("cpu", "mps")
"""Devices that have no memory but the machine's."""
_KEEPS_MODELS = ("cuda", "xpu")
"""Devices of which ComfyUI says what it holds itself."""


@dataclass(frozen=True)
class ModelNote:
    """The memory that prompts with a model take."""

    pattern: str
    """Of the names of its files; `*` and `?` stand for what they stand for in a shell."""
    memory_gib: Mapping[int, float]
    """By pictures in one prompt: the most that it takes, the model included."""

    def matches(self, model: str) -> bool:
        """By the whole name, folders included; capitals or not."""
        return fnmatchcase(model.casefold(), self.pattern.casefold())

    def needed_bytes(self, size: int) -> float | None:
        """Surely enough for so many pictures: what as many, or the next larger number, are known to take."""
        larger = [noted for noted in self.memory_gib if noted >= size]
        return self.memory_gib[min(larger)] * _GIB if larger else None


def automatic_batch_size(stats: Mapping[str, Any], notes: Iterable[ModelNote], model: str | None) -> int:
    """The largest of 8, 4, 2 and 1 that fits the free memory of a server; 1 where either is unknown.

    `stats` is its answer to `GET /system_stats`. The first note that matches the model counts.
    """
    note = next((note for note in notes if model is not None and note.matches(model)), None)
    free = free_bytes(stats)
    if note is None or free is None:
        return 1
    needed = ((size, note.needed_bytes(size)) for size in SIZES)
    return next((size for size, bytes_ in needed if bytes_ is not None and bytes_ <= free), 1)


def free_bytes(stats: Mapping[str, Any]) -> float | None:
    """The memory that a server has for a prompt; None where it does not say.

    That is what is free, and what ComfyUI holds itself: the models of earlier prompts make room. Without that a server
    would be given smaller batches as soon as it has loaded the very model.
    """
    devices = stats.get("devices")
    device = _object(devices[0]) if isinstance(devices, list) and devices else {}
    if device.get("type") in _SHARED:
        return _number(_object(stats.get("system")).get("ram_free"))
    free = _number(device.get("vram_free"))
    held, unused = _number(device.get("torch_vram_total")), _number(device.get("torch_vram_free"))
    if free is None or held is None or unused is None or device.get("type") not in _KEEPS_MODELS:
        return free
    return free + max(held - unused, 0)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None
