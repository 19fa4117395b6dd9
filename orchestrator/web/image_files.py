"""One picture of a batch: which file it is by the records alone, and what may be said of that file to a browser."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from orchestrator.outputs.containers import container_of
from orchestrator.outputs.media_tiles import has_tile
from orchestrator.outputs.pictures import EXTENSIONS
from orchestrator.outputs.placement import file_at
from orchestrator.places import ObjectPath, Place
from orchestrator.statistics import pictures_of
from orchestrator.web.error_responses import Refused
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.item import Item, OutputRecord, Status

OTHER = "application/octet-stream"
"""What no browser shows or runs."""
NOT_FOUND = "Image not found"


@dataclass(frozen=True)
class Picture:
    """A file of a batch, as it is on record."""

    state: WatchedState
    batch_id: str
    image: str
    where: Item | Place
    """Whose it is; or the output directory of one that only a batch_info.json knows."""
    path: str
    """Relative to its output directory."""
    digest: str | None
    """SHA-256; None where only a batch_info.json knows it."""
    bytes: int | None = None

    @property
    def has_thumbnail(self) -> bool:
        """Whether it is shown by itself, a frame or a tile, by its name."""
        return _has_thumbnail(self.path)

    @property
    def version(self) -> str | None:
        """What makes its address another one when it is another picture."""
        return version_of(self.digest) if self.digest else None

    def found(self) -> Place | None:
        """Its file, where that is there."""
        if isinstance(self.where, Path | ObjectPath):
            return file_at(self.where, self.path)
        return self.state.placement.found(self.where, self.path)

    def file(self) -> Place:
        """Errors: Refused with 404."""
        found = self.found()
        if found is None:
            raise Refused(404, NOT_FOUND, "image")
        return found


def pictures_of_batch(state: WatchedState, batch: WatchedBatch) -> list[Picture]:
    """Every picture of its finished items, in the batch's order."""
    return [
        Picture(state, batch.id, image_id(item.index, number), item, output.path, output.sha256, output.bytes)
        for item in batch.items(Status.COMPLETED)
        for number, output in enumerate(pictures_of(item), 1)
    ]


def outputs_in(batch: WatchedBatch, images: Collection[str]) -> dict[str, tuple[Item, OutputRecord]]:
    """The item and the output that ids such as `7` or `7-2` mean, by id, without those that mean nothing.

    Errors: Refused with 404 for what is no id.
    """
    wanted: dict[int, list[tuple[int, str]]] = {}
    for image in images:
        index, number = numbers_of(image)
        wanted.setdefault(index, []).append((number, image))
    found: dict[str, tuple[Item, OutputRecord]] = {}
    first, limit = min(wanted, default=0), 1 if len(wanted) == 1 else None
    for item in batch.items(Status.COMPLETED, first=first, limit=limit):
        for number, image in wanted.pop(item.index or 0, ()):
            pictures = pictures_of(item)
            if number <= len(pictures):
                found[image] = item, pictures[number - 1]
        if not wanted:
            break
    return found


def image_id(index: int | None, number: int) -> str:
    """The name of the picture of an item with this index in addresses: `7`, and `7-2` for its second."""
    return f"{index or 0}" if number == 1 else f"{index or 0}-{number}"


def numbers_of(image: str) -> tuple[int, int]:
    """The item's index in its batch, and which of its pictures. Errors: Refused with 404."""
    index, dash, number = image.partition("-")
    is_number = all(part.isascii() and part.isdecimal() and len(part) <= 9 for part in (index, number or "1"))
    if not is_number or (dash and int(number or 0) < 2):
        raise Refused(404, NOT_FOUND, "image")
    return int(index), int(number or 1)


def version_of(digest: str) -> str:
    """What stands for a picture's digest in its address."""
    return digest[:16]


def addresses_of(batch_id: str, image: str, path: str, version: str | None) -> tuple[str, str | None]:
    """Where a picture and its thumbnail are fetched; None for what is shown neither by itself nor by a tile."""
    at = f"{quote(batch_id, safe='')}/{image}" + (f"?v={quote(version, safe='')}" if version else "")
    return f"/images/{at}", f"/thumbnails/{at}" if _has_thumbnail(path) else None


def _has_thumbnail(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in EXTENSIONS or has_tile(path)


def media_type_of(start: bytes) -> str:
    """By the first `containers.START_BYTES` of a file, whatever its name says.

    What is no image, video or audio is shown by no browser.
    """
    container = container_of(start)
    return (container.media_type if container is not None else None) or OTHER


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition with a file name of any characters (RFC 6266). `kind`: inline or attachment."""
    plain = "".join(letter if " " <= letter <= "~" and letter not in '"\\%' else "_" for letter in name)
    extended = f"; filename*=UTF-8''{quote(name, safe='')}" if plain != name else ""
    return f'{kind}; filename="{plain}"{extended}'


def is_known(tags: Sequence[str], tag: str) -> bool:
    """Whether an If-None-Match names this ETag, or any."""
    said = [one.strip().removeprefix("W/") for line in tags for one in line.split(",")]
    return "*" in said or tag in said
