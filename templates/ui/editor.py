"""What ComfyUI's own editor adds to the widgets of some classes of ComfyUI's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from templates.catalogue import NodeClass, NodeInput


@dataclass(frozen=True)
class Widget:
    """One widget of a node."""

    name: str
    input: NodeInput | None = None
    """None for what the editor adds."""
    default: Any = None
    kept: bool = True
    """Its value is among those that the file has."""
    sent: bool = True
    """Its value is an input of the graph."""
    control: bool = False
    """It says what becomes of the one before it after each run."""

    @property
    def kind(self) -> str:
        """What kind of value it has: `INT`, `STRING`, `COMBO`."""
        if self.input is None:
            return ""
        kind = self.input.options.get("widgetType")
        return kind if isinstance(kind, str) else self.input.type


_VIEWS = {
    "PreviewAny": ("preview",),
    "LoadAudio": ("audioUI",),
    "SaveAudio": ("audioUI",),
    "SaveAudioMP3": ("audioUI",),
    "SaveAudioOpus": ("audioUI",),
    "PreviewAudio": ("audioUI",),
}
"""They show something and hold no value; older editors send them empty."""


def added_after(cls: NodeClass, each: NodeInput) -> Iterator[Widget]:
    """Behind the widget of this input."""
    if cls.name in ("Load3D", "Load3DAnimation") and each.name == "model_file":
        for name, value in (("upload 3d model", "upload3dmodel"), ("upload extra resources", "uploadExtraResources")):
            yield Widget(name, default=value)
        yield Widget("clear", default="clear")
    if cls.name == "ImageCropV2" and each.name == "crop_region":
        for name, number in (("x", 0), ("y", 0), ("width", 512), ("height", 512)):
            yield Widget(name, default=number, sent=False)


def added_at_the_end(cls: NodeClass) -> Iterator[Widget]:
    """Behind all others but the button for uploads."""
    for name in _VIEWS.get(cls.name, ()):
        yield Widget(name, default="", kept=False, sent=not cls.newer)
    if cls.name in ("Preview3D", "Preview3DAnimation", "SaveGLB"):
        yield Widget("image", default="")


def options_of_custom_combo(count: int) -> list[Widget]:
    """The last widgets of CustomCombo: the place of the choice, and the options as somebody wrote them."""
    names = ["index", *(f"option{number}" for number in range(1, count))]
    return [Widget(name) for name in names[:count]]
