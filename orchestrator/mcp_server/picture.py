"""An output of an item as an agent looks at it: a small JPEG."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.mcp_server.pages import images_of
from orchestrator.outputs import media_tiles
from orchestrator.outputs.pictures import LARGEST_DECODED_PIXELS, UNREADABLE, on_reading_thread, read_picture
from orchestrator.outputs.placement import placement_of
from orchestrator.places import ObjectPath, Place
from orchestrator.settings import Settings
from state.item import Item
from state.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SIDE = 1024
MOST_BYTES = 500_000
_QUALITIES = (85, 70, 50, 30)


@dataclass(frozen=True)
class Shown:
    """A copy of an output, and what it is a copy of."""

    jpeg: bytes
    path: str
    width: int
    height: int
    """Of the original."""


def shown(store: Store, item: Item, *, number: int, settings: Settings) -> Shown:
    """Image number `number`, from 1, of an item; of a video its first frame. Errors: UsageError."""
    outputs = images_of(item)
    if not outputs:
        raise UsageError(f"{item.key}: it is {item.status} and has no image")
    if not 1 <= number <= len(outputs):
        raise UsageError(f"{item.key}: it has {len(outputs)} images; choose one from 1 to {len(outputs)}")
    record = outputs[number - 1]
    place = placement_of(store, settings).found(item, record.path)
    if place is None:
        raise UsageError(f"{item.key}: {record.path} is not there any more; `burst verify --repair` renders it again")
    source = _picture_of(place)
    made = on_reading_thread(_copied, source) if source is not None else None
    if made is None:
        raise UsageError(f"{item.key}: {place} is not an image that can be shown here")
    jpeg, width, height = made
    return Shown(jpeg, str(place), width, height)


def _picture_of(place: Place) -> Place | bytes | None:
    if media_tiles.has_tile(place.name):
        return media_tiles.poster(place)
    return place.read_bytes() if isinstance(place, ObjectPath) else place


def _copied(source: Place | bytes) -> tuple[bytes, int, int] | None:
    """The first frame, upright; None of what does not decode."""
    from PIL import ImageOps

    stream = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with stream, warnings.catch_warnings():
        # Pillow warns of odd metadata, which the copy does not have.
        warnings.simplefilter("ignore")
        try:
            picture = read_picture(stream)
            if picture is None or picture.width * picture.height > LARGEST_DECODED_PIXELS:
                return None
            width, height = picture.size
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            return _jpeg(_opaque(ImageOps.exif_transpose(picture))), width, height
        except UNREADABLE:
            return None


def _opaque(picture: Image) -> Image:
    """On white, where it is transparent."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGB", layer.size, "white")
    ground.paste(layer, mask=layer.getchannel("A"))
    return ground


def _jpeg(picture: Image) -> bytes:
    for quality in _QUALITIES:
        kept = io.BytesIO()
        picture.save(kept, "JPEG", quality=quality)
        if kept.tell() <= MOST_BYTES:
            break
    return kept.getvalue()
