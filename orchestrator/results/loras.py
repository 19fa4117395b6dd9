"""The LoRAs of an image: those that its item names, and those that its workflow loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import templates
from orchestrator.errors import TemplateError

_LARGEST_STRENGTH = 100


@dataclass(frozen=True, slots=True)
class UsedLora:
    """A LoRA as it was loaded."""

    name: str
    strength: float

    def as_text(self) -> str:
        """As a request names it: `detail.safetensors:0.8`."""
        return f"{self.name}:{self.strength:g}"


def named_loras(values: Mapping[str, Any], *, first_strength: float = 1.0) -> list[UsedLora]:
    """Those that `lora` and `lora_strength` name; what is no such name is passed over.

    `first_strength`: of the first one, where nothing says it; of all others that is 1.
    """
    said, default = values.get("lora"), values.get("lora_strength")
    found: list[UsedLora] = []
    for text in said if isinstance(said, list) else [said]:
        if not isinstance(text, str):
            continue
        try:
            name, strength = templates.parse_lora(text)
        except TemplateError:
            continue
        strength = default if strength is None and isinstance(default, int | float) else strength
        found.append(UsedLora(name, strength if strength is not None else 1.0 if found else first_strength))
    return found


def loaded_loras(graph: Mapping[str, Any]) -> Iterator[tuple[str, UsedLora]]:
    """Those that a graph loads, by the ids of their nodes and in their order."""
    for node_id, node in graph.items():
        inputs = node.get("inputs", {}) if isinstance(node, dict) else {}
        name, strength = inputs.get("lora_name"), inputs.get("strength_model", 1.0)
        if isinstance(name, str) and name and isinstance(strength, int | float) and abs(strength) <= _LARGEST_STRENGTH:
            yield node_id, UsedLora(name, strength)
