"""Well-known custom nodes whose widgets are made in the browser, so that `/object_info` says nothing of them.

Only what their own editor code does for certain is done here; any other shape is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import TemplateError
from templates.catalogue import NodeClass
from templates.ui.document import UiNode
from templates.ui.editor import Widget
from templates.ui.refusal import refusal

_HEADER = "PowerLoraLoaderHeaderWidget"
_LORA_KEYS = {"on", "lora", "strength", "strengthTwo"}
_SEED_FROM_LAST = {-2: "counts up from", -3: "counts down from"}


@dataclass(frozen=True)
class Filled:
    """A widget with its value."""

    widget: Widget
    value: Any


def filled_in_browser(cls: NodeClass, node: UiNode) -> list[Filled] | None:
    """The widgets of such a node with their values; None for other classes. Errors: TemplateError for another shape."""
    read = _READERS.get(cls.name)
    return read(cls, node) if read is not None and cls.custom_node is not None else None


def _power_lora(cls: NodeClass, node: UiNode) -> list[Filled]:
    """Any number of objects, each a LoRA, between a header, lines and a button."""
    loras: list[Mapping[str, Any]] = []
    both = node.properties.get("Show Strengths") == "Separate Model & Clip"
    for value in _values(node):
        if isinstance(value, Mapping) and "lora" in value:
            loras.append(_lora(node, value, both=both))
        elif value not in (None, "", {}, {"type": _HEADER}):
            raise _refused(node, value)
    rows = [Filled(Widget(f"lora_{number}"), lora) for number, lora in enumerate(loras, 1)]
    return [Filled(Widget(_HEADER), {"type": _HEADER}), *rows, Filled(Widget("➕ Add Lora"), "")]


def _lora(node: UiNode, value: Mapping[str, Any], *, both: bool) -> dict[str, Any]:
    """As it is sent: with a strength for CLIP where the node shows one."""
    strengths = [value.get("strength"), *([value.get("strengthTwo")] if value.get("strengthTwo") is not None else [])]
    sound = (
        value.keys() <= _LORA_KEYS
        and isinstance(value.get("on"), bool)
        and isinstance(value["lora"], str | None)
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in strengths)
    )
    if not sound:
        raise _refused(node, value)
    sent = {"on": value["on"], "lora": value["lora"], "strength": value["strength"]}
    return sent | ({"strengthTwo": value.get("strengthTwo") if len(strengths) > 1 else 1} if both else {})


def _seed(cls: NodeClass, node: UiNode) -> list[Filled]:
    """A number, and three buttons in place of what ComfyUI has there."""
    value, *rest = _values(node) or [0]
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(number, int) or isinstance(number, bool) or not all(_is_button(one) for one in rest):
        raise _refused(node, _values(node))
    if number in _SEED_FROM_LAST:
        problem = (
            f"its seed {number} {_SEED_FROM_LAST[number]} the editor's last one, which no file has; "
            "set a seed, or -1 for one at random, and save the workflow again"
        )
        raise refusal(node, problem)
    return [Filled(Widget("seed", cls.input("seed")), number)]


def _comparer(cls: NodeClass, node: UiNode) -> list[Filled]:
    """What it has shown last is nothing that the server reads."""
    if not all(value is None or isinstance(value, list | Mapping | str) for value in _values(node)):
        raise _refused(node, _values(node))
    return []


def _values(node: UiNode) -> Sequence[Any]:
    return list(node.values.values()) if isinstance(node.values, Mapping) else list(node.values or ())


def _is_button(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _refused(node: UiNode, value: Any) -> TemplateError:
    return refusal(
        node,
        f"{str(value)[:60]!r} is not what this class is known to keep; export the API format in ComfyUI",
    )


_READERS: Mapping[str, Callable[[NodeClass, UiNode], list[Filled]]] = {
    "Power Lora Loader (rgthree)": _power_lora,
    "Seed (rgthree)": _seed,
    "Image Comparer (rgthree)": _comparer,
}
