"""Pictures and thumbnails over HTTP, by the ids of their batch and themselves: no path comes from outside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse

from orchestrator.outputs import media_tiles
from orchestrator.outputs.containers import START_BYTES
from orchestrator.outputs.ownership import sha256_of
from orchestrator.places import ObjectPath, ObjectStat, Place, local
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.image_files import NOT_FOUND, OTHER, Picture, disposition, is_known, media_type_of
from orchestrator.web.library import Library

router = APIRouter(tags=["images"])

Stat: TypeAlias = os.stat_result | ObjectStat

_FOREVER = "private, max-age=31536000, immutable"
_EACH_TIME = "private, no-cache"
"""It may be kept, but has to be asked for each time: a 304 costs little."""


async def library_of(request: Request) -> Library:
    """All batches of this front end, and their pictures."""
    found = request.app.state.library
    assert isinstance(found, Library)
    return found


LibraryOf = Annotated[Library, Depends(library_of)]


def _picture(library: Library, batch_id: str, image: str) -> Picture:
    """Errors: Refused."""
    found = library.picture(batch_id, image)
    if found is None:
        raise Refused(404, NOT_FOUND, "image")
    return found


Version = Annotated[str | None, Query(description="of the image; with the right one the answer may be kept for good")]


@router.get(
    "/images/{batchId}/{image}",
    operation_id="getImage",
    response_class=Response,
    responses={
        200: {"content": {"image/*": {}, "video/*": {}, "audio/*": {}, OTHER: {}}},
        206: {},
        304: {},
        **errors(404),
    },
)
def image(
    request: Request, batchId: str, image: str, library: LibraryOf, v: Version = None, download: bool = False
) -> Response:
    """The file as it is, or the range of it that is asked for. What is no image, video or audio is only downloaded."""
    found = _picture(library, batchId, image)
    path = found.file()
    stat = _stat(path)
    tag = _tag(found, stat)
    headers = {"ETag": tag, "Cache-Control": _keeping(found, stat, v)}
    if is_known(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    kind = media_type_of(_start(path))
    shown = "inline" if kind != OTHER and not download else "attachment"
    headers["Content-Disposition"] = disposition(shown, path.name)
    if isinstance(stat, os.stat_result):
        return FileResponse(local(path), media_type=kind, headers=headers, stat_result=stat)
    return _object_response(request, path, stat, kind, headers)


@router.get(
    "/thumbnails/{batchId}/{image}",
    operation_id="getThumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, 304: {}, **errors(404)},
)
def thumbnail(request: Request, batchId: str, image: str, library: LibraryOf, v: Version = None) -> Response:
    """A WebP of at most 320 pixels a side; 404 for an image that does not decode.

    Of a video a frame of it, where the host has ffmpeg; else, and of audio, 3D models and latents, a tile with what it
    is, how long it plays, and its name.
    """
    found = _picture(library, batchId, image)
    path = found.file()
    stat = _stat(path)
    tag = _tag(found, stat)
    headers = {"ETag": tag, "Cache-Control": _keeping(found, stat, v)}
    if is_known(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    try:
        digest = found.digest if _is_unchanged(found, stat) else None
        data = library.thumbnails(found.state).get(path, digest or sha256_of(path))
        if data is None and media_tiles.has_tile(path.name):
            # A tile gives way to a frame once there is an ffmpeg: it is kept nowhere.
            return Response(media_tiles.drawn(path), media_type="image/webp", headers={"Cache-Control": "no-store"})
    except OSError as error:
        raise Refused(404, NOT_FOUND, "image") from error
    if data is None:
        raise Refused(404, "This file does not decode as an image", "image")
    return Response(data, media_type="image/webp", headers=headers)


def _object_response(
    request: Request, path: Place, stat: ObjectStat, kind: str, headers: Mapping[str, str]
) -> Response:
    from orchestrator.web.object_response import object_response

    assert isinstance(path, ObjectPath)
    try:
        return object_response(request, path, size_bytes=stat.st_size, media_type=kind, headers=headers)
    except OSError as error:
        raise Refused(404, NOT_FOUND, "image") from error


def _tag(picture: Picture, stat: Stat) -> str:
    """The recorded digest; another where the file has visibly been changed since, or where none is on record."""
    if _is_unchanged(picture, stat):
        return f'"{picture.digest}"'
    return f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'


def _keeping(picture: Picture, stat: Stat, version: str | None) -> str:
    is_right = version is not None and version == picture.version
    return _FOREVER if is_right and _is_unchanged(picture, stat) else _EACH_TIME


def _is_unchanged(picture: Picture, stat: Stat) -> bool:
    """As far as it can be seen at no cost."""
    return picture.digest is not None and stat.st_size == picture.bytes


def _stat(path: Place) -> Stat:
    try:
        return path.stat()
    except OSError as error:
        raise Refused(404, NOT_FOUND, "image") from error


def _start(path: Place) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(START_BYTES)
    except OSError as error:
        raise Refused(404, NOT_FOUND, "image") from error
