"""The values that a saved node has for the widgets of its class. They are saved by place, so the count has to fit.

A class that has changed since may have more widgets, or fewer: values in order, and the defaults of those that came
behind, are what the editor takes. Where a value then stands at a widget of another kind, nothing is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from templates.catalogue import COMBO, DYNAMIC_COMBO, NodeClass
from templates.saving import displays
from templates.ui.browser_widgets import Filled, filled_in_browser
from templates.ui.document import UiNode
from templates.ui.editor import options_of_custom_combo
from templates.ui.refusal import refusal
from templates.ui.widgets import forced_inputs, widgets_in_branch, widgets_of

_CONTROLS = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
_MADE_IN_A_VIEWER = frozenset({"LOAD_3D", "LOAD_3D_ANIMATION", "WEBCAM", "AUDIO_RECORD"})
_ANOTHER_VERSION = (
    "open the file in this server's ComfyUI, check the node, save it again; or export the API format there"
)

_MADE_IN_THE_BROWSER = (
    "its custom node makes some in the browser, which the server does not describe, or the file is of another version "
    "of this class; export the API format in ComfyUI"
)


@dataclass(frozen=True)
class _Reading:
    filled: list[Filled]
    missing: int
    """How many widgets behind the last value have their default."""
    left: Sequence[Any]
    """The values behind the last widget."""

    @property
    def complete(self) -> bool:
        return not self.missing and not self.left


def fill(cls: NodeClass, node: UiNode) -> list[Filled]:
    """A node's widgets with their values. Errors: TemplateError if the values do not fit the class for certain."""
    if (made := filled_in_browser(cls, node)) is not None:
        return made
    if isinstance(node.values, Mapping):
        reading = _by_name(cls, node.values)
    else:
        reading = _by_place(cls, list(node.values or ()))
    problem = next(
        filter(None, (_problem(each, {} if reading.complete else node.named) for each in reading.filled)), None
    )
    if problem is None and not _may_be_dropped(cls, reading.left):
        problem = f"it has {len(reading.left)} more values than the class has widgets"
        raise refusal(node, f"{problem}; {_MADE_IN_THE_BROWSER}")
    if problem is not None:
        raise refusal(node, f"{problem}, so the file is of another version of this class; {_ANOTHER_VERSION}")
    return reading.filled


def _may_be_dropped(cls: NodeClass, values: Sequence[Any]) -> bool:
    """Values behind the last widget: of ComfyUI's own classes those of widgets that are no more; else empty ones.

    And texts that a display node keeps: a server ignores what a class does not have.
    """
    if cls.custom_node is None or (_shows(cls) and all(value is None or _is_shown(value) for value in values)):
        return True
    return all(value is None or value == "" for value in values)


def _shows(cls: NodeClass) -> bool:
    """A node that only displays, and has no widget but what its custom node makes to show the last text."""
    return cls.output_node and displays(cls.name) and not any(widgets_of(cls))


def _is_shown(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def made_in_a_viewer(cls: NodeClass) -> str | None:
    """The input that the editor fills from a viewer, camera or microphone of its own; None without one."""
    return next((each.name for each in cls.inputs if each.type in _MADE_IN_A_VIEWER), None)


def _by_name(cls: NodeClass, values: Mapping[str, Any]) -> _Reading:
    waiting, filled = list(widgets_of(cls)), []
    while waiting:
        widget = waiting.pop(0)
        value = values.get(widget.name, widget.default)
        filled.append(Filled(widget, value))
        waiting[:0] = widgets_in_branch(widget, value)
    return _Reading(filled, 0, ())


def _by_place(cls: NodeClass, values: list[Any]) -> _Reading:
    """As the editor reads it, unless another way to read it fits and that one does not."""
    plain = _read(cls, values)
    if plain.complete:
        return plain
    others = (_read(cls, each) for each in _other_ways(cls, values))
    without_controls = _read(cls, values, controls=False)
    fitting = (each for each in (*others, without_controls) if each.complete and not _misplaced(each))
    return next(fitting, plain)


def _other_ways(cls: NodeClass, values: list[Any]) -> Iterator[list[Any]]:
    """Without the values of inputs that are only ever linked, as older editors saved them; without stray controls."""
    forced = forced_inputs(cls)
    if any(forced) and len(forced) == len(values):
        yield [value for value, drop in zip(values, forced, strict=True) if not drop]
    if any(isinstance(value, str) and value in _CONTROLS for value in values):
        yield [value for value in values if not (isinstance(value, str) and value in _CONTROLS)]


def _read(cls: NodeClass, values: Sequence[Any], *, controls: bool = True) -> _Reading:
    """`controls`: the file has a value for each widget that changes another one after each run."""
    waiting, left, filled, missing = list(widgets_of(cls)), list(values), [], 0
    while waiting:
        widget = waiting.pop(0)
        takes = widget.kept and (controls or not widget.control or (bool(left) and _is_control(left[0])))
        missing += takes and not left
        value = left.pop(0) if takes and left else widget.default
        filled.append(Filled(widget, value))
        waiting[:0] = widgets_in_branch(widget, value)
    if cls.name == "CustomCombo":
        filled += [Filled(widget, left.pop(0)) for widget in options_of_custom_combo(len(left))]
    return _Reading(filled, missing, left)


def _is_control(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value in _CONTROLS)


def _misplaced(reading: _Reading) -> bool:
    return any(_problem(each, {}) for each in reading.filled)


def _problem(each: Filled, named: Mapping[str, Any]) -> str | None:
    widget, value = each.widget, each.value
    if widget.kept and widget.name in named and named[widget.name] != value:
        return f"{widget.name!r} would be {_short(value)} by place and is {_short(named[widget.name])} by name"
    if widget.control and value is not None and not _is_control(value):
        return f"{_short(value)} stands where it keeps what becomes of a seed"
    if widget.input is None or value is None or value == widget.default:
        return None
    if widget.input.type == DYNAMIC_COMBO and not (isinstance(value, str) and value in widget.input.branches):
        return f"{widget.name!r} has no option {_short(value)}"
    fits = _KINDS.get(widget.kind)
    return None if fits is None or fits(value) else f"{_short(value)} stands where {widget.name!r} ({widget.kind}) is"


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
    return isinstance(value, int | float | str) and not isinstance(value, bool)


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "INT": _is_number,
    "FLOAT": _is_number,
    "BOOLEAN": lambda value: isinstance(value, bool | int),
    "STRING": lambda value: not isinstance(value, bool | dict | list),
    COMBO: lambda value: not isinstance(value, dict),
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
