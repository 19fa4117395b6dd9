"""One picture, opened: what its own sidecar says of it, its size, and the command that makes it again."""

from __future__ import annotations

import shlex
from typing import Any

from orchestrator.outputs.containers import START_BYTES
from orchestrator.outputs.media_length import seconds_of
from orchestrator.outputs.pictures import UNREADABLE, on_reading_thread, read_picture
from orchestrator.places import Place
from orchestrator.web.gallery_entries import Entry, sidecar_of
from orchestrator.web.gallery_schemas import GalleryImage, ImageDetails
from orchestrator.web.image_files import media_type_of
from state.item import Item


def details_of(entry: Entry, image: GalleryImage) -> ImageDetails:
    """Errors: Refused with 404 where its file is not there."""
    picture = entry.picture
    path = picture.file()
    inputs, facts = sidecar_of(picture.state, entry.item) if entry.item is not None else ({}, {})
    width, height = on_reading_thread(_size, path)
    told: dict[str, Any] = {}
    if inputs:
        parameters = {name: value for name, value in inputs.items() if name not in ("prompt", "seed")}
        told = {"parameters": parameters, "model": _text(inputs.get("model"))}
    return ImageDetails(
        **{**image.model_dump(), **told},
        path=str(path),
        bytes=path.stat().st_size,
        sha256=picture.digest,
        width=width,
        height=height,
        length=seconds_of(path),
        server=_text(facts.get("server")),
        command=_command(entry.item, entry, path, has_sidecar=bool(inputs)),
    )


def _command(item: Item | None, entry: Entry, path: Place, *, has_sidecar: bool) -> str | None:
    """From its sidecar, or from the graph that ComfyUI puts into a PNG."""
    state = entry.picture.state
    sidecar = None
    if item is not None and item.sidecar is not None and has_sidecar:
        sidecar = state.placement.found(item, item.sidecar)
    if sidecar is None:
        with path.open("rb") as stream:
            if media_type_of(stream.read(START_BYTES)) != "image/png":
                return None
    return shlex.join(["burst", "generate", "--from", str(sidecar or path), "--state", str(state.path)])


def _size(path: Place | bytes) -> tuple[int | None, int | None]:
    assert not isinstance(path, bytes)
    try:
        with path.open("rb") as stream:
            image = read_picture(stream)
            return image.size if image is not None else (None, None)
    except UNREADABLE:
        return None, None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
