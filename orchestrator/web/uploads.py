"""Images and tables that a browser brings for batches: kept beside the state, each once, by what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from orchestrator.batches.workbooks import OLE, ZIP
from orchestrator.outputs.pictures import fault_of
from orchestrator.unused_uploads import UPLOADS
from orchestrator.web.error_responses import Refused
from orchestrator.web.image_files import media_type_of
from orchestrator.web.states import WatchedState
from state.disk import Disk

LARGEST_BYTES = 64 << 20
"""Larger ones are given to the command line: this one is held in memory."""
LARGEST_TABLE_BYTES = 8 << 20
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}


def keep_upload(state: WatchedState, data: bytes, *, disk: Disk | None = None) -> str:
    """Durable on return; what it goes by, the same for the same bytes. Errors: Refused for no whole image; DiskFull."""
    kind = media_type_of(data[:12])
    if kind not in _EXTENSIONS:
        raise Refused(400, "This file is not a PNG, JPEG, WebP or GIF image; choose another one", "image")
    if (fault := fault_of(data)) is not None:
        raise Refused(400, f"This file is {fault}; choose another one", "image")
    return _kept(state, data, _EXTENSIONS[kind], disk)


def table_name(data: bytes) -> str:
    """What a table goes by; its kind is told by its contents. Errors: Refused for what can be none."""
    if data.startswith(OLE):
        raise Refused(400, "This workbook is of the old format .xls; save it as .xlsx or CSV", "table")
    if b"\0" in data[:4096] and not data.startswith((ZIP, b"\xff\xfe", b"\xfe\xff")):
        raise Refused(400, "This file is not a CSV or .xlsx table; choose another one", "table")
    return _name(data, "xlsx" if data.startswith(ZIP) else "csv")


def keep_table(state: WatchedState, data: bytes, *, disk: Disk | None = None) -> str:
    """As `keep_upload`, for a table that was read."""
    return _kept(state, data, table_name(data).rpartition(".")[2], disk)


def uploaded(state: WatchedState, upload: str) -> Path:
    """Its file. `upload`: of the form that `keep_upload` returns. Errors: Refused where there is none."""
    path = _path(state, upload)
    if not path.is_file():
        raise Refused(400, "This image is not here any more; choose it again", "image")
    return path


def uploaded_table(state: WatchedState, table: str) -> bytes:
    """What it holds. Errors: Refused where there is none."""
    try:
        return _path(state, table).read_bytes()
    except FileNotFoundError:
        raise Refused(400, "This table is not here any more; choose it again", "table") from None


def _kept(state: WatchedState, data: bytes, extension: str, disk: Disk | None) -> str:
    name = _name(data, extension)
    path, disk = _path(state, name), disk or Disk()
    if disk.stamp(path) is None:
        disk.make_directory(path.parent)
        disk.write_whole(path, data)
    else:
        # As if it were new: what nothing names yet is removed once it is old.
        with contextlib.suppress(OSError):
            os.utime(path)
    return name


def _name(data: bytes, extension: str) -> str:
    return f"{hashlib.sha256(data).hexdigest()}.{extension}"


def _path(state: WatchedState, name: str) -> Path:
    return state.parts.location.auxiliary(UPLOADS) / name
