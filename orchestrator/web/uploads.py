"""Images that a browser brings for batches to be made from: kept beside the state, each once, by what they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

from orchestrator.outputs.pictures import fault_of
from orchestrator.web.error_responses import Refused
from orchestrator.web.image_files import media_type_of
from orchestrator.web.states import WatchedState
from state.disk import Disk

FOLDER = "uploads"
LARGEST_BYTES = 64 << 20
"""Larger ones are given to the command line: this one is held in memory."""
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}


def keep_upload(state: WatchedState, data: bytes, *, disk: Disk | None = None) -> str:
    """Durable on return; what it goes by, the same for the same bytes. Errors: Refused for no whole image; DiskFull."""
    kind = media_type_of(data[:12])
    if kind not in _EXTENSIONS:
        raise Refused(400, "This file is not a PNG, JPEG, WebP or GIF image; choose another one", "image")
    if (fault := fault_of(data)) is not None:
        raise Refused(400, f"This file is {fault}; choose another one", "image")
    name = f"{hashlib.sha256(data).hexdigest()}.{_EXTENSIONS[kind]}"
    path, disk = _path(state, name), disk or Disk()
    if disk.stamp(path) is None:
        disk.make_directory(path.parent)
        disk.write_whole(path, data)
    return name


def uploaded(state: WatchedState, upload: str) -> Path:
    """Its file. `upload`: of the form that `keep_upload` returns. Errors: Refused where there is none."""
    path = _path(state, upload)
    if not path.is_file():
        raise Refused(400, "This image is not here any more; choose it again", "image")
    return path


def _path(state: WatchedState, name: str) -> Path:
    return state.parts.location.auxiliary(FOLDER) / name
