"""A JSON state made whole from the contents of another one.

Until the state file is renamed into place, last, there is no state; what an interrupted call left is recognized by a
file beside it, and written again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from orchestrator.errors import StateError
from state.contents import Contents
from state.disk import Disk
from state.json.line_log import LineLog
from state.json.parts import LOG_FILES, JsonParts
from state.json.snapshot import read_records, write_records
from state.location import Location
from state.store import LOGS

_UNFINISHED = "copying"


def create_json(location: Location, contents: Contents, *, disk: Disk | None = None) -> None:
    """Durable on return. Errors: StateError where there is something already, DiskFull."""
    disk = disk or Disk()
    parts = JsonParts(location, disk=disk)
    if parts.exists():
        raise StateError(location.path, "a state already exists here; choose another place")
    _make_folder(parts.folder, disk)
    if contents.settings is not None:
        parts.settings.write(contents.settings)
    for recipe, graph in contents.recipes.values():
        parts.recipes.add(recipe, graph)
    for log in LOGS:
        if contents.logs[log]:
            LineLog(parts.folder / LOG_FILES[log], msgspec.Struct, disk=disk).append(
                *map(msgspec.Raw, contents.logs[log])
            )
    _write_state_file(location.path, contents, disk)
    disk.remove(parts.folder / _UNFINISHED)


def _make_folder(folder: Path, disk: Disk) -> None:
    if (folder / _UNFINISHED).exists():
        shutil.rmtree(folder)
    if folder.exists() and os.listdir(folder):
        raise StateError(folder, "holds files of another state; move it away, or name another place")
    disk.make_directory(folder)
    disk.write_whole(folder / _UNFINISHED, b"")


def _write_state_file(path: Path, contents: Contents, disk: Disk) -> None:
    raws = {item.key: msgspec.Raw(item.to_record()) for item in contents.items()}
    records = read_records(path, b"", raws, by_hand=False)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with disk.create(temporary) as handle:
            write_records(handle, records)
        disk.replace(temporary, path)
    except BaseException:
        disk.remove(temporary)
        raise
    disk.sync_directory(path.parent)
