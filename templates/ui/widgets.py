"""The widgets of a node class in the order of the editor: that of the class's inputs, with what the editor adds after
some of them (what becomes of a seed after each run; a button for uploads).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from templates.catalogue import COMBO, DYNAMIC_COMBO, NodeClass, NodeInput
from templates.ui.editor import Widget, added_after, added_at_the_end

_WITH_WIDGET = frozenset(
    {
        "INT", "FLOAT", "STRING", "BOOLEAN", COMBO, DYNAMIC_COMBO, "COLOR", "COLORS", "CURVE", "BOUNDING_BOX",
        "BOUNDING_BOXES", "IMAGECOMPARE", "COMPOSITOR", "PAINTER", "LOAD_3D", "LOAD_3D_ANIMATION", "WEBCAM",
        "AUDIO_RECORD",
    }
)  # fmt: skip
_SEEDS = ("seed", "noise_seed")


def has_widget(each: NodeInput) -> bool:
    """Whether the editor shows a widget for an input, and not only a socket."""
    if each.force_input:
        return False
    kind = each.options.get("widgetType")
    return (kind if isinstance(kind, str) else each.type) in _WITH_WIDGET


def widgets_of(cls: NodeClass) -> Iterator[Widget]:
    """The widgets of a class in order, without those that depend on a value."""
    for each in cls.inputs:
        if has_widget(each):
            yield from widgets_for(each)
            yield from added_after(cls, each)
    yield from added_at_the_end(cls)
    if any(each.upload in _BUTTONS for each in cls.inputs if has_widget(each) and each.type == COMBO):
        yield Widget("upload", default="image", sent=False)


def widgets_for(each: NodeInput) -> Iterator[Widget]:
    """The widgets of one input."""
    if each.type == "IMAGECOMPARE":
        yield Widget(each.name, each, default=["", ""], kept=False)
        return
    yield Widget(each.name, each, default=default_of(each))
    control = each.options.get("control_after_generate")
    if control is None:
        control = each.name in _SEEDS
    if each.type in ("INT", COMBO) and control:
        name = control if isinstance(control, str) else "control_after_generate"
        yield Widget(name, default="randomize", sent=False, control=True)
        if each.type == COMBO:
            yield Widget("control_filter_list", default="", sent=False)
    remote = each.options.get("remote")
    if isinstance(remote, Mapping) and remote.get("refresh_button"):
        if remote.get("control_after_refresh"):
            yield Widget("Auto-refresh after generation", default=False, sent=False)
        yield Widget("refresh", default="refresh")


_BUTTONS = ("image", "animated_image", "video", "audio")


def default_of(each: NodeInput) -> Any:
    """What the editor shows for a new node; None if that depends on more than the class."""
    if each.type == COMBO:
        return each.default if each.default is not None else next(iter(each.values or ()), None)
    if each.type == DYNAMIC_COMBO:
        return next(iter(each.branches), None)
    if each.default is not None:
        return each.default
    return {"INT": 0, "FLOAT": 0, "STRING": "", "BOOLEAN": False}.get(each.type)


def forced_inputs(cls: NodeClass) -> list[bool]:
    """For each value of the class in older files, whether it is that of an input that is only linked."""
    found: list[bool] = []
    for each in cls.inputs:
        if each.force_input or has_widget(each):
            found += [each.force_input and at == 0 for at, _ in enumerate(widgets_for(each))]
    return found


def widgets_in_branch(widget: Widget, value: Any) -> list[Widget]:
    """The widgets that the chosen option of a dynamic combo brings."""
    if widget.input is None or widget.input.type != DYNAMIC_COMBO:
        return []
    inner = widget.input.branches.get(value, ()) if isinstance(value, str) else ()
    return [each for held in inner if has_widget(held) for each in widgets_for(held)]
