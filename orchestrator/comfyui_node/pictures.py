"""Picture files to ComfyUI's arrays and back."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

Array = NDArray[np.float32]

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What a file that is no picture, is cut short or is far too large makes Pillow raise."""

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
WRITABLE = frozenset(_FORMATS)
"""Extensions that pictures are written with."""

_NO_MASK = (64, 64)
"""The size of LoadImage's empty mask."""


@dataclass(frozen=True)
class Picture:
    """`pixels`: height × width × 3, 0 to 1. `mask`: height × width, 1 where the picture is transparent."""

    pixels: Array
    mask: Array


def read(path: Path) -> Picture:
    """The picture as LoadImage would give it: upright, RGB, the first of several frames. Errors: UNREADABLE."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        # Sixteen bits a pixel: converting to RGB would cut them off at 255, not scale them.
        grey = np.asarray(image, dtype=np.float32).clip(0, 65535) / np.float32(65535)
        return Picture(np.repeat(grey[:, :, None], 3, axis=2), _empty_mask())
    if "transparency" in image.info:
        image = image.convert("RGBA")
    mask = 1 - _scaled(image.getchannel("A")) if "A" in image.getbands() else _empty_mask()
    return Picture(_scaled(image.convert("RGB")), mask)


def tensor(array: Array) -> Any:
    """With a batch of one as its first dimension."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array[None]))


def frames(images: Any) -> list[Array]:
    """The pictures of an IMAGE tensor: height × width × channels each."""
    return list(images.cpu().numpy())


def encode(pixels: Array, extension: str, *, quality: int, texts: dict[str, str]) -> bytes:
    """The content of a file with this extension; a PNG holds the texts. Errors: ValueError, OSError."""
    # Rounded, not cut off: a picture that no node changed keeps its pixels.
    levels = np.rint(np.nan_to_num(pixels).clip(0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)
    target = io.BytesIO()
    kind = _FORMATS[extension]
    if kind == "PNG":
        info = PngInfo()
        for name, text in texts.items():
            info.add_text(name, text)
        image.save(target, kind, pnginfo=info, compress_level=4)
    elif kind in ("JPEG", "WEBP"):
        (image.convert("RGB") if kind == "JPEG" else image).save(target, kind, quality=quality)
    else:
        image.save(target, kind)
    return target.getvalue()


def extension_for(filename: str, choice: str) -> str:
    """What the file of a result ends in: as chosen, or as the original's, or .png where that cannot be written."""
    original = os.path.splitext(filename)[1]
    if choice != SAME:
        return f".{choice}"
    return original if original.lower() in WRITABLE else ".png"


SAME = "same as original"
CHOICES = (SAME, "png", "jpg", "webp")


def _scaled(image: Image.Image) -> Array:
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _empty_mask() -> Array:
    return np.zeros(_NO_MASK, dtype=np.float32)
