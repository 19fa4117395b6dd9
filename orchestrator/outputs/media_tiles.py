"""What stands for a video, audio, 3D model or latents among images: a frame of it, or a tile with its kind and name.

Pillow is imported where it is used.
"""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from orchestrator.outputs import ffmpeg
from orchestrator.outputs.containers import Kind, kind_of
from orchestrator.outputs.media_length import seconds_of
from orchestrator.places import ObjectPath, Place

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

SIDE = 512
_KINDS = {Kind.VIDEO: "Video", Kind.AUDIO: "Audio", Kind.MODEL: "3D model", Kind.LATENT: "Latent"}
_BACK, _FRONT, _SOFT = (38, 45, 56), (236, 240, 245), (160, 170, 184)
_NAME_LINES, _NAME_LETTERS = 3, 26


def has_tile(path: str) -> bool:
    """Whether a file of this name is shown by a frame or a tile; images show themselves."""
    return kind_of(path) in _KINDS


def poster(path: Place) -> bytes | None:
    """A frame of a local video, as a PNG; None of anything else, and where no ffmpeg gives one."""
    if isinstance(path, ObjectPath) or kind_of(path.name) is not Kind.VIDEO:
        return None
    return ffmpeg.poster_of(path)


def drawn(path: Place) -> bytes:
    """A square WebP with what the file is, how long it plays, and its name. Errors: OSError."""
    from PIL import Image, ImageDraw

    kind = kind_of(path.name)
    seconds = seconds_of(path) if kind in (Kind.VIDEO, Kind.AUDIO) else None
    image = Image.new("RGB", (SIDE, SIDE), _BACK)
    pen = ImageDraw.Draw(image)
    _symbol(pen, kind)
    title = _KINDS.get(kind, "File") + (f" · {spoken_length(seconds)}" if seconds is not None else "")
    _write(pen, 296, title, 40, _FRONT)
    for number, line in enumerate(_name_lines(path.name)):
        _write(pen, 366 + 38 * number, line, 28, _SOFT)
    target = io.BytesIO()
    image.save(target, "WEBP", quality=80)
    return target.getvalue()


def spoken_length(seconds: float) -> str:
    """`0:04`, `12:30`, `1:02:03`; below a second `0:01`."""
    whole = max(1, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _name_lines(name: str) -> list[str]:
    lines = textwrap.wrap(name, _NAME_LETTERS, break_on_hyphens=False)
    return lines if len(lines) <= _NAME_LINES else [*lines[: _NAME_LINES - 1], "…" + lines[-1][-_NAME_LETTERS + 1 :]]


def _write(pen: ImageDraw, top: int, text: str, height: int, color: tuple[int, int, int]) -> None:
    from PIL import ImageFont

    try:
        font = ImageFont.load_default(height)
    except ImportError:  # a Pillow without FreeType has one small font, of Latin letters
        font = ImageFont.load_default()
        text = text.encode("latin-1", "replace").decode("latin-1")
    pen.text(((SIDE - pen.textlength(text, font=font)) / 2, top), text, fill=color, font=font)


def _symbol(pen: ImageDraw, kind: Kind) -> None:
    if kind is Kind.VIDEO:
        pen.polygon([(206, 110), (206, 260), (336, 185)], fill=_FRONT)
    elif kind is Kind.AUDIO:
        for number, height in enumerate((40, 100, 150, 80, 120, 50)):
            left = 166 + 32 * number
            pen.rounded_rectangle((left, 185 - height // 2, left + 18, 185 + height // 2), 9, fill=_FRONT)
    elif kind is Kind.MODEL:
        top, middle, bottom = [(256, 100), (330, 142), (256, 184), (182, 142)], (256, 184), (256, 270)
        pen.line([*top, top[0]], fill=_FRONT, width=8, joint="curve")
        pen.line([(182, 142), (182, 228), bottom, (330, 228), (330, 142)], fill=_FRONT, width=8, joint="curve")
        pen.line([middle, bottom], fill=_FRONT, width=8)
    else:
        for row in range(4):
            for column in range(4):
                shade = 90 + (row * 37 + column * 61) % 140
                left, above = 180 + 40 * column, 106 + 40 * row
                pen.rectangle((left, above, left + 32, above + 32), fill=(shade, shade, shade))
