"""One output on a page, or an item that has none, with what is said below it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from orchestrator.object_storage import SCHEME
from orchestrator.outputs import media_tiles
from orchestrator.outputs.pictures import Smaller, smaller
from orchestrator.places import ObjectPath, Place

IMAGES = {".png": "png", ".apng": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif"}
_EMBEDDED_WHOLE_BYTES = 150_000
"""Images up to this size are embedded as they are; larger ones as a smaller copy."""
_COPY_PIXELS = 640


@dataclass(frozen=True)
class Image:
    """What an `img` shows."""

    source: str
    """An address, or a data URI."""
    size: Mapping[str, int] = field(default_factory=dict)
    """`width` and `height` in pixels, where they are known."""


@dataclass(frozen=True)
class File:
    """A file that is named below the image."""

    name: str
    link: str | None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """An image, or the word that stands where it would be."""

    status: str
    image: Image | None = None
    alt: str = ""
    blank: str = ""
    link: str | None = None
    """The file that the image, or the word, leads to."""
    caption: str = ""
    error: str = ""
    number: int | None = None
    facts: Sequence[str] = ()
    files: Sequence[File] = ()


def address(path: Place, page_directory: Path) -> str:
    """A file's address relative to the page in this directory. No part of a name is taken for a scheme or a query.

    Of an object, its own: no browser opens that, but it is what every tool of the storage takes.
    """
    if isinstance(path, ObjectPath):
        return SCHEME + quote(str(path).removeprefix(SCHEME))
    return quote(os.fsencode(os.path.relpath(path, page_directory)))


def embedded(path: Place) -> Image | None:
    """The image itself or a smaller copy, as a data URI with its size. None where it does not decode."""
    try:
        copy = smaller(path, longest_side=_COPY_PIXELS)
        if copy is None:
            return None
        if path.stat().st_size <= _EMBEDDED_WHOLE_BYTES:
            return _image(path.read_bytes(), IMAGES[path.suffix.lower()], copy.original_size)
    except OSError:
        return None
    return _encoded(copy)


def tile(path: Place) -> Image:
    """A frame of a video, or a tile that says what a file is, as a data URI. Errors: OSError."""
    frame = media_tiles.poster(path)
    if frame is None or (copy := smaller(frame, longest_side=_COPY_PIXELS)) is None:
        side = media_tiles.SIDE
        return _image(media_tiles.drawn(path), "webp", (side, side))
    return _encoded(copy)


def _encoded(copy: Smaller) -> Image:
    stream = io.BytesIO()
    copy.image.save(stream, format="WEBP", quality=82)
    return _image(stream.getvalue(), "webp", copy.image.size)


def _image(data: bytes, kind: str, size: tuple[int, int]) -> Image:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Image(source, dict(zip(("width", "height"), size, strict=True)))
