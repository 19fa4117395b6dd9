"""Finished items without a batch, such as those of `burst add` and of lists: the browser's name for all of a state's.

No batch has an id that begins with `~`. An image's id holds its item's key, so that its address needs no index.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from orchestrator.statistics import pictures_of
from orchestrator.web.states import WatchedState, WatchedStates
from state.item import Item, OutputRecord, Status

_MARK = "~"


def loose_id(state: WatchedState) -> str:
    """What stands for a batch in the addresses of these images."""
    return f"{_MARK}{state.number}"


def is_loose(batch_id: str) -> bool:
    return batch_id.startswith(_MARK)


def loose_state(watched: WatchedStates, batch_id: str) -> WatchedState | None:
    """The state of this id."""
    number = batch_id.removeprefix(_MARK)
    is_known = is_loose(batch_id) and number.isascii() and number.isdecimal() and len(number) <= 4
    return watched.states[int(number)] if is_known and int(number) < len(watched.states) else None


def loose_image_id(key: str, number: int) -> str:
    """Of the image with this number, from 1, of the item with this key."""
    said = base64.urlsafe_b64encode(key.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    return said if number == 1 else f"{said}.{number}"


def loose_outputs(state: WatchedState, images: Iterable[str]) -> dict[str, tuple[Item, OutputRecord]]:
    """Item and output of each of these ids, without those that mean nothing."""
    wanted = {image: meant for image in images if (meant := _meant_by(image)) is not None}
    items = {item.key: item for item in state.items_with(list({key for key, _ in wanted.values()}))}
    found: dict[str, tuple[Item, OutputRecord]] = {}
    for image, (key, number) in wanted.items():
        item = items.get(key)
        if item is None or not is_shown_loose(item):
            continue
        pictures = pictures_of(item)
        if number <= len(pictures):
            found[image] = item, pictures[number - 1]
    return found


def is_shown_loose(item: Item) -> bool:
    return item.batch is None and item.status is Status.COMPLETED


class _Part(msgspec.Struct, frozen=True, gc=False):
    status: str = ""
    batch: str | None = None


def loose_keys(state: WatchedState) -> Iterator[str]:
    """The keys of a state's finished items without a batch, in its order."""
    parts = state.store.parts(_Part) if state.store is not None else ()
    return (key for key, part in parts if part.batch is None and part.status == Status.COMPLETED)


def moment_of(item: Item) -> datetime:
    """When it was completed, as far as its record tells."""
    return item.completed_at or item.submitted_at or datetime(1970, 1, 1, tzinfo=UTC)


def _meant_by(image: str) -> tuple[str, int] | None:
    said, dot, number = image.partition(".")
    if dot and not (number.isascii() and number.isdecimal() and len(number) <= 9 and int(number) > 1):
        return None
    try:
        key = base64.b64decode(said + "=" * (-len(said) % 4), altchars=b"-_", validate=True)
        return key.decode("utf-8", "surrogatepass"), int(number or 1)
    except (binascii.Error, ValueError):
        return None
