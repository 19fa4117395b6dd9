"""A small landscape, drawn from a few random bytes: hills in the haze before a sun, in one of many lights."""

from __future__ import annotations

import colorsys
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Pen

Color = tuple[int, int, int]

RIDGES = 4
_STEPS = 20
"""Corners of a ridge: straight lines between them pass for rock."""


def landscape(size: tuple[int, int], digest: bytes, *, foreground: float) -> tuple[Image, Color]:
    """The image as RGB, and the color of its nearest hill, which is dark enough for white letters.

    Args:
        size: width and height in pixels.
        digest: at least 16 bytes; others give another light and other hills.
        foreground: how much of the height the nearest hill fills at least.
    """
    from PIL import Image, ImageDraw

    height = size[1]
    hue, warmth = 0.5 + 0.6 * digest[0] / 256, digest[1] / 256  # from blue over violet and red to orange
    zenith = _color(hue, 0.25 + 0.25 * warmth, 0.45)
    haze = _color(hue + 0.06 + 0.1 * warmth, 0.82, 0.7)
    column = (1, height)
    light = Image.linear_gradient("L").resize(column)
    sky = Image.composite(Image.new("RGB", column, haze), Image.new("RGB", column, zenith), light)
    picture = sky.resize(size, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(picture)
    _sun(pen, size, digest, _color(hue + 0.1, 0.93, 0.8))
    near = _color(hue - 0.03, 0.13, 0.35)
    for ridge in range(RIDGES):
        share = (ridge + 1) / RIDGES
        top = max(1 - foreground, 0.0) if ridge == RIDGES - 1 else min(0.45 + 0.13 * ridge, 1 - foreground)
        color = tuple(round(there + (here - there) * share**0.8) for there, here in zip(haze, near, strict=True))
        pen.polygon(_ridge(size, digest[4 + 3 * ridge : 7 + 3 * ridge], top=top, rough=1.3 - share), fill=color)
    return picture, near


def _sun(pen: Pen, size: tuple[int, int], digest: bytes, color: Color) -> None:
    width, height = size
    radius = (0.05 + 0.06 * digest[2] / 256) * min(size)
    x, y = width * (0.2 + 0.6 * digest[3] / 256), height * (0.18 + 0.2 * digest[2] / 256)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _ridge(size: tuple[int, int], shape: bytes, *, top: float, rough: float) -> list[tuple[float, float]]:
    """The outline of a hill whose highest places are at `top`, as a share of the height from above."""
    width, height = size
    first, second, third = (byte / 256 * math.tau for byte in shape)
    outline = []
    for step in range(_STEPS + 1):
        at = step / _STEPS * math.tau
        wave = math.sin(0.6 * at + first) + 0.5 * math.sin(1.7 * at + second) + 0.2 * rough * math.sin(5.3 * at + third)
        outline.append((width * step / _STEPS, height * (top + 0.05 * (1.7 - wave))))
    return [*outline, (width, height), (0.0, height)]


def _color(hue: float, lightness: float, saturation: float) -> Color:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)
