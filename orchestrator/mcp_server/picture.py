"""An output of an item as an agent looks at it: a small JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.mcp_server.pages import images_of
from orchestrator.outputs import media_tiles
from orchestrator.outputs.pictures import on_white, smaller
from orchestrator.outputs.placement import placement_of
from orchestrator.places import Place
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
    """Of the original, upright."""


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
    copy = smaller(source, longest_side=LONGEST_SIDE) if source is not None else None
    if copy is None:
        raise UsageError(f"{item.key}: {place} is not an image that can be shown here")
    return Shown(_jpeg(on_white(copy.image)), str(place), *copy.original_size)


def _picture_of(place: Place) -> Place | bytes | None:
    return media_tiles.poster(place) if media_tiles.has_tile(place.name) else place


def _jpeg(picture: Image) -> bytes:
    for quality in _QUALITIES:
        kept = io.BytesIO()
        picture.save(kept, "JPEG", quality=quality)
        if kept.tell() <= MOST_BYTES:
            break
    return kept.getvalue()
